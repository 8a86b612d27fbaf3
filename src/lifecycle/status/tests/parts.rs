//! Credentials, stream, room and compositor.

use super::*;

#[test]
fn credentials() {
    tells(
        live,
        Kind::CredentialsValid,
        &[
            (|_| {}, "True", Reason::Accepted, ""),
            (
                |given| given.seen.access = Access::Unusable(set_aside()),
                "False",
                Reason::SecretNotFound,
                "no Secret",
            ),
            (
                |given| given.seen.access = Access::Failed(refusal()),
                "False",
                Reason::CredentialsRefused,
                "refused",
            ),
            (
                |given| given.seen.access = Access::Failed(silence()),
                "Unknown",
                Reason::ProviderNotAnswering,
                "silence",
            ),
            (
                |given| given.seen.rooms = Seen::Failed(refusal()),
                "False",
                Reason::CredentialsRefused,
                "refused",
            ),
            (|given| given.seen.stream = Seen::Failed(silence()), "True", Reason::Accepted, ""),
            (
                |given| given.seen.set_aside = Some(set_aside()),
                "False",
                Reason::SecretNotFound,
                "before go on being used",
            ),
            (
                |given| {
                    given.seen.set_aside = Some(set_aside());
                    given.seen.rooms = Seen::Failed(refusal());
                },
                "False",
                Reason::SecretNotFound,
                "those that worked before are refused as well",
            ),
        ],
    );
}

#[test]
fn the_stream() {
    fn sought(given: &mut Given, absent_seconds: Option<i64>) {
        let creating =
            CreateIntent { since: given.ago(20), absent_since: absent_seconds.map(|ago| given.ago(ago)) };
        given.seen.stream = Seen::NotAsked;
        given.status().mux = Some(MuxStatus { creating: Some(creating), ..MuxStatus::default() });
    }
    tells(
        Given::standby,
        Kind::MuxStreamReady,
        &[
            (|_| {}, "True", Reason::Enabled, ""),
            (
                |given| given.stream().status = LiveStreamStatus::Disabled,
                "False",
                Reason::Enabling,
                "enabled",
            ),
            (
                |given| given.seen.stream = Seen::Failed(silence()),
                "Unknown",
                Reason::ProviderNotAnswering,
                "silence",
            ),
            (
                |given| given.seen.marked = Seen::Failed(silence()),
                "Unknown",
                Reason::ProviderNotAnswering,
                "silence",
            ),
            (|given| given.fails(Effect::making(Part::Stream), 9), "False", Reason::Refused, "words"),
            (|given| given.fails(Effect::ending(Part::Stream), 9), "False", Reason::Refused, "words"),
            (|given| given.stream().playback_ids.clear(), "False", Reason::PlaybackIdMissing, "stream"),
            (|given| sought(given, None), "False", Reason::Searching, "is being searched for"),
            (|given| sought(given, Some(2)), "False", Reason::Searching, "once more"),
            (
                |given| {
                    given.status().mux = None;
                    given.seen.stream = Seen::NotAsked;
                },
                "False",
                Reason::Creating,
                "being created",
            ),
            (
                |given| {
                    given.seen.stream = Seen::NotAsked;
                    given.said_before(Kind::MuxStreamReady, Truth::True, 60);
                },
                "True",
                Reason::Enabled,
                "",
            ),
        ],
    );
    tells(
        Given::idle,
        Kind::MuxStreamReady,
        &[
            (|_| {}, "True", Reason::Disabled, ""),
            (|given| given.stream().status = LiveStreamStatus::Idle, "False", Reason::Disabling, "disabled"),
            (
                |given| {
                    given.seen.stream = Seen::NotAsked;
                    given.said_before(Kind::MuxStreamReady, Truth::True, 60);
                },
                "True",
                Reason::Disabled,
                "",
            ),
        ],
    );
    tells(
        || Given::idle().deleted(),
        Kind::MuxStreamReady,
        &[
            (
                |given| {
                    given.said_before(Kind::MuxStreamReady, Truth::True, 60);
                    given.seen.stream = Seen::Known(None);
                    given.seen.rooms = Seen::Failed(silence());
                },
                "False",
                Reason::NotRequested,
                "",
            ),
            (|given| sought(given, None), "False", Reason::Searching, "is being searched for"),
        ],
    );
}

