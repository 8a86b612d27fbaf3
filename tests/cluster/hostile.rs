//! A hostile tenant: whatever stands in its namespace, its neighbours' services notice nothing.

use crate::support::hostile::{Endpoint, Manner};
use crate::support::service::Service;
use crate::support::stage::PROVIDERS;
use crate::support::watching::Watching;
use crate::support::{Stage, client, eventually, holds, manifest, message, namespace, resource, spec};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use memorialstream_compositor_protocol::CONTROL_PORT;
use memorialstream_lab::MuxAdmin;
use memorialstream_lab::viewer::Viewer;
use memorialstream_operator::api::conditions::ConditionType as Kind;
use memorialstream_operator::api::crd::custom_resource_definition;
use memorialstream_operator::api::spec::{State, Via};
use memorialstream_operator::service::pod::{INCARNATION_LABEL, UID_LABEL};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

/// How many objects the tenant makes at once, beside single ones.
const AT_ONCE: usize = 500;
/// Of these, how many each of its bad endpoints gets; the others are real and wait for the limits of Mux.
const PER_ENDPOINT: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_tenant_is_noticed_by_nobody_else() {
    let mut stage = Stage::alone("neighbour").await;
    let service = stage.service("neighbour");
    service.apply(spec(Via::Compositor, &["lectern", "wide"], json!({"state": "Live"}))).await;
    let live = service.reaches(State::Live).await;
    let alone = [takes(&stage, "neighbour").await, go_live_and_end(&stage, "alone").await];

    let watching = Watching::on_air(&service);
    let viewer = Viewer::new(&live.playback_url.clone().expect("a URL")).expect("a viewer");
    let seen = viewer.newest_segment_number().await.expect("a playlist");
    stage.mux.reset_counters().await.expect("reset the counters");
    let tenant = Tenant::strike(&stage).await;
    let beside = [takes(&stage, "neighbour").await, go_live_and_end(&stage, "beside").await];
    tenant.is_told().await;
    eventually("the picture goes on", async || {
        let now = viewer.newest_segment_number().await.map_err(|error| format!("{error:#}"))?;
        holds(now > seen + 10, || format!("{now} after {seen}"))
    })
    .await;
    let statuses = watching.assert_nothing_was_wrong();
    drop(watching);
    service.ask(State::Ended).await;
    service.reaches(State::Ended).await;
    let made = tenant.streams_made().await;
    assert!(made < AT_ONCE - 4 * PER_ENDPOINT, "the neighbour waited for the tenant's {made} streams");
    assert_eq!(tenant.touched(), [0, 0], "redirects were followed, or somebody else's pod was asked");
    let uid = service.get().await.metadata.uid.expect("a uid");
    let stream = &stage.streams_of_uid(&uid).await[0];
    assert_eq!(
        (stream.assets, stream.status.as_str()),
        (1, "disabled"),
        "one recording, ended by its own End"
    );
    let counters = stage.mux.counters().await.expect("counters");
    assert!(counters.iter().all(|count| ![401, 429].contains(&count.status)), "{counters:#?}");
    println!(
        "{statuses} statuses; TAKEs and a go-live with its End, alone {alone:.1?} s, beside it {beside:.1?} s"
    );
    println!("the tenant had {made} streams by then");

    service.delete().await;
    service.is_gone().await;
    stage.kill_operator();
}

/// TAKEs both cameras in turn, and returns how long that took, in seconds.
async fn takes(stage: &Stage, name: &str) -> f64 {
    let (service, began) = (stage.service(name), Instant::now());
    for round in 0..10 {
        let camera = ["wide", "lectern"][round % 2];
        service.take(Some(camera)).await;
        let generation = service.get().await.metadata.generation;
        service
            .until("the TAKE is at the compositor", |status| {
                status.program.as_ref().is_some_and(|program| program.observed_generation >= generation)
            })
            .await;
    }
    began.elapsed().as_secs_f64()
}

/// A whole service, and how long it took, in seconds.
async fn go_live_and_end(stage: &Stage, name: &str) -> f64 {
    let (service, began) = (stage.service(name), Instant::now());
    service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Live"}))).await;
    service.reaches(State::Live).await;
    service.ask(State::Ended).await;
    service.reaches(State::Ended).await;
    service.delete().await;
    service.is_gone().await;
    began.elapsed().as_secs_f64()
}

/// The Secret of those objects whose streams do not wait in the crowd.
const UNCROWDED: &str = "uncrowded";

