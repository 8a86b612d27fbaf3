//! HTTP on a socket, where an answer may also be none.

use axum::Router;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::fmt;
use std::time::Duration;
use tokio::net::TcpListener;

/// After an accept that failed, for instance because there are too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Instead of an answer: the connection is closed.
#[derive(Clone, Copy, Debug)]
pub struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the connection is closed on purpose")
    }
}

impl std::error::Error for NoAnswer {}

impl IntoResponse for NoAnswer {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, routes: Router) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("no connection can be taken: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let routes = TowerToHyperService::new(routes.clone());
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let answer = routes.call(request);
            async move {
                let response = match answer.await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                let none = response.extensions().get::<NoAnswer>().copied();
                none.map_or(Ok(response), Err)
            }
        });
        tokio::spawn(async move {
            // Clients may go away, and are sent away, at any time.
            let _closed = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
