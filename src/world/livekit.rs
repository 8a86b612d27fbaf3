//! LiveKit.

use crate::providers::ProviderError;
use crate::providers::livekit::{Egress, LiveKitCredentials, LiveKitRoom, Participant, ProgramEgress};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// LiveKit. Answers may be as old as `freshness`: one request serves all objects of a project. An answer that takes long
/// is not waited for: the error says so, and the answer serves who asks next. Failures are those of
/// [`LiveKitClient`](crate::providers::livekit::LiveKitClient).
#[async_trait]
pub trait LiveKit: Send + Sync {
    /// Every room.
    async fn rooms(
        &self,
        credentials: &LiveKitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LiveKitRoom>>, ProviderError>;
    /// Who is in a room; nobody in one that does not exist.
    async fn participants(
        &self,
        credentials: &LiveKitCredentials,
        room: &str,
        freshness: Duration,
    ) -> Result<Arc<Vec<Participant>>, ProviderError>;
    /// Every egress that is not over.
    async fn active_egresses(
        &self,
        credentials: &LiveKitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<Egress>>, ProviderError>;
    /// How long ago the newest list of egresses was asked for; absent before the first.
    fn age_of_egresses(&self, credentials: &LiveKitCredentials) -> Option<Duration>;
    /// One egress, whatever its state.
    async fn egress(
        &self,
        credentials: &LiveKitCredentials,
        id: &str,
        freshness: Duration,
    ) -> Result<Option<Egress>, ProviderError>;
    /// Creates a room; one of that name that exists already is returned as it is.
    async fn create_room(
        &self,
        credentials: &LiveKitCredentials,
        name: &str,
        metadata: &str,
    ) -> Result<LiveKitRoom, ProviderError>;
    /// Deletes a room; already gone is success.
    async fn delete_room(&self, credentials: &LiveKitCredentials, name: &str) -> Result<(), ProviderError>;
    /// Starts an egress. Takes up to 90 s; never repeated by itself; `InDoubt` when it may run now.
    async fn start_egress(
        &self,
        credentials: &LiveKitCredentials,
        request: &ProgramEgress,
    ) -> Result<Egress, ProviderError>;
    /// Whether the worker of an egress that is said to run answers within some seconds.
    async fn ask_worker(&self, credentials: &LiveKitCredentials, id: &str) -> Result<bool, ProviderError>;
    /// Stops an egress; already over is success.
    async fn stop_egress(&self, credentials: &LiveKitCredentials, id: &str) -> Result<(), ProviderError>;
}
