//! Mux's objects, as far as they matter here.

use crate::providers::Secret;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

/// Whose credentials these are. Source: `GET /system/v1/whoami`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Environment {
    /// Streams, keys and rate limits belong to an environment.
    pub environment_id: String,
    /// What people call it.
    #[serde(default)]
    pub environment_name: Option<String>,
    /// For instance `production`.
    #[serde(default)]
    pub environment_type: Option<String>,
    /// The organization that pays.
    #[serde(default)]
    pub organization_name: Option<String>,
}

/// A live stream. Source: mux-ts `LiveStream`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LiveStream {
    /// Mux's name for it.
    pub id: String,
    /// Unix seconds. Mux writes them as text in its REST API.
    #[serde(deserialize_with = "whole_number")]
    pub created_at: i64,
    /// Whether it takes ingest, and whether mourners see something.
    pub status: LiveStreamStatus,
    /// What a sender authenticates with.
    pub stream_key: Secret,
    /// What viewers' addresses are made of. Empty: it cannot be watched.
    #[serde(default)]
    pub playback_ids: Vec<PlaybackId>,
    /// Our marker.
    #[serde(default)]
    pub passthrough: Option<String>,
    /// How far viewers are behind.
    pub latency_mode: LatencyMode,
    /// Mux may leave it out: [`LiveStream::reconnect_window`] is what counts.
    #[serde(default, rename = "reconnect_window", deserialize_with = "whole_number_or_none")]
    pub reconnect_window_seconds: Option<u32>,
    /// The recording that is under way; set from the sender's connection on, before `Active`.
    #[serde(default)]
    pub active_asset_id: Option<String>,
    /// The newest recordings, newest last. Mux does not say how many.
    #[serde(default)]
    pub recent_asset_ids: Vec<String>,
    /// Watermarked, and disabled by Mux after 5 minutes.
    #[serde(default)]
    pub test: bool,
    /// A sender is connected. Mux documents it only for webhooks: a hint.
    #[serde(default)]
    pub connected: Option<bool>,
}

impl LiveStream {
    /// How long Mux waits for a sender that was cut off before it ends the recording, in seconds. What is left out is the
    /// default of the latency mode (mux.com/docs/guides/handle-live-stream-disconnects).
    pub fn reconnect_window(&self) -> u32 {
        self.reconnect_window_seconds.unwrap_or(match self.latency_mode {
            LatencyMode::Standard => 60,
            LatencyMode::Reduced | LatencyMode::Low | LatencyMode::Other => 0,
        })
    }

    /// The playback id that anybody can play; a signed one plays for nobody without a token.
    pub fn public_playback_id(&self) -> Option<&PlaybackId> {
        self.playback_ids.iter().find(|playback| playback.policy == "public")
    }
}

/// What is kept of a live stream in the list of all: there may be ten thousand, most of them somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListedStream {
    /// Mux's name for it.
    pub id: String,
    /// The marker of who made it, if it has one.
    #[serde(default)]
    pub passthrough: Option<String>,
}

/// Whether a live stream takes ingest, and whether mourners see something.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum LiveStreamStatus {
    /// Takes ingest; nobody sends, or nothing is playable yet.
    Idle,
    /// Playable. Stays so in the reconnect window.
    Active,
    /// Refuses ingest.
    Disabled,
    /// A word that Mux did not document.
    Other(String),
}

impl LiveStreamStatus {
    /// Mux's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for LiveStreamStatus {
    fn from(word: String) -> Self {
        match word.as_str() {
            "idle" => Self::Idle,
            "active" => Self::Active,
            "disabled" => Self::Disabled,
            _ => Self::Other(word),
        }
    }
}

/// How far viewers are behind. Source: mux.com/docs/guides/reduce-live-stream-latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LatencyMode {
    /// 25–30 s.
    Standard,
    /// 12–20 s.
    Reduced,
    /// As low as 5 s.
    Low,
    /// A mode that Mux did not document. Cannot be asked for.
    #[serde(other, skip_serializing)]
    Other,
}

/// Makes a viewer's address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PlaybackId {
    /// The part of the address.
    pub id: String,
    /// `public`, `signed` or `drm`.
    pub policy: String,
}

/// A live stream to be created. Stream and recordings can be watched by everybody: signed playback is not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLiveStream {
    /// Our marker, at most 255 characters, on the stream and on its recordings. Mux does not care whether it is
    /// unique.
    pub passthrough: String,
    /// How far viewers are behind.
    pub latency_mode: LatencyMode,
    /// 0 to 1800.
    pub reconnect_window_seconds: u32,
    /// Watermarked, free, and disabled by Mux after 5 minutes.
    pub test: bool,
}

impl NewLiveStream {
    /// The body of the request. `max_continuous_duration` is left out: Mux refuses it with `test`, and its default is
    /// its maximum.
    pub(super) fn body(&self) -> Value {
        let mut body = json!({
            "passthrough": self.passthrough,
            "playback_policies": ["public"],
            "latency_mode": self.latency_mode,
            "reconnect_window": self.reconnect_window_seconds,
            "new_asset_settings": { "playback_policies": ["public"], "passthrough": self.passthrough },
        });
        if self.test {
            body["test"] = json!(true);
        }
        body
    }
}

