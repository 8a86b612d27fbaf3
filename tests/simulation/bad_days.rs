//! Bad days of which no finding tells: what the code does right, and a later change may not break.

use crate::cluster::Key;
use crate::director::spec;
use crate::faults::{Fault, Party, Site};
use crate::invariants::told;
use crate::land::Land;
use crate::run::{JANE, LIVEKIT, Stage, TOKEN, jane, operators_account, simulate};
use memorialstream_operator::api::conditions::{ConditionType, find};
use memorialstream_operator::api::spec::{Limits, State, Via};
use memorialstream_operator::providers::livekit::EgressStatus;

/// Nothing that must hold was broken.
fn a_day<F: Future<Output = Stage>>(seed: u64, body: impl FnOnce(Stage) -> F) {
    let outcome = simulate(seed, |stage| async {
        stage.land().log.kept = true;
        body(stage).await
    });
    let broken = told(&outcome.violations);
    assert!(broken.is_empty(), "{broken}\n{}", outcome.lines.join("\n"));
}

async fn live(stage: &mut Stage, via: Via) {
    stage.make_jane(State::Live, via);
    stage.reaches(State::Live, 120_000).await.expect("Live");
    stage.pass_time(5_000).await;
}

fn crowd(stage: &Stage, count: usize, state: State) {
    for index in 0..count {
        let key: Key = ("default".to_owned(), format!("one-of-many-{index}"));
        stage.land().make(
            &key,
            &format!("uid-m{index}"),
            spec(Some(state), Via::Compositor),
            operators_account(),
            None,
        );
    }
}

fn asked_of_mux(land: &Land) -> u64 {
    let sites = [Site::Whoami, Site::ListStreams, Site::GetStream];
    sites.iter().filter_map(|site| land.faults.called.get(site)).sum()
}

/// A search that comes too early finds nothing, and a second stream would be made.
#[test]
fn a_stream_whose_create_was_not_answered_is_found_although_lists_lag() {
    a_day(1, |mut stage| async move {
        stage.land().lists_lag(TOKEN, 20);
        stage.land().faults.always = Some((Site::CreateStream, Fault::ReplyLost));
        stage.make_jane(State::Idle, Via::LiveKit);
        stage.until(30_000, |land| land.streams(JANE) == 1).await.expect("a stream");
        stage.land().faults.always = None;
        stage.reaches(State::Idle, 120_000).await.expect("Idle");
        stage
    });
}

/// Its node is slow to let go of it: Program is published twice if the next pod does not wait.
#[test]
fn a_pod_that_takes_long_to_go_is_waited_for() {
    a_day(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let pod = stage.land().pods_of(JANE)[0].clone();
        let at = crate::cluster::time(stage.land().time());
        stage.land().change_pod(&pod, |pod| pod.metadata.deletion_timestamp = Some(at));
        stage.pass_time(6_000).await;
        stage.land().terminate_pod(&pod);
        let next = |land: &mut Land| land.pods_of(JANE).iter().any(|one| *one != pod);
        stage.until(30_000, next).await.expect("the next pod");
        stage.pass_time(30_000).await;
        stage
    });
}

#[test]
fn ten_services_at_rest_ask_next_to_nothing_of_mux() {
    a_day(1, |mut stage| async move {
        crowd(&stage, 10, State::Idle);
        let made = |land: &mut Land| (0..10).all(|index| land.streams(&format!("uid-m{index}")) == 1);
        stage.until(120_000, made).await.expect("ten streams");
        stage.pass_time(120_000).await;
        let before = asked_of_mux(&stage.land());
        stage.pass_time(300_000).await;
        let asked = asked_of_mux(&stage.land()) - before;
        assert!(asked < 25, "{asked} requests in five minutes of services at rest");
        stage
    });
}

/// Mux says 429 where more is sent than it takes.
#[test]
fn thirty_services_at_once_meet_no_refusal() {
    a_day(1, |mut stage| async move {
        crowd(&stage, 30, State::Idle);
        let made = |land: &mut Land| (0..30).all(|index| land.streams(&format!("uid-m{index}")) == 1);
        stage.until(300_000, made).await.expect("thirty streams");
        stage
    });
}

async fn with_limits(stage: &mut Stage, state: State) {
    let mut spec = spec(Some(state), Via::LiveKit);
    spec.limits = Some(Limits { live_minutes: Some(5), standby_minutes: Some(5) });
    stage.land().make(&jane(), JANE, spec, operators_account(), None);
    stage.reaches(state, 120_000).await.expect("where it begins");
    stage.pass_time(420_000).await;
}

#[test]
fn a_broadcast_ends_by_its_limit() {
    a_day(1, |mut stage| async move {
        with_limits(&mut stage, State::Live).await;
        stage
    });
}

#[test]
fn a_standby_ends_by_its_limit() {
    a_day(1, |mut stage| async move {
        with_limits(&mut stage, State::Standby).await;
        stage
    });
}

#[test]
fn whoever_comes_second_to_a_slug_makes_nothing() {
    a_day(1, |mut stage| async move {
        stage.make_jane(State::Idle, Via::LiveKit);
        stage.reaches(State::Idle, 60_000).await.expect("Idle");
        let key: Key = ("default".to_owned(), "john".to_owned());
        let mut second = spec(Some(State::Idle), Via::LiveKit);
        second.slug = Some("jane".into());
        stage.land().make(&key, "uid-2", second, operators_account(), None);
        stage.pass_time(60_000).await;
        let conditions = stage.land().cluster.status(&key).conditions;
        let stalled = find(&conditions, ConditionType::Stalled).map(|one| one.reason.clone());
        assert_eq!((stage.land().streams("uid-2"), stalled.as_deref()), (0, Some("SlugTaken")));
        stage
    });
}

/// What Mux said last is no longer believed: only the kept key is left.
#[test]
fn a_sender_is_started_again_long_after_mux_answered_last() {
    a_day(1, |mut stage| async move {
        live(&mut stage, Via::Compositor).await;
        let until = stage.land().now + 250_000;
        stage.land().faults.silent.insert(Party::Mux, until);
        stage.pass_time(90_000).await;
        let pod = stage.land().pods_of(JANE)[0].clone();
        stage.land().kill_pod(&pod);
        stage.pass_time(150_000).await;
        stage
    });
}

#[test]
fn a_sender_is_started_again_although_the_clock_went_back() {
    a_day(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        stage.land().clock_step = -1_800_000;
        stage.pass_time(5_000).await;
        let id = stage.status().egress.unwrap().id.unwrap();
        stage.land().end_egress(LIVEKIT, &id, EgressStatus::Failed, "no more memory");
        stage.pass_time(90_000).await;
        stage
    });
}
