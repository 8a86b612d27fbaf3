//! Which questions to Mux and LiveKit a pass asks: they cost what is live, not what exists. Pure.

use super::at_rest::{is_at_rest, lacks_playback_id, may_have_forgotten_its_stream, mux_stream_is};
use super::backoff::{Backoffs, Part};
use super::plan::{Timings, may_be_visited, room_may_return, shortest_rest};
use crate::api::MemorialStream;
use crate::api::conditions::{ConditionType, is_true};
use crate::api::spec::{State, Via};
use crate::api::{MemorialStreamStatus, Reason};
use crate::service::desired::{broadcast_under_way, via};
use crate::service::pod::PodSeen;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// A stream of ours that is not on air and that nobody else touches is as it was seen or left last.
const UNTOUCHED: Duration = Duration::from_secs(600);
/// How old the list may be in which a stream is looked for that status does not know of.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// After the end of a sender its recording is completed.
const RECORDING_CLOSES: SignedDuration = SignedDuration::from_secs(120);
/// A stream that comes on air is not in the list yet. It is asked for by its id more rarely than the list is, which will
/// tell it too.
const COMES_ON_AIR: Duration = Duration::from_secs(9);
/// A pod that is ready shows Program within seconds. What takes longer than this is looked at like anything else.
const COMES_UP: SignedDuration = SignedDuration::from_secs(90);

/// How the live stream is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamLook {
    /// It has no id.
    No,
    /// Its id is not known, and a create was sent: all streams are searched for its marker.
    Search(Duration),
    /// By id, now: a sender is about to start.
    Now,
    /// In the list of all active ones; by id, when it is not there.
    OnAir {
        /// Of the list.
        list: Duration,
        /// Of the answer by id.
        own: Duration,
    },
    /// By id.
    ById(Duration),
    /// By id, as far as such looks are left. Nothing depends on it now.
    Spare(Duration),
}

/// What a pass asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Of Mux.
    pub stream: StreamLook,
    /// How fresh LiveKit's list of rooms must be.
    pub rooms: Duration,
    /// How fresh LiveKit's list of egresses must be. Who sends without LiveKit may have no egress service to ask.
    pub egresses: Option<Duration>,
}

/// What is asked about `object` at `now`, when `state` is wanted of it.
pub fn look(
    object: &MemorialStream,
    state: State,
    pod_is_ready: bool,
    backoffs: &Backoffs,
    now: Timestamp,
    timings: &Timings,
) -> Look {
    let nothing = MemorialStreamStatus::default();
    let status = object.status.as_ref().unwrap_or(&nothing);
    let under_way = broadcast_under_way(status) || status.ending_since.is_some();
    let busy = matches!(state, State::Live | State::Standby) || under_way;
    let rests = !busy && is_at_rest(object, state) && backoffs.is_empty();
    // The server where a room was open is forgotten only on an answer that came after its devices had time to return.
    let closing = status.room.as_ref().is_some_and(|room| room.name.is_none() && room.url.is_some());
    let livekit = if busy || closing || room_may_return(status, now, timings) {
        timings.fast
    } else if !rests || may_be_visited(status, now) {
        timings.slow / 2
    } else {
        timings.idle
    };
    let starting = status.egress.as_ref().is_some_and(|egress| egress.starting.is_some());
    let held = backoffs.values().any(|backoff| !backoff.remaining.is_zero());
    let stream = match status.mux.as_ref().map(|mux| (&mux.stream_id, &mux.creating)) {
        Some((Some(_), _)) if under_way => on_air(is_reached(object, state), state, timings),
        Some((Some(_), _)) if busy => {
            let failed = backoffs.keys().any(|effect| matches!(effect.part, Part::Stream | Part::Settings));
            let open = ended_just_now(status, now);
            coming_up(object, state, pod_is_ready, held, (failed, open), timings)
        }
        // Each time that it is come to, unless something else brought it here in between.
        Some((Some(_), _)) if rests => StreamLook::Spare(shortest_rest(timings)),
        Some((Some(_), _)) if lacks_playback_id(status) => StreamLook::Spare(timings.slow / 2),
        Some((Some(_), _)) => StreamLook::ById(UNTOUCHED),
        Some((None, Some(_))) => StreamLook::Search(timings.second_search / 2),
        Some((None, None)) | None if state != State::Ended && may_have_forgotten_its_stream(object, now) => {
            StreamLook::Search(FORGOTTEN)
        }
        Some((None, None)) | None => StreamLook::No,
    };
    Look {
        stream,
        rooms: livekit,
        egresses: match starting {
            // The second of two searches must not be answered as the first was.
            true => Some(livekit.min(timings.second_search / 2)),
            false => (!rests || via(&object.spec, status) == Via::LiveKit).then_some(livekit),
        },
    }
}

