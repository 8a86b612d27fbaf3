//! A day for each reason that hardly comes by chance: what went wrong, what status must say of it, and that all is well
//! once it is mended.

use crate::coverage::Coverage;
use crate::director::spec;
use crate::faults::{Fault, Site};
use crate::invariants::Violation;
use crate::land::Land;
use crate::operator::SYSTEM;
use crate::run::{JANE, LIVEKIT, Outcome, Stage, cores, jane, operators_account, simulate};
use memorialstream_compositor_protocol::RefusalReason;
use memorialstream_operator::api::Reason;
use memorialstream_operator::api::spec::{Limits, State, Via};
use std::sync::OnceLock;

async fn standby(stage: &mut Stage) {
    stage.make_jane(State::Standby, Via::LiveKit);
    stage.reaches(State::Standby, 60_000).await.expect("Standby");
}

async fn live(stage: &mut Stage, via: Via) {
    stage.make_jane(State::Live, via);
    stage.reaches(State::Live, 120_000).await.expect("Live");
}

/// Waits until status gives this reason.
async fn says(stage: &mut Stage, reason: Reason, most: u64) {
    let given = |land: &mut Land| land.coverage.reasons.contains(reason.as_str());
    assert!(stage.until(most, given).await.is_some(), "{reason} within {most} ms: {:?}", stage.status());
}

/// The kubelet cannot start what it is given.
async fn kubelet_complains(stage: &mut Stage, complaint: &'static str, reason: Reason) {
    stage.land().kubelet.complaint = Some(complaint);
    stage.make_jane(State::Standby, Via::LiveKit);
    says(stage, reason, 30_000).await;
}

async fn image_cannot_be_pulled(stage: &mut Stage) {
    kubelet_complains(stage, "ErrImagePull", Reason::ErrImagePull).await;
}

async fn image_is_waited_for(stage: &mut Stage) {
    kubelet_complains(stage, "ImagePullBackOff", Reason::ImagePullBackOff).await;
}

async fn image_is_not_there(stage: &mut Stage) {
    kubelet_complains(stage, "ErrImageNeverPull", Reason::ErrImageNeverPull).await;
}

async fn image_has_no_name(stage: &mut Stage) {
    kubelet_complains(stage, "InvalidImageName", Reason::InvalidImageName).await;
}

async fn container_cannot_be_made(stage: &mut Stage) {
    kubelet_complains(stage, "CreateContainerConfigError", Reason::CreateContainerConfigError).await;
}

async fn container_crashes_again_and_again(stage: &mut Stage) {
    kubelet_complains(stage, "CrashLoopBackOff", Reason::CrashLoopBackOff).await;
}

async fn container_does_not_run(stage: &mut Stage) {
    kubelet_complains(stage, "RunContainerError", Reason::PodNotRunning).await;
}

async fn no_node_has_room(stage: &mut Stage) {
    stage.land().kubelet.full = true;
    stage.make_jane(State::Standby, Via::LiveKit);
    says(stage, Reason::Unschedulable, 30_000).await;
}

async fn node_does_not_confirm_a_deletion(stage: &mut Stage) {
    standby(stage).await;
    stage.land().lose_node(true);
    stage.pass_time(60_000).await;
    stage.land().ask(JANE, State::Ended);
    says(stage, Reason::PodHanging, 90_000).await;
}

async fn role_binding_is_missing(stage: &mut Stage) {
    stage.land().forbid_secrets("tenant", 40_000);
    stage.make_tenant(State::Standby);
    says(stage, Reason::Forbidden, 30_000).await;
}

async fn nobody_can_play_it(stage: &mut Stage) {
    standby(stage).await;
    stage.land().somebody_removes_the_playback_ids(JANE);
    says(stage, Reason::PlaybackIdMissing, 60_000).await;
}

async fn identity_is_taken(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    stage.land().faults.always = Some((Site::PodProgram, Fault::Lost));
    stage.land().somebody_takes_the_identity(JANE, 0);
    says(stage, Reason::IdentityTaken, 10_000).await;
    stage.land().faults.always = None;
}

async fn pod_takes_another_bearer_token(stage: &mut Stage) {
    standby(stage).await;
    let pod = stage.land().pods_of(JANE)[0].clone();
    let change = |land: &mut Land, bearer: &str| {
        let container = land.kubelet.containers.get_mut(&pod).expect("its container");
        std::mem::replace(&mut container.bearer, bearer.to_owned())
    };
    let before = change(&mut stage.land(), "another");
    says(stage, Reason::Unauthorized, 30_000).await;
    change(&mut stage.land(), &before);
}

