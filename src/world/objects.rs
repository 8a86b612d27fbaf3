//! MemorialStreams, their status, and the Events about them.

use crate::api::status::OwnedByProgram;
use crate::api::{MemorialStream, MemorialStreamStatus};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use std::sync::Arc;

/// A write to Kubernetes, or a read past the cache, that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubernetesError {
    /// Somebody else wrote in between: look again.
    #[error("the object changed in between")]
    Conflict,
    /// It is not there.
    #[error("not found")]
    NotFound,
    /// The API server refused it; trying the same again will not help.
    #[error("the API server refused it: {0}")]
    Refused(String),
    /// The operator has no permission there; a person has to give it.
    #[error("{0}")]
    Forbidden(String),
    /// What is to be written belongs to somebody else.
    #[error("{0}")]
    NotOurs(String),
    /// The API server did not answer as it should.
    #[error("the API server does not answer: {0}")]
    Unavailable(String),
}

/// MemorialStreams. A write fails as [`KubernetesError`] says; each is bounded in time.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Every MemorialStream, from the cache.
    fn memorial_streams(&self) -> Vec<Arc<MemorialStream>>;
    /// The copies of credentials that those objects name which cannot be read: what runs for them is ended one day.
    fn copies_of_unreadable(&self) -> Vec<String>;
    /// Whether the API server, past the cache, still has this very object, by its UID, and nobody lets it go without us: it
    /// has our finalizer, or is not being deleted.
    async fn is_held(&self, object: &MemorialStream) -> Result<bool, KubernetesError>;
    /// Returns once the cache holds a newer generation of `object`, or no longer holds it.
    async fn superseded(&self, object: &MemorialStream);
    /// Adds or removes our finalizer, carrying the object's resourceVersion.
    async fn set_finalizer(&self, object: &MemorialStream, present: bool) -> Result<(), KubernetesError>;
    /// Writes the life-cycle lane's whole status, carrying the object's resourceVersion, and returns the object as
    /// it is afterwards. `status.program` and the condition `ProgramApplied` are not part of it. After `Conflict`
    /// nothing was written.
    async fn write_status(
        &self,
        object: &MemorialStream,
        status: &MemorialStreamStatus,
    ) -> Result<MemorialStream, KubernetesError>;
    /// Writes `status.program` and the condition `ProgramApplied`.
    async fn write_program_status(
        &self,
        object: &MemorialStream,
        status: &OwnedByProgram,
    ) -> Result<(), KubernetesError>;
    /// Keeps a record in the operator's own namespace, in place of an older one of that name.
    async fn keep_record(&self, record: ConfigMap) -> Result<(), KubernetesError>;
    /// Who wrote the spec last, by field manager; absent where nobody can say.
    async fn last_manager(&self, object: &MemorialStream) -> Option<String>;
    /// Tells people something. A failure is logged: an Event is no reason to stop.
    async fn publish_event(&self, object: &MemorialStream, warning: bool, reason: &str, message: &str);
}