/// Everything that it does.
struct Tenant {
    client: Client,
    namespace: String,
    /// Where the crowd's streams are.
    mux: MuxAdmin,
    /// Where the redirects lead.
    elsewhere: Endpoint,
    /// Where a pod with the neighbour's label says that it is.
    pod: Endpoint,
    _endpoints: Vec<Endpoint>,
}

/// Each of its Secrets with bad endpoints.
const MANNERS: [&str; 4] = ["black-hole", "redirecting", "endless", "lying"];

impl Tenant {
    async fn strike(stage: &Stage) -> Self {
        let client = client().await;
        let namespace = namespace(&client, "tenant").await;
        let (own, mux) = own_credentials(stage).await;
        let elsewhere = Endpoint::start(Manner::NotFound).await;
        let neighbour = stage.service("neighbour").get().await;
        let uid = neighbour.metadata.uid.clone().expect("a uid");
        let manners = [
            Manner::BlackHole,
            Manner::Redirecting { to: format!("http://{}", elsewhere.address) },
            Manner::Endless,
            lying(stage, &uid).await,
        ];
        let mut endpoints = Vec::new();
        write_secret(&client, &namespace, PROVIDERS, &own).await;
        write_secret(&client, &namespace, UNCROWDED, &own_credentials(stage).await.0).await;
        for (name, manner) in MANNERS.into_iter().zip(manners) {
            let endpoint = Endpoint::start(manner).await;
            let url = format!("http://{}", endpoint.address);
            let mut bad = own.clone();
            bad.extend(["MUX_BASE_URL", "MUX_PLAYBACK_BASE_URL"].map(|key| (key, url.clone())));
            bad.insert("LIVEKIT_URL", url.replace("http", "ws"));
            write_secret(&client, &namespace, name, &bad).await;
            endpoints.push(endpoint);
        }
        let host: SocketAddr = format!("{}:{CONTROL_PORT}", host_address(stage)).parse().expect("an address");
        let pod = Endpoint::start_at(host, Manner::NotFound).await;
        strange_pod(&client, &namespace, &uid, &host).await;
        let tenant = Self { client, namespace, mux, elsewhere, pod, _endpoints: endpoints };
        write_secret(&tenant.client, &tenant.namespace, "claimed-compositor", &BTreeMap::new()).await;
        tenant.create_all().await;
        tenant
    }

    fn api(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource())
    }

    async fn create_all(&self) {
        let using = |secret: &str, more: Value| {
            let mut spec = spec(Via::Compositor, &["lectern"], more);
            spec["credentialsSecretRef"]["name"] = json!(secret);
            spec
        };
        let mut objects = vec![
            ("highest".to_owned(), highest()),
            ("lowest".to_owned(), lowest()),
            ("claimed".to_owned(), using(UNCROWDED, json!({"state": "Standby"}))),
        ];
        for number in 0..AT_ONCE {
            let (secret, spec) = match MANNERS.get(number / PER_ENDPOINT) {
                Some(bad) => (*bad, using(bad, json!({"state": "Live"}))),
                None => ("real", using(PROVIDERS, json!({}))),
            };
            objects.push((format!("{secret}-{number}"), spec));
        }
        let made = stream::iter(objects).map(async |(name, spec)| {
            let made = self.api().create(&PostParams::default(), &manifest(&name, spec)).await;
            made.unwrap_or_else(|error| panic!("{name}: {error}"));
        });
        made.buffer_unordered(10).collect::<Vec<_>>().await;
    }

    /// Its own objects say what is wrong with them, those with extreme values are as good as any, and a Secret that is
    /// not ours is left as it is.
    async fn is_told(&self) {
        let service = |name: &str| Service::new(&self.client, &self.namespace, name);
        for (index, manner) in MANNERS.into_iter().enumerate() {
            let name = format!("{manner}-{}", index * PER_ENDPOINT);
            let status =
                service(&name).until("it tells what is wrong", |status| status.message.is_some()).await;
            println!("{manner}: {}", status.message.unwrap_or_default());
            assert_ne!(status.state, Some(State::Live));
        }
        for name in ["highest", "lowest"] {
            service(name).reaches(State::Idle).await;
        }
        let claimed = service("claimed").says(Kind::CompositorReady, "False", Some("SecretNotOurs")).await;
        assert!(message(&claimed, Kind::CompositorReady).contains("claimed-compositor"), "{claimed:?}");
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = secrets.get("claimed-compositor").await.expect("the Secret");
        assert!(secret.data.is_none_or(|data| data.is_empty()), "it was written");
    }

    async fn streams_made(&self) -> usize {
        self.mux.streams().await.expect("the simulator's streams").len()
    }

    /// How often the redirects' target and the strange pod were asked.
    fn touched(&self) -> [u64; 2] {
        [self.elsewhere.asked(), self.pod.asked()]
    }

    /// Removes all of its objects, past the operator: nobody waits for its endpoints. What is gone already is no error.
    async fn clear(&self) -> kube::Result<()> {
        let api = self.api();
        let removed = stream::iter(api.list(&Default::default()).await?.items).map(async |object| {
            let name = object.metadata.name.unwrap_or_default();
            let released = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            // Nobody gives a finalizer to what is being deleted.
            let deleted = api.delete(&name, &DeleteParams::default()).await.map(|_| ());
            let released = api.patch(&name, &PatchParams::default(), &released).await.map(|_| ());
            for error in [deleted, released].into_iter().filter_map(Result::err) {
                if !matches!(&error, kube::Error::Api(answer) if answer.code == 404) {
                    eprintln!("{name}: {error}");
                }
            }
        });
        removed.buffer_unordered(10).collect::<Vec<_>>().await;
        Ok(())
    }
}

