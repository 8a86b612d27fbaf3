//! Playback addresses: a master playlist, as at Mux, which leads to a media playlist, which leads to segments.

use super::playlist;
use super::simulator::Simulator;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use memorialstream_mux_model::{Playback, Program};
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

/// The name of the one media playlist that the master playlist lists. Mux lists several qualities.
const RENDITION: &str = "rendition.m3u8";
/// The highest bandwidth, which the format demands: nobody chooses by it. The peak of what the lab's encoders send.
const BANDWIDTH: u32 = 5_000_000;

/// `/playback/{playback id}.m3u8`, and what it leads to.
pub fn routes() -> Router<Arc<Simulator>> {
    Router::new().route("/playback/{playlist}", get(show)).route("/playback/{playback_id}/{file}", get(file))
}

async fn show(State(simulator): State<Arc<Simulator>>, Path(playlist): Path<String>) -> Response {
    let Some(id) = playlist.strip_suffix(".m3u8") else { return StatusCode::NOT_FOUND.into_response() };
    match watch(&simulator, id) {
        Err(status) => status.into_response(),
        Ok(_) => playlist_of(format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-STREAM-INF:BANDWIDTH={BANDWIDTH}\n{id}/{RENDITION}\n"
        )),
    }
}

/// What a playback id shows, or the status of the answer instead.
fn watch(simulator: &Simulator, id: &str) -> Result<Program, StatusCode> {
    let found = simulator.find(|model, _| match model.playback(id) {
        Playback::Unknown => None,
        known => Some(known),
    });
    match found.unwrap_or(Playback::Unknown) {
        Playback::Plays(program) => Ok(program),
        nothing => Err(StatusCode::from_u16(nothing.status()).unwrap_or(StatusCode::NOT_FOUND)),
    }
}

/// The media playlist, or a segment. A segment's name cannot be guessed; that the playback id is still there is not
/// asked, because who watches already goes on for a while at Mux.
async fn file(State(simulator): State<Arc<Simulator>>, Path((id, file)): Path<(String, String)>) -> Response {
    if file == RENDITION {
        return match watch(&simulator, &id).map(|program| playlist::render(&program, &simulator.hls_folder)) {
            Err(status) => status.into_response(),
            Ok(Ok(text)) => playlist_of(text),
            Ok(Err(error)) => failed(&error),
        };
    }
    let segment = if is_slate(&file) {
        simulator.slate().await
    } else if is_segment(&file) {
        match fs::read(simulator.hls_folder.join(&file)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return StatusCode::NOT_FOUND.into_response();
            }
            read => read.map(Bytes::from).map_err(Into::into),
        }
    } else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match segment {
        Ok(content) => media("video/mp2t", "max-age=3600", content),
        Err(error) => failed(&error),
    }
}

fn playlist_of(text: String) -> Response {
    media("application/vnd.apple.mpegurl", "no-cache", text)
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

/// What [`playlist::slate_file`] makes.
fn is_slate(name: &str) -> bool {
    let number = name.strip_suffix(".ts").and_then(|name| name.strip_prefix(playlist::SLATE_PREFIX));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
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
            assert!(!is_segment(other) && !is_slate(other), "{other}");
        }
        assert!(is_slate("slate-3.ts") && !is_segment("slate-3.ts"));
        assert!(!is_slate("slate-.ts") && !is_slate("slate-../3.ts"));
    }
}
