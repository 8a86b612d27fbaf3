//! The world, as far as the two lanes reach it: five traits. Time, chance and every effect come in through them, so that
//! a lane can be run against any world.

use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::providers::livekit::{Egress, LivekitCredentials, LivekitRoom, ProgramEgress};
use crate::providers::mux::{Environment, LiveStream, LiveStreamUpdate, MuxCredentials, NewLiveStream};
use crate::providers::{ProviderError, Secret};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, Secret as KubernetesSecret};
use k8s_openapi::jiff::Timestamp;
use memorialstream_compositor_protocol::{
    CompositorStatus, ControlDocument, ProgramApplied, Refusal, SenderRequest, SenderStatus,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Everything that a lane may touch.
#[derive(Clone)]
pub struct World {
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Kubernetes.
    pub store: Arc<dyn Store>,
    /// Mux.
    pub mux: Arc<dyn Mux>,
    /// LiveKit.
    pub livekit: Arc<dyn LiveKit>,
    /// Compositor pods.
    pub compositor: Arc<dyn Compositor>,
}

/// Time and chance.
pub trait Clock: Send + Sync {
    /// The present.
    fn now(&self) -> Timestamp;
    /// A number from 0 up to, not including, 1: jitter.
    fn chance(&self) -> f64;
    /// Text that nobody can guess: bearer tokens.
    fn unguessable(&self) -> Secret;
}

/// A write to Kubernetes, or a read past the cache, that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote in between: look again.
    #[error("the object changed in between")]
    Conflict,
    /// It is not there.
    #[error("not found")]
    NotFound,
    /// The API server refused it; trying the same again will not help.
    #[error("the API server refused it: {0}")]
    Refused(String),
    /// The API server did not answer as it should.
    #[error("the API server does not answer: {0}")]
    Unavailable(String),
}

/// Kubernetes.
#[async_trait]
pub trait Store: Send + Sync {
    /// Every MemorialStream, from the cache.
    fn memorial_streams(&self) -> Vec<Arc<MemorialStream>>;
    /// Returns once the cache holds a newer generation of `object`, or no longer holds it.
    async fn superseded(&self, object: &MemorialStream);
    /// The pods of one object, from the cache.
    fn pods(&self, object: &MemorialStream) -> Vec<Arc<Pod>>;
    /// The UID of kube-system, unless the installation names the cluster otherwise.
    fn cluster_id(&self) -> String;
    /// The data of a Secret. `Ok(None)`: there is none of that name.
    ///
    /// # Errors
    /// The API server did not answer.
    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Secret>>, StoreError>;
    /// Applies a Secret whole.
    ///
    /// # Errors
    /// It was refused, or the API server did not answer.
    async fn apply_secret(&self, secret: KubernetesSecret) -> Result<(), StoreError>;
    /// Creates a pod; one of that name that exists already is success.
    ///
    /// # Errors
    /// It was refused, or the API server did not answer.
    async fn create_pod(&self, pod: Pod) -> Result<(), StoreError>;
    /// Deletes a pod; already gone is success.
    ///
    /// # Errors
    /// It was refused, or the API server did not answer.
    async fn delete_pod(&self, namespace: &str, name: &str) -> Result<(), StoreError>;
    /// Adds or removes our finalizer.
    ///
    /// # Errors
    /// `Conflict` when the object changed in between.
    async fn set_finalizer(&self, object: &MemorialStream, present: bool) -> Result<(), StoreError>;
    /// Writes the life-cycle lane's whole status, carrying the object's resourceVersion, and returns the object as
    /// it is afterwards. `status.program` and the condition `ProgramApplied` are not part of it.
    ///
    /// # Errors
    /// `Conflict` when the object changed in between: nothing was written.
    async fn write_status(
        &self,
        object: &MemorialStream,
        status: &MemorialStreamStatus,
    ) -> Result<MemorialStream, StoreError>;
    /// Writes `status.program` and the condition `ProgramApplied`.
    ///
    /// # Errors
    /// It was refused, or the API server did not answer.
    async fn write_program_status(
        &self,
        object: &MemorialStream,
        status: &MemorialStreamStatus,
    ) -> Result<(), StoreError>;
    /// Tells people something. A failure is logged: an Event is no reason to stop.
    async fn announce(&self, object: &MemorialStream, warning: bool, reason: &str, message: &str);
}

