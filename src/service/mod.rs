//! The floor under both lanes, pure: who an object is, what is desired of it, its pod, the document that its pod
//! composites, with what to sign in for it, and what wakes a lane.

pub mod abandoned;
pub mod control_document;
pub mod credentials;
pub mod desired;
pub mod identity;
pub mod pod;
pub mod said;
pub mod stream_key;
pub mod trigger;

pub use identity::Identity;
