//! How requests reach Mux: over HTTP, or into a model of it.

use super::answer::{Answer, retry_after};
use super::http::MuxCredentials;
use crate::providers::{ErrorClass, Interruption, Provider, ProviderError, http_client};
use async_trait::async_trait;
use reqwest::{Client, Method, Url};
use serde_json::Value;
use std::time::Duration;

/// One request, complete.
#[derive(Clone, Debug)]
pub struct Call {
    /// HTTP's.
    pub method: Method,
    /// With the query.
    pub url: Url,
    /// Who asks.
    pub credentials: MuxCredentials,
    /// JSON.
    pub body: Option<Value>,
    /// How long the whole exchange may take.
    pub timeout: Duration,
}

/// Sends one request, once.
#[async_trait]
pub trait Transport: Send + Sync {
    /// The answer, whatever its status.
    ///
    /// # Errors
    /// There is none, or it is not complete.
    async fn exchange(&self, call: Call) -> Result<Answer, Interruption>;
}

/// Sends requests over HTTP.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: Client,
}

impl HttpTransport {
    /// A transport.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new() -> Result<Self, ProviderError> {
        let client = http_client().map_err(|error| {
            let message = format!("no HTTP client can be made: {error}");
            ProviderError::new(Provider::Mux, "new", ErrorClass::Terminal, message)
        })?;
        Ok(Self { client })
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn exchange(&self, call: Call) -> Result<Answer, Interruption> {
        let Call { method, url, credentials, body, timeout } = call;
        let mut request = self
            .client
            .request(method, url)
            .basic_auth(&credentials.token_id, Some(credentials.token_secret.reveal()))
            .timeout(timeout);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| Interruption::from(&error))?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = retry_after(header("retry-after-ms"), header("retry-after"));
        let request_id = header("x-request-id").map(str::to_owned);
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(|error| Interruption::from(&error))?.to_vec();
        Ok(Answer { status, retry_after, request_id, body })
    }
}
