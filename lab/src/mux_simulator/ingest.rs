//! The ingest: nginx asks who may publish, and its HLS shows how much has come in.

use super::playlist::Segments;
use super::simulator::Simulator;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Router};
use memorialstream_mux_model::{Effect, PublishRefusal};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// How often the HLS files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often nginx is asked who publishes.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// How long nginx may take from its question until it lists an encoder.
const SETTLES_IN: Duration = Duration::from_secs(3);

/// What nginx sends along with its questions, as far as it matters.
#[derive(Deserialize)]
struct Callback {
    /// The stream key in `on_publish`, the connection's name in `on_publish_done`.
    name: String,
}

/// nginx's `on_publish` and `on_publish_done`.
pub fn callbacks() -> Router<Arc<Simulator>> {
    Router::new().route("/publish", post(publish)).route("/publish_done", post(publish_done))
}

/// A redirect renames the stream: the key appears in no file name, and an encoder that comes again meets no earlier
/// connection of its own.
async fn publish(State(simulator): State<Arc<Simulator>>, Form(callback): Form<Callback>) -> Response {
    let connection = format!("{:032x}", rand::random::<u128>());
    let let_in = simulator.find(|model, now| match model.publish(now, &callback.name, connection.clone()) {
        Err(PublishRefusal::UnknownKey) => None,
        answer => Some(answer),
    });
    match let_in.unwrap_or(Err(PublishRefusal::UnknownKey)) {
        Ok(()) => (StatusCode::FOUND, [(header::LOCATION, connection)]).into_response(),
        Err(PublishRefusal::UnknownKey) => StatusCode::NOT_FOUND.into_response(),
        Err(PublishRefusal::Disabled) => StatusCode::FORBIDDEN.into_response(),
        Err(PublishRefusal::Occupied) => StatusCode::CONFLICT.into_response(),
    }
}

async fn publish_done(State(simulator): State<Arc<Simulator>>, Form(callback): Form<Callback>) -> StatusCode {
    measure(&simulator, &callback.name);
    simulator.each(|model, now| model.unpublish(now, &callback.name));
    StatusCode::NO_CONTENT
}

/// Follows the encoders until it is dropped: how much they have sent, who is gone, who must go.
pub async fn follow(simulator: &Simulator, mut effects: UnboundedReceiver<Effect>) {
    let mut known = BTreeMap::new();
    let (mut look, mut compare) = (tokio::time::interval(LOOK_EVERY), tokio::time::interval(COMPARE_EVERY));
    loop {
        tokio::select! {
            effect = effects.recv() => match effect {
                Some(Effect::DropEncoder { connection }) => drop_encoder(simulator, &connection).await,
                None => return,
            },
            _ = look.tick() => {
                for connection in connections(simulator) {
                    measure(simulator, &connection);
                }
            }
            _ = compare.tick() => compare_with_nginx(simulator, &mut known).await,
        }
    }
}

async fn drop_encoder(simulator: &Simulator, connection: &str) {
    if let Err(error) = simulator.nginx.drop_publisher(connection).await {
        eprintln!("an encoder cannot be cut off: {error:#}");
    }
}

/// Tells the model how much a connection has brought.
fn measure(simulator: &Simulator, connection: &str) {
    let total = match Segments::read(&simulator.hls_folder, connection) {
        Ok(segments) => segments.duration(),
        Err(error) => return eprintln!("an encoder's HLS cannot be read: {error:#}"),
    };
    simulator.each(|model, now| model.media(now, connection, total));
}

/// Who is let in, in all environments.
fn connections(simulator: &Simulator) -> Vec<String> {
    simulator.each(|model, _| model.connections()).concat()
}

/// An encoder can go, or come, without the simulator being told: when nginx is killed, or the simulator is stopped.
async fn compare_with_nginx(simulator: &Simulator, known: &mut BTreeMap<String, Instant>) {
    let let_in = connections(simulator);
    known.retain(|connection, _| let_in.contains(connection));
    let publishing = match simulator.nginx.publishers().await {
        Ok(publishing) => publishing,
        Err(error) => return eprintln!("{error:#}"),
    };
    for connection in let_in {
        let since = *known.entry(connection.clone()).or_insert_with(Instant::now);
        if since.elapsed() > SETTLES_IN && !publishing.contains(&connection) {
            simulator.each(|model, now| model.unpublish(now, &connection));
        }
    }
    let let_in = connections(simulator);
    for stranger in publishing.iter().filter(|name| !let_in.contains(name)) {
        drop_encoder(simulator, stranger).await;
    }
}
