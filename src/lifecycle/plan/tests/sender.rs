//! The compositor's own sender, and the end of any.

use super::*;
use crate::providers::Secret;
use crate::world::CompositorError;
use memorialstream_compositor_protocol::{SenderState, SenderStatus};

fn ready() -> Given {
    let mut given = Given::standby().ask(State::Live);
    given.object.spec.egress = Given::live(Via::Compositor).object.spec.egress;
    given
}

fn starts(given: &Given) -> bool {
    given.actions().iter().any(|action| matches!(action, Action::StartSender { .. }))
}

#[test]
fn a_sender_starts_once_all_before_it_runs() {
    assert_eq!(ready().actions(), [Action::StartSender { revision: 1 }]);
    let status = ready().plan().status;
    assert!(status.started_at.is_some() && status.ended_at.is_none());
    let egress = status.egress.unwrap();
    assert_eq!((egress.via, egress.session, egress.attempt), (Some(Via::Compositor), Some(1), 1));
    let hindered: [fn(&mut Given); 7] = [
        |given| given.seen.rooms = Seen::Known(Vec::new()),
        |given| given.seen.pods[0].ready = false,
        |given| given.pod_says().publisher.connected = false,
        |given| given.pod_says().frame_age_milliseconds = Some(9_000),
        |given| given.stream().status = LiveStreamStatus::Disabled,
        |given| given.seen.credentials = None,
        |given| given.fails(Effect::making(Part::Sender), 9),
    ];
    for (number, hinder) in hindered.iter().enumerate() {
        let mut given = ready();
        hinder(&mut given);
        assert!(!starts(&given), "{number}");
    }
}

#[test]
fn without_mux_only_what_was_on_air_comes_back() {
    let silent = |mut given: Given| {
        given.seen.stream = Seen::Failed(silence());
        if let Some(Ok(compositor)) = &mut given.seen.compositor {
            compositor.sender = SenderStatus::default();
        }
        given
    };
    assert!(!starts(&silent(ready())));
    let mut on_air = silent(Given::live(Via::Compositor));
    assert!(starts(&on_air));
    on_air.seen.kept_key = None;
    assert!(!starts(&on_air), "nobody knows its key");
    let mut another = silent(Given::live(Via::Compositor));
    another.seen.kept_key.as_mut().unwrap().stream_id = "another".into();
    assert!(!starts(&another));
}

#[test]
fn attempts_keep_their_distance() {
    let started = |attempt: i64, seconds: i64| {
        let mut given = Given::live(Via::Compositor);
        given.pod_says().sender = SenderStatus::default();
        let at = given.ago(seconds);
        given.egress().attempt = attempt;
        given.egress().started_at = Some(at);
        starts(&given)
    };
    assert!(!started(1, 1) && started(1, 2));
    assert!(!started(3, 7) && started(3, 8));
    assert!(!started(9, 31) && started(9, 32), "half a minute at most");
    let refused = {
        let mut given = Given::live(Via::Compositor);
        given.pod_says().sender = SenderStatus::default();
        let at = given.ago(1);
        given.egress().attempt = 5;
        given.egress().started_at = Some(at);
        given.egress().status = None;
        given.egress().error = Some("no".into());
        given
    };
    assert!(starts(&refused), "what never came about has a back-off of its own");
}

#[test]
fn what_was_given_up_may_send_for_forty_seconds() {
    let given_up = |seconds: i64| {
        let mut given = ready();
        let at = Some(given.ago(seconds));
        given.egress().given_up_at = at;
        given
    };
    assert_eq!(given_up(39).actions(), [Action::DisableStream("stream".into())]);
    assert!(starts(&given_up(40)));
}

#[test]
fn a_sender_with_a_key_of_before_is_given_the_new_one() {
    let mut given = Given::live(Via::Compositor);
    assert_eq!(given.actions(), []);
    given.stream().stream_key = Secret::new("another");
    let plan = given.plan();
    assert!(plan.actions.contains(&Action::StartSender { revision: 3 }));
    assert!(plan.actions.iter().any(|action| matches!(action, Action::KeepStreamKey(_))));
    assert_eq!(given.events(), ["StreamKeyChanged"]);
}

#[test]
fn a_sender_that_reaches_nobody_is_started_again() {
    let dark = |seconds: i64| {
        let mut given = Given::live(Via::Compositor);
        given.stream().status = LiveStreamStatus::Idle;
        given.pod_says().sender.state = SenderState::Connecting;
        given.egress().dark_since = Some(given.ago(seconds));
        given
    };
    assert_eq!(dark(90).actions(), []);
    assert_eq!(dark(91).actions(), [Action::StartSender { revision: 3 }]);
    assert_eq!(dark(91).events(), ["SenderStuck"]);
    let mut wedged = dark(91);
    wedged.pod_says().sender.state = SenderState::Connected;
    assert_eq!(wedged.actions(), [Action::StartSender { revision: 3 }], "Mux decides what reaches it");
    let mut active = dark(91);
    active.stream().status = LiveStreamStatus::Active;
    assert_eq!(active.actions(), []);
    let mut lately = dark(91);
    let at = lately.ago(30);
    lately.egress().started_at = Some(at);
    assert_eq!(lately.actions(), [], "it was started again just now");
}

#[test]
fn what_the_sender_says_stands_in_status() {
    let mut given = Given::live(Via::Compositor);
    given.pod_says().sender.state = SenderState::Connecting;
    given.pod_says().sender.error = Some("no ingest".into());
    let egress = given.plan().status.egress.unwrap();
    assert_eq!((egress.status.as_deref(), egress.error.as_deref()), (Some("Connecting"), Some("no ingest")));
}

