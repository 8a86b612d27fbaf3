//! Sends Program to an RTMP or RTMPS ingest, when asked.

use super::supervisor::{Link, Supervisor, Verdict};
use crate::engine::MixClock;
use crate::outlet::{Outlet, Taker};
use crate::redact::keep_out;
use anyhow::Context;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use memorialstream_compositor_protocol::{RtmpDestination, SenderRequest, SenderState, SenderStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after its time stamp a buffer reaches the sender: the mix's own delay, and encoding.
const DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(300);
/// Without progress for this long, the connection is given up.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long the ingest may take to hear that this is the end.
const GOODBYE: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// Switches the sender on and off.
pub struct Sender {
    video: Arc<Outlet>,
    audio: Arc<Outlet>,
    clock: MixClock,
    /// Held while it is switched, which may take seconds. Whoever only looks does not wait for that.
    switching: Mutex<()>,
    running: Mutex<Option<Running>>,
}

#[derive(Clone)]
struct Running {
    destination: RtmpDestination,
    status: Arc<Mutex<SenderStatus>>,
    supervisor: Arc<Supervisor>,
}

impl Sender {
    /// A sender of `video` and `audio` that is off.
    pub fn new(video: Arc<Outlet>, audio: Arc<Outlet>, clock: MixClock) -> Self {
        Self { video, audio, clock, switching: Mutex::new(()), running: Mutex::new(None) }
    }

    /// Sends where `request` says, or nothing. The same request again changes nothing. Switching off waits until the
    /// ingest heard of it, so this may block for a few seconds.
    pub fn request(&self, request: &SenderRequest) -> anyhow::Result<SenderStatus> {
        let _turn = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
        let running = self.running().clone();
        if running.as_ref().map(|running| &running.destination) != request.rtmp.as_ref() {
            if let Some(running) = running {
                running.supervisor.wait();
                *self.running() = None;
                tracing::info!("the sender is off");
            }
            if let Some(destination) = &request.rtmp {
                let started = self.start(destination)?;
                *self.running() = Some(started);
            }
        }
        Ok(self.status())
    }

    /// How far it is.
    pub fn status(&self) -> SenderStatus {
        match self.running().as_ref() {
            Some(running) => lock(&running.status).clone(),
            None => SenderStatus { state: SenderState::Off, attempts: 0, error: None },
        }
    }

    fn start(&self, destination: &RtmpDestination) -> anyhow::Result<Running> {
        keep_out(&destination.stream_key);
        tracing::info!(url = destination.url, "the sender is on");
        let status =
            Arc::new(Mutex::new(SenderStatus { state: SenderState::Connecting, attempts: 0, error: None }));
        let link = SenderLink {
            destination: destination.clone(),
            video: self.video.clone(),
            audio: self.audio.clone(),
            status: status.clone(),
            attempt: None,
        };
        let supervisor = Arc::new(Supervisor::start(link, self.clock.clone())?);
        Ok(Running { destination: destination.clone(), status, supervisor })
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct SenderLink {
    destination: RtmpDestination,
    video: Arc<Outlet>,
    audio: Arc<Outlet>,
    status: Arc<Mutex<SenderStatus>>,
    attempt: Option<Attempt>,
}

/// One connection to the ingest.
struct Attempt {
    takers: Vec<Arc<Taker>>,
    sources: Vec<gst_app::AppSrc>,
    /// Buffers that were offered to the ingest. The second is offered only after it took the first.
    offered: Arc<AtomicU64>,
    seen: u64,
    progressed: Instant,
}

impl Link for SenderLink {
    fn name(&self) -> String {
        "sender".into()
    }

    fn build(&mut self) -> anyhow::Result<gst::Pipeline> {
        lock(&self.status).attempts += 1;
        let pipeline = gst::Pipeline::with_name("sender");
        let muxer = gst::ElementFactory::make("flvmux")
            .property("streamable", true)
            .property_from_str("start-time-selection", "first")
            .build()?;
        let sink = gst::ElementFactory::make("rtmp2sink")
            .property("location", location(&self.destination))
            .property("sync", false)
            .property("async", false)
            .build()
            .context("rtmp2sink does not take this URL; it has to be rtmp:// or rtmps://host[:port]/app")?;
        pipeline.add_many([&muxer, &sink])?;
        muxer.link(&sink)?;
        let offered = count(&sink)?;
        let (video, video_taker) = self.video.subscribe("sent-video");
        let (audio, audio_taker) = self.audio.subscribe("sent-audio");
        // The muxer has to know how late its inputs are, or it would not wait to put them in order.
        [&video, &audio].into_iter().for_each(|source| source.set_latency(DELAY, DELAY * 10));
        chain(
            &pipeline,
            &video,
            "h264parse ! capsfilter caps=video/x-h264,stream-format=avc,alignment=au",
            &muxer,
            "video",
        )?;
        chain(&pipeline, &audio, "audioconvert ! avenc_aac bitrate=128000 ! aacparse", &muxer, "audio")?;
        let takers = vec![video_taker, audio_taker];
        let sources = vec![video, audio];
        self.attempt = Some(Attempt { takers, sources, offered, seen: 0, progressed: Instant::now() });
        Ok(pipeline)
    }

    fn check(&mut self, _age: Duration) -> Verdict {
        let Some(attempt) = &mut self.attempt else {
            return Verdict::Broken("there is no connection".into());
        };
        let offered = attempt.offered.load(Ordering::Acquire);
        if offered > attempt.seen {
            (attempt.seen, attempt.progressed) = (offered, Instant::now());
        } else if attempt.progressed.elapsed() > PATIENCE {
            return Verdict::Broken(format!("the ingest took nothing for {} s", PATIENCE.as_secs()));
        }
        if offered < 2 {
            return Verdict::Starting;
        }
        let mut status = lock(&self.status);
        if status.state != SenderState::Connected {
            tracing::info!("the ingest takes Program");
        }
        (status.state, status.error) = (SenderState::Connected, None);
        Verdict::Working
    }

    fn finish(&mut self, pipeline: &gst::Pipeline) {
        let Some(attempt) = &mut self.attempt else { return };
        attempt.takers.clear();
        // The end of the stream makes rtmp2sink unpublish, so that the ingest need not guess.
        let told = attempt.sources.iter().all(|source| source.end_of_stream().is_ok());
        let types = [gst::MessageType::Eos, gst::MessageType::Error];
        let heard = pipeline.bus().and_then(|bus| bus.timed_pop_filtered(GOODBYE, &types));
        if !told || heard.is_none_or(|message| message.type_() != gst::MessageType::Eos) {
            tracing::warn!("the ingest may not have heard of the end");
        }
    }

    fn ended(&mut self, reason: Option<&str>) {
        self.attempt = None;
        let mut status = lock(&self.status);
        status.state = SenderState::Connecting;
        if let Some(reason) = reason {
            status.error = Some(reason.to_string());
        }
    }
}

/// The whole location, key included: it goes to the element and nowhere else.
fn location(destination: &RtmpDestination) -> String {
    format!("{}/{}", destination.url.trim_end_matches('/'), destination.stream_key.reveal())
}

fn count(sink: &gst::Element) -> anyhow::Result<Arc<AtomicU64>> {
    let offered = Arc::new(AtomicU64::new(0));
    let counted = offered.clone();
    let pad = sink.static_pad("sink").context("rtmp2sink has no input")?;
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
        counted.fetch_add(1, Ordering::AcqRel);
        gst::PadProbeReturn::Ok
    });
    Ok(offered)
}

/// Links `source` through `description` to the muxer's input `kind`.
fn chain(
    pipeline: &gst::Pipeline,
    source: &gst_app::AppSrc,
    description: &str,
    muxer: &gst::Element,
    kind: &str,
) -> anyhow::Result<()> {
    let bin = gst::parse::bin_from_description(description, true)?;
    pipeline.add(source)?;
    pipeline.add(&bin)?;
    source.link(&bin)?;
    let output = bin.static_pad("src").context("a chain has no output")?;
    let input = muxer.request_pad_simple(kind).context("flvmux takes no stream")?;
    output.link(&input)?;
    Ok(())
}

fn lock(status: &Mutex<SenderStatus>) -> MutexGuard<'_, SenderStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use memorialstream_compositor_protocol::Secret;

    #[test]
    fn the_location_is_url_and_key() {
        for url in ["rtmps://ingest.example:443/app", "rtmps://ingest.example:443/app/"] {
            let destination = RtmpDestination { url: url.into(), stream_key: Secret::new("key") };
            assert_eq!(location(&destination), "rtmps://ingest.example:443/app/key");
        }
    }

    #[test]
    fn looking_does_not_wait_for_a_sender_that_stops() {
        crate::initialize().unwrap();
        // It takes connections and never answers, so saying goodbye takes as long as it may.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let destination = RtmpDestination {
            url: format!("rtmp://{}/app", silent.local_addr().unwrap()),
            stream_key: Secret::new("stream-key"),
        };
        let outlets = (Arc::new(Outlet::video()), Arc::new(Outlet::audio()));
        let sender = Sender::new(outlets.0, outlets.1, MixClock::start());
        let on = SenderRequest { rtmp: Some(destination) };
        assert_eq!(sender.request(&on).unwrap().state, SenderState::Connecting);
        std::thread::scope(|scope| {
            let off = scope.spawn(|| sender.request(&SenderRequest { rtmp: None }));
            let mut looks = 0;
            while !off.is_finished() {
                sender.status();
                looks += 1;
                std::thread::park_timeout(Duration::from_millis(5));
            }
            assert!(looks > 10, "only {looks} looks while it stopped");
            assert_eq!(off.join().unwrap().unwrap().state, SenderState::Off);
        });
    }
}
