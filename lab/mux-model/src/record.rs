//! What tests read: streams without their keys, and counters.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A live stream that was ever made, without its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// Mux's name for it.
    pub id: String,
    /// Its creator's marker.
    pub passthrough: Option<String>,
    /// `idle`, `active` or `disabled`; its last one when it is deleted.
    pub status: String,
    /// It is gone; `encoders` is 0 then.
    pub deleted: bool,
    /// How many encoders send to it now: 0 or 1.
    pub encoders: usize,
    /// How many recordings of it there are.
    pub assets: usize,
    /// How many of those are under way.
    pub live_assets: usize,
    /// When it was made.
    pub created_at: Timestamp,
    /// What its playback addresses are made of.
    pub playback_ids: Vec<String>,
}

/// How many requests were answered alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCount {
    /// HTTP's method, such as `GET`.
    pub method: String,
    /// The address, with `{}` for an id; `unknown` for what is no operation.
    pub route: String,
    /// The operation, such as `create_live_stream`; `unknown` likewise.
    pub operation: String,
    /// HTTP's status; 0 when none was sent.
    pub status: u16,
    /// How many.
    pub count: u64,
}