impl Drop for Tenant {
    /// Also of a test that failed: whoever comes after it would wait in vain for the objects to go.
    fn drop(&mut self) {
        let cleared = std::thread::scope(|scope| {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            scope.spawn(move || runtime.block_on(self.clear())).join()
        });
        if !matches!(cleared, Ok(Ok(()))) {
            eprintln!("the tenant's objects are left: {cleared:?}");
        }
    }
}

/// Those of an environment of Mux that is the tenant's.
async fn own_credentials(stage: &Stage) -> (BTreeMap<&'static str, String>, MuxAdmin) {
    let (access, mux) = MuxAdmin::new_environment(&stage.lab).await.expect("an environment of Mux");
    let mut credentials = stage.credentials();
    credentials.insert("MUX_TOKEN_ID", access.token_id);
    credentials.insert("MUX_TOKEN_SECRET", access.token_secret.reveal().to_owned());
    (credentials, mux)
}

/// It says that it is the neighbour's environment, and that everything is the neighbour's stream.
async fn lying(stage: &Stage, uid: &str) -> Manner {
    let theirs = stage.streams_of_uid(uid).await.remove(0);
    let environment = stage.service("neighbour").status().await.mux.and_then(|mux| mux.environment_id);
    let playback_ids: Vec<Value> =
        theirs.playback_ids.iter().map(|id| json!({"id": id, "policy": "public"})).collect();
    let stream = json!({
        "id": theirs.id, "created_at": "1700000000", "status": "active", "stream_key": "guessed",
        "playback_ids": playback_ids, "passthrough": theirs.passthrough, "latency_mode": "standard",
        "reconnect_window": 60,
    });
    Manner::Lying { stream, environment: environment.expect("an environment") }
}

async fn write_secret(client: &Client, namespace: &str, name: &str, data: &BTreeMap<&str, String>) {
    let secret = json!({"metadata": {"name": name}, "stringData": data});
    let secret: Secret = serde_json::from_value(secret).expect("a Secret");
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &secret).await.expect("write the Secret");
}

/// The lab's host, as pods reach it.
fn host_address(stage: &Stage) -> String {
    let url = reqwest::Url::parse(&stage.lab.livekit.url).expect("a URL");
    url.host_str().expect("a host").to_owned()
}

