//! Single decisions that the search, or thinking about it, has found to be wrong.

use super::pass::{Planned, Planner};
use super::statuses::{EPOCH, NAME, Statuses, UID, egress_id, now, sid, stream_id};
use super::view::{FOREIGN, Silent, View};
use super::world::{Egress, Job, Mux, NOWHERE, Phase, Pod, Sender, Stream, World};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use memorialstream_operator::api::MemorialStreamStatus;
use memorialstream_operator::api::names::room_name;
use memorialstream_operator::api::spec::{State, Via};
use memorialstream_operator::api::status::{CompositorStatus, EgressStatus, MuxStatus, RoomStatus};
use memorialstream_operator::lifecycle::backoff::{Effect, Part};
use memorialstream_operator::lifecycle::plan::{Action, Timings};
use memorialstream_operator::service::pod::pod_name;
use std::rc::Rc;

fn ago(seconds: i64) -> Option<Time> {
    now().checked_sub(SignedDuration::from_secs(seconds)).ok().map(Time)
}

/// Live by LiveKit for ten minutes.
fn live() -> (MemorialStreamStatus, World) {
    let status = MemorialStreamStatus {
        live_session: Some(1),
        live_since: ago(600),
        started_at: ago(600),
        mux: Some(MuxStatus { stream_id: Some(stream_id(0)), ..MuxStatus::default() }),
        room: Some(RoomStatus {
            name: Some(room_name(UID, EPOCH)),
            sid: Some(sid(0)),
            epoch: EPOCH,
            ..RoomStatus::default()
        }),
        compositor: Some(CompositorStatus {
            pod_name: Some(pod_name(NAME, 1)),
            incarnation: 1,
            made: true,
            ..CompositorStatus::default()
        }),
        egress: Some(Box::new(EgressStatus {
            id: Some(egress_id(0)),
            via: Some(Via::LiveKit),
            attempt: 1,
            started_at: ago(600),
            ..EgressStatus::default()
        })),
        ..MemorialStreamStatus::default()
    };
    let mut world =
        World { asked: State::Live, finalizer: true, room: Some(0), kept: 0, ..World::new(false) };
    world.streams[0] = Some(Stream { status: Mux::Active, listed: true });
    world.egresses[0] = Some(Egress { job: Job::Connected, to: 0, in_room: true });
    world.pods[0] =
        Some(Pod { incarnation: 1, phase: Phase::Ready, publishes: true, sender: Sender::Off, to: NOWHERE });
    (status, world)
}

fn planned(status: MemorialStreamStatus, mut world: World) -> Rc<Planned> {
    let timings = Timings::default();
    let mut statuses = Statuses::new(&timings);
    let id = statuses.keep(status, 0, &mut world);
    let view = View::of(&world, &statuses.get(id).mentions, Silent::Nobody);
    Planner::new(&timings).planned(&statuses, id, view)
}

fn starts(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::StartEgress { .. }))
}

/// The process can die for a minute between the record and the stop. Meanwhile the egress may have come back.
#[test]
fn an_egress_is_not_given_up_on_a_stop_that_may_never_have_been_sent() {
    let (mut status, mut world) = live();
    status.egress.as_mut().unwrap().stopping_since = ago(60);
    let stop = Action::StopEgress(egress_id(0));
    let after_a_restart = planned(status.clone(), world);
    assert!(after_a_restart.actions.contains(&stop) && !starts(&after_a_restart.actions));
    world.hold(super::world::Held { effect: Effect::ending(Part::Sender), now: false, busy: false });
    assert!(starts(&planned(status, world).actions), "it was sent, failed, and 45 s are over");
}

#[test]
fn who_records_the_room_into_a_file_goes_on_whatever_is_wanted() {
    for asked in [State::Live, State::Standby, State::Idle, State::Ended] {
        let (status, world) = live();
        let planned = planned(status, World { asked, foreign: true, ..world });
        let touches = |action: &Action| format!("{action:?}").contains(FOREIGN);
        assert!(!planned.actions.iter().any(touches), "{asked:?}: {:?}", planned.actions);
    }
    let (mut status, mut world) = live();
    world.egresses[0] = None;
    let egress = status.egress.as_mut().unwrap();
    (egress.id, egress.starting) = (None, None);
    let planned = planned(status, World { foreign: true, ..world });
    assert!(starts(&planned.actions), "it is not taken for ours: {:?}", planned.actions);
}

/// The same, by the compositor itself.
fn live_by_pod() -> (MemorialStreamStatus, World) {
    let (mut status, mut world) = live();
    let egress = status.egress.as_mut().unwrap();
    (egress.id, egress.via, egress.revision) = (None, Some(Via::Compositor), 1);
    (world.by_pod, world.egresses[0]) = (true, None);
    let pod = world.pods[0].as_mut().unwrap();
    (pod.sender, pod.to) = (Sender::Connected, 0);
    (status, world)
}

/// With two faults the search found that the recording was completed for ever, and the sender never taken for what it is.
#[test]
fn a_sender_that_runs_without_a_broadcast_is_stopped_before_the_next_one_begins() {
    let (mut status, world) = live_by_pod();
    status.ended_at = ago(1);
    let actions = planned(status, world).actions.clone();
    let stops = |action: &Action| matches!(action, Action::StopSender { revision } if revision % 2 == 0);
    assert!(actions.iter().any(stops), "{actions:?}");
    let completes = |action: &Action| matches!(action, Action::CompleteStream(_));
    assert!(!actions.iter().any(completes), "{actions:?}");
}

#[test]
fn a_compositor_that_does_not_answer_is_not_taken_for_one_that_stopped_sending() {
    let (status, mut world) = live_by_pod();
    world.asked = State::Standby;
    let timings = Timings::default();
    let mut statuses = Statuses::new(&timings);
    let id = statuses.keep(status, 0, &mut world);
    let view = View::of(&world, &statuses.get(id).mentions, Silent::Compositor);
    let planned = Planner::new(&timings).planned(&statuses, id, view);
    assert!(planned.actions.is_empty(), "{:?}", planned.actions);
}
