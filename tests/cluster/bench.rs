//! What things take. `make bench` runs this and prints the tables of docs/benchmarks.md; nothing is asserted on time.

mod crowd;
mod each_process;
mod installation;
mod killed;

use crate::support::service::Service;
use crate::support::{Stage, compositor_process, eventually, is, prometheus, spec};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use memorialstream_compositor_protocol::{BEARER_TOKEN_FILE, CONTROL_PORT, CompositorStatus};
use memorialstream_lab::cameras::{Camera, Show};
use memorialstream_lab::http_client;
use memorialstream_lab::viewer::PatternColour;
use memorialstream_operator::api::conditions::ConditionType as Kind;
use memorialstream_operator::api::spec::{State, Via};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const GO_LIVES: usize = 5;
const TAKES: usize = 220;
/// Between a TAKE that is told in status and the next one, in milliseconds: directors are no faster. Never the same, so that
/// no pass of the operator's is always met at the same moment.
const PAUSES: std::ops::Range<u64> = 400..1_000;
const REJOINS: usize = 60;
const WINDOW: Duration = Duration::from_secs(60);
/// The size that the CRD defaults to.
const FULL_SIZE: &str = r#"{"width": 1280, "height": 720, "framesPerSecond": 30, "bitrateKbps": 3000}"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures for some minutes: make bench"]
async fn going_live() {
    let stage = Stage::alone("bench").await;
    for via in stage.vias() {
        go_live(&stage, via).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures for some minutes: make bench"]
async fn a_broadcast_of_full_size() {
    broadcast(&Stage::alone("broadcast").await).await;
}

/// Idle → Standby → Live, and when each part was ready.
async fn go_live(stage: &Stage, via: Via) {
    let parts = [
        ("Mux stream enabled", Kind::MuxStreamReady),
        ("LiveKit room", Kind::RoomReady),
        ("compositor publishes", Kind::CompositorReady),
    ];
    let mut seen: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for round in 0..GO_LIVES {
        let service = stage.service(&format!("go-live-{via:?}-{round}").to_lowercase());
        let began = Instant::now();
        service.apply(spec(via, &["lectern"], json!({}))).await;
        service.reaches(State::Idle).await;
        note(&mut seen, "1 manifest → Idle (Mux stream created, disabled)", began);

        let began = Instant::now();
        service.ask(State::Standby).await;
        let mut missing = parts.to_vec();
        service
            .until("Standby", |status| {
                missing.retain(|(name, kind)| {
                    let ready =
                        is(status, *kind, "True", None) && !is(status, *kind, "True", Some("Disabled"));
                    if ready {
                        note(&mut seen, &format!("2 Standby asked → {name}"), began);
                    }
                    !ready
                });
                status.state == Some(State::Standby)
            })
            .await;
        note(&mut seen, "3 Standby asked → Standby", began);

        let began = Instant::now();
        service.ask(State::Live).await;
        let mut connected = false;
        service
            .until("Live", |status| {
                if !connected && is(status, Kind::EgressActive, "True", None) {
                    connected = true;
                    note(&mut seen, "4 Live asked → sender connected", began);
                }
                status.state == Some(State::Live)
            })
            .await;
        note(&mut seen, "5 Live asked → OnAir (Mux active)", began);
        service.delete().await;
        service.is_gone().await;
    }
    println!("\n### Going live, via {via:?}, {GO_LIVES} rounds\n");
    println!("| from → to | minimum | median | maximum |\n| --- | --- | --- | --- |");
    for (name, mut times) in seen {
        times.sort();
        let [first, middle, last] = [0, times.len() / 2, times.len() - 1].map(|at| times[at].as_secs_f64());
        println!("| {} | {first:.2} s | {middle:.2} s | {last:.2} s |", &name[2..]);
    }
}

fn note(seen: &mut BTreeMap<String, Vec<Duration>>, name: &str, began: Instant) {
    seen.entry(name.to_owned()).or_default().push(began.elapsed());
}

/// TAKEs, processor time and requests of one broadcast of full size.
async fn broadcast(stage: &Stage) {
    let service = stage.service("broadcast");
    let video: serde_json::Value = serde_json::from_str(FULL_SIZE).expect("JSON");
    let names = ["lectern", "wide", "family"];
    service.apply(spec(Via::Compositor, &names, json!({"state": "Live", "video": video}))).await;
    service.reaches(State::Live).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    let process = compositor_process(&stage.pods(&uid).await[0]);
    let pod = pod(stage, &service).await;
    let colours = [PatternColour::Red, PatternColour::Green, PatternColour::Blue];
    let mut cameras = Vec::new();
    let join = |name: &str, colour| {
        let operator = Path::new(env!("CARGO_BIN_EXE_memorialstream-operator"));
        let show = Show::Pattern { colour, sound: true };
        Camera::start(&stage.lab, operator, &service.namespace, &service.name, name, &show).expect("a camera")
    };
    println!("\n### Compositor, 1280×720 at 30 frames per second, x264, via Compositor\n");
    println!("| cameras | processor time, cores | memory, MiB |\n| --- | --- | --- |");
    for (name, colour) in names.into_iter().zip(colours) {
        cameras.push(join(name, colour));
        live_sources(&service, cameras.len()).await;
        service.take(Some(name)).await;
        let (before, began) = (processor_time(process), Instant::now());
        tokio::time::sleep(Duration::from_secs(20)).await;
        let cores = (processor_time(process) - before) / began.elapsed().as_secs_f64();
        println!("| {} | {cores:.2} | {} |", cameras.len(), resident(process) / 1024);
    }
    takes(&service, &pod, &names).await;
    steady(stage, &service).await;
    println!("\nOperator: {} MiB resident", resident(stage.operator_pid()) / 1024);
    println!(
        "\n### A camera that leaves and joins again\n\n| times | compositor's memory, MiB |\n| --- | --- |"
    );
    for round in 0..=REJOINS {
        if round % 10 == 0 {
            println!("| {round} | {} |", resident(process) / 1024);
        }
        drop(cameras.pop());
        live_sources(&service, cameras.len()).await;
        cameras.push(join(names[2], colours[2]));
        live_sources(&service, cameras.len()).await;
    }
    drop(cameras);
    service.delete().await;
    service.is_gone().await;
}

async fn live_sources(service: &Service, count: usize) {
    service
        .until(&format!("{count} cameras send"), |status| {
            let sources = status.compositor.as_ref().map(|pod| pod.sources.as_slice()).unwrap_or(&[]);
            sources.iter().filter(|source| source.state == "Live").count() == count
        })
        .await;
}

/// From the director's patch to the changed frame at the encoder, asked of the pod itself.
async fn takes(service: &Service, pod: &PodUnderTest, names: &[&str]) {
    let (mut stored, mut after, mut whole, mut inside) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..TAKES {
        let camera = names[round % names.len()];
        tokio::time::sleep(Duration::from_millis(random.random_range(PAUSES))).await;
        let began = Instant::now();
        service.take(Some(camera)).await;
        let answered = milliseconds(began);
        stored.push(answered);
        eventually("the TAKE is at the encoder", async || {
            loop {
                let status = pod.status().await;
                if status.shown.sources == [camera] {
                    return Ok(());
                }
                if began.elapsed() > Duration::from_secs(10) {
                    return Err(format!("{:?}", status.shown));
                }
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        })
        .await;
        whole.push(milliseconds(began));
        after.push(milliseconds(began) - answered);
        let generation = service.get().await.metadata.generation;
        let told = service
            .until("status tells it", |status| {
                status.program.as_ref().is_some_and(|program| program.observed_generation == generation)
            })
            .await;
        inside.push(told.program.and_then(|program| program.take_milliseconds).unwrap_or(0) as f64);
    }
    println!("\n### TAKE, {TAKES} of them\n");
    println!("| from → to | p50 | p99 | maximum |\n| --- | --- | --- | --- |");
    for (name, mut times) in [
        ("patch → the API server's answer", stored),
        ("that answer → changed frame at the encoder", after),
        ("patch → changed frame at the encoder", whole),
        ("the pod's receipt → changed frame at the encoder", inside),
    ] {
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
        println!("| {name} | {:.0} ms | {:.0} ms | {:.0} ms |", at(0.5), at(0.99), at(1.0));
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Requests in a steady state.
async fn steady(stage: &Stage, service: &Service) {
    let before = requests(stage).await;
    stage.mux.reset_counters().await.expect("reset");
    let version = service.get().await.metadata.resource_version;
    tokio::time::sleep(WINDOW).await;
    let unchanged = service.get().await.metadata.resource_version == version;
    let mux = stage.mux.counters().await.expect("counters");
    let after = requests(stage).await;
    println!("\n### Requests per minute of one Live service in a steady state\n");
    println!("| what | per minute |\n| --- | --- |");
    for (what, count) in after {
        let more = count - before.get(&what).copied().unwrap_or(0.0);
        if more > 0.0 {
            println!("| {what} | {more:.0} |");
        }
    }
    for count in mux {
        println!("| Mux: {} {} | {} |", count.method, count.route, count.count);
    }
    println!("\nStatus unchanged: {unchanged}");
}

/// Requests so far to the API server, for what the operator touches, and to LiveKit. Two of the former are this test's own.
async fn requests(stage: &Stage) -> BTreeMap<String, f64> {
    let api = stage.api_requests(&["memorialstreams", "secrets", "events"]).await;
    let mut all: BTreeMap<_, _> =
        api.into_iter().map(|(what, count)| (format!("API server: {what}"), count)).collect();
    let url = format!("http://127.0.0.1:{}/metrics", stage.lab.ports.livekit_metrics);
    let answer = http_client().expect("a client").get(url).send().await.expect("LiveKit's metrics");
    let text = answer.text().await.expect("LiveKit's metrics");
    all.extend(prometheus::sums(&text, "livekit_node_twirp_request_status", |labels| {
        Some(format!("LiveKit: {}/{}", labels.get("service")?, labels.get("method")?))
    }));
    all
}

/// The compositor pod of a service, and how to ask it.
struct PodUnderTest {
    http: reqwest::Client,
    url: String,
    token: String,
}

async fn pod(stage: &Stage, service: &Service) -> PodUnderTest {
    let uid = service.get().await.metadata.uid.expect("a uid");
    let ip = stage.pods(&uid).await[0].status.clone().and_then(|status| status.pod_ip).expect("an address");
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), &service.namespace);
    let secret = api.get(&format!("{}-compositor", service.name)).await.expect("the boot Secret");
    let token = secret.data.expect("data").remove(BEARER_TOKEN_FILE).expect("a token");
    PodUnderTest {
        http: http_client().expect("a client"),
        url: format!("http://{ip}:{CONTROL_PORT}/v1/status"),
        token: String::from_utf8(token.0).expect("text"),
    }
}

impl PodUnderTest {
    async fn status(&self) -> CompositorStatus {
        let answer = self.http.get(&self.url).bearer_auth(self.token.trim()).send().await.expect("an answer");
        answer.json().await.expect("a status")
    }
}

/// Seconds of processor time that a process has used.
fn processor_time(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process");
    let fields: Vec<&str> = text.rsplit_once(") ").expect("a name").1.split(' ').collect();
    let ticks: f64 = [11, 12].iter().map(|at| fields[*at].parse::<f64>().expect("ticks")).sum();
    ticks / 100.0
}

/// KiB that a process has in memory.
fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
