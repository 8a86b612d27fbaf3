//! Mux Video. Live streams, their assets, and who we are.
//!
//! Facts come from Mux's documentation (mux.com/docs) and from its official SDKs, `@mux/mux-node` 15.3 and
//! `mux_python` 5.1.

mod answer;
mod client;
mod credentials;
mod http;
mod limiter;
mod queue;
mod transport;
mod types;

pub use answer::Answer;
pub use client::MuxClient;
pub use credentials::MuxCredentials;
pub use limiter::{Kind, Later, RateLimiter, RateLimits};
pub use queue::{Priority, Rate};
pub use transport::{Call, HttpTransport, Transport};
pub use types::{
    Asset, Environment, LatencyMode, ListedStream, LiveStream, LiveStreamStatus, LiveStreamUpdate,
    NewLiveStream, PlaybackId,
};
