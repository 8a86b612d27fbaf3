//! When Mux fails, lags or is in doubt.

use crate::support::{Stage, new};
use memorialstream_lab::Fault;
use memorialstream_operator::providers::ErrorClass;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_met_with_the_wait_that_mux_asks_for() {
    let stage = Stage::enter().await;
    let wanted = new("limited");
    for (asked, retry_after) in [(Some(2), Some(Duration::from_secs(2))), (None, None)] {
        let fault = Fault::too_many_requests("create_live_stream", 1, asked);
        stage.admin.set_fault(&fault).await.expect("set the fault");
        let error = stage.client.create_live_stream(&wanted).await.expect_err("429");
        assert_eq!(error.class, ErrorClass::RateLimited { retry_after });
        assert!(error.message.contains("Too many requests, retry later."), "{error}");
        assert!(stage.made(&wanted).await.is_empty(), "it was not processed");
        if let Some(wait) = retry_after {
            let refused = Instant::now();
            let held = stage.client.create_live_stream(&new("held-back")).await.expect("create");
            assert!(refused.elapsed() >= wait - Duration::from_millis(100), "{:?}", refused.elapsed());
            stage.client.delete_live_stream(&held.id).await.expect("delete");
        }
    }
    let stream = stage.client.create_live_stream(&wanted).await.expect("create");
    assert_eq!(stage.made(&wanted).await.len(), 1);
    stage.leave(&[stream]).await;
}

/// The simulator's own buckets, as Mux publishes them, answer like the fault does.
#[tokio::test(flavor = "multi_thread")]
async fn muxs_own_limits_are_met() {
    let stage = Stage::enter().await;
    let mut settings = stage.settings.clone();
    settings.rate_limits = memorialstream_lab::RateLimits::default();
    stage.admin.set_settings(&settings).await.expect("set the limits");
    let mut made = Vec::new();
    let error = loop {
        match stage.client.create_live_stream(&new("burst")).await {
            Ok(stream) => made.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(error.class, ErrorClass::RateLimited { retry_after: None });
    assert!(made.len() >= 4, "{} were made", made.len());
    stage.admin.set_settings(&stage.settings).await.expect("lift the limits");
    stage.leave(&made).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_answer_is_lost_is_in_doubt_and_made_once() {
    let stage = Stage::enter().await;
    let mut streams = Vec::new();
    for (name, fault) in [
        ("dropped", Fault::drop_reply("create_live_stream", 1)),
        ("failed", Fault::server_error_after("create_live_stream", 1)),
    ] {
        let wanted = new(name);
        stage.admin.set_fault(&fault).await.expect("set the fault");
        let error = stage.client.create_live_stream(&wanted).await.expect_err(name);
        assert_eq!(error.class, ErrorClass::InDoubt, "{name}: {error}");
        assert_eq!(stage.made(&wanted).await.len(), 1, "{name}");
        let listed = stage.client.live_streams().await.expect("list");
        for one in listed.iter().filter(|one| one.passthrough.as_ref() == Some(&wanted.passthrough)) {
            streams.extend(stage.client.live_stream(&one.id).await.expect("get"));
        }
    }
    assert_eq!(streams.len(), 2, "both are found by their marker");
    stage.leave(&streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_doubt_for_a_create_and_passes_for_everything_else() {
    let stage = Stage::enter().await;
    let stream = stage.create("outage").await;
    let wanted = new("during-the-outage");
    for fault in [Fault::outage(), Fault::server_error()] {
        stage.admin.set_fault(&fault).await.expect("set the fault");
        let error = stage.client.live_stream(&stream.id).await.expect_err("get");
        assert_eq!(error.class, ErrorClass::Transient, "{error}");
        let error = stage.client.complete_live_stream(&stream.id).await.expect_err("complete");
        assert_eq!(error.class, ErrorClass::Transient, "{error}");
        let error = stage.client.create_live_stream(&wanted).await.expect_err("create");
        assert_eq!(error.class, ErrorClass::InDoubt, "{error}");
        stage.admin.clear_faults().await.expect("clear");
        assert_eq!(stage.get(&stream).await.id, stream.id);
    }
    assert!(stage.made(&wanted).await.is_empty());
    stage.leave(&[stream]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_waited_for() {
    let stage = Stage::enter().await;
    stage.admin.set_fault(&Fault::slow("create_live_stream", 1_500)).await.expect("set the fault");
    let asked = Instant::now();
    let stream = stage.create("slow").await;
    assert!(asked.elapsed() >= Duration::from_millis(1_500));
    stage.leave(&[stream]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stream_may_be_missing_from_the_list() {
    let stage = Stage::enter().await;
    let mut settings = stage.settings.clone();
    settings.list_lag_seconds = 3_600;
    stage.admin.set_settings(&settings).await.expect("set the lag");
    let stream = stage.create("lag").await;
    let listed = async || {
        let all = stage.client.live_streams().await.expect("list");
        all.iter().any(|one| one.id == stream.id)
    };
    assert!(!listed().await);
    assert_eq!(stage.get(&stream).await.id, stream.id);
    stage.admin.set_settings(&stage.settings).await.expect("take the lag away");
    assert!(listed().await);
    stage.leave(&[stream]).await;
}

/// An outage as it really is: nobody listens. What was made before is there again afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_outlives_the_simulators_process() {
    let stage = Stage::enter().await;
    let stream = stage.create("restart").await;
    stage.lab.stop_process("mux-simulator").expect("stop it");
    let error = stage.client.live_stream(&stream.id).await.expect_err("nobody is there");
    assert_eq!(error.class, ErrorClass::Transient);
    let error = stage.client.create_live_stream(&new("nobody")).await.expect_err("nobody is there");
    assert_eq!(error.class, ErrorClass::Transient, "a refused connection leaves no doubt");
    stage.lab.start_process("mux-simulator").expect("start it again");
    assert_eq!(stage.get(&stream).await, stream);
    stage.leave(&[stream]).await;
}
