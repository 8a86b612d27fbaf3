//! From each state to each other, and what goes wrong on the way, one at a time.

use crate::cluster::Key;
use crate::director::spec;
use crate::faults::{Fault, Party, Site};
use crate::invariants::told;
use crate::land::Land;
use crate::livekit::Who;
use crate::run::{JANE, LIVEKIT, Stage, TOKEN, is_reached, jane, operators_account, simulate};
use memorialstream_operator::api::conditions::{ConditionType, find, is_true};
use memorialstream_operator::api::spec::{DeletionPolicy, State, StreamDeletion, Via};
use memorialstream_operator::providers::livekit::EgressStatus;

const STATES: [State; 4] = [State::Idle, State::Standby, State::Live, State::Ended];
const BOTH: [Via; 2] = [Via::LiveKit, Via::Compositor];

async fn reached(stage: &mut Stage, state: State) {
    let reached = stage.reaches(state, 180_000).await;
    assert!(reached.is_some(), "{state:?}: {:?}", stage.status().message);
}

async fn live(stage: &mut Stage, via: Via) {
    stage.make_jane(State::Live, via);
    reached(stage, State::Live).await;
}

fn condition(stage: &Stage, kind: ConditionType) -> (String, String, String) {
    let conditions = stage.status().conditions;
    let found = find(&conditions, kind).cloned().unwrap();
    (found.status, found.reason, found.message)
}

fn says(land: &Land, kind: ConditionType, reason: &str) -> bool {
    let conditions = land.cluster.status(&jane()).conditions;
    find(&conditions, kind).is_some_and(|found| found.reason == reason)
}

fn rooms(land: &Land) -> usize {
    land.livekit[LIVEKIT].rooms.len()
}

fn is_gone(land: &mut Land) -> bool {
    !land.cluster.objects.contains_key(&jane())
}

#[test]
fn each_state_is_reached_from_each_other_and_costs_nothing_that_it_does_not_need() {
    for via in BOTH {
        for from in STATES {
            for to in STATES {
                simulate(1, |mut stage| async move {
                    stage.make_jane(from, via);
                    reached(&mut stage, from).await;
                    // Live again after an end needs a higher session.
                    stage.land().say(JANE, |spec| {
                        spec.session = Some(if from == State::Ended { 2 } else { 1 });
                        spec.state = Some(to);
                    });
                    reached(&mut stage, to).await;
                    let differs = |land: &mut Land| land.unsettled().is_empty();
                    let settled = stage.until(30_000, differs).await;
                    assert!(settled.is_some(), "{via:?} {from:?} {to:?}: {:?}", stage.land().unsettled());
                    stage
                });
            }
        }
    }
}

#[test]
fn a_steady_state_does_nothing_and_says_nothing_new() {
    for state in STATES {
        let outcome = simulate(1, |mut stage| async move {
            stage.make_jane(state, Via::LiveKit);
            reached(&mut stage, state).await;
            stage.settle(40).await;
            stage
        });
        assert!(outcome.violations.is_empty(), "{state:?}: {}", told(&outcome.violations));
    }
}

#[test]
fn an_end_stops_the_sender_before_anything_else() {
    let stops = [(Via::LiveKit, "StopEgress"), (Via::Compositor, "StopSender")];
    for (via, stop) in stops {
        let outcome = simulate(1, |mut stage| async move {
            live(&mut stage, via).await;
            stage.land().coverage.order.clear();
            stage.land().ask(JANE, State::Ended);
            reached(&mut stage, State::Ended).await;
            stage
        });
        let order = [stop, "CompleteStream", "DisableStream", "DeletePod", "DeleteRoom"];
        let places: Vec<_> = order
            .iter()
            .map(|action| outcome.coverage.order.iter().position(|done| done == action).expect("done"))
            .collect();
        assert!(places.is_sorted(), "{:?}", outcome.coverage.order);
    }
}