#[test]
fn an_end_waits_for_the_farewell_and_then_for_the_sender() {
    let ending = |seconds: i64| {
        let mut given = Given::live(Via::Compositor).ask(State::Ended);
        let since = Some(given.ago(seconds));
        given.status().ending_since = since;
        given
    };
    let stop = [Action::StopSender { revision: 2 }];
    assert_eq!(ending(4).actions(), []);
    assert_eq!(ending(5).actions(), stop);
    let no_farewell: [fn(&mut Given); 3] = [
        |given| given.stream().status = LiveStreamStatus::Idle,
        |given| given.pod_says().publisher.connected = false,
        |given| given.object.metadata.deletion_timestamp = Some(given.ago(1)),
    ];
    for change in no_farewell {
        let mut given = ending(0);
        change(&mut given);
        assert_eq!(given.actions(), stop, "nobody would see it");
    }
    assert!(ending(50).actions().starts_with(&stop) && ending(50).actions().len() == 1);
    let overdue = ending(51).plan();
    let ended =
        [stop[0].clone(), Action::CompleteStream("stream".into()), Action::DisableStream("stream".into())];
    assert!(overdue.actions.starts_with(&ended));
    assert_eq!(overdue.status.egress.unwrap().given_up_at, Some(Time(ending(51).now)));
}

#[test]
fn a_sender_that_has_stopped_ends_the_broadcast() {
    let mut given = Given::live(Via::Compositor).ask(State::Ended);
    let since = Some(given.ago(10));
    given.status().ending_since = since;
    given.pod_says().sender = SenderStatus::default();
    let plan = given.plan();
    assert!(
        plan.actions
            .starts_with(&[Action::CompleteStream("stream".into()), Action::DisableStream("stream".into())])
    );
    let status = plan.status;
    assert_eq!((status.ended_at, status.ending_since), (Some(Time(given.now)), None));
    assert_eq!((status.live_session, status.ended_session), (Some(1), Some(1)));
    let egress = status.egress.unwrap();
    assert_eq!((egress.status.as_deref(), egress.given_up_at), (Some("Complete"), None));
}

/// It came about between two passes, the second of which is to end it.
#[test]
fn a_sender_that_was_seen_only_as_it_is_stopped_came_about() {
    let mut given = Given::live(Via::Compositor).ask(State::Idle);
    given.egress().status = None;
    assert_eq!(given.plan().status.egress.unwrap().status.as_deref(), Some("Connected"));
}

/// The pod never answered since it was told to send.
#[test]
fn a_sender_that_may_still_send_as_it_is_given_up_may_have_been_seen() {
    let mut given = Given::live(Via::Compositor).ask(State::Idle);
    given.seen.compositor = Some(Err(CompositorError::Unreachable("silence".into())));
    given.seen.stream = Seen::Failed(silence());
    given.status().live_session = None;
    given.status().ending_since = Some(given.ago(51));
    given.egress().status = None;
    let status = given.plan().status;
    assert_eq!((status.ended_at.clone(), status.live_session), (Some(Time(given.now)), Some(1)));
    // Ended is asked for later.
    given.object.spec.state = Some(State::Ended);
    given.object.status = Some(status);
    assert_eq!(given.plan().status.ended_session, Some(1));
}

#[test]
fn the_same_stop_again_is_the_same_request() {
    let mut given = Given::live(Via::Compositor).ask(State::Standby);
    assert_eq!(given.actions(), [Action::StopSender { revision: 2 }]);
    given.egress().revision = 2;
    assert_eq!(given.actions(), [Action::StopSender { revision: 2 }]);
    given.egress().revision = 0;
    assert_eq!(given.actions(), [Action::StopSender { revision: 2 }]);
}

#[test]
fn a_sender_that_belongs_to_no_broadcast_is_stopped() {
    let mut given = Given::live(Via::Compositor);
    given.status().ended_at = Some(given.ago(5));
    assert_eq!(given.actions(), [Action::StopSender { revision: 2 }]);
}

#[test]
fn a_recording_that_is_still_open_is_completed_before_a_sender_starts() {
    let mut given = ready();
    given.stream().status = LiveStreamStatus::Active;
    assert_eq!(given.actions(), [Action::CompleteStream("stream".into())]);
}

#[test]
fn a_broadcast_that_reached_mux_belongs_to_its_session() {
    let mut given = Given::live(Via::Compositor);
    given.object.spec.session = Some(2);
    given.status().live_session = None;
    let status = given.plan().status;
    assert_eq!((status.live_session, status.egress.unwrap().session), (Some(2), Some(2)));
    given.stream().status = LiveStreamStatus::Idle;
    assert_eq!(given.plan().status.live_session, None);
    given.stream().status = LiveStreamStatus::Active;
    let standby = given.ask(State::Standby).plan().status;
    assert_eq!(standby.live_session, Some(1), "a session that is raised while it ends has not begun");
}

/// Its bearer token cannot be read: whether it sends, nobody knows.
#[test]
fn a_pod_that_could_not_be_asked_is_not_taken_for_stopped() {
    let stopping = |change: &dyn Fn(&mut Given)| {
        let mut given = Given::live(Via::Compositor).ask(State::Standby);
        given.seen.compositor = None;
        change(&mut given);
        given.plan().status.ended_at.is_none()
    };
    assert!(stopping(&|_| {}));
    assert!(!stopping(&|given| given.seen.pods.clear()), "there is none");
}
