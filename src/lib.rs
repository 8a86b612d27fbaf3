//! The MemorialStream operator: takes memorial services live.

pub mod accounts;
pub mod api;
pub mod clock;
pub mod credentials;
pub mod kubernetes;
pub mod program;
pub mod providers;
pub mod run;
pub mod stream;
pub mod token;
pub mod world;
