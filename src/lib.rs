//! The MemorialStream operator: takes memorial services live.

pub mod adapters;
pub mod api;
pub mod lifecycle;
#[cfg(test)]
mod loopback;
mod places;
pub mod program;
pub mod providers;
pub mod run;
pub mod service;
pub mod token;
pub mod watchdog;
pub mod world;
