//! How requests reach Mux: over HTTP, or into a model of it.

use super::answer::{Answer, retry_after};
use super::credentials::MuxCredentials;
use crate::providers::http::{LONGEST_BODY, bounded_body, http_client};
use crate::providers::{ErrorClass, Interruption, Provider, ProviderError};
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
        let mut response = request.send().await.map_err(|error| Interruption::from(&error))?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = retry_after(header("retry-after-ms"), header("retry-after"));
        let request_id = header("x-request-id").map(str::to_owned);
        let remaining = header("x-ratelimit-remaining").and_then(|value| value.trim().parse().ok());
        let status = response.status().as_u16();
        let body = bounded_body(&mut response, LONGEST_BODY).await?;
        Ok(Answer { status, retry_after, remaining, request_id, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::Loopback;
    use crate::providers::Secret;

    async fn call(answer: &'static [u8], endless: &'static [u8]) -> Result<Answer, Interruption> {
        let server = Loopback::that_goes_on(answer, endless).await;
        let credentials = MuxCredentials {
            base_url: String::new(),
            token_id: "id".into(),
            token_secret: Secret::new("secret"),
        };
        let url = format!("http://127.0.0.1:{}/", server.port).parse().unwrap();
        let timeout = Duration::from_secs(60);
        let call = Call { method: Method::GET, url, credentials, body: None, timeout };
        let answered = HttpTransport::new().unwrap().exchange(call).await;
        server.heard().await;
        answered
    }

    #[tokio::test]
    async fn an_endless_answer_is_not_read_to_its_end() {
        let answered = call(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 65_536]).await;
        assert_eq!(answered, Err(Interruption::TooLong { host: Some("127.0.0.1".into()) }));
    }

    #[tokio::test]
    async fn a_redirection_is_not_followed() {
        let moved = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(call(moved, b"").await.unwrap().status, 302);
    }

    #[tokio::test]
    async fn what_mux_says_of_its_limit_is_read() {
        let told = b"HTTP/1.1 429 Too Many Requests\r\nx-ratelimit-remaining: 3\r\nretry-after: 2\r\n\
            content-length: 0\r\n\r\n";
        let answer = call(told, b"").await.unwrap();
        assert_eq!((answer.remaining, answer.retry_after), (Some(3), Some(Duration::from_secs(2))));
    }
}
