//! Lists that lag behind.

use crate::support::{Environment, STREAMS, at};
use memorialstream_mux_model::Method;
use serde_json::{Value, json};

fn lagging(seconds: u32) -> Environment {
    let mut mux = Environment::new();
    mux.change(|settings| settings.list_lag_seconds = seconds);
    mux
}

fn list(mux: &mut Environment, query: &str) -> Vec<Value> {
    let answer = mux.get(&format!("{STREAMS}?limit=100&{query}"));
    assert_eq!(answer.status, 200);
    answer.object().as_array().expect("a list").clone()
}

fn ids(mux: &mut Environment, query: &str) -> Vec<Value> {
    list(mux, query).iter().map(|stream| stream["id"].clone()).collect()
}

#[test]
fn a_new_stream_is_listed_late_and_read_at_once() {
    let mut mux = lagging(5);
    let stream = mux.create(json!({}));
    let key = format!("stream_key={}", stream["stream_key"].as_str().expect("a key"));
    mux.stream(&stream);
    for (passed, expected) in [(0, 0), (4, 0), (1, 1)] {
        mux.pass(passed);
        for query in ["", "status=idle", &key] {
            assert_eq!(ids(&mut mux, query).len(), expected, "{query}");
        }
    }
}

#[test]
fn a_status_is_listed_and_filtered_late() {
    let mut mux = lagging(5);
    let stream = mux.create(json!({"reconnect_window": 0}));
    mux.pass(5);
    mux.sends(&stream, "one", 10);
    assert_eq!(mux.stream(&stream)["status"], "active");
    mux.pass(4);
    assert!(ids(&mut mux, "status=active").is_empty());
    assert_eq!(list(&mut mux, "status=idle")[0]["connected"], true);
    mux.pass(1);
    assert_eq!(list(&mut mux, "status=active")[0]["status"], "active");
    mux.leaves("one");
    assert_eq!(mux.stream(&stream)["status"], "idle");
    mux.pass(4);
    assert_eq!(ids(&mut mux, "status=active"), [stream["id"].clone()]);
    mux.pass(1);
    assert!(ids(&mut mux, "status=active").is_empty());
    assert_eq!(ids(&mut mux, "status=idle"), [stream["id"].clone()]);
}

#[test]
fn what_happened_by_itself_is_listed_as_late_as_anything() {
    let mut mux = lagging(30);
    let stream = mux.create(json!({"reconnect_window": 60}));
    mux.sends(&stream, "one", 12);
    mux.leaves("one");
    mux.pass(89);
    assert_eq!(mux.stream(&stream)["status"], "idle");
    assert_eq!(list(&mut mux, "")[0]["status"], "active");
    mux.pass(1);
    assert_eq!(list(&mut mux, "")[0]["status"], "idle");
}

#[test]
fn a_changed_key_and_a_changed_marker_are_found_late() {
    let mut mux = lagging(5);
    let old = mux.create(json!({"passthrough": "old"}));
    mux.pass(5);
    mux.call(Method::Patch, &at(&old, ""), json!({"passthrough": "new"}));
    let new = mux.call(Method::Post, &at(&old, "reset-stream-key"), Value::Null).object();
    let query = |stream: &Value| format!("stream_key={}", stream["stream_key"].as_str().expect("a key"));
    assert_eq!(list(&mut mux, &query(&old))[0]["passthrough"], "old");
    assert!(ids(&mut mux, &query(&new)).is_empty());
    mux.pass(5);
    assert!(ids(&mut mux, &query(&old)).is_empty());
    assert_eq!(list(&mut mux, &query(&new))[0]["passthrough"], "new");
}

#[test]
fn a_deleted_stream_is_listed_for_a_while() {
    let mut mux = lagging(5);
    let stream = mux.create(json!({}));
    assert_eq!(mux.call(Method::Delete, &at(&stream, ""), Value::Null).status, 204);
    mux.pass(5);
    assert!(ids(&mut mux, "").is_empty(), "it was made and deleted in the same instant");
    let stream = mux.create(json!({}));
    mux.pass(5);
    mux.call(Method::Delete, &at(&stream, ""), Value::Null);
    assert_eq!(mux.get(&at(&stream, "")).status, 404);
    mux.pass(4);
    assert_eq!(ids(&mut mux, ""), [stream["id"].clone()]);
    mux.pass(1);
    assert!(ids(&mut mux, "").is_empty());
}

#[test]
fn a_list_that_stops_lagging_shows_everything() {
    let mut mux = lagging(3_600);
    let stream = mux.create(json!({}));
    assert!(ids(&mut mux, "").is_empty());
    mux.change(|settings| settings.list_lag_seconds = 0);
    assert_eq!(ids(&mut mux, ""), [stream["id"].clone()]);
}
