//! The planner against a model of the world: tables for what it decides, and properties that must hold through
//! lost answers and crashes. No client, no clock.

#[cfg(test)]
mod model;

use k8s_openapi::jiff::Timestamp;
use memorialstream_operator::api::MemorialStreamSpec;
use memorialstream_operator::api::conditions::{ConditionType, find, is_true};
use memorialstream_operator::api::spec::{
    Camera, DeletionPolicy, EgressSettings, State, StreamDeletion, Via,
};
use memorialstream_operator::lifecycle::plan::Action;
use memorialstream_operator::providers::livekit::EgressStatus;
use memorialstream_operator::providers::mux::LiveStreamStatus;
use model::{Fault, Model};
use proptest::prelude::*;

fn spec(state: State, via: Via) -> MemorialStreamSpec {
    MemorialStreamSpec {
        state: Some(state),
        cameras: vec![Camera { name: "lectern".into(), display_name: None }],
        egress: Some(EgressSettings { via: Some(via), livekit: None }),
        ..MemorialStreamSpec::default()
    }
}

#[test]
fn each_state_is_reached_from_each_other_and_costs_nothing_that_it_does_not_need() {
    let states = [State::Idle, State::Standby, State::Live, State::Ended];
    for via in [Via::LiveKit, Via::Compositor] {
        for from in states {
            for to in states {
                let mut model = Model::new(spec(from, via));
                model.settle();
                assert_eq!(model.status().state, Some(from), "{via:?}: nothing → {from:?}");
                // Live again after an end needs a higher session.
                model.object.spec.session = Some(if from == State::Ended { 2 } else { 1 });
                model.ask(to);
                model.settle();
                let label = format!("{via:?}: {from:?} → {to:?}");
                assert_eq!(model.status().state, Some(to), "{label}: {:?}", model.status().message);
                assert!(is_true(&model.status().conditions, ConditionType::Ready), "{label}");
                let runs = matches!(to, State::Live | State::Standby);
                assert_eq!(model.pods.len(), usize::from(runs), "{label}: pods");
                assert_eq!(model.rooms.len(), usize::from(runs), "{label}: rooms");
                let sends = model.sender || model.active_egresses() > 0;
                assert_eq!(sends, to == State::Live, "{label}: sender");
                assert_eq!(model.streams.len(), 1, "{label}: streams");
                let enabled = model.streams[0].status != LiveStreamStatus::Disabled;
                assert_eq!(enabled, runs, "{label}: enabled");
            }
        }
    }
}

#[test]
fn a_steady_state_does_nothing_and_says_nothing_new() {
    for state in [State::Idle, State::Standby, State::Live, State::Ended] {
        let mut model = Model::new(spec(state, Via::LiveKit));
        model.settle();
        let before = serde_json::to_value(model.status()).unwrap();
        for _ in 0..20 {
            assert_eq!(model.step(Fault::None), [], "{state:?}");
        }
        assert_eq!(serde_json::to_value(model.status()).unwrap(), before, "{state:?}");
    }
}

#[test]
fn a_service_at_rest_is_left_alone_for_minutes_unless_a_device_may_open_its_room_again() {
    let mut model = Model::new(spec(State::Idle, Via::LiveKit));
    model.settle();
    let minutes = model.plan().requeue.as_secs() / 60;
    assert!((7..=13).contains(&minutes), "{minutes}");
    model.ask(State::Standby);
    model.settle();
    model.ask(State::Idle);
    model.settle();
    assert!(is_true(&model.status().conditions, ConditionType::Ready));
    assert_eq!(model.plan().requeue.as_secs(), 60);
}

#[test]
fn an_end_stops_the_sender_before_anything_else() {
    let mut model = Model::new(spec(State::Live, Via::LiveKit));
    model.settle();
    model.ask(State::Ended);
    let done = model.settle();
    let position =
        |wanted: fn(&Action) -> bool| done.iter().position(wanted).unwrap_or_else(|| panic!("{done:?}"));
    let stop = position(|action| matches!(action, Action::StopEgress(_)));
    let complete = position(|action| matches!(action, Action::CompleteStream(_)));
    let disable = position(|action| matches!(action, Action::DisableStream(_)));
    let pod = position(|action| matches!(action, Action::DeletePod(_)));
    let room = position(|action| matches!(action, Action::DeleteRoom(_)));
    assert!(stop < complete && complete < disable && disable < pod && pod < room, "{done:?}");
}