/// A pod that claims to be the neighbour's newest compositor, and to run at `host`.
async fn strange_pod(client: &Client, namespace: &str, uid: &str, host: &SocketAddr) {
    let labels = json!({UID_LABEL: uid, INCARNATION_LABEL: "1000"});
    let pod = json!({
        "metadata": {"name": "neighbour-1000", "labels": labels},
        // No node has this.
        "spec": {"nodeSelector": {"nowhere": "at-all"}, "containers": [{"name": "compositor", "image": "none"}]},
    });
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    api.create(&PostParams::default(), &pod).await.expect("make the pod");
    let status = json!({"status": {
        "phase": "Running", "podIP": host.ip(), "podIPs": [{"ip": host.ip()}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    api.patch_status("neighbour-1000", &PatchParams::default(), &Patch::Merge(status))
        .await
        .expect("lie about it");
}

/// The most that the schema takes, in letters of four bytes where it counts letters.
fn highest() -> Value {
    let text = "𝔍".repeat(200);
    let cameras: Vec<Value> = (1..=9)
        .map(|number| json!({"name": format!("{number}{}", "a".repeat(62)), "displayName": "𝔍".repeat(64)}))
        .collect();
    let names: Vec<&Value> = cameras.iter().map(|camera| &camera["name"]).collect();
    let keys = |count: usize| (0..count).map(longest_key);
    let labels: BTreeMap<_, _> = keys(16).map(|key| (key, "b".repeat(63))).collect();
    let quantities: BTreeMap<_, _> = keys(8).map(|key| (key, "9".repeat(32))).collect();
    let word = "c".repeat(63);
    let tolerations: Vec<Value> = keys(20)
        .map(|key| json!({"key": key, "operator": word, "value": word, "effect": word, "tolerationSeconds": i64::MAX}))
        .collect();
    json!({
        "slug": format!("highest-{}", "a".repeat(55)), "session": 1_000_000, "state": "Idle",
        "schedule": {"standbyAt": "2999-12-31T23:59:57.999999999+14:00", "liveAt": "2999-12-31T23:59:58.999999999+14:00",
            "endAt": "2999-12-31T23:59:59.999999999+14:00", "overrunMinutes": 240},
        "limits": {"standbyMinutes": 1440, "liveMinutes": 720},
        "credentialsSecretRef": {"name": UNCROWDED},
        "cameras": cameras,
        "program": {"layout": "Single", "sources": [names[0]], "fallback": names},
        "slate": {"before": text, "interrupted": text, "ended": text},
        "audio": {"enabled": true},
        "video": {"width": 1920, "height": 1080, "framesPerSecond": 60, "bitrateKbps": 8000, "stallHoldMilliseconds": 5000},
        "mux": {"latencyMode": "Low", "reconnectWindowSeconds": 1800},
        "egress": {"via": "LiveKit", "livekit": {"strategy": "Media"}},
        "compositor": {"nodeSelector": labels, "tolerations": tolerations,
            "resources": {"requests": quantities, "limits": quantities}},
        "deletionPolicy": {"stream": "Retain"},
    })
}

/// A domain of 253 letters, and a name of 63.
fn longest_key(number: usize) -> String {
    let label = "a".repeat(63);
    format!("{number:063}.{label}.{label}.{}/{label}", "a".repeat(61))
}

/// The least.
fn lowest() -> Value {
    json!({
        "session": 1, "state": "Idle",
        "schedule": {"standbyAt": "2000-01-01T00:00:00Z", "liveAt": "2000-01-01T00:00:00Z", "endAt": "2000-01-01T00:00:01Z",
            "overrunMinutes": 0},
        "limits": {"standbyMinutes": 5, "liveMinutes": 5},
        "credentialsSecretRef": {"name": UNCROWDED},
        "cameras": [{"name": "a", "displayName": ""}],
        "program": {"sources": [], "fallback": []},
        "slate": {"before": "", "interrupted": "", "ended": ""},
        "audio": {"enabled": false},
        "video": {"width": 320, "height": 180, "framesPerSecond": 15, "bitrateKbps": 300, "stallHoldMilliseconds": 100},
        "mux": {"reconnectWindowSeconds": 0, "test": true},
        "compositor": {"nodeSelector": {}, "tolerations": [], "resources": {}},
    })
}

#[test]
fn the_highest_is_at_every_bound_of_the_schema() {
    let definition = serde_json::to_value(custom_resource_definition()).expect("the CRD");
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut short = Vec::new();
    shortfalls("spec", schema, &highest(), &mut short);
    // A Secret that exists, what one layout shows, and what is not said in a size.
    let meant = [
        "spec.credentialsSecretRef.name",
        "spec.mux.playbackPolicy",
        "spec.mux.test",
        "spec.program.sources",
    ];
    assert_eq!(short, meant);
}

/// Each place in which a value is not at its bound, or lacks a field.
fn shortfalls(path: &str, schema: &Value, value: &Value, short: &mut Vec<String>) {
    let (size, bound) = match value {
        Value::String(text) => (text.chars().count() as f64, &schema["maxLength"]),
        Value::Number(number) => (number.as_f64().unwrap_or_default(), &schema["maximum"]),
        Value::Array(items) => {
            items.iter().for_each(|item| shortfalls(&format!("{path}[]"), &schema["items"], item, short));
            (items.len() as f64, &schema["maxItems"])
        }
        Value::Object(entries) => {
            for (name, entry) in entries.iter().filter(|_| schema["properties"].is_null()) {
                shortfalls(&format!("{path}.{name}"), &schema["additionalProperties"], entry, short);
            }
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                match entries.get(name) {
                    Some(entry) => shortfalls(&path, field, entry, short),
                    None => short.push(path),
                }
            }
            (entries.len() as f64, &schema["maxProperties"])
        }
        _ => return,
    };
    if bound.as_f64().is_some_and(|bound| bound != size) {
        short.push(path.to_owned());
    }
}
