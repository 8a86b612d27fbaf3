//! Mux.

use crate::providers::ProviderError;
use crate::providers::mux::{Environment, LiveStream, LiveStreamUpdate, MuxCredentials, NewLiveStream};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// What came of a look on which nothing depends.
#[derive(Clone, Debug)]
pub enum SpareLook {
    /// None is left now.
    NotNow,
    /// The answer is on its way. Such looks go last: nothing is wrong with Mux.
    Awaited,
    /// As for any other look.
    Answered(Result<Option<LiveStream>, ProviderError>),
}

/// Mux. Answers may be as old as `freshness`: one request serves all objects of an environment. An answer that takes long
/// is not waited for: the error says so, and the answer serves who asks next. Failures are those of
/// [`MuxClient`](crate::providers::mux::MuxClient).
#[async_trait]
pub trait Mux: Send + Sync {
    /// Whose credentials these are. Remembered for some minutes.
    async fn environment(&self, credentials: &MuxCredentials) -> Result<Environment, ProviderError>;
    /// Every live stream of the environment that is active. One that is not among them may be active nevertheless: lists
    /// may lag.
    async fn active_streams(
        &self,
        credentials: &MuxCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LiveStream>>, ProviderError>;
    /// How old the newest answer about active streams is; absent before the first.
    fn age_of_active(&self, credentials: &MuxCredentials) -> Option<Duration>;
    /// One live stream. `None`: Mux says that it does not exist, and the credentials are good. `Duration::ZERO` asks for
    /// Mux's own word of this moment, as is needed before a start; fresher than 10 s goes ahead of other looks.
    async fn stream(
        &self,
        credentials: &MuxCredentials,
        id: &str,
        freshness: Duration,
    ) -> Result<Option<LiveStream>, ProviderError>;
    /// One live stream on which nothing depends now. However many ask, it costs a few requests a minute.
    async fn spare_look(&self, credentials: &MuxCredentials, id: &str, freshness: Duration) -> SpareLook;
    /// How long ago the list was asked for that told of marked streams last; absent before the first.
    fn age_of_markers(&self, credentials: &MuxCredentials) -> Option<Duration>;
    /// The ids of all live streams with this marker. It takes the list of all streams, whoever made them: many requests,
    /// which serve all objects of the environment. One that was deleted since may be among them.
    async fn marked_streams(
        &self,
        credentials: &MuxCredentials,
        marker: &str,
        freshness: Duration,
    ) -> Result<Vec<String>, ProviderError>;
    /// Creates a live stream. Never repeated by itself; `InDoubt` when it may exist now. `awaited`: people wait for it, so
    /// that it goes before those for which nobody does.
    async fn create_stream(
        &self,
        credentials: &MuxCredentials,
        new: &NewLiveStream,
        awaited: bool,
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
