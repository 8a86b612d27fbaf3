//! A service from its manifest to its deletion: Idle, Standby, Live, Ended, a second session.

use crate::support::watching::Watching;
use crate::support::{Stage, eventually, holds, is, message, spec};
use memorialstream_operator::api::conditions::ConditionType as Kind;
use memorialstream_operator::api::spec::{State, Via};
use memorialstream_operator::providers::livekit::LiveKitApi;
use serde_json::json;

/// Every state costs what it needs and nothing else, and a session that was ended stays ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_lives_from_manifest_to_deletion() {
    let stage = Stage::enter("life").await;
    for via in stage.vias() {
        whole_life(&stage, via).await;
    }
}

async fn whole_life(stage: &Stage, via: Via) {
    let service = stage.service(&format!("jane-doe-{via:?}").to_lowercase());
    service.apply(spec(via, &["lectern", "wide"], json!({}))).await;

    let idle = service.reaches(State::Idle).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    let url = idle.playback_url.clone().expect("the playback URL is known early");
    assert!(url.contains(&idle.mux.as_ref().expect("mux").playback_ids[0]), "{url}");
    let stream = &stage.streams_of_uid(&uid).await[0];
    assert_eq!(stream.status, "disabled", "an Idle service takes no ingest");
    assert!(stage.rooms(&uid).await.is_empty() && stage.pods(&uid).await.is_empty());

    service.ask(State::Standby).await;
    let standby = service.reaches(State::Standby).await;
    assert_eq!(stage.rooms(&uid).await, [standby.room.clone().expect("room").name.expect("a name")]);
    assert_eq!(stage.pods(&uid).await.len(), 1);
    assert_eq!(stage.streams_of_uid(&uid).await[0].status, "idle");
    assert!(
        stage.active_egresses(&uid).await.is_empty() && stage.streams_of_uid(&uid).await[0].encoders == 0
    );
    assert!(is(&standby, Kind::EgressActive, "False", Some("NotRequested")));
    assert!(is(&standby, Kind::OnAir, "False", Some("NotRequested")));

    service.ask(State::Live).await;
    let live = service.reaches(State::Live).await;
    for kind in
        [Kind::OnAir, Kind::MuxStreamReady, Kind::RoomReady, Kind::CompositorReady, Kind::EgressActive]
    {
        assert!(is(&live, kind, "True", None), "{kind:?}: {}", message(&live, kind));
    }
    assert_eq!(live.message, None, "nothing is wrong");
    assert_eq!(live.playback_url.as_ref(), Some(&url), "the address never changes");
    let stream = &stage.streams_of_uid(&uid).await[0];
    assert_eq!((stream.status.as_str(), stream.encoders), ("active", 1));
    let expected = usize::from(via == Via::LiveKit);
    assert_eq!(stage.active_egresses(&uid).await.len(), expected);

    service.ask(State::Ended).await;
    let ended = service.reaches(State::Ended).await;
    assert!(ended.ended_at >= ended.started_at && ended.ended_session == Some(1));
    let stream = &stage.streams_of_uid(&uid).await[0];
    assert_eq!((stream.status.as_str(), stream.encoders, stream.live_assets), ("disabled", 0, 0));
    assert_eq!(stream.assets, 1, "one broadcast is one recording");
    assert!(stage.active_egresses(&uid).await.is_empty());
    assert!(stage.rooms(&uid).await.is_empty() && stage.pods(&uid).await.is_empty());

    service.ask(State::Live).await;
    let refused = service.says(Kind::Ready, "True", Some("SessionEnded")).await;
    assert!(message(&refused, Kind::Ready).contains("set spec.session to 2"), "{refused:?}");
    assert!(is(&refused, Kind::Stalled, "False", None), "it ended as it should: {refused:?}");
    assert!(stage.rooms(&uid).await.is_empty() && stage.pods(&uid).await.is_empty(), "nothing was started");

    service.patch(json!({"session": 2})).await;
    let again = service.reaches(State::Live).await;
    assert_eq!(again.session, Some(2));
    let lower = service.try_patch(json!({"session": 1})).await.expect_err("a session only grows");
    assert!(lower.to_string().contains("session"), "{lower}");
    assert_eq!(stage.streams_of_uid(&uid).await.len(), 1, "the same Mux live stream serves all sessions");
    assert_eq!(stage.streams_of_uid(&uid).await[0].assets, 2);

    service.delete().await;
    service.is_gone().await;
    stage.assert_nothing_is_left(&uid).await;
}

/// A deletion that comes while things are being made ends them all.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_while_creating_leaves_nothing() {
    let stage = Stage::enter("delete").await;
    for (index, moment) in ["stream", "room", "pod", "sender"].into_iter().enumerate() {
        let service = stage.service(&format!("delete-{moment}"));
        let state = json!({"state": "Live"});
        let via = if index % 2 == 0 { *stage.vias().last().expect("a sender") } else { Via::Compositor };
        service.apply(spec(via, &["lectern"], state)).await;
        let uid = service.get().await.metadata.uid.expect("a uid");
        service
            .until(&format!("the {moment} is being made"), |status| match moment {
                "stream" => status.mux.is_some(),
                "room" => status.room.as_ref().is_some_and(|room| room.name.is_some()),
                "pod" => status.compositor.as_ref().is_some_and(|compositor| compositor.incarnation > 0),
                _ => status.egress.is_some(),
            })
            .await;
        service.delete().await;
        service.is_gone().await;
        stage.assert_nothing_is_left(&uid).await;
    }
}

