//! Fans one stream out to whoever takes it, so that a slow or broken taker harms nobody.
//!
//! gst-utils' `StreamProducer` is close. This one stamps buffers in running time, which is all that pipelines of their own
//! have in common, asks the encoder for one key frame however many takers want one, and closes for all takers at once.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Access units that may wait in a taker; beyond them it misses pictures up to the next key frame.
const WAITING_PICTURES: u64 = 90;
/// Sound that may wait in a taker.
const WAITING_SOUND: gst::ClockTime = gst::ClockTime::from_seconds(3);
/// Takers ask for key frames no more often than this.
const KEY_FRAME_PAUSE: Duration = Duration::from_millis(500);

/// One stream with any number of takers.
pub struct Outlet {
    is_video: bool,
    takers: Mutex<Vec<Weak<Taker>>>,
    key_frame_wanted: OnceLock<Box<dyn Fn() + Send + Sync>>,
    key_frame_asked: Mutex<Option<Instant>>,
    is_closed: AtomicBool,
}

/// A subscription; dropping it ends it.
pub struct Taker {
    source: gst_app::AppSrc,
    /// Whether deltas are of use, which they are only after a key frame.
    has_key_frame: Mutex<bool>,
}

impl Outlet {
    /// An outlet of encoded pictures: a taker starts with a key frame.
    pub fn video() -> Self {
        Self::new(true)
    }

    /// An outlet of raw sound.
    pub fn audio() -> Self {
        Self::new(false)
    }

    fn new(is_video: bool) -> Self {
        Self {
            is_video,
            takers: Mutex::default(),
            key_frame_wanted: OnceLock::new(),
            key_frame_asked: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// What to do when a taker needs a key frame. The first call counts.
    pub fn on_key_frame_wanted(&self, act: impl Fn() + Send + Sync + 'static) {
        if self.key_frame_wanted.set(Box::new(act)).is_err() {
            tracing::debug!("key frames are asked for elsewhere already");
        }
    }

    /// Gives whatever comes out of `sink`.
    pub fn fill_from(self: &Arc<Self>, sink: &gst_app::AppSink) {
        let outlet = self.clone();
        let new_sample = move |sink: &gst_app::AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            outlet.push(&sample);
            Ok(gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(new_sample).build());
    }

    /// A live source that gives this stream, and the subscription that keeps it filled.
    pub fn subscribe(self: &Arc<Self>, name: &str) -> (gst_app::AppSrc, Arc<Taker>) {
        let builder =
            gst_app::AppSrc::builder().name(name).format(gst::Format::Time).is_live(true).max_bytes(0);
        let source = match self.is_video {
            true => builder.build(),
            false => builder.max_time(WAITING_SOUND).leaky_type(gst_app::AppLeakyType::Downstream).build(),
        };
        if self.is_video {
            self.forward_key_frame_requests(&source);
        }
        let taker = Arc::new(Taker { source: source.clone(), has_key_frame: Mutex::new(!self.is_video) });
        self.takers().push(Arc::downgrade(&taker));
        self.want_key_frame();
        (source, taker)
    }

    /// While it is closed it gives nothing. Opened again, it goes on with a key frame.
    pub fn close(&self, closed: bool) {
        self.is_closed.store(closed, Ordering::Release);
        if !closed {
            self.takers().iter().filter_map(Weak::upgrade).for_each(|taker| taker.start_over(self.is_video));
            self.want_key_frame();
        }
    }

    /// Gives `sample` to every taker, its time stamps as running time.
    pub fn push(&self, sample: &gst::Sample) {
        if self.is_closed.load(Ordering::Acquire) {
            return;
        }
        let Some(sample) = &in_running_time(sample) else { return };
        let takers: Vec<Arc<Taker>> = {
            let mut takers = self.takers();
            takers.retain(|taker| taker.strong_count() > 0);
            takers.iter().filter_map(Weak::upgrade).collect()
        };
        for taker in takers {
            if self.is_video && !taker.can_use(sample) {
                self.want_key_frame();
                continue;
            }
            // A taker that stops refuses its buffers; its own pipeline tells why.
            if let Err(error) = taker.source.push_sample(sample) {
                tracing::trace!(%error, taker = %taker.source.name(), "refuses a buffer");
            }
        }
    }

    fn want_key_frame(&self) {
        let Some(act) = self.key_frame_wanted.get() else { return };
        {
            let mut asked = self.key_frame_asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.is_some_and(|asked| asked.elapsed() < KEY_FRAME_PAUSE) {
                return;
            }
            *asked = Some(Instant::now());
        }
        act();
    }

    fn forward_key_frame_requests(self: &Arc<Self>, source: &gst_app::AppSrc) {
        let outlet = Arc::downgrade(self);
        let Some(pad) = source.static_pad("src") else { return };
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            let Some(outlet) = outlet.upgrade() else { return gst::PadProbeReturn::Remove };
            if info.event().is_some_and(|event| gst_video::ForceKeyUnitEvent::is(event)) {
                outlet.want_key_frame();
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn takers(&self) -> MutexGuard<'_, Vec<Weak<Taker>>> {
        self.takers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taker {
    fn start_over(&self, needs_key_frame: bool) {
        *self.has_key_frame.lock().unwrap_or_else(PoisonError::into_inner) = !needs_key_frame;
    }

    fn can_use(&self, sample: &gst::Sample) -> bool {
        let mut has_key_frame = self.has_key_frame.lock().unwrap_or_else(PoisonError::into_inner);
        let is_delta =
            sample.buffer().is_none_or(|buffer| buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
        if self.source.current_level_buffers() > WAITING_PICTURES {
            *has_key_frame = false;
            return false;
        }
        *has_key_frame |= !is_delta;
        *has_key_frame
    }
}

/// Takers know nothing of the segment (an encoder may shift it), so they get running time.
fn in_running_time(sample: &gst::Sample) -> Option<gst::Sample> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let mut buffer = sample.buffer_owned()?;
    let (pts, dts) = (buffer.pts(), buffer.dts());
    let stamped = buffer.make_mut();
    stamped.set_pts(segment.to_running_time(pts));
    stamped.set_dts(segment.to_running_time(dts));
    Some(gst::Sample::builder().buffer(&buffer).caps(&sample.caps_owned()?).build())
}

/// The event that asks an encoder, or a camera, for a key frame.
pub fn key_unit_request() -> gst::Event {
    gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build()
}
