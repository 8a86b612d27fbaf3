//! The traits of [`world`](crate::world) over the real world.

pub mod clock;
pub mod compositor;
pub mod kubernetes;
pub mod livekit;
pub mod mux;
mod shared;
pub mod viewer;