#[test]
fn an_end_does_not_wait_for_mux() {
    for via in [Via::LiveKit, Via::Compositor] {
        let mut model = Model::new(spec(State::Live, via));
        model.settle();
        model.ask(State::Ended);
        for _ in 0..30 {
            model.step(Fault::MuxDown);
        }
        assert_eq!(model.active_egresses(), 0, "{via:?}: an egress costs money by the minute");
        assert!(!model.sender && model.pods.is_empty() && model.rooms.is_empty(), "{via:?}");
        assert_ne!(model.status().state, Some(State::Ended), "{via:?}: the stream may still be enabled");
        model.settle();
        assert_eq!(model.status().state, Some(State::Ended), "{via:?}");
        assert_eq!(model.streams[0].status, LiveStreamStatus::Disabled, "{via:?}");
    }
}

#[test]
fn without_mux_a_broadcast_keeps_its_compositor_and_nothing_new_begins() {
    let mut model = Model::new(spec(State::Live, Via::LiveKit));
    model.settle();
    model.pods.clear();
    for _ in 0..5 {
        model.step(Fault::MuxDown);
    }
    assert_eq!((model.pods.len(), model.active_egresses(), model.started), (1, 1, 1));
    let mut model = Model::new(spec(State::Live, Via::LiveKit));
    for _ in 0..5 {
        model.step(Fault::MuxDown);
    }
    assert_eq!(model.streams.len() + model.rooms.len() + model.pods.len() + model.started, 0);
}

#[test]
fn a_session_that_ended_is_refused_and_a_higher_one_goes_live() {
    let mut model = Model::new(spec(State::Live, Via::LiveKit));
    model.settle();
    model.ask(State::Ended);
    model.settle();
    model.ask(State::Live);
    model.settle();
    assert_eq!(model.status().state, Some(State::Ended));
    let stalled = find(&model.status().conditions, ConditionType::Stalled).unwrap().clone();
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "SessionEnded"));
    assert!(stalled.message.contains("set spec.session to 2"), "{}", stalled.message);
    model.object.spec.session = Some(2);
    model.settle();
    assert_eq!(model.status().state, Some(State::Live));
    assert_eq!(model.status().session, Some(2));
}

#[test]
fn on_air_is_what_mourners_see() {
    let mut model = Model::new(spec(State::Live, Via::LiveKit));
    model.settle();
    assert!(is_true(&model.status().conditions, ConditionType::OnAir));

    model.program_advances = false;
    model.step(Fault::None);
    let on_air = find(&model.status().conditions, ConditionType::OnAir).unwrap().clone();
    assert_eq!((on_air.status.as_str(), on_air.reason.as_str()), ("False", "ProgramStalled"));

    model.program_advances = true;
    model.egresses[0].destination_connected = false;
    model.step(Fault::None);
    let on_air = find(&model.status().conditions, ConditionType::OnAir).unwrap().clone();
    assert_eq!((on_air.status.as_str(), on_air.reason.as_str()), ("False", "Reconnecting"));
    assert!(on_air.message.contains("Mux ends the broadcast at 20"), "{}", on_air.message);
    assert_eq!(model.status().state, Some(State::Live), "the state that was reached stays");
}

#[test]
fn an_egress_that_completes_by_itself_is_started_again() {
    let mut model = Model::new(spec(State::Live, Via::LiveKit));
    model.settle();
    model.egresses[0].status = EgressStatus::Complete;
    model.settle();
    assert_eq!(model.active_egresses(), 1);
    assert_eq!(model.started, 2);
    assert_eq!(model.status().egress.as_ref().unwrap().attempt, 2);
}

#[test]
fn a_pod_that_is_gone_is_replaced_and_the_egress_stays() {
    let mut model = Model::new(spec(State::Live, Via::LiveKit));
    model.settle();
    let egress = model.status().egress.clone().unwrap().id;
    model.pods.clear();
    model.settle();
    assert_eq!(model.status().egress.clone().unwrap().id, egress);
    assert_eq!(model.started, 1);
    assert_eq!(model.pods[0].name, "jane-doe-compositor-2", "a new name per incarnation");
}

