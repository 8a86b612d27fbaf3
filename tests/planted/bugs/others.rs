//! What might be wrong one day.

use super::{Bug, Check};

pub const ALL: &[Bug] = &[
    Bug {
        name: "a stream is made without a record",
        finding: None,
        places: &[(
            "src/lifecycle/plan/stream.rs",
            "mux.creating = Some(CreateIntent { since: Time(self.now), absent_since: None });",
            "",
        )],
        caught_by: Check::Test("happy::a_service_goes_from_idle_to_live_to_its_deletion"),
        seen_as: "RecordFirst",
    },
    Bug {
        name: "an egress is started without a record",
        finding: None,
        places: &[(
            "src/lifecycle/plan/egress.rs",
            "egress.starting = Some(CreateIntent { since: Time(self.now), absent_since: None });",
            "",
        )],
        caught_by: Check::Test("happy::a_service_goes_from_idle_to_live_to_its_deletion"),
        seen_as: "RecordFirst",
    },
    Bug {
        name: "a stream whose create was not answered is not adopted",
        finding: None,
        places: &[(
            "src/lifecycle/plan/stream.rs",
            "there.min_by_key(|stream| (stream.created_at, stream.id.clone()))",
            "None::<&LiveStream>",
        )],
        caught_by: Check::Fault("Create,LiveKit,CreateStream,ReplyLost"),
        seen_as: "OneStream",
    },
    Bug {
        name: "an egress whose start was not answered is not adopted",
        finding: None,
        places: &[("src/lifecycle/plan/egress.rs", "runs(seen) && !egress.lost.contains(&seen.id)", "false")],
        caught_by: Check::Fault("GoLive,LiveKit,StartEgress,ReplyLost"),
        seen_as: "StartEgress",
    },
    Bug {
        name: "an absence is believed before the list can know",
        finding: None,
        places: &[
            (
                "src/lifecycle/plan/stream.rs",
                "self.elapsed(&intent.since).saturating_sub(age) < grace",
                "false",
            ),
            ("src/lifecycle/plan/stream.rs", "creating_for.saturating_sub(marked_age) < grace", "false"),
        ],
        caught_by: Check::Test(
            "bad_days::a_stream_whose_create_was_not_answered_is_found_although_lists_lag",
        ),
        seen_as: "OneStream",
    },
    Bug {
        name: "an answer of 5xx is taken for 'not created'",
        finding: None,
        places: &[(
            "src/providers/mux/answer.rs",
            "(repeat.doubt(), format!(\"Mux failed ({status}: {words})\"))",
            "(ErrorClass::Transient, format!(\"Mux failed ({status}: {words})\"))",
        )],
        caught_by: Check::Fault("Create,LiveKit,CreateStream,ServerErrorAfter"),
        seen_as: "OneStream",
    },
    Bug {
        name: "a connection that broke off is taken for 'not created'",
        finding: None,
        places: &[(
            "src/providers/transport.rs",
            "Self::Never => ErrorClass::InDoubt",
            "Self::Never => if PLANTED { ErrorClass::Transient } else { ErrorClass::InDoubt }",
        )],
        caught_by: Check::Fault("Create,LiveKit,CreateStream,ReplyLost"),
        seen_as: "OneStream",
    },
    Bug {
        name: "a failure of LiveKit's is taken for 'not started'",
        finding: None,
        places: &[(
            "src/providers/livekit/error.rs",
            "_ => new(repeat.doubt(), \"failed\")",
            "_ => new(if PLANTED { ErrorClass::Transient } else { repeat.doubt() }, \"failed\")",
        )],
        caught_by: Check::Unit("providers::livekit::error::tests::each_code_has_its_class"),
        seen_as: "internal",
    },
    Bug {
        name: "a second stream with our marker is left alone",
        finding: None,
        places: &[(
            "src/lifecycle/plan/stream.rs",
            "mux.stream_id.as_ref() != Some(id) && surplus.status != LiveStreamStatus::Active",
            "false",
        )],
        caught_by: Check::Test("transitions::a_second_stream_with_our_marker_is_never_used_and_goes"),
        seen_as: "it goes with a scan",
    },
    Bug {
        name: "nothing holds on to an object",
        finding: None,
        places: &[("src/lifecycle/plan/mod.rs", "!has_finalizer(self.object)", "false")],
        caught_by: Check::Test("transitions::a_deletion_leaves_nothing_or_what_the_policy_keeps"),
        seen_as: "Delete",
    },
    Bug {
        name: "an object is let go before its stream is deleted",
        finding: None,
        places: &[("src/lifecycle/plan/mod.rs", "self.act(Action::DeleteStream(id))", "self.release()")],
        caught_by: Check::Test("transitions::a_deletion_leaves_nothing_or_what_the_policy_keeps"),
        seen_as: "Delete",
    },
    Bug {
        name: "an object is let go with all that was made for it",
        finding: None,
        places: &[("src/lifecycle/plan/mod.rs", "deleting && self.nothing_was_made()", "deleting")],
        caught_by: Check::Fault("Delete,LiveKit,WriteStatus,Lost"),
        seen_as: "Left",
    },
    Bug {
        name: "a room that was deleted is not looked for again",
        finding: None,
        places: &[("src/lifecycle/plan/room.rs", "elapsed(deleted, now) < timings.room_return", "false")],
        caught_by: Check::Test(
            "transitions::a_room_that_devices_bring_back_is_deleted_again_before_the_object_goes",
        ),
        seen_as: "it is told",
    },
    Bug {
        name: "a session that has ended goes live again",
        finding: None,
        places: &[(
            "src/service/desired.rs",
            "status.ended_session.is_some_and(|ended| ended >= session(spec))",
            "false",
        )],
        caught_by: Check::Test("transitions::a_session_that_ended_is_refused_and_a_higher_one_goes_live"),
        seen_as: "left: Some(Live)",
    },
    Bug {
        name: "the live limit does not strike",
        finding: None,
        places: &[(
            "src/service/desired.rs",
            "if limit <= now {\n        return Desired::because(State::Ended",
            "if limit <= now && !PLANTED {\n        return Desired::because(State::Ended",
        )],
        caught_by: Check::Test("bad_days::a_broadcast_ends_by_its_limit"),
        seen_as: "UnwantedSender",
    },
    Bug {
        name: "the standby limit does not strike",
        finding: None,
        places: &[(
            "src/service/desired.rs",
            "if limit <= now {\n        return held",
            "if limit <= now && !PLANTED {\n        return held",
        )],
        caught_by: Check::Test("bad_days::a_standby_ends_by_its_limit"),
        seen_as: "UnwantedPod",
    },
    Bug {
        name: "what follows a stop does not wait for it",
        finding: None,
        places: &[(
            "src/lifecycle/plan/mod.rs",
            "if !self.stop_sender() {\n            return",
            "if !self.stop_sender() && !PLANTED {\n            return",
        )],
        caught_by: Check::Test("transitions::an_end_stops_the_sender_before_anything_else"),
        seen_as: "StopEgress",
    },
    Bug {
        name: "an end waits for Mux",
        finding: None,
        places: &[(
            "src/lifecycle/plan/mod.rs",
            "if self.remove_compositor() {",
            "if (self.stream_rests() || !PLANTED) && self.remove_compositor() {",
        )],
        caught_by: Check::Test("transitions::an_end_does_not_wait_for_mux"),
        seen_as: "what runs costs money by the minute",
    },
    Bug {
        name: "an end that failed is tried again only after minutes",
        finding: None,
        places: &[("src/lifecycle/backoff.rs", "wait.min(LONGEST_WAIT_OF_AN_END)", "wait")],
        caught_by: Check::Unit(
            "lifecycle::backoff::tests::an_end_is_tried_again_soon_whatever_failed_before",
        ),
        seen_as: "Transient",
    },
    Bug {
        name: "attempts to send keep no distance",
        finding: None,
        places: &[(
            "src/lifecycle/plan/sender.rs",
            "self.elapsed(since) >= Duration::from_secs(1 << attempt.clamp(0, 5))",
            "true",
        )],
        caught_by: Check::Test("bad_days::a_sender_that_fails_at_once_is_started_ever_more_rarely"),
        seen_as: "starts in 40 s",
    },
    Bug {
        name: "the next pod is made while the one before still runs",
        finding: None,
        places: &[(
            "src/lifecycle/plan/compositor.rs",
            "(pod.runs() && !pod.stray) || (pod.deleting && !pod.hangs(self.now))",
            "pod.runs() && !pod.stray",
        )],
        caught_by: Check::Test("bad_days::a_pod_that_takes_long_to_go_is_waited_for"),
        seen_as: "OnePod",
    },
    Bug {
        name: "a frozen picture counts as Program",
        finding: None,
        places: &[("src/lifecycle/witnesses.rs", "!compositor.program_advances()", "false")],
        caught_by: Check::Test("transitions::on_air_says_why_mourners_see_nothing"),
        seen_as: "ProgramStalled",
    },
    Bug {
        name: "a TAKE waits for the answer to the one before",
        finding: None,
        places: &[(
            "src/program/reconcile.rs",
            "superseded(object) => Err",
            "superseded(object), if !PLANTED => Err",
        )],
        caught_by: Check::Test("transitions::a_newer_take_does_not_wait_for_the_answer_to_the_one_before"),
        seen_as: "the second waits for the first",
    },
    Bug {
        name: "a pod that lost its document is not sent it again",
        finding: None,
        places: &[("src/program/reconcile.rs", "status.key() == sent.document.key()", "true")],
        caught_by: Check::Test("transitions::a_document_is_sent_once_and_again_to_a_pod_that_lost_it"),
        seen_as: "sent(&stage) > before",
    },
    Bug {
        name: "requests do not wait for the rate limit",
        finding: None,
        places: &[(
            "src/providers/mux/limiter.rs",
            "let bucket = self.bucket(kind);\n        let deadline",
            "if PLANTED { return Ok(()); }\n        let bucket = self.bucket(kind);\n        let deadline",
        )],
        caught_by: Check::Test("bad_days::thirty_services_at_once_meet_no_refusal"),
        seen_as: "TooMany",
    },
    Bug {
        name: "an end waits behind creates for the rate limit",
        finding: None,
        places: &[(
            "src/providers/mux/queue.rs",
            "(priority, self.arrivals)",
            "(if PLANTED { Priority::Create } else { priority }, self.arrivals)",
        )],
        caught_by: Check::Unit("providers::mux::queue::tests::stops_pass_starts_pass_creates_pass_looks"),
        seen_as: "left == right",
    },
    Bug {
        name: "a list that lags brings back what was ended",
        finding: None,
        places: &[(
            "src/adapters/mux/environment.rs",
            "rested.get(&stream.id).is_some_and(is_older)",
            "false",
        )],
        caught_by: Check::Unit("adapters::mux::tests::a_list_that_lags_does_not_bring_back_what_was_ended"),
        seen_as: "left == right",
    },
    Bug {
        name: "two services share a slug",
        finding: None,
        places: &[("src/lifecycle/slugs.rs", "holder.metadata.uid != object.metadata.uid", "false")],
        caught_by: Check::Test("bad_days::whoever_comes_second_to_a_slug_makes_nothing"),
        seen_as: "SlugTaken",
    },
    Bug {
        name: "a stable object is written in each pass",
        finding: None,
        places: &[(
            "src/lifecycle/status/mod.rs",
            "known.and_then(|known| known.since.clone()).or(Some(Time(now)))",
            "drop(known); Some(Time(now))",
        )],
        caught_by: Check::Test("transitions::a_steady_state_does_nothing_and_says_nothing_new"),
        seen_as: "Restless",
    },
    Bug {
        name: "a stream key stands in status",
        finding: None,
        places: &[(
            "src/lifecycle/plan/sender.rs",
            "egress.via = Some(via);",
            "egress.via = Some(via);
            egress.error = self.ingest().map(|ingest| ingest.location().reveal().to_owned());",
        )],
        caught_by: Check::Test("happy::a_service_goes_from_idle_to_live_to_its_deletion"),
        seen_as: "Leak",
    },
    Bug {
        name: "a stream key stands in LiveKit's words",
        finding: None,
        places: &[("src/providers/livekit/error.rs", "redact_text(&refusal.msg)", "refusal.msg.clone()")],
        caught_by: Check::Unit("providers::livekit::error::tests::a_key_in_livekits_words_is_redacted"),
        seen_as: "0123456789",
    },
];
