//! LiveKit and what it needs, and the stand-in for Mux.

pub mod livekit;
pub mod mux;
pub mod rtmp;
