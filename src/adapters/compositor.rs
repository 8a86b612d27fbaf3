//! Speaks to compositor pods over HTTP. They decode what strangers' cameras send, and are trusted no further than must be:
//! no redirections, no answer without a bound, and no text that does not fit a status.

use crate::providers::{Interruption, bounded_body, one_line};
use crate::world::{Compositor, CompositorError, PodEndpoint};
use async_trait::async_trait;
use memorialstream_compositor_protocol::{
    CONTROL_PORT, CompositorStatus, ControlDocument, ProgramApplied, Refusal, SenderRequest, SenderStatus,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A TAKE that is not on the picture after this long has failed.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A sender that stops tells the ingest so before it answers; one that hangs takes up to 7 s to be given up.
const SENDER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes. The status of nine cameras has some 3,000, and what went wrong is told in a few lines.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The client.
#[derive(Clone, Debug)]
pub struct CompositorClient {
    http: Client,
    port: u16,
}

impl CompositorClient {
    /// A client.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        // Pods are reached by address inside the cluster: a proxy of the environment must not see the documents.
        let http = Client::builder().no_proxy().redirect(Policy::none()).build()?;
        Ok(Self { http, port: CONTROL_PORT })
    }

    async fn call<B: Serialize + Sync, A: Answer>(
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
            .request(method, format!("http://{host}:{}{path}", self.port))
            .bearer_auth(pod.bearer_token.reveal())
            .timeout(timeout);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let mut response = request.send().await.map_err(|error| interrupted(&Interruption::from(&error)))?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            return Err(CompositorError::Unauthorized);
        }
        if status.is_redirection() {
            return Err(CompositorError::Unreachable(format!(
                "{path} answered {status}, and no redirection is followed: what runs there is no compositor; check the \
                 compositor's image, then delete the pod"
            )));
        }
        let body = bounded_body(&mut response, LONGEST_ANSWER).await.map_err(|cause| interrupted(&cause))?;
        if status.is_success() {
            return read(&body)
                .ok_or_else(|| CompositorError::Unreachable("an answer that cannot be read".into()));
        }
        Err(read(&body).map_or_else(
            || CompositorError::Unreachable(format!("{path} answered {status}")),
            CompositorError::Refused,
        ))
    }
}

/// What a pod answers.
trait Answer: DeserializeOwned {
    /// What it says in words of its own: they reach conditions and Events.
    fn words(&mut self) -> impl Iterator<Item = &mut String>;
}

impl Answer for CompositorStatus {
    fn words(&mut self) -> impl Iterator<Item = &mut String> {
        [&mut self.boot_error, &mut self.publisher.error, &mut self.sender.error].into_iter().flatten()
    }
}

impl Answer for ProgramApplied {
    fn words(&mut self) -> impl Iterator<Item = &mut String> {
        self.unknown_fields.iter_mut()
    }
}

impl Answer for SenderStatus {
    fn words(&mut self) -> impl Iterator<Item = &mut String> {
        self.error.iter_mut()
    }
}

impl Answer for Refusal {
    fn words(&mut self) -> impl Iterator<Item = &mut String> {
        std::iter::once(&mut self.message)
    }
}

fn read<A: Answer>(body: &[u8]) -> Option<A> {
    let mut answer: A = serde_json::from_slice(body).ok()?;
    for words in answer.words() {
        *words = one_line(words);
    }
    Some(answer)
}

