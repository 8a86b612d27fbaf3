//! What the simulation does not tell apart, one pass at a time.

mod egress;
mod parts;
mod sender;

use super::*;
use crate::api::Reason;
use crate::api::conditions::Truth;
use crate::api::spec::{DeletionPolicy, Limits, Schedule, Via};
use crate::api::status::{CreateIntent, MuxStatus, RoomStatus};
use crate::lifecycle::backoff::{Effect, Part};
use crate::lifecycle::given::{Given, silence};
use crate::lifecycle::in_flight::StartSeen;
use crate::service::credentials::SetAside;
use crate::service::pod::RecordedPod;

fn is_begun(actions: &[Action]) -> bool {
    actions.iter().any(|action| {
        matches!(action, Action::EnableStream(_) | Action::CreateRoom(_) | Action::CreatePod { .. })
    })
}

#[test]
fn whoever_lost_its_slug_makes_nothing_and_still_ends() {
    let mut given = Given::idle().ask(State::Standby);
    assert!(is_begun(&given.actions()));
    given.seen.slug_holder = Some("default/john".into());
    assert_eq!(given.actions(), []);
    // It was made while nobody could tell whose the slug is.
    given.stream().status = LiveStreamStatus::Idle;
    assert_eq!(given.actions(), [Action::DisableStream("stream".into())]);
    given.stream().status = LiveStreamStatus::Disabled;
    assert_eq!(given.deleted().actions(), [Action::DeleteStream("stream".into())]);
}

#[test]
fn only_what_is_wanted_and_has_its_slug_is_held() {
    let mut given = Given::idle();
    given.object.metadata.finalizers = None;
    assert_eq!(given.actions(), [Action::AddFinalizer]);
    given.seen.slug_holder = Some("default/john".into());
    assert_eq!(given.actions(), []);
    given.seen.slug_holder = None;
    assert_eq!(given.deleted().actions(), []);
}

fn paused(mut given: Given) -> Given {
    given.object.metadata.annotations = Some([(PAUSED.to_owned(), "true".to_owned())].into());
    given
}

#[test]
fn a_pause_stops_what_begins_and_no_end() {
    assert_eq!(paused(Given::idle().ask(State::Standby)).actions(), []);
    let live = paused(Given::live(Via::Compositor));
    assert_eq!(live.actions(), []);
    let ends = [Action::StopSender { revision: 2 }];
    assert_eq!(live.ask(State::Standby).actions(), ends);
    assert!(!paused(Given::standby().ask(State::Idle)).actions().is_empty());
}

#[test]
fn an_object_for_which_nothing_was_made_is_let_go_whoever_does_not_answer() {
    let mut given = Given::idle().deleted();
    given.status().mux = None;
    given.seen.stream = Seen::NotAsked;
    given.seen.rooms = Seen::Failed(silence());
    assert_eq!(given.actions(), [Action::RemoveFinalizer]);
    // Nothing came of what was noted.
    given.status().room = Some(RoomStatus { epoch: 1, ..RoomStatus::default() });
    assert_eq!(given.actions(), [Action::RemoveFinalizer]);
}

#[test]
fn what_is_being_brought_about_is_looked_at_soon_and_what_rests_is_left_alone() {
    let seconds = |given: &Given| given.plan().requeue.as_secs_f64();
    let timings = Timings::default();
    let (fast, slow) = (timings.fast.as_secs_f64(), timings.slow.as_secs_f64());
    let of = |uid: usize| {
        let mut given = Given::idle();
        given.object.metadata.uid = Some(uid.to_string());
        seconds(&given)
    };
    let rests: Vec<f64> = (0..20).map(of).collect();
    assert!(rests.iter().all(|rest| (450.0..750.0).contains(rest)), "{rests:?}");
    assert!(
        rests.iter().any(|rest| *rest < 525.0) && rests.iter().any(|rest| *rest > 675.0),
        "not all at once"
    );

    let changed = |change: &dyn Fn(&mut Given)| {
        let mut given = Given::idle();
        change(&mut given);
        seconds(&given)
    };
    assert_eq!(changed(&|given| given.status().state = Some(State::Live)), fast, "it has not come to rest");
    assert_eq!(changed(&|given| given.seen.stream = Seen::Failed(silence())), fast);
    assert_eq!(changed(&|given| given.stream().status = LiveStreamStatus::Idle), 0.2, "something is done");
    assert_eq!(changed(&|given| given.seen.access = Access::Failed(silence())), slow);
    assert_eq!(changed(&|given| given.seen.slug_holder = Some("default/john".into())), slow / 4.0);
    let missing = SetAside { reason: Reason::SecretNotFound, message: String::new() };
    assert_eq!(changed(&|given| given.seen.access = Access::Unusable(missing.clone())), slow / 4.0);
    let deleted = |seconds| {
        move |given: &mut Given| {
            let deleted_at = Some(given.ago(seconds));
            given.status().room = Some(RoomStatus { deleted_at, epoch: 1, ..RoomStatus::default() });
        }
    };
    assert_eq!(changed(&deleted(2)), fast, "its room may come back any moment");
    assert_eq!(changed(&deleted(600)), slow, "its room may come back for a day");
    assert!(changed(&deleted(90_000)) > slow);

    let waits = |given: &mut Given| given.status().state = None;
    assert_eq!(changed(&|given| given.fails(Effect::making(Part::Stream), 20)), slow);
    let unsettled = |seconds| {
        move |given: &mut Given| {
            waits(given);
            given.fails(Effect::making(Part::Stream), seconds);
        }
    };
    assert_eq!(changed(&unsettled(20)), 20.0);
    assert_eq!(changed(&unsettled(1)), fast);
    assert_eq!(changed(&unsettled(300)), slow);
    assert_eq!(changed(&unsettled(0)), fast);
    assert_eq!(
        changed(&|given| {
            unsettled(20)(given);
            let mut pods = Given::standby().seen.pods;
            pods[0].deleting = true;
            given.seen.pods = pods;
        }),
        fast,
        "something still runs"
    );
}

