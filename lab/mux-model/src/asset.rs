//! A recording.

use crate::body::AssetSettings;
use crate::ids::{self, Ids};
use crate::stream::{LiveStream, PlaybackId};
use crate::timeline::Timeline;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AssetStatus {
    Preparing,
    Ready,
    Errored,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asset {
    pub id: String,
    pub serial: u64,
    pub created_at: Timestamp,
    pub live_stream_id: String,
    pub status: AssetStatus,
    pub is_live: bool,
    pub test: bool,
    pub settings: AssetSettings,
    pub playback_ids: Vec<PlaybackId>,
    pub timeline: Timeline,
}

impl Asset {
    pub fn new(
        stream: &LiveStream,
        serial: u64,
        segment: Duration,
        now: Timestamp,
        ids: &mut dyn Ids,
    ) -> Self {
        let settings = stream.settings.asset.clone().unwrap_or_default();
        let playback_ids =
            settings.policies.iter().map(|policy| PlaybackId::new(policy.clone(), ids)).collect();
        Self {
            id: ids::object_id(ids),
            serial,
            created_at: now,
            live_stream_id: stream.id.clone(),
            status: AssetStatus::Preparing,
            is_live: true,
            test: stream.settings.test,
            settings,
            playback_ids,
            timeline: Timeline::new(segment, now),
        }
    }

    /// The broadcast is over. Unknown: what becomes of a recording without content; here it is `errored`.
    pub fn finish(&mut self, now: Timestamp) {
        self.timeline.close(now);
        self.is_live = false;
        let empty = self.timeline.content().is_zero();
        self.status = if empty { AssetStatus::Errored } else { AssetStatus::Ready };
    }

    /// As Mux's REST API shows it.
    pub fn render(&self, now: Timestamp) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("id", json!(self.id));
        put("created_at", json!(self.created_at.as_second().to_string()));
        put("status", json!(self.status));
        put("live_stream_id", json!(self.live_stream_id));
        put("is_live", json!(self.is_live));
        put("ingest_type", json!("live_rtmp"));
        put("master_access", json!("none"));
        put("encoding_tier", json!("smart"));
        let (state, progress) = match (self.is_live, self.status) {
            (true, _) => ("live", -1),
            (false, AssetStatus::Errored) => ("errored", -1),
            (false, _) => ("completed", 100),
        };
        put("progress", json!({"state": state, "progress": progress}));
        let duration = self.timeline.duration(now);
        if !duration.is_zero() {
            put("duration", json!(duration.as_secs_f64()));
        }
        let recordings = self.timeline.recordings(now);
        let times: Vec<Value> = recordings
            .iter()
            .filter(|recording| !recording.duration.is_zero())
            .map(|recording| {
                json!({
                    "started_at": recording.started_at.to_string(),
                    "duration": recording.duration.as_secs_f64(),
                    "type": recording.kind(),
                })
            })
            .collect();
        put("recording_times", json!(times));
        if !self.playback_ids.is_empty() {
            put("playback_ids", json!(self.playback_ids));
        }
        if let Some(passthrough) = &self.settings.passthrough {
            put("passthrough", json!(passthrough));
        }
        if let Some(meta) = &self.settings.meta {
            put("meta", json!(meta));
        }
        if self.test {
            put("test", Value::Bool(true));
        }
        if self.status == AssetStatus::Errored {
            let messages = ["The live stream ended before anything was received."];
            put("errors", json!({"type": "invalid_input", "messages": messages}));
        }
        Value::Object(object)
    }
}
