//! Footage that the `camera` binary plays over and over: encoded pictures as they are in the file, and sound.

use crate::engine::MixClock;
use crate::engine::format::sound_caps;
use crate::outlet::Outlet;
use anyhow::{Context, bail, ensure};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long reading a file may take.
const TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// A file's contents, held in memory.
#[derive(Debug)]
pub struct Footage {
    /// Pictures and sound in the order in which they are due, each due at its presentation time.
    parts: Vec<Part>,
    length: gst::ClockTime,
}

#[derive(Clone, Debug)]
struct Part {
    is_picture: bool,
    due: gst::ClockTime,
    sample: gst::Sample,
}

impl Footage {
    /// Reads an MP4, WebM or Matroska file with H.264 or VP8 pictures. The pictures are not encoded anew, so they
    /// must be in the order in which they are shown (no B-frames), and begin with a key frame.
    pub fn read(file: &Path, with_sound: bool) -> anyhow::Result<Self> {
        let mut parts = demultiplex(file, with_sound).with_context(|| format!("{}", file.display()))?;
        let pictures: Vec<gst::ClockTime> =
            parts.iter().filter(|part| part.is_picture).map(|part| part.due).collect();
        let (Some(first), Some(last)) = (pictures.first().copied(), pictures.last().copied()) else {
            bail!("{} holds no H.264 or VP8 pictures", file.display());
        };
        ensure!(
            pictures.is_sorted(),
            "{} holds B-frames, which WebRTC does not carry; encode it anew without them",
            file.display()
        );
        let count = u64::try_from(pictures.len())?;
        let spacing = if count > 1 { (last - first) / (count - 1) } else { gst::ClockTime::SECOND };
        let length = last - first + spacing;
        parts.retain(|part| part.due >= first && part.due < first + length);
        parts.iter_mut().for_each(|part| part.due -= first);
        parts.sort_by_key(|part| part.due);
        Ok(Self { parts, length })
    }

    /// Whether there is sound to play.
    pub fn has_sound(&self) -> bool {
        self.parts.iter().any(|part| !part.is_picture)
    }

    /// How long it plays.
    pub fn length(&self) -> Duration {
        self.length.into()
    }

    /// Plays it over and over into `video` and `audio`, for ever.
    pub fn play(&self, video: &Outlet, audio: Option<&Outlet>, clock: &MixClock) -> anyhow::Result<()> {
        let mut start = clock.now();
        loop {
            for part in &self.parts {
                let due = start + part.due;
                std::thread::sleep(due.saturating_sub(clock.now()).into());
                let mut buffer = part.sample.buffer_owned().context("a part of the footage is empty")?;
                let stamped = buffer.make_mut();
                stamped.set_pts(due);
                stamped.set_dts(if part.is_picture { Some(due) } else { None });
                let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                let caps = part.sample.caps_owned().context("a part of the footage has no caps")?;
                let sample = gst::Sample::builder().buffer(&buffer).caps(&caps).segment(&segment).build();
                match (part.is_picture, audio) {
                    (true, _) => video.push(&sample),
                    (false, Some(audio)) => audio.push(&sample),
                    (false, None) => {}
                }
            }
            start += self.length;
        }
    }
}

fn demultiplex(file: &Path, with_sound: bool) -> anyhow::Result<Vec<Part>> {
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("filesrc").property("location", file).build()?;
    let parser = gst::ElementFactory::make("parsebin").build()?;
    pipeline.add_many([&source, &parser])?;
    source.link(&parser)?;
    let parts = Arc::new(Mutex::new(Vec::new()));
    let (weak, collected) = (pipeline.downgrade(), parts.clone());
    parser.connect_pad_added(move |parser, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        if let Err(error) = collect(&pipeline, pad, with_sound, &collected) {
            gst::element_error!(parser, gst::StreamError::Failed, ["{error:#}"]);
        }
    });
    let result = run_to_end(&pipeline);
    pipeline.set_state(gst::State::Null)?;
    result?;
    let parts = std::mem::take(&mut *lock(&parts));
    Ok(parts)
}

fn run_to_end(pipeline: &gst::Pipeline) -> anyhow::Result<()> {
    let bus = pipeline.bus().context("the pipeline has no bus")?;
    pipeline.set_state(gst::State::Playing).context("it cannot be read")?;
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(TIMEOUT, &types).context("it takes too long to read")?;
    match message.view() {
        gst::MessageView::Error(error) => bail!("{} ({})", error.error(), error.debug().unwrap_or_default()),
        _ => Ok(()),
    }
}

