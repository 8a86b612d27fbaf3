//! Typed clients of Mux and LiveKit. They know nothing of Kubernetes, repeat nothing by themselves, and class every
//! failure once.

mod error;
mod http;
pub mod livekit;
pub mod mux;
mod transport;

pub(crate) use error::one_line;
pub use error::{Cause, ErrorClass, Provider, ProviderError, Result};
pub(crate) use http::bounded_body;
pub use http::http_client;
pub use memorialstream_compositor_protocol::Secret;
pub use transport::Interruption;
