//! What the API server refuses, and in which words. Each manifest breaks one rule.

use crate::support::{self, Turn, manifest, resource};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

fn cameras(count: usize) -> Value {
    (1..=count).map(|n| json!({"name": format!("camera-{n}")})).collect()
}

fn entries(count: usize, value: &str) -> Value {
    (0..count).map(|number| (format!("example.com/{number}"), value)).collect()
}

/// A name, a spec that breaks one rule, and the words that must stand in the answer.
fn refused_at_creation() -> Vec<(&'static str, Value, &'static str)> {
    let two = json!([{"name": "lectern"}, {"name": "wide"}]);
    let label = "must be a DNS label";
    let video = |field: &str, value: i64| json!({"video": {field: value}});
    vec![
        ("slug-capitals", json!({"slug": "Jane"}), label),
        ("slug-dot", json!({"slug": "jane.doe"}), label),
        ("slug-hyphen-first", json!({"slug": "-jane"}), label),
        ("slug-hyphen-last", json!({"slug": "jane-"}), label),
        ("slug-empty", json!({"slug": ""}), label),
        ("slug-64", json!({"slug": "a".repeat(64)}), "may not be more than 63"),
        ("slug-from-name.with-dot", json!({}), label),
        (
            "a".repeat(201).leak(),
            json!({"slug": "long-name"}),
            "metadata.name must have at most 200 characters",
        ),
        (
            "camera-name-capitals",
            json!({"cameras": [{"name": "Lectern"}]}),
            "a camera's name must be a DNS label",
        ),
        ("camera-name-empty", json!({"cameras": [{"name": ""}]}), "a camera's name must be a DNS label"),
        ("camera-name-64", json!({"cameras": [{"name": "a".repeat(64)}]}), "may not be more than 63"),
        (
            "camera-name-missing",
            json!({"cameras": [{"displayName": "Lectern"}]}),
            "spec.cameras[0].name: Required",
        ),
        ("camera-twice", json!({"cameras": [{"name": "wide"}, {"name": "wide"}]}), "Duplicate value"),
        ("camera-ten", json!({"cameras": cameras(10)}), "must have at most 9 items"),
        (
            "camera-display-name",
            json!({"cameras": [{"name": "a", "displayName": "x".repeat(65)}]}),
            "more than 64",
        ),
        (
            "source-undeclared",
            json!({"cameras": two, "program": {"sources": ["door"]}}),
            "program.sources names a camera that spec.cameras does not declare",
        ),
        (
            "source-no-cameras",
            json!({"program": {"sources": ["door"]}}),
            "program.sources names a camera that",
        ),
        (
            "fallback-undeclared",
            json!({"cameras": two, "program": {"fallback": ["door"]}}),
            "program.fallback names a camera that spec.cameras does not declare",
        ),
        (
            "source-two-in-single",
            json!({"cameras": two, "program": {"layout": "Single", "sources": ["lectern", "wide"]}}),
            "more cameras than the layout shows",
        ),
        (
            "source-two-in-default",
            json!({"cameras": two, "program": {"sources": ["lectern", "wide"]}}),
            "more cameras than the layout shows",
        ),
        (
            "source-twice",
            json!({"cameras": two, "program": {"sources": ["wide", "wide"]}}),
            "program.sources names a camera twice",
        ),
        (
            "fallback-twice",
            json!({"cameras": two, "program": {"fallback": ["wide", "wide"]}}),
            "program.fallback names a camera twice",
        ),
        (
            "fallback-ten",
            json!({"cameras": cameras(9), "program": {"fallback": vec!["camera-1"; 10]}}),
            "must have at most 9 items",
        ),
        ("layout-unknown", json!({"program": {"layout": "Mosaic"}}), "Unsupported value: \"Mosaic\""),
        ("state-unknown", json!({"state": "OnAir"}), "Unsupported value: \"OnAir\""),
        ("session-zero", json!({"session": 0}), "greater than or equal to 1"),
        ("standby-limit-low", json!({"limits": {"standbyMinutes": 4}}), "greater than or equal to 5"),
        ("standby-limit-high", json!({"limits": {"standbyMinutes": 1441}}), "less than or equal to 1440"),
        ("live-limit-low", json!({"limits": {"liveMinutes": 4}}), "greater than or equal to 5"),
        ("live-limit-high", json!({"limits": {"liveMinutes": 721}}), "less than or equal to 720"),
        ("width-low", video("width", 318), "greater than or equal to 320"),
        ("width-high", video("width", 1922), "less than or equal to 1920"),
        ("width-odd", video("width", 641), "multiple of 2"),
        ("height-low", video("height", 178), "greater than or equal to 180"),
        ("height-high", video("height", 1082), "less than or equal to 1080"),
        ("height-odd", video("height", 361), "multiple of 2"),
        ("rate-low", video("framesPerSecond", 14), "greater than or equal to 15"),
        ("rate-high", video("framesPerSecond", 61), "less than or equal to 60"),
        ("bitrate-low", video("bitrateKbps", 299), "greater than or equal to 300"),
        ("bitrate-high", video("bitrateKbps", 8001), "less than or equal to 8000"),
        ("stall-hold-low", video("stallHoldMilliseconds", 99), "greater than or equal to 100"),
        ("stall-hold-high", video("stallHoldMilliseconds", 5001), "less than or equal to 5000"),
        ("window-low", json!({"mux": {"reconnectWindowSeconds": -1}}), "greater than or equal to 0"),
        ("window-high", json!({"mux": {"reconnectWindowSeconds": 1801}}), "less than or equal to 1800"),
        ("policy-unknown", json!({"mux": {"playbackPolicy": "Signed"}}), "Unsupported value: \"Signed\""),
        ("latency-unknown", json!({"mux": {"latencyMode": "Ultra"}}), "Unsupported value: \"Ultra\""),
        ("via-unknown", json!({"egress": {"via": "Pigeon"}}), "Unsupported value: \"Pigeon\""),
        (
            "strategy-unknown",
            json!({"egress": {"livekit": {"strategy": "Web"}}}),
            "Unsupported value: \"Web\"",
        ),
        ("deletion-unknown", json!({"deletionPolicy": {"stream": "Keep"}}), "Unsupported value: \"Keep\""),
        ("slate-before", json!({"slate": {"before": "x".repeat(201)}}), "may not be more than 200"),
        ("slate-interrupted", json!({"slate": {"interrupted": "x".repeat(201)}}), "may not be more than 200"),
        ("slate-ended", json!({"slate": {"ended": "x".repeat(201)}}), "may not be more than 200"),
        (
            "node-label-17",
            json!({"compositor": {"nodeSelector": entries(17, "yes")}}),
            "must have at most 16 items",
        ),
        (
            "node-label-key-318",
            json!({"compositor": {"nodeSelector": {"a".repeat(318): "yes"}}}),
            "each key must be a name as Kubernetes knows it",
        ),
        (
            "node-label-value-64",
            json!({"compositor": {"nodeSelector": {"video": "x".repeat(64)}}}),
            "may not be more than 63",
        ),
        (
            "resource-nine",
            json!({"compositor": {"resources": {"limits": entries(9, "1")}}}),
            "must have at most 8 items",
        ),
        (
            "resource-key-empty",
            json!({"compositor": {"resources": {"requests": {"": 1}}}}),
            "each key must be a name as Kubernetes knows it",
        ),
        (
            "quantity-33",
            json!({"compositor": {"resources": {"limits": {"cpu": "1".repeat(33)}}}}),
            "may not be more than 32",
        ),
        (
            "toleration-key-318",
            json!({"compositor": {"tolerations": [{"key": "a".repeat(318)}]}}),
            "may not be more than 317",
        ),
        (
            "toleration-value-64",
            json!({"compositor": {"tolerations": [{"value": "a".repeat(64)}]}}),
            "may not be more than 63",
        ),
        ("secret-unnamed", json!({"credentialsSecretRef": {"name": ""}}), "at least 1 chars long"),
        (
            "schedule-live-before-standby",
            json!({"schedule": {"standbyAt": "2026-12-05T11:00:00Z", "liveAt": "2026-12-05T10:00:00Z"}}),
            "schedule.standbyAt must not be after schedule.liveAt",
        ),
        (
            "schedule-end-at-live",
            json!({"schedule": {"liveAt": "2026-12-05T10:00:00Z", "endAt": "2026-12-05T10:00:00Z"}}),
            "schedule.endAt must be after schedule.liveAt",
        ),
        (
            "schedule-end-before-standby",
            json!({"schedule": {"standbyAt": "2026-12-05T10:00:00Z", "endAt": "2026-12-05T09:00:00Z"}}),
            "schedule.endAt must be after schedule.standbyAt",
        ),
        ("schedule-no-date", json!({"schedule": {"liveAt": "Saturday"}}), "spec.schedule.liveAt"),
    ]
}

