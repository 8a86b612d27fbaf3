//! The egress worker dies while Live: status says so, and a new egress starts as soon as a worker is there.

use crate::support::service::Service;
use crate::support::{Stage, eventually, holds, is, message, send, spec};
use memorialstream_lab::viewer::Viewer;
use memorialstream_operator::api::MemorialStreamStatus;
use memorialstream_operator::api::conditions::ConditionType as Kind;
use memorialstream_operator::api::spec::{State, Via};
use memorialstream_operator::providers::livekit::LiveKitApi;
use serde_json::json;
use std::fs;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_egress_worker_is_told_and_replaced_as_soon_as_there_is_another() {
    let stage = Stage::alone("worker").await;
    if !stage.vias().contains(&Via::LiveKit) {
        return;
    }
    let service = stage.service("orphaned");
    // Long enough for all that follows to be one recording.
    let window = json!({"state": "Live", "mux": {"reconnectWindowSeconds": 600}});
    service.apply(spec(Via::LiveKit, &["lectern"], window)).await;
    let live = service.reaches(State::Live).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    let viewer = Viewer::new(&live.playback_url.clone().expect("a URL")).expect("a viewer");

    // The handler alone: LiveKit says so, and the worker takes another egress at once.
    let began = Instant::now();
    kill(&handlers(&stage));
    told(&service.until("not OnAir", |status| is(status, Kind::OnAir, "False", None)).await);
    println!("handler killed → OnAir False: {:.1} s", began.elapsed().as_secs_f64());
    let second = service.until("a second egress", |status| on_air_with_another(status, &live)).await;
    println!("handler killed → on air again: {:.1} s", began.elapsed().as_secs_f64());

    // The whole worker: LiveKit goes on saying that the egress is active.
    let began = Instant::now();
    let worker = worker(&stage);
    kill(&[handlers(&stage), vec![worker]].concat());
    told(&service.until("not OnAir", |status| is(status, Kind::OnAir, "False", None)).await);
    println!("worker killed → OnAir False: {:.1} s", began.elapsed().as_secs_f64());
    let waits = service.says(Kind::EgressActive, "False", Some("WaitingForCapacity")).await;
    println!("worker killed → WaitingForCapacity: {:.1} s", began.elapsed().as_secs_f64());
    assert!(is(&waits, Kind::OnAir, "False", None), "{waits:?}");
    assert!(message(&waits, Kind::EgressActive).contains("egress worker"), "{waits:?}");
    let dark = viewer.newest_segment_number().await.expect("a playlist");

    let began = Instant::now();
    stage.start_process("egress").await;
    let third = service.until("a third egress", |status| on_air_with_another(status, &second)).await;
    println!("worker there → on air again: {:.1} s", began.elapsed().as_secs_f64());
    service.reaches(State::Live).await;
    eventually("the picture goes on", async || {
        let now = viewer.newest_segment_number().await.map_err(|error| format!("{error:#}"))?;
        holds(now > dark + 3, || format!("{now} after {dark}"))
    })
    .await;
    let ours = third.egress.and_then(|egress| egress.id);
    assert_eq!(one_sends(&stage, &service, &uid).await, ours);
    ends(&stage, &service, &uid).await;
}

/// LiveKit takes no order for a frozen worker, and it goes on where it was: whichever egress is left, it is the only one.
#[tokio::test(flavor = "multi_thread")]
async fn an_egress_whose_worker_comes_back_does_not_send_beside_another() {
    let stage = Stage::alone("thawed").await;
    if !stage.vias().contains(&Via::LiveKit) {
        return;
    }
    let service = stage.service("thawed");
    let window = json!({"state": "Live", "mux": {"reconnectWindowSeconds": 600}});
    service.apply(spec(Via::LiveKit, &["lectern"], window)).await;
    service.reaches(State::Live).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    let began = Instant::now();
    let frozen = Frozen::new([handlers(&stage), vec![worker(&stage)]].concat());
    told(&service.until("not OnAir", |status| is(status, Kind::OnAir, "False", None)).await);
    println!("worker frozen → OnAir False: {:.1} s", began.elapsed().as_secs_f64());
    service.says(Kind::EgressActive, "False", Some("WaitingForCapacity")).await;
    println!("worker frozen → WaitingForCapacity: {:.1} s", began.elapsed().as_secs_f64());
    drop(frozen);
    let began = Instant::now();
    service.reaches(State::Live).await;
    println!("worker thawed → Live: {:.1} s", began.elapsed().as_secs_f64());
    one_sends(&stage, &service, &uid).await;
    assert!(is(&service.status().await, Kind::OnAir, "True", None));
    ends(&stage, &service, &uid).await;
}

