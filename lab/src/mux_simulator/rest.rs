//! Mux's REST API over HTTP.

use super::server::NoAnswer;
use super::simulator::Simulator;
use super::spoilt::{self, End};
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memorialstream_mux_model::{Answer, Credentials, Delivery, Request, Secret};
use std::sync::Arc;

/// Answers any request outside of the simulator's own addresses.
pub async fn answer(
    State(simulator): State<Arc<Simulator>>,
    method: Method,
    uri: Uri,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(method) = method.as_str().parse() else {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    };
    let request = Request {
        method,
        path: uri.path().to_owned(),
        query,
        credentials: headers.get(header::AUTHORIZATION).and_then(basic),
        body: body.to_vec(),
    };
    let token = request.credentials.as_ref().map(|credentials| credentials.token_id.as_str());
    let answer = simulator.with(token, |model, now| model.request(now, &request));
    tokio::time::sleep(answer.delay).await;
    respond(answer).await
}

/// HTTP Basic (RFC 7617).
fn basic(header: &HeaderValue) -> Option<Credentials> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (token_id, secret) = pair.split_once(':')?;
    Some(Credentials { token_id: token_id.to_owned(), token_secret: Secret::new(secret) })
}

/// Sends it, or what a fault has made of it.
pub async fn respond(answer: Answer) -> Response {
    let bytes = answer.bytes();
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let (body, promised) = match answer.delivery {
        Delivery::Closed => return NoAnswer.into_response(),
        Delivery::Hangs => std::future::pending().await,
        Delivery::Whole | Delivery::Page => (Body::from(bytes), None),
        Delivery::Truncated => (spoilt::body(0, answer.arrives(usize::MAX), End::Cut), Some(length)),
        Delivery::Stalls => (spoilt::body(0, answer.arrives(usize::MAX), End::Stall), Some(length)),
        Delivery::Padded { bytes: all } => {
            let spaces = all.map_or(u64::MAX, |all| all.saturating_sub(length));
            (spoilt::body(spaces, bytes, End::Whole), all.map(|all| all.max(length)))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(promised) = promised {
        headers.insert(header::CONTENT_LENGTH, promised.into());
    }
    if length > 0 {
        let page = answer.delivery == Delivery::Page;
        let kind = if page { "text/html" } else { "application/json" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    headers.insert(header::SERVER, HeaderValue::from_static("Mux API Server"));
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::super::server;
    use super::*;
    use crate::http;
    use axum::Router;
    use serde_json::json;
    use std::time::Duration;
    use tokio::net::TcpListener;

    /// What a client gets of an answer: status and body, unless it fails.
    async fn asked(delivery: Delivery) -> reqwest::Result<(u16, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let body = Some(json!({"data": []}));
        let (headers, delay) = (Vec::new(), Duration::ZERO);
        let answer = Answer { status: 200, headers, body, delay, delivery };
        let routes = Router::new().fallback(move || respond(answer.clone()));
        let server = tokio::spawn(server::serve(listener, routes));
        let request = http::client().expect("a client").get(format!("http://{address}/"));
        let got = async {
            let answer = request.timeout(Duration::from_millis(500)).send().await?;
            Ok((answer.status().as_u16(), answer.text().await?))
        }
        .await;
        server.abort();
        got
    }

    #[tokio::test]
    async fn an_answer_arrives_whole_or_as_its_fault_says() {
        let whole = (200, r#"{"data":[]}"#.to_owned());
        assert_eq!(asked(Delivery::Whole).await.expect("an answer"), whole);
        let (_, page) = asked(Delivery::Page).await.expect("an answer");
        assert!(page.starts_with("<html>"), "{page}");
        let (_, padded) = asked(Delivery::Padded { bytes: Some(200_000) }).await.expect("an answer");
        assert_eq!((padded.len(), padded.trim_start()), (200_000, whole.1.as_str()));
        // Whether the body fails, after the status has come, and whether the client waited in vain.
        for (delivery, body, in_vain) in [
            (Delivery::Closed, false, false),
            (Delivery::Truncated, true, false),
            (Delivery::Hangs, false, true),
            (Delivery::Stalls, true, true),
            (Delivery::Padded { bytes: None }, true, true),
        ] {
            let error = asked(delivery).await.expect_err("no answer");
            let failed = error.is_body() || error.is_decode();
            assert_eq!((failed, error.is_timeout()), (body, in_vain), "{delivery:?}: {error:?}");
        }
    }

    #[test]
    fn credentials_are_read_from_http_basic_only() {
        let read = |text: &str| basic(&HeaderValue::from_str(text).expect("a header"));
        let encoded = STANDARD.encode("id:se:cret");
        let found = read(&format!("Basic {encoded}")).expect("credentials");
        assert_eq!((found.token_id.as_str(), found.token_secret.reveal()), ("id", "se:cret"));
        for wrong in [format!("Bearer {encoded}"), "Basic".to_owned(), "Basic ???".to_owned()] {
            assert!(read(&wrong).is_none(), "{wrong}");
        }
    }
}
