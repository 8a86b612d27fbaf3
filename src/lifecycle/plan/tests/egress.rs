//! LiveKit's egress.

use super::*;
use crate::lifecycle::in_flight::{StartSeen, WorkerSeen};
use crate::lifecycle::sight::Sight;
use crate::providers::livekit::{Egress, EgressStatus as Word, Participant, ParticipantKind};
use crate::providers::{ErrorClass, ProviderError};

fn ready() -> Given {
    Given::standby().ask(State::Live)
}

fn record() -> Egress {
    Given::live(Via::LiveKit).record().clone()
}

fn list(egresses: Vec<Egress>) -> Seen<Vec<Egress>> {
    Seen::Known(egresses)
}

fn in_room(identities: &[&str]) -> Seen<Vec<Participant>> {
    let participant = |identity: &&str| Participant {
        identity: (*identity).to_owned(),
        sid: String::new(),
        kind: ParticipantKind::Standard,
        tracks: Vec::new(),
        joined_at: 0,
    };
    Seen::Known(identities.iter().map(participant).collect())
}

/// A start of so many seconds ago whose answer is not known.
fn in_doubt(seconds: i64) -> Given {
    let mut given = Given::live(Via::LiveKit);
    let since = given.ago(seconds);
    given.egress().id = None;
    given.egress().status = None;
    given.egress().starting = Some(CreateIntent { since, absent_since: None });
    given.seen.worker = None;
    given
}

#[test]
fn an_egress_starts_once_all_before_it_runs() {
    let given = ready();
    let room = given.identity().room_name(0);
    let plan = given.plan();
    assert_eq!(plan.actions, [Action::StartEgress { room }]);
    let egress = plan.status.egress.unwrap();
    assert!(egress.starting.is_some() && egress.destination.is_some());
    let hindered: [fn(&mut Given); 4] = [
        |given| given.seen.egresses = Seen::Failed(silence()),
        |given| given.seen.start = StartSeen::InFlight,
        |given| given.seen.egresses = list(vec![record()]),
        |given| given.fails(Effect::making(Part::Sender), 9),
    ];
    for (number, hinder) in hindered.iter().enumerate() {
        let mut given = ready();
        hinder(&mut given);
        let actions = given.actions();
        assert!(!actions.iter().any(|action| matches!(action, Action::StartEgress { .. })), "{number}");
    }
}

#[test]
fn the_answer_to_a_start_is_taken_down() {
    let mut given = in_doubt(5);
    given.seen.egresses = list(Vec::new());
    let started = Egress { status: Word::Starting, ..record() };
    given.seen.start = StartSeen::Finished(Ok(Box::new(started)));
    let egress = given.plan().status.egress.unwrap();
    assert_eq!((egress.id.as_deref(), egress.status.as_deref()), (Some("EG_1"), Some("Starting")));
    assert_eq!((egress.starting, egress.started_at), (None, Some(Time(given.now))));

    let failed = |class: ErrorClass| {
        let mut given = in_doubt(5);
        given.seen.egresses = list(Vec::new());
        given.seen.start = StartSeen::Finished(Err(ProviderError { class, ..silence() }));
        given.fails(Effect::making(Part::Sender), 9);
        let egress = given.plan().status.egress.unwrap();
        (egress.error.as_deref() == Some("silence"), egress.starting.is_some())
    };
    assert_eq!(failed(ErrorClass::InDoubt), (true, true));
    assert_eq!(failed(ErrorClass::Busy), (true, false));
}

