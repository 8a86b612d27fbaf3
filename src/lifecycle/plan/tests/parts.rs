//! Stream, room, compositor, and what is abandoned.

use super::*;
use crate::api::names::ABANDON;
use crate::api::spec::Video;
use crate::api::status::CompositorStatus as Recorded;
use crate::providers::livekit::LiveKitRoom;
use crate::service::pod::PodSeen;

fn room(name: &str, sid: &str) -> LiveKitRoom {
    LiveKitRoom { name: name.into(), sid: sid.into(), metadata: String::new(), created_at: 0 }
}

fn abandoned(mut given: Given, word: &str) -> Given {
    given.object.metadata.annotations = Some([(ABANDON.to_owned(), word.to_owned())].into());
    given
}

#[test]
fn only_what_cannot_be_ended_is_abandoned_and_only_where_a_person_asks() {
    let lets_go =
        |actions: &[Action]| matches!(actions, [Action::RecordAbandoned(_), Action::RemoveFinalizer]);
    let hindered: [fn(&mut Given); 3] = [
        |given| {
            let missing = SetAside { reason: Reason::SecretNotFound, message: "no Secret".into() };
            given.seen.access = Access::Unusable(missing);
        },
        |given| given.seen.rooms = Seen::Failed(silence()),
        |given| given.fails(Effect::ending(Part::Stream), 9),
    ];
    for hinder in hindered {
        let mut given = Given::idle().deleted();
        hinder(&mut given);
        assert_eq!(given.actions(), []);
        let given = abandoned(given, "false");
        assert_eq!(given.actions(), []);
        let given = abandoned(given, "true");
        assert!(lets_go(&given.actions()));
        assert_eq!(given.events(), ["Abandoned"]);
    }
    let given = abandoned(Given::idle().deleted(), "true");
    assert_eq!(given.actions(), [Action::DeleteStream("stream".into())], "nothing hinders it");
    let mut begins_only = abandoned(Given::idle().deleted(), "true");
    begins_only.fails(Effect::making(Part::Stream), 9);
    assert_eq!(begins_only.actions(), [Action::DeleteStream("stream".into())]);
}

/// The image was corrected, or the pod asks for less now: waiting helps nobody.
#[test]
fn a_pod_that_cannot_run_is_made_anew_once_what_it_is_made_of_has_changed() {
    let given = |image: &str| {
        let mut given = Given::live(Via::Compositor);
        given.seen.compositor_image = "compositor:2".into();
        given.seen.compositor = None;
        let pod = &mut given.seen.pods[0];
        pod.ready = false;
        pod.complaint = Some(("ImagePullBackOff".into(), "not found".into()));
        pod.image = image.into();
        given
    };
    let deletes = |given: Given| given.actions().contains(&Action::DeletePod("jane-compositor-1".into()));
    assert!(!deletes(given("compositor:2")));
    assert!(deletes(given("compositor:1")));
    let mut smaller = given("compositor:2");
    smaller.object.spec.video = Some(Video { width: Some(640), ..Video::default() });
    assert!(deletes(smaller));
    let mut runs = given("compositor:1");
    runs.seen.pods[0].ready = true;
    assert!(!deletes(runs), "what is on air goes on");
}

/// Neither is let in, or LiveKit cannot be asked: with the Secret gone, nobody could end it.
#[test]
fn no_stream_is_made_before_both_providers_accept() {
    let makes = |change: &dyn Fn(&mut Given)| {
        let mut given = Given::idle();
        given.status().mux = None;
        given.seen.stream = Seen::NotAsked;
        change(&mut given);
        given.actions().iter().any(|action| matches!(action, Action::CreateStream(_)))
    };
    assert!(makes(&|_| {}));
    assert!(!makes(&|given| given.seen.rooms = Seen::Failed(silence())));
    assert!(makes(&|given| {
        given.seen.rooms = Seen::Failed(silence());
        given.seen.credentials_are_kept = true;
    }));
    let set_aside = |given: &mut Given| {
        let missing = SetAside { reason: Reason::SecretNotRead, message: "no answer".into() };
        given.seen.set_aside = Some(missing);
    };
    assert!(!makes(&set_aside), "nobody knows whose account it is by now");
    assert!(makes(&|given| {
        set_aside(given);
        given.status().mux = Some(MuxStatus { lost_stream_id: Some("S0".into()), ..MuxStatus::default() });
    }));
}

