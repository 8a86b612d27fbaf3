//! Playback addresses.

use super::playlist;
use super::simulator::Simulator;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use memorialstream_mux_model::Playback;
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

/// `/playback/{playback id}.m3u8`, and the segments that it lists.
pub fn routes() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/playback/{playlist}", get(show))
        .route("/playback/{playback_id}/{segment}", get(segment))
}

async fn show(State(simulator): State<Arc<Simulator>>, Path(playlist): Path<String>) -> Response {
    let Some(id) = playlist.strip_suffix(".m3u8") else { return StatusCode::NOT_FOUND.into_response() };
    let program = match simulator.with(|model, _| model.playback(id)) {
        Playback::Plays(program) => program,
        Playback::Unknown => return StatusCode::NOT_FOUND.into_response(),
        Playback::NotPublic => return StatusCode::FORBIDDEN.into_response(),
        Playback::NotActive => return StatusCode::PRECONDITION_FAILED.into_response(),
    };
    match playlist::render(&program, &simulator.hls_folder, id) {
        Ok(text) => media("application/vnd.apple.mpegurl", "no-cache", text),
        Err(error) => failed(&error),
    }
}

/// A segment. Its name cannot be guessed; that the playback id is still there is not asked, because who watches already
/// goes on for a while at Mux.
async fn segment(
    State(simulator): State<Arc<Simulator>>,
    Path((_, segment)): Path<(String, String)>,
) -> Response {
    if !is_segment(&segment) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match fs::read(simulator.hls_folder.join(&segment)) {
        Ok(content) => media("video/mp2t", "max-age=3600", content),
        Err(error) if error.kind() == ErrorKind::NotFound => StatusCode::NOT_FOUND.into_response(),
        Err(error) => failed(&error.into()),
    }
}

/// Players in browsers come from other origins.
fn media(kind: &'static str, cache: &'static str, content: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, cache),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, content).into_response()
}

fn failed(error: &anyhow::Error) -> Response {
    eprintln!("nothing to play: {error:#}");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// `{connection}-{number}.ts`, and nothing that leads out of the folder.
fn is_segment(name: &str) -> bool {
    let parts = name.strip_suffix(".ts").and_then(|name| name.split_once('-'));
    parts.is_some_and(|(connection, number)| {
        connection.len() == 32
            && connection.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_are_served() {
        let connection = "0123456789abcdef0123456789abcdef";
        assert!(is_segment(&format!("{connection}-17.ts")));
        for other in
            ["", "../lab.json", "x-1.ts", &format!("{connection}-.ts"), &format!("{connection}.m3u8")]
        {
            assert!(!is_segment(other), "{other}");
        }
    }
}
