//! Where one camera's pictures and sound enter the mix.

use super::clock::MixClock;
use crate::health::Health;
use crate::timeline::Timeline;
use gstreamer as gst;
use gstreamer_app as gst_app;
use memorialstream_compositor_protocol::{Source, SourceState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Takes a camera's raw pictures (of Program's size, see [`picture_caps`](super::format::picture_caps)) and sound
/// ([`sound_caps`](super::format::sound_caps)), and keeps account of them.
#[derive(Clone)]
pub struct Feed {
    name: String,
    video: gst_app::AppSrc,
    audio: gst_app::AppSrc,
    clock: MixClock,
    account: Arc<Mutex<Account>>,
}

struct Account {
    health: Health,
    timeline: Timeline,
    pictures: u64,
}

impl Feed {
    pub(super) fn new(
        name: &str,
        video: gst_app::AppSrc,
        audio: gst_app::AppSrc,
        clock: MixClock,
        stall_hold: Duration,
    ) -> Self {
        let account = Account { health: Health::new(stall_hold), timeline: Timeline::default(), pictures: 0 };
        Self { name: name.to_string(), video, audio, clock, account: Arc::new(Mutex::new(account)) }
    }

    /// The camera's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The clock on which whoever feeds this has to run.
    pub fn clock(&self) -> &MixClock {
        &self.clock
    }

    /// The camera's tracks appeared.
    pub fn joined(&self) {
        let mut account = self.account();
        account.health.joined();
        account.timeline = Timeline::default();
    }

    /// The camera's tracks are gone.
    pub fn left(&self) {
        self.account().health.left();
    }

    /// A picture arrived.
    pub fn picture(&self, sample: &gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> {
        let now = self.clock.now();
        let mut buffer = sample.buffer_owned().ok_or(gst::FlowError::Error)?;
        let due = {
            let mut account = self.account();
            account.health.picture(now.into());
            account.pictures += 1;
            due(&mut account.timeline, sample, now)
        };
        let placed = buffer.make_mut();
        placed.set_pts(due);
        placed.set_dts(gst::ClockTime::NONE);
        // Without a duration the newest picture that is due is always the one shown, however late it came.
        placed.set_duration(gst::ClockTime::NONE);
        self.video.push_buffer(buffer)
    }

    /// Sound arrived.
    pub fn sound(&self, sample: &gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> {
        let now = self.clock.now();
        let mut buffer = sample.buffer_owned().ok_or(gst::FlowError::Error)?;
        let due = {
            let mut account = self.account();
            account.health.sound(now.into());
            due(&mut account.timeline, sample, now)
        };
        buffer.make_mut().set_pts(due);
        self.audio.push_buffer(buffer)
    }

    /// How many pictures arrived since the camera was declared.
    pub fn pictures(&self) -> u64 {
        self.account().pictures
    }

    /// Whether pictures arrive.
    pub fn state(&self) -> SourceState {
        self.account().health.state(self.clock.elapsed())
    }

    /// Whether it may be put on air.
    pub(super) fn is_usable(&self, now: Duration) -> bool {
        self.account().health.is_usable(now)
    }

    /// The camera as the control protocol tells it.
    pub fn source(&self) -> Source {
        let now = self.clock.elapsed();
        let health = self.account().health;
        Source {
            name: self.name.clone(),
            state: health.state(now),
            input_age_milliseconds: health.picture_age(now).map(milliseconds),
            has_audio: health.has_sound(now),
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a sample is due on Program's clock. One without a time stamp is due now.
fn due(timeline: &mut Timeline, sample: &gst::Sample, now: gst::ClockTime) -> gst::ClockTime {
    let stamp = sample.buffer().and_then(|buffer| buffer.pts()).and_then(|pts| {
        match sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>()) {
            Some(segment) => segment.to_running_time(pts),
            None => Some(pts),
        }
    });
    let stamp = stamp.unwrap_or(now).nseconds();
    gst::ClockTime::from_nseconds(timeline.place(stamp, now.nseconds()))
}

/// Whole milliseconds of `duration`.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
