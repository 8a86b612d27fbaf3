//! What is told of an object that cannot be read. Its two writes go past both lanes, so a server on loopback takes them.

use axum::Router;
use axum::extract::State;
use axum::http::{Method, Uri, header::CONTENT_TYPE};
use axum::response::IntoResponse;
use memorialstream_operator::adapters::kubernetes::{Stored, report};
use memorialstream_operator::api::{MemorialStream, Reason};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What an API server was sent: method, path and body.
type Request = (Method, String, Value);

async fn take(
    State(taken): State<mpsc::UnboundedSender<Request>>,
    method: Method,
    uri: Uri,
    body: String,
) -> impl IntoResponse {
    let value = serde_json::from_str(&body).unwrap_or_default();
    taken.send((method, uri.path().to_owned(), value)).unwrap();
    // As it was sent, so it is stored.
    ([(CONTENT_TYPE, "application/json")], body)
}

fn stored(session: Value) -> Stored<MemorialStream> {
    let object = json!({
        "apiVersion": "tributestream.com/v1alpha1", "kind": "MemorialStream",
        "metadata": {"name": "jane", "namespace": "default", "uid": "uid-1", "generation": 3},
        "spec": {"session": session},
    });
    serde_json::from_value(object).unwrap()
}

#[tokio::test]
async fn one_object_cannot_be_read_and_people_are_told() {
    assert!(stored(json!(1)).read().is_ok());
    let unreadable = |session| *stored(session).read().expect_err("it cannot be read");
    let _installed_already = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (taken, mut requests) = mpsc::unbounded_channel();
    let server = Router::new().fallback(take).with_state(taken);
    let server = tokio::spawn(async move { axum::serve(listener, server).await });
    let client =
        kube::Client::try_from(kube::Config::new(format!("http://{address}").parse().unwrap())).unwrap();
    // Told twice for the same reason, and once for another.
    let told = [unreadable(json!("one")), unreadable(json!("one")), unreadable(json!(1.5))];
    let all = tokio::time::timeout(Duration::from_secs(60), report(client, futures::stream::iter(told)));
    all.await.expect("in time");
    server.abort();
    let mut conditions = Vec::new();
    let mut events = Vec::new();
    while let Ok((method, path, body)) = requests.try_recv() {
        if path.ends_with("/namespaces/default/memorialstreams/jane/status") {
            assert_eq!(method, Method::PATCH);
            let said = &body["status"]["conditions"];
            let others = [&said[1], &said[2]].map(|one| (one["type"].clone(), one["status"].clone()));
            assert_eq!(others, [(json!("Ready"), json!("False")), (json!("OnAir"), json!("Unknown"))]);
            conditions.push(said[0].clone());
        } else {
            assert!(path.contains("/namespaces/default/events"), "{method} {path}");
            events.push(body);
        }
    }
    assert_eq!((conditions.len(), events.len()), (2, 2), "{conditions:?} {events:?}");
    for condition in &conditions {
        assert_eq!(condition["type"], "Stalled");
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("True"), &json!(Reason::Unreadable.as_str()))
        );
        assert_eq!(condition["observedGeneration"], 3);
        assert!(condition["message"].as_str().unwrap().contains("spec: "), "{condition}");
    }
    assert_ne!(conditions[0]["message"], conditions[1]["message"]);
    assert_eq!(events[0]["reason"], Reason::Unreadable.as_str());
    assert_eq!(events[0]["note"], conditions[0]["message"]);
}
