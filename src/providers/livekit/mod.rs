//! LiveKit: rooms, egress and participants' tokens.
//!
//! Facts come from the sources of livekit-server 1.13, egress 1.14, `livekit/protocol` and the crate livekit-api 0.10.

mod client;
mod credentials;
mod egress;
mod error;
mod redact;
mod room;
mod token;
mod twirp;

pub use client::{LiveKitApi, LiveKitClient};
pub use credentials::LiveKitCredentials;
pub use egress::{Egress, EgressStatus, ProgramEgress};
pub use redact::redact;
pub use room::{LiveKitRoom, Participant, ParticipantKind, Track, TrackKind, TrackSource};
pub use token::{MAX_TOKEN_LIFETIME, TokenMinter};
