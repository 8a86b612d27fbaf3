//! How requests reach Mux: over HTTP, or into a model of it.

use super::answer::{Answer, retry_after};
use super::http::MuxCredentials;
use crate::providers::{ErrorClass, Interruption, Provider, ProviderError};
use async_trait::async_trait;
use reqwest::{Client, Method, Url};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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

/// Speaks TLS with rustls on ring and Mozilla's roots: it needs no certificates in the image.
pub(in crate::providers) fn http_client() -> std::result::Result<Client, Box<dyn std::error::Error>> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .user_agent(concat!("memorialstream-operator/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}
