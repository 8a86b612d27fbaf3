//! A live stream.

use crate::body::{FullPolicy, LatencyMode, StreamSettings};
use crate::ids::{self, Ids};
use crate::secret::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Unknown: how many Mux shows.
const RECENT_ASSETS: usize = 10;

/// What a playback address is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlaybackId {
    pub id: String,
    #[serde(flatten)]
    pub policy: FullPolicy,
}

impl PlaybackId {
    pub fn new(policy: FullPolicy, ids: &mut dyn Ids) -> Self {
        Self { id: ids::object_id(ids), policy }
    }
}

/// An encoder that sends to a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Encoder {
    pub connection: String,
    pub heard_at: Timestamp,
    /// All that this connection has brought, whether it was recorded or not.
    pub media: Duration,
    /// After `complete`: what comes before this is thrown away.
    pub ignored_until: Option<Timestamp>,
}

/// A broadcast that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Broadcast {
    pub asset: String,
    pub started_at: Timestamp,
    /// Since when it can be watched.
    pub active_since: Option<Timestamp>,
    /// Set while no encoder is connected.
    pub window_ends: Option<Timestamp>,
}

/// The three states that Mux's REST API shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Idle,
    Active,
    Disabled,
}

impl Status {
    pub const ALL: [Self; 3] = [Self::Idle, Self::Active, Self::Disabled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LiveStream {
    pub id: String,
    /// Orders streams that were made in the same second.
    pub serial: u64,
    pub created_at: Timestamp,
    pub key: Secret,
    pub srt_passphrase: Secret,
    pub enabled: bool,
    pub settings: StreamSettings,
    pub playback_ids: Vec<PlaybackId>,
    pub encoder: Option<Encoder>,
    pub broadcast: Option<Broadcast>,
    pub recent_asset_ids: Vec<String>,
}

impl LiveStream {
    pub fn new(settings: StreamSettings, serial: u64, now: Timestamp, ids: &mut dyn Ids) -> Self {
        let playback_ids =
            settings.policies.iter().map(|policy| PlaybackId::new(policy.clone(), ids)).collect();
        Self {
            id: ids::object_id(ids),
            serial,
            created_at: now,
            key: ids::stream_key(ids),
            srt_passphrase: Secret::new(ids::object_id(ids)),
            enabled: true,
            settings,
            playback_ids,
            encoder: None,
            broadcast: None,
            recent_asset_ids: Vec::new(),
        }
    }

    pub fn status(&self) -> Status {
        if !self.enabled {
            Status::Disabled
        } else if self.broadcast.as_ref().is_some_and(|broadcast| broadcast.active_since.is_some()) {
            Status::Active
        } else {
            Status::Idle
        }
    }

    pub fn remember_asset(&mut self, id: &str) {
        self.recent_asset_ids.push(id.to_owned());
        let surplus = self.recent_asset_ids.len().saturating_sub(RECENT_ASSETS);
        self.recent_asset_ids.drain(..surplus);
    }

    /// As Mux's REST API shows it.
    pub fn render(&self) -> Value {
        let settings = &self.settings;
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("id", json!(self.id));
        put("created_at", json!(self.created_at.as_second().to_string()));
        put("status", json!(self.status().as_str()));
        put("stream_key", json!(self.key));
        put("srt_passphrase", json!(self.srt_passphrase));
        put("latency_mode", json!(settings.latency_mode));
        put("low_latency", json!(settings.latency_mode == LatencyMode::Low));
        put("reduced_latency", json!(settings.latency_mode == LatencyMode::Reduced));
        put("reconnect_window", json!(settings.reconnect_window));
        put("use_slate_for_standard_latency", json!(settings.use_slate_for_standard_latency));
        put("max_continuous_duration", json!(settings.max_continuous_duration));
        if let Some(asset) = &settings.asset {
            let mut shown = json!(asset);
            let policies: Vec<_> = asset.policies.iter().map(|policy| policy.policy).collect();
            shown["playback_policies"] = json!(policies);
            put("new_asset_settings", shown);
        }
        if !self.playback_ids.is_empty() {
            put("playback_ids", json!(self.playback_ids));
        }
        if !self.recent_asset_ids.is_empty() {
            put("recent_asset_ids", json!(self.recent_asset_ids));
        }
        let texts =
            [("passthrough", &settings.passthrough), ("reconnect_slate_url", &settings.reconnect_slate_url)];
        for (name, text) in texts {
            if let Some(text) = text {
                put(name, json!(text));
            }
        }
        if let Some(meta) = &settings.meta {
            put("meta", json!(meta));
        }
        let broadcast = self.broadcast.as_ref();
        if let Some(broadcast) = broadcast {
            put("active_asset_id", json!(broadcast.asset));
        }
        let encoder = self.encoder.as_ref();
        let flags = [
            ("audio_only", settings.audio_only),
            ("test", settings.test),
            ("connected", encoder.is_some()),
            ("recording", broadcast.is_some() && encoder.is_some_and(|encoder| !encoder.media.is_zero())),
        ];
        for (name, _) in flags.into_iter().filter(|(_, set)| *set) {
            put(name, Value::Bool(true));
        }
        if self.status() == Status::Active {
            put("active_ingest_protocol", json!("rtmp"));
        }
        Value::Object(object)
    }
}