/// How many send to Mux. LiveKit's own processes say less: one whose pipeline broke may have left room and ingest, and
/// stand there for ever.
async fn senders(stage: &Stage, uid: &str) -> usize {
    stage.streams_of_uid(uid).await.iter().map(|stream| stream.encoders).sum()
}

/// Waits until the egress that status names is the only one in the room and the only one that sends. Returns it.
async fn one_sends(stage: &Stage, service: &Service, uid: &str) -> Option<String> {
    let id = eventually("one egress is in the room", async || {
        let status = service.status().await;
        let id = status.egress.and_then(|egress| egress.id);
        let room = status.room.and_then(|room| room.name).ok_or("no room")?;
        let all = stage.livekit.participants(&room).await.map_err(|error| error.to_string())?;
        let identities = all.iter().map(|one| one.identity.as_str());
        let egresses: Vec<&str> = identities.filter(|name| name.starts_with("EG_")).collect();
        let (ours, send) = (id.iter().map(String::as_str).collect::<Vec<_>>(), senders(stage, uid).await);
        holds(egresses == ours && send == 1, || format!("{ours:?}: {egresses:?}, {send} send")).map(|()| id)
    })
    .await;
    let stream = stage.streams_of_uid(uid).await.remove(0);
    assert_eq!((stream.encoders, stream.assets), (1, 1), "one sender, one recording: {stream:?}");
    id
}

/// Ends and deletes it. LiveKit lists what a dead worker left behind for ever: what sends is asked of Mux.
async fn ends(stage: &Stage, service: &Service, uid: &str) {
    service.ask(State::Ended).await;
    service.reaches(State::Ended).await;
    eventually("nobody sends", async || {
        let left = senders(stage, uid).await;
        holds(left == 0, || format!("{left} send"))
    })
    .await;
    service.delete().await;
    service.is_gone().await;
    assert!(stage.rooms(uid).await.is_empty() && stage.pods(uid).await.is_empty());
    assert!(stage.streams_of_uid(uid).await[0].deleted);
}

/// Processes that stand still until it is dropped.
struct Frozen(Vec<u32>);

impl Frozen {
    fn new(processes: Vec<u32>) -> Self {
        processes.iter().for_each(|pid| send("STOP", *pid));
        Self(processes)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.iter().for_each(|pid| send("CONT", *pid));
    }
}

/// A False that says why, and what is done about it.
fn told(status: &MemorialStreamStatus) {
    println!("{}", message(status, Kind::OnAir));
    assert!(!message(status, Kind::OnAir).is_empty(), "{status:?}");
    assert!(status.message.as_ref().is_some_and(|message| !message.is_empty()), "{status:?}");
}

fn on_air_with_another(status: &MemorialStreamStatus, before: &MemorialStreamStatus) -> bool {
    let id = |status: &MemorialStreamStatus| status.egress.as_ref().and_then(|egress| egress.id.clone());
    is(status, Kind::OnAir, "True", None) && id(status).is_some() && id(status) != id(before)
}

/// The service process of the lab's worker.
fn worker(stage: &Stage) -> u32 {
    let all = stage.lab.processes().expect("the lab's processes");
    let egress = all.iter().find(|process| process.name == "egress").expect("an egress worker runs");
    egress.pid.try_into().expect("a process number")
}

/// One process for each egress.
fn handlers(stage: &Stage) -> Vec<u32> {
    let program = stage.lab.egress.as_ref().and_then(|egress| fs::canonicalize(egress).ok());
    let is_handler = |pid: &u32| {
        let runs = fs::read_link(format!("/proc/{pid}/exe")).ok();
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        runs.is_some() && runs == program && words.split(|byte| *byte == 0).any(|word| word == b"run-handler")
    };
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .filter(is_handler)
        .collect()
}

fn kill(processes: &[u32]) {
    assert!(!processes.is_empty(), "something is killed");
    processes.iter().for_each(|pid| send("KILL", *pid));
}
