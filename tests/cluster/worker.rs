//! The egress worker dies while Live: status says so, and a new egress starts as soon as a worker is there.

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
    let stream = stage.streams_of_uid(&uid).await.remove(0);
    assert_eq!((stream.encoders, stream.assets), (1, 1), "one sender, one recording: {stream:?}");
    let room = third.room.clone().and_then(|room| room.name).expect("a room");
    let ours = third.egress.and_then(|egress| egress.id).expect("an id");
    eventually("one egress is in the room", async || {
        let all = stage.livekit.participants(&room).await.map_err(|error| error.to_string())?;
        let egresses: Vec<&str> =
            all.iter().map(|one| one.identity.as_str()).filter(|name| name.starts_with("EG_")).collect();
        holds(egresses == [ours.as_str()], || format!("{egresses:?}"))
    })
    .await;
    assert_eq!(handlers(&stage).len(), 1, "one egress runs");

    service.ask(State::Ended).await;
    service.reaches(State::Ended).await;
    eventually("no egress runs", async || {
        let left = handlers(&stage);
        holds(left.is_empty(), || format!("{left:?}"))
    })
    .await;
    service.delete().await;
    service.is_gone().await;
    assert!(stage.rooms(&uid).await.is_empty() && stage.pods(&uid).await.is_empty());
    assert!(stage.streams_of_uid(&uid).await[0].deleted);
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
