//! The compositor: it mixes a LiveKit room's cameras into one Program, and publishes and sends that.
//!
//! ```text
//! camera link (one pipeline each) ─▶ feed ─▶ ┌ mix ────────────────────────────┐ ─▶ outlets ─▶ room publisher
//! camera link                     ─▶ feed ─▶ │ slates, compositor, audio mixer, │            ─▶ RTMP sender
//!                                            └ encoder                          ┘
//! ```
//! Every box is a pipeline of its own on one shared clock, so that none shares a fate with another. What is shown
//! is decided for each frame by the pure module [`program`].

pub mod backoff;
pub mod boot;
pub mod compositor;
pub mod control;
pub mod document;
pub mod engine;
pub mod footage;
pub mod gst_log;
pub mod health;
pub mod lifecycle;
pub mod links;
pub mod mark;
pub mod metrics;
pub mod outlet;
pub mod pattern;
pub mod program;
pub mod redact;
pub mod timeline;
pub mod wire;

use anyhow::Context;

/// Makes GStreamer ready: TLS, the LiveKit elements that are linked in, and logs that go to `tracing`.
/// Calling it again is harmless.
pub fn initialize() -> anyhow::Result<()> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // A lost race means that somebody else installed one, which is as good.
        let _already_installed = rustls::crypto::ring::default_provider().install_default().is_err();
    }
    gstreamer::init().context("GStreamer does not start")?;
    gst_log::bridge();
    gstrswebrtc::plugin_register_static().context("the LiveKit elements cannot be registered")
}
