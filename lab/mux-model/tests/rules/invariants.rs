//! What holds whatever people and encoders do.

use crate::support::{Environment, STREAMS, at};
use memorialstream_mux_model::{MediaKind, Method, Playback};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Create { window: u32, latency: &'static str, test: bool, passthrough: usize },
    Update { stream: usize, window: u32 },
    Put { stream: usize, action: &'static str },
    ResetKey { stream: usize },
    Delete { stream: usize },
    Publish { stream: usize },
    Media { seconds: u64 },
    Leave { encoder: usize },
    Pass { seconds: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..4usize;
    prop_oneof![
        1 => (0..1_900u32, prop_oneof![Just("standard"), Just("low")], any::<bool>(), 0..300usize)
            .prop_map(|(window, latency, test, passthrough)| Step::Create { window, latency, test, passthrough }),
        1 => (stream.clone(), 0..90u32).prop_map(|(stream, window)| Step::Update { stream, window }),
        1 => (stream.clone(), prop_oneof![Just("complete"), Just("disable"), Just("enable")])
            .prop_map(|(stream, action)| Step::Put { stream, action }),
        1 => stream.clone().prop_map(|stream| Step::ResetKey { stream }),
        1 => stream.clone().prop_map(|stream| Step::Delete { stream }),
        4 => stream.prop_map(|stream| Step::Publish { stream }),
        4 => (1..15u64).prop_map(|seconds| Step::Media { seconds }),
        2 => (0..4usize).prop_map(|encoder| Step::Leave { encoder }),
        4 => prop_oneof![1..20i64, 50..400i64].prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// The environment, and what its clients and encoders know.
struct Play {
    mux: Environment,
    streams: Vec<Value>,
    /// Each encoder that is connected, as the ingest sees it, and how much it has sent.
    encoders: BTreeMap<String, u64>,
    connections: usize,
    /// The number after the newest segment of each broadcast that was seen.
    ends: BTreeMap<String, u64>,
}

impl Play {
    fn take(&mut self, step: &Step) {
        let stream = |play: &Self, index: usize| play.streams.get(index).cloned().unwrap_or(Value::Null);
        match step {
            Step::Create { window, latency, test, passthrough } => {
                let body = json!({"reconnect_window": window, "latency_mode": latency, "test": test,
                        "passthrough": "p".repeat(*passthrough), "playback_policies": ["public"]});
                let answer = self.mux.call(Method::Post, STREAMS, body);
                assert_eq!(answer.status == 201, *window <= 1_800 && *passthrough <= 255);
                if answer.status == 201 {
                    self.streams.push(answer.object());
                }
            }
            Step::Pass { seconds } => self.mux.pass(*seconds),
            Step::Media { seconds } => {
                for (connection, sent) in &mut self.encoders {
                    *sent += seconds;
                    self.mux.media(connection, *sent);
                }
            }
            Step::Leave { encoder } => {
                let connection = self.encoders.keys().nth(*encoder).cloned();
                if let Some(connection) = connection {
                    self.encoders.remove(&connection);
                    self.mux.leaves(&connection);
                }
            }
            Step::Publish { stream: index } => {
                let stream = stream(self, *index);
                if stream.is_null() {
                    return;
                }
                self.connections += 1;
                let connection = format!("connection-{:04}", self.connections);
                if self.mux.publish(&stream, &connection).is_ok() {
                    self.encoders.insert(connection, 0);
                }
            }
            Step::Update { stream: index, window } => {
                let stream = stream(self, *index);
                if !stream.is_null() {
                    let body = json!({"reconnect_window": window});
                    self.mux.call(Method::Patch, &at(&stream, ""), body);
                }
            }
            Step::Put { stream: index, action } => {
                let stream = stream(self, *index);
                if !stream.is_null() {
                    self.mux.call(Method::Put, &at(&stream, action), Value::Null);
                }
            }
            Step::ResetKey { stream: index } => {
                let stream = stream(self, *index);
                if !stream.is_null() {
                    let answer = self.mux.call(Method::Post, &at(&stream, "reset-stream-key"), Value::Null);
                    if answer.status == 201 {
                        self.streams[*index] = answer.object();
                    }
                }
            }
            Step::Delete { stream: index } => {
                let stream = stream(self, *index);
                if !stream.is_null() {
                    self.mux.call(Method::Delete, &at(&stream, ""), Value::Null);
                }
            }
        }
        for connection in self.mux.dropped() {
            self.encoders.remove(&connection);
        }
    }

    fn check(&mut self) {
        let connected: Vec<String> = self.encoders.keys().cloned().collect();
        let mut known = self.mux.model.connections();
        known.sort();
        assert_eq!(known, connected, "the ingest and the model disagree");
        for stream in self.streams.clone() {
            self.check_stream(&stream);
        }
        assert_eq!(self.mux.model.streams().len(), self.streams.len());
    }

    fn check_stream(&mut self, made: &Value) {
        let live: Vec<Value> =
            self.mux.assets(made).into_iter().filter(|asset| asset["is_live"] == true).collect();
        let answer = self.mux.get(&at(made, ""));
        let id = made["id"].as_str().expect("an id");
        let record = self.mux.model.streams().into_iter().find(|record| record.id == id);
        let record = record.expect("every stream that was made is known");
        assert_eq!(record.live_assets, live.len());
        if answer.status == 404 {
            assert!(record.deleted && live.is_empty() && record.encoders == 0, "{record:?}");
            return;
        }
        let stream = answer.object();
        assert!(live.len() <= 1, "two recordings at once");
        assert_eq!(stream.get("active_asset_id"), live.first().map(|asset| &asset["id"]));
        let active = stream["status"] == "active";
        assert!(!active || live.len() == 1, "active without a recording");
        let disabled = stream["status"] == "disabled";
        assert!(!disabled || (stream.get("connected").is_none() && live.is_empty()), "{record:?}");
        assert!(stream["passthrough"].as_str().is_none_or(|text| text.chars().count() <= 255));
        let viewer = stream["playback_ids"][0]["id"].as_str().expect("a playback id");
        let plays = matches!(self.mux.model.playback(viewer), Playback::Plays(_));
        assert_eq!(plays, active, "what is active can be watched, and nothing else");
        if let Playback::Plays(playlist) = self.mux.model.media_playlist(self.mux.now, viewer) {
            let end = playlist.media_sequence + playlist.segments;
            let asset = stream["active_asset_id"].as_str().expect("an asset").to_owned();
            let before = self.ends.insert(asset, end);
            assert!(before.is_none_or(|before| before <= end), "segments were taken back");
            let slate = playlist.newest == Some(MediaKind::Slate);
            assert!(!slate || stream["latency_mode"] == "low", "{playlist:?}");
        }
        let durations = live.iter().map(|asset| {
            let times = asset["recording_times"].as_array().expect("a list").iter();
            let sum: f64 = times.filter_map(|time| time["duration"].as_f64()).sum();
            (sum, asset["duration"].as_f64().unwrap_or(0.0))
        });
        for (sum, whole) in durations {
            assert!((sum - whole).abs() < 1e-6, "{sum} s in parts, {whole} s in all");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_breaks_the_rules(steps in prop::collection::vec(step(), 1..60)) {
        let mux = Environment::new();
        let mut play =
            Play { mux, streams: Vec::new(), encoders: BTreeMap::new(), connections: 0, ends: BTreeMap::new() };
        for step in &steps {
            play.take(step);
            play.check();
        }
    }
}
