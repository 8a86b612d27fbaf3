//! Speaks to compositor pods over HTTP.

use crate::world::{Compositor, CompositorError, PodEndpoint};
use async_trait::async_trait;
use memorialstream_compositor_protocol::{
    CONTROL_PORT, CompositorStatus, ControlDocument, ProgramApplied, Refusal, SenderRequest, SenderStatus,
};
use reqwest::{Client, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A TAKE that is not on the picture after this long has failed.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A sender that stops tells the ingest so before it answers; one that hangs takes up to 7 s to be given up.
const SENDER_TIMEOUT: Duration = Duration::from_secs(10);

/// The client.
#[derive(Clone, Debug)]
pub struct CompositorClient {
    http: Client,
}

impl CompositorClient {
    /// A client.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        // Pods are reached by address inside the cluster: a proxy of the environment must not see the documents.
        let http = Client::builder().no_proxy().build()?;
        Ok(Self { http })
    }

    async fn call<B: Serialize + Sync, A: DeserializeOwned>(
        &self,
        pod: &PodEndpoint,
        method: Method,
        path: &str,
        body: Option<&B>,
        timeout: Duration,
    ) -> Result<A, CompositorError> {
        let host = if pod.ip.contains(':') { format!("[{}]", pod.ip) } else { pod.ip.clone() };
        let request = self
            .http
            .request(method, format!("http://{host}:{CONTROL_PORT}{path}"))
            .bearer_auth(pod.bearer_token.reveal())
            .timeout(timeout);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.map_err(unreachable)?;
        match response.status() {
            status if status.is_success() => response.json().await.map_err(unreachable),
            StatusCode::UNAUTHORIZED => Err(CompositorError::Unauthorized),
            status => match response.json::<Refusal>().await {
                Ok(refusal) => Err(CompositorError::Refused(refusal)),
                Err(_) => Err(CompositorError::Unreachable(format!("{path} answered {status}"))),
            },
        }
    }
}

fn unreachable(error: reqwest::Error) -> CompositorError {
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_decode() {
        "an answer that cannot be read"
    } else {
        "the connection broke"
    };
    CompositorError::Unreachable(what.to_owned())
}

#[async_trait]
impl Compositor for CompositorClient {
    async fn status(&self, pod: &PodEndpoint) -> Result<CompositorStatus, CompositorError> {
        self.call::<(), _>(pod, Method::GET, "/v1/status", None, TIMEOUT).await
    }

    async fn program(
        &self,
        pod: &PodEndpoint,
        document: &ControlDocument,
    ) -> Result<ProgramApplied, CompositorError> {
        self.call(pod, Method::PUT, "/v1/program", Some(document), TIMEOUT).await
    }

    async fn sender(
        &self,
        pod: &PodEndpoint,
        request: &SenderRequest,
    ) -> Result<SenderStatus, CompositorError> {
        self.call(pod, Method::PUT, "/v1/sender", Some(request), SENDER_TIMEOUT).await
    }
}
