//! The fast lane: what Program shows. It shares no queue with the life-cycle lane, so a TAKE never waits for a
//! provider.

mod reconcile;
mod report;
mod tokens;

pub use reconcile::{Context, Memories, reconcile};