#[test]
fn an_end_does_not_wait_for_mux() {
    for via in BOTH {
        simulate(1, |mut stage| async move {
            live(&mut stage, via).await;
            let until = stage.land().now + 600_000;
            stage.land().faults.silent.insert(Party::Mux, until);
            stage.land().ask(JANE, State::Ended);
            let nothing = |land: &mut Land| land.senders(JANE) + land.pods_of(JANE).len() + rooms(land) == 0;
            let took = stage.until(180_000, nothing).await;
            assert!(took.is_some(), "{via:?}: what runs costs money by the minute");
            assert_ne!(stage.status().state, Some(State::Ended), "the stream may still be enabled");
            stage.land().heal();
            reached(&mut stage, State::Ended).await;
            stage
        });
    }
}

#[test]
fn without_mux_a_broadcast_keeps_its_compositor_and_nothing_new_begins() {
    simulate(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let until = stage.land().now + 600_000;
        stage.land().faults.silent.insert(Party::Mux, until);
        stage.pass_time(2_000).await;
        let pod = stage.land().pods_of(JANE)[0].clone();
        stage.land().kill_pod(&pod);
        let back = |land: &mut Land| !land.pods_of(JANE).is_empty();
        stage.until(60_000, back).await.expect("another pod");
        assert_eq!(stage.land().senders(JANE), 1);
        stage
    });
    simulate(1, |mut stage| async move {
        stage.land().faults.silent.insert(Party::Mux, 600_000);
        stage.make_jane(State::Live, Via::LiveKit);
        stage.pass_time(120_000).await;
        let land = stage.land();
        assert_eq!(land.streams(JANE) + rooms(&land) + land.cluster.pods.len(), 0);
        drop(land);
        stage
    });
}

#[test]
fn a_session_that_ended_is_refused_and_a_higher_one_goes_live() {
    simulate(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        stage.land().ask(JANE, State::Ended);
        reached(&mut stage, State::Ended).await;
        stage.land().ask(JANE, State::Live);
        let told = |land: &mut Land| says(land, ConditionType::ReadyToGoLive, "SessionEnded");
        stage.until(20_000, told).await.expect("it is told");
        stage.pass_time(20_000).await;
        assert_eq!(stage.status().state, Some(State::Ended));
        assert_eq!(stage.land().senders(JANE), 0, "senders in a session that has ended");
        let (_, _, message) = condition(&stage, ConditionType::ReadyToGoLive);
        assert!(message.contains("set spec.session to 2"), "{message}");
        stage.land().say(JANE, |spec| spec.session = Some(2));
        reached(&mut stage, State::Live).await;
        assert_eq!(stage.status().session, Some(2));
        stage
    });
}

/// One command raises the session, the next one asks for Live.
#[test]
fn a_session_that_is_raised_while_the_earlier_one_ends_is_not_ended_with_it() {
    for wait in [100, 2_000, 6_000, 20_000] {
        simulate(1, |mut stage| async move {
            live(&mut stage, Via::LiveKit).await;
            stage.land().ask(JANE, State::Ended);
            stage.pass_time(wait).await;
            stage.land().say(JANE, |spec| spec.session = Some(2));
            reached(&mut stage, State::Ended).await;
            assert_eq!(stage.status().ended_session, Some(1), "after {wait} ms");
            stage.land().ask(JANE, State::Live);
            reached(&mut stage, State::Live).await;
            assert_eq!(stage.status().session, Some(2));
            stage
        });
    }
}

#[test]
fn on_air_says_why_mourners_see_nothing() {
    simulate(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let pod = stage.land().pods_of(JANE)[0].clone();
        let now = stage.land().now;
        stage.land().kubelet.containers.get_mut(&pod).unwrap().frozen_since = Some(now);
        let stalled = |land: &mut Land| says(land, ConditionType::OnAir, "ProgramStalled");
        stage.until(10_000, stalled).await.expect("ProgramStalled");
        stage.land().kubelet.containers.get_mut(&pod).unwrap().frozen_since = None;
        reached(&mut stage, State::Live).await;
        stage.land().ingest_down = true;
        stage.land().cut_all_senders();
        let cut_off = |land: &mut Land| says(land, ConditionType::OnAir, "Reconnecting");
        stage.until(10_000, cut_off).await.expect("Reconnecting");
        let (status, _, message) = condition(&stage, ConditionType::OnAir);
        assert_eq!(status, "False");
        assert!(message.contains("Mux ends the broadcast at 20"), "{message}");
        assert_eq!(stage.status().state, Some(State::Live), "the state that was reached stays");
        stage.land().ingest_down = false;
        let back = |land: &mut Land| is_true(&land.cluster.status(&jane()).conditions, ConditionType::OnAir);
        stage.until(60_000, back).await.expect("OnAir");
        stage
    });
}

