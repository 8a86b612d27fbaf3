//! Mux's REST API over HTTP.

use super::server::NoAnswer;
use super::simulator::Simulator;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memorialstream_mux_model::{Answer, Credentials, Request, Secret};
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
    let answer = simulator.with(|model, now| model.request(now, &request));
    tokio::time::sleep(answer.delay).await;
    respond(answer)
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

fn respond(answer: Answer) -> Response {
    if !answer.delivered {
        return NoAnswer.into_response();
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match answer.body {
        Some(body) => (status, axum::Json(body)).into_response(),
        None => status.into_response(),
    };
    let headers = response.headers_mut();
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
    use super::*;

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
