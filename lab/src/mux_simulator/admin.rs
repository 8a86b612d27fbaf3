//! The simulator's own switches and counters, without authentication: it is for labs only. `MuxAdmin` is their client.
//!
//! They are the first environment's, or those of the environment whose access token `?environment=` names.

use super::rest;
use super::simulator::Simulator;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use axum::{Json, Router};
use memorialstream_mux_model::{Credentials, Fault, RequestCount, Secret, Settings, StreamRecord};
use serde::Deserialize;
use std::sync::Arc;

/// Addresses below `/simulator/v1`.
pub fn routes() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/simulator/v1/environments", post(add_environment))
        .route("/simulator/v1/streams", get(streams))
        .route("/simulator/v1/requests", get(requests).delete(reset_requests))
        .route("/simulator/v1/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/simulator/v1/settings", get(settings).put(set_settings))
        .route("/simulator/v1/token-secret", put(set_token_secret))
        .route("/simulator/v1/dashboard/{*path}", any(at_dashboard))
}

type Shared = State<Arc<Simulator>>;

/// Which environment is meant.
#[derive(Deserialize)]
struct Of {
    /// The id of its access token.
    environment: Option<String>,
}

impl Of {
    fn token(&self) -> Option<&str> {
        self.environment.as_deref()
    }
}

/// Adds an environment with the access token in the body.
async fn add_environment(State(simulator): Shared, Json(credentials): Json<Credentials>) -> StatusCode {
    simulator.add(credentials);
    StatusCode::CREATED
}

/// What somebody does at Mux's dashboard, under the addresses of the REST API.
async fn at_dashboard(
    State(simulator): Shared,
    Query(of): Query<Of>,
    method: Method,
    Path(path): Path<String>,
    body: Bytes,
) -> Response {
    let Ok(method) = method.as_str().parse() else {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    };
    let path = format!("/{path}");
    let answer = simulator.with(of.token(), |model, now| model.at_dashboard(now, method, &path, &body));
    rest::respond(answer).await
}

async fn streams(State(simulator): Shared, Query(of): Query<Of>) -> Json<Vec<StreamRecord>> {
    Json(simulator.with(of.token(), |model, _| model.streams()))
}

async fn requests(State(simulator): Shared, Query(of): Query<Of>) -> Json<Vec<RequestCount>> {
    Json(simulator.with(of.token(), |model, _| model.counts().to_vec()))
}

async fn reset_requests(State(simulator): Shared, Query(of): Query<Of>) -> StatusCode {
    simulator.with(of.token(), |model, _| model.reset_counts());
    StatusCode::NO_CONTENT
}

async fn faults(State(simulator): Shared, Query(of): Query<Of>) -> Json<Vec<Fault>> {
    Json(simulator.with(of.token(), |model, _| model.faults().to_vec()))
}

async fn add_fault(
    State(simulator): Shared,
    Query(of): Query<Of>,
    Json(fault): Json<Fault>,
) -> Result<StatusCode, (StatusCode, String)> {
    match simulator.with(of.token(), |model, _| model.add_fault(fault)) {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err((StatusCode::BAD_REQUEST, error.to_string())),
    }
}

async fn clear_faults(State(simulator): Shared, Query(of): Query<Of>) -> StatusCode {
    simulator.with(of.token(), |model, _| model.clear_faults());
    StatusCode::NO_CONTENT
}

async fn settings(State(simulator): Shared, Query(of): Query<Of>) -> Json<Settings> {
    Json(simulator.with(of.token(), |model, _| model.settings().clone()))
}

async fn set_settings(
    State(simulator): Shared,
    Query(of): Query<Of>,
    Json(settings): Json<Settings>,
) -> StatusCode {
    simulator.with(of.token(), |model, _| model.set_settings(settings));
    StatusCode::NO_CONTENT
}

async fn set_token_secret(
    State(simulator): Shared,
    Query(of): Query<Of>,
    Json(secret): Json<Secret>,
) -> StatusCode {
    simulator.with(of.token(), |model, _| model.set_token_secret(secret));
    StatusCode::NO_CONTENT
}