#[test]
fn a_service_without_a_stream_rests_once_it_has_ended() {
    let mut given = Given::idle().ask(State::Ended);
    given.status().state = Some(State::Ended);
    given.status().mux = None;
    given.seen.stream = Seen::NotAsked;
    assert!(given.plan().requeue > Timings::default().slow);
    let since = given.ago(5);
    given.status().mux = Some(MuxStatus {
        creating: Some(CreateIntent { since, absent_since: None }),
        ..MuxStatus::default()
    });
    assert_eq!(given.plan().requeue, Timings::default().fast, "one may have been made");
}

#[test]
fn a_service_rests_only_once_nothing_of_it_is_left() {
    let rests = |change: fn(&mut Given)| {
        let mut given = Given::idle();
        given.seen.stream = Seen::NotAsked;
        given.said_before(ConditionType::MuxStreamReady, Truth::True, 60);
        given.status().conditions.last_mut().unwrap().reason = Reason::Disabled.as_str().into();
        given.status().observed_generation = given.object.metadata.generation;
        change(&mut given);
        given.plan().requeue > Timings::default().slow
    };
    assert!(rests(|_| {}));
    // It was to be Live, and Ended again before it was: status calls Idle reached all the time.
    assert!(!rests(|given| given.status().room = Given::standby().status().room.clone()));
    assert!(!rests(|given| given.seen.recorded_pod = RecordedPod::Unknown));
    let set_aside = |given: &mut Given| {
        given.seen.set_aside = Some(SetAside { reason: Reason::CredentialsRefused, message: String::new() });
    };
    assert!(!rests(set_aside), "a provider may take them again any moment");
    assert!(!rests(|given| given.seen.stream_is_awaited = true));
}

#[test]
fn a_worker_is_asked_during_a_pause() {
    let mut given = paused(Given::live(Via::LiveKit));
    given.seen.worker = None;
    assert_eq!(given.actions(), [Action::AskWorker("EG_1".into())]);
}

#[test]
fn a_worker_that_is_asked_hurries_nobody() {
    let mut given = Given::live(Via::LiveKit);
    assert_eq!(given.actions(), []);
    given.seen.worker = None;
    assert_eq!(given.actions(), [Action::AskWorker("EG_1".into())]);
    assert_eq!(given.plan().requeue, Timings::default().fast);
}

#[test]
fn a_limit_is_told_of_once_before_it_strikes() {
    let mut given = Given::live(Via::Compositor);
    given.object.spec.limits = Some(Limits { live_minutes: Some(20), standby_minutes: None });
    assert_eq!(given.events(), ["EndingSoon"]);
    given.said_before(ConditionType::EndingSoon, Truth::True, 60);
    assert_eq!(given.events(), [""; 0]);
}

#[test]
fn what_runs_or_is_to_run_is_looked_at_soon_though_all_that_can_be_done_has_failed() {
    let mut to_run = Given::idle().ask(State::Live);
    for part in [Part::Stream, Part::Room, Part::Pod] {
        to_run.fails(Effect::making(part), 20);
    }
    let mut runs = Given::live(Via::LiveKit).ask(State::Idle);
    runs.seen.pods = Vec::new();
    runs.seen.compositor = None;
    runs.seen.egresses = Seen::Failed(silence());
    runs.seen.stops = ["EG_1".to_owned()].into();
    runs.fails(Effect::making(Part::Stream), 20);
    for given in [to_run, runs] {
        assert_eq!(given.actions(), []);
        assert_eq!(given.plan().requeue, Timings::default().fast);
    }
}

#[test]
fn a_stream_that_is_kept_takes_no_ingest_once_the_object_is_let_go() {
    let mut given = Given::idle().deleted();
    given.object.spec.deletion_policy = Some(DeletionPolicy { stream: Some(StreamDeletion::Retain) });
    assert_eq!(given.actions(), [Action::RemoveFinalizer]);
    given.stream().status = LiveStreamStatus::Idle;
    assert_eq!(given.actions(), [Action::DisableStream("stream".into())]);
}

