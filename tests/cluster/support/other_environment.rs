//! Another environment of Mux, which must never be asked for anything but its name.

use axum::Json;
use axum::http::{StatusCode, Uri};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// Its id.
pub const ENVIRONMENT: &str = "another-environment";

/// It runs for as long as its test.
pub struct OtherEnvironment {
    /// Where it answers, for `MUX_BASE_URL`.
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl OtherEnvironment {
    /// Starts it.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let account = Arc::clone(&asked);
        let router = axum::Router::new().fallback(async move |uri: Uri| {
            account.lock().expect("the account").push(uri.path().to_owned());
            answer(uri.path())
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked }
    }

    /// The paths that it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the account").clone()
    }
}

fn answer(path: &str) -> (StatusCode, Json<Value>) {
    match path {
        "/system/v1/whoami" => (StatusCode::OK, Json(json!({"data": {"environment_id": ENVIRONMENT}}))),
        _ => {
            let error = json!({"error": {"type": "not_found", "messages": ["The requested resource either doesn't exist or you don't have access to it."]}});
            (StatusCode::NOT_FOUND, Json(error))
        }
    }
}
