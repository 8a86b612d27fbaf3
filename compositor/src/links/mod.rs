//! What connects the mix to the world: cameras of the room, Program in the room, and the RTMP sender. Each is a
//! pipeline of its own, supervised, so that its faults stay its own.

pub mod camera;
pub mod publisher;
pub mod room;
pub mod sender;
pub mod supervisor;