#[test]
fn an_egress_that_completes_by_itself_is_started_again() {
    simulate(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let id = stage.status().egress.unwrap().id.unwrap();
        stage.land().end_egress(LIVEKIT, &id, EgressStatus::Complete, "End reason: Source closed");
        let again = |land: &mut Land| {
            land.senders(JANE) == 1 && is_true(&land.cluster.status(&jane()).conditions, ConditionType::OnAir)
        };
        stage.pass_time(6_000).await;
        stage.until(60_000, again).await.expect("another egress");
        assert_eq!(stage.status().egress.unwrap().attempt, 2);
        stage
    });
}

#[test]
fn a_pod_that_is_gone_is_replaced_and_the_egress_stays() {
    simulate(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let egress = stage.status().egress.unwrap().id;
        let pod = stage.land().pods_of(JANE)[0].clone();
        stage.land().kill_pod(&pod);
        stage.pass_time(2_000).await;
        reached(&mut stage, State::Live).await;
        stage.until(30_000, |land| land.unsettled().is_empty()).await.expect("as it was");
        assert_eq!(stage.status().egress.unwrap().id, egress);
        let names: Vec<Key> = stage.land().pods_of(JANE);
        assert_eq!(names[0].1, "jane-compositor-2", "a new name per incarnation");
        stage
    });
}

#[test]
fn no_worker_is_waited_for() {
    simulate(1, |mut stage| async move {
        let workers = std::mem::take(&mut stage.land().livekit.get_mut(LIVEKIT).unwrap().workers);
        stage.make_jane(State::Live, Via::LiveKit);
        stage.pass_time(120_000).await;
        // Between two starts it is told for a moment that the last one ended.
        let waits = |land: &mut crate::land::Land| {
            let conditions = land.cluster.status(&jane()).conditions;
            find(&conditions, ConditionType::EgressActive)
                .is_some_and(|one| one.status == "False" && one.reason == "WaitingForCapacity")
        };
        stage.until(10_000, waits).await.expect("it says so");
        let starts = stage.land().coverage.actions["StartEgress"];
        assert!(starts < 15, "{starts} starts in two minutes");
        stage.land().livekit.get_mut(LIVEKIT).unwrap().workers = workers;
        reached(&mut stage, State::Live).await;
        stage
    });
}

#[test]
fn a_deletion_leaves_nothing_or_what_the_policy_keeps() {
    for (policy, left) in [(StreamDeletion::Delete, 0), (StreamDeletion::Retain, 1)] {
        simulate(1, |mut stage| async move {
            let mut spec = spec(Some(State::Live), Via::LiveKit);
            spec.deletion_policy = Some(DeletionPolicy { stream: Some(policy) });
            stage.land().make(&jane(), JANE, spec, operators_account(), None);
            reached(&mut stage, State::Live).await;
            stage.land().discard(JANE);
            stage.until(120_000, is_gone).await.expect("released");
            stage.pass_time(2_000).await;
            let land = stage.land();
            assert_eq!(land.streams(JANE), left, "{policy:?}");
            assert_eq!(land.cluster.pods.len() + rooms(&land) + land.senders(JANE), 0);
            let streams = land.mux[TOKEN].model.streams();
            assert!(streams.iter().all(|stream| stream.deleted || stream.status == "disabled"));
            drop(land);
            stage
        });
    }
}

#[test]
fn a_room_that_devices_bring_back_is_deleted_again_before_the_object_goes() {
    simulate(1, |mut stage| async move {
        stage.make_jane(State::Standby, Via::LiveKit);
        reached(&mut stage, State::Standby).await;
        stage.pass_time(3_000).await;
        stage.land().director.said.get_mut(JANE).unwrap().rejoins = 3;
        stage.land().discard(JANE);
        let told = |land: &mut Land| {
            land.cluster.status(&jane()).message.is_some_and(|message| message.contains("close the app"))
        };
        stage.until(120_000, told).await.expect("it is told");
        stage.until(240_000, is_gone).await.expect("released");
        let land = stage.land();
        assert_eq!((land.director.said[JANE].rejoins, rooms(&land)), (0, 0));
        assert_eq!(land.coverage.actions["DeleteRoom"], 4);
        drop(land);
        stage
    });
}

