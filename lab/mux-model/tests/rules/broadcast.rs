//! The life of a broadcast.

use crate::support::{ASSETS, Environment, at};
use memorialstream_mux_model::{Method, Playback, PublishRefusal};
use serde_json::{Value, json};

fn watched() -> Value {
    json!({"playback_policies": ["public"], "passthrough": "marker", "reconnect_window": 60,
        "new_asset_settings": {"playback_policies": ["public"], "passthrough": "marker"}})
}

#[test]
fn a_broadcast_goes_from_connected_to_idle() {
    let mut mux = Environment::new();
    let stream = mux.create(watched());
    let viewer = stream["playback_ids"][0]["id"].as_str().expect("a playback id").to_owned();
    assert_eq!(mux.model.playback(&viewer), Playback::NotActive);

    mux.publish(&stream, "one").expect("let in");
    let connected = mux.stream(&stream);
    assert_eq!((&connected["status"], &connected["connected"]), (&json!("idle"), &json!(true)));
    assert!(connected.get("recording").is_none());
    let asset = connected["active_asset_id"].clone();
    assert_eq!(mux.assets(&stream)[0]["id"], asset);

    mux.pass(1);
    mux.media("one", 1);
    let recording = mux.stream(&stream);
    assert_eq!((&recording["status"], &recording["recording"]), (&json!("idle"), &json!(true)));
    assert_eq!(mux.assets(&stream)[0]["status"], "preparing");
    assert_eq!(mux.model.playback(&viewer), Playback::NotActive);

    mux.pass(9);
    mux.media("one", 10);
    let active = mux.stream(&stream);
    assert_eq!((&active["status"], &active["active_ingest_protocol"]), (&json!("active"), &json!("rtmp")));
    let live = &mux.assets(&stream)[0];
    assert_eq!((&live["status"], &live["is_live"]), (&json!("ready"), &json!(true)));
    assert_eq!(live["progress"], json!({"state": "live", "progress": -1}));
    assert_eq!(live["passthrough"], "marker");
    assert!(matches!(mux.model.playback(&viewer), Playback::Plays(program) if program.newest_only));

    mux.leaves("one");
    let disconnected = mux.stream(&stream);
    assert_eq!(disconnected["status"], "active", "the window is open");
    assert!(disconnected.get("connected").is_none());
    mux.pass(59);
    assert_eq!(mux.stream(&stream)["status"], "active");
    mux.pass(1);
    let idle = mux.stream(&stream);
    assert_eq!(idle["status"], "idle");
    assert!(idle.get("active_asset_id").is_none());
    assert_eq!(idle["recent_asset_ids"], json!([asset]));
    assert_eq!(mux.model.playback(&viewer), Playback::NotActive);

    let done = mux.assets(&stream)[0].clone();
    assert_eq!((&done["is_live"], &done["status"]), (&json!(false), &json!("ready")));
    assert_eq!(done["duration"], 10.0);
    assert_eq!(done["recording_times"].as_array().map(Vec::len), Some(1));
    let recorded = done["playback_ids"][0]["id"].as_str().expect("a playback id");
    assert!(matches!(mux.model.playback(recorded), Playback::Plays(program) if program.ended));
}

#[test]
fn an_encoder_that_comes_back_in_the_window_goes_on_with_the_recording() {
    let mut mux = Environment::new();
    let stream = mux.create(watched());
    mux.sends(&stream, "one", 12);
    mux.leaves("one");
    mux.pass(30);
    mux.sends(&stream, "two", 5);
    mux.pass(60);
    assert_eq!(mux.stream(&stream)["status"], "active", "the first window is closed");
    let assets = mux.assets(&stream);
    assert_eq!(assets.len(), 1);
    assert_eq!(assets[0]["duration"], 17.0);
    assert_eq!(assets[0]["recording_times"].as_array().map(Vec::len), Some(2));
}

#[test]
fn after_the_window_or_without_one_there_is_a_new_recording() {
    let mut mux = Environment::new();
    for window in [10, 0] {
        let stream = mux.create(json!({"reconnect_window": window}));
        mux.sends(&stream, &format!("one-{window}"), 12);
        mux.leaves(&format!("one-{window}"));
        mux.pass(window);
        assert_eq!(mux.stream(&stream)["status"], "idle");
        mux.sends(&stream, &format!("two-{window}"), 1);
        let assets = mux.assets(&stream);
        assert_eq!(assets.len(), 2);
        assert_eq!((&assets[0]["is_live"], &assets[1]["is_live"]), (&json!(true), &json!(false)));
    }
}

#[test]
fn complete_ends_at_once_and_the_encoder_stays_for_a_minute() {
    let mut mux = Environment::new();
    let stream = mux.create(watched());
    mux.sends(&stream, "one", 12);
    mux.put(&stream, "complete");
    assert_eq!(mux.stream(&stream)["status"], "idle");
    assert!(mux.dropped().is_empty());
    for second in 13..72 {
        mux.pass(1);
        mux.media("one", second);
    }
    assert_eq!(mux.assets(&stream).len(), 1, "what comes in that minute is thrown away");
    mux.pass(1);
    mux.media("one", 72);
    let assets = mux.assets(&stream);
    assert_eq!(assets.len(), 2, "an encoder that still sends starts a new recording");
    assert_eq!((&assets[0]["duration"], &assets[1]["duration"]), (&json!(1.0), &json!(12.0)));
    assert_eq!(mux.stream(&stream)["active_asset_id"], assets[0]["id"]);
}

#[test]
fn complete_closes_the_window() {
    let mut mux = Environment::new();
    let stream = mux.create(watched());
    mux.sends(&stream, "one", 12);
    mux.leaves("one");
    mux.put(&stream, "complete");
    assert_eq!(mux.stream(&stream)["status"], "idle");
    mux.sends(&stream, "two", 1);
    assert_eq!(mux.assets(&stream).len(), 2, "who reconnects then starts a new recording at once");
}

