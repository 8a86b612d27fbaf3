//! What follows from all of it.

use super::*;
use crate::api::status::Held;

#[test]
fn all_is_well() {
    for given in [live(), live_by_pod()] {
        let told = given.described();
        assert_eq!((told.state, told.session, told.message.clone()), (Some(State::Live), Some(1), None));
        for kind in [
            Kind::CredentialsValid,
            Kind::MuxStreamReady,
            Kind::RoomReady,
            Kind::CompositorReady,
            Kind::EgressActive,
            Kind::OnAir,
            Kind::ReadyToGoLive,
            Kind::Ready,
        ] {
            assert_eq!(given.says(kind).status, "True", "{kind:?}");
        }
        for kind in [Kind::Reconciling, Kind::Stalled, Kind::EndingSoon] {
            assert_eq!(given.says(kind).status, "False", "{kind:?}");
        }
    }
}

#[test]
fn whether_it_is_ready_to_go_live() {
    fn absent(given: &mut Given) {
        let source = |name: &str, state| Source {
            name: name.into(),
            state,
            input_age_milliseconds: None,
            has_audio: false,
        };
        given.pod_says().sources =
            vec![source("lectern", SourceState::Absent), source("wide", SourceState::Live)];
    }
    tells(
        Given::standby,
        Kind::ReadyToGoLive,
        &[
            (|_| {}, "True", Reason::Ready, ""),
            (absent, "False", Reason::CamerasMissing, "joined: lectern"),
            (
                |given| given.seen.slug_holder = Some("default/john".into()),
                "False",
                Reason::SlugTaken,
                "default/john",
            ),
            (|given| given.status().ended_session = Some(1), "False", Reason::SessionEnded, "session to 2"),
            (
                |given| given.fails(Effect::making(Part::Key), 30),
                "False",
                Reason::Refused,
                "cannot be started again: the provider's words",
            ),
            (|given| given.seen.set_aside = Some(set_aside()), "False", Reason::SecretNotFound, "no Secret"),
            (
                |given| {
                    given.status().mux = None;
                    given.seen.stream = Seen::NotAsked;
                },
                "False",
                Reason::MuxStreamMissing,
                "being created",
            ),
            (
                |given| {
                    absent(given);
                    let Seen::Known(rooms) = &mut given.seen.rooms else { panic!() };
                    let older = LiveKitRoom { name: "older".into(), ..rooms[0].clone() };
                    rooms.push(older);
                },
                "False",
                Reason::CamerasMissing,
                "give it a new token",
            ),
        ],
    );
    let mut given = Given::standby();
    absent(&mut given);
    assert!(!given.says(Kind::ReadyToGoLive).message.contains("token"), "the room is the present one");
    tells(
        Given::idle,
        Kind::ReadyToGoLive,
        &[
            (|_| {}, "True", Reason::Ready, "from Standby on"),
            (|given| given.object.spec.session = Some(2), "True", Reason::Ready, "from Standby on"),
        ],
    );
}

#[test]
fn what_a_person_must_mend_is_stalled() {
    fn refused(given: &mut Given, terminal: bool) {
        given.fails(Effect::making(Part::Room), 9);
        given.seen.backoffs.values_mut().for_each(|backoff| backoff.terminal = terminal);
    }
    for (kind, truth) in [(Kind::Stalled, "True"), (Kind::Ready, "False")] {
        tells(
            Given::standby,
            kind,
            &[
                (|given| refused(given, true), truth, Reason::Refused, "words"),
                (
                    |given| given.seen.slug_holder = Some("default/john".into()),
                    truth,
                    Reason::SlugTaken,
                    "default/john",
                ),
                (
                    |given| given.seen.access = Access::Unusable(set_aside()),
                    truth,
                    Reason::SecretNotFound,
                    "no Secret",
                ),
            ],
        );
    }
    tells(
        Given::standby,
        Kind::Stalled,
        &[(|given| refused(given, false), "False", Reason::Progressing, "")],
    );
    tells(Given::standby, Kind::Reconciling, &[(|given| refused(given, true), "False", Reason::Refused, "")]);
}

