//! The compositor's figures in Prometheus' text format.

use memorialstream_compositor_protocol::{CompositorStatus, MediaTaken, SenderState, SourceState};
use std::fmt::{self, Write};
use std::time::Duration;

/// Upper bounds of the histogram of TAKEs, seconds.
const TAKE_BOUNDS: [f64; 8] = [0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.25, 1.0];

/// How long TAKEs took, from a request's arrival to its first frame at the encoder.
#[derive(Clone, Debug, Default)]
pub struct Takes {
    /// How many took no longer than each of the bounds.
    within: [u64; TAKE_BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Takes {
    /// Counts one.
    pub fn observe(&mut self, take: Duration) {
        for (bound, within) in TAKE_BOUNDS.iter().zip(&mut self.within) {
            *within += u64::from(take.as_secs_f64() <= *bound);
        }
        self.count += 1;
        self.sum += take;
    }
}

/// All figures as text.
pub fn render(status: &CompositorStatus, takes: &Takes) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if write_all(&mut text, status, takes).is_err() {
        text.clear();
    }
    text
}

fn write_all(text: &mut String, status: &CompositorStatus, takes: &Takes) -> fmt::Result {
    let CompositorStatus {
        protocol_version: _,
        boot_error,
        generation,
        revision,
        frames,
        frame_age_milliseconds,
        encoded_frames,
        encoded_frame_age_milliseconds,
        publisher,
        sender,
        shown,
        camera_was_shown: _,
        sources,
    } = status;
    counter(text, "frames_total", "Frames of Program that reached the encoder.", *frames)?;
    if let Some(age) = frame_age_milliseconds {
        gauge(text, "frame_age_seconds", "Age of the newest of them.", seconds(*age))?;
    }
    counter(text, "encoded_frames_total", "Pictures that left the encoder.", encoded_frames.unwrap_or(0))?;
    if let Some(age) = encoded_frame_age_milliseconds {
        gauge(text, "encoded_frame_age_seconds", "Age of the newest of them.", seconds(*age))?;
    }
    gauge(text, "boot_failed", "Whether its boot document is wrong.", u8::from(boot_error.is_some()))?;
    gauge(text, "identity_taken", "Whether it is silent.", u8::from(publisher.identity_taken))?;
    gauge(text, "generation", "Generation of the document that is applied.", generation)?;
    gauge(text, "revision", "Revision of the document that is applied.", revision)?;
    gauge(text, "publisher_connected", "Whether Program is published.", u8::from(publisher.connected))?;
    gauge(text, "slate_shown", "Whether the slate fills the picture.", u8::from(shown.slate.is_some()))?;

    header(text, "sender_state", "gauge", "1 for the state in which the RTMP sender is.")?;
    for (name, state) in [
        ("off", SenderState::Off),
        ("connecting", SenderState::Connecting),
        ("connected", SenderState::Connected),
    ] {
        writeln!(
            text,
            "memorialstream_sender_state{{state=\"{name}\"}} {}",
            u8::from(sender.state == state)
        )?;
    }
    header(text, "sender_attempts", "gauge", "Connections started since the sender was switched on.")?;
    writeln!(text, "memorialstream_sender_attempts {}", sender.attempts)?;
    if let Some(MediaTaken { bytes, age_milliseconds }) = &sender.media_taken {
        gauge(text, "sender_taken_bytes", "Media that the ingest took on this connection.", bytes)?;
        gauge(text, "sender_taken_age_seconds", "Since it last took any.", seconds(*age_milliseconds))?;
    }

    header(text, "source_state", "gauge", "1 for the state in which a camera is.")?;
    for source in sources {
        for (name, state) in
            [("absent", SourceState::Absent), ("live", SourceState::Live), ("stalled", SourceState::Stalled)]
        {
            let (camera, value) = (label(&source.name), u8::from(source.state == state));
            writeln!(text, "memorialstream_source_state{{camera=\"{camera}\",state=\"{name}\"}} {value}")?;
        }
    }
    header(text, "source_input_age_seconds", "gauge", "Age of a camera's newest picture.")?;
    for source in sources {
        if let Some(age) = source.input_age_milliseconds {
            let camera = label(&source.name);
            writeln!(
                text,
                "memorialstream_source_input_age_seconds{{camera=\"{camera}\"}} {}",
                seconds(age)
            )?;
        }
    }
    header(text, "source_shown", "gauge", "Whether a camera is on Program.")?;
    for source in sources {
        let (camera, value) = (label(&source.name), u8::from(shown.sources.contains(&source.name)));
        writeln!(text, "memorialstream_source_shown{{camera=\"{camera}\"}} {value}")?;
    }
    write_takes(text, takes)
}

fn write_takes(text: &mut String, takes: &Takes) -> fmt::Result {
    let Takes { within, count, sum } = takes;
    header(text, "take_seconds", "histogram", "From a request's arrival to its first frame at the encoder.")?;
    for (bound, within) in TAKE_BOUNDS.iter().zip(within) {
        writeln!(text, "memorialstream_take_seconds_bucket{{le=\"{bound}\"}} {within}")?;
    }
    writeln!(text, "memorialstream_take_seconds_bucket{{le=\"+Inf\"}} {count}")?;
    writeln!(text, "memorialstream_take_seconds_sum {}", sum.as_secs_f64())?;
    writeln!(text, "memorialstream_take_seconds_count {count}")
}

fn header(text: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(text, "# HELP memorialstream_{name} {help}\n# TYPE memorialstream_{name} {kind}")
}

fn counter(text: &mut String, name: &str, help: &str, value: u64) -> fmt::Result {
    header(text, name, "counter", help)?;
    writeln!(text, "memorialstream_{name} {value}")
}

fn gauge(text: &mut String, name: &str, help: &str, value: impl fmt::Display) -> fmt::Result {
    header(text, name, "gauge", help)?;
    writeln!(text, "memorialstream_{name} {value}")
}

fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

/// A label's value with what the format demands to be escaped.
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use memorialstream_compositor_protocol::{PublisherStatus, SenderStatus, Shown, Source};