#[test]
fn an_end_deletes_its_room_at_once_however_often_another_one_came_back() {
    simulate(1, |mut stage| async move {
        stage.make_jane(State::Standby, Via::LiveKit);
        reached(&mut stage, State::Standby).await;
        stage.land().ask(JANE, State::Idle);
        reached(&mut stage, State::Idle).await;
        stage.pass_time(10_000).await;
        stage.land().ask(JANE, State::Standby);
        reached(&mut stage, State::Standby).await;
        stage.land().director.said.get_mut(JANE).unwrap().rejoins = u32::MAX;
        stage.land().join(LIVEKIT, "memorial-uid-1-0", "camera-lectern", Who::Device);
        let often =
            |land: &mut Land| land.cluster.status(&jane()).room.is_some_and(|room| room.deletions >= 6);
        stage.until(300_000, often).await.expect("it comes back often");
        stage.land().director.said.get_mut(JANE).unwrap().rejoins = 0;
        stage.land().ask(JANE, State::Ended);
        let closed = |land: &mut Land| !land.livekit[LIVEKIT].rooms.contains_key("memorial-uid-1-1");
        stage.until(12_000, closed).await.expect("its own room is closed at once");
        stage
    });
}

#[test]
fn a_device_that_never_stops_joining_is_put_out_once_a_minute() {
    simulate(1, |mut stage| async move {
        stage.make_jane(State::Standby, Via::LiveKit);
        reached(&mut stage, State::Standby).await;
        stage.pass_time(3_000).await;
        stage.land().director.said.get_mut(JANE).unwrap().rejoins = u32::MAX;
        stage.land().discard(JANE);
        stage.pass_time(20 * 60_000).await;
        assert!(!is_gone(&mut stage.land()), "nobody would be left to put it out");
        let deleted = stage.land().coverage.actions["DeleteRoom"];
        assert!((20..=28).contains(&deleted), "{deleted} times in 20 minutes");
        stage.land().director.said.get_mut(JANE).unwrap().rejoins = 0;
        stage.until(240_000, is_gone).await.expect("released");
        stage
    });
}

#[test]
fn a_room_that_devices_bring_back_after_the_end_is_named_and_deleted() {
    simulate(1, |mut stage| async move {
        stage.make_jane(State::Standby, Via::LiveKit);
        reached(&mut stage, State::Standby).await;
        stage.pass_time(3_000).await;
        stage.land().director.said.get_mut(JANE).unwrap().rejoins = 1;
        stage.land().ask(JANE, State::Ended);
        let named = |land: &mut Land| says(land, ConditionType::RoomReady, "Returned");
        stage.until(60_000, named).await.expect("the condition names it");
        let (_, _, message) = condition(&stage, ConditionType::RoomReady);
        assert_eq!(Some(message), stage.status().message);
        stage.until(120_000, |land| land.unsettled().is_empty()).await.expect("closed");
        assert_eq!(stage.status().message, None);
        stage
    });
}

#[test]
fn a_device_with_the_token_of_an_earlier_room_is_told_of() {
    simulate(1, |mut stage| async move {
        stage.make_jane(State::Standby, Via::LiveKit);
        reached(&mut stage, State::Standby).await;
        stage.land().ask(JANE, State::Idle);
        reached(&mut stage, State::Idle).await;
        stage.pass_time(10_000).await;
        stage.land().director.said.get_mut(JANE).unwrap().devices = false;
        stage.land().ask(JANE, State::Standby);
        reached(&mut stage, State::Standby).await;
        let missing = |land: &mut Land| says(land, ConditionType::ReadyToGoLive, "CamerasMissing");
        stage.until(10_000, missing).await.expect("it is told");
        let hint = |land: &mut Land| {
            let conditions = land.cluster.status(&jane()).conditions;
            let ready = find(&conditions, ConditionType::ReadyToGoLive).unwrap();
            ready.message.contains("give it a new token")
        };
        assert!(!hint(&mut stage.land()));
        stage.land().join(LIVEKIT, "memorial-uid-1-0", "camera-lectern", Who::Device);
        stage.until(20_000, hint).await.expect("the hint");
        stage.until(30_000, |land| rooms(land) == 1).await.expect("the older room is closed");
        stage
    });
}