#[test]
fn the_next_pod_has_the_next_number_and_waits_for_the_one_before() {
    let made = |change: &dyn Fn(&mut Given)| {
        let mut given = Given::standby();
        given.seen.pods.clear();
        given.seen.compositor = None;
        change(&mut given);
        let actions = given.actions();
        actions.into_iter().find_map(|action| match action {
            Action::CreatePod { name, incarnation } => Some((name, incarnation)),
            _ => None,
        })
    };
    let pod = |number: i64| Some((format!("jane-compositor-{number}"), number));
    let old = || Given::standby().seen.pods.remove(0);
    assert_eq!(made(&|_| {}), pod(2));
    assert_eq!(made(&|given| given.seen.recorded_pod = RecordedPod::Absent), pod(2), "it was made");
    let never_made = |given: &mut Given| given.status().compositor.as_mut().unwrap().made = false;
    assert_eq!(made(&never_made), pod(2), "nobody says that it is absent");
    let absent = |given: &mut Given| {
        never_made(given);
        given.seen.recorded_pod = RecordedPod::Absent;
    };
    assert_eq!(made(&absent), pod(1), "the same one again");
    assert_eq!(made(&|given| given.seen.recorded_pod = RecordedPod::Unknown), None);
    assert_eq!(made(&|given| given.fails(Effect::making(Part::Pod), 9)), None);
    let deleting = |seconds: i64| {
        move |given: &mut Given| {
            let gone_by = Some(given.ago(seconds).0);
            given.seen.pods = vec![PodSeen { deleting: true, gone_by, ..old() }];
        }
    };
    assert_eq!(made(&deleting(0)), None);
    assert_eq!(made(&deleting(60)), pod(2), "its node is dead");
    let stray = |incarnation| {
        move |given: &mut Given| {
            given.seen.pods = vec![PodSeen { stray: true, incarnation, ..old() }];
        }
    };
    assert_eq!(made(&stray(7)), pod(8));
}

#[test]
fn pods_that_will_never_run_and_strays_are_deleted() {
    let deleted = |change: fn(&mut PodSeen)| {
        let mut given = Given::standby();
        let mut another = PodSeen { name: "another".into(), ..given.seen.pods[0].clone() };
        change(&mut another);
        given.seen.pods.push(another);
        given.actions().contains(&Action::DeletePod("another".into()))
    };
    assert!(deleted(|pod| pod.finished = true));
    assert!(!deleted(|pod| (pod.finished, pod.deleting) = (true, true)));
    assert!(deleted(|pod| pod.stray = true));
    assert!(!deleted(|pod| (pod.stray, pod.incarnation) = (true, 2)), "recorded after what this pass knows");
    assert!(!deleted(|pod| (pod.stray, pod.deleting) = (true, true)));
}

#[test]
fn a_pod_with_other_settings_is_replaced_but_not_on_air() {
    let drifted = |mut given: Given| {
        given.object.spec.video = Some(Video { height: Some(360), ..Video::default() });
        given.actions()
    };
    assert_eq!(drifted(Given::standby()), [Action::DeletePod("jane-compositor-1".into())]);
    assert_eq!(drifted(Given::live(Via::Compositor)), []);
}

#[test]
fn what_a_pod_boots_from_is_renewed_where_it_is_wrong() {
    let mut given = Given::standby();
    assert_eq!(given.actions(), []);
    given.seen.boots_wrong = true;
    assert_eq!(given.actions(), [Action::RenewBoot { incarnation: 1 }]);
    given.seen.pods[0].restarts = 3;
    let recorded = given.plan().status.compositor.unwrap();
    assert_eq!((recorded.made, recorded.restarts), (true, 3));
}

