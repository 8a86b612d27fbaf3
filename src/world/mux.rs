//! Mux.

use crate::providers::ProviderError;
use crate::providers::mux::{Environment, LiveStream, LiveStreamUpdate, MuxCredentials, NewLiveStream};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// Mux. Answers of lists may be as old as `freshness`: one request serves all objects of an environment. Failures are
/// those of [`MuxClient`](crate::providers::mux::MuxClient).
#[async_trait]
pub trait Mux: Send + Sync {
    /// Whose credentials these are. Remembered for some minutes.
    async fn environment(&self, credentials: &MuxCredentials) -> Result<Environment, ProviderError>;
    /// Every live stream of the environment.
    async fn streams(
        &self,
        credentials: &MuxCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LiveStream>>, ProviderError>;
    /// One live stream, asked for now. `None`: Mux says that it does not exist, and the credentials are good.
    async fn stream(
        &self,
        credentials: &MuxCredentials,
        id: &str,
    ) -> Result<Option<LiveStream>, ProviderError>;
    /// Creates a live stream. Never repeated by itself; `InDoubt` when it may exist now.
    async fn create_stream(
        &self,
        credentials: &MuxCredentials,
        new: &NewLiveStream,
    ) -> Result<LiveStream, ProviderError>;
    /// Changes settings.
    async fn update_stream(
        &self,
        credentials: &MuxCredentials,
        id: &str,
        update: &LiveStreamUpdate,
    ) -> Result<(), ProviderError>;
    /// Accepts ingest.
    async fn enable_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError>;
    /// Refuses ingest.
    async fn disable_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError>;
    /// Ends the recording now.
    async fn complete_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError>;
    /// Deletes; already gone is success.
    async fn delete_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError>;
}
