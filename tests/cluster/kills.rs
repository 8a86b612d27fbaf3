//! The operator dies at the worst moments of going live. Afterwards there is exactly one of everything that is paid.

use crate::support::{Stage, eventually, holds, spec};
use memorialstream_lab::Fault;
use memorialstream_operator::api::MemorialStreamStatus;
use memorialstream_operator::api::spec::{State, Via};
use memorialstream_operator::providers::livekit::LiveKitApi;
use serde_json::json;

/// When the operator is killed.
struct Moment {
    name: &'static str,
    /// What the simulator does wrong meanwhile.
    fault: Option<Fault>,
    /// Seen in status.
    reached: fn(&MemorialStreamStatus) -> bool,
}

fn moments() -> Vec<Moment> {
    let creating =
        |status: &MemorialStreamStatus| status.mux.as_ref().is_some_and(|mux| mux.creating.is_some());
    vec![
        Moment {
            name: "create-is-under-way",
            fault: Some(Fault::slow("create_live_stream", 3_000)),
            reached: creating,
        },
        Moment {
            name: "create-lost-its-answer",
            fault: Some(Fault::drop_reply("create_live_stream", 1)),
            reached: creating,
        },
        Moment {
            name: "room-is-made",
            fault: None,
            reached: |status| status.room.as_ref().is_some_and(|room| room.name.is_some()),
        },
        Moment {
            name: "pod-is-made",
            fault: None,
            reached: |status| status.compositor.as_ref().is_some_and(|pod| pod.pod_name.is_some()),
        },
        Moment {
            name: "egress-starts",
            fault: None,
            reached: |status| status.egress.as_ref().is_some_and(|egress| egress.starting.is_some()),
        },
        Moment {
            name: "egress-is-known",
            fault: None,
            reached: |status| status.egress.as_ref().is_some_and(|egress| egress.id.is_some()),
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_killed_while_going_live_duplicates_nothing() {
    let mut stage = Stage::alone("kill").await;
    if !stage.vias().contains(&Via::LiveKit) {
        return;
    }
    for moment in moments() {
        stage.mux.clear_faults().await.expect("clear faults");
        if let Some(fault) = &moment.fault {
            stage.mux.set_fault(fault).await.expect("set the fault");
        }
        let service = stage.service(moment.name);
        service.apply(spec(Via::LiveKit, &["lectern"], json!({"state": "Live"}))).await;
        let uid = service.get().await.metadata.uid.expect("a uid");
        service.until(moment.name, moment.reached).await;
        stage.kill_operator();
        stage.mux.clear_faults().await.expect("clear faults");
        stage.start_operator();
        let live = service.reaches(State::Live).await;
        let streams = stage.streams_of_uid(&uid).await;
        assert_eq!(streams.len(), 1, "{}: one Mux live stream was ever made: {streams:?}", moment.name);
        assert_eq!(streams[0].encoders, 1, "{}", moment.name);
        let egresses = stage.active_egresses(&uid).await;
        let ids: Vec<_> = egresses.iter().map(|egress| egress.id.clone()).collect();
        assert_eq!(ids, [live.egress.expect("egress").id.expect("an id")], "{}", moment.name);
        let ever = stage.livekit.egresses(Some(&egresses[0].room_name), false).await.expect("egresses");
        assert_eq!(ever.len(), 1, "{}: one egress was ever started: {ever:?}", moment.name);
        assert_eq!(stage.pods(&uid).await.len(), 1, "{}", moment.name);
        service.delete().await;
        service.is_gone().await;
        stage.assert_nothing_is_left(&uid).await;
    }
}

/// What is on air stays on air while no operator lives, and the next one takes it over as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_outlives_its_operator() {
    let mut stage = Stage::alone("outlive").await;
    let via = *stage.vias().last().expect("a sender");
    let service = stage.service("outlive");
    service.apply(spec(via, &["lectern"], json!({"state": "Live"}))).await;
    let before = service.reaches(State::Live).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    stage.kill_operator();
    let url = before.playback_url.clone().expect("a URL");
    let viewer = memorialstream_lab::viewer::Viewer::new(&url).expect("a viewer");
    let seen = viewer.newest_segment_number().await.expect("a playlist");
    eventually("the picture goes on without an operator", async || {
        let now = viewer.newest_segment_number().await.map_err(|error| format!("{error:#}"))?;
        holds(now > seen + 3, || format!("{now} after {seen}"))
    })
    .await;
    stage.start_operator();
    // A pass that finds all well changes nothing; ending shows that the new operator has it in hand.
    service.annotate("tributestream.com/reconcile-requested-at", Some("now")).await;
    let after = service.reaches(State::Live).await;
    assert_eq!(
        after.egress.map(|egress| (egress.id, egress.attempt)),
        before.egress.map(|egress| (egress.id, egress.attempt))
    );
    assert_eq!(stage.streams_of_uid(&uid).await[0].assets, 1, "one recording");
    service.ask(State::Ended).await;
    service.reaches(State::Ended).await;
}
