//! The clock that the mix and every link share, so that a time stamp means the same in each of them.

use gstreamer as gst;
use gstreamer::prelude::*;
use std::time::Duration;

/// A clock and the moment at which running time is zero.
#[derive(Clone, Debug)]
pub struct MixClock {
    clock: gst::Clock,
    base: gst::ClockTime,
}

impl MixClock {
    /// The system's monotonic clock, from now on.
    pub fn start() -> Self {
        let clock = gst::SystemClock::obtain();
        let base = clock.time();
        Self { clock, base }
    }

    /// Running time.
    pub fn now(&self) -> gst::ClockTime {
        self.clock.time().saturating_sub(self.base)
    }

    /// Running time as a [`Duration`].
    pub fn elapsed(&self) -> Duration {
        self.now().into()
    }

    /// Makes `pipeline` run on this clock.
    pub fn adopt(&self, pipeline: &gst::Pipeline) {
        pipeline.use_clock(Some(&self.clock));
        pipeline.set_start_time(gst::ClockTime::NONE);
        pipeline.set_base_time(self.base);
    }
}