#[test]
fn where_it_rests() {
    fn paused(given: &mut Given) {
        given.object.metadata.annotations = Some([(PAUSED.to_owned(), "true".to_owned())].into());
    }
    tells(
        Given::standby,
        Kind::Ready,
        &[
            (|_| {}, "True", Reason::Standby, ""),
            (paused, "True", Reason::Paused, "remove it to go on"),
            (
                |given| {
                    paused(given);
                    given.seen.rooms = Seen::Known(Vec::new());
                },
                "True",
                Reason::Paused,
                "remove it to go on",
            ),
            (
                |given| given.seen.rooms = Seen::Known(Vec::new()),
                "False",
                Reason::Progressing,
                "being created",
            ),
        ],
    );
    tells(
        Given::idle,
        Kind::Ready,
        &[
            (|_| {}, "True", Reason::Idle, ""),
            (|given| given.object.spec.state = Some(State::Ended), "True", Reason::Ended, ""),
            (
                |given| {
                    given.object.spec.state = Some(State::Live);
                    given.status().ended_session = Some(1);
                },
                "True",
                Reason::SessionEnded,
                "session to 2 to go live again",
            ),
            (
                |given| {
                    given.object.spec.state = Some(State::Live);
                    given.object.spec.session = Some(2);
                    given.status().ended_session = Some(3);
                },
                "True",
                Reason::SessionEnded,
                "session 3 was Live and has ended; set spec.session to 4 to go live again",
            ),
            (
                |given| {
                    given.object.spec.state = Some(State::Live);
                    let since = given.ago(60);
                    let status = given.status();
                    status.ended_session = Some(1);
                    status.held =
                        Some(Held { state: Some(State::Live), session: None, sources: None, since });
                },
                "True",
                Reason::SessionEnded,
                "session to 2 and spec.state to Live",
            ),
            (
                |given| {
                    given.object.spec.state = Some(State::Live);
                    given.object.spec.session = Some(1_000_000);
                    given.status().ended_session = Some(1_000_000);
                },
                "True",
                Reason::SessionEnded,
                "make another MemorialStream",
            ),
            (
                |given| {
                    given.object.spec.state = Some(State::Live);
                    let (since, end) = (given.ago(600), given.ago(60));
                    given.object.spec.schedule =
                        Some(Schedule { end_at: Some(end), overrun_minutes: Some(0), ..Schedule::default() });
                    given.status().live_since = Some(since);
                },
                "True",
                Reason::EndAt,
                "session to 2",
            ),
            (
                |given| {
                    given.object.spec.state = Some(State::Live);
                    given.object.spec.limits = Some(Limits { live_minutes: Some(5), standby_minutes: None });
                    given.status().live_since = Some(given.ago(600));
                },
                "True",
                Reason::LiveLimit,
                "session to 2",
            ),
            (
                |given| {
                    given.object.spec.state = Some(State::Standby);
                    given.object.spec.limits = Some(Limits { live_minutes: None, standby_minutes: Some(5) });
                    given.status().standby_since = Some(given.ago(600));
                },
                "True",
                Reason::StandbyLimit,
                "to start again",
            ),
            (
                |given| given.stream().status = LiveStreamStatus::Idle,
                "False",
                Reason::Progressing,
                "disabled",
            ),
            (
                |given| given.seen.rooms = Seen::Failed(silence()),
                "False",
                Reason::Progressing,
                "brought about",
            ),
            (
                |given| given.seen.pods = Given::standby().seen.pods,
                "False",
                Reason::Progressing,
                "brought about",
            ),
        ],
    );
    tells(live, Kind::Ready, &[(|_| {}, "True", Reason::Live, "")]);
}