/// Changes to a live stream; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LiveStreamUpdate {
    /// Mux takes it only while the stream is idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_mode: Option<LatencyMode>,
    /// 0 to 1800.
    #[serde(rename = "reconnect_window", skip_serializing_if = "Option::is_none")]
    pub reconnect_window_seconds: Option<u32>,
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Asset {
    /// Mux's name for it.
    pub id: String,
    /// `preparing`, `ready` (about 10 s after the start, while still live) or `errored`.
    pub status: String,
    /// The stream that it records.
    #[serde(default)]
    pub live_stream_id: Option<String>,
    /// Still being recorded.
    #[serde(default)]
    pub is_live: bool,
    /// Our marker.
    #[serde(default)]
    pub passthrough: Option<String>,
    /// What viewers' addresses are made of.
    #[serde(default)]
    pub playback_ids: Vec<PlaybackId>,
}

/// A number that stands as number or as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Spelling {
    Whole(i64),
    Broken(f64),
    Text(String),
}

impl Spelling {
    fn whole<N: TryFrom<i64>, E: serde::de::Error>(self) -> Result<N, E> {
        let number = match self {
            Self::Whole(number) => Some(number),
            Self::Broken(number) => Some(number as i64),
            Self::Text(text) => text.parse().ok(),
        };
        number
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| E::custom("a whole number was expected"))
    }
}

fn whole_number<'de, D: Deserializer<'de>, N: TryFrom<i64>>(deserializer: D) -> Result<N, D::Error> {
    Spelling::deserialize(deserializer)?.whole()
}

fn whole_number_or_none<'de, D, N>(deserializer: D) -> Result<Option<N>, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<i64>,
{
    Option::<Spelling>::deserialize(deserializer)?.map(Spelling::whole).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(change: Value) -> LiveStream {
        let mut text = json!({
            "id": "S1", "created_at": "1763942400", "status": "idle", "stream_key": "hidden-key",
            "latency_mode": "standard", "reconnect_window": 60, "max_continuous_duration": 43200,
            "playback_ids": [{"id": "P1", "policy": "public"}], "srt_passphrase": "hidden-too"
        });
        text.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn numbers_are_read_in_each_spelling() {
        assert_eq!(stream(json!({})).created_at, 1_763_942_400);
        assert_eq!(stream(json!({"created_at": 7})).created_at, 7);
        assert_eq!(stream(json!({"reconnect_window": 90.5})).reconnect_window(), 90);
        assert_eq!(stream(json!({"reconnect_window": "1800"})).reconnect_window(), 1800);
    }

    /// One that is signed plays for nobody without a token.
    #[test]
    fn the_playback_id_is_one_that_anybody_can_play() {
        let played =
            |ids: Value| stream(json!({"playback_ids": ids})).public_playback_id().map(|one| one.id.clone());
        let signed = json!({"id": "S", "policy": "signed"});
        let public = json!({"id": "P", "policy": "public"});
        assert_eq!(played(json!([signed, public])).as_deref(), Some("P"));
        assert_eq!(played(json!([signed, {"id": "D", "policy": "drm"}])), None);
        assert_eq!(played(json!([])), None);
    }

    #[test]
    fn a_window_that_is_left_out_is_the_default_of_the_latency_mode() {
        for (mode, seconds) in [("standard", 60), ("reduced", 0), ("low", 0)] {
            let stream = stream(json!({"reconnect_window": null, "latency_mode": mode}));
            assert_eq!(stream.reconnect_window(), seconds, "{mode}");
        }
        let least = json!({
            "id": "S1", "created_at": 7, "status": "idle", "stream_key": "k", "latency_mode": "standard",
        });
        assert_eq!(serde_json::from_value::<LiveStream>(least).unwrap().reconnect_window(), 60);
    }

    #[test]
    fn words_that_are_new_to_us_do_not_hide_the_stream() {
        let stream = stream(json!({"status": "recording", "latency_mode": "instant", "novel": {}}));
        assert_eq!(stream.status, LiveStreamStatus::Other("recording".into()));
        assert_eq!(stream.latency_mode, LatencyMode::Other);
        assert!(serde_json::to_value(stream.latency_mode).is_err());
    }

    #[test]
    fn a_live_stream_does_not_print_its_key() {
        assert!(!format!("{:?}", stream(json!({}))).contains("hidden"));
    }

    #[test]
    fn stream_and_recording_carry_the_marker_and_can_be_watched() {
        let new = NewLiveStream {
            passthrough: "memorialstream/c/u".into(),
            latency_mode: LatencyMode::Low,
            reconnect_window_seconds: 120,
            test: false,
        };
        assert_eq!(
            new.body(),
            json!({
                "passthrough": "memorialstream/c/u", "playback_policies": ["public"], "latency_mode": "low",
                "reconnect_window": 120,
                "new_asset_settings": {"playback_policies": ["public"], "passthrough": "memorialstream/c/u"}
            })
        );
        assert_eq!(NewLiveStream { test: true, ..new }.body()["test"], json!(true));
    }

    #[test]
    fn an_update_says_only_what_changes() {
        let update = LiveStreamUpdate { reconnect_window_seconds: Some(0), ..LiveStreamUpdate::default() };
        assert_eq!(serde_json::to_value(update).unwrap(), json!({"reconnect_window": 0}));
    }
}
