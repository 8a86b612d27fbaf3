//! Absence is not a command: GitOps tools, by their own libraries, take the director's words away, and what was said goes
//! on all the same.

use crate::support::gitops::{GitOps, Tool};
use crate::support::{Stage, is, message, spec};
use memorialstream_lab::Kubectl;
use memorialstream_operator::api::conditions::ConditionType as Kind;
use memorialstream_operator::api::spec::{State, Via};
use serde_json::{Value, json};

/// As a director types it.
fn patch(kubectl: &Kubectl, namespace: &str, name: &str, words: &Value) {
    let words = json!({"spec": words}).to_string();
    let mut command = kubectl.command("kubectl");
    command.args(["--namespace", namespace, "patch", "mstream", name, "--type=merge", "--patch", &words]);
    let output = command.output().expect("run kubectl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Flux takes over what `kubectl patch` said and removes it at its next sync: state, session and program vanish. The
/// service stays on air with the camera that was TAKEn, status says what is held, and the next words count.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_takes_nobody_off_air() {
    let stage = Stage::enter("absence").await;
    let kubectl = Kubectl::new(&stage.lab);
    let tools = GitOps::new(&stage.lab, &stage.namespace);
    let service = stage.service("synced");
    let say = |words: Value| patch(&kubectl, &stage.namespace, "synced", &words);
    let in_git = json!({
        "apiVersion": "tributestream.com/v1alpha1", "kind": "MemorialStream", "metadata": {"name": "synced"},
        "spec": spec(Via::Compositor, &["lectern", "wide"], json!({})),
    });
    assert_eq!(tools.sync(Tool::Flux, &in_git).error, None);
    service.reaches(State::Idle).await;
    say(json!({"state": "Live", "session": 2, "program": {"sources": ["lectern"]}}));
    service.reaches(State::Live).await;

    let mut syncing = tools.keep_syncing(Tool::Flux, &in_git, "2s");
    let held = service.until("the words are held", |status| status.held.is_some()).await.held.expect("held");
    let lectern = Some(vec!["lectern".to_owned()]);
    assert_eq!((held.state, held.session, held.sources), (Some(State::Live), Some(2), lectern));
    let object = service.get().await;
    assert_eq!((object.spec.state, object.spec.session), (None, None), "the tool took them away");
    let events = service.events().await;
    let told = events.iter().find(|(reason, _)| reason == "WordsHeld").map(|(_, message)| message.as_str());
    assert!(told.is_some_and(|told| told.contains("kustomize-controller")), "{events:?}");

    // A TAKE, taken away again by the next sync.
    say(json!({"program": {"sources": ["wide"]}}));
    let generation = service.get().await.metadata.generation;
    service
        .until("the TAKE is at the compositor", |status| {
            status.program.as_ref().is_some_and(|program| program.observed_generation >= generation)
        })
        .await;
    for _ in 0..3 {
        assert_eq!(syncing.next().error, None);
    }
    let status = service.says(Kind::OnAir, "True", None).await;
    let wide = Some(vec!["wide".to_owned()]);
    assert_eq!(status.held.and_then(|held| held.sources), wide);
    assert_eq!((status.session, status.egress.map(|egress| egress.attempt)), (Some(2), Some(1)));

    say(json!({"state": "Ended"}));
    let ended = service.reaches(State::Ended).await;
    for _ in 0..2 {
        assert_eq!(syncing.next().error, None);
    }
    drop(syncing.stop());
    assert_eq!(
        service.status().await.state,
        Some(State::Ended),
        "it stays ended: {}",
        message(&ended, Kind::Ready)
    );
    assert_eq!(tools.kstatus("synced").status, "Current");
    service.delete().await;
    service.is_gone().await;
}

/// kstatus says Current for a service that ended although `state: Live` still stands in the spec, and for a paused one.
#[tokio::test(flavor = "multi_thread")]
async fn kstatus_is_current_when_nothing_is_to_be_done() {
    let stage = Stage::enter("kstatus").await;
    let tools = GitOps::new(&stage.lab, &stage.namespace);
    let service = stage.service("kstatus");
    service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Live"}))).await;
    service.reaches(State::Live).await;
    assert_eq!(tools.kstatus("kstatus").status, "Current");
    service.annotate("tributestream.com/paused", Some("true")).await;
    service.says(Kind::Ready, "True", Some("Paused")).await;
    assert_eq!(tools.kstatus("kstatus").status, "Current");
    service.annotate("tributestream.com/paused", None).await;
    service.patch(json!({"state": "Ended"})).await;
    service.reaches(State::Ended).await;
    service.patch(json!({"state": "Live"})).await;
    let over = service.says(Kind::Ready, "True", Some("SessionEnded")).await;
    assert!(is(&over, Kind::Stalled, "False", None));
    assert_eq!(tools.kstatus("kstatus").status, "Current");
    service.delete().await;
    service.is_gone().await;
}