async fn boot_document_cannot_be_read(stage: &mut Stage) {
    standby(stage).await;
    stage.land().faults.always = Some((Site::PodProgram, Fault::Lost));
    stage.land().somebody_spoils_the_boot_document(JANE);
    let pod = stage.land().pods_of(JANE)[0].clone();
    stage.land().crash_container(&pod);
    says(stage, Reason::BootDocument, 30_000).await;
    let renewed = |land: &mut Land| land.coverage.actions.contains_key("RenewBoot");
    stage.until(40_000, renewed).await.expect("what it boots from is written anew");
    stage.land().faults.always = None;
}

/// A pod refuses what it is sent.
async fn pod_refuses(stage: &mut Stage, refusal: RefusalReason, reason: Reason) {
    standby(stage).await;
    for container in stage.land().kubelet.containers.values_mut() {
        container.refuses = Some(refusal);
    }
    stage.land().take(JANE, "lectern");
    says(stage, reason, 10_000).await;
}

async fn pod_cannot_read_a_document(stage: &mut Stage) {
    pod_refuses(stage, RefusalReason::Malformed, Reason::Malformed).await;
}

async fn pod_knows_no_such_camera(stage: &mut Stage) {
    pod_refuses(stage, RefusalReason::UnknownCamera, Reason::UnknownCamera).await;
}

async fn pod_has_no_place_for_so_many(stage: &mut Stage) {
    pod_refuses(stage, RefusalReason::TooManySources, Reason::TooManySources).await;
}

async fn no_worker_is_free(stage: &mut Stage) {
    let workers = std::mem::take(&mut stage.land().livekit.get_mut(LIVEKIT).unwrap().workers);
    stage.make_jane(State::Live, Via::LiveKit);
    says(stage, Reason::WaitingForCapacity, 60_000).await;
    stage.land().livekit.get_mut(LIVEKIT).unwrap().workers = workers;
}

async fn secret_of_that_name_is_not_ours(stage: &mut Stage) {
    stage.land().make_secret(("default", "jane-compositor"), &[("password", "somebody-else's")]);
    stage.make_jane(State::Standby, Via::LiveKit);
    says(stage, Reason::SecretNotOurs, 60_000).await;
    let key = (jane().0, "jane-compositor".to_owned());
    stage.land().cluster.secrets.remove(&key);
    stage.land().director.secrets.remove(&key);
}

async fn tenant_names_an_endpoint_of_his_own(stage: &mut Stage) {
    stage.land().change_secret(("tenant", "own"), |data| {
        data.insert("MUX_BASE_URL".into(), "http://internal.example".into());
    });
    stage.make_tenant(State::Standby);
    says(stage, Reason::EndpointNotAllowed, 30_000).await;
}

/// An object that cannot be read: the services beside it notice nothing, and it goes on once it is mended.
async fn one_object_cannot_be_read(stage: &mut Stage) {
    stage.make_other(State::Live);
    live(stage, Via::LiveKit).await;
    stage.land().spoil(JANE, 40_000);
    stage.pass_time(5_000).await;
    stage.land().ask(JANE, State::Ended);
    stage.land().take("uid-2", "wide");
    stage.pass_time(45_000).await;
    let ended = stage.reaches(State::Ended, 60_000).await;
    assert!(ended.is_some(), "it is mended, and ends: {:?}", stage.status());
}

async fn pod_brings_out_no_frame(stage: &mut Stage) {
    pod_refuses(stage, RefusalReason::PipelineNotRunning, Reason::PipelineNotRunning).await;
}