#[test]
fn a_start_in_doubt_is_found_again_or_given_up_late() {
    let found = |given: &Given| {
        let egress = given.plan().status.egress.unwrap();
        let absent = egress.starting.map(|intent| intent.absent_since.is_some());
        (egress.id.is_some(), absent)
    };
    assert_eq!(found(&in_doubt(5)), (true, None));
    let hidden = |seconds: i64| {
        let mut given = in_doubt(seconds);
        given.seen.egresses = list(Vec::new());
        given
    };
    assert_eq!(found(&hidden(99)), (false, Some(false)));
    assert_eq!(found(&hidden(100)), (false, Some(true)));
    let mut under_way = in_doubt(9);
    under_way.seen.start = StartSeen::InFlight;
    assert_eq!(found(&under_way), (false, Some(false)));
    let mut under_way = in_doubt(10);
    under_way.seen.start = StartSeen::InFlight;
    assert_eq!(found(&under_way), (true, None));
    let mut under_way = hidden(200);
    under_way.seen.start = StartSeen::InFlight;
    assert_eq!(found(&under_way), (false, Some(false)), "it may still come");
    let others: [fn(&mut Egress); 6] = [
        |egress| egress.room_name = "another".into(),
        |egress| egress.room_id = "RM_9".into(),
        |egress| egress.identity = Some("lectern".into()),
        |egress| egress.redacted_urls = vec!["rtmp://elsewhere".into()],
        |egress| egress.redacted_urls.clear(),
        |egress| egress.status = Word::Complete,
    ];
    for (number, other) in others.iter().enumerate() {
        let mut given = in_doubt(20);
        other(given.record());
        assert!(!found(&given).0, "{number}: it is somebody else's, or over");
    }
    let ours: [fn(&mut Egress); 2] = [|egress| egress.room_id.clear(), |egress| egress.identity = None];
    for own in ours {
        let mut given = in_doubt(20);
        own(given.record());
        assert!(found(&given).0);
    }
    let mut lost = in_doubt(20);
    lost.egress().lost = vec!["EG_1".into()];
    assert!(!found(&lost).0, "it was given up");
    let mut nameless = in_doubt(200);
    nameless.record().status = Word::Starting;
    nameless.record().redacted_urls.clear();
    assert_eq!(found(&nameless), (false, Some(false)), "nobody knows whose it is");
    let mut over = nameless.ask(State::Ended);
    assert_eq!(found(&over), (false, Some(false)), "it may send to the stream that there is");
    over.status().mux.as_mut().unwrap().stream_id = None;
    let since = over.ago(5);
    over.status().mux.as_mut().unwrap().creating = Some(CreateIntent { since, absent_since: None });
    assert_eq!(found(&over), (false, Some(false)), "or to the one that is being made");
    over.status().mux = None;
    over.seen.marked = Seen::Known(Vec::new());
    assert_eq!(found(&over), (false, Some(true)), "there is no stream to which it could send");
    assert_eq!(found(&over.ask(State::Live)), (false, Some(false)), "there will be another");
}

#[test]
fn an_egress_that_is_over_is_followed_by_another() {
    let mut given = Given::live(Via::LiveKit);
    given.record().status = Word::Complete;
    given.record().error = "source closed".into();
    let plan = given.plan();
    assert!(matches!(plan.actions[..], [Action::StartEgress { .. }]));
    assert_eq!(given.events(), ["EgressEnded"]);
    assert_eq!(given.plan().status.egress.unwrap().error.as_deref(), Some("source closed"));
    let ended = given.ask(State::Standby);
    assert_eq!(ended.events(), [""; 0], "as was asked");
}

#[test]
fn an_egress_that_the_list_does_not_show_is_stopped_and_given_up() {
    let mut given = Given::live(Via::LiveKit);
    given.seen.egresses = list(Vec::new());
    let plan = given.plan();
    assert!(plan.actions.contains(&Action::StopSurplus("EG_1".into())));
    assert_eq!(plan.status.egress.unwrap().lost, ["EG_1"]);
    given.seen.start = StartSeen::Finished(Ok(Box::new(record())));
    assert_eq!(given.actions(), [], "the answer is younger than the list");
}

#[test]
fn what_was_given_up_is_remembered_until_it_is_over() {
    let mut given = Given::live(Via::LiveKit);
    let lost = |given: &Given| given.plan().status.egress.unwrap().lost;
    given.egress().lost = vec!["EG_0".into()];
    assert_eq!(lost(&given), ["EG_0"]);
    let over = Egress { id: "EG_0".into(), status: Word::Complete, ..record() };
    given.seen.egresses = list(vec![record(), over.clone()]);
    assert!(lost(&given).is_empty());
    let runs = Egress { status: Word::Active, ..over };
    given.seen.egresses = list(vec![record(), runs]);
    assert_eq!(lost(&given), ["EG_0"]);
    assert_eq!(given.actions(), [Action::StopSurplus("EG_0".into())]);
    given.seen.stops = ["EG_0".to_owned()].into();
    assert_eq!(given.actions(), []);
    given.egress().lost = (0..25).map(|number| format!("EG_L{number}")).collect();
    assert_eq!(lost(&given).len(), 20);
    assert_eq!(lost(&given)[0], "EG_L5", "the oldest are forgotten");
    let listed = |number| Egress { id: format!("EG_L{number}"), ..record() };
    given.seen.egresses = list((0..25).map(listed).collect());
    assert_eq!(lost(&given).len(), 25, "but for those that LiveKit lists");
}

/// Whoever may write status may name any.
#[test]
fn an_egress_of_another_room_is_not_stopped_though_status_names_it() {
    let mut given = Given::live(Via::LiveKit);
    given.egress().lost = vec!["EG_1".into()];
    for record in [true, false] {
        if record {
            given.egress().lost.clear();
        }
        given.record().room_name = "memorial-another-0".into();
        given.object.spec.state = Some(State::Ended);
        let plan = given.plan();
        let stops = |action: &Action| matches!(action, Action::StopEgress(_) | Action::StopSurplus(_));
        assert!(!plan.actions.iter().any(stops), "{:?}", plan.actions);
        assert_eq!(plan.status.egress.unwrap().id, None);
        given.egress().lost = vec!["EG_1".into()];
    }
}

