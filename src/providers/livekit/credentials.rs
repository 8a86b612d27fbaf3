//! What a LiveKit project is reached by.

use crate::providers::Secret;

/// With what to call LiveKit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LiveKitCredentials {
    /// `wss://…`, `ws://…`, `https://…` or `http://…`. A path is ignored.
    pub url: String,
    /// The project's key.
    pub api_key: String,
    /// The key's secret.
    pub api_secret: Secret,
}
