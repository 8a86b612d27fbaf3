//! What mourners see: pictures out of the HLS of a service with real cameras, through both senders.

use crate::support::secrets::assert_no_secret_is_told;
use crate::support::service::Service;
use crate::support::{Stage, eventually, holds, is, message, spec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use memorialstream_lab::cameras::{Camera, Show};
use memorialstream_lab::viewer::{PatternColour, Viewer};
use memorialstream_operator::api::conditions::ConditionType as Kind;
use memorialstream_operator::api::spec::{State, Via};
use serde_json::{Value, json};
use std::path::Path;

/// One broadcast with everything that a director does and everything that breaks.
#[tokio::test(flavor = "multi_thread")]
async fn mourners_see_what_the_director_takes() {
    let stage = Stage::alone("pictures").await;
    for via in stage.vias() {
        broadcast(&stage, via).await;
    }
}

async fn broadcast(stage: &Stage, via: Via) {
    let service = stage.service(&format!("pictures-{via:?}").to_lowercase());
    let first = ["lectern", "wide", "family"];
    service.apply(spec(via, &first, json!({}))).await;
    service.ask(State::Standby).await;
    service.reaches(State::Standby).await;
    let lectern = camera(stage, &service, "lectern", PatternColour::Red, true);
    let _wide = camera(stage, &service, "wide", PatternColour::Green, true);
    let _family = camera(stage, &service, "family", PatternColour::Blue, false);
    sources_are(&service, &[("lectern", "Live"), ("wide", "Live"), ("family", "Live")]).await;
    let ready = service.says(Kind::ReadyToGoLive, "True", None).await;

    service.take(Some("lectern")).await;
    service.ask(State::Live).await;
    let live = service.reaches(State::Live).await;
    let viewer = Viewer::new(&ready.playback_url.expect("a URL")).expect("a viewer");
    sees(&viewer, Some(PatternColour::Red)).await;
    eventually("the lectern is heard", async || {
        let loudness = viewer.loudness().await.map_err(|error| format!("{error:#}"))?;
        holds(loudness > 0.01, || format!("{loudness}"))
    })
    .await;

    service.take(Some("wide")).await;
    shows(&service, &["wide"]).await;
    sees(&viewer, Some(PatternColour::Green)).await;
    assert!(is(&service.status().await, Kind::ProgramApplied, "True", Some("Applied")));

    // A camera without sound is as good as any other.
    service.take(Some("family")).await;
    sees(&viewer, Some(PatternColour::Blue)).await;
    eventually("a camera without sound is silent", async || {
        let loudness = viewer.loudness().await.map_err(|error| format!("{error:#}"))?;
        holds(loudness < 0.003, || format!("{loudness}"))
    })
    .await;

    // A camera that is added while Live can be taken, and one that Program shows cannot be removed.
    service.apply(spec(via, &["lectern", "wide", "family", "door"], json!({}))).await;
    let door = camera(stage, &service, "door", PatternColour::Yellow, true);
    sources_are(&service, &[("door", "Live")]).await;
    service.take(Some("door")).await;
    sees(&viewer, Some(PatternColour::Yellow)).await;
    let cameras: Vec<Value> = first.iter().map(|name| json!({"name": name})).collect();
    let refused = service.try_patch(json!({"cameras": cameras})).await.expect_err("door is on Program");
    assert!(refused.to_string().contains("program.sources names a camera"), "{refused}");

    // A dead camera is replaced by the fallback, and without one by the slate; never by a frozen picture.
    service.patch(json!({"program": {"fallback": ["wide"]}})).await;
    door.stop().expect("end the camera");
    sees(&viewer, Some(PatternColour::Green)).await;
    let missing = service.says(Kind::ProgramApplied, "False", Some("SourceMissing")).await;
    assert!(message(&missing, Kind::ProgramApplied).contains("door"), "{missing:?}");
    service.patch(json!({"program": {"fallback": []}})).await;
    sees(&viewer, None).await;
    service.take(Some("lectern")).await;
    sees(&viewer, Some(PatternColour::Red)).await;
    lectern.freeze().expect("freeze");
    sees(&viewer, None).await;
    sources_are(&service, &[("lectern", "Stalled")]).await;
    lectern.go_on().expect("go on");
    sees(&viewer, Some(PatternColour::Red)).await;

    assert_no_secret_is_told(stage, &service).await;

    // The pod is lost: another one shows the same Program, in the same broadcast.
    let before = service.status().await;
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &service.namespace);
    let name = before.compositor.as_ref().and_then(|pod| pod.pod_name.clone()).expect("a pod");
    pods.delete(&name, &DeleteParams::default().grace_period(0)).await.expect("delete the pod");
    service
        .until("another pod is on air", |status| {
            let pod = status.compositor.as_ref().and_then(|compositor| compositor.pod_name.as_ref());
            pod.is_some_and(|pod| *pod != name) && is(status, Kind::OnAir, "True", None)
        })
        .await;
    sees(&viewer, Some(PatternColour::Red)).await;
    let after = service.status().await;
    let id = |status: &memorialstream_operator::api::MemorialStreamStatus| {
        status.egress.as_ref().and_then(|egress| egress.id.clone())
    };
    assert_eq!(id(&after), id(&live), "the same egress goes on");
    assert_eq!(id(&after).is_some(), via == Via::LiveKit);
    let uid = service.get().await.metadata.uid.expect("a uid");
    assert_eq!(stage.streams_of_uid(&uid).await[0].assets, 1, "one recording");

    service.ask(State::Ended).await;
    service.reaches(State::Ended).await;
    assert_eq!(viewer.status().await.expect("an answer"), 412, "the broadcast is over");
    service.delete().await;
    service.is_gone().await;
    stage.assert_nothing_is_left(&uid).await;
}

fn camera(stage: &Stage, service: &Service, name: &str, colour: PatternColour, sound: bool) -> Camera {
    let operator = Path::new(env!("CARGO_BIN_EXE_memorialstream-operator"));
    let show = Show::Pattern { colour, sound };
    Camera::start(&stage.lab, operator, &service.namespace, &service.name, name, &show).expect("a camera")
}

/// Waits until the newest picture is of this colour; `None` is the slate.
async fn sees(viewer: &Viewer, wanted: Option<PatternColour>) {
    let what = wanted.map_or("the slate".to_owned(), |colour| format!("{colour}"));
    eventually(&format!("mourners see {what}"), async || {
        let picture = viewer.picture(320, 180).await.map_err(|error| format!("{error:#}"))?;
        holds(picture.pattern() == wanted, || format!("{:?}", picture.pattern()))
    })
    .await;
}

async fn shows(service: &Service, cameras: &[&str]) {
    service
        .until(&format!("Program shows {cameras:?}"), |status| {
            status.program.as_ref().is_some_and(|program| program.sources == cameras)
        })
        .await;
}

async fn sources_are(service: &Service, wanted: &[(&str, &str)]) {
    service
        .until(&format!("sources are {wanted:?}"), |status| {
            let sources = status.compositor.as_ref().map(|pod| pod.sources.as_slice()).unwrap_or(&[]);
            wanted.iter().all(|(name, state)| {
                sources.iter().any(|source| source.name == *name && source.state == *state)
            })
        })
        .await;
}