async fn credentials_of_another_account_are_put_in(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    let other = stage.land().cluster.secrets[&("tenant".to_owned(), "own".to_owned())].data.clone();
    let before = stage.land().cluster.secrets[&(SYSTEM.0.to_owned(), SYSTEM.1.to_owned())].data.clone();
    for (prefix, reason) in [("MUX", Reason::EnvironmentChanged), ("LIVEKIT", Reason::LiveKitChanged)] {
        let mut changed = before.clone();
        changed.extend(
            other
                .iter()
                .filter(|(name, _)| name.starts_with(prefix))
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        stage.land().change_secret(SYSTEM, |data| *data = changed);
        says(stage, reason, 60_000).await;
    }
}

async fn key_of_the_secret_is_missing(stage: &mut Stage) {
    stage.land().change_secret(SYSTEM, |data| drop(data.remove("LIVEKIT_API_KEY")));
    stage.make_jane(State::Standby, Via::LiveKit);
    says(stage, Reason::SecretKeyMissing, 30_000).await;
}

async fn secret_cannot_be_read(stage: &mut Stage) {
    stage.land().faults.always = Some((Site::ReadSecret, Fault::Lost));
    stage.make_jane(State::Standby, Via::LiveKit);
    says(stage, Reason::SecretNotRead, 30_000).await;
    stage.land().faults.always = None;
}

async fn stream_is_gone_when_it_is_needed(stage: &mut Stage) {
    stage.make_jane(State::Idle, Via::LiveKit);
    stage.reaches(State::Idle, 60_000).await.expect("Idle");
    stage.land().somebody_deletes_the_stream(JANE);
    stage.land().ask(JANE, State::Standby);
    says(stage, Reason::NotFound, 30_000).await;
}

async fn slug_is_taken(stage: &mut Stage) {
    stage.make_jane(State::Idle, Via::LiveKit);
    stage.reaches(State::Idle, 60_000).await.expect("Idle");
    stage.pass_time(2_000).await;
    let mut second = spec(Some(State::Standby), Via::LiveKit);
    second.slug = Some("jane".into());
    let key = ("default".to_owned(), "john".to_owned());
    stage.land().make(&key, "uid-2", second, operators_account(), None);
    says(stage, Reason::SlugTaken, 30_000).await;
}

async fn somebody_pauses(stage: &mut Stage) {
    standby(stage).await;
    stage.land().pause(JANE, true);
    says(stage, Reason::Paused, 30_000).await;
}

async fn camera_has_not_come(stage: &mut Stage) {
    stage.make_jane(State::Standby, Via::LiveKit);
    stage.land().director.said.get_mut(JANE).unwrap().devices = false;
    stage.reaches(State::Standby, 60_000).await.expect("Standby");
    stage.land().take(JANE, "lectern");
    says(stage, Reason::SourceMissing, 10_000).await;
}

async fn standby_lasts_too_long(stage: &mut Stage) {
    let mut spec = spec(Some(State::Standby), Via::LiveKit);
    spec.limits = Some(Limits { live_minutes: None, standby_minutes: Some(5) });
    stage.land().make(&jane(), JANE, spec, operators_account(), None);
    says(stage, Reason::StandbyLimit, 400_000).await;
}

macro_rules! days {
    ($($run:ident)+) => {
        /// Each by its name.
        fn outcomes() -> Vec<(&'static str, Outcome)> {
            vec![$((stringify!($run), simulate(1, |mut stage| async move {
                stage.land().log.kept = true;
                $run(&mut stage).await;
                stage.settle(12).await;
                stage
            })),)+]
        }
    };
}

days! {
    image_cannot_be_pulled
    image_is_waited_for
    image_is_not_there
    image_has_no_name
    container_cannot_be_made
    container_crashes_again_and_again
    container_does_not_run
    no_node_has_room
    node_does_not_confirm_a_deletion
    role_binding_is_missing
    nobody_can_play_it
    identity_is_taken
    pod_takes_another_bearer_token
    boot_document_cannot_be_read
    pod_cannot_read_a_document
    pod_knows_no_such_camera
    pod_has_no_place_for_so_many
    no_worker_is_free
    secret_of_that_name_is_not_ours
    tenant_names_an_endpoint_of_his_own
    one_object_cannot_be_read
    pod_brings_out_no_frame
    credentials_of_another_account_are_put_in
    key_of_the_secret_is_missing
    secret_cannot_be_read
    stream_is_gone_when_it_is_needed
    slug_is_taken
    somebody_pauses
    camera_has_not_come
    standby_lasts_too_long
}

/// What came of all days.
pub struct Days {
    pub coverage: Coverage,
    violations: Vec<(&'static str, Vec<Violation>, Vec<String>)>,
}

/// All of them; once for all tests that want to know.
pub fn days() -> &'static Days {
    static DAYS: OnceLock<Days> = OnceLock::new();
    DAYS.get_or_init(|| {
        let _all = cores();
        let mut days = Days { coverage: Coverage::default(), violations: Vec::new() };
        for (name, outcome) in outcomes() {
            days.coverage.add(&outcome.coverage);
            if !outcome.violations.is_empty() {
                days.violations.push((name, outcome.violations, outcome.lines));
            }
        }
        days
    })
}

#[test]
fn what_goes_wrong_is_told_and_passes() {
    for (name, violations, lines) in &days().violations {
        println!("{name}: {violations:#?}\n{}", lines.join("\n"));
    }
    let names: Vec<_> = days().violations.iter().map(|(name, ..)| name).collect();
    assert!(names.is_empty(), "{names:?}");
}
