//! What was found to be wrong once, and is mended.

use super::{Bug, Check};

pub const ALL: &[Bug] = &[
    Bug {
        name: "the record of an egress is believed although its worker is dead",
        finding: Some(1),
        places: &[
            (
                "src/lifecycle/witnesses.rs",
                "=> !shows(all, &egress.id),",
                "=> !PLANTED && !shows(all, &egress.id),",
            ),
            ("src/lifecycle/witnesses.rs", "ours.map_or(0, |worker| worker.misses)", "0"),
            (
                "src/lifecycle/status/broadcast.rs",
                "let Witnesses { viewer, mux, sender, program } = self.witnesses();",
                "let Witnesses { mut viewer, mut mux, sender, program } = self.witnesses();
                if PLANTED { (viewer, mux) = (Testimony::For, Testimony::For); }",
            ),
        ],
        caught_by: Check::Finding(1),
        seen_as: "OnAirLies",
    },
    Bug {
        name: "a pod that the cache does not show is taken to be gone",
        finding: Some(2),
        places: &[("src/service/pod/seen.rs", "pods.iter().all(|pod| pod.name != **name)", "false")],
        caught_by: Check::Finding(2),
        seen_as: "OnePod",
    },
    Bug {
        name: "a pod is ours by its label",
        finding: Some(3),
        places: &[
            (
                "src/service/pod/seen.rs",
                "if there.namespace != here.namespace {",
                "if there.namespace != here.namespace && !PLANTED {",
            ),
            ("src/service/pod/seen.rs", "_ => return None,", "_ if PLANTED => false, _ => return None,"),
            (
                "src/service/pod/seen.rs",
                "pods.iter().find(|pod| pod.runs() && !pod.stray)",
                "pods.iter().filter(|pod| pod.runs()).max_by_key(|pod| pod.incarnation)",
            ),
        ],
        caught_by: Check::Finding(3),
        seen_as: "Leak",
    },
    Bug {
        name: "a lane that went deaf is not noticed",
        finding: Some(4),
        places: &[("src/watchdog.rs", "(still > LANE_BOUND).then_some(still)", "None")],
        caught_by: Check::Unit(
            "watchdog::tests::a_lane_stands_still_only_while_work_is_due_and_nothing_moves",
        ),
        seen_as: "a pass that never begins",
    },
    Bug {
        name: "a pass waits for a provider that hangs",
        finding: Some(5),
        places: &[(
            "src/adapters/question.rs",
            "tokio::time::timeout(left(timeout), flight).await.ok()",
            "Some(flight.await)",
        )],
        caught_by: Check::Test("neighbours::nobody_waits_for_anybody"),
        seen_as: "BlackHoles",
    },
    Bug {
        name: "services at rest ask in each pass",
        finding: Some(6),
        places: &[
            ("src/lifecycle/plan/mod.rs", "settled => self.rest(),", "settled => if PLANTED { self.timings.fast } else { self.rest() },"),
            (
                "src/adapters/mux/mod.rs",
                "joined.stream(id, freshness, Priority::Look).await",
                "joined.stream(id, Duration::ZERO, Priority::Look).await",
            ),
            ("src/adapters/mux/mod.rs", "!fresh && !joined.environment.take_spare(freshness)", "false"),
        ],
        caught_by: Check::Test("bad_days::ten_services_at_rest_ask_next_to_nothing_of_mux"),
        seen_as: "of services at rest",
    },
    Bug {
        name: "the stream of a go-live is made after all that were asked for before",
        finding: Some(206),
        places: &[(
            "src/adapters/mux/mod.rs",
            "if awaited { Priority::Start } else { Priority::Create }",
            "Priority::Create",
        )],
        caught_by: Check::Test("neighbours::nobody_waits_for_anybody"),
        seen_as: "Crowd",
    },
    Bug {
        name: "a new stream key does not reach the compositor",
        finding: Some(7),
        places: &[("src/lifecycle/plan/sender.rs", "*destination != fingerprint(&ingest)", "false")],
        caught_by: Check::Finding(7),
        seen_as: "Dark",
    },
    Bug {
        name: "an egress that was given up is never stopped again",
        finding: Some(8),
        places: &[
            (
                "src/lifecycle/plan/egress.rs",
                "filter(|seen| lost.contains(&seen.id) ||",
                "filter(|seen| !(PLANTED && lost.contains(&seen.id))).filter(|seen| lost.contains(&seen.id) ||",
            ),
            ("src/lifecycle/plan/sender.rs", "egress.given_up_at = Some(now);", ""),
        ],
        caught_by: Check::Finding(8),
        seen_as: "UnwantedSender",
    },
    Bug {
        name: "OnAir does not ask whether Program is in the room",
        finding: Some(9),
        places: &[("src/lifecycle/witnesses.rs", "via == Via::LiveKit && !published", "false")],
        caught_by: Check::Finding(9),
        seen_as: "OnAirLies",
    },
    Bug {
        name: "credentials that a provider refuses are used all the same",
        finding: Some(10),
        places: &[(
            "src/service/credentials/access.rs",
            "if fresh != before =>",
            "if fresh != before && !PLANTED =>",
        )],
        caught_by: Check::Finding(10),
        seen_as: "UnwantedSender",
    },
    Bug {
        name: "a pod on a dead node is waited for without bound",
        finding: Some(11),
        places: &[(
            "src/service/pod/seen.rs",
            "self.gone_by.is_some_and(|by| now.duration_since(by) > HANGS_AFTER)",
            "false",
        )],
        caught_by: Check::Finding(11),
        seen_as: "UnwantedRoom",
    },
    Bug {
        name: "the answer to a start is told once, whether it is written down or not",
        finding: Some(12),
        places: &[
            (
                "src/lifecycle/in_flight.rs",
                "self.inner().start.clone()",
                "let mut inner = self.inner();
            if inner.start == StartSeen::InFlight { StartSeen::InFlight } else { std::mem::take(&mut inner.start) }",
            ),
            ("src/lifecycle/reconcile.rs", "memory.unsent.did_not_follow(Created::Egress, status)", "()"),
        ],
        caught_by: Check::Finding(12),
        seen_as: "Dark",
    },
    Bug {
        name: "a limit latches only what Mux was seen to receive",
        finding: Some(13),
        places: &[(
            "src/lifecycle/plan/mod.rs",
            "if by_limit { Some(asked) } else { was_live }",
            "self.status.live_session.filter(|live| *live == asked)",
        )],
        caught_by: Check::Finding(13),
        seen_as: "live_without_a_sender_has_a_limit",
    },
    Bug {
        name: "pause holds back an end",
        finding: Some(13),
        places: &[(
            "src/lifecycle/plan/mod.rs",
            "paused(self.object) && matches!(self.desired.state, State::Live | State::Standby)",
            "paused(self.object)",
        )],
        caught_by: Check::Finding(213),
        seen_as: "UnwantedSender",
    },
    Bug {
        name: "credentials that worked are forgotten with the process",
        finding: Some(14),
        places: &[(
            "src/service/credentials/in_use.rs",
            "object.status.as_ref()?.credentials_copy.as_deref()?",
            "return None",
        )],
        caught_by: Check::Finding(14),
        seen_as: "UnwantedSender",
    },
    Bug {
        name: "the stream key is known only while Mux answers",
        finding: Some(15),
        places: &[(
            "src/lifecycle/plan/sender.rs",
            "observed.kept_key.as_ref().filter(|kept| kept.stream_id == *id)?.key.clone()",
            "return None",
        )],
        caught_by: Check::Test("bad_days::a_sender_is_started_again_long_after_mux_answered_last"),
        seen_as: "Dark",
    },
    Bug {
        name: "a change that is refused holds up the end",
        finding: Some(16),
        places: &[(
            "src/lifecycle/plan/action.rs",
            "Effect::ending(Part::Stream)",
            "Effect::making(Part::Settings)",
        )],
        caught_by: Check::Finding(16),
        seen_as: "OpenStream",
    },
    Bug {
        name: "the way out that a message advises is not taken",
        finding: Some(17),
        places: &[("src/service/desired.rs", "may_run || reached_mux", "true")],
        caught_by: Check::Finding(17),
        seen_as: "Dark",
    },
    Bug {
        name: "an egress counts as stuck from its start",
        finding: Some(18),
        places: &[(
            "src/lifecycle/plan/egress.rs",
            "self.dark_for().is_some_and(|dark| dark > bound)",
            "self.status.egress.as_ref().and_then(|egress| egress.started_at.as_ref())
                .is_some_and(|since| self.elapsed(since) > self.timings.connect)",
        )],
        caught_by: Check::Finding(18),
        seen_as: "Impatient",
    },
    Bug {
        name: "an old pod is sent a document of the newest protocol",
        finding: Some(19),
        places: &[(
            "src/program/reconcile.rs",
            "document.for_pod(status.protocol_version)",
            "document.for_pod(memorialstream_compositor_protocol::PROTOCOL_VERSION)",
        )],
        caught_by: Check::Finding(19),
        seen_as: "LateTake",
    },
    Bug {
        name: "a Secret of somebody else's is written over",
        finding: Some(20),
        places: &[("src/adapters/kubernetes/secrets.rs", "theirs.uid == own.uid", "true")],
        caught_by: Check::Unit(
            "adapters::kubernetes::secrets::tests::a_secret_of_somebody_else_is_not_ours",
        ),
        seen_as: "unwrap_err",
    },
    Bug {
        name: "a tenant's Secret leads the operator anywhere",
        finding: Some(21),
        places: &[("src/service/credentials/endpoints.rs", "self.0.contains(&Pattern::Any)", "true")],
        caught_by: Check::Finding(21),
        seen_as: "Leak",
    },
    Bug {
        name: "an egress is ours by its room",
        finding: Some(22),
        places: &[(
            "src/lifecycle/plan/egress.rs",
            "if !same_room || !program {\n            return Some(false);\n        }",
            "return Some(same_room);",
        )],
        caught_by: Check::Finding(22),
        seen_as: "Foreign",
    },
    Bug {
        name: "the name of a room that is being deleted is used again",
        finding: Some(23),
        places: &[
            (
                "src/lifecycle/plan/room.rs",
                "epoch: room.epoch + 1,\n            deleted_at",
                "epoch: room.epoch + i64::from(!PLANTED),\n            deleted_at",
            ),
        ],
        caught_by: Check::Finding(23),
        seen_as: "RoomReused",
    },
    Bug {
        name: "an object is let go while a start is under way",
        finding: Some(24),
        places: &[(
            "src/lifecycle/plan/mod.rs",
            "!self.room_may_return() && !self.start_is_open()",
            "!self.room_may_return()",
        )],
        caught_by: Check::Finding(24),
        seen_as: "deleted_with_a_start_in_flight",
    },
    Bug {
        name: "a stream is made again for what is over",
        finding: Some(25),
        places: &[(
            "src/lifecycle/plan/stream.rs",
            "self.desired.state != State::Ended && self.observed.slug_holder.is_none()",
            "self.observed.slug_holder.is_none()",
        )],
        caught_by: Check::Finding(25),
        seen_as: "NeedlessStream",
    },
    Bug {
        name: "times that a clock left in the future are waited for",
        finding: Some(25),
        places: &[("src/lifecycle/plan/mod.rs", "time.0 > latest", "false")],
        caught_by: Check::Test("bad_days::a_sender_is_started_again_although_the_clock_went_back"),
        seen_as: "Dark",
    },
    Bug {
        name: "a state that a tool takes away is a command",
        finding: Some(105),
        places: &[("src/service/said.rs", "whole.spec.state.is_none() && !new_session", "false")],
        caught_by: Check::Finding(105),
        seen_as: "a_tool_strips_the_state",
    },
];
