//! An operator that starts in a cluster full of services that rest: their live streams exist, and nothing is to be done.

use super::{Stage, processor_time, resident};
use crate::support::service::Service;
use crate::support::spec;
use futures::{StreamExt, stream};
use kube::api::{Api, Patch, PatchParams};
use memorialstream_operator::api::names::{FINALIZER, LIFE_CYCLE_MANAGER, marker};
use memorialstream_operator::api::spec::{State, Via};
use memorialstream_operator::api::{MemorialStream, MemorialStreamStatus};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const OBJECTS: usize = 10_000;
/// Requests of this test under way at once.
const AT_ONCE: usize = 16;
/// An operator that used less of a core for so long has nothing left to do.
const IDLE: f64 = 0.05;
const WINDOW: Duration = Duration::from_secs(5);
const STEADY: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures for some minutes: make bench"]
async fn thousands_of_services_that_rest() {
    let mut stage = Stage::alone("resting").await;
    let template = stage.service("template");
    template.apply(spec(Via::Compositor, &["lectern"], json!({}))).await;
    let rests = template.reaches(State::Idle).await;
    stage.kill_operator();
    let cluster = stage.cluster_id().await;
    let made: Vec<(Service, String)> = stream::iter(0..OBJECTS)
        .map(|index| make(&stage, &cluster, index))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let records = stage.mux.streams().await.expect("streams").into_iter();
    let playback: BTreeMap<String, Vec<String>> =
        records.map(|record| (record.id, record.playback_ids)).collect();
    stream::iter(made)
        .for_each_concurrent(AT_ONCE, |(service, id)| rest(&stage, service, &rests, id, &playback))
        .await;

    let before = writes(&stage).await;
    let began = Instant::now();
    stage.start_operator();
    let pid = stage.operator_pid();
    let mut used = 0.0;
    let mut took = began.elapsed();
    loop {
        tokio::time::sleep(WINDOW).await;
        let now = processor_time(pid);
        if now - used < IDLE * WINDOW.as_secs_f64() {
            break;
        }
        (used, took) = (now, began.elapsed());
    }
    let after_start = resident(pid) / 1024;
    let at_rest = writes(&stage).await;
    tokio::time::sleep(STEADY).await;
    let steady = writes(&stage).await;
    println!("\n### An operator that starts among {OBJECTS} MemorialStreams that rest\n");
    println!("| what | figure |\n| --- | --- |");
    println!("| own work until it rests, processor time | {used:.1} s |");
    println!("| start → it rests | {:.0} s |", took.as_secs_f64());
    println!("| writes of MemorialStreams until then | {:.0} |", at_rest - before);
    println!("| resident memory then | {after_start} MiB |");
    println!("| resident memory {} s later | {} MiB |", STEADY.as_secs(), resident(pid) / 1024);
    println!("| writes of MemorialStreams in those {} s | {:.0} |", STEADY.as_secs(), steady - at_rest);
}

/// One more service, and its live stream.
async fn make(stage: &Stage, cluster: &str, index: usize) -> (Service, String) {
    let service = stage.service(&format!("resting-{index}"));
    service.apply(spec(Via::Compositor, &["lectern"], json!({}))).await;
    let held = Patch::Merge(json!({"metadata": {"finalizers": [FINALIZER]}}));
    let held = objects(stage).patch(&service.name, &PatchParams::default(), &held).await.expect("hold it");
    let settings = json!({
        "passthrough": marker(cluster, &held.metadata.uid.expect("a uid")),
        "playback_policy": ["public"],
        "new_asset_settings": {"playback_policy": ["public"]},
    });
    let id = stage.mux.create_live_stream(&settings).await.expect("a live stream");
    stage.mux.disable_live_stream(&id).await.expect("disable it");
    (service, id)
}

/// Its status, as an operator left it.
async fn rest(
    stage: &Stage,
    service: Service,
    template: &MemorialStreamStatus,
    id: String,
    playback_ids: &BTreeMap<String, Vec<String>>,
) {
    let mut status = template.clone();
    let playback_ids = &playback_ids[&id];
    let before = status.mux.clone().unwrap_or_default().playback_ids;
    if let Some(mux) = status.mux.as_mut() {
        mux.stream_id = Some(id);
        mux.playback_ids.clone_from(playback_ids);
    }
    status.playback_url = status.playback_url.map(|url| url.replace(&before[0], &playback_ids[0]));
    let status = json!({
        "apiVersion": "tributestream.com/v1alpha1",
        "kind": "MemorialStream",
        "metadata": {"name": service.name},
        "status": status,
    });
    let parameters = PatchParams::apply(LIFE_CYCLE_MANAGER).force();
    let written = objects(stage).patch_status(&service.name, &parameters, &Patch::Apply(status)).await;
    written.expect("its status");
}

fn objects(stage: &Stage) -> Api<MemorialStream> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

/// Writes of MemorialStreams that the API server has counted.
async fn writes(stage: &Stage) -> f64 {
    let requests = stage.api_requests(&["memorialstreams"]).await;
    let written = requests
        .iter()
        .filter(|(what, _)| ["APPLY", "PATCH", "PUT"].iter().any(|verb| what.starts_with(verb)));
    written.map(|(_, count)| count).sum()
}
