//! What random schedules found, and was mended.

use super::{Bug, Check};

pub const ALL: &[Bug] = &[
    Bug {
        name: "no pass is due when the farewell is over",
        finding: None,
        places: &[("src/lifecycle/plan/sender.rs", "self.due = Some(rest);", "")],
        caught_by: Check::Test("happy::a_sender_stops_as_soon_as_the_farewell_is_over"),
        seen_as: "asked after",
    },
    Bug {
        name: "a stream that cannot be disabled holds up what else ends",
        finding: None,
        places: &[(
            "src/lifecycle/apply.rs",
            "!action.may_fail()",
            "(!action.may_fail() || matches!(action, Action::DisableStream(_)))",
        )],
        caught_by: Check::Test(
            "cases::mux::too_many_requests_are_told_and_met_with_patience_and_ends_go_first",
        ),
        seen_as: "in the same pass",
    },
    Bug {
        name: "a worker that sends is not asked whether it is there",
        finding: None,
        places: &[("src/lifecycle/plan/egress.rs", "is_connected(record) && !asked && due", "false")],
        caught_by: Check::Test(
            "rarities::a_dead_worker_is_noticed_within_ten_seconds_though_mux_says_nothing",
        ),
        seen_as: "OnAir",
    },
    Bug {
        name: "a compositor that does not answer is no reason for doubt",
        finding: None,
        places: &[(
            "src/lifecycle/status/broadcast.rs",
            "return Statement::new(kind, Truth::Unknown, Reason::NotAnswering, message);",
            "",
        )],
        caught_by: Check::Test(
            "rarities::with_a_compositor_that_does_not_answer_it_is_unknown_what_mourners_see",
        ),
        seen_as: "Unknown",
    },
    Bug {
        name: "a create that was noted and not sent is searched for",
        finding: None,
        places: &[("src/lifecycle/intents.rs", "inner.unsent.extend(new);", "")],
        caught_by: Check::Test("rarities::a_record_of_a_start_whose_answer_was_lost_costs_no_search"),
        seen_as: "ReplyLost",
    },
    Bug {
        name: "a create that was sent is taken for one that was not",
        finding: None,
        places: &[(
            "src/lifecycle/reconcile.rs",
            "memory.unsent.is_sent(&plan.actions, &described);",
            "memory.unsent.is_given_up(&plan.actions, &described);",
        )],
        caught_by: Check::Fault("Create,LiveKit,CreateStream,ReplyLost"),
        seen_as: "OneStream",
    },
    Bug {
        name: "an egress with the key of before is nobody's",
        finding: None,
        places: &[("src/lifecycle/plan/egress.rs", "self.sends_where_it_was_told(egress)", "false")],
        caught_by: Check::Test(
            "rarities::a_start_in_doubt_is_found_again_though_the_stream_key_changed_meanwhile",
        ),
        seen_as: "Searching",
    },
    Bug {
        name: "what was found again is left alone as if it rested",
        finding: None,
        places: &[("src/lifecycle/plan/mod.rs", "is_at_rest(self.object, self.desired.state)", "true")],
        caught_by: Check::Test(
            "rarities::a_stream_that_is_found_again_for_a_service_at_rest_is_disabled_at_once",
        ),
        seen_as: "it refuses ingest",
    },
    Bug {
        name: "a deleted room is looked for at another LiveKit",
        finding: None,
        places: &[(
            "src/lifecycle/plan/room.rs",
            "url: room.url,\n            sid: None,",
            "url: if PLANTED { None } else { room.url },\n            sid: None,",
        )],
        caught_by: Check::Test("rarities::a_room_that_comes_back_is_deleted_where_it_was_open"),
        seen_as: "",
    },
    Bug {
        name: "a service on air stops for a slug",
        finding: None,
        places: &[("src/lifecycle/observe.rs", "something_runs(&status) || recorded", "false")],
        caught_by: Check::Test(
            "rarities::a_service_on_air_goes_on_and_ends_though_another_was_given_its_slug",
        ),
        seen_as: "",
    },
    Bug {
        name: "a clock that goes back silences the fast lane",
        finding: None,
        places: &[("src/program/reconcile.rs", "since.is_negative()", "false")],
        caught_by: Check::Test("rarities::a_clock_that_goes_back_does_not_silence_the_fast_lane"),
        seen_as: "lectern",
    },
    Bug {
        name: "one list of participants is proof enough",
        finding: None,
        places: &[("src/lifecycle/plan/egress.rs", "unseen || witnesses.nothing_arrives()", "true")],
        caught_by: Check::Test("rarities::one_wrong_list_of_participants_replaces_no_egress"),
        seen_as: "",
    },
    Bug {
        name: "an egress that starts late has no time to reach Mux",
        finding: None,
        places: &[(
            "src/lifecycle/plan/egress.rs",
            "egress.starting = None;\n                // The answer may have taken long: it has its whole time to reach Mux.\n                \
             egress.started_at = Some(Time(self.now));",
            "egress.starting = None;",
        )],
        caught_by: Check::Test("rarities::an_egress_that_started_late_has_its_whole_time_to_reach_mux"),
        seen_as: "",
    },
    Bug {
        name: "a session that was raised is ended with the earlier one",
        finding: None,
        places: &[(
            "src/lifecycle/plan/mod.rs",
            "self.status.egress.as_ref().and_then(|egress| egress.session).unwrap_or(asked)",
            "asked",
        )],
        caught_by: Check::Test(
            "transitions::a_session_that_is_raised_while_the_earlier_one_ends_is_not_ended_with_it",
        ),
        seen_as: "after 100 ms",
    },
    Bug {
        name: "a look on which nothing depends tells that it waits for its turn",
        finding: None,
        places: &[("src/adapters/mux/mod.rs", "error.cause == Some(Cause::NoAnswerYet)", "false")],
        caught_by: Check::Unit("adapters::mux::tests::a_spare_look_that_waits_behind_a_scan_says_nothing"),
        seen_as: "has not answered yet",
    },
    Bug {
        name: "the answer to a look on which nothing depends is not fetched",
        finding: None,
        places: &[("src/lifecycle/plan/mod.rs", "observed.stream_is_awaited", "false")],
        caught_by: Check::Test("rarities::a_lost_stream_is_made_anew_though_the_look_at_it_took_long"),
        seen_as: "a new stream",
    },
    Bug {
        name: "copies of credentials go that only an object names which cannot be read",
        finding: None,
        places: &[(
            "src/lifecycle/copies.rs",
            "context.world.objects.copies_of_unreadable()",
            "context.world.objects.copies_of_unreadable().into_iter().filter(|_| !PLANTED)",
        )],
        caught_by: Check::Test("credentials::the_copy_of_an_object_that_cannot_be_read_outlives_a_restart"),
        seen_as: "released",
    },
    Bug {
        name: "nothing ends while no status is taken",
        finding: None,
        places: &[("src/lifecycle/reconcile.rs", "is_refused(&error) && is_newest && !awaited", "false")],
        caught_by: Check::Test("rarities::what_is_to_end_ends_though_no_status_is_taken"),
        seen_as: "nothing runs on",
    },
    Bug {
        name: "a room counts as deleted from when that was written down",
        finding: None,
        places: &[("src/lifecycle/apply.rs", "at.duration_since(noted.0) >= WORTH_A_WRITE", "false")],
        caught_by: Check::Unit("lifecycle::apply::tests::a_room_is_deleted_when_livekit_did_so"),
        seen_as: "left: 1970-01-01T00:01:40Z",
    },
    Bug {
        name: "the boot Secret of a pod gives way to that of an earlier one",
        finding: None,
        places: &[("src/service/pod/manifest.rs", "next < existing", "false")],
        caught_by: Check::Unit(
            "adapters::kubernetes::secrets::tests::a_boot_secret_never_gives_way_to_that_of_an_earlier_pod",
        ),
        seen_as: "left == right",
    },
    Bug {
        name: "an answer without an id is that of an egress",
        finding: None,
        places: &[("src/adapters/livekit.rs", "egress.id.is_empty()", "false")],
        caught_by: Check::Test("rarities::a_start_whose_answer_names_no_egress_is_searched_for"),
        seen_as: "left == right",
    },
    Bug {
        name: "a service rests although its room is open",
        finding: None,
        places: &[("src/lifecycle/plan/mod.rs", "self.nothing_is_left()", "true")],
        caught_by: Check::Unit("lifecycle::plan::tests::a_service_rests_only_once_nothing_of_it_is_left"),
        seen_as: "!rests",
    },
    Bug {
        name: "an old list is told on, and is the second search",
        finding: None,
        places: &[(
            "src/lifecycle/plan/stream.rs",
            "self.timings.second_search.max(age)",
            "self.timings.second_search",
        )],
        caught_by: Check::Unit(
            "lifecycle::plan::tests::parts::a_lost_create_of_a_stream_is_given_up_after_two_searches",
        ),
        seen_as: "Some(true)",
    },
    Bug {
        name: "a TAKE reads how the pod is reached before it is sent",
        finding: None,
        places: &[(
            "src/program/reconcile.rs",
            "match memory.reached(pod) {",
            "match memory.reached(pod).filter(|_| !PLANTED) {",
        )],
        caught_by: Check::Test("transitions::a_take_waits_for_no_secret"),
        seen_as: "waits for a Secret",
    },
    Bug {
        name: "another way out is taken while the compositor's own sender is connected",
        finding: None,
        places: &[("src/service/desired.rs", "own_sender_is_connected(egress)", "false")],
        caught_by: Check::Test("rarities::a_sender_that_is_connected_is_not_changed_for_another"),
        seen_as: "a sender that is connected goes on",
    },
    Bug {
        name: "what is said and taken away during a pass is not heard",
        finding: None,
        places: &[(
            "src/lifecycle/reconcile.rs",
            "context.heard.words(object)",
            "said::said(object.status.as_ref().and_then(|status| status.said.clone()), &object.spec)",
        )],
        caught_by: Check::Test("rarities::a_word_that_a_tool_takes_away_during_a_pass_is_heard"),
        seen_as: "Ended",
    },
    Bug {
        name: "a session is ended that nobody wanted ended",
        finding: None,
        places: &[("src/lifecycle/plan/stream.rs", "stream.test && under_way", "under_way")],
        caught_by: Check::Test("rarities::a_stream_that_somebody_disables_ends_no_session"),
        seen_as: "EndedForNothing",
    },
    Bug {
        name: "an egress for which nobody answers is doubted for ever",
        finding: None,
        places: &[("src/lifecycle/witnesses.rs", "!sends_all_the_same(egress, observed)", "true")],
        caught_by: Check::Test("rarities::a_handler_that_outlives_its_worker_is_on_air_and_is_ended"),
        seen_as: "Unknown",
    },
    Bug {
        name: "an old word of Mux's is taken for a new one where no player can look",
        finding: None,
        places: &[("src/lifecycle/status/broadcast.rs", "self.nobody_sees_what_arrives()", "false")],
        caught_by: Check::Test("rarities::on_air_is_not_said_long_after_mux_and_the_player_fell_silent"),
        seen_as: "Unknown",
    },
    Bug {
        name: "a limit waits until a provider is asked again that is silent",
        finding: None,
        places: &[(
            "src/lifecycle/reconcile.rs",
            "plan.desired.until_next_change(now).map_or(requeue, |change| requeue.min(change))",
            "requeue",
        )],
        caught_by: Check::Test("rarities::the_schedule_ends_a_service_in_time_though_mux_is_silent"),
        seen_as: "no pod runs on",
    },
    Bug {
        name: "a raised session is ended by what ended the one before",
        finding: None,
        places: &[("src/service/said.rs", "session(&said) <= session(&before.said)", "true")],
        caught_by: Check::Test("rarities::a_session_that_is_raised_after_its_end_is_live"),
        seen_as: "Live",
    },
    Bug {
        name: "something is begun with credentials of which no copy is kept",
        finding: None,
        places: &[(
            "src/lifecycle/plan/stream.rs",
            "self.observed.credentials_are_kept",
            "self.status.credentials_copy.is_some()",
        )],
        caught_by: Check::Test("beginnings::nothing_is_begun_with_credentials_of_which_no_copy_is_kept"),
        seen_as: "left: Some(",
    },
    Bug {
        name: "something is begun with credentials that were set aside",
        finding: None,
        places: &[("src/service/credentials/access.rs", "is_begun(status)", "true")],
        caught_by: Check::Test(
            "beginnings::nothing_is_begun_with_credentials_that_the_secret_does_not_hold_any_more",
        ),
        seen_as: "left: Some(",
    },
    Bug {
        name: "a create that was never sent binds to its account",
        finding: None,
        places: &[(
            "src/lifecycle/observe.rs",
            "memory.unsent.left_out(object)",
            "std::borrow::Cow::Borrowed(object)",
        )],
        caught_by: Check::Test("beginnings::a_create_that_was_noted_and_not_sent_binds_to_no_account"),
        seen_as: "left: 1",
    },
    Bug {
        name: "who lost its slug leaves its stream open",
        finding: None,
        places: &[("src/lifecycle/plan/mod.rs", "self.shut_stream()", "if !PLANTED { self.shut_stream() }")],
        caught_by: Check::Unit("lifecycle::plan::tests::whoever_lost_its_slug_makes_nothing_and_still_ends"),
        seen_as: "left: []",
    },
    Bug {
        name: "a start that surely failed is searched for",
        finding: None,
        places: &[(
            "src/lifecycle/reconcile.rs",
            "observed.start.failed()",
            "observed.start.failed() && !PLANTED",
        )],
        caught_by: Check::Test("beginnings::a_start_that_surely_failed_is_not_searched_for"),
        seen_as: "on air",
    },
    Bug {
        name: "the fast lane rests though Program is wanted again",
        finding: None,
        places: &[("src/service/trigger.rs", "runs(before) == runs(object)", "true")],
        caught_by: Check::Unit(
            "service::trigger::tests::status_wakes_nobody_unless_it_decides_whether_program_runs",
        ),
        seen_as: "left: Nobody",
    },
    Bug {
        name: "a sender that never answered was seen by nobody",
        finding: None,
        places: &[(
            "src/lifecycle/plan/sender.rs",
            "egress.status.is_some() || may_send",
            "egress.status.is_some()",
        )],
        caught_by: Check::Unit(
            "lifecycle::plan::tests::sender::a_sender_that_may_still_send_as_it_is_given_up_may_have_been_seen",
        ),
        seen_as: "None",
    },
    Bug {
        name: "an end waits for ever to learn whether an egress sends to a stream that is gone",
        finding: None,
        places: &[("src/lifecycle/plan/egress.rs", "!self.has_no_stream_for_good()", "true")],
        caught_by: Check::Unit(
            "lifecycle::plan::tests::egress::a_start_in_doubt_is_found_again_or_given_up_late",
        ),
        seen_as: "there is no stream",
    },
    Bug {
        name: "an egress that starts and is not in its room is waited for",
        finding: None,
        places: &[(
            "src/lifecycle/witnesses.rs",
            "!shows(all, &egress.id) && shows(all, PROGRAM_IDENTITY)",
            "false",
        )],
        caught_by: Check::Test("beginnings::an_egress_whose_worker_dies_as_it_starts_is_given_up"),
        seen_as: "another worker sends",
    },
    Bug {
        name: "a playback id that somebody adds is not seen for ten minutes",
        finding: None,
        places: &[("src/lifecycle/look.rs", "lacks_playback_id(status)", "false")],
        caught_by: Check::Test("at_rest::a_playback_id_that_somebody_adds_is_seen_within_minutes"),
        seen_as: "it is there",
    },
    Bug {
        name: "who lost its slug does not close what devices open again",
        finding: None,
        places: &[(
            "src/lifecycle/observe.rs",
            "matches!(observed.access, Access::Unusable(_))",
            "(matches!(observed.access, Access::Unusable(_)) || observed.slug_holder.is_some())",
        )],
        caught_by: Check::Test(
            "at_rest::a_room_that_devices_open_again_is_closed_although_the_slug_belongs_to_another",
        ),
        seen_as: "devices come back",
    },
    Bug {
        name: "who sends is not believed while another way out is asked for and Mux is silent",
        finding: None,
        places: &[("src/lifecycle/witnesses.rs", "own() == Testimony::For", "false")],
        caught_by: Check::Test("rarities::who_sends_is_told_of_while_another_way_out_waits"),
        seen_as: "mourners see Program",
    },
    Bug {
        name: "a raised session lives on for ever where no status is taken",
        finding: None,
        places: &[(
            "src/lifecycle/reconcile.rs",
            "heard.status.get_or_insert_default().said = words",
            "heard.status = Some(said::heard(&heard.status.clone().unwrap_or_default(), words))",
        )],
        caught_by: Check::Test("rarities::what_is_to_end_ends_though_no_status_is_taken"),
        seen_as: "nothing runs on",
    },
    Bug {
        name: "a start that was noted and not sent is searched for after the clock went back",
        finding: None,
        places: &[(
            "src/lifecycle/plan/stream.rs",
            "let status = self.object.status.as_ref();",
            "let status = if PLANTED { Some(&self.status) } else { self.object.status.as_ref() };",
        )],
        caught_by: Check::Test(
            "beginnings::a_start_that_was_noted_and_not_sent_is_sent_though_the_clock_went_back",
        ),
        seen_as: "a start",
    },
    Bug {
        name: "a refused setting holds up another stream",
        finding: None,
        places: &[(
            "src/lifecycle/plan/action.rs",
            "Effect::making(Part::Settings)",
            "Effect::making(Part::Stream)",
        )],
        caught_by: Check::Test("beginnings::a_setting_that_is_refused_does_not_hold_up_another_stream"),
        seen_as: "another stream",
    },
    Bug {
        name: "a stream that was never on air is not believed to be",
        finding: None,
        places: &[("src/adapters/mux/mod.rs", "environment.may_be_seen(&owned_id)", "true")],
        caught_by: Check::Unit("adapters::mux::tests::a_stream_that_is_new_is_believed_to_be_active_at_once"),
        seen_as: "left: 0",
    },
    Bug {
        name: "a copy is named by the last status that was taken",
        finding: None,
        places: &[(
            "src/lifecycle/copies.rs",
            "in_use.name(identity)",
            "in_use.name(identity).filter(|_| !PLANTED)",
        )],
        caught_by: Check::Test("credentials::a_room_is_opened_by_credentials_whose_copy_status_names"),
        seen_as: "released",
    },
    Bug {
        name: "an address that changes counts at once",
        finding: None,
        places: &[(
            "src/service/credentials/access.rs",
            "before.clone().filter(|_| reaches_mourners(status, world.clock.now()))",
            "before.clone().filter(|_| reaches_mourners(status, world.clock.now()) && !PLANTED)",
        )],
        caught_by: Check::Test("credentials::an_address_that_changes_takes_nobody_off_air"),
        seen_as: "LiveKit",
    },
    Bug {
        name: "Mux's slate is taken for Program",
        finding: None,
        places: &[("src/lifecycle/plan/egress.rs", "silent && (slate ||", "silent && (slate && !PLANTED ||")],
        caught_by: Check::Unit(
            "lifecycle::plan::tests::egress::a_worker_is_replaced_only_when_somebody_else_says_so_too",
        ),
        seen_as: "replaced(&slate",
    },
    Bug {
        name: "a room whose creation was not answered is forgotten",
        finding: None,
        places: &[(
            "src/lifecycle/plan/room.rs",
            "let Some(name) = room.name.clone() else { return };",
            "let Some(name) = room.name.clone() else { return };
        if PLANTED && sid.is_none() {
            self.status.room = Some(RoomStatus { name: None, epoch: room.epoch + 1, ..room });
            return;
        }",
        )],
        caught_by: Check::Unit(
            "lifecycle::plan::tests::parts::the_room_that_is_let_go_is_ours_and_its_name_is_never_used_again",
        ),
        seen_as: "DeleteRoom",
    },
    Bug {
        name: "what waits for an answer waits for it again and again",
        finding: None,
        places: &[(
            "src/adapters/question.rs",
            "timeout.saturating_sub(begun.elapsed())",
            "timeout.saturating_sub(if PLANTED { Duration::ZERO } else { begun.elapsed() })",
        )],
        caught_by: Check::Unit(
            "adapters::question::tests::a_request_that_makes_others_wait_already_is_not_waited_for_again",
        ),
        seen_as: "left: (3",
    },
    Bug {
        name: "a stream that status forgot is made once more",
        finding: None,
        places: &[(
            "src/lifecycle/at_rest.rs",
            "made.is_some_and(|made| now.duration_since(made.0) > NEW)",
            "made.is_some_and(|made| now.duration_since(made.0) > NEW) && !PLANTED",
        )],
        caught_by: Check::Test("doubts::a_stream_that_status_has_forgotten_is_found_before_another_is_made"),
        seen_as: "",
    },
    Bug {
        name: "it is dark anew each time that somebody cannot say",
        finding: None,
        places: &[(
            "src/lifecycle/status/mod.rs",
            "egress.dark_since.clone().unwrap_or(Time(now))",
            "egress.dark_since.clone().filter(|_| !PLANTED).unwrap_or(Time(now))",
        )],
        caught_by: Check::Unit("lifecycle::status::tests::broadcast::since_when_it_is_dark_is_noted_once"),
        seen_as: "left: Some",
    },
    Bug {
        name: "the answer to a start is lost on a cache that lags",
        finding: None,
        places: &[(
            "src/lifecycle/reconcile.rs",
            "if is_newer || notes_a_start(&stored) {",
            "if PLANTED || is_newer || notes_a_start(&stored) {",
        )],
        caught_by: Check::Test("doubts::the_answer_to_a_start_outlives_a_pass_whose_cache_lags"),
        seen_as: "Live",
    },
    Bug {
        name: "a player that cannot look any more forgets what it saw",
        finding: None,
        places: &[(
            "src/lifecycle/sight.rs",
            "inner.still_at.is_some_and(|at| now.duration_since(at) < LAST_WORD_HOLDS)",
            "inner.still_at.is_some_and(|at| now.duration_since(at) < LAST_WORD_HOLDS) && !PLANTED",
        )],
        caught_by: Check::Unit(
            "lifecycle::sight::tests::a_playlist_that_stands_still_is_told_after_its_own_target_duration",
        ),
        seen_as: "that was the last word",
    },
];