#[test]
fn every_pod_goes_before_its_room() {
    let mut given = Given::standby().ask(State::Idle);
    let pod = Action::DeletePod("jane-compositor-1".into());
    let shut = Action::DisableStream("stream".into());
    assert_eq!(given.actions(), [shut.clone(), pod]);
    given.seen.pods[0].deleting = true;
    assert_eq!(given.actions().len(), 1, "it is waited for");
    given.seen.pods.clear();
    given.seen.compositor = None;
    let name = given.identity().room_name(0);
    assert_eq!(given.actions(), [shut, Action::DeleteRoom(name)]);
    let recorded = Recorded { incarnation: 1, ..Recorded::default() };
    assert_eq!(given.plan().status.compositor, Some(recorded));
    given.seen.recorded_pod = RecordedPod::Unknown;
    assert_eq!(given.actions().len(), 1, "it may be there");
}

#[test]
fn a_room_is_made_once_and_taken_to_be_there_while_livekit_is_silent() {
    let mut given = Given::standby();
    given.seen.rooms = Seen::Known(Vec::new());
    let name = given.identity().room_name(0);
    assert_eq!(given.actions(), [Action::CreateRoom(name.clone())]);
    assert_eq!(given.plan().status.room.unwrap().sid, None);
    given.fails(Effect::making(Part::Room), 9);
    assert_eq!(given.actions(), []);

    let pod_is_made = |mut given: Given| {
        given.seen.rooms = Seen::Failed(silence());
        given.seen.pods.clear();
        given.seen.compositor = None;
        is_begun(&given.actions())
    };
    assert!(pod_is_made(Given::standby()));
    let mut unseen = Given::standby();
    unseen.status().room.as_mut().unwrap().sid = None;
    assert!(!pod_is_made(unseen));
    let mut before = Given::standby();
    before.status().room.as_mut().unwrap().epoch = 1;
    assert!(!pod_is_made(before), "it is another one");
}

#[test]
fn rooms_that_devices_open_are_deleted_ever_more_rarely() {
    let stray = |deletions: i64, seconds: i64, sid: &str| {
        let mut given = Given::idle();
        let deleted_at = Some(given.ago(seconds));
        given.status().room = Some(RoomStatus {
            epoch: 1,
            deleted_at,
            deleted_sid: Some("RM_0".into()),
            deletions,
            ..RoomStatus::default()
        });
        given.seen.rooms = Seen::Known(vec![room("old", sid)]);
        let plan = given.plan();
        let deletes = plan.actions == [Action::DeleteRoom("old".into())];
        deletes.then(|| plan.status.room.unwrap().deletions)
    };
    assert_eq!(stray(0, 2, "RM_0"), None, "a list that lags shows it");
    assert_eq!(stray(0, 2, "RM_1"), Some(1), "it came back");
    assert_eq!(stray(0, 6, "RM_0"), Some(1), "it is still there");
    assert_eq!(stray(3, 7, "RM_1"), None);
    assert_eq!(stray(3, 8, "RM_1"), Some(4));
    assert_eq!(stray(9, 59, "RM_1"), None);
    assert_eq!(stray(9, 60, "RM_1"), Some(10));
    assert_eq!(stray(9, 120, "RM_1"), Some(1), "another day");
    assert_eq!(stray(9, 119, "RM_1"), Some(10));
}

#[test]
fn a_room_that_devices_opened_is_deleted_at_once_and_noted_with_its_server() {
    let mut given = Given::idle();
    let now = Time(given.now);
    given.status().room = Some(RoomStatus {
        epoch: 1,
        deleted_at: Some(now.clone()),
        deleted_sid: Some("RM_0".into()),
        ..RoomStatus::default()
    });
    given.seen.rooms = Seen::Known(vec![room("old", "RM_1")]);
    assert_eq!(given.actions(), [Action::DeleteRoom("old".into())]);
    given.status().room.as_mut().unwrap().deleted_at = Some(given.ago(3600));
    let noted = given.plan().status.room.unwrap();
    assert_eq!((noted.url.as_deref(), noted.deleted_at), (Some("wss://livekit"), Some(now)));
}

