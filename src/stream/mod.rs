//! The life-cycle lane: [`observe`] reads everything that is needed, [`plan`] decides (pure), [`apply`] acts, and
//! [`status`] says how things stand (pure).

pub(crate) mod account;
pub mod apply;
pub mod lane;
pub mod memory;
pub mod observe;
pub mod observed;
pub mod plan;
pub mod pod;
pub mod slugs;
pub mod status;
pub mod wanted;
