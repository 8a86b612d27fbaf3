//! Rooms that close, come back or are told something new; and objects that go while something is under way.

use super::*;
use crate::director::spec;
use crate::faults::Party;
use crate::livekit::Who;
use crate::run::operators_account;
use memorialstream_operator::api::names::camera_identity;
use memorialstream_operator::api::spec::{Camera, DeletionPolicy, Slate, StreamDeletion};

const ROOM: ConditionType = ConditionType::RoomReady;
const ON_AIR: ConditionType = ConditionType::OnAir;

fn sid(stage: &Stage, room: &str) -> String {
    stage.land().livekit[LIVEKIT].rooms[room].sid.clone()
}

fn recorded_sid(stage: &Stage) -> String {
    stage.status().room.and_then(|room| room.sid).expect("a sid")
}

/// Case 22.
#[test]
fn a_room_that_closed_and_came_back_is_another_room_with_another_egress() {
    for via in BOTH {
        case(|mut stage| async move {
            live(&mut stage, via).await;
            let (room, before) = ("memorial-uid-1-0", recorded_sid(&stage));
            stage.land().close_room(LIVEKIT, room);
            if via == Via::LiveKit {
                stage.until(10_000, is_not_on_air).await.expect("it is told");
            }
            let noted = |land: &mut Land| {
                let sid = land.cluster.status(&jane()).room.and_then(|room| room.sid);
                let now = land.livekit[LIVEKIT].rooms.get(room).map(|room| room.sid.clone());
                now.is_some() && sid == now
            };
            stage.until(20_000, noted).await.expect("status names the room that there is now");
            stage.pass_time(2_000).await;
            told(&mut stage, 60_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
            told(&mut stage, 10_000, ROOM, Truth::True, Reason::Exists, "").await;
            assert_ne!(recorded_sid(&stage), before);
            assert_eq!((recorded_sid(&stage), stage.status().ended_session), (sid(&stage, room), None));
            if via == Via::LiveKit {
                let id = egress_id(&stage);
                let egress = stage.land().livekit[LIVEKIT].egresses[&id].clone();
                assert_eq!(egress.room_sid, recorded_sid(&stage), "not the egress of the room before");
            }
            assert_eq!((stream(&stage).assets, counted(&stage)), (1, (1, 1, 1, 1)));
            stage
        });
    }
    // Ours outlives an hour in which nobody is there, and a compositor that is away.
    case(|mut stage| async move {
        stage.land().make(&jane(), JANE, spec(Some(State::Standby), Via::LiveKit), operators_account(), None);
        stage.land().director.said.get_mut(JANE).unwrap().devices = false;
        reached(&mut stage, State::Standby, 60_000).await;
        let before = recorded_sid(&stage);
        stage.land().kubelet.full = true;
        let pod = stage.land().pods_of(JANE)[0].clone();
        stage.land().kill_pod(&pod);
        stage.pass_time(600_000).await;
        stage.land().kubelet.full = false;
        stage.pass_time(10_000).await;
        reached(&mut stage, State::Standby, 60_000).await;
        assert_eq!((recorded_sid(&stage), done(&stage, "CreateRoom")), (before, 1));
        stage
    });
}

/// Case 23.
#[test]
fn the_name_of_a_deleted_room_is_never_used_again() {
    case(|mut stage| async move {
        stage.make_jane(State::Standby, Via::LiveKit);
        for epoch in 0..3 {
            reached(&mut stage, State::Standby, 60_000).await;
            let name = stage.status().room.and_then(|room| room.name);
            assert_eq!(name, Some(format!("memorial-uid-1-{epoch}")));
            told(&mut stage, 1_000, ROOM, Truth::True, Reason::Exists, "").await;
            stage.land().ask(JANE, State::Idle);
            let deleted =
                |land: &mut Land| land.coverage.actions.get("DeleteRoom").copied() == Some(epoch + 1);
            stage.until(30_000, deleted).await.expect("the room is deleted");
            // Within the same second it is wanted again.
            stage.land().ask(JANE, State::Standby);
        }
        reached(&mut stage, State::Standby, 60_000).await;
        assert_eq!((counted(&stage), done(&stage, "CreateRoom")), ((1, 1, 1, 0), 4));
        stage
    });
    // Another object of the same name has rooms of its own.
    case(|mut stage| async move {
        stage.make_jane(State::Standby, Via::LiveKit);
        reached(&mut stage, State::Standby, 60_000).await;
        stage.land().discard(JANE);
        stage.until(120_000, is_gone).await.expect("released");
        stage.land().make(
            &jane(),
            "uid-7",
            spec(Some(State::Standby), Via::LiveKit),
            operators_account(),
            None,
        );
        reached(&mut stage, State::Standby, 60_000).await;
        assert_eq!(stage.status().room.and_then(|room| room.name).as_deref(), Some("memorial-uid-7-0"));
        stage
    });
}

/// Case 24.
#[test]
fn a_room_is_created_once_and_taken_as_it_is_whoever_opened_it() {
    case(|mut stage| async move {
        strike(&mut stage.land(), Site::CreateRoom, Fault::ReplyLost);
        live(&mut stage, Via::LiveKit).await;
        let (before, creates) = (recorded_sid(&stage), done(&stage, "CreateRoom"));
        stage.land().say(JANE, |spec| {
            spec.slate = Some(Slate { before: Some("Soon".into()), ..Slate::default() });
            spec.cameras.push(Camera { name: "organ".into(), display_name: None });
        });
        stage.pass_time(60_000).await;
        reached(&mut stage, State::Live, 10_000).await;
        told(&mut stage, 1_000, ROOM, Truth::True, Reason::Exists, "").await;
        assert_eq!((recorded_sid(&stage), done(&stage, "CreateRoom")), (before, creates));
        assert_eq!(counted(&stage), (1, 1, 1, 1));
        stage
    });
    // A device was there first, and LiveKit made the room for it, with settings of its own.
    case(|mut stage| async move {
        stage.make_jane(State::Idle, Via::LiveKit);
        reached(&mut stage, State::Idle, 60_000).await;
        stage.land().ask(JANE, State::Live);
        stage.land().join(LIVEKIT, "memorial-uid-1-0", &camera_identity("lectern"), Who::Device);
        let before = sid(&stage, "memorial-uid-1-0");
        reached(&mut stage, State::Live, 60_000).await;
        let words = "closes 20 s after the last participant has left, and is made anew then";
        told(&mut stage, 1_000, ROOM, Truth::True, Reason::Exists, words).await;
        assert_eq!(recorded_sid(&stage), before);
        assert_eq!(counted(&stage), (1, 1, 1, 1));
        stage
    });
}

/// Case 27.
#[test]
fn a_deletion_at_any_moment_leaves_nothing_and_says_what_it_waits_for() {
    let moments = ["CreateStream", "CreateRoom", "ApplySecret", "CreatePod", "StartEgress"];
    for moment in moments {
        for lost in [false, true] {
            case(|mut stage| async move {
                let site = Site::ALL.into_iter().find(|site| format!("{site:?}") == moment).unwrap();
                if lost {
                    strike(&mut stage.land(), site, Fault::HangAfter);
                }
                stage.make_jane(State::Live, Via::LiveKit);
                let sent = move |land: &mut Land| called(land, site) > 0;
                stage.until(60_000, sent).await.expect("it is sent");
                stage.land().discard(JANE);
                let took = stage.until(240_000, is_gone).await;
                assert!(took.is_some(), "{moment} {lost}: {:?}", counted(&stage));
                stage.pass_time(5_000).await;
                let left = (counted(&stage), egresses(&stage).len());
                assert_eq!(left, ((0, 0, 0, 0), 0), "{moment} {lost}");
                stage
            });
        }
    }
    // Live, in the order in which nothing can be left; and what others ended already is done.
    for others in [false, true] {
        for policy in [StreamDeletion::Delete, StreamDeletion::Retain] {
            let outcome = case(|mut stage| async move {
                let mut spec = spec(Some(State::Live), Via::LiveKit);
                spec.deletion_policy = Some(DeletionPolicy { stream: Some(policy) });
                stage.land().make(&jane(), JANE, spec, operators_account(), None);
                reached(&mut stage, State::Live, 60_000).await;
                stage.land().coverage.order.clear();
                if others {
                    let until = stage.land().now + 3_000;
                    stage.land().faults.silent.insert(Party::Kubernetes, until);
                    let egress = egress_id(&stage);
                    stage.land().end_egress(LIVEKIT, &egress, EgressStatus::Complete, "");
                    stage.land().close_room(LIVEKIT, "memorial-uid-1-0");
                    stage.land().somebody_deletes_the_stream(JANE);
                }
                stage.land().discard(JANE);
                stage.until(120_000, is_gone).await.expect("released");
                let kept = usize::from(policy == StreamDeletion::Retain && !others);
                assert_eq!(counted(&stage), (kept, 0, 0, 0), "{policy:?} {others}");
                assert!(
                    streams_ever(&stage).iter().all(|stream| stream.deleted || stream.status == "disabled")
                );
                stage
            });
            if !others && policy == StreamDeletion::Delete {
                let order = ["StopEgress", "CompleteStream", "DeletePod", "DeleteRoom", "DeleteStream"];
                let places: Vec<_> = order
                    .iter()
                    .map(|action| {
                        outcome.coverage.order.iter().position(|done| done == action).expect("done")
                    })
                    .collect();
                assert!(places.is_sorted(), "{:?}", outcome.coverage.order);
            }
        }
    }
    // A provider that does not answer holds the object, and nothing else of what costs.
    case(|mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let until = stage.land().now + 600_000;
        stage.land().faults.silent.insert(Party::Mux, until);
        stage.land().discard(JANE);
        there_are(&mut stage, 120_000, (1, 0, 0, 0)).await;
        stage.pass_time(60_000).await;
        assert!(!is_gone(&mut stage.land()), "nobody else knows of the stream");
        let kind = ConditionType::MuxStreamReady;
        told(&mut stage, 1_000, kind, Truth::Unknown, Reason::ProviderNotAnswering, "Mux").await;
        assert!(stage.status().message.is_some_and(|message| message.contains("Mux")));
        stage.land().faults.silent.clear();
        stage.until(60_000, is_gone).await.expect("released");
        assert_eq!(counted(&stage), (0, 0, 0, 0));
        stage
    });
}
