//! Absence is not a command: GitOps tools, by their own libraries, take the director's words away, and what was said goes
//! on all the same.

use crate::support::gitops::{GitOps, Syncing, Tool};
use crate::support::service::Service;
use crate::support::watching::Watching;
use crate::support::{Stage, eventually, holds, is, message, spec};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use memorialstream_lab::Kubectl;
use memorialstream_operator::api::conditions::ConditionType as Kind;
use memorialstream_operator::api::spec::{State, Via};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// How many minutes of syncs the director works against. `SYNC_MINUTES` sets it: the full measure is 10.
const SYNC_MINUTES: u64 = 3;

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

/// For minutes Flux syncs every 5 s while a director patches, edits and applies: nothing that was said is taken back, for
/// no moment. Whether mourners see it is not asked here: others run beside it.
#[tokio::test(flavor = "multi_thread")]
async fn minutes_of_syncs_take_nothing_back() {
    let stage = Stage::enter("minutes").await;
    let tools = GitOps::new(&stage.lab, &stage.namespace);
    let service = stage.service("minutes");
    let in_git = json!({
        "apiVersion": "tributestream.com/v1alpha1", "kind": "MemorialStream", "metadata": {"name": "minutes"},
        "spec": spec(Via::Compositor, &["lectern", "wide", "family"], json!({})),
    });
    let director = Director { stage: &stage, service: &service, in_git: &in_git };
    let mut syncing = tools.keep_syncing(Tool::Flux, &in_git, "5s");
    assert_eq!(syncing.next().error, None);
    director.patch(&json!({"state": "Live", "session": 2, "program": {"sources": ["lectern"]}})).await;
    service.reaches(State::Live).await;
    let watching = Watching::begin(&service, |status| {
        let attempt = status.egress.as_ref().map(|egress| egress.attempt);
        let now = (status.state, status.session, attempt);
        (now != (Some(State::Live), Some(2), Some(1))).then(|| format!("{now:?}"))
    });

    let minutes =
        std::env::var("SYNC_MINUTES").ok().map_or(SYNC_MINUTES, |text| text.parse().expect("minutes"));
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let (mut rounds, mut removed) = (0, 0);
    while Instant::now() < until {
        let camera = ["wide", "family", "lectern"][rounds / 3 % 3];
        let words = json!({"state": "Live", "session": 2, "program": {"sources": [camera]}});
        match rounds % 3 {
            0 => director.patch(&json!({"program": {"sources": [camera]}})).await,
            1 => director.edit(&words).await,
            _ => director.apply(&words),
        }
        director.is_heard(camera).await;
        // One may have been under way when the director spoke; the next was not.
        removed += taken_away(&mut syncing) + taken_away(&mut syncing);
        director.is_heard(camera).await;
        rounds += 1;
    }
    let statuses = watching.assert_nothing_was_wrong();
    drop(watching);
    println!("{rounds} TAKEs, {removed} syncs took words away, {statuses} statuses");
    assert!(removed * 2 > rounds, "the tool took away {removed} times in {rounds} rounds");

    director.patch(&json!({"state": "Ended"})).await;
    service.reaches(State::Ended).await;
    taken_away(&mut syncing);
    taken_away(&mut syncing);
    let status = service.status().await;
    assert_eq!((status.state, status.session), (Some(State::Ended), Some(2)), "it stays ended");
    director.patch(&json!({"state": "Live", "session": 3})).await;
    let live = service.reaches(State::Live).await;
    assert_eq!(live.session, Some(3));
    for sync in syncing.stop() {
        assert_eq!(sync.error, None);
    }
    service.delete().await;
    service.is_gone().await;
}

/// Waits for one sync; whether it took something away.
fn taken_away(syncing: &mut Syncing) -> usize {
    let sync = syncing.next();
    assert_eq!(sync.error, None);
    usize::from(!sync.removed.is_empty())
}

/// Somebody with kubectl.
struct Director<'a> {
    stage: &'a Stage,
    service: &'a Service,
    in_git: &'a Value,
}

impl Director<'_> {
    async fn patch(&self, words: &Value) {
        patch(&Kubectl::new(&self.stage.lab), &self.stage.namespace, &self.service.name, words);
    }

    /// `kubectl edit`, with an editor that puts another text in place. What changes between reading and saving is
    /// refused, as for anybody.
    async fn edit(&self, words: &Value) {
        let kubectl = Kubectl::new(&self.stage.lab);
        let file = self.stage.lab.folder.join(format!("edited-{}.json", self.stage.namespace));
        eventually("kubectl edit is taken", async || {
            let mut object = serde_json::to_value(self.service.get().await).expect("JSON");
            for (name, value) in words.as_object().expect("words are fields") {
                object["spec"][name] = value.clone();
            }
            fs::write(&file, object.to_string()).expect("write the text");
            let mut command = kubectl.command("kubectl");
            command.args(["--namespace", &self.stage.namespace, "edit", "mstream", &self.service.name]);
            let output =
                command.env("KUBE_EDITOR", format!("cp {}", file.display())).output().expect("kubectl");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() { Ok(()) } else { Err(told) }
        })
        .await;
        fs::remove_file(&file).expect("remove the text");
    }

    /// `kubectl apply` of the whole manifest.
    fn apply(&self, words: &Value) {
        let mut whole = self.in_git.clone();
        for (name, value) in words.as_object().expect("words are fields") {
            whole["spec"][name] = value.clone();
        }
        let file = self.stage.lab.folder.join(format!("applied-{}.json", self.stage.namespace));
        fs::write(&file, whole.to_string()).expect("write the manifest");
        let path = file.display().to_string();
        let arguments = ["--namespace", &self.stage.namespace, "apply", "--filename", &path];
        Kubectl::new(&self.stage.lab).run(&arguments).expect("kubectl apply");
        fs::remove_file(&file).expect("remove the manifest");
    }

    /// What was said is wanted, held or spoken, and the pod was told.
    async fn is_heard(&self, camera: &str) {
        let generation = self.service.get().await.metadata.generation;
        self.service
            .until(&format!("{camera} at the compositor"), |status| {
                status.program.as_ref().is_some_and(|program| program.observed_generation >= generation)
            })
            .await;
        // The other lane writes down what is held: the pod may be told sooner.
        eventually("what was said is in the spec or held", async || {
            let object = self.service.get().await;
            let held = object.status.and_then(|status| status.held);
            let held = held.as_ref();
            let sources = held.and_then(|held| held.sources.clone());
            let stands = (
                object.spec.program.and_then(|program| program.sources).or(sources),
                object.spec.state.or(held.and_then(|held| held.state)),
                object.spec.session.or(held.and_then(|held| held.session)),
            );
            holds(stands == (Some(vec![camera.to_owned()]), Some(State::Live), Some(2)), || {
                format!("{stands:?}")
            })
        })
        .await;
        let status = self.service.status().await;
        assert_eq!((status.session, status.egress.map(|egress| egress.attempt)), (Some(2), Some(1)));
    }
}

/// kstatus says Current for a service that a person or a limit ended although `state: Live` still stands in the spec, and for
/// a paused one.
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
    service.patch(json!({"session": 2})).await;
    service.reaches(State::Live).await;
    let soon = Timestamp::now() + SignedDuration::from_secs(2);
    service.patch(json!({"schedule": {"endAt": soon.to_string(), "overrunMinutes": 0}})).await;
    service.reaches(State::Ended).await;
    assert_eq!(tools.kstatus("kstatus").status, "Current");
    service.delete().await;
    service.is_gone().await;
}