fn interrupted(interruption: &Interruption) -> CompositorError {
    let what = match interruption {
        Interruption::TimedOut { .. } => "no answer in time",
        Interruption::NotReached { .. } => "cannot connect",
        Interruption::TooLong { .. } => "an answer that is longer than any of a compositor's",
        Interruption::Address { .. } | Interruption::BrokeOff { .. } => "the connection broke",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::{Loopback, http};
    use crate::providers::Secret;
    use memorialstream_compositor_protocol::{RefusalReason, Shown, Source, SourceState};
    use tokio::net::TcpListener;

    /// What comes of asking a pod that answers so, and then goes on with `endless` as long as it is read.
    async fn status(
        answer: impl Into<Vec<u8>>,
        endless: &'static [u8],
    ) -> Result<CompositorStatus, CompositorError> {
        let server = Loopback::that_goes_on(answer, endless).await;
        let _installed_already = rustls::crypto::ring::default_provider().install_default();
        let client = CompositorClient { port: server.port, ..CompositorClient::new().unwrap() };
        let pod = PodEndpoint { ip: "127.0.0.1".into(), bearer_token: Secret::new("bearer") };
        let status =
            client.call::<(), _>(&pod, Method::GET, "/v1/status", None, Duration::from_secs(60)).await;
        server.heard().await;
        status
    }

    fn unreachable(answered: Result<CompositorStatus, CompositorError>) -> String {
        let Err(CompositorError::Unreachable(why)) = answered else { panic!("{answered:?}") };
        why
    }

    #[tokio::test]
    async fn a_pod_sends_nobody_elsewhere() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = elsewhere.local_addr().unwrap();
        let moved =
            format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{to}/\r\ncontent-length: 0\r\n\r\n");
        let why = unreachable(status(moved, b"").await);
        assert!(
            why.contains("/v1/status answered 307") && why.contains("no redirection is followed"),
            "{why}"
        );
    }

    #[tokio::test]
    async fn an_endless_answer_is_not_read_to_its_end() {
        for head in ["200 OK", "422 Unprocessable Entity"] {
            let why = unreachable(status(format!("HTTP/1.1 {head}\r\n\r\n"), &[b' '; 4_096]).await);
            assert!(why.contains("longer than any of a compositor's"), "{why}");
        }
    }

    #[tokio::test]
    async fn what_a_pod_says_in_its_own_words_is_one_bounded_line() {
        let long = format!("first\nsecond{}", "x".repeat(10_000));
        let mut said = CompositorStatus { boot_error: Some(long.clone()), ..CompositorStatus::default() };
        (said.publisher.error, said.sender.error) = (Some(long.clone()), Some(long.clone()));
        let said = status(http("200 OK", serde_json::to_string(&said).unwrap()), b"").await.unwrap();
        let refusal = Refusal { reason: RefusalReason::Malformed, message: long };
        let refusal = http("400 Bad Request", serde_json::to_string(&refusal).unwrap());
        let refused = status(refusal, b"").await.unwrap_err().to_string();
        let words = [said.boot_error, said.publisher.error, said.sender.error, Some(refused)];
        for words in words.map(Option::unwrap) {
            assert!(words.starts_with("first second") && words.chars().count() == 500, "{words}");
        }
    }

    #[tokio::test]
    async fn the_longest_honest_status_is_read_and_so_is_a_refusal() {
        let names: Vec<String> = (0..9).map(|number| format!("{number}{}", "x".repeat(62))).collect();
        let source = |name: &String| Source {
            name: name.clone(),
            state: SourceState::Stalled,
            input_age_milliseconds: Some(u64::MAX),
            has_audio: true,
        };
        let honest = CompositorStatus {
            boot_error: Some("x".repeat(500)),
            sources: names.iter().map(source).collect(),
            shown: Shown { sources: names, slate: None },
            ..CompositorStatus::default()
        };
        let body = serde_json::to_string(&honest).unwrap();
        assert!(body.len() < LONGEST_ANSWER / 4, "{}", body.len());
        assert_eq!(status(http("200 OK", &body), b"").await, Ok(honest));
        let refusal = r#"{"reason":"TooManySources","message":"Single shows 1"}"#;
        let refused = status(http("422 Unprocessable Entity", refusal), b"").await.unwrap_err();
        assert_eq!(refused.to_string(), "Single shows 1");
        assert_eq!(status(http("401 Unauthorized", ""), b"").await, Err(CompositorError::Unauthorized));
        assert!(unreachable(status(http("200 OK", "<html>"), b"").await).contains("cannot be read"));
        assert!(unreachable(status(http("500 Oops", "<html>"), b"").await).contains("answered 500"));
    }
}