fn collect(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    with_sound: bool,
    parts: &Arc<Mutex<Vec<Part>>>,
) -> anyhow::Result<()> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let kind = caps.structure(0).map(|structure| structure.name().to_string()).unwrap_or_default();
    // The input is made by hand: a decodebin that is not linked yet leaves a second open pad behind it.
    let encoded = |description: &str| -> anyhow::Result<gst::Bin> {
        let bin = gst::parse::bin_from_description(&format!("queue name=input ! {description}"), false)?;
        let input = bin.by_name("input").context("a branch has no input")?;
        let pad = input.static_pad("sink").context("a queue has no input")?;
        bin.add_pad(&gst::GhostPad::builder_with_target(&pad)?.name("sink").build())?;
        Ok(bin)
    };
    let (bin, is_picture, wanted) = match kind.as_str() {
        "video/x-h264" => {
            let caps = gst::Caps::builder("video/x-h264")
                .field("stream-format", "byte-stream")
                .field("alignment", "au");
            let bin = encoded("h264parse config-interval=-1 ! appsink name=sink sync=false")?;
            (bin, true, caps.build())
        }
        "video/x-vp8" => (encoded("appsink name=sink sync=false")?, true, gst::Caps::new_any()),
        _ if kind.starts_with("audio/") && with_sound => {
            let bin = encoded("decodebin ! audioconvert ! audioresample ! appsink name=sink sync=false")?;
            (bin, false, sound_caps())
        }
        _ => (encoded("fakesink sync=false async=false")?, false, gst::Caps::new_any()),
    };
    if let Some(sink) = bin.by_name("sink").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok()) {
        sink.set_caps(Some(&wanted));
        let parts = parts.clone();
        let new_sample = move |sink: &gst_app::AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let due = sample
                .buffer()
                .and_then(|buffer| buffer.pts())
                .and_then(|pts| sample.segment()?.downcast_ref::<gst::ClockTime>()?.to_running_time(pts));
            if let Some(due) = due {
                lock(&parts).push(Part { is_picture, due, sample });
            }
            Ok(gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(new_sample).build());
    }
    pipeline.add(&bin)?;
    bin.sync_state_with_parent()?;
    pad.link(&bin.static_pad("sink").context("a branch has no input")?)?;
    Ok(())
}

fn lock(parts: &Mutex<Vec<Part>>) -> MutexGuard<'_, Vec<Part>> {
    parts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(name: &str, description: &str) -> std::path::PathBuf {
        crate::initialize().unwrap();
        let file = std::env::temp_dir().join(format!("memorialstream-{}-{name}", std::process::id()));
        let pipeline =
            gst::parse::launch(&format!("{description} ! filesink location={}", file.display())).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        run_to_end(&pipeline).unwrap();
        pipeline.set_state(gst::State::Null).unwrap();
        file
    }

    const PICTURES: &str = "videotestsrc num-buffers=30 ! video/x-raw,width=64,height=48,framerate=15/1";

    #[test]
    fn files_are_read_with_and_without_sound() {
        let sound = "audiotestsrc num-buffers=50 ! opusenc ! mux.";
        for (name, pictures) in [("a.webm", "vp8enc deadline=1"), ("b.mkv", "x264enc tune=zerolatency")] {
            let muxer = if name.ends_with("webm") { "webmmux" } else { "matroskamux" };
            let file = encode(name, &format!("{sound} {PICTURES} ! {pictures} ! {muxer} name=mux"));
            let footage = Footage::read(&file, true).unwrap();
            // Matroska counts whole milliseconds.
            let length = footage.length().as_millis();
            assert!(length.abs_diff(2_000) <= 1, "{name} plays for {length} ms");
            assert_eq!(footage.parts.iter().filter(|part| part.is_picture).count(), 30, "{name}");
            assert!(footage.has_sound(), "{name}");
            assert!(footage.parts.is_sorted_by_key(|part| part.due));
            assert_eq!(footage.parts[0].due, gst::ClockTime::ZERO);
            let silent = Footage::read(&file, false).unwrap();
            assert!(!silent.has_sound(), "{name}");
            std::fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_played_is_refused() {
        let reordered =
            encode("c.mkv", &format!("{PICTURES} ! x264enc bframes=2 b-adapt=false ! matroskamux"));
        let silent_film = encode("d.mkv", "audiotestsrc num-buffers=10 ! opusenc ! matroskamux");
        for (file, expected) in [
            (reordered.as_path(), "holds B-frames"),
            (silent_film.as_path(), "holds no H.264 or VP8 pictures"),
            (Path::new("/nowhere.mp4"), "/nowhere.mp4"),
        ] {
            let error = format!("{:#}", Footage::read(file, true).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
        std::fs::remove_file(reordered).unwrap();
        std::fs::remove_file(silent_film).unwrap();
    }
}