#[test]
fn what_waits_until_a_broadcast_is_over_is_told() {
    let waits = |change: Change| {
        let mut given = live();
        change(&mut given);
        given.says(Kind::Ready).message
    };
    assert_eq!(waits(|_| {}), "");
    let video = |given: &mut Given| {
        given.object.spec.video = Some(Video { height: Some(360), ..Video::default() });
    };
    assert!(waits(video).contains("spec.video"));
    let egress = |given: &mut Given| given.object.spec.egress.as_mut().unwrap().via = Some(Via::Compositor);
    assert!(waits(egress).contains("spec.egress"));
    let latency = |given: &mut Given| {
        given.object.spec.mux =
            Some(MuxSettings { latency_mode: Some(LatencyMode::Low), ..MuxSettings::default() });
    };
    assert!(waits(latency).contains("spec.mux.latencyMode"));
}

#[test]
fn a_limit_that_strikes_soon_is_told() {
    fn limited(given: &mut Given, minutes: i64) {
        let minutes = Some(minutes);
        given.object.spec.limits = Some(Limits { live_minutes: minutes, standby_minutes: minutes });
    }
    tells(
        live,
        Kind::EndingSoon,
        &[
            (|_| {}, "False", Reason::NotRequested, ""),
            (|given| limited(given, 20), "True", Reason::LiveLimit, "liveMinutes"),
            (|given| limited(given, 120), "False", Reason::NotRequested, ""),
            (
                |given| {
                    let end_at = Some(given.ago(-300));
                    given.object.spec.schedule =
                        Some(crate::api::spec::Schedule { end_at, ..Default::default() });
                },
                "True",
                Reason::EndAt,
                "endAt",
            ),
        ],
    );
    tells(
        Given::standby,
        Kind::EndingSoon,
        &[(|given| limited(given, 20), "True", Reason::StandbyLimit, "standbyMinutes")],
    );
    let mut given = live();
    limited(&mut given, 20);
    let message = given.described().message;
    assert_eq!(message, Some(given.says(Kind::EndingSoon).message), "where nothing is wrong");
}

#[test]
fn the_first_that_is_wrong_is_what_status_says() {
    let mut given = live();
    given.seen.mux_connected = Some(false);
    assert_eq!(given.described().message, Some(given.says(Kind::OnAir).message));
    given.record().destination_connected = false;
    assert_eq!(given.described().message, Some(given.says(Kind::EgressActive).message));
    given.seen.rooms = Seen::Failed(silence());
    assert_eq!(given.described().message.as_deref(), Some("silence"));
    given.seen.slug_holder = Some("default/john".into());
    assert_eq!(given.described().message, Some(given.says(Kind::Stalled).message));
}

#[test]
fn a_state_is_reached_once_all_that_it_needs_is_there() {
    let reached = |given: &Given| {
        let mut given_anew = Given { object: given.object.clone(), seen: given.seen.clone(), now: given.now };
        given_anew.status().state = None;
        given_anew.described().state
    };
    assert_eq!(reached(&Given::idle()), Some(State::Idle));
    assert_eq!(reached(&Given::standby()), Some(State::Standby));
    assert_eq!(reached(&live()), Some(State::Live));
    assert_eq!(reached(&Given::idle().ask(State::Ended)), Some(State::Ended));
    assert_eq!(reached(&live().ask(State::Standby)), None, "its sender still runs");
    assert_eq!(reached(&idle_is_asked()), None, "its pod still runs");
    assert_eq!(reached(&Given::idle().deleted()), None, "nobody waits for it");
    let mut given = Given::idle();
    given.status().ending_since = Some(given.ago(1));
    given.seen.egresses = Seen::Failed(silence());
    given.seen.slug_holder = Some("default/john".into());
    assert_eq!(reached(&given), None);
    let mut nothing = Given::idle().ask(State::Ended);
    nothing.status().mux = None;
    nothing.seen.stream = Seen::NotAsked;
    assert_eq!(reached(&nothing), Some(State::Ended), "there never was a stream");
    nothing.object.spec.state = Some(State::Idle);
    assert_eq!(reached(&nothing), None, "one is being made");
}
