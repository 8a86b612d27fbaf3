//! The sender, and whether mourners see Program.

use super::*;

fn live_is_asked() -> Given {
    Given::standby().ask(State::Live)
}

#[test]
fn the_sender() {
    fn starting(given: &mut Given) {
        let since = given.ago(20);
        given.seen.egresses = Seen::Known(Vec::new());
        given.egress().id = None;
        given.egress().status = None;
        given.egress().starting = Some(CreateIntent { since, absent_since: None });
    }
    tells(
        live,
        Kind::EgressActive,
        &[
            (|_| {}, "True", Reason::Active, ""),
            (
                |given| given.object.spec.state = Some(State::Standby),
                "False",
                Reason::Stopping,
                "being stopped",
            ),
            (starting, "False", Reason::Searching, "is being searched for"),
            (
                |given| {
                    starting(given);
                    given.seen.start = StartSeen::InFlight;
                    given.egress().started_at = Some(given.ago(1));
                    given.egress().starting.as_mut().unwrap().since = given.ago(1);
                },
                "False",
                Reason::Starting,
                "is starting",
            ),
            (
                |given| given.record().destination_connected = false,
                "False",
                Reason::SenderLost,
                "not connected",
            ),
            (|given| given.record().error = "no ingest".into(), "True", Reason::Active, ""),
            (
                |given| {
                    given.record().status = Word::Starting;
                    given.record().error = "no ingest".into();
                },
                "False",
                Reason::Connecting,
                "no ingest",
            ),
            (
                |given| {
                    given.seen.worker =
                        Some(WorkerSeen { id: "EG_1".into(), misses: 2, ..WorkerSeen::default() })
                },
                "Unknown",
                Reason::NotAnswering,
                "does not answer",
            ),
            (
                |given| given.seen.egresses = Seen::Failed(silence()),
                "Unknown",
                Reason::ProviderNotAnswering,
                "silence",
            ),
        ],
    );
    tells(
        live_by_pod,
        Kind::EgressActive,
        &[
            (|_| {}, "True", Reason::Active, ""),
            (
                |given| {
                    given.pod_says().sender.state = SenderState::Connecting;
                    given.pod_says().sender.error = Some("no ingest".into());
                },
                "False",
                Reason::Connecting,
                "no ingest",
            ),
        ],
    );
    tells(
        live_is_asked,
        Kind::EgressActive,
        &[
            (
                |given| given.stream().status = LiveStreamStatus::Disabled,
                "False",
                Reason::Waiting,
                "once the Mux",
            ),
            (|given| given.fails(Effect::making(Part::Sender), 9), "False", Reason::Refused, "words"),
            (|given| given.object.spec.state = Some(State::Idle), "False", Reason::NotRequested, ""),
            (
                |given| {
                    given.object.spec.state = Some(State::Idle);
                    // What sends belongs to no broadcast, and is being stopped.
                    let since = given.ago(3);
                    given.status().ending_since = Some(since);
                    given.pod_says().sender.state = SenderState::Connected;
                },
                "False",
                Reason::Stopping,
                "being stopped",
            ),
        ],
    );
    fn disabled(given: &mut Given) {
        given.stream().status = LiveStreamStatus::Disabled;
    }
    tells(live_is_asked, Kind::OnAir, &[(disabled, "False", Reason::Starting, "nothing reaches Mux yet")]);
}

#[test]
fn who_is_on_air() {
    fn low_latency(given: &mut Given) {
        given.object.spec.mux =
            Some(MuxSettings { latency_mode: Some(LatencyMode::Low), ..MuxSettings::default() });
    }
    fn still(given: &mut Given) {
        given.seen.sight = Sight::Still(Duration::from_secs(60));
    }
    tells(
        live,
        Kind::OnAir,
        &[
            (|_| {}, "True", Reason::OnAir, ""),
            (still, "False", Reason::PlaylistStalled, "playlist"),
            (
                |given| given.seen.mux_connected = Some(false),
                "False",
                Reason::Reconnecting,
                "Mux ends the broadcast at",
            ),
            (
                |given| given.record().destination_connected = false,
                "False",
                Reason::Reconnecting,
                "the egress is not connected",
            ),
            (
                |given| given.pod_says().frame_age_milliseconds = None,
                "False",
                Reason::ProgramStalled,
                "frozen",
            ),
            (
                |given| given.stream().status = LiveStreamStatus::Idle,
                "False",
                Reason::Connecting,
                "not active yet",
            ),
            (
                |given| {
                    given.stream().status = LiveStreamStatus::Idle;
                    given.record().destination_connected = false;
                },
                "False",
                Reason::Starting,
                "nothing reaches Mux",
            ),
            (|given| given.seen.stream = Seen::Failed(silence()), "True", Reason::OnAir, ""),
            (
                |given| {
                    given.seen.stream = Seen::Failed(silence());
                    given.seen.sight = Sight::NotLooked;
                },
                "Unknown",
                Reason::ProviderNotAnswering,
                "silence",
            ),
            // Mux's own slate makes the playlist grow.
            (
                |given| {
                    given.seen.stream = Seen::Failed(silence());
                    low_latency(given);
                },
                "Unknown",
                Reason::ProviderNotAnswering,
                "silence",
            ),
            (
                |given| {
                    given.seen.compositor = Some(Err(CompositorError::Unreachable("late".into())));
                },
                "Unknown",
                Reason::NotAnswering,
                "late",
            ),
            (
                |given| {
                    given.seen.worker =
                        Some(WorkerSeen { id: "EG_1".into(), misses: 2, ..WorkerSeen::default() })
                },
                "Unknown",
                Reason::NotAnswering,
                "worker",
            ),
        ],
    );
    tells(Given::standby, Kind::OnAir, &[(|_| {}, "False", Reason::NotRequested, "")]);
}

/// Mux waits two minutes from when the sender was lost, which is told once and does not move.
#[test]
fn it_is_told_until_when_a_sender_may_come_back() {
    let mut given = live();
    given.seen.mux_connected = Some(false);
    let told = |given: &Given, seconds: i64| {
        let at = (given.now + k8s_openapi::jiff::SignedDuration::from_secs(seconds)).to_string();
        let message = given.says(Kind::OnAir).message;
        assert!(message.contains(&at), "{message} {at}");
    };
    told(&given, 120);
    given.egress().dark_since = Some(given.ago(30));
    told(&given, 90);
}

/// The clock of the dark runs on while nobody can say, and is reset by mourners who see Program alone.
#[test]
fn since_when_it_is_dark_is_noted_once() {
    let mut given = live();
    let since = |given: &Given| given.described().egress.unwrap().dark_since;
    assert_eq!(since(&given), None);
    let unknown = |given: &mut Given| {
        given.seen.stream = Seen::Failed(silence());
        given.seen.sight = Sight::Still(Duration::from_secs(60));
        assert_eq!(given.says(Kind::OnAir).status, "Unknown");
    };
    let mut blind = live();
    unknown(&mut blind);
    assert_eq!(since(&blind), None, "nobody says that it is dark");
    given.seen.mux_connected = Some(false);
    assert_eq!(since(&given), Some(given.ago(0)));
    given.egress().dark_since = Some(given.ago(30));
    assert_eq!(since(&given), Some(given.ago(30)));
    unknown(&mut given);
    assert_eq!(since(&given), Some(given.ago(30)));
    assert_eq!(Given::standby().described().egress.and_then(|egress| egress.dark_since), None);
}