fn on_air(reached: bool, state: State, timings: &Timings) -> StreamLook {
    match (reached, state) {
        (true, _) => StreamLook::OnAir { list: timings.steady, own: timings.steady },
        (false, State::Live) => StreamLook::OnAir { list: timings.fast, own: COMES_ON_AIR },
        (false, _) => StreamLook::OnAir { list: timings.fast, own: timings.steady },
    }
}

fn coming_up(
    object: &MemorialStream,
    state: State,
    pod_is_ready: bool,
    held: bool,
    (failed, open): (bool, bool),
    timings: &Timings,
) -> StreamLook {
    // A sender must not be started on the word of an old answer. Without a pod that is ready none starts.
    if state == State::Live && pod_is_ready && !held {
        return StreamLook::Now;
    }
    // What is in trouble, and what people change over and over, asks no oftener: looks of those that go live would wait.
    match mux_stream_is(object, Reason::Enabled) && !failed && !open {
        true => StreamLook::Spare(timings.standby),
        false if held || state == State::Standby && !open => StreamLook::ById(timings.standby),
        false => StreamLook::ById(timings.steady),
    }
}

/// Whether Program of this pod runs, or may be about to. One that is ready and shows none for long must not have Mux asked in
/// each pass, before the looks of all others.
pub fn may_show_program(pod: &PodSeen, status: &MemorialStreamStatus, now: Timestamp) -> bool {
    let runs = is_true(&status.conditions, ConditionType::CompositorReady);
    let comes_up = pod.ready_since.is_none_or(|since| now.duration_since(since) < COMES_UP);
    pod.ready && !pod.deleting && !pod.stray && (runs || comes_up)
}

/// Whether `state` is reached, as far as was known when status was written.
fn is_reached(object: &MemorialStream, state: State) -> bool {
    let status = object.status.as_ref();
    status.is_some_and(|status| {
        status.state == Some(state)
            && status.observed_generation == object.metadata.generation
            && is_true(&status.conditions, ConditionType::Ready)
    })
}

