//! A real cluster and real providers on one machine, without Docker: for the demo and the end-to-end tests. Only Mux
//! is simulated, because it is a hosted service.

mod cluster;
mod description;
mod folders;
pub mod images;
pub mod lab;
mod leftovers;
mod parts;
mod ports;
mod process;
mod progress;
mod secret;
mod services;

pub use description::{DESCRIPTION_VARIABLE, LabDescription, LiveKit, Mux, attach};
pub use folders::{Cache, RunFolder};
pub use leftovers::list as leftovers;
pub use parts::prepare;
pub use ports::Ports;
pub use process::RunningProcess;
pub use secret::Secret;
