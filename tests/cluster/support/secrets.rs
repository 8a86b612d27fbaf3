//! Searches everything that a run writes for the real values of its secrets.

use super::Stage;
use super::service::Service;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::api::{Api, ListParams, LogParams};
use memorialstream_operator::api::MemorialStream;
use memorialstream_operator::providers::Secret as Hidden;
use memorialstream_operator::providers::mux::{
    HttpTransport, MuxClient, MuxCredentials, RateLimiter, RateLimits,
};
use std::fs;
use std::sync::Arc;

/// Fails when a secret of a Live service stands in a log, an Event, a status, an object or an argument list.
pub async fn assert_no_secret_is_told(stage: &Stage, service: &Service) {
    let secrets = secrets_of(stage, service).await;
    assert!(secrets.len() >= 6, "the search knows what to look for: {}", secrets.len());
    let places = places(stage, service).await;
    assert!(places.len() > 20, "the search looks everywhere: {} places", places.len());
    let mut told = Vec::new();
    for (place, text) in &places {
        for (name, secret) in &secrets {
            if text.contains(secret.reveal()) {
                told.push(format!("{name} in {place}"));
            }
        }
    }
    assert!(told.is_empty(), "secrets are told: {}", told.join(", "));
}

/// The real values: credentials, the stream's key, the pod's bearer token and every minted token.
async fn secrets_of(stage: &Stage, service: &Service) -> Vec<(String, Hidden)> {
    let credentials = stage.credentials();
    let mut secrets = vec![
        ("the LiveKit secret".to_owned(), Hidden::new(credentials["LIVEKIT_API_SECRET"].clone())),
        ("the Mux secret".to_owned(), Hidden::new(credentials["MUX_TOKEN_SECRET"].clone())),
    ];
    let account = MuxCredentials {
        base_url: credentials["MUX_BASE_URL"].clone(),
        token_id: credentials["MUX_TOKEN_ID"].clone(),
        token_secret: Hidden::new(credentials["MUX_TOKEN_SECRET"].clone()),
    };
    let limiter = Arc::new(RateLimiter::new(RateLimits::default()));
    let transport = Arc::new(HttpTransport::new().expect("a transport"));
    let mux = MuxClient::new(account, limiter, transport).expect("a client");
    let id = service.status().await.mux.and_then(|mux| mux.stream_id).expect("a stream");
    let stream = mux.live_stream(&id).await.expect("an answer").expect("the stream");
    secrets.push(("the stream key".to_owned(), stream.stream_key));
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), &service.namespace);
    let boot = api.get(&format!("{}-compositor", service.name)).await.expect("the boot Secret");
    for (key, value) in boot.data.expect("data") {
        let text = String::from_utf8(value.0).expect("text");
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(document) => tokens(&document, &mut secrets),
            Err(_) => secrets.push((format!("the pod's {key}"), Hidden::new(text.trim()))),
        }
    }
    secrets
}

/// Every JSON Web Token in a document.
fn tokens(document: &serde_json::Value, found: &mut Vec<(String, Hidden)>) {
    match document {
        serde_json::Value::String(text) if text.starts_with("eyJ") => {
            found.push((format!("token {}", found.len()), Hidden::new(text.clone())));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| tokens(item, found)),
        serde_json::Value::Object(fields) => fields.values().for_each(|field| tokens(field, found)),
        _ => {}
    }
}

/// Everything that is written by or about the run.
async fn places(stage: &Stage, service: &Service) -> Vec<(String, String)> {
    let mut places = Vec::new();
    for entry in fs::read_dir(&stage.lab.logs).expect("the logs").flatten() {
        let text = String::from_utf8_lossy(&fs::read(entry.path()).expect("a log")).into_owned();
        places.push((entry.path().display().to_string(), text));
    }
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let path = entry.path().join("cmdline");
        // A process may end while it is looked at.
        if let Ok(words) = fs::read(&path)
            && !words.is_empty()
        {
            places.push((path.display().to_string(), String::from_utf8_lossy(&words).into_owned()));
        }
    }
    let everything = ListParams::default();
    let events: Api<Event> = Api::all(stage.client.clone());
    for event in events.list(&everything).await.expect("Events").items {
        places.push((format!("Event {:?}", event.reason), serde_json::to_string(&event).expect("JSON")));
    }
    let objects: Api<MemorialStream> = Api::all(stage.client.clone());
    for object in objects.list(&everything).await.expect("objects").items {
        places.push(("a MemorialStream".to_owned(), serde_json::to_string(&object).expect("JSON")));
    }
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &service.namespace);
    for pod in pods.list(&everything).await.expect("pods").items {
        places.push(("a pod".to_owned(), serde_json::to_string(&pod).expect("JSON")));
        let name = pod.metadata.name.expect("a name");
        let log = pods.logs(&name, &LogParams::default()).await.expect("the pod's log");
        assert!(!log.is_empty(), "the pod logs something");
        places.push((format!("log of pod {name}"), log));
    }
    places
}