/// Whether a broadcast ended so lately that its recording may still be open.
fn ended_just_now(status: &MemorialStreamStatus, now: Timestamp) -> bool {
    status.ended_at.as_ref().is_some_and(|ended| now.duration_since(ended.0) < RECORDING_CLOSES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::conditions::Statement;
    use crate::api::status::{CreateIntent, EgressStatus, MuxStatus, RoomStatus};
    use crate::lifecycle::backoff::{Backoff, Effect, Part};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn ago(seconds: i64) -> Option<Time> {
        Some(Time(NOW - SignedDuration::from_secs(seconds)))
    }

    /// One that reached `state`, with its stream ready for `reason`.
    fn object(state: State, reason: Reason) -> MemorialStream {
        let mut object = MemorialStream::new("jane-doe", Default::default());
        object.metadata.generation = Some(3);
        let statements = [(ConditionType::Ready, Reason::Live), (ConditionType::MuxStreamReady, reason)]
            .map(|(kind, reason)| Statement::new(kind, true, reason, "").into_condition(&[], Some(3), NOW));
        object.status = Some(MemorialStreamStatus {
            state: Some(state),
            observed_generation: Some(3),
            conditions: statements.to_vec(),
            mux: Some(MuxStatus { stream_id: Some("s".into()), ..MuxStatus::default() }),
            ..MemorialStreamStatus::default()
        });
        object
    }

    fn with(mut object: MemorialStream, change: impl FnOnce(&mut MemorialStreamStatus)) -> MemorialStream {
        object.status.as_mut().map(change);
        object
    }

    fn looked(object: &MemorialStream, state: State, pod_is_ready: bool, backoffs: &Backoffs) -> Look {
        look(object, state, pod_is_ready, backoffs, NOW, &Timings::default())
    }

    fn stream(object: &MemorialStream, state: State) -> StreamLook {
        looked(object, state, false, &Backoffs::new()).stream
    }

    fn backoffs(seconds: i64) -> Backoffs {
        let remaining = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let (reason, message) = (Reason::Refused, String::new());
        let backoff = Backoff { count: 1, remaining, reason, message, terminal: false };
        Backoffs::from([(Effect::making(Part::Sender), backoff)])
    }

    #[test]
    fn what_is_at_rest_asks_nothing_on_which_something_depends() {
        let timings = Timings::default();
        for state in [State::Idle, State::Ended] {
            let look = looked(&object(state, Reason::Disabled), state, false, &Backoffs::new());
            assert_eq!(look.stream, StreamLook::Spare(shortest_rest(&timings)));
            assert_eq!((look.rooms, look.egresses), (timings.idle, Some(timings.idle)));
        }
    }

    #[test]
    fn an_egress_service_that_is_not_used_is_not_asked_by_what_is_at_rest() {
        let mut idle = object(State::Idle, Reason::Disabled);
        idle.spec.egress.get_or_insert_default().via = Some(Via::Compositor);
        let egresses = |state| looked(&idle, state, false, &Backoffs::new()).egresses;
        assert_eq!(egresses(State::Idle), None);
        assert_eq!(egresses(State::Standby), Some(Timings::default().fast));
    }

    #[test]
    fn what_changed_or_failed_is_looked_at() {
        let by_id = StreamLook::ById(UNTOUCHED);
        let idle = || object(State::Idle, Reason::Disabled);
        let mut changed = idle();
        changed.metadata.generation = Some(4);
        assert_eq!(stream(&changed, State::Idle), by_id);
        assert_eq!(stream(&object(State::Idle, Reason::Enabled), State::Idle), by_id);
        let told = StreamLook::Spare(Timings::default().slow / 2);
        assert_eq!(stream(&object(State::Idle, Reason::PlaybackIdMissing), State::Idle), told);
        assert_eq!(stream(&idle(), State::Ended), by_id, "another state is wanted");
        assert_eq!(looked(&idle(), State::Idle, false, &backoffs(60)).stream, by_id);
    }

    #[test]
    fn all_streams_are_read_only_to_find_one_whose_id_is_not_known() {
        let timings = Timings::default();
        let nameless = |creating| {
            with(object(State::Idle, Reason::Disabled), |status| {
                status.mux = Some(MuxStatus { creating, ..MuxStatus::default() });
            })
        };
        let intent = CreateIntent { since: Time(NOW), absent_since: None };
        for state in [State::Idle, State::Standby, State::Live, State::Ended] {
            assert_eq!(stream(&nameless(None), state), StreamLook::No);
            let search = StreamLook::Search(timings.second_search / 2);
            assert_eq!(stream(&nameless(Some(intent.clone())), state), search);
        }
    }

    #[test]
    fn before_a_start_the_stream_is_asked_for_now_unless_the_start_must_wait() {
        let standby = object(State::Standby, Reason::Enabled);
        let look = |pod, backoffs: &Backoffs| looked(&standby, State::Live, pod, backoffs).stream;
        let timings = Timings::default();
        assert_eq!(look(true, &Backoffs::new()), StreamLook::Now);
        assert_eq!(look(false, &Backoffs::new()), StreamLook::Spare(timings.standby));
        assert_eq!(look(true, &backoffs(60)), StreamLook::Spare(timings.standby));
        assert_eq!(look(true, &backoffs(-1)), StreamLook::Now);
    }

    /// Whoever has a pod that is ready and never shows Program would have Mux asked in each pass, before all others' looks.
    #[test]
    fn a_pod_that_never_shows_program_is_no_reason_to_ask_mux_in_each_pass() {
        let shows = |seconds: Option<i64>, runs: bool| {
            let ready_since = seconds.and_then(ago).map(|since| since.0);
            let pod = PodSeen { ready: true, ready_since, ..PodSeen::default() };
            let statement = Statement::new(ConditionType::CompositorReady, runs, Reason::Running, "");
            let conditions = vec![statement.into_condition(&[], Some(3), NOW)];
            let status = MemorialStreamStatus { conditions, ..MemorialStreamStatus::default() };
            may_show_program(&pod, &status, NOW)
        };
        assert!(shows(None, false) && shows(Some(80), false) && shows(Some(900), true));
        assert!(!shows(Some(100), false));
    }

    #[test]
    fn standby_looks_rarely_once_its_stream_is_enabled_and_its_recording_closed() {
        let timings = Timings::default();
        let standby = || object(State::Standby, Reason::Enabled);
        assert_eq!(stream(&standby(), State::Standby), StreamLook::Spare(timings.standby));
        let by_id = StreamLook::ById(timings.steady);
        let ended = with(standby(), |status| status.ended_at = ago(5));
        assert_eq!(stream(&ended, State::Standby), by_id);
        let rarely = StreamLook::ById(timings.standby);
        assert_eq!(stream(&object(State::Idle, Reason::Disabled), State::Standby), rarely);
        let other = looked(&standby(), State::Standby, false, &backoffs(0)).stream;
        assert_eq!(other, StreamLook::Spare(timings.standby), "another part failed");
    }

    #[test]
    fn what_is_on_air_or_ends_is_looked_at_in_the_list_of_all_that_is_active() {
        let timings = Timings::default();
        let live = || with(object(State::Live, Reason::Enabled), |status| status.started_at = ago(60));
        let on_air = |list, own| StreamLook::OnAir { list, own };
        assert_eq!(stream(&live(), State::Live), on_air(timings.steady, timings.steady));
        assert_eq!(stream(&live(), State::Ended), on_air(timings.fast, timings.steady));
        let starts = with(live(), |status| status.state = Some(State::Standby));
        assert_eq!(stream(&starts, State::Live), on_air(timings.fast, COMES_ON_AIR));
        let ending = with(object(State::Live, Reason::Enabled), |status| status.ending_since = ago(1));
        assert_eq!(stream(&ending, State::Idle), on_air(timings.fast, timings.steady));
    }

    #[test]
    fn livekit_is_asked_often_while_something_runs_or_may_come_back() {
        let timings = Timings::default();
        let idle = || object(State::Idle, Reason::Disabled);
        let rooms = |object: &MemorialStream, state| looked(object, state, false, &Backoffs::new()).rooms;
        assert_eq!(rooms(&idle(), State::Standby), timings.fast);
        let deleted = |seconds| {
            let room = RoomStatus { deleted_at: ago(seconds), ..RoomStatus::default() };
            with(idle(), |status| status.room = Some(room))
        };
        assert_eq!(rooms(&deleted(1), State::Idle), timings.fast);
        assert_eq!(rooms(&deleted(3600), State::Idle), timings.slow / 2, "tokens are still valid");
        assert_eq!(rooms(&deleted(25 * 3600), State::Idle), timings.idle);
        let server = with(deleted(3600), |status| {
            status.room.as_mut().unwrap().url = Some("wss://livekit".into());
        });
        assert_eq!(rooms(&server, State::Idle), timings.fast, "its server is not forgotten yet");
        let lost = |seconds| {
            with(idle(), |status| {
                status.egress =
                    Some(Box::new(EgressStatus { lost: vec!["EG_1".into()], ..EgressStatus::default() }));
                status.ended_at = ago(seconds);
            })
        };
        assert_eq!(rooms(&lost(3600), State::Idle), timings.slow / 2, "a given up egress may still run");
        assert_eq!(rooms(&lost(25 * 3600), State::Idle), timings.idle);
    }
}
