//! Status says what mourners see, and nobody takes a director's patch back.

use crate::support::{Stage, compositor_process, eventually, holds, is, message, send, spec};
use memorialstream_operator::api::conditions::ConditionType as Kind;
use memorialstream_operator::api::spec::{State, Via};
use serde_json::json;
use std::time::Duration;

/// In Mux's reconnect window the picture stands: OnAir is False and names the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn on_air_is_false_in_the_reconnect_window() {
    let stage = Stage::alone("window").await;
    let service = stage.service("window");
    service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Live"}))).await;
    service.reaches(State::Live).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    stage.stop_process("nginx-rtmp").await;
    let lost = service.says(Kind::OnAir, "False", Some("Reconnecting")).await;
    let words = message(&lost, Kind::OnAir);
    assert!(words.contains("Mux ends the broadcast at 20"), "the deadline is told: {words}");
    assert!(lost.message.is_some_and(|message| !message.is_empty()), "the message tells it");
    assert_eq!(lost.state, Some(State::Live), "the state that was reached last");
    stage.start_process("nginx-rtmp").await;
    service.says(Kind::OnAir, "True", None).await;
    let stream = stage.streams_of_uid(&uid).await.remove(0);
    assert_eq!(stream.assets, 1, "the same recording goes on: {stream:?}");
    service.delete().await;
    service.is_gone().await;
}

/// A Program that stands still is not on air, whatever Mux and the sender say; the kubelet restarts it.
#[tokio::test(flavor = "multi_thread")]
async fn on_air_is_not_true_while_program_stands_still() {
    let stage = Stage::enter("frozen").await;
    let via = *stage.vias().last().expect("a sender");
    let service = stage.service("frozen");
    service.apply(spec(via, &["lectern"], json!({"state": "Live"}))).await;
    let live = service.reaches(State::Live).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    let pid = compositor_process(&stage.pods(&uid).await[0]);
    send("STOP", pid);
    // Nobody but the compositor knows that it stands still.
    let frozen = service.until("not OnAir", |status| !is(status, Kind::OnAir, "True", None)).await;
    assert!(!message(&frozen, Kind::OnAir).is_empty());
    // The kubelet's liveness probe kills what does not answer.
    let back = service
        .until("OnAir after a restart", |status| {
            is(status, Kind::OnAir, "True", None)
                && status.compositor.as_ref().is_some_and(|compositor| compositor.restarts > 0)
        })
        .await;
    let id = |status: &memorialstream_operator::api::MemorialStreamStatus| {
        status.egress.as_ref().and_then(|egress| egress.id.clone())
    };
    assert_eq!(id(&back), id(&live), "the egress outlives the compositor");
    service.delete().await;
    service.is_gone().await;
}

/// A GitOps tool applies its manifest every few seconds; state, session and program stay the director's.
#[tokio::test(flavor = "multi_thread")]
async fn a_gitops_manager_reverts_no_patch_of_the_director() {
    let stage = Stage::enter("gitops").await;
    let service = stage.service("applied");
    let manifest = spec(Via::Compositor, &["lectern", "wide"], json!({}));
    service.apply(manifest.clone()).await;
    let (syncing, syncs) = (service.clone(), std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0)));
    let counted = syncs.clone();
    let tool = tokio::spawn(async move {
        loop {
            syncing.apply(manifest.clone()).await;
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
    service.reaches(State::Idle).await;
    service.ask(State::Live).await;
    service.reaches(State::Live).await;
    service.take(Some("wide")).await;
    let generation = service.get().await.metadata.generation;
    service
        .until("the TAKE is at the compositor", |status| {
            status.program.as_ref().is_some_and(|program| program.observed_generation >= generation)
        })
        .await;
    let seen = syncs.load(std::sync::atomic::Ordering::SeqCst);
    eventually("three more syncs", async || {
        let now = syncs.load(std::sync::atomic::Ordering::SeqCst);
        holds(now >= seen + 3, || format!("{now}"))
    })
    .await;
    let object = service.get().await;
    assert_eq!(object.spec.state, Some(State::Live));
    assert_eq!(object.spec.program.expect("program").sources, Some(vec!["wide".to_owned()]));
    assert_eq!(object.metadata.generation, generation, "a sync that changes nothing is no change");
    assert!(is(&object.status.expect("status"), Kind::OnAir, "True", None));
    tool.abort();
    service.delete().await;
    service.is_gone().await;
}

/// In a steady state nothing is written anywhere, and questions stay within Mux's limits.
#[tokio::test(flavor = "multi_thread")]
async fn a_steady_state_writes_nothing() {
    let stage = Stage::alone("steady").await;
    let service = stage.service("steady");
    service.apply(spec(Via::Compositor, &[], json!({"state": "Live"}))).await;
    service.reaches(State::Live).await;
    let version = settled(&service).await;
    let before = writes_so_far(&stage).await;
    stage.mux.reset_counters().await.expect("reset the counters");
    let polls = |counters: Vec<memorialstream_lab::RequestCount>| -> u64 {
        counters.iter().filter(|count| count.method == "GET").map(|count| count.count).sum()
    };
    // As many polls as half a minute has.
    eventually("the operator looks again and again", async || {
        let seen = polls(stage.mux.counters().await.expect("counters"));
        holds(seen >= 4, || format!("{seen} polls"))
    })
    .await;
    let counters = stage.mux.counters().await.expect("counters");
    let writes: Vec<_> = counters.iter().filter(|count| count.method != "GET").collect();
    assert!(writes.is_empty(), "writes at Mux in a steady state: {writes:?}");
    assert_eq!(
        service.get().await.metadata.resource_version,
        version,
        "status was written in a steady state"
    );
    assert_eq!(
        writes_so_far(&stage).await,
        before,
        "an apply that changes nothing is a request all the same"
    );
    service.delete().await;
    service.is_gone().await;
}

/// Writes that the API server counted of what nobody but the operator writes, by verb and resource.
async fn writes_so_far(stage: &Stage) -> std::collections::BTreeMap<String, f64> {
    let mut requests = stage.api_requests(&["memorialstreams", "secrets"]).await;
    requests.retain(|what, _| !["GET", "LIST", "WATCH"].iter().any(|read| what.starts_with(read)));
    requests
}

/// The resourceVersion once it has not changed for as long as three passes take.
async fn settled(service: &crate::support::service::Service) -> Option<String> {
    let mut seen = (service.get().await.metadata.resource_version, std::time::Instant::now());
    eventually("status settles", async || {
        let version = service.get().await.metadata.resource_version;
        if version != seen.0 {
            seen = (version, std::time::Instant::now());
        }
        holds(seen.1.elapsed() > Duration::from_secs(7), || format!("{:?}", seen.0))
    })
    .await;
    seen.0
}