#[test]
fn no_worker_is_waited_for() {
    let mut model = Model::new(spec(State::Live, Via::LiveKit));
    model.capacity = false;
    for _ in 0..60 {
        model.step(Fault::None);
    }
    let egress = find(&model.status().conditions, ConditionType::EgressActive).unwrap().clone();
    assert_eq!((egress.status.as_str(), egress.reason.as_str()), ("False", "WaitingForCapacity"));
    assert!(model.started < 15, "{} starts in two minutes", model.started);
    model.capacity = true;
    model.settle();
    assert_eq!(model.status().state, Some(State::Live));
}

#[test]
fn a_deletion_leaves_nothing_or_what_the_policy_keeps() {
    for (policy, left) in [(StreamDeletion::Delete, 0), (StreamDeletion::Retain, 1)] {
        let mut model = Model::new(spec(State::Live, Via::LiveKit));
        model.object.spec.deletion_policy = Some(DeletionPolicy { stream: Some(policy) });
        model.settle();
        model.delete();
        model.settle();
        assert!(model.released(), "{policy:?}: {:?}", model.status().message);
        assert_eq!(model.streams.len(), left);
        assert!(model.pods.is_empty() && model.rooms.is_empty() && model.active_egresses() == 0);
        assert!(model.streams.iter().all(|stream| stream.status == LiveStreamStatus::Disabled));
    }
}

#[test]
fn a_room_that_devices_bring_back_is_deleted_again_before_the_object_goes() {
    let mut model = Model::new(spec(State::Standby, Via::LiveKit));
    model.settle();
    model.rejoins = 3;
    model.delete();
    let mut told = Vec::new();
    let done: Vec<Action> = (0..60)
        .flat_map(|_| {
            let actions = model.step(Fault::None);
            told.extend(model.status().message);
            actions
        })
        .take_while(|action| *action != Action::RemoveFinalizer)
        .collect();
    assert!(told.iter().any(|message| message.contains("close the app")), "{told:?}");
    assert!(model.released(), "{:?}", model.status().message);
    assert_eq!((model.rejoins, model.rooms.len()), (0, 0));
    assert_eq!(done.iter().filter(|action| matches!(action, Action::DeleteRoom(_))).count(), 4, "{done:?}");
}

#[test]
fn an_end_deletes_its_room_at_once_however_often_another_one_came_back() {
    let mut model = Model::new(spec(State::Standby, Via::LiveKit));
    model.settle();
    model.ask(State::Idle);
    model.settle();
    model.ask(State::Standby);
    model.settle();
    model.open_room("memorial-uid-1-0".into());
    model.rejoins = usize::MAX;
    while model.status().room.is_none_or(|room| room.deletions < 6) {
        model.step(Fault::None);
    }
    model.rejoins = 0;
    model.ask(State::Ended);
    for _ in 0..4 {
        model.step(Fault::None);
    }
    assert!(model.rooms.iter().all(|room| room.name != "memorial-uid-1-1"), "{:?}", model.rooms);
}

#[test]
fn a_device_that_never_stops_joining_is_put_out_once_a_minute() {
    let mut model = Model::new(spec(State::Standby, Via::LiveKit));
    model.settle();
    model.rejoins = usize::MAX;
    model.delete();
    let passes = 600;
    let deleted = (0..passes)
        .flat_map(|_| model.step(Fault::None))
        .filter(|action| matches!(action, Action::DeleteRoom(_)))
        .count();
    assert!(!model.released(), "nobody would be left to put it out");
    assert!((20..=28).contains(&deleted), "{deleted} times in {} minutes", passes * 2 / 60);
    model.rejoins = 0;
    model.settle();
    assert!(model.released() && model.rooms.is_empty());
}

#[test]
fn a_room_that_devices_bring_back_after_the_end_is_named_and_deleted() {
    let mut model = Model::new(spec(State::Standby, Via::LiveKit));
    model.settle();
    model.rejoins = 1;
    model.ask(State::Ended);
    let returned = (0..20).find_map(|_| {
        model.step(Fault::None);
        let status = model.status();
        let room = find(&status.conditions, ConditionType::RoomReady)?.clone();
        (room.reason == "Returned").then_some((room, status.message))
    });
    let (room, message) = returned.expect("the condition names it");
    assert_eq!(Some(&room.message), message.as_ref());
    assert!(room.message.contains("memorial-uid-1-0"), "{}", room.message);
    model.settle();
    assert!(model.rooms.is_empty());
    assert_eq!(model.status().message, None);
}