#[test]
fn the_room_that_is_let_go_is_ours_and_its_name_is_never_used_again() {
    let mut given = Given::standby().ask(State::Idle);
    given.seen.pods.clear();
    given.seen.compositor = None;
    let ours = given.identity().room_name(0);
    given.seen.rooms = Seen::Known(vec![room("another", "RM_9"), room(&ours, "RM_2")]);
    let retired = given.plan().status.room.unwrap();
    assert_eq!(retired.deleted_sid.as_deref(), Some("RM_2"));
    assert_eq!((retired.name, retired.sid, retired.epoch), (None, None, 1));
    // It was noted, and whether it was made is open.
    given.seen.rooms = Seen::Known(Vec::new());
    let room = given.status().room.as_mut().unwrap();
    (room.sid, room.url, room.epoch) = (None, Some("wss://livekit".into()), 3);
    assert!(given.actions().contains(&Action::DeleteRoom(given.identity().room_name(0))));
    let retired = given.plan().status.room.unwrap();
    let server = retired.url.as_deref();
    assert_eq!((retired.name, server, retired.epoch), (None, Some("wss://livekit"), 4));
}

#[test]
fn a_room_of_anothers_that_status_names_is_left_alone_and_no_name_of_ours_is_used_again() {
    let mut given = Given::standby();
    given.seen.rooms = Seen::Known(Vec::new());
    let room = given.status().room.as_mut().unwrap();
    (room.name, room.epoch) = (Some("memorial-another-0".into()), 3);
    let made = given.plan().status.room.unwrap();
    assert_eq!((made.name, made.epoch), (Some(given.identity().room_name(3)), 3));
}

#[test]
fn an_object_whose_room_was_deleted_waits_until_it_cannot_come_back() {
    let lets_go = |seconds: i64| {
        let mut given = Given::idle().deleted();
        given.status().mux = None;
        given.seen.stream = Seen::NotAsked;
        let deleted_at = Some(given.ago(seconds));
        given.status().room = Some(RoomStatus { epoch: 1, deleted_at, ..RoomStatus::default() });
        given.actions() == [Action::RemoveFinalizer]
    };
    assert!(!lets_go(7));
    assert!(lets_go(8));
}

#[test]
fn a_server_binds_for_five_minutes() {
    let url = |seconds: i64, open: bool| {
        let mut given = Given::idle();
        given.seen.rooms = Seen::Failed(silence());
        let deleted_at = Some(given.ago(seconds));
        given.status().room = Some(RoomStatus {
            epoch: 1,
            url: Some("wss://old".into()),
            name: open.then(|| given.identity().room_name(1)),
            deleted_at,
            ..RoomStatus::default()
        });
        given.plan().status.room.unwrap().url
    };
    assert!(url(300, false).is_some());
    assert!(url(301, false).is_none());
    assert!(url(301, true).is_some());
}

#[test]
fn a_lost_create_of_a_stream_is_given_up_after_two_searches() {
    let searched = |since: i64, absent: Option<i64>, marked: bool, change: fn(&mut Given)| {
        let mut given = Given::idle();
        change(&mut given);
        let intent = CreateIntent { since: given.ago(since), absent_since: absent.map(|ago| given.ago(ago)) };
        given.status().mux = Some(MuxStatus { creating: Some(intent), ..MuxStatus::default() });
        let Seen::Known(Some(stream)) = std::mem::replace(&mut given.seen.stream, Seen::NotAsked) else {
            panic!()
        };
        given.seen.marked = Seen::Known(if marked { vec![stream] } else { Vec::new() });
        let mux = given.plan().status.mux.unwrap();
        let intent = mux.creating.map(|intent| intent.absent_since.is_some());
        (mux.stream_id, intent)
    };
    let creating = |since, absent, marked| searched(since, absent, marked, |_| {});
    assert_eq!(creating(34, None, false), (None, Some(false)));
    assert_eq!(creating(35, None, false), (None, Some(true)));
    assert_eq!(creating(60, Some(4), false), (None, Some(true)));
    assert_eq!(creating(60, Some(5), false), (None, None));
    assert_eq!(creating(60, Some(5), true), (Some("stream".into()), None));
    // While Mux hangs the list of before is told on: it is no search after the grace time, and no second one.
    let old = |given: &mut Given| given.seen.marked_age = Duration::from_secs(20);
    assert_eq!(searched(54, None, false, old), (None, Some(false)));
    assert_eq!(searched(55, None, false, old), (None, Some(true)));
    assert_eq!(searched(90, Some(19), false, old), (None, Some(true)));
    assert_eq!(searched(90, Some(20), false, old), (None, None));
    let jumped = |given: &mut Given| given.seen.creating_for = Duration::from_secs(34);
    assert_eq!(searched(3_600, Some(60), false, jumped), (None, Some(true)), "the wall clock jumped ahead");
}

