//! Pages of live streams and assets. Unknown: the order of live streams; here the newest come first, as in Mux's other
//! lists.

use crate::answer::Refusal;
use crate::model::State;
use crate::request::Request;
use crate::stream::Status;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::str::FromStr;

/// Of both lists, as the OpenAPI text of Mux's SDKs says.
const DEFAULT_LIMIT: usize = 25;
const LARGEST_LIMIT: usize = 100;

fn number<N: FromStr>(request: &Request, name: &str) -> Result<Option<N>, Refusal> {
    let text = request.parameter(name);
    let parsed =
        text.map(|text| text.parse().map_err(|_| Refusal::invalid(format!("{name} must be a number"))));
    parsed.transpose()
}

/// How many items to skip, and how many to show.
fn page(request: &Request) -> Result<(usize, usize), Refusal> {
    let limit = number(request, "limit")?.unwrap_or(DEFAULT_LIMIT);
    let page = number(request, "page")?.unwrap_or(1usize);
    // Unknown: what Mux does beyond its limits.
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(Refusal::invalid(format!("limit must be from 1 to {LARGEST_LIMIT}")));
    }
    if page == 0 {
        return Err(Refusal::invalid("page must be at least 1"));
    }
    Ok(((page - 1).saturating_mul(limit), limit))
}

/// `GET /video/v1/live-streams`: past the end there is an empty list.
pub(crate) fn live_streams(state: &State, request: &Request) -> Result<Value, Refusal> {
    let (skip, limit) = page(request)?;
    let status = match request.parameter("status") {
        None => None,
        Some(word) => {
            let known = Status::ALL.into_iter().find(|status| status.as_str() == word);
            Some(known.ok_or_else(|| Refusal::invalid("status must be active, idle or disabled"))?)
        }
    };
    let key = request.parameter("stream_key");
    let mut found: Vec<_> = state
        .listed()
        .filter(|stream| status.is_none_or(|status| stream.status() == status))
        .filter(|stream| key.is_none_or(|key| stream.key.reveal() == key))
        .collect();
    found.sort_by_key(|stream| Reverse(stream.serial));
    let shown: Vec<Value> = found.into_iter().skip(skip).take(limit).map(|stream| stream.render()).collect();
    Ok(json!({ "data": shown }))
}

/// `GET /video/v1/assets`: the cursor is opaque to clients; here it is the last shown asset's number.
pub(crate) fn assets(state: &State, request: &Request) -> Result<Value, Refusal> {
    let (skip, limit) = page(request)?;
    let cursor: Option<u64> = number(request, "cursor")?;
    let stream = request.parameter("live_stream_id");
    let mut found: Vec<_> = state
        .assets
        .values()
        .filter(|asset| stream.is_none_or(|id| asset.live_stream_id == id))
        // Nothing is uploaded here.
        .filter(|_| request.parameter("upload_id").is_none())
        .filter(|asset| cursor.is_none_or(|last| asset.serial < last))
        .collect();
    found.sort_by_key(|asset| Reverse(asset.serial));
    let shown: Vec<_> = found.iter().skip(skip).take(limit).collect();
    let more = found.len() > skip.saturating_add(shown.len());
    let next = shown.last().filter(|_| more).map(|asset| asset.serial.to_string());
    let shown: Vec<Value> = shown.iter().map(|asset| asset.render(state.now)).collect();
    Ok(json!({ "data": shown, "next_cursor": next }))
}