#[test]
fn a_stream_that_somebody_deleted_is_made_again() {
    simulate(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let before = stage.status().playback_url;
        stage.land().somebody_deletes_the_stream(JANE);
        let again = |land: &mut Land| land.streams(JANE) == 1 && is_reached(land, &jane(), State::Live);
        stage.pass_time(5_000).await;
        stage.until(240_000, again).await.expect("Live again");
        assert_ne!(stage.status().playback_url, before);
        stage
    });
}

#[test]
fn a_second_stream_with_our_marker_is_never_used_and_goes() {
    simulate(1, |mut stage| async move {
        stage.make_jane(State::Idle, Via::LiveKit);
        reached(&mut stage, State::Idle).await;
        let ours = stage.status().mux.unwrap().stream_id;
        stage.land().somebody_makes_a_stream(TOKEN, "memorialstream/cluster-1/uid-1");
        assert_eq!(stage.land().streams(JANE), 2);
        stage.until(1_800_000, |land| land.streams(JANE) == 1).await.expect("it goes with a scan");
        assert_eq!(stage.status().mux.unwrap().stream_id, ours);
        stage
    });
}

/// Kubernetes does not answer whoever reads a Secret.
#[test]
fn a_take_waits_for_no_secret() {
    simulate(1, |mut stage| async move {
        stage.make_jane(State::Standby, Via::LiveKit);
        reached(&mut stage, State::Standby).await;
        stage.pass_time(5_000).await;
        stage.land().faults.always = Some((Site::ReadSecret, Fault::Hang));
        for camera in ["lectern", "wide"] {
            stage.land().take(JANE, camera);
            let shown = |land: &mut Land| {
                land.cluster.status(&jane()).program.is_some_and(|program| program.sources == [camera])
            };
            assert!(stage.until(1_200, shown).await.is_some(), "the TAKE of {camera} waits for a Secret");
        }
        stage
    });
}

/// The compositor never answers the first TAKE, so a lane that waited for it would be late with the second.
#[test]
fn a_newer_take_does_not_wait_for_the_answer_to_the_one_before() {
    simulate(1, |mut stage| async move {
        stage.make_jane(State::Standby, Via::LiveKit);
        reached(&mut stage, State::Standby).await;
        stage.pass_time(5_000).await;
        stage.land().faults.always = Some((Site::PodProgram, Fault::Hang));
        stage.land().take(JANE, "lectern");
        let before = stage.land().faults.called[&Site::PodProgram];
        let sent = |land: &mut Land| land.faults.called[&Site::PodProgram] > before;
        stage.until(1_000, sent).await.expect("the first is sent");
        stage.land().faults.always = None;
        stage.land().take(JANE, "wide");
        let shown = |land: &mut Land| {
            land.cluster.status(&jane()).program.is_some_and(|program| program.sources == ["wide"])
        };
        let took = stage.until(700, shown).await;
        assert!(took.is_some(), "the second waits for the first");
        let program = stage.status().program.unwrap();
        assert_eq!(program.observed_generation, Some(3));
        stage
    });
}

#[test]
fn a_document_is_sent_once_and_again_to_a_pod_that_lost_it() {
    simulate(1, |mut stage| async move {
        stage.make_jane(State::Standby, Via::LiveKit);
        reached(&mut stage, State::Standby).await;
        stage.pass_time(5_000).await;
        let sent = |stage: &Stage| stage.land().faults.called[&Site::PodProgram];
        stage.land().take(JANE, "lectern");
        stage.pass_time(5_000).await;
        let before = sent(&stage);
        stage.pass_time(10_000).await;
        assert_eq!(sent(&stage), before);
        let pod = stage.land().pods_of(JANE)[0].clone();
        stage.land().crash_container(&pod);
        stage.pass_time(10_000).await;
        assert!(sent(&stage) > before);
        stage
    });
}