#[test]
fn a_standby_limit_strikes_once_for_each_request() {
    let mut given = Given::standby();
    given.object.spec.limits = Some(Limits { standby_minutes: Some(5), live_minutes: None });
    assert_eq!(given.events(), ["StandbyLimit"]);
    given.object.status = Some(given.plan().status);
    assert_eq!(given.events(), [""; 0]);
    assert!(given.plan().status.standby_limit.is_some());
    given.status().standby_since = Some(given.ago(600));
    given.object.spec.session = Some(2);
    assert_eq!(given.events(), ["StandbyLimit"], "another request had its own time");
}

#[test]
fn a_standby_that_end_at_ends_was_no_session() {
    let mut given = Given::standby();
    let end_at = Some(given.ago(60));
    given.status().standby_since = Some(given.ago(600));
    given.object.spec.schedule = Some(Schedule { end_at, overrun_minutes: Some(0), ..Schedule::default() });
    assert_eq!(given.events(), ["EndAt"]);
    let status = given.plan().status;
    assert_eq!(status.ended_session, None);
    given.object.status = Some(status);
    assert_eq!(given.events(), [""; 0], "it strikes once");
    assert_eq!(given.plan().desired.state, State::Idle);
}

/// Nobody can be asked, and the pod sends by itself.
#[test]
fn an_end_without_credentials_ends_the_pod() {
    let live = || {
        let mut live = Given::live(Via::Compositor);
        let missing = SetAside { reason: Reason::SecretNotFound, message: "no Secret".into() };
        live.seen.access = Access::Unusable(missing);
        live
    };
    assert_eq!(live().actions(), []);
    let mut limited = live();
    limited.object.spec.limits = Some(Limits { live_minutes: Some(5), standby_minutes: None });
    let pod = Action::DeletePod("jane-compositor-1".into());
    for ends in [live().ask(State::Ended), limited] {
        assert_eq!(ends.actions(), std::slice::from_ref(&pod));
        assert_eq!(ends.plan().status.ended_session, Some(1));
    }
    assert!(live().deleted().actions().contains(&pod));
}

#[test]
fn the_answer_to_a_start_is_heard_during_a_pause() {
    let mut given = Given::live(Via::LiveKit);
    let since = given.ago(3);
    let egress = given.status().egress.as_mut().unwrap();
    let id = egress.id.take().unwrap();
    egress.starting = Some(CreateIntent { since, absent_since: None });
    let Seen::Known(egresses) = &given.seen.egresses else { panic!("its egress is seen") };
    given.seen.start = StartSeen::Finished(Ok(Box::new(egresses[0].clone())));
    let egress = paused(given).plan().status.egress.unwrap();
    assert_eq!((egress.id, egress.starting), (Some(id), None));
}

#[test]
fn a_broadcast_that_was_live_stays_ended_and_no_other() {
    let mut given = Given::idle().ask(State::Ended);
    given.status().live_session = Some(1);
    assert_eq!(given.plan().status.ended_session, Some(1));
    given.object.spec.session = Some(2);
    assert_eq!(given.plan().status.ended_session, None);
    given.status().ended_session = Some(2);
    given.object.spec.session = None;
    assert_eq!(given.plan().status.ended_session, Some(2), "a later one has ended already");
}

#[test]
fn it_is_told_which_limit_ended_a_broadcast() {
    let mut given = Given::live(Via::Compositor);
    given.object.spec.limits = Some(Limits { live_minutes: Some(5), standby_minutes: None });
    assert_eq!(given.events(), ["LiveLimit"]);
    given.object.spec.limits = None;
    let end_at = Some(given.ago(60));
    given.object.spec.schedule = Some(Schedule { end_at, ..Schedule::default() });
    assert_eq!(given.events(), ["EndAt"]);
}

/// A webhook or a policy may refuse it for days.
#[test]
fn a_finalizer_that_is_refused_is_tried_ever_more_rarely() {
    let without = || {
        let mut given = Given::idle();
        given.object.metadata.finalizers = None;
        given
    };
    let let_go = || {
        let mut given = Given::idle().deleted();
        given.status().mux = None;
        given.seen.stream = Seen::NotAsked;
        given
    };
    let cases: [(&dyn Fn() -> Given, _, _); 2] = [
        (&without, Action::AddFinalizer, Effect::making(Part::Pod)),
        (&let_go, Action::RemoveFinalizer, Effect::ending(Part::Pod)),
    ];
    for (given, action, effect) in cases {
        assert_eq!(given().actions(), [action]);
        let mut refused = given();
        refused.fails(effect, 9);
        assert_eq!(refused.actions(), []);
        assert!(refused.plan().requeue >= Timings::default().fast, "{:?}", refused.plan().requeue);
    }
}
