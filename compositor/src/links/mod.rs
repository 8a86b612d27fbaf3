//! What connects the mix to the world: cameras of the room, Program in the room, and the RTMP sender. Each is a
//! pipeline of its own, supervised, so that its faults stay its own.

pub mod camera;
#[cfg(test)]
mod fake_ingest;
pub mod intake;
pub mod publisher;
pub mod room;
pub mod sender;
mod socket;
pub mod supervisor;
