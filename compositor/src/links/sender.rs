//! Sends Program to an RTMP or RTMPS ingest, when asked.

use super::intake::{Figures, Intake};
use super::socket::{Newer, port};
use super::supervisor::{Link, Supervisor, Verdict};
use crate::document::order_of_sender;
use crate::engine::{MixClock, milliseconds};
use crate::outlet::{Outlet, Taker};
use crate::redact::keep_out;
use crate::wire::fingerprint;
use anyhow::Context;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use memorialstream_compositor_protocol::{
    MediaTaken, Refusal, RefusalReason, RtmpDestination, SenderRequest, SenderState, SenderStatus,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after its time stamp a buffer reaches the sender: the mix's own delay, and encoding.
const DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(300);
/// Without progress for this long, the ingest counts as taking nothing.
const STANDSTILL: Duration = Duration::from_millis(SenderStatus::STANDSTILL_MILLISECONDS);
/// Without progress for this long, the connection is given up.
const TIMEOUT: Duration = Duration::from_secs(8);
/// How long the ingest may take to hear that this is the end.
pub(crate) const GOODBYE: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// Switches the sender on and off.
pub struct Sender {
    video: Arc<Outlet>,
    audio: Arc<Outlet>,
    clock: MixClock,
    /// Held while it is switched, which may take seconds. Whoever only looks does not wait for that.
    switching: Mutex<()>,
    now: Mutex<Now>,
}

/// What is wanted of it, and what runs.
#[derive(Default)]
struct Now {
    /// The newest request that had a revision.
    ordered: Option<SenderRequest>,
    running: Option<Running>,
}

#[derive(Clone)]
struct Running {
    destination: RtmpDestination,
    progress: Arc<Mutex<Progress>>,
    supervisor: Arc<Supervisor>,
}

/// How far a sender that is on is.
#[derive(Default)]
struct Progress {
    connected: bool,
    attempts: u64,
    error: Option<String>,
    taken: Option<(u64, Instant)>,
}

impl Sender {
    /// A sender of `video` and `audio` that is off.
    pub fn new(video: Arc<Outlet>, audio: Arc<Outlet>, clock: MixClock) -> Self {
        Self { video, audio, clock, switching: Mutex::new(()), now: Mutex::default() }
    }

    /// Sends where `request` says, or nothing; to another destination it goes once the ingest of the former heard of the
    /// end. The same request again changes nothing, and one that was overtaken is refused. This may block for a few
    /// seconds.
    pub fn request(&self, request: &SenderRequest) -> Result<SenderStatus, Refusal> {
        let _turn = lock(&self.switching);
        {
            let mut now = lock(&self.now);
            order_of_sender(now.ordered.as_ref(), request)?;
            if request.revision > 0 {
                now.ordered = Some(request.clone());
            }
        }
        self.switch(request.rtmp.as_ref()).map_err(|error| Refusal {
            reason: RefusalReason::PipelineNotRunning,
            message: crate::redact::redact(&format!("the sender cannot be switched: {error:#}")),
        })?;
        Ok(self.status())
    }

    /// Stops it, whatever was asked for, and waits until the ingest heard of it.
    pub fn stop(&self) {
        // One that is being switched must not keep this from being heard.
        if let Some(running) = lock(&self.now).running.clone() {
            running.supervisor.stop();
        }
        let _turn = lock(&self.switching);
        self.switch_off();
    }

    /// How far it is.
    pub fn status(&self) -> SenderStatus {
        let now = lock(&self.now);
        let revision = now.ordered.as_ref().map_or(0, |request| request.revision);
        let Some(running) = &now.running else { return SenderStatus { revision, ..SenderStatus::default() } };
        let progress = lock(&running.progress);
        let taken = progress
            .taken
            .map(|(bytes, at)| MediaTaken { bytes, age_milliseconds: milliseconds(at.elapsed()) });
        SenderStatus {
            state: if progress.connected { SenderState::Connected } else { SenderState::Connecting },
            attempts: progress.attempts,
            error: progress.error.clone(),
            destination: Some(fingerprint(&running.destination)),
            revision,
            media_taken: taken,
        }
    }

    fn switch(&self, destination: Option<&RtmpDestination>) -> anyhow::Result<()> {
        if lock(&self.now).running.as_ref().map(|running| &running.destination) == destination {
            return Ok(());
        }
        self.switch_off();
        if let Some(destination) = destination {
            let started = self.start(destination)?;
            lock(&self.now).running = Some(started);
        }
        Ok(())
    }

    fn switch_off(&self) {
        let running = lock(&self.now).running.clone();
        if let Some(running) = running {
            running.supervisor.wait();
            lock(&self.now).running = None;
            tracing::info!("the sender is off");
        }
    }

    fn start(&self, destination: &RtmpDestination) -> anyhow::Result<Running> {
        keep_out(&destination.stream_key);
        tracing::info!(url = destination.url, "the sender is on");
        let progress = Arc::new(Mutex::new(Progress::default()));
        let link = SenderLink {
            destination: destination.clone(),
            video: self.video.clone(),
            audio: self.audio.clone(),
            progress: progress.clone(),
            attempt: None,
        };
        let supervisor = Arc::new(Supervisor::start(link, self.clock.clone())?);
        Ok(Running { destination: destination.clone(), progress, supervisor })
    }
}

struct SenderLink {
    destination: RtmpDestination,
    video: Arc<Outlet>,
    audio: Arc<Outlet>,
    progress: Arc<Mutex<Progress>>,
    attempt: Option<Attempt>,
}

/// One connection to the ingest.
struct Attempt {
    takers: Vec<Arc<Taker>>,
    sources: Vec<gst_app::AppSrc>,
    sink: gst::Element,
    sockets: Newer,
    intake: Intake,
    started: Instant,
}

impl Link for SenderLink {
    fn name(&self) -> String {
        "sender".into()
    }

    fn build(&mut self) -> anyhow::Result<gst::Pipeline> {
        lock(&self.progress).attempts += 1;
        let pipeline = gst::Pipeline::with_name("sender");
        let muxer = gst::ElementFactory::make("flvmux")
            .property("streamable", true)
            .property_from_str("start-time-selection", "first")
            .build()?;
        let sink = gst::ElementFactory::make("rtmp2sink")
            .property("location", self.destination.location().reveal())
            .property("sync", false)
            .property("async", false)
            .build()
            .context("rtmp2sink does not take this URL; it has to be rtmp:// or rtmps://host[:port]/app")?;
        pipeline.add_many([&muxer, &sink])?;
        muxer.link(&sink)?;
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
        let (sockets, intake, started) = (Newer::than_now(), Intake::default(), Instant::now());
        self.attempt = Some(Attempt { takers, sources, sink, sockets, intake, started });
        Ok(pipeline)
    }

    fn check(&mut self, _age: Duration) -> Verdict {
        let Some(attempt) = &mut self.attempt else {
            return Verdict::Broken("there is no connection".into());
        };
        let now = Instant::now();
        let figures = figures(attempt, port(&self.destination.url));
        attempt.intake.observe(figures, now);
        let taken = attempt.intake.taken();
        let still = now.saturating_duration_since(taken.map_or(attempt.started, |(_, newest)| newest));
        let mut progress = lock(&self.progress);
        progress.taken = taken;
        let was_connected = std::mem::replace(&mut progress.connected, taken.is_some() && still < STANDSTILL);
        if still > TIMEOUT {
            return Verdict::Broken(format!("the ingest took no media for {} s", TIMEOUT.as_secs()));
        }
        match (was_connected, progress.connected) {
            (false, true) => {
                tracing::info!("the ingest takes Program");
                progress.error = None;
            }
            (true, false) => {
                tracing::warn!("the ingest takes nothing any more");
                progress.error = Some(format!("the ingest took no media for {} s", STANDSTILL.as_secs()));
            }
            (true, true) | (false, false) => {}
        }
        if progress.connected { Verdict::Working } else { Verdict::Starting }
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
        let mut progress = lock(&self.progress);
        (progress.connected, progress.taken) = (false, None);
        if let Some(reason) = reason {
            progress.error = Some(reason.to_string());
        }
    }
}

/// What rtmp2sink and the kernel tell of the connection to `port`.
fn figures(attempt: &Attempt, port: u16) -> Figures {
    let stats = attempt.sink.property::<Option<gst::Structure>>("stats");
    let figure = |name| stats.as_ref().and_then(|stats| stats.get::<u64>(name).ok()).unwrap_or(0);
    Figures {
        sent: figure("out-bytes-total"),
        unacknowledged: attempt.sockets.unacknowledged(port),
        acknowledged: figure("out-bytes-acked"),
    }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::fake_ingest::Ingest;
    use super::*;
    use crate::pattern::{Colour, Pattern, RunningPattern};
    use memorialstream_compositor_protocol::Secret;
    use std::sync::atomic::Ordering;

    /// A sender of a test pattern.
    fn sender() -> (Sender, RunningPattern) {
        crate::initialize().unwrap();
        let (video, audio) = (Arc::new(Outlet::video()), Arc::new(Outlet::audio()));
        let clock = MixClock::start();
        let pattern =
            Pattern { colour: Colour(0), width: 320, height: 180, frames_per_second: 15, tone: 440 };
        let running = pattern.play(video.clone(), Some(audio.clone()), &clock).unwrap();
        (Sender::new(video, audio, clock), running)
    }

    fn on(revision: u64, url: &str, key: &str) -> SenderRequest {
        let rtmp = Some(RtmpDestination { url: url.into(), stream_key: Secret::new(key) });
        SenderRequest { revision, rtmp }
    }

    fn off(revision: u64) -> SenderRequest {
        SenderRequest { revision, rtmp: None }
    }

    /// Waits for a status that is `wanted`; every one until then has to be `fine`.
    fn wait_for(
        sender: &Sender,
        what: &str,
        wanted: impl Fn(&SenderStatus) -> bool,
        fine: impl Fn(&SenderStatus) -> bool,
    ) -> SenderStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let status = sender.status();
            if wanted(&status) {
                return status;
            }
            assert!(fine(&status), "before {what}: {status:?}");
            assert!(Instant::now() < deadline, "no {what}: {status:?}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// It takes connections and never answers.
    fn silent() -> (std::net::TcpListener, String) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("rtmp://{}/app", listener.local_addr().unwrap());
        (listener, url)
    }

    #[test]
    fn looking_does_not_wait_for_a_sender_that_stops() {
        let (sender, _pattern) = sender();
        // Saying goodbye to one that is silent takes as long as it may.
        let (_silent, url) = silent();
        assert_eq!(sender.request(&on(1, &url, "key")).unwrap().state, SenderState::Connecting);
        std::thread::scope(|scope| {
            let stopped = scope.spawn(|| sender.request(&off(2)));
            let mut looks = 0;
            while !stopped.is_finished() {
                sender.status();
                looks += 1;
                std::thread::park_timeout(Duration::from_millis(5));
            }
            assert!(looks > 10, "only {looks} looks while it stopped");
            assert_eq!(stopped.join().unwrap().unwrap().state, SenderState::Off);
        });
    }

    #[test]
    fn a_black_hole_never_reads_connected() {
        let (sender, _pattern) = sender();
        let (_silent, url) = silent();
        sender.request(&on(0, &url, "key")).unwrap();
        let is_connecting = |status: &SenderStatus| {
            status.state == SenderState::Connecting && status.media_taken.is_none() && !status.is_taken()
        };
        let status = wait_for(&sender, "second attempt", |status| status.attempts == 2, is_connecting);
        assert!(is_connecting(&status) && status.error.is_some(), "{status:?}");
    }

    #[test]
    fn it_is_connected_while_the_ingest_takes_media_and_no_longer() {
        let (sender, _pattern) = sender();
        let ingest = Ingest::start(0);
        sender.request(&on(0, &ingest.url, "key")).unwrap();
        let taken = |status: &SenderStatus| status.media_taken.as_ref().map_or(0, |taken| taken.bytes);
        let status = wait_for(&sender, "media", SenderStatus::is_taken, |_| true);
        assert!(status.state == SenderState::Connected && ingest.taken.load(Ordering::Acquire) > 0);
        let before = taken(&status);
        wait_for(&sender, "more", |status| taken(status) > before, |_| true);

        ingest.is_stuck.store(true, Ordering::Release);
        let status = wait_for(&sender, "standstill", |status| !status.is_taken(), |_| true);
        assert!(status.media_taken.is_none_or(|taken| taken.age_milliseconds >= 3_000));
        wait_for(&sender, "another attempt", |status| status.attempts == 2, |_| true);
        ingest.is_stuck.store(false, Ordering::Release);
        wait_for(&sender, "media again", SenderStatus::is_taken, |_| true);
        sender.stop();
        assert_eq!(sender.status().state, SenderState::Off);
    }

    #[test]
    fn acknowledgements_are_heard() {
        let (sender, _pattern) = sender();
        let ingest = Ingest::start(20_000);
        sender.request(&on(0, &ingest.url, "key")).unwrap();
        wait_for(&sender, "media", SenderStatus::is_taken, |_| true);
        let from = ingest.taken.load(Ordering::Acquire);
        let far = |status: &SenderStatus| {
            status.is_taken() && ingest.taken.load(Ordering::Acquire) > from + 100_000
        };
        wait_for(&sender, "more media", far, |_| true);
    }

    #[test]
    fn another_destination_is_switched_to_and_an_overtaken_request_changes_nothing() {
        let (sender, _pattern) = sender();
        let (first, second) = (Ingest::start(0), Ingest::start(0));
        let old = sender.request(&on(1, &first.url, "old-key")).unwrap();
        wait_for(&sender, "media", SenderStatus::is_taken, |_| true);
        let new = sender.request(&on(2, &second.url, "new-key")).unwrap();
        assert_ne!(old.destination, new.destination);
        wait_for(&sender, "media elsewhere", SenderStatus::is_taken, |_| true);
        assert!(second.taken.load(Ordering::Acquire) > 0);

        let refusal = sender.request(&on(1, &first.url, "old-key")).unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::Outdated);
        let again = sender.request(&on(2, &second.url, "new-key")).unwrap();
        assert_eq!((again.attempts, again.revision), (1, 2), "the same again changes nothing");
        assert_eq!(sender.request(&off(3)).unwrap().destination, None);
        assert_eq!(
            sender.request(&on(2, &second.url, "new-key")).unwrap_err().reason,
            RefusalReason::Outdated
        );
        let status = sender.status();
        assert_eq!((status.state, status.revision), (SenderState::Off, 3), "it stays off");
    }
}