/// LiveKit makes a room for whoever joins one that is not there. The room of a phone that joins again after the
/// deletion goes too, and the object waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_a_phone_brings_back_is_deleted_again() {
    let stage = Stage::enter("return").await;
    let service = stage.service("returning");
    service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Standby"}))).await;
    let room = service.reaches(State::Standby).await.room.and_then(|room| room.name).expect("a room");
    let uid = service.get().await.metadata.uid.expect("a uid");
    // It may be told for a moment only.
    let returned = Watching::begin(&service, |status| {
        is(status, Kind::RoomReady, "False", Some("Returned")).then(|| message(status, Kind::RoomReady))
    });
    service.delete().await;
    service
        .until("the operator saw the room gone", |status| {
            status.room.as_ref().is_some_and(|room| room.name.is_none() && room.deleted_at.is_some())
        })
        .await;
    // That is written down before it is done.
    eventually("LiveKit closed the room", async || {
        let rooms = stage.rooms(&uid).await;
        holds(rooms.is_empty(), || format!("{rooms:?}"))
    })
    .await;
    stage.livekit.create_room(&room, "", 300, 300).await.expect("what a phone that joins makes LiveKit do");
    service.is_gone().await;
    let told = returned.found();
    assert!(told.iter().any(|message| message.contains(&room)), "{told:?}");
    stage.assert_nothing_is_left(&uid).await;
}

/// The stream outlives the object where the policy says so, and takes no ingest.
#[tokio::test(flavor = "multi_thread")]
async fn a_retained_stream_stays_disabled() {
    let stage = Stage::enter("retain").await;
    let service = stage.service("retained");
    service.apply(spec(Via::Compositor, &["lectern"], json!({"deletionPolicy": {"stream": "Retain"}}))).await;
    service.reaches(State::Idle).await;
    service.ask(State::Standby).await;
    service.reaches(State::Standby).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    service.delete().await;
    service.is_gone().await;
    let streams = stage.streams_of_uid(&uid).await;
    assert_eq!(streams.len(), 1);
    assert_eq!((streams[0].deleted, streams[0].status.as_str()), (false, "disabled"));
}

/// Standby again completes the recording, and the same session may go Live once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_that_went_back_to_standby_may_go_live_again() {
    let stage = Stage::enter("again").await;
    let service = stage.service("again");
    service.apply(spec(Via::Compositor, &["lectern"], json!({}))).await;
    service.ask(State::Live).await;
    service.reaches(State::Live).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    service.ask(State::Standby).await;
    service.reaches(State::Standby).await;
    eventually("the recording is complete", async || {
        let stream = stage.streams_of_uid(&uid).await.remove(0);
        holds((stream.status.as_str(), stream.live_assets) == ("idle", 0), || format!("{stream:?}"))
    })
    .await;
    service.ask(State::Live).await;
    let live = service.reaches(State::Live).await;
    assert_eq!(live.session, Some(1));
    assert_eq!(stage.streams_of_uid(&uid).await[0].assets, 2);
    service.ask(State::Idle).await;
    service.reaches(State::Idle).await;
    service.delete().await;
    service.is_gone().await;
    stage.assert_nothing_is_left(&uid).await;
}

/// The schedule alone takes a service through its states, and pause holds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_moves_a_service_and_a_pause_holds_it() {
    let stage = Stage::enter("schedule").await;
    let service = stage.service("scheduled");
    let now = k8s_openapi::jiff::Timestamp::now();
    let at = |seconds: i64| {
        let time = now + k8s_openapi::jiff::SignedDuration::from_secs(seconds);
        time.round(k8s_openapi::jiff::Unit::Second).expect("a time").to_string()
    };
    let schedule = json!({"standbyAt": at(-60), "liveAt": at(6), "endAt": at(3600)});
    service.apply(spec(Via::Compositor, &["lectern"], json!({"schedule": schedule}))).await;
    let live = service.reaches(State::Live).await;
    assert!(live.started_at.expect("started").0 >= now);
    // Ending is never held back by a pause.
    service.annotate("tributestream.com/paused", Some("true")).await;
    service.says(Kind::Ready, "True", Some("Paused")).await;
    service.patch(json!({"schedule": {"standbyAt": at(-60), "liveAt": at(-50), "endAt": at(-40)}})).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    service.until("Ended", |status| status.state == Some(State::Ended)).await;
    assert!(stage.pods(&uid).await.is_empty() && stage.rooms(&uid).await.is_empty());
    // Starting is.
    service.patch(json!({"state": "Standby", "session": 2})).await;
    service
        .until("the pause is told", |status| {
            status.observed_generation.is_some() && is(status, Kind::Ready, "True", Some("Paused"))
        })
        .await;
    assert!(stage.pods(&uid).await.is_empty(), "a paused service starts nothing");
    service.annotate("tributestream.com/paused", None).await;
    service.reaches(State::Standby).await;
}
