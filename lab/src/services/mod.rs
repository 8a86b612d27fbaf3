//! LiveKit and what it needs.

pub mod livekit;
