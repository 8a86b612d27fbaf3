//! What a Mux environment is reached by.

use crate::providers::Secret;

/// With what to call Mux.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MuxCredentials {
    /// `https://api.mux.com`, or a stand-in.
    pub base_url: String,
    /// An access token's id. Tokens belong to one environment.
    pub token_id: String,
    /// The access token's secret.
    pub token_secret: Secret,
}