/// A name, a spec that is taken, a merge patch that breaks one rule, and the words that must stand in the answer.
fn refused_at_change() -> Vec<(&'static str, Value, Value, &'static str)> {
    let on_program = json!({"cameras": [{"name": "lectern"}, {"name": "wide"}],
        "program": {"sources": ["lectern"], "fallback": ["wide"]}});
    vec![
        ("slug-changed", json!({"slug": "jane"}), json!({"slug": "joan"}), "the slug never changes"),
        ("slug-added", json!({}), json!({"slug": "joan"}), "the slug never changes"),
        ("slug-removed", json!({"slug": "jane"}), json!({"slug": null}), "the slug never changes"),
        ("session-back", json!({"session": 2}), json!({"session": 1}), "session only grows"),
        (
            "test-changed",
            json!({"mux": {"test": true}}),
            json!({"mux": {"test": false}}),
            "mux.test never changes",
        ),
        (
            "test-removed",
            json!({"mux": {"test": true}}),
            json!({"mux": {"test": null}}),
            "mux.test never changes",
        ),
        ("test-mux-removed", json!({"mux": {"test": true}}), json!({"mux": null}), "mux.test never changes"),
        ("test-added", json!({}), json!({"mux": {"test": true}}), "mux.test never changes"),
        (
            "camera-on-program-removed",
            on_program.clone(),
            json!({"cameras": [{"name": "wide"}]}),
            "TAKE another camera first",
        ),
        (
            "camera-in-fallback-removed",
            on_program,
            json!({"cameras": [{"name": "lectern"}]}),
            "take it out of the fallback first",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_breaks_one_rule_is_refused_in_words_that_a_person_understands() {
    let _turn = Turn::alone().await;
    let client = support::client().await;
    let namespace = support::namespace(&client, "admission").await;
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource());

    let cases = refused_at_creation();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for (name, spec, words) in cases {
        let answer = api.create(&PostParams::default(), &manifest(name, spec)).await;
        check(&mut wrong, name, answer, words);
    }
    for (name, spec, change, words) in refused_at_change() {
        if let Err(error) = api.create(&PostParams::default(), &manifest(name, spec)).await {
            wrong.push(format!("{name}: its first manifest must be taken: {error}"));
            continue;
        }
        let patch = Patch::Merge(json!({"spec": change}));
        let answer = api.patch(name, &PatchParams::default(), &patch).await;
        check(&mut wrong, name, answer, words);
    }
    support::delete_namespace(&namespace).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(wrong: &mut Vec<String>, name: &str, answer: kube::Result<DynamicObject>, words: &str) {
    match answer {
        Ok(_) => wrong.push(format!("{name}: was taken")),
        Err(kube::Error::Api(status)) if status.code == 422 && status.message.contains(words) => {}
        Err(other) => wrong.push(format!("{name}: expected {words:?} in: {other}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn good_manifests_are_taken() {
    let _turn = Turn::alone().await;
    let client = support::client().await;
    let namespace = support::namespace(&client, "admission-good").await;
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource());
    let whole = json!({
        "slug": "jane-doe", "session": 1, "state": "Standby",
        "schedule": {"standbyAt": "2026-12-05T09:00:00Z", "liveAt": "2026-12-05T10:00:00Z", "endAt": "2026-12-05T11:00:00Z"},
        "limits": {"standbyMinutes": 60, "liveMinutes": 90},
        "credentialsSecretRef": {"name": "providers"},
        "cameras": cameras(9),
        "program": {"layout": "Single", "sources": ["camera-1"], "fallback": ["camera-2", "camera-3"]},
        "slate": {"before": "x".repeat(200), "interrupted": "", "ended": "Thank you"},
        "audio": {"enabled": false},
        "video": {"width": 640, "height": 360, "framesPerSecond": 15, "bitrateKbps": 600, "stallHoldMilliseconds": 500},
        "mux": {"playbackPolicy": "Public", "latencyMode": "Low", "reconnectWindowSeconds": 0, "test": true},
        "egress": {"via": "LiveKit", "livekit": {"strategy": "Media"}},
        "compositor": {"nodeSelector": {"video": "yes"}, "tolerations": [{"key": "video", "operator": "Exists"}],
            "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}},
        "deletionPolicy": {"stream": "Retain"},
    });
    for (name, spec) in [("empty", json!({})), ("a".repeat(63).as_str(), json!({})), ("whole", whole)] {
        if let Err(error) = api.create(&PostParams::default(), &manifest(name, spec)).await {
            panic!("{name}: {error}");
        }
    }
    let take = Patch::Merge(json!({"spec": {"program": {"sources": ["camera-2"]}}}));
    let taken = api.patch("whole", &PatchParams::default(), &take).await.expect("a TAKE");
    assert_eq!(taken.data["spec"]["program"]["fallback"], json!(["camera-2", "camera-3"]));
    api.delete("empty", &DeleteParams::default()).await.expect("delete");
    support::delete_namespace(&namespace).await;
}

/// A later manager's list replaces the earlier one's whole: sources and fallback are atomic.
#[tokio::test(flavor = "multi_thread")]
async fn sources_are_one_value_for_server_side_apply() {
    let _turn = Turn::alone().await;
    let client = support::client().await;
    let namespace = support::namespace(&client, "admission-apply").await;
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource());
    let cameras = json!([{"name": "lectern"}, {"name": "wide"}]);
    let apply = |manager: &'static str, spec: Value| {
        let api = api.clone();
        async move {
            let patch = Patch::Apply(manifest("jane-doe", spec));
            api.patch("jane-doe", &PatchParams::apply(manager), &patch).await
        }
    };
    apply("gitops", json!({"cameras": cameras})).await.expect("gitops");
    apply("director", json!({"program": {"sources": ["lectern"], "fallback": ["wide"]}}))
        .await
        .expect("director");
    let taken =
        apply("director", json!({"program": {"sources": ["wide"], "fallback": []}})).await.expect("TAKE");
    assert_eq!(taken.data["spec"]["program"], json!({"sources": ["wide"], "fallback": []}));
    let synced = apply("gitops", json!({"cameras": cameras})).await.expect("sync");
    assert_eq!(synced.data["spec"]["program"]["sources"], json!(["wide"]), "a sync reverted a TAKE");
    support::delete_namespace(&namespace).await;
}

/// What a GitOps tool takes away is let through, for the operator holds it; a camera that Program shows is not, also where
/// nothing in the spec says so any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_may_take_words_away_but_no_camera_that_is_shown() {
    let _turn = Turn::alone().await;
    let client = support::client().await;
    let namespace = support::namespace(&client, "admission-sync").await;
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource());
    let both = json!([{"name": "lectern"}, {"name": "wide"}]);
    let words = json!({"cameras": both, "state": "Live", "session": 3, "program": {"sources": ["wide"]}});
    api.create(&PostParams::default(), &manifest("synced", words)).await.expect("create");
    let merge = async |spec: Value| {
        api.patch("synced", &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await
    };
    let synced = merge(json!({"state": null, "session": null, "program": null})).await.expect("a sync");
    assert_eq!(synced.data["spec"]["session"], json!(null));

    let status =
        json!({"status": {"said": {"session": 3}, "program": {"sources": ["wide"], "summary": "wide"}}});
    api.patch_status("synced", &PatchParams::default(), &Patch::Merge(status))
        .await
        .expect("as the operator writes");
    let mut wrong = Vec::new();
    let refused = merge(json!({"cameras": [{"name": "lectern"}]})).await;
    check(&mut wrong, "a camera that is shown", refused, "TAKE another camera first");
    check(&mut wrong, "an earlier session", merge(json!({"session": 2})).await, "session only grows");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    merge(json!({"cameras": [{"name": "wide"}], "session": 4})).await.expect("one that is not shown may go");
    support::delete_namespace(&namespace).await;
}
