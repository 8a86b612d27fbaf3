//! The fast lane against a compositor that does not answer: a newer TAKE never waits for an older one.

#[cfg(test)]
mod only_a_pod;

use memorialstream_operator::api::MemorialStream;
use memorialstream_operator::api::conditions::{ConditionType, find};
use memorialstream_operator::program::{Context, Memories, reconcile};
use memorialstream_operator::service::credentials::{AllowedEndpoints, CredentialsInUse, DefaultSecret};
use only_a_pod::{Answer, OnlyAPod, live_object};
use std::sync::Arc;
use std::time::Duration;

/// How long a pass that hangs is waited for before the test fails.
const TIMEOUT: Duration = Duration::from_secs(20);

fn lane(world: &Arc<OnlyAPod>) -> Context {
    Context {
        world: world.world(),
        default_secret: DefaultSecret {
            namespace: "system".into(),
            name: "credentials".into(),
            allowed_endpoints: AllowedEndpoints::parse("*").unwrap(),
        },
        in_use: CredentialsInUse::default(),
        memories: Memories::default(),
    }
}

fn asked_for(generation: i64, camera: &str) -> MemorialStream {
    let mut object = live_object();
    object.metadata.generation = Some(generation);
    object.spec.program.get_or_insert_default().sources = Some(vec![camera.to_owned()]);
    object
}

/// The compositor never answers the first TAKE, so a lane that waited for it would never come to the second.
#[tokio::test]
async fn a_newer_take_does_not_wait_for_the_answer_to_the_one_before() {
    let world = OnlyAPod::new();
    let lane = lane(&world);
    world.answers(Answer::Never);
    let first = tokio::spawn({
        let lane = lane.clone();
        async move { reconcile(&lane, &asked_for(1, "lectern")).await }
    });
    world.received(1).await;
    world.answers(Answer::Shown);
    world.newest_generation(2);
    let pass = tokio::time::timeout(TIMEOUT, first).await.expect("the first pass gives up");
    let action = pass.expect("no panic").expect("no write failed");
    assert_eq!(action, kube::runtime::controller::Action::requeue(Duration::ZERO));
    assert!(world.written().is_empty(), "of a TAKE that was overtaken nothing is said");

    reconcile(&lane, &asked_for(2, "wide")).await.expect("no write failed");
    let asked: Vec<_> =
        world.documents().iter().map(|sent| (sent.generation, sent.program.sources.join(" "))).collect();
    assert_eq!(asked, [(1, "lectern".to_owned()), (2, "wide".to_owned())]);
    let written = world.written();
    let [status] = written.as_slice() else { panic!("one write, not {}", written.len()) };
    let program = status.program.clone().expect("status.program");
    assert_eq!((program.sources, program.observed_generation), (vec!["wide".to_owned()], Some(2)));
    let applied = find(&status.conditions, ConditionType::ProgramApplied).expect("ProgramApplied");
    assert_eq!((applied.status.as_str(), applied.observed_generation), ("True", Some(2)));
}

/// What the pod has already is not sent again, and what it lost by a restart is.
#[tokio::test]
async fn a_document_is_sent_once_and_again_to_a_pod_that_lost_it() {
    let world = OnlyAPod::new();
    let lane = lane(&world);
    let object = asked_for(1, "lectern");
    for _ in 0..3 {
        reconcile(&lane, &object).await.expect("no write failed");
    }
    assert_eq!(world.documents().len(), 1);
    world.restart_pod();
    reconcile(&lane, &object).await.expect("no write failed");
    assert_eq!(world.documents().len(), 2);
}