#[test]
fn a_worker_is_replaced_only_when_somebody_else_says_so_too() {
    let replaced = |change: &dyn Fn(&mut Given)| {
        let mut given = Given::live(Via::LiveKit);
        change(&mut given);
        given.events().contains(&"EgressLost")
    };
    let misses = |given: &mut Given, misses: u32| {
        given.seen.worker = Some(WorkerSeen { id: "EG_1".into(), misses, ..WorkerSeen::default() });
    };
    let mux_says_no = |given: &mut Given| given.seen.mux_connected = Some(false);
    assert!(!replaced(&|given| misses(given, 2)));
    assert!(!replaced(&mux_says_no));
    assert!(replaced(&|given| {
        misses(given, 2);
        mux_says_no(given);
    }));
    assert!(!replaced(&|given| misses(given, 9)), "a player sees it");
    assert!(!replaced(&|given| {
        misses(given, 3);
        given.seen.sight = Sight::NotLooked;
    }));
    assert!(replaced(&|given| {
        misses(given, 4);
        given.seen.sight = Sight::NotLooked;
    }));
    // What grows may be Mux's slate.
    let slate = |there: &'static [&str]| {
        move |given: &mut Given| {
            misses(given, 4);
            given.stream().latency_mode = crate::providers::mux::LatencyMode::Low;
            given.seen.participants = in_room(there);
            given.egress().started_at = Some(given.ago(60));
        }
    };
    assert!(replaced(&slate(&["program"])));
    assert!(!replaced(&slate(&["program", "EG_1"])), "its handler may go on");
    let leaves = |seconds: i64| {
        move |given: &mut Given| {
            given.seen.participants = in_room(&["program"]);
            mux_says_no(given);
            let at = given.ago(seconds);
            given.egress().started_at = Some(at);
        }
    };
    assert!(replaced(&leaves(35)));
    assert!(!replaced(&leaves(34)), "it may join just now");
    assert!(!replaced(&|given| {
        leaves(60)(given);
        given.seen.participants = in_room(&["program", "EG_1"]);
    }));
}

#[test]
fn an_egress_that_does_not_stop_is_given_up() {
    let stopping = |seconds: i64, failed: bool, word: Word| {
        let mut given = Given::live(Via::LiveKit);
        let since = Some(given.ago(seconds));
        given.egress().stopping_since = since;
        given.record().status = word;
        if failed {
            given.fails(Effect::ending(Part::Sender), 0);
        }
        given.events().contains(&"EgressLost")
    };
    assert!(!stopping(45, true, Word::Active));
    assert!(stopping(46, true, Word::Active));
    assert!(!stopping(46, false, Word::Active), "it may never have been sent");
    assert!(stopping(46, false, Word::Ending));
}

#[test]
fn an_egress_with_a_key_of_before_or_that_reaches_nobody_is_stopped() {
    let stop = Action::StopEgress("EG_1".into());
    let mut given = Given::live(Via::LiveKit);
    given.record().redacted_urls = vec!["rtmp://elsewhere".into()];
    given.egress().destination =
        Some(crate::service::stream_key::fingerprint_of_redacted("rtmp://elsewhere"));
    assert!(given.actions().contains(&stop));
    assert_eq!(given.events(), ["StreamKeyChanged"]);
    assert_eq!(given.plan().status.egress.unwrap().stopping_since, Some(Time(given.now)));

    let dark = |seconds: i64, connected: bool, change: fn(&mut Given)| {
        let mut given = Given::live(Via::LiveKit);
        given.egress().dark_since = Some(given.ago(seconds));
        given.record().destination_connected = connected;
        change(&mut given);
        given.events().contains(&"EgressStuck")
    };
    assert!(!dark(90, false, |_| {}));
    assert!(dark(91, false, |_| {}));
    assert!(!dark(91, true, |_| {}), "it is connected, and nobody says that nothing arrives");
    assert!(!dark(35, true, |given| given.seen.mux_connected = Some(false)));
    assert!(dark(36, true, |given| given.seen.mux_connected = Some(false)));
    let still = |given: &mut Given| given.seen.sight = Sight::Still(Duration::from_secs(60));
    assert!(!dark(91, true, still), "Mux takes it from a worker that answers");
    assert!(dark(36, true, |given| {
        given.seen.sight = Sight::Still(Duration::from_secs(60));
        given.seen.worker.as_mut().unwrap().misses = 1;
    }));
    assert!(dark(36, true, |given| {
        given.seen.sight = Sight::Still(Duration::from_secs(60));
        given.seen.stream = Seen::NotAsked;
    }));
    assert!(!dark(91, false, |given| given.egress().started_at = Some(given.ago(60))), "it is new");
    assert!(!dark(91, false, |given| given.egress().dark_since = None));
    assert!(
        dark(-60, false, |given| given.egress().started_at = Some(given.ago(91))),
        "a clock that went back left a time in the future"
    );
}

