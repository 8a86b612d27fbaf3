//! What the Secret of a hostile tenant names as its providers.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;

/// How it answers.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Never.
    BlackHole,
    /// It sends whoever asks elsewhere.
    Redirecting {
        /// There.
        to: String,
    },
    /// With a body that has no end.
    Endless,
    /// Everything is well, and everything is this live stream, which is somebody else's.
    Lying {
        /// As Mux renders it.
        stream: Value,
        /// Whose environment it claims to be.
        environment: String,
    },
    /// As a server that has nothing.
    NotFound,
}

/// One server of that kind, for as long as its test runs.
pub struct Endpoint {
    /// Where it answers.
    pub address: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl Endpoint {
    /// Starts it on a free port of loopback.
    pub async fn start(manner: Manner) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), manner).await
    }

    /// Starts it there.
    pub async fn start_at(address: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::<AtomicU64>::default();
        let (count, manner) = (Arc::clone(&asked), Arc::new(manner));
        let router = Router::new().fallback(move |request: Request| {
            count.fetch_add(1, Ordering::SeqCst);
            let manner = Arc::clone(&manner);
            async move { answer(&manner, request).await }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    /// How many requests came.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(manner: &Manner, request: Request) -> Response {
    match manner {
        Manner::BlackHole => std::future::pending().await,
        Manner::Redirecting { to } => {
            let to = format!("{to}{}", request.uri());
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
        }
        Manner::Endless => {
            let spaces = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b' '; 4096])));
            ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(spaces)).into_response()
        }
        Manner::Lying { stream, environment } => {
            let path = request.uri().path();
            let data = match (path, path.ends_with("/live-streams"), request.method().as_str()) {
                ("/system/v1/whoami", ..) => json!({"environment_id": environment}),
                (_, true, "GET") => json!([stream]),
                _ => stream.clone(),
            };
            Json(json!({"data": data})).into_response()
        }
        Manner::NotFound => StatusCode::NOT_FOUND.into_response(),
    }
}