    #[test]
    fn figures() {
        let status = CompositorStatus {
            generation: 7,
            revision: 1,
            frames: 42,
            frame_age_milliseconds: Some(20),
            encoded_frames: Some(41),
            encoded_frame_age_milliseconds: Some(25),
            publisher: PublisherStatus { connected: true, ..PublisherStatus::default() },
            sender: SenderStatus {
                state: SenderState::Connecting,
                attempts: 3,
                media_taken: Some(MediaTaken { bytes: 400_000, age_milliseconds: 100 }),
                ..SenderStatus::default()
            },
            shown: Shown { sources: vec!["lectern".into()], slate: None },
            camera_was_shown: true,
            sources: vec![
                Source {
                    name: "lectern".into(),
                    state: SourceState::Live,
                    input_age_milliseconds: Some(33),
                    has_audio: true,
                },
                Source {
                    name: "wide\"".into(),
                    state: SourceState::Absent,
                    input_age_milliseconds: None,
                    has_audio: false,
                },
            ],
            ..CompositorStatus::default()
        };
        let mut takes = Takes::default();
        takes.observe(Duration::from_millis(30));
        takes.observe(Duration::from_millis(60));
        let text = render(&status, &takes);
        for line in [
            "memorialstream_frames_total 42",
            "memorialstream_frame_age_seconds 0.02",
            "memorialstream_encoded_frames_total 41",
            "memorialstream_encoded_frame_age_seconds 0.025",
            "memorialstream_boot_failed 0",
            "memorialstream_identity_taken 0",
            "memorialstream_sender_taken_bytes 400000",
            "memorialstream_sender_taken_age_seconds 0.1",
            "memorialstream_publisher_connected 1",
            "memorialstream_slate_shown 0",
            "memorialstream_sender_state{state=\"connecting\"} 1",
            "memorialstream_sender_state{state=\"off\"} 0",
            "memorialstream_sender_attempts 3",
            "memorialstream_source_state{camera=\"lectern\",state=\"live\"} 1",
            "memorialstream_source_state{camera=\"wide\\\"\",state=\"absent\"} 1",
            "memorialstream_source_input_age_seconds{camera=\"lectern\"} 0.033",
            "memorialstream_source_shown{camera=\"lectern\"} 1",
            "memorialstream_take_seconds_bucket{le=\"0.02\"} 0",
            "memorialstream_take_seconds_bucket{le=\"0.035\"} 1",
            "memorialstream_take_seconds_bucket{le=\"+Inf\"} 2",
            "memorialstream_take_seconds_sum 0.09",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(
            !text.contains("source_input_age_seconds{camera=\"wide"),
            "an age that is not known is left out"
        );
    }
}
