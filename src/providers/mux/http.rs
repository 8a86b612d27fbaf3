//! Requests to Mux: addressed, held back by the limiter, authenticated, sent once.

use super::answer::Answer;
use super::credentials::MuxCredentials;
use super::limiter::{Kind, Later, RateLimiter};
use super::queue::Priority;
use super::transport::{Call, Transport};
use crate::providers::transport::{self, Repeat};
use crate::providers::{ErrorClass, Provider, ProviderError, Result};
use reqwest::{Method, Url};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Giving up early on a create leaves it in doubt: wait longer.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);
/// Something that makes or changes waits so long for its turn, unless its client is told otherwise: its caller may want
/// something else by then.
const CHANGE_TURN_TIMEOUT: Duration = Duration::from_secs(20);
/// A look waits so long.
const LOOK_TURN_TIMEOUT: Duration = Duration::from_secs(60);

/// One request.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// The client's method, for errors.
    pub operation: &'static str,
    /// HTTP's.
    pub method: Method,
    /// The path in parts, not yet escaped.
    pub path: &'a [&'a str],
    /// After the question mark.
    pub query: &'a [(&'a str, &'a str)],
    /// JSON.
    pub body: Option<Value>,
    /// Who goes first.
    pub priority: Priority,
    /// Names the request among all others of its environment, so that it keeps its place in the queue when it is handed
    /// back. A look has no name: it is not handed back early.
    pub who: Option<String>,
}

impl Request<'_> {
    fn kind(&self) -> Kind {
        if self.method == Method::POST { Kind::Post } else { Kind::Other }
    }

    /// Every `POST` creates something, and Mux knows no idempotency key.
    pub(super) fn repeat(&self) -> Repeat {
        match self.kind() {
            Kind::Post => Repeat::Never,
            Kind::Other => Repeat::Safe,
        }
    }
}

/// Sends requests.
#[derive(Clone)]
pub(super) struct Http {
    transport: Arc<dyn Transport>,
    base_url: Url,
    credentials: MuxCredentials,
    pub limiter: Arc<RateLimiter>,
    /// How long something that makes or changes may wait for its turn.
    pub turn_timeout: Duration,
}

impl Http {
    pub(super) fn new(
        credentials: MuxCredentials,
        limiter: Arc<RateLimiter>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self> {
        let base_url = Url::parse(&credentials.base_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                let message = "Mux's base URL is not an http or https URL; correct it";
                ProviderError::new(Provider::Mux, "new", ErrorClass::Terminal, message)
            })?;
        Ok(Self { transport, base_url, credentials, limiter, turn_timeout: CHANGE_TURN_TIMEOUT })
    }

    /// Sends it once, as soon as the limiter lets it.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer> {
        let error =
            |class, message: &str| ProviderError::new(Provider::Mux, request.operation, class, message);
        let turn_timeout = if request.who.is_some() { self.turn_timeout } else { LOOK_TURN_TIMEOUT };
        let turn = self
            .limiter
            .acquire(request.kind(), request.priority, turn_timeout, request.who.as_deref())
            .await;
        if let Err(Later(wait)) = turn {
            let message = "too many requests of ours wait for Mux's rate limit";
            return Err(error(ErrorClass::RateLimited { retry_after: Some(wait) }, message));
        }
        let answer = self.transport.exchange(self.call(request)).await.map_err(|interruption| {
            transport::failed(Provider::Mux, request.operation, request.repeat(), &interruption)
        })?;
        tracing::debug!(
            operation = request.operation,
            status = answer.status,
            request_id = answer.request_id.as_deref(),
            "Mux answered"
        );
        if let Some(remaining) = answer.remaining {
            self.limiter.remaining(request.kind(), remaining);
        }
        if answer.status == 429 {
            self.limiter.refused(request.kind(), answer.retry_after);
        }
        answer.accepted(request.operation, request.repeat())
    }

    fn call(&self, request: &Request<'_>) -> Call {
        let mut url = self.url(request.path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        Call {
            method: request.method.clone(),
            url,
            credentials: self.credentials.clone(),
            body: request.body.clone(),
            timeout: if request.repeat() == Repeat::Never { CREATE_TIMEOUT } else { TIMEOUT },
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base_url.clone();
        // A URL with a host can always be extended; `new` made sure of the host.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::super::limiter::RateLimits;
    use super::*;
    use crate::providers::Secret;

    fn http(base_url: &str) -> Result<Http> {
        let credentials = MuxCredentials {
            base_url: base_url.into(),
            token_id: "id".into(),
            token_secret: Secret::new("hidden-secret"),
        };
        let transport = Arc::new(super::super::transport::HttpTransport::new().unwrap());
        Http::new(credentials, Arc::new(RateLimiter::new(RateLimits::default())), transport)
    }

    #[test]
    fn paths_are_escaped_and_a_base_path_is_kept() {
        let path = ["video", "v1", "live-streams", "a/b?c"];
        assert_eq!(
            http("https://api.mux.com").unwrap().url(&path).as_str(),
            "https://api.mux.com/video/v1/live-streams/a%2Fb%3Fc"
        );
        assert_eq!(
            http("http://127.0.0.1:1/mux/").unwrap().url(&path[..2]).as_str(),
            "http://127.0.0.1:1/mux/video/v1"
        );
    }

    #[test]
    fn a_base_url_that_is_none_is_refused_without_quoting_it() {
        for wrong in ["", "api.mux.com", "ftp://x", "https://", "unix:/hidden-secret"] {
            let error = http(wrong).err().unwrap();
            assert_eq!(error.class, ErrorClass::Terminal, "{wrong}");
            assert!(!error.to_string().contains("hidden"));
        }
        assert!(!format!("{:?}", http("https://api.mux.com").unwrap().credentials).contains("hidden"));
    }
}
