//! Time and chance.

use crate::providers::Secret;
use k8s_openapi::jiff::Timestamp;

/// Time and chance.
pub trait Clock: Send + Sync {
    /// The present, by the wall clock. It may jump both ways.
    fn now(&self) -> Timestamp;
    /// A number from 0 up to, not including, 1, that spreads the herd.
    fn jitter(&self) -> f64;
    /// Text that nobody can guess: bearer tokens.
    fn unguessable(&self) -> Secret;
}
