//! The `MemorialStream` resource: what people write ([`spec`]), what the operator answers ([`status`]), and the
//! conditions in which it says how things stand ([`conditions`]).

pub mod conditions;
pub mod crd;
pub mod names;
pub mod reason;
pub mod reference;
pub mod spec;
pub mod status;

pub use reason::Reason;
pub use spec::{MemorialStream, MemorialStreamSpec};
pub use status::MemorialStreamStatus;
