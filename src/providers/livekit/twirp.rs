//! How requests reach LiveKit: Twirp, which is one POST of protobuf for each call. livekit-api would follow redirections, read
//! answers of any length and repeat calls; a tenant may have named the server.
//!
//! Source: twitchtv.github.io/twirp/docs/spec_v7.html; paths and grants as in livekit-api 0.10, `services`.

use super::credentials::LiveKitCredentials;
use crate::providers::http::{LONGEST_BODY, bounded_body, http_client};
use crate::providers::{ErrorClass, Interruption, Provider, ProviderError, Result, Secret};
use livekit_api::access_token::{AccessToken, AccessTokenError, VideoGrants};
use livekit_api::services::ServerErrorCode;
use prost::Message;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use std::time::Duration;

const PROTOBUF: &str = "application/protobuf";
/// A token signs one request.
const TOKEN_LIFETIME: Duration = Duration::from_secs(600);

/// Calls one LiveKit server.
pub(super) struct Twirp {
    client: Client,
    base: Url,
    api_key: String,
    api_secret: Secret,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// LiveKit says so.
    Refused(ServerErrorCode),
    /// Something else than LiveKit answered, with this status, or LiveKit before it looked at the call: a wrong key or
    /// secret.
    NotLiveKit(u16),
    /// No answer, or none that is complete.
    Interrupted(Interruption),
    /// The call cannot be signed.
    Unsigned(AccessTokenError),
}

/// One call.
pub(super) struct Call<'a, Q> {
    pub service: &'static str,
    pub method: &'static str,
    pub request: &'a Q,
    pub grants: VideoGrants,
    pub timeout: Duration,
}

impl Twirp {
    /// # Errors
    /// The URL is none that LiveKit could have.
    pub(super) fn new(credentials: &LiveKitCredentials) -> Result<Self> {
        let LiveKitCredentials { url, api_key, api_secret } = credentials;
        let terminal =
            |message: String| ProviderError::new(Provider::LiveKit, "new", ErrorClass::Terminal, message);
        let base = http_url(url).ok_or_else(|| {
            terminal("LiveKit's URL is not a ws, wss, http or https URL; correct it".into())
        })?;
        let client =
            http_client().map_err(|error| terminal(format!("no HTTP client can be made: {error}")))?;
        Ok(Self { client, base, api_key: api_key.clone(), api_secret: api_secret.clone() })
    }

    /// Sends it once.
    pub(super) async fn call<Q: Message, A: Message + Default>(
        &self,
        call: Call<'_, Q>,
    ) -> std::result::Result<A, Failure> {
        let Call { service, method, request, grants, timeout } = call;
        let token = AccessToken::with_api_key(&self.api_key, self.api_secret.reveal())
            .with_grants(grants)
            .with_ttl(TOKEN_LIFETIME)
            .to_jwt()
            .map_err(Failure::Unsigned)?;
        let mut url = self.base.clone();
        url.set_path(&format!("/twirp/livekit.{service}/{method}"));
        let interrupted = |error: reqwest::Error| Failure::Interrupted(Interruption::from(&error));
        let sent = self
            .client
            .post(url)
            .bearer_auth(token)
            .header(CONTENT_TYPE, PROTOBUF)
            .body(request.encode_to_vec())
            .timeout(timeout)
            .send();
        let mut response = sent.await.map_err(interrupted)?;
        let status = response.status();
        let body = bounded_body(&mut response, LONGEST_BODY).await.map_err(Failure::Interrupted)?;
        let not_livekit = Failure::NotLiveKit(status.as_u16());
        if status == reqwest::StatusCode::OK {
            return A::decode(body.as_slice()).map_err(|_| not_livekit);
        }
        Err(serde_json::from_slice(&body).map_or(not_livekit, Failure::Refused))
    }
}

/// LiveKit's addresses are written as those of its WebSocket.
fn http_url(url: &str) -> Option<Url> {
    let http = match url.split_once("://")? {
        ("wss", rest) => format!("https://{rest}"),
        ("ws", rest) => format!("http://{rest}"),
        ("http" | "https", _) => url.to_owned(),
        _ => return None,
    };
    Url::parse(&http).ok().filter(Url::has_host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::{Loopback, http};
    use livekit_protocol::{ListRoomsRequest, ListRoomsResponse, Room};

    /// What comes of a call to a server that answers so, and then goes on with `endless` as long as it is read. With the
    /// head of the request.
    async fn answered(
        answer: Vec<u8>,
        endless: &'static [u8],
    ) -> (std::result::Result<ListRoomsResponse, Failure>, String) {
        let server = Loopback::that_goes_on(answer, endless).await;
        let url = format!("ws://127.0.0.1:{}/ignored", server.port);
        let api_secret = Secret::new("a-secret-of-thirty-two-characters");
        let credentials = LiveKitCredentials { url, api_key: "key".into(), api_secret };
        let call = Call {
            service: "RoomService",
            method: "ListRooms",
            request: &ListRoomsRequest::default(),
            grants: VideoGrants { room_list: true, ..VideoGrants::default() },
            timeout: Duration::from_secs(60),
        };
        let answer = Twirp::new(&credentials).unwrap().call(call).await;
        (answer, server.heard().await)
    }

    #[tokio::test]
    async fn a_call_is_one_signed_post_of_protobuf() {
        let rooms = vec![Room { name: "memorial".into(), ..Room::default() }];
        let body = ListRoomsResponse { rooms }.encode_to_vec();
        let (answer, request) = answered(http("200 OK", &body), b"").await;
        assert_eq!(answer.unwrap().rooms[0].name, "memorial");
        let request = request.to_lowercase();
        assert!(request.starts_with("post /twirp/livekit.roomservice/listrooms http/1.1"), "{request}");
        assert!(request.contains("content-type: application/protobuf"), "{request}");
        assert!(request.contains("authorization: bearer ey"), "{request}");
    }

    #[tokio::test]
    async fn livekits_own_words_are_told_from_those_of_others() {
        let body = br#"{"code": "not_found", "msg": "no such room", "meta": {}}"#;
        let (answer, _) = answered(http("404 Not Found", body), b"").await;
        assert!(matches!(answer, Err(Failure::Refused(refusal)) if refusal.code == "not_found"));
        for (status, body) in [("401 Unauthorized", "invalid token"), ("200 OK", "<html>")] {
            let (answer, _) = answered(http(status, body.as_bytes()), b"").await;
            assert!(matches!(answer, Err(Failure::NotLiveKit(_))), "{status}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_redirection_is_not_followed_and_an_endless_answer_is_not_read_to_its_end() {
        let moved = b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert!(matches!(answered(moved.to_vec(), b"").await.0, Err(Failure::NotLiveKit(_))));
        let (answer, _) = answered(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), &[b'x'; 65_536]).await;
        assert!(matches!(answer, Err(Failure::Interrupted(Interruption::TooLong { .. }))), "{answer:?}");
    }

    #[test]
    fn only_addresses_that_livekit_could_have_are_taken() {
        assert_eq!(http_url("wss://x.livekit.cloud").unwrap().as_str(), "https://x.livekit.cloud/");
        for wrong in ["", "livekit:7880", "ftp://x", "wss://", "unix:/x"] {
            assert_eq!(http_url(wrong), None, "{wrong}");
        }
    }
}