/// What was not looked at in this pass is told as it was.
#[test]
fn a_missing_playback_id_is_told_until_the_stream_is_seen_again() {
    let mut given = Given::idle();
    given.seen.stream = Seen::NotAsked;
    given.said_before(Kind::MuxStreamReady, Truth::False, 60);
    let before = given.status().conditions.last_mut().unwrap();
    (before.reason, before.message) = (Reason::PlaybackIdMissing.as_str().into(), "add one".into());
    let told = given.says(Kind::MuxStreamReady);
    assert_eq!((&*told.status, &*told.reason, &*told.message), ("False", "PlaybackIdMissing", "add one"));
}

#[test]
fn the_room() {
    tells(
        Given::standby,
        Kind::RoomReady,
        &[
            (|_| {}, "True", Reason::Exists, ""),
            (
                |given| {
                    let Seen::Known(rooms) = &mut given.seen.rooms else { panic!("no list") };
                    rooms[0].metadata.clear();
                },
                "True",
                Reason::Exists,
                "a device opened the room",
            ),
            (|given| given.seen.rooms = Seen::Known(Vec::new()), "False", Reason::Creating, "being created"),
            (
                |given| given.seen.rooms = Seen::Failed(silence()),
                "Unknown",
                Reason::ProviderNotAnswering,
                "silence",
            ),
            (|given| given.fails(Effect::making(Part::Room), 9), "False", Reason::Refused, "words"),
        ],
    );
    fn another(given: &mut Given) {
        let room = LiveKitRoom {
            name: given.identity().room_name(7),
            sid: "RM_7".into(),
            metadata: String::new(),
            created_at: 0,
        };
        given.seen.rooms = Seen::Known(vec![room]);
    }
    tells(
        idle_is_asked,
        Kind::RoomReady,
        &[
            (|_| {}, "False", Reason::Closing, "is being closed"),
            (|given| given.seen.rooms = Seen::Known(Vec::new()), "False", Reason::NotRequested, ""),
            (|given| given.fails(Effect::ending(Part::Room), 9), "False", Reason::Refused, "words"),
            (another, "False", Reason::Returned, "close the app"),
        ],
    );
}

#[test]
fn the_compositor() {
    fn ends(given: &mut Given, seconds: i64) {
        let pod = &mut given.seen.pods[0];
        pod.deleting = true;
        pod.gone_by = Some(given.now - k8s_openapi::jiff::SignedDuration::from_secs(seconds));
        given.seen.compositor = None;
    }
    tells(
        Given::standby,
        Kind::CompositorReady,
        &[
            (|_| {}, "True", Reason::Running, ""),
            (|given| given.fails(Effect::making(Part::Pod), 9), "False", Reason::Refused, "words"),
            (|given| given.seen.pods.clear(), "False", Reason::Creating, "pod is being created"),
            (
                |given| {
                    given.seen.pods.clear();
                    given.seen.recorded_pod = RecordedPod::Unknown;
                },
                "False",
                Reason::Creating,
                "does not say",
            ),
            (|given| ends(given, -10), "False", Reason::Creating, "is ending"),
            (|given| ends(given, 100), "False", Reason::Creating, "pod is being created"),
            (
                |given| given.seen.pods[0].complaint = Some(("CrashLoopBackOff".into(), "again".into())),
                "False",
                Reason::CrashLoopBackOff,
                "again",
            ),
            (
                |given| given.seen.compositor = Some(Err(CompositorError::Unauthorized)),
                "False",
                Reason::Unauthorized,
                "kubectl -n default delete pod",
            ),
            (
                |given| given.seen.compositor = Some(Err(CompositorError::Unreachable("late".into()))),
                "False",
                Reason::NotAnswering,
                "late",
            ),
            (
                |given| {
                    given.seen.pods[0].ready = false;
                    given.seen.compositor = Some(Err(CompositorError::Unreachable("late".into())));
                },
                "False",
                Reason::Starting,
                "is starting",
            ),
            (|given| given.seen.pods[0].ready = false, "False", Reason::Starting, "is starting"),
            (
                |given| given.pod_says().boot_error = Some("no room".into()),
                "False",
                Reason::BootDocument,
                "no room",
            ),
            (
                |given| given.pod_says().publisher.identity_taken = true,
                "False",
                Reason::IdentityTaken,
                "token",
            ),
            (
                |given| given.pod_says().publisher.connected = false,
                "False",
                Reason::NotPublishing,
                "not published",
            ),
            (
                |given| given.pod_says().frame_age_milliseconds = None,
                "False",
                Reason::ProgramStalled,
                "stands still",
            ),
        ],
    );
    tells(
        idle_is_asked,
        Kind::CompositorReady,
        &[
            (|_| {}, "False", Reason::NotRequested, ""),
            (|given| ends(given, 100), "False", Reason::PodHanging, "kubectl -n default delete pod"),
            (|given| ends(given, 10), "False", Reason::NotRequested, ""),
        ],
    );
}