#[test]
fn a_stream_is_made_where_one_is_wanted() {
    let makes = |change: fn(&mut Given)| {
        let mut given = Given::idle();
        given.status().mux = None;
        given.seen.stream = Seen::NotAsked;
        change(&mut given);
        let actions = given.actions();
        actions.iter().any(|action| matches!(action, Action::CreateStream(_)))
    };
    assert!(makes(|_| {}));
    assert!(!makes(|given| given.object.spec.state = Some(State::Ended)));
    assert!(!makes(|given| given.fails(Effect::making(Part::Stream), 9)));
    assert!(!makes(|given| {
        given.object.metadata.deletion_timestamp = Some(given.ago(1));
        given.seen.pods = Given::standby().seen.pods;
    }));
}

#[test]
fn a_second_stream_goes_unless_somebody_sends_to_it() {
    let surplus = |status: LiveStreamStatus, held: bool| {
        let mut given = Given::idle();
        let ours = given.stream().clone();
        let second = crate::providers::mux::LiveStream { id: "second".into(), status, ..ours.clone() };
        given.seen.marked = Seen::Known(vec![ours, second]);
        if held {
            given.fails(Effect::ending(Part::Stream), 9);
        }
        given.actions()
    };
    assert_eq!(surplus(LiveStreamStatus::Idle, false), [Action::DeleteStream("second".into())]);
    assert_eq!(surplus(LiveStreamStatus::Active, false), []);
    assert_eq!(surplus(LiveStreamStatus::Idle, true), []);
}

#[test]
fn settings_that_drifted_are_set_again_but_the_latency_only_at_rest() {
    use crate::providers::mux::LatencyMode;
    let update = |mut given: Given, change: fn(&mut crate::providers::mux::LiveStream)| {
        change(given.stream());
        given.actions().into_iter().find_map(|action| match action {
            Action::UpdateStream(_, update) => Some((update.latency_mode, update.reconnect_window_seconds)),
            _ => None,
        })
    };
    assert_eq!(update(Given::standby(), |_| {}), None);
    assert_eq!(
        update(Given::standby(), |stream| stream.reconnect_window_seconds = Some(60)),
        Some((None, Some(120)))
    );
    let latency = |stream: &mut crate::providers::mux::LiveStream| stream.latency_mode = LatencyMode::Low;
    assert_eq!(update(Given::standby(), latency), Some((Some(LatencyMode::Standard), None)));
    assert_eq!(update(Given::live(Via::Compositor), latency), None);
    let open = |stream: &mut crate::providers::mux::LiveStream| {
        (stream.latency_mode, stream.status) = (LatencyMode::Low, LiveStreamStatus::Active);
    };
    assert_eq!(update(Given::standby(), open), None, "its recording is still open");
}

#[test]
fn a_test_streams_end_is_the_end() {
    let ended = |test: bool, given: Given| {
        let mut given = given;
        given.stream().status = LiveStreamStatus::Disabled;
        given.stream().test = test;
        let plan = given.plan();
        let enables = plan.actions.contains(&Action::EnableStream("stream".into()));
        (plan.status.ended_session, enables)
    };
    assert_eq!(ended(true, Given::live(Via::Compositor)), (Some(1), false));
    assert_eq!(ended(false, Given::live(Via::Compositor)), (None, true));
    assert_eq!(ended(true, Given::standby()), (None, true));
    assert_eq!(ended(true, Given::standby().ask(State::Live)), (None, true));
}