#[test]
fn a_worker_is_asked_where_its_answer_is_old_or_was_none() {
    let asked = |worker: Option<WorkerSeen>, connected: bool| {
        let mut given = Given::live(Via::LiveKit);
        given.seen.worker = worker;
        given.record().destination_connected = connected;
        given.actions().contains(&Action::AskWorker("EG_1".into()))
    };
    let worker = || WorkerSeen { id: "EG_1".into(), ..WorkerSeen::default() };
    assert!(!asked(Some(worker()), true));
    assert!(asked(None, true));
    assert!(asked(Some(WorkerSeen { due: true, ..worker() }), true));
    assert!(asked(Some(WorkerSeen { misses: 1, ..worker() }), true));
    assert!(!asked(Some(WorkerSeen { misses: 1, asked: true, ..worker() }), true));
    assert!(asked(Some(WorkerSeen { id: "EG_0".into(), ..worker() }), true), "that was another one");
    assert!(!asked(None, false));
}

#[test]
fn an_end_stops_the_egress_once_and_asks_for_its_worker() {
    let given = || Given::live(Via::LiveKit).ask(State::Standby);
    let stop = [Action::StopEgress("EG_1".into())];
    assert_eq!(given().actions(), stop);
    let mut stopped = given();
    stopped.seen.stops = ["EG_1".to_owned()].into();
    assert_eq!(stopped.actions(), []);
    let mut ends = given();
    ends.record().status = Word::Ending;
    assert_eq!(ends.actions(), []);
    assert!(ends.plan().status.egress.unwrap().stopping_since.is_some());
    let mut silent = given();
    silent.seen.egresses = Seen::Failed(silence());
    assert_eq!(silent.actions(), stop, "a stop by its id reaches it all the same");
    let mut asked = given();
    asked.seen.worker = None;
    assert_eq!(asked.actions(), [Action::AskWorker("EG_1".into()), stop[0].clone()]);
}

#[test]
fn a_stop_that_hangs_is_given_up_and_mux_refuses_what_it_sends() {
    let hangs = |seconds: i64, answers: bool| {
        let mut given = Given::live(Via::LiveKit).ask(State::Standby);
        let since = given.ago(seconds);
        given.status().ending_since = Some(since.clone());
        given.egress().stopping_since = Some(since);
        given.seen.stops = ["EG_1".to_owned()].into();
        if !answers {
            given.seen.egresses = Seen::Failed(silence());
        }
        given.plan().status.egress.unwrap().lost == ["EG_1"]
    };
    assert!(!hangs(50, true));
    assert!(hangs(51, true));
    assert!(!hangs(20, false));
    assert!(hangs(21, false), "where LiveKit does not even answer");
}

#[test]
fn another_way_out_takes_over_only_once_the_first_has_stopped() {
    let mut given = Given::live(Via::LiveKit);
    given.pod_says().sender.state = memorialstream_compositor_protocol::SenderState::Connected;
    assert_eq!(given.actions(), [Action::StopSender { revision: 2 }]);
}

#[test]
fn an_end_stops_what_a_list_does_not_show_yet() {
    let mut given = in_doubt(3).ask(State::Ended);
    given.seen.start = StartSeen::Finished(Ok(Box::new(record())));
    given.seen.egresses = list(Vec::new());
    let ending_since = Some(given.ago(60));
    given.status().ending_since = ending_since;
    let plan = given.plan();
    assert!(plan.actions.contains(&Action::StopEgress("EG_1".into())), "{:?}", plan.actions);
    assert_eq!(plan.status.ended_at, None);
}

#[test]
fn what_is_known_of_earlier_senders_outlives_a_new_broadcast() {
    let mut given = ready();
    given.egress().lost = vec!["EG_0".into()];
    given.egress().revision = 6;
    let egress = given.plan().status.egress.unwrap();
    assert_eq!((egress.lost.as_slice(), egress.revision), (["EG_0".to_owned()].as_slice(), 6));
}

/// An egress of ours that status does not name still sends.
#[test]
fn the_compositor_sends_only_once_no_egress_does() {
    let mut given = ready();
    given.object.spec.egress = Given::live(Via::Compositor).object.spec.egress;
    given.seen.egresses = list(vec![record()]);
    let actions = given.actions();
    assert!(actions.contains(&Action::StopEgress("EG_1".into())), "{actions:?}");
    assert!(!actions.iter().any(|action| matches!(action, Action::StartSender { .. })), "{actions:?}");
}
