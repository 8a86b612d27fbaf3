//! The fast lane: what Program shows. It shares no queue with the life-cycle lane, so a TAKE never waits for a
//! provider.

pub mod client;
pub mod document;
pub mod lane;
