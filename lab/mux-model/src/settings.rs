//! What a test or a user of the simulator may change.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Everything that can be set while it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many requests are taken.
    pub rate_limits: RateLimits,
    /// By how many seconds the list of live streams lags: it shows, and its filters see, how each stream was then. What
    /// happened before this was set is seen at once, and reading by id is never late. Nothing is promised by Mux.
    pub list_lag_seconds: u32,
    /// What the access token may do.
    pub permissions: Permissions,
    /// How long things take.
    pub timings: Timings,
    /// What Mux's documentation leaves open.
    pub unknowns: Unknowns,
}

/// What Mux's documentation leaves open: what is right with one answer must be right with the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Unknowns {
    /// A stream that plays a slate while no encoder is there plays it also after so many seconds without media from one
    /// that is still connected. `None`: the playlist stands still then.
    pub slate_after_silence: Option<f64>,
    /// A new stream key cuts off who came with the old one.
    pub new_key_drops_encoder: bool,
    /// A second encoder is refused while the first is connected; otherwise it takes its place.
    pub second_encoder_is_refused: bool,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests at once.
    pub burst: f64,
    /// Requests per second after that.
    pub per_second: f64,
}

/// Both buckets of an environment; `None` is no limit. The defaults are those of a low-priority token
/// (mux.com/blog/protect-your-prod-environment-new-rate-limit-controls).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    /// `POST`.
    pub post: Option<Rate>,
    /// Everything else.
    pub other: Option<Rate>,
}

impl RateLimits {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { post: None, other: None };
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            post: Some(Rate { burst: 4.0, per_second: 1.0 }),
            other: Some(Rate { burst: 20.0, per_second: 1.0 }),
        }
    }
}

/// What the access token may do. A missing permission shows as 404, as at Mux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Permissions {
    /// Read live streams and assets.
    pub video_read: bool,
    /// Make, change and delete them.
    pub video_write: bool,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { video_read: true, video_write: true }
    }
}

/// How long things take, in seconds. The defaults are Mux's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timings {
    /// How much of a broadcast must have come in before it can be watched and its stream is `active`.
    pub playable_after: f64,
    /// How much of it before its asset is `ready`.
    pub ready_after: f64,
    /// How long a segment of a broadcast that begins now is: its playlist's target duration. Unknown: Mux's.
    pub segment: f64,
    /// For how long an encoder stays connected after `complete` without starting a new broadcast.
    pub completed_encoder_stays: f64,
    /// After how long an encoder that sends nothing is dropped.
    pub silent_encoder_dropped_after: f64,
    /// For how long a test stream may be active.
    pub test_stream_active_for: f64,
    /// For how long the recording of a test stream is kept.
    pub test_asset_kept_for: f64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            playable_after: 10.0,
            ready_after: 10.0,
            segment: 5.0,
            completed_encoder_stays: 60.0,
            silent_encoder_dropped_after: 5.0 * 60.0,
            test_stream_active_for: 5.0 * 60.0,
            test_asset_kept_for: 24.0 * 60.0 * 60.0,
        }
    }
}

impl Timings {
    pub(crate) fn segment(&self) -> Duration {
        Duration::try_from_secs_f64(self.segment).unwrap_or_default()
    }
}
