//! Compositor pods, over HTTP.

use crate::providers::Secret;
use async_trait::async_trait;
use memorialstream_compositor_protocol::{
    CompositorStatus, ControlDocument, ProgramApplied, Refusal, SenderRequest, SenderStatus,
};

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

/// Compositor pods. Each request is bounded in time.
#[async_trait]
pub trait Compositor: Send + Sync {
    /// The pod as it is now.
    async fn status(&self, pod: &PodEndpoint) -> Result<CompositorStatus, CompositorError>;
    /// Makes it composite this. Returns once the first frame that shows it is at the encoder; waits at most 1 s.
    async fn program(
        &self,
        pod: &PodEndpoint,
        document: &ControlDocument,
    ) -> Result<ProgramApplied, CompositorError>;
    /// Starts or stops its own sender.
    async fn sender(
        &self,
        pod: &PodEndpoint,
        request: &SenderRequest,
    ) -> Result<SenderStatus, CompositorError>;
}