#[test]
fn a_device_with_the_token_of_an_earlier_room_is_told_of() {
    let mut model = Model::new(spec(State::Standby, Via::LiveKit));
    model.settle();
    model.ask(State::Idle);
    model.settle();
    model.camera_missing = true;
    model.ask(State::Standby);
    model.settle();
    let missing = |model: &Model| {
        let conditions = model.status().conditions;
        let ready = find(&conditions, ConditionType::ReadyToGoLive).unwrap();
        assert_eq!(ready.reason, "CamerasMissing");
        ready.message.contains("give it a new token")
    };
    assert!(!missing(&model));
    model.open_room("memorial-uid-1-0".into());
    model.step(Fault::None);
    assert!(missing(&model));
    model.settle();
    assert_eq!(model.rooms.len(), 1, "the older room is closed");
}

#[test]
fn a_stream_that_somebody_deleted_is_made_again() {
    let mut model = Model::new(spec(State::Live, Via::LiveKit));
    model.settle();
    let before = model.status().playback_url.clone();
    model.streams.clear();
    model.egresses[0].destination_connected = false;
    model.egresses[0].status = EgressStatus::Failed;
    model.settle();
    assert_eq!(model.status().state, Some(State::Live));
    assert_eq!(model.streams.len(), 1);
    assert_ne!(model.status().playback_url, before);
}

#[test]
fn a_second_stream_with_our_marker_is_never_used_and_goes() {
    let mut model = Model::new(spec(State::Idle, Via::LiveKit));
    model.settle();
    let ours = model.streams[0].id.clone();
    let mut second = model.streams[0].clone();
    second.id = "second".into();
    model.streams.insert(0, second);
    model.searches = true;
    model.settle();
    assert_eq!(model.streams.iter().map(|stream| stream.id.clone()).collect::<Vec<_>>(), [ours]);
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::CrashBeforeActions),
        1 => Just(Fault::AnswersLost),
        1 => Just(Fault::CrashAfterActions),
        1 => Just(Fault::ProvidersDown),
        1 => Just(Fault::MuxDown),
    ];
    proptest::collection::vec(fault, 1..40)
}

fn asked() -> impl Strategy<Value = Vec<State>> {
    let state = prop_oneof![Just(State::Idle), Just(State::Standby), Just(State::Live), Just(State::Ended)];
    proptest::collection::vec(state, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is lost and whenever the operator dies: never two egresses, never two streams, and in the end what
    /// is wanted, with one stream.
    #[test]
    fn nothing_paid_is_duplicated_or_left_running(
        asked in asked(),
        faults in faults(),
        via in prop_oneof![Just(Via::LiveKit), Just(Via::Compositor)],
        rejoins in 0..4_usize,
    ) {
        let mut model = Model::new(spec(State::Idle, via));
        model.rejoins = rejoins;
        for (state, faults) in asked.iter().zip(faults.chunks(faults.len().div_ceil(asked.len()))) {
            model.ask(*state);
            for fault in faults {
                model.step(*fault);
                prop_assert!(model.active_egresses() <= 1, "two egresses");
                prop_assert!(model.streams.len() <= 1, "two streams");
            }
        }
        model.object.spec.session = Some(9);
        model.ask(State::Live);
        model.settle();
        prop_assert_eq!(model.status().state, Some(State::Live), "{:?}", model.status().message);
        model.delete();
        model.settle();
        prop_assert!(model.released());
        prop_assert_eq!(model.streams.len() + model.rooms.len() + model.pods.len() + model.active_egresses(), 0);
        prop_assert!(!model.sender);
    }

    /// The same pass on the same view decides the same.
    #[test]
    fn a_plan_depends_on_nothing_but_what_it_is_given(faults in faults()) {
        let mut model = Model::new(spec(State::Live, Via::LiveKit));
        for fault in faults {
            prop_assert_eq!(model.plan(), model.plan());
            model.step(fault);
        }
        prop_assert!(model.now > Timestamp::UNIX_EPOCH);
    }
}
