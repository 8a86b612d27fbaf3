//! The HTTP that the operator, the kubelet and Prometheus speak with the compositor.

use crate::compositor::Compositor;
use crate::metrics::render;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use memorialstream_compositor_protocol::{Refusal, RefusalReason, Secret};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use subtle::ConstantTimeEq;

/// `/v1`, guarded by `bearer_token`, and `/healthz` and `/readyz`.
pub fn control_router(compositor: Arc<Compositor>, bearer_token: Secret) -> Router {
    let guarded = Router::new()
        .route("/v1/program", put(put_program))
        .route("/v1/sender", put(put_sender))
        .route("/v1/status", get(get_status))
        .layer(from_fn_with_state(Arc::new(bearer_token), authorize));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(guarded)
        .with_state(compositor)
}

/// `/metrics`.
pub fn metrics_router(compositor: Arc<Compositor>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(compositor)
}

async fn authorize(State(expected): State<Arc<Secret>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
    // In constant time, so that the time to refuse tells nothing of the token.
    if bool::from(token.as_bytes().ct_eq(expected.reveal().as_bytes())) {
        return next.run(request).await;
    }
    let message = "the bearer token is missing or wrong; it is in the pod's Secret";
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, challenge, Json(json!({"message": message}))).into_response()
}

async fn put_program(State(compositor): State<Arc<Compositor>>, body: Bytes) -> Response {
    let arrived = Instant::now();
    let document = match read(&body) {
        Ok(document) => document,
        Err(refusal) => return refuse(refusal),
    };
    match compositor.apply(document, arrived).await {
        Ok(applied) => Json(applied).into_response(),
        Err(refusal) => refuse(refusal),
    }
}

async fn put_sender(State(compositor): State<Arc<Compositor>>, body: Bytes) -> Response {
    let request = match read(&body) {
        Ok(request) => request,
        Err(refusal) => return refuse(refusal),
    };
    match compositor.send(request).await {
        Ok(status) => Json(status).into_response(),
        Err(refusal) => refuse(refusal),
    }
}

async fn get_status(State(compositor): State<Arc<Compositor>>) -> Response {
    Json(compositor.status()).into_response()
}

async fn healthz(State(compositor): State<Arc<Compositor>>) -> Response {
    told(compositor.is_healthy())
}

async fn readyz(State(compositor): State<Arc<Compositor>>) -> Response {
    told(compositor.status().program_advances())
}

async fn metrics(State(compositor): State<Arc<Compositor>>) -> Response {
    let text = render(&compositor.status(), &compositor.takes());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn told(good: bool) -> Response {
    match good {
        true => (StatusCode::OK, "Program advances\n").into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "Program stands still\n").into_response(),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    // The error tells place and kind of the fault; a value of ours in it could be a secret, so the types hold none
    // that serde prints: tokens and keys are plain strings, which always fit.
    serde_json::from_slice(body).map_err(|error| Refusal {
        reason: RefusalReason::Malformed,
        message: crate::redact::redact(&format!("the body cannot be read: {error}")),
    })
}

fn refuse(refusal: Refusal) -> Response {
    let status = match refusal.reason {
        RefusalReason::Outdated => StatusCode::CONFLICT,
        RefusalReason::UnknownCamera | RefusalReason::TooManySources => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalReason::Malformed => StatusCode::BAD_REQUEST,
        RefusalReason::PipelineNotRunning => StatusCode::SERVICE_UNAVAILABLE,
    };
    tracing::warn!(reason = ?refusal.reason, message = refusal.message, "a request is refused");
    (status, Json(refusal)).into_response()
}