#[test]
fn a_kubelets_complaint_keeps_its_word() {
    let words = [
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "Unschedulable",
    ];
    for (word, told) in words.map(|word| (word, word)).into_iter().chain([("Else", "PodNotRunning")]) {
        let mut given = Given::standby();
        given.seen.pods[0].complaint = Some((word.into(), "words".into()));
        assert_eq!(given.says(Kind::CompositorReady).reason, told);
    }
}

#[test]
fn a_camera_keeps_its_time_while_its_state_stays() {
    let mut given = Given::standby();
    given.pod_says().sources = vec![Source {
        name: "lectern".into(),
        state: SourceState::Live,
        input_age_milliseconds: Some(20),
        has_audio: true,
    }];
    let sources = |given: &Given| given.described().compositor.unwrap().sources;
    let first = sources(&given);
    assert_eq!((first[0].name.as_str(), first[0].state.as_str()), ("lectern", "Live"));
    assert_eq!(first[0].since, Some(Time(given.now)));
    let before = Some(given.ago(60));
    let known = |name: &str, state: &str| {
        vec![SourceStatus { name: name.into(), state: state.into(), since: before.clone() }]
    };
    for (sources_before, since) in [
        (known("lectern", "Live"), before.clone()),
        (known("lectern", "Absent"), Some(Time(given.now))),
        (known("wide", "Live"), Some(Time(given.now))),
    ] {
        given.status().compositor.as_mut().unwrap().sources = sources_before;
        assert_eq!(sources(&given)[0].since, since);
    }
    given.status().compositor.as_mut().unwrap().sources = known("lectern", "Live");
    given.seen.compositor = Some(Err(CompositorError::Unauthorized));
    assert_eq!(sources(&given), known("lectern", "Live"), "what was known last");
}

#[test]
fn a_pod_speaks_of_declared_cameras_only_and_of_each_once() {
    let mut given = Given::standby();
    let camera = |name: &str| Camera { name: name.into(), display_name: None };
    given.object.spec.cameras = vec![camera("lectern"), camera("wide")];
    let source = |name: &str| Source {
        name: name.into(),
        state: SourceState::Absent,
        input_age_milliseconds: None,
        has_audio: false,
    };
    given.pod_says().sources = ["wide", &"x".repeat(10_000), "lectern", "wide"].map(source).to_vec();
    let sources = given.described().compositor.unwrap().sources;
    assert_eq!(sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(), ["lectern", "wide"]);
    assert_eq!(given.says(Kind::ReadyToGoLive).message, "these cameras have not joined: lectern, wide");
}
