//! The HTTP that the operator, the kubelet and Prometheus speak with the compositor.

use crate::lifecycle::Lifecycle;
use crate::metrics::render;
use crate::wire::{Read, read};
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use memorialstream_compositor_protocol::{
    ControlDocument, ProgramApplied, Refusal, RefusalReason, Secret, SenderRequest,
};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use subtle::ConstantTimeEq;

/// `/v1`, guarded by `bearer_token`, and `/healthz` and `/readyz`.
pub fn control_router(pod: Arc<Lifecycle>, bearer_token: Secret) -> Router {
    let guarded = Router::new()
        .route("/v1/program", put(put_program))
        .route("/v1/sender", put(put_sender))
        .route("/v1/status", get(get_status))
        .layer(from_fn_with_state(Arc::new(bearer_token), authorize));
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).merge(guarded).with_state(pod)
}

/// `/metrics`.
pub fn metrics_router(pod: Arc<Lifecycle>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(pod)
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

async fn put_program(State(pod): State<Arc<Lifecycle>>, body: Bytes) -> Response {
    let arrived = Instant::now();
    let Read { value: document, unknown_fields } = match read::<ControlDocument>(&body) {
        Ok(read) => read,
        Err(refusal) => return refuse(refusal),
    };
    if !unknown_fields.is_empty() {
        let (fields, version) = (unknown_fields.join(", "), document.protocol_version);
        tracing::warn!(fields, version, "the document has fields that are not known here");
    }
    match pod.apply(document, arrived).await {
        Ok(applied) => Json(ProgramApplied { unknown_fields, ..applied }).into_response(),
        Err(refusal) => refuse(refusal),
    }
}

async fn put_sender(State(pod): State<Arc<Lifecycle>>, body: Bytes) -> Response {
    let Read { value: request, unknown_fields } = match read::<SenderRequest>(&body) {
        Ok(read) => read,
        Err(refusal) => return refuse(refusal),
    };
    if !unknown_fields.is_empty() {
        let fields = unknown_fields.join(", ");
        tracing::warn!(fields, "the request to the sender has fields that are not known here");
    }
    match pod.send(request).await {
        Ok(status) => Json(status).into_response(),
        Err(refusal) => refuse(refusal),
    }
}

async fn get_status(State(pod): State<Arc<Lifecycle>>) -> Response {
    Json(pod.status()).into_response()
}

async fn healthz(State(pod): State<Arc<Lifecycle>>) -> Response {
    told(pod.is_healthy(), "it runs, or waits for the operator\n")
}

async fn readyz(State(pod): State<Arc<Lifecycle>>) -> Response {
    told(pod.status().program_advances(), "Program advances\n")
}

async fn metrics(State(pod): State<Arc<Lifecycle>>) -> Response {
    let text = render(&pod.status(), &pod.takes());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn told(good: bool, praise: &'static str) -> Response {
    match good {
        true => (StatusCode::OK, praise).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "Program stands still\n").into_response(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::fixture::{Scratch, apply, pod, slate};
    use axum::body::{Body, to_bytes};
    use axum::http::Method;
    use memorialstream_compositor_protocol::{CompositorStatus, PROTOCOL_VERSION, SenderStatus};
    use serde_json::Value;
    use tower::ServiceExt;

    async fn call(pod: &Arc<Lifecycle>, method: Method, path: &str, body: Value) -> (StatusCode, String) {
        let request = axum::http::Request::builder().method(method).uri(path);
        let request =
            request.header(header::AUTHORIZATION, "Bearer bearer").body(Body::from(body.to_string()));
        let router = control_router(pod.clone(), Secret::new("bearer"));
        let response = router.oneshot(request.unwrap()).await.unwrap();
        let status = response.status();
        let text = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(text.to_vec()).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_newer_operators_document_is_applied_and_what_is_not_known_is_named() {
        let scratch = Scratch::new("newer");
        let pod = pod(&scratch, Ok(slate(1)));
        apply(&pod, slate(2)).await;
        let mut newer = serde_json::to_value(slate(2)).unwrap();
        newer["protocolVersion"] = (PROTOCOL_VERSION + 1).into();
        newer["lowerThird"] = json!({"text": "Jane Doe"});
        let (status, text) = call(&pod, Method::PUT, "/v1/program", newer).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let applied: ProgramApplied = serde_json::from_str(&text).unwrap();
        assert_eq!(applied.unknown_fields, ["lowerThird"]);
        // As an operator of version 0 sends it.
        let older = slate(2).for_pod(0);
        let (status, text) =
            call(&pod, Method::PUT, "/v1/program", serde_json::to_value(older).unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let (_, text) = call(&pod, Method::GET, "/v1/status", Value::Null).await;
        let status: CompositorStatus = serde_json::from_str(&text).unwrap();
        assert_eq!((status.protocol_version, status.generation), (PROTOCOL_VERSION, 2));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_overtaken_request_to_the_sender_is_a_conflict() {
        let scratch = Scratch::new("sender");
        let pod = pod(&scratch, Ok(slate(1)));
        let on = |revision| {
            json!({"revision": revision, "bitrate": 1,
                   "rtmp": {"url": "rtmp://127.0.0.1:9/app", "streamKey": "key-of-a-test"}})
        };
        let send = async |body| call(&pod, Method::PUT, "/v1/sender", body).await;
        let (status, text) = send(on(4)).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let sender: SenderStatus = serde_json::from_str(&text).unwrap();
        assert!(sender.destination.is_some_and(|destination| destination.len() == 16));
        assert!(!text.contains("key-of-a-test"));
        assert_eq!(send(json!({"revision": 5, "rtmp": null})).await.0, StatusCode::OK);
        let (status, text) = send(on(4)).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(serde_json::from_str::<Refusal>(&text).unwrap().reason, RefusalReason::Outdated);
        assert_eq!(
            send(json!({"rtmp": null})).await.0,
            StatusCode::OK,
            "as an operator of version 0 sends it"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pod_that_waits_for_a_document_is_healthy_and_not_ready() {
        let scratch = Scratch::new("waits");
        let pod = pod(&scratch, Err("control cannot be read".into()));
        let get = async |path| call(&pod, Method::GET, path, Value::Null).await.0;
        assert_eq!(get("/healthz").await, StatusCode::OK);
        assert_eq!(get("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        let (_, text) = call(&pod, Method::GET, "/v1/status", Value::Null).await;
        assert!(text.contains(r#""bootError":"control cannot be read""#), "{text}");
        apply(&pod, slate(1)).await;
        assert_eq!(get("/readyz").await, StatusCode::OK);
        let request = axum::http::Request::get("/v1/status").body(Body::empty()).unwrap();
        let response = control_router(pod, Secret::new("bearer")).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}
