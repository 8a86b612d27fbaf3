//! Live streams over REST: fields, bounds, errors and pages.

use crate::support::{ASSETS, Environment, STREAMS, at, words};
use memorialstream_mux_model::{Fault, Method, Permissions, Request, Secret, Settings};
use serde_json::{Value, json};

#[test]
fn a_new_stream_has_muxs_fields_and_defaults() {
    let mut mux = Environment::new();
    let new = json!({"playback_policies": ["public"], "new_asset_settings": {"playback_policies": "public"}});
    let stream = mux.create(new);
    assert_eq!(stream["status"], "idle");
    assert_eq!(stream["created_at"], "1763942400");
    assert_eq!(stream["reconnect_window"], 60);
    assert_eq!(stream["max_continuous_duration"], 43_200);
    assert_eq!(stream["latency_mode"], "standard");
    assert_eq!(stream["playback_ids"].as_array().map(Vec::len), Some(1));
    assert_eq!(stream["playback_ids"][0]["policy"], "public");
    assert_eq!(stream["new_asset_settings"]["playback_policies"], json!(["public"]));
    for absent in ["active_asset_id", "connected", "recording", "passthrough", "active_ingest_protocol"] {
        assert!(stream.get(absent).is_none(), "{absent} is there");
    }
    assert_eq!(mux.stream(&stream), stream);
}

#[test]
fn the_window_follows_the_latency_mode() {
    let mut mux = Environment::new();
    for (body, window) in [
        (json!({"latency_mode": "standard"}), 60),
        (json!({"latency_mode": "reduced"}), 0),
        (json!({"latency_mode": "low"}), 0),
        (json!({"low_latency": true}), 0),
        (json!({"latency_mode": "low", "reconnect_window": 1800}), 1800),
        (json!({"reconnect_window": 0}), 0),
    ] {
        assert_eq!(mux.create(body.clone())["reconnect_window"], window, "{body}");
    }
}

#[test]
fn each_spelling_of_who_may_watch_is_taken() {
    let mut mux = Environment::new();
    for (body, expected) in [
        (json!({"playback_policies": "public"}), json!(["public"])),
        (json!({"playback_policy": ["public", "signed"]}), json!(["public", "signed"])),
        (json!({"playback_policy": "signed"}), json!(["signed"])),
        (
            json!({"advanced_playback_policies": [{"policy": "drm", "drm_configuration_id": "d"}]}),
            json!(["drm"]),
        ),
    ] {
        let stream = mux.create(body);
        let ids = stream["playback_ids"].as_array().expect("a list").iter();
        assert_eq!(ids.map(|id| id["policy"].clone()).collect::<Value>(), expected);
    }
    assert!(mux.create(json!({})).get("playback_ids").is_none(), "nobody may watch");
}

#[test]
fn what_breaks_a_rule_is_refused_and_makes_nothing() {
    let mut mux = Environment::new();
    for body in [
        json!({"reconnect_window": 1801}),
        json!({"reconnect_window": -1}),
        json!({"max_continuous_duration": 59}),
        json!({"max_continuous_duration": 43_201}),
        json!({"test": true, "max_continuous_duration": 43_200}),
        json!({"latency_mode": "ultra"}),
        json!({"low_latency": true, "reduced_latency": true}),
        json!({"playback_policies": ["everybody"]}),
        json!({"playback_policies": ["drm"]}),
        json!({"advanced_playback_policies": [{"policy": "public", "drm_configuration_id": "d"}]}),
        json!({"passthrough": "x".repeat(256)}),
        json!({"meta": {"title": "é".repeat(513)}}),
        json!({"meta": {"creator_id": "only assets have it"}}),
        json!({"new_asset_settings": {"meta": {"external_id": "x".repeat(129)}}}),
        json!({"no_such_field": 1}),
        json!([]),
    ] {
        let answer = mux.call(Method::Post, STREAMS, body.clone());
        assert_eq!(answer.status, 400, "{body} was taken");
        assert_eq!(answer.body.as_ref().expect("a body")["error"]["type"], "invalid_parameters");
        assert!(!words(&answer).is_empty());
    }
    assert!(mux.model.streams().is_empty());
    let longest = json!({"passthrough": "é".repeat(255), "meta": {"title": "é".repeat(512)}});
    mux.create(longest);
}

