//! The engine: it mixes what the feeds bring into Program, as the control document wants it.

mod board;
mod clock;
mod feed;
pub mod format;
mod mix;
mod progress;
mod slate;

pub use board::Composition;
pub use clock::MixClock;
pub use feed::Feed;
pub(crate) use feed::milliseconds;
pub use progress::Arrived;

use crate::document::{Order, check, order};
use crate::outlet::{Outlet, key_unit_request};
use anyhow::Context;
use board::{Board, Input};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_base::prelude::*;
use memorialstream_compositor_protocol::{
    Camera, ControlDocument, DocumentKey, Refusal, RefusalReason, Source, Video,
};
use mix::Mix;
use progress::Progress;
use slate::{Slates, draw};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A camera that has just been declared, and where its pictures and sound go.
pub struct Opened {
    /// The camera.
    pub camera: Camera,
    /// Where to feed it.
    pub feed: Feed,
}

/// The running mix. Dropping it stops it.
pub struct Engine {
    mix: Mix,
    board: Arc<Mutex<Board>>,
    progress: Arc<Progress>,
    video: Arc<Outlet>,
    audio: Arc<Outlet>,
}

impl Engine {
    /// Starts the mix with `document`, and returns the feeds of its cameras.
    pub fn start(video: &Video, document: ControlDocument) -> anyhow::Result<(Self, Vec<Opened>)> {
        check(&document).map_err(|refusal| anyhow::anyhow!("the first document: {}", refusal.message))?;
        let mix = Mix::build(video)?;
        let slates = Slates::attach(&mix)?;
        let mut opened = Vec::new();
        let mut inputs = Vec::new();
        for camera in &document.cameras {
            let input = Input::attach(&mix, camera)?;
            opened.push(Opened { camera: camera.clone(), feed: input.feed.clone() });
            inputs.push(input);
        }
        let drawings = draw(&document.slate, &slates.texts(), video)?;
        let board = Arc::new(Mutex::new(Board::new(document, inputs, slates)));
        let progress = Arc::new(Progress::new());
        compose_each_frame(&mix, board.clone(), progress.clone());
        watch_encoder(&mix, progress.clone())?;
        let (encoder, video) = (mix.encoder.clone(), Arc::new(Outlet::video()));
        video.on_key_frame_wanted(move || request_key_frame(&encoder));
        let audio = Arc::new(Outlet::audio());
        video.fill_from(&mix.video_sink);
        audio.fill_from(&mix.audio_sink);
        mix.pipeline.set_state(gst::State::Playing).context("the mix does not start")?;
        let engine = Self { mix, board, progress, video, audio };
        engine.board().slates.replace(drawings, engine.mix.clock.now())?;
        Ok((engine, opened))
    }

    /// Wants `document` from the next frame on. It returns the feeds of cameras that are new, before any frame
    /// shows them; [`shown`](Self::shown) tells when the first frame is out.
    ///
    /// A refused document changes nothing. This blocks while changed slates are drawn, and must not run
    /// twice at a time.
    pub fn want(&self, document: ControlDocument) -> Result<(Order, Vec<Opened>), Refusal> {
        let (current, drawn) = {
            let board = self.board();
            (board.document(), board.slates.texts())
        };
        if order(Some(&current), &document)? == Order::Same {
            return Ok((Order::Same, Vec::new()));
        }
        check(&document)?;
        let drawings = draw(&document.slate, &drawn, &self.mix.video).map_err(not_running)?;
        let missing: Vec<Camera> = {
            let board = self.board();
            document.cameras.iter().filter(|camera| !board.has(camera)).cloned().collect()
        };
        let mut added = Vec::new();
        for camera in &missing {
            match Input::attach(&self.mix, camera) {
                Ok(input) => added.push(input),
                Err(error) => {
                    added.iter().for_each(|input| self.detach(input));
                    return Err(not_running(error));
                }
            }
        }
        let opened =
            added.iter().zip(missing).map(|(input, camera)| Opened { camera, feed: input.feed.clone() });
        let opened = opened.collect();
        let mut board = self.board();
        if let Err(error) = board.slates.replace(drawings, self.mix.clock.now()) {
            drop(board);
            added.iter().for_each(|input| self.detach(input));
            return Err(not_running(error));
        }
        board.want(document, added);
        Ok((Order::Newer, opened))
    }

    /// Waits until the first frame of the document `key`, or of a newer one, has reached the encoder. Without a time limit
    /// of the caller's it waits for ever.
    pub async fn shown(&self, key: DocumentKey) -> Option<Arrived> {
        self.progress.first_of(key).await
    }

    /// Takes the inputs of cameras that are no longer declared, and no longer shown, out of the mix.
    pub fn clear_away(&self) {
        let retired = self.board().take_retired();
        retired.iter().for_each(|input| self.detach(input));
    }

    /// The document that is wanted.
    pub fn document(&self) -> Arc<ControlDocument> {
        self.board().document()
    }

    /// Every declared camera.
    pub fn sources(&self) -> Vec<Source> {
        self.board().sources()
    }

