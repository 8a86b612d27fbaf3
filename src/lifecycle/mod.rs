//! The life-cycle lane: [`observe`] reads everything that is needed, [`plan`] decides (pure), [`apply`] acts, and
//! [`status`] says how things stand (pure).

pub mod apply;
mod at_rest;
pub mod backoff;
pub mod context;
mod copies;
#[cfg(test)]
mod given;
pub mod heard;
pub mod in_flight;
pub mod intents;
pub mod let_go;
pub mod look;
pub mod observe;
pub mod observed;
pub mod outlived;
pub mod plan;
mod reconcile;
mod rotation;
pub mod sight;
pub mod slugs;
pub mod status;
pub mod unwritten;
pub mod witnesses;

pub use context::Context;
pub use copies::keep_sweeping;
pub use reconcile::reconcile;
pub use rotation::wake_on_rotation;