#[test]
fn only_some_fields_can_be_changed() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({"passthrough": "old", "playback_policies": ["public"]}));
    let change = json!({"passthrough": "new", "latency_mode": "low", "reconnect_window": 5,
        "max_continuous_duration": 60, "meta": {"title": "t"}, "new_asset_settings": {"video_quality": "plus"}});
    let changed = mux.call(Method::Patch, &at(&stream, ""), change);
    assert_eq!(changed.status, 200, "{:?}", changed.body);
    let changed = changed.object();
    for (field, value) in
        [("passthrough", json!("new")), ("latency_mode", json!("low")), ("reconnect_window", json!(5))]
    {
        assert_eq!(changed[field], value);
    }
    assert_eq!(changed["playback_ids"], stream["playback_ids"]);
    assert_eq!(mux.stream(&stream), changed);
    for body in [
        json!({"playback_policies": ["signed"]}),
        json!({"test": true}),
        json!({"audio_only": true}),
        json!({"new_asset_settings": {"passthrough": "x"}}),
        json!({"reconnect_window": 1801}),
    ] {
        assert_eq!(mux.call(Method::Patch, &at(&stream, ""), body.clone()).status, 400, "{body}");
    }
    let cleared = mux.call(Method::Patch, &at(&stream, ""), json!({"passthrough": " "})).object();
    assert!(cleared.get("passthrough").is_none());
}

#[test]
fn the_duration_of_a_test_stream_cannot_be_set() {
    let mut mux = Environment::new();
    let test = mux.create(json!({"test": true}));
    let answer = mux.call(Method::Patch, &at(&test, ""), json!({"max_continuous_duration": 43_200}));
    assert_eq!(words(&answer), "Cannot use max continuous duration with test live streams");
}

#[test]
fn errors_are_worded_as_muxs() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({}));
    let malformed = mux.get(&format!("{STREAMS}/not-an-id"));
    assert_eq!((malformed.status, words(&malformed).as_str()), (400, "Failed to parse ID"));
    assert_eq!(mux.call(Method::Delete, &at(&stream, ""), Value::Null).status, 204);
    for (method, path) in [
        (Method::Get, at(&stream, "")),
        (Method::Delete, at(&stream, "")),
        (Method::Put, at(&stream, "complete")),
        (Method::Post, at(&stream, "reset-stream-key")),
        (Method::Get, "/video/v1/no-such-thing".to_owned()),
    ] {
        let gone = mux.call(method, &path, Value::Null);
        let body = json!({"error": {"type": "not_found", "messages":
            ["The requested resource either doesn't exist or you don't have access to it."]}});
        assert_eq!((gone.status, gone.body), (404, Some(body)), "{path}");
    }
}

#[test]
fn the_credentials_are_asked_for_and_can_be_replaced() {
    let mut mux = Environment::new();
    let body = json!({"error": {"type": "unauthorized", "messages": ["Unauthorized request"]}});
    let none = Request { credentials: None, ..Request::new(Method::Get, STREAMS, mux.credentials.clone()) };
    let refused = mux.send(&none);
    assert_eq!((refused.status, refused.body), (401, Some(body)));
    mux.model.set_token_secret(Secret::new("another"));
    assert_eq!(mux.get(STREAMS).status, 401);
    mux.credentials.token_secret = Secret::new("another");
    assert_eq!(mux.get(STREAMS).status, 200);
}

#[test]
fn a_missing_permission_looks_like_a_missing_thing_except_to_whoami() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({}));
    mux.change(|settings| settings.permissions = Permissions { video_read: false, video_write: false });
    assert_eq!(mux.get(&at(&stream, "")).status, 404);
    assert_eq!(mux.call(Method::Delete, &at(&stream, ""), Value::Null).status, 404);
    let me = mux.get("/system/v1/whoami").object();
    assert_eq!(me["permissions"], json!([]));
    assert!(me["environment_id"].is_string());
    mux.change(|settings| settings.permissions = Permissions::default());
    assert_eq!(mux.get("/system/v1/whoami").object()["environment_id"], me["environment_id"]);
    mux.stream(&stream);
}