#[test]
fn disable_cuts_the_encoder_and_keeps_others_out() {
    let mut mux = Environment::new();
    let stream = mux.create(watched());
    mux.sends(&stream, "one", 12);
    mux.put(&stream, "disable");
    assert_eq!(mux.dropped(), ["one"]);
    assert_eq!(mux.stream(&stream)["status"], "disabled");
    assert_eq!(mux.assets(&stream)[0]["is_live"], false);
    assert_eq!(mux.publish(&stream, "two"), Err(PublishRefusal::Disabled));
    mux.leaves("one");
    mux.put(&stream, "enable");
    assert_eq!(mux.stream(&stream)["status"], "idle");
    mux.publish(&stream, "three").expect("let in");
}

#[test]
fn delete_cuts_the_encoder_and_keeps_the_recording() {
    let mut mux = Environment::new();
    let stream = mux.create(watched());
    mux.sends(&stream, "one", 12);
    assert_eq!(mux.call(Method::Delete, &at(&stream, ""), Value::Null).status, 204);
    assert_eq!(mux.dropped(), ["one"]);
    assert_eq!(mux.publish(&stream, "two"), Err(PublishRefusal::UnknownKey));
    let assets = mux.assets(&stream);
    assert_eq!((assets.len(), &assets[0]["is_live"]), (1, &json!(false)));
    let record = &mux.model.streams()[0];
    assert!(record.deleted);
    assert_eq!((record.encoders, record.assets, record.live_assets), (0, 1, 0));
}

#[test]
fn the_newer_of_two_encoders_goes_on() {
    let mut mux = Environment::new();
    let stream = mux.create(watched());
    mux.sends(&stream, "one", 12);
    mux.publish(&stream, "two").expect("let in");
    assert_eq!(mux.dropped(), ["one"]);
    mux.leaves("one");
    assert_eq!(mux.stream(&stream)["connected"], true);
    assert_eq!(mux.assets(&stream).len(), 1);
}

#[test]
fn an_encoder_that_sends_nothing_is_cut_off() {
    let mut mux = Environment::new();
    let stream = mux.create(watched());
    mux.publish(&stream, "one").expect("let in");
    mux.pass(299);
    assert!(mux.dropped().is_empty());
    mux.pass(1);
    assert_eq!(mux.dropped(), ["one"]);
    mux.pass(60);
    assert_eq!(mux.assets(&stream)[0]["status"], "errored", "nothing was recorded");
}

#[test]
fn a_broadcast_may_not_be_longer_than_its_limit() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({"max_continuous_duration": 60, "reconnect_window": 1800}));
    mux.sends(&stream, "one", 59);
    assert!(mux.dropped().is_empty());
    mux.pass(1);
    assert_eq!(mux.dropped(), ["one"]);
    assert_eq!(mux.stream(&stream)["status"], "idle");
    mux.sends(&stream, "two", 1);
    assert_eq!(mux.assets(&stream).len(), 2);
}

#[test]
fn a_test_stream_ends_after_five_minutes_and_its_recording_after_a_day() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({"test": true}));
    mux.sends(&stream, "one", 309);
    assert_eq!(mux.stream(&stream)["status"], "active");
    mux.pass(1);
    assert_eq!(mux.stream(&stream)["status"], "disabled");
    assert_eq!(mux.dropped(), ["one"]);
    assert_eq!(mux.assets(&stream).len(), 1);
    mux.pass(24 * 60 * 60);
    assert!(mux.assets(&stream).is_empty());
}

#[test]
fn everything_happens_in_order_however_far_time_jumps() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({"reconnect_window": 60}));
    mux.sends(&stream, "one", 12);
    assert_eq!(mux.model.next_deadline(), Some(mux.now + jiff::SignedDuration::from_secs(300)));
    mux.pass(24 * 60 * 60);
    assert_eq!(mux.dropped(), ["one"]);
    assert_eq!(mux.stream(&stream)["status"], "idle");
    assert_eq!(mux.model.next_deadline(), None);
}

#[test]
fn the_latency_mode_changes_only_while_idle() {
    let mut mux = Environment::new();
    let stream = mux.create(watched());
    mux.sends(&stream, "one", 12);
    let change = json!({"latency_mode": "low"});
    assert_eq!(mux.call(Method::Patch, &at(&stream, ""), change.clone()).status, 400);
    assert_eq!(mux.call(Method::Patch, &at(&stream, ""), json!({"reconnect_window": 5})).status, 200);
    mux.put(&stream, "complete");
    assert_eq!(mux.call(Method::Patch, &at(&stream, ""), change).status, 200);
}

#[test]
fn a_recording_that_is_under_way_cannot_be_deleted() {
    let mut mux = Environment::new();
    let stream = mux.create(watched());
    mux.sends(&stream, "one", 1);
    let asset = mux.stream(&stream)["active_asset_id"].as_str().expect("an asset").to_owned();
    let path = format!("{ASSETS}/{asset}");
    assert_eq!(mux.call(Method::Delete, &path, Value::Null).status, 400);
    mux.put(&stream, "complete");
    assert_eq!(mux.call(Method::Delete, &path, Value::Null).status, 204);
    assert!(mux.stream(&stream).get("recent_asset_ids").is_none_or(|ids| ids == &json!([])));
}

#[test]
fn signed_addresses_do_not_play() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({"playback_policies": ["signed"]}));
    let id = stream["playback_ids"][0]["id"].as_str().expect("a playback id");
    assert_eq!(mux.model.playback(id), Playback::NotPublic);
    assert_eq!(mux.model.playback("nobody"), Playback::Unknown);
}