    /// How many frames reached the encoder, and the newest of them.
    pub fn frames(&self) -> (u64, Option<Arrived>) {
        self.progress.now()
    }

    /// How many pictures came out of the encoder, and when the newest of them did.
    pub fn encoded(&self) -> (u64, Option<Instant>) {
        self.progress.encoded()
    }

    /// Encoded Program: H.264 constrained baseline, byte stream, whole access units.
    pub fn video(&self) -> Arc<Outlet> {
        self.video.clone()
    }

    /// Program's sound, raw.
    pub fn audio(&self) -> Arc<Outlet> {
        self.audio.clone()
    }

    /// The clock of the mix, for whoever takes from it or feeds it.
    pub fn clock(&self) -> MixClock {
        self.mix.clock.clone()
    }

    /// Lets `observe` see every raw frame that enters the encoder.
    pub fn observe_frames(
        &self,
        observe: impl Fn(&gst::BufferRef) + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let pad = self.mix.encoder.static_pad("sink").context("the encoder has no input")?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                observe(buffer);
            }
            gst::PadProbeReturn::Ok
        });
        Ok(())
    }

    /// Waits for a fault of the mix, which cannot be mended, and tells it; `None` if there is none for `timeout`.
    pub fn fault(&self, timeout: Duration) -> Option<String> {
        let bus = self.mix.pipeline.bus()?;
        let types = [gst::MessageType::Error, gst::MessageType::Latency];
        let message = bus.timed_pop_filtered(gst::ClockTime::try_from(timeout).ok(), &types)?;
        match message.view() {
            gst::MessageView::Error(error) => {
                let source = error.src().map(|source| source.name().to_string()).unwrap_or_default();
                Some(format!("{source}: {} ({})", error.error(), error.debug().unwrap_or_default()))
            }
            _ => {
                if let Err(error) = self.mix.pipeline.recalculate_latency() {
                    tracing::warn!(%error, "the mix's latency cannot be computed");
                }
                None
            }
        }
    }

    fn detach(&self, input: &Input) {
        if let Err(error) = input.detach(&self.mix) {
            tracing::warn!(
                camera = input.feed.name(),
                error = format!("{error:#}"),
                "its inputs stay in the mix"
            );
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.board)
    }
}

/// The compositor tells which pictures it chose for a frame before it blends them: there all pads are set, so that
/// one frame has the whole change.
fn compose_each_frame(mix: &Mix, board: Arc<Mutex<Board>>, progress: Arc<Progress>) {
    let clock = mix.clock.clone();
    mix.compositor.connect_samples_selected(
        move |compositor, _segment, presentation, _dts, _duration, _info| {
            let staged = |pad: &gst::Pad| {
                let pad = pad.downcast_ref::<gstreamer_base::AggregatorPad>()?;
                Some(compositor.peek_next_sample(pad)?.buffer()?.offset())
            };
            let composition = lock(&board).compose(clock.elapsed(), staged);
            if let Some(presentation) = presentation {
                progress.composed(presentation, composition);
            }
        },
    );
}

fn watch_encoder(mix: &Mix, progress: Arc<Progress>) -> anyhow::Result<()> {
    let pad = mix.encoder.static_pad("sink").context("the encoder has no input")?;
    let reached = progress.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(presentation) = info.buffer().and_then(|buffer| buffer.pts()) {
            reached.reached_encoder(presentation);
        }
        gst::PadProbeReturn::Ok
    });
    let pad = mix.encoder.static_pad("src").context("the encoder has no output")?;
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
        progress.left_encoder();
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

fn request_key_frame(encoder: &gst::Element) {
    let asked = encoder.static_pad("src").is_some_and(|pad| pad.send_event(key_unit_request()));
    if !asked {
        tracing::debug!("the encoder takes no request for a key frame now");
    }
}

fn not_running(error: anyhow::Error) -> Refusal {
    Refusal { reason: RefusalReason::PipelineNotRunning, message: format!("{error:#}") }
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::fixture::document;

    fn eventually(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "it did not happen: {what}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    #[test]
    fn an_encoder_that_puts_nothing_out_is_told_from_one_that_gets_nothing() {
        crate::initialize().unwrap();
        let video = Video {
            width: 320,
            height: 180,
            frames_per_second: 15,
            bitrate_kbps: 500,
            stall_hold_milliseconds: 500,
        };
        let (engine, _) = Engine::start(&video, document(1, 0, &[], |_| {})).unwrap();
        eventually("pictures come out", || engine.encoded().0 > 5);
        let input = engine.mix.encoder.static_pad("sink").unwrap();
        input.add_probe(gst::PadProbeType::BUFFER, |_, info| {
            drop(info.data.take());
            gst::PadProbeReturn::Handled
        });
        let (frames, before) = (engine.frames().0, engine.encoded());
        eventually("frames go in", || engine.frames().0 > frames + 15);
        // The one that was being encoded may have come out.
        let (encoded, newest) = engine.encoded();
        assert!(encoded <= before.0 + 1, "{encoded} after {}", before.0);
        assert!(newest.is_some_and(|newest| newest < engine.frames().1.unwrap().at));
    }
}