/// Mux. Answers of lists may be as old as `freshness`: one call serves all objects of an environment.
#[async_trait]
pub trait Mux: Send + Sync {
    /// Whose credentials these are. Remembered for some minutes.
    ///
    /// # Errors
    /// As the provider's client.
    async fn environment(&self, account: &MuxCredentials) -> Result<Environment, ProviderError>;
    /// Every live stream of the environment.
    ///
    /// # Errors
    /// As the provider's client.
    async fn streams(
        &self,
        account: &MuxCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LiveStream>>, ProviderError>;
    /// One live stream, asked for now. `None`: Mux says that it does not exist, and the credentials are good.
    ///
    /// # Errors
    /// As the provider's client.
    async fn stream(&self, account: &MuxCredentials, id: &str) -> Result<Option<LiveStream>, ProviderError>;
    /// Creates a live stream. Never repeated by itself.
    ///
    /// # Errors
    /// As the provider's client; `InDoubt` when it may exist now.
    async fn create_stream(
        &self,
        account: &MuxCredentials,
        new: &NewLiveStream,
    ) -> Result<LiveStream, ProviderError>;
    /// Changes settings.
    ///
    /// # Errors
    /// As the provider's client.
    async fn update_stream(
        &self,
        account: &MuxCredentials,
        id: &str,
        update: &LiveStreamUpdate,
    ) -> Result<(), ProviderError>;
    /// Accepts ingest.
    ///
    /// # Errors
    /// As the provider's client.
    async fn enable_stream(&self, account: &MuxCredentials, id: &str) -> Result<(), ProviderError>;
    /// Refuses ingest.
    ///
    /// # Errors
    /// As the provider's client.
    async fn disable_stream(&self, account: &MuxCredentials, id: &str) -> Result<(), ProviderError>;
    /// Ends the recording now.
    ///
    /// # Errors
    /// As the provider's client.
    async fn complete_stream(&self, account: &MuxCredentials, id: &str) -> Result<(), ProviderError>;
    /// Deletes; already gone is success.
    ///
    /// # Errors
    /// As the provider's client.
    async fn delete_stream(&self, account: &MuxCredentials, id: &str) -> Result<(), ProviderError>;
}

/// LiveKit. Answers of lists may be as old as `freshness`: one call serves all objects of a project.
#[async_trait]
pub trait LiveKit: Send + Sync {
    /// Every room.
    ///
    /// # Errors
    /// As the provider's client.
    async fn rooms(
        &self,
        account: &LivekitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LivekitRoom>>, ProviderError>;
    /// Every egress that is not over.
    ///
    /// # Errors
    /// As the provider's client.
    async fn active_egresses(
        &self,
        account: &LivekitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<Egress>>, ProviderError>;
    /// One egress, whatever its state.
    ///
    /// # Errors
    /// As the provider's client.
    async fn egress(&self, account: &LivekitCredentials, id: &str) -> Result<Option<Egress>, ProviderError>;
    /// Creates a room; one of that name that exists already is returned as it is.
    ///
    /// # Errors
    /// As the provider's client.
    async fn create_room(
        &self,
        account: &LivekitCredentials,
        name: &str,
        metadata: &str,
    ) -> Result<LivekitRoom, ProviderError>;
    /// Deletes a room; already gone is success.
    ///
    /// # Errors
    /// As the provider's client.
    async fn delete_room(&self, account: &LivekitCredentials, name: &str) -> Result<(), ProviderError>;
    /// Starts an egress. Takes up to 90 s; never repeated by itself.
    ///
    /// # Errors
    /// As the provider's client; `InDoubt` when it may run now.
    async fn start_egress(
        &self,
        account: &LivekitCredentials,
        request: &ProgramEgress,
    ) -> Result<Egress, ProviderError>;
    /// Stops an egress; already over is success.
    ///
    /// # Errors
    /// As the provider's client.
    async fn stop_egress(&self, account: &LivekitCredentials, id: &str) -> Result<(), ProviderError>;
}

/// Where a compositor pod answers, and its bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEndpoint {
    /// The pod's address.
    pub ip: String,
    /// Guards `/v1`.
    pub bearer_token: Secret,
}

/// Why a compositor pod did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompositorError {
    /// It will not show that.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// It does not take our bearer token (401).
    #[error("the compositor does not accept the operator's bearer token")]
    Unauthorized,
    /// No answer in time, or none that can be read.
    #[error("the compositor does not answer: {0}")]
    Unreachable(String),
}

/// Compositor pods.
#[async_trait]
pub trait Compositor: Send + Sync {
    /// The pod as it is now.
    ///
    /// # Errors
    /// It does not answer.
    async fn status(&self, pod: &PodEndpoint) -> Result<CompositorStatus, CompositorError>;
    /// Makes it composite this. Returns once the first frame that shows it is at the encoder; waits at most 1 s.
    ///
    /// # Errors
    /// It refused, or does not answer.
    async fn program(
        &self,
        pod: &PodEndpoint,
        document: &ControlDocument,
    ) -> Result<ProgramApplied, CompositorError>;
    /// Starts or stops its own sender.
    ///
    /// # Errors
    /// It refused, or does not answer.
    async fn sender(
        &self,
        pod: &PodEndpoint,
        request: &SenderRequest,
    ) -> Result<SenderStatus, CompositorError>;
}