#[test]
fn buckets_let_a_burst_through_and_say_so() {
    let mut mux = Environment::with(Settings::default());
    for left in ["3", "2", "1", "0"] {
        let answer = mux.call(Method::Post, STREAMS, json!({}));
        assert_eq!(answer.status, 201);
        assert!(answer.headers.contains(&("x-ratelimit-limit", "4".to_owned())), "{:?}", answer.headers);
        assert!(answer.headers.contains(&("x-ratelimit-remaining", left.to_owned())), "{:?}", answer.headers);
    }
    let refused = mux.call(Method::Post, STREAMS, json!({}));
    assert_eq!(refused.status, 429);
    assert_eq!(refused.body, Some(json!({"errors": ["Too many requests, retry later."]})));
    assert!(!refused.headers.iter().any(|(name, _)| *name == "retry-after"), "{:?}", refused.headers);
    assert_eq!(mux.model.streams().len(), 4);
    assert_eq!(mux.get(STREAMS).status, 200, "the other bucket is full");
    mux.pass(1);
    assert_eq!(mux.call(Method::Post, STREAMS, json!({})).status, 201);
}

#[test]
fn every_answer_has_a_request_id_of_its_own() {
    let mut mux = Environment::new();
    let mut ids: Vec<String> = (0..3)
        .flat_map(|_| mux.get(STREAMS).headers)
        .filter(|(name, _)| *name == "x-request-id")
        .map(|(_, id)| id)
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn streams_are_listed_in_pages_up_to_an_empty_one() {
    let mut mux = Environment::new();
    let made: Vec<Value> =
        (0..103).map(|n| mux.create(json!({"passthrough": n.to_string()}))["id"].clone()).collect();
    let mut page = |query: &str| -> Vec<Value> {
        let answer = mux.get(&format!("{STREAMS}?{query}"));
        assert_eq!(answer.status, 200, "{query}");
        answer.object().as_array().expect("a list").iter().map(|stream| stream["id"].clone()).collect()
    };
    assert_eq!(page("").len(), 25);
    let mut all = page("limit=100");
    assert_eq!(all.len(), 100);
    all.extend(page("limit=100&page=2"));
    all.reverse();
    assert_eq!(all, made, "the newest come first");
    assert!(page("limit=100&page=3").is_empty());
    for wrong in ["limit=101", "limit=0", "page=0", "page=x", "status=live"] {
        assert_eq!(mux.get(&format!("{STREAMS}?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn lists_can_be_narrowed() {
    let mut mux = Environment::new();
    let (one, two) = (mux.create(json!({})), mux.create(json!({})));
    mux.put(&one, "disable");
    let ids = |mux: &mut Environment, query: &str| -> Vec<Value> {
        let list = mux.get(&format!("{STREAMS}?{query}")).object();
        list.as_array().expect("a list").iter().map(|stream| stream["id"].clone()).collect()
    };
    assert_eq!(ids(&mut mux, "status=disabled"), [one["id"].clone()]);
    assert_eq!(ids(&mut mux, "status=idle"), [two["id"].clone()]);
    let key = two["stream_key"].as_str().expect("a key");
    assert_eq!(ids(&mut mux, &format!("stream_key={key}")), [two["id"].clone()]);
}

#[test]
fn a_new_key_replaces_the_old_one() {
    let mut mux = Environment::new();
    let old = mux.create(json!({}));
    let answer = mux.call(Method::Post, &at(&old, "reset-stream-key"), Value::Null);
    assert_eq!(answer.status, 201);
    let new = answer.object();
    assert_ne!(new["stream_key"], old["stream_key"]);
    assert!(mux.publish(&old, "with-the-old-key").is_err());
    assert!(mux.publish(&new, "with-the-new-key").is_ok());
}

#[test]
fn playback_ids_come_and_go() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({}));
    let path = at(&stream, "playback-ids");
    let made = mux.call(Method::Post, &path, json!({"policy": "public"}));
    assert_eq!(made.status, 201);
    let made = made.object();
    let id = made["id"].as_str().expect("an id");
    assert_eq!(mux.get(&format!("{path}/{id}")).object(), made);
    let found = mux.get(&format!("/video/v1/playback-ids/{id}")).object();
    assert_eq!(found["object"], json!({"type": "live_stream", "id": stream["id"]}));
    assert_eq!(mux.call(Method::Delete, &format!("{path}/{id}"), Value::Null).status, 204);
    assert_eq!(mux.get(&format!("{path}/{id}")).status, 404);
    assert_eq!(mux.call(Method::Post, &path, json!({"policy": "drm"})).status, 400);
}

#[test]
fn the_dashboard_knows_no_token_no_limit_and_no_fault() {
    let mut mux = Environment::with(Settings::default());
    mux.model.add_fault(Fault::outage()).expect("a fault");
    mux.change(|settings| settings.permissions = Permissions { video_read: false, video_write: false });
    let mut act =
        |method, path: &str, body: &str| mux.model.at_dashboard(mux.now, method, path, body.as_bytes());
    let made: Vec<Value> = (0..10).map(|_| act(Method::Post, STREAMS, "{}").object()).collect();
    let stream = &made[0];
    assert_eq!(act(Method::Post, &at(stream, "playback-ids"), r#"{"policy":"signed"}"#).status, 201);
    assert_eq!(act(Method::Put, &at(stream, "disable"), "").status, 200);
    assert_eq!(act(Method::Put, &at(stream, "nothing"), "").status, 404);
    assert_eq!(act(Method::Delete, &at(&made[1], ""), "").status, 204);
    assert!(mux.model.counts().is_empty());
    let records = mux.model.streams();
    assert_eq!((records.len(), records.iter().filter(|one| one.deleted).count()), (10, 1));
    assert!(records.iter().any(|one| one.status == "disabled" && one.playback_ids.len() == 1));
}

#[test]
fn a_clone_goes_its_own_way() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({}));
    let (mut one, mut other) = (mux.model.clone(), mux.model.clone());
    let create = Request::new(Method::Post, STREAMS, mux.credentials.clone());
    let ids = [&mut one, &mut other].map(|model| model.request(mux.now, &create).object()["id"].clone());
    assert_eq!(ids[0], ids[1], "the same names follow");
    assert_eq!((one.streams().len(), mux.model.streams().len()), (2, 1));
    assert_eq!(mux.stream(&stream), stream);
}

#[test]
fn assets_are_listed_by_cursor_and_by_page() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({"reconnect_window": 0}));
    for connection in ["a", "b", "c"] {
        mux.sends(&stream, connection, 1);
        mux.leaves(connection);
    }
    let mut list = |query: &str| mux.get(&format!("{ASSETS}?{query}")).body.expect("a body");
    let first = list("limit=2");
    assert_eq!(first["data"].as_array().map(Vec::len), Some(2));
    let cursor = first["next_cursor"].as_str().expect("there is more").to_owned();
    let second = list(&format!("limit=2&cursor={cursor}"));
    assert_eq!(second["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(second["next_cursor"], Value::Null);
    assert_eq!(list("limit=2&page=2")["data"], second["data"]);
    assert_eq!(list("limit=2&page=3")["data"], json!([]));
    assert_eq!(list("limit=3")["next_cursor"], Value::Null);
    let id = second["data"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(mux.get(&format!("{ASSETS}/{id}")).status, 200);
    assert_eq!(mux.call(Method::Delete, &format!("{ASSETS}/{id}"), Value::Null).status, 204);
    assert_eq!(mux.get(&format!("{ASSETS}/{id}")).status, 404);
}

#[test]
fn what_holds_a_key_does_not_print_it() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({}));
    let answer = mux.get(&at(&stream, ""));
    let printed = format!("{answer:?} {:?}", mux.model);
    for secret in ["stream_key", "srt_passphrase"] {
        assert!(!printed.contains(stream[secret].as_str().expect("a secret")), "{secret} was printed");
    }
}

#[test]
fn a_kept_state_goes_on_where_it_was() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({"passthrough": "kept"}));
    mux.sends(&stream, "connection", 12);
    let kept = serde_json::to_string(mux.model.state()).expect("a state can be kept");
    let state = serde_json::from_str(&kept).expect("and read again");
    let ids = Box::new(memorialstream_mux_model::Seeded::new(2));
    let mut again = Environment::new();
    again.model = memorialstream_mux_model::Model::resume(state, ids);
    again.now = mux.now;
    assert_eq!(again.stream(&stream), mux.stream(&stream));
}
