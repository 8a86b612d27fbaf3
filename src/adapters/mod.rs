//! The traits of [`world`](crate::world) over the real world.

pub mod clock;
pub mod compositor;
mod deeds;
mod kept;
pub mod kubernetes;
pub mod livekit;
pub mod mux;
mod pulse;
mod question;
pub mod viewer;
