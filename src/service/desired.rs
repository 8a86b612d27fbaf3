//! Which state is wanted now, and why: `state` beats `schedule`, a broadcast that was ended stays ended, and the
//! limits beat both. Pure.

use crate::api::spec::MOST_STANDBY_MINUTES;
use crate::api::spec::{State, Via};
use crate::api::status::EgressStatus;
use crate::api::{MemorialStream, MemorialStreamSpec, MemorialStreamStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use memorialstream_compositor_protocol::SenderState;
use std::time::Duration;

/// The wanted state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The state to bring about.
    pub state: State,
    /// Why this one.
    pub why: Why,
    /// When time alone will change the answer, or what is told of it.
    pub next_change: Option<Timestamp>,
    /// The limit that will strike first.
    pub limit: Option<Limit>,
}

/// Why a state is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `spec.state` says so.
    State,
    /// `spec.schedule` says so.
    Schedule,
    /// Nobody asked for anything.
    Default,
    /// Live is asked for, and this session was Live and has ended.
    SessionEnded,
    /// Live lasted as long as the limit allows.
    LiveLimit,
    /// `schedule.endAt` has come while a person's Live or Standby went on.
    EndAt,
    /// Of a limit: `schedule.endAt` has come, and cameras still send.
    Overrun,
    /// Standby lasted as long as the limit allows.
    StandbyLimit,
    /// The object is being deleted.
    Deletion,
}

/// What is told this long before a limit strikes.
pub const WARNING: SignedDuration = SignedDuration::from_mins(15);

/// A camera that sent something so lately counts as sending: `endAt` waits for it.
const CAMERA_PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// A limit that will strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub why: Why,
}

/// The session that the spec asks for.
pub fn session(spec: &MemorialStreamSpec) -> i64 {
    spec.session.unwrap_or(1)
}

/// Whether a broadcast is under way: its sender was started and is not known to have stopped.
pub fn broadcast_under_way(status: &MemorialStreamStatus) -> bool {
    status.started_at.is_some() && status.ended_at.is_none()
}

/// Who sends Program to Mux. Fixed from when an egress may run or the compositor's own sender is connected until the
/// broadcast is over; as long as none came about, what the spec asks for counts, so that a person can choose another way
/// out.
pub fn via(spec: &MemorialStreamSpec, status: &MemorialStreamStatus) -> Via {
    let asked = spec.egress.as_ref().and_then(|egress| egress.via).unwrap_or_default();
    let Some(egress) = status.egress.as_ref().filter(|_| broadcast_under_way(status)) else { return asked };
    let may_run = egress.id.is_some() || egress.starting.is_some() || own_sender_is_connected(egress);
    let reached_mux = status.live_session == Some(session(spec));
    egress.via.filter(|_| may_run || reached_mux).unwrap_or(asked)
}

/// Whether the compositor's own sender was connected when it was seen last. One that sends to nobody is started again, and
/// then no longer is.
fn own_sender_is_connected(egress: &EgressStatus) -> bool {
    egress.via == Some(Via::Compositor) && egress.status.as_deref() == Some(SenderState::Connected.as_str())
}

/// Whether the slate says farewell: a broadcast that was asked to end is still under way.
pub fn says_farewell(desired: &Desired, status: &MemorialStreamStatus) -> bool {
    desired.state == State::Ended && desired.why != Why::Deletion && broadcast_under_way(status)
}

/// What a struck standby limit waits for: any change of this lifts it.
pub fn request_fingerprint(spec: &MemorialStreamSpec) -> String {
    let time = |time: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
        time.map_or_else(|| "-".to_owned(), |time| time.0.to_string())
    };
    let schedule = spec.schedule.as_ref();
    format!(
        "state {} session {} schedule {} {} {}",
        spec.state.map_or("-", State::as_str),
        session(spec),
        time(schedule.and_then(|schedule| schedule.standby_at.as_ref())),
        time(schedule.and_then(|schedule| schedule.live_at.as_ref())),
        time(schedule.and_then(|schedule| schedule.end_at.as_ref())),
    )
}

/// The wanted state of `object` at `now`.
pub fn desired(object: &MemorialStream, now: Timestamp) -> Desired {
    if object.metadata.deletion_timestamp.is_some() {
        return Desired::because(State::Ended, Why::Deletion);
    }
    let nothing = MemorialStreamStatus::default();
    let status = object.status.as_ref().unwrap_or(&nothing);
    let asked = asked(&object.spec, now);
    match asked.state {
        State::Live => live(&object.spec, status, asked, now),
        State::Standby => standby(&object.spec, status, asked, now),
        State::Idle | State::Ended | State::Scheduled => asked,
    }
}

impl Desired {
    fn because(state: State, why: Why) -> Self {
        Self { state, why, next_change: None, limit: None }
    }

    /// How long it stands if nobody says otherwise; at least long enough that no lane spins.
    pub fn until_next_change(&self, now: Timestamp) -> Option<Duration> {
        let wait = self.next_change?.duration_since(now).max(SignedDuration::from_millis(50));
        Duration::try_from(wait).ok()
    }

    /// Adds a limit that strikes at `at`, and is told some time before.
    fn until(mut self, at: Timestamp, why: Why, now: Timestamp) -> Self {
        if self.limit.is_none_or(|limit| at < limit.at) {
            self.limit = Some(Limit { at, why });
        }
        let told = at.checked_sub(WARNING).unwrap_or(at);
        let next = if told > now { told } else { at };
        self.next_change = Some(self.next_change.map_or(next, |before| before.min(next)));
        self
    }
}

fn asked(spec: &MemorialStreamSpec, now: Timestamp) -> Desired {
    if let Some(state) = spec.state.filter(|state| *state != State::Scheduled) {
        return Desired::because(state, Why::State);
    }
    let Some(schedule) = &spec.schedule else { return Desired::because(State::Idle, Why::Default) };
    let steps = [
        (schedule.standby_at.as_ref(), State::Standby),
        (schedule.live_at.as_ref(), State::Live),
        (schedule.end_at.as_ref(), State::Ended),
    ];
    let mut desired = Desired::because(State::Idle, Why::Schedule);
    for (time, state) in steps {
        match time {
            // endAt waits for cameras: it is judged as a limit of what it ends.
            Some(time) if time.0 <= now && state == State::Ended && desired.state != State::Idle => {}
            Some(time) if time.0 <= now => desired.state = state,
            Some(time) => {
                desired.next_change = Some(time.0);
                break;
            }
            None => {}
        }
    }
    desired
}

fn live(spec: &MemorialStreamSpec, status: &MemorialStreamStatus, asked: Desired, now: Timestamp) -> Desired {
    if status.ended_session.is_some_and(|ended| ended >= session(spec)) {
        return Desired::because(State::Ended, Why::SessionEnded);
    }
    // Counts from when Live was wanted: what never came about is forgotten just as easily.
    let since = status.live_since.as_ref().map_or(now, |since| since.0);
    let minutes = spec.limits.as_ref().and_then(|limits| limits.live_minutes).unwrap_or(360);
    let limit = after(since, minutes);
    if limit <= now {
        return Desired::because(State::Ended, Why::LiveLimit);
    }
    end_at(spec, status, since, asked.until(limit, Why::LiveLimit, now), now)
}

fn standby(
    spec: &MemorialStreamSpec,
    status: &MemorialStreamStatus,
    asked: Desired,
    now: Timestamp,
) -> Desired {
    let held = Desired { next_change: asked.next_change, ..Desired::because(State::Idle, Why::StandbyLimit) };
    if status.standby_limit.as_ref().is_some_and(|struck| struck.request == request_fingerprint(spec)) {
        return held;
    }
    let since = status.standby_since.as_ref().map_or(now, |since| since.0);
    let minutes = spec.limits.as_ref().and_then(|limits| limits.standby_minutes).unwrap_or(720);
    let limit = after(since, minutes);
    if limit <= now {
        return held;
    }
    end_at(spec, status, since, asked.until(limit, Why::StandbyLimit, now), now)
}

/// `schedule.endAt` strikes whoever asked for what goes on, if it began before. It waits while a camera still sends.
fn end_at(
    spec: &MemorialStreamSpec,
    status: &MemorialStreamStatus,
    since: Timestamp,
    asked: Desired,
    now: Timestamp,
) -> Desired {
    let Some(schedule) = &spec.schedule else { return asked };
    let Some(at) = schedule.end_at.as_ref().map(|at| at.0) else { return asked };
    let struck = || match (asked.why, asked.state) {
        (Why::Schedule, _) => Desired::because(State::Ended, Why::Schedule),
        // Nothing was on air: a session that never began can still be live.
        (_, State::Standby) => Desired::because(State::Idle, Why::EndAt),
        _ => Desired::because(State::Ended, Why::EndAt),
    };
    if since >= at && asked.why != Why::Schedule {
        // Asked for afterwards, by somebody who knew.
        return asked;
    }
    if now < at {
        return asked.until(at, Why::EndAt, now);
    }
    let latest = after(at, schedule.overrun_minutes.unwrap_or(60));
    if now >= latest {
        return struck();
    }
    match cameras_send_until(status, now) {
        Some(until) => {
            let mut waiting = asked.until(latest, Why::Overrun, now);
            waiting.next_change = Some(waiting.next_change.map_or(until, |next| next.min(until)));
            // It may end within a minute, whatever else limits it later.
            waiting.limit = waiting.limit.map(|limit| Limit { why: Why::Overrun, ..limit });
            waiting
        }
        None => struck(),
    }
}

/// The limit that strikes within the time in which it is told, or that may strike as soon as no camera sends.
pub fn ending_soon(desired: &Desired, now: Timestamp) -> Option<Limit> {
    desired.limit.filter(|limit| limit.why == Why::Overrun || limit.at.duration_since(now) <= WARNING)
}

/// What will happen, and how to go on. Times stand in UTC.
pub fn how_to_go_on(limit: Limit) -> String {
    let at = limit.at.strftime("%H:%M:%SZ");
    match limit.why {
        Why::EndAt => format!(
            "schedule.endAt ends this service at {at}, or, while cameras send, schedule.overrunMinutes later at the \
             latest; to go on, move schedule.endAt"
        ),
        Why::Overrun => format!(
            "schedule.endAt has come: this service ends once no camera has sent for {} s, at {at} at the latest; to go \
             on, move schedule.endAt",
            CAMERA_PAUSE.as_secs()
        ),
        Why::StandbyLimit => {
            format!(
                "the standby limit falls back to Idle at {at}; to go on, raise limits.standbyMinutes, which ends at {}, or \
                 set spec.state to Idle and then to Standby",
                MOST_STANDBY_MINUTES
            )
        }
        _ => format!(
            "the live limit ends this service at {at}; to go on, raise limits.liveMinutes, which Mux bounds at 720"
        ),
    }
}

/// Until when cameras count as sending at the least; absent when none does.
fn cameras_send_until(status: &MemorialStreamStatus, now: Timestamp) -> Option<Timestamp> {
    let sources = status.compositor.iter().flat_map(|compositor| &compositor.sources);
    sources
        .filter_map(|source| match source.state.as_str() {
            "Live" => now.checked_add(CAMERA_PAUSE).ok(),
            _ => source.since.as_ref()?.0.checked_add(CAMERA_PAUSE).ok(),
        })
        .max()
        .filter(|until| *until > now)
}

fn after(time: Timestamp, minutes: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_mins(minutes)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::spec::{EgressSettings, Limits, Schedule};
    use crate::api::status::{CompositorStatus, CreateIntent, SourceStatus, StruckLimit};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn time(minute: i64) -> Option<Time> {
        Some(Time(at(minute)))
    }

    fn object(spec: MemorialStreamSpec, status: MemorialStreamStatus) -> MemorialStream {
        let mut object = MemorialStream::new("jane-doe", spec);
        object.status = Some(status);
        object
    }

    fn scheduled() -> MemorialStreamSpec {
        let schedule =
            Schedule { standby_at: time(10), live_at: time(20), end_at: time(30), overrun_minutes: None };
        MemorialStreamSpec { schedule: Some(schedule), ..MemorialStreamSpec::default() }
    }

    #[test]
    fn a_struck_standby_limit_waits_no_longer_than_until_the_next_step() {
        let mut spec = scheduled();
        spec.limits = Some(Limits { standby_minutes: Some(5), live_minutes: None });
        let status = MemorialStreamStatus { standby_since: time(10), ..MemorialStreamStatus::default() };
        let struck = desired(&object(spec, status), at(16));
        assert_eq!((struck.why, struck.next_change), (Why::StandbyLimit, Some(at(20))));
    }

    #[test]
    fn the_schedule_decides_when_nobody_does() {
        let table = [
            (0, State::Idle, Some(10)),
            (10, State::Standby, Some(15)),
            (19, State::Standby, Some(20)),
            (20, State::Live, Some(30)),
            (30, State::Ended, None),
            (99, State::Ended, None),
        ];
        for (now, state, next) in table {
            let desired = desired(&object(scheduled(), MemorialStreamStatus::default()), at(now));
            assert_eq!((desired.state, desired.next_change), (state, next.map(at)), "minute {now}");
        }
    }

    #[test]
    fn a_person_beats_the_schedule() {
        let spec = MemorialStreamSpec { state: Some(State::Standby), ..scheduled() };
        let desired = desired(&object(spec, MemorialStreamStatus::default()), at(25));
        assert_eq!((desired.state, desired.why), (State::Standby, Why::State));
    }

    #[test]
    fn a_session_that_was_ended_stays_ended_and_a_higher_one_goes_live() {
        let status = MemorialStreamStatus { ended_session: Some(1), ..MemorialStreamStatus::default() };
        let ask = |session| MemorialStreamSpec {
            state: Some(State::Live),
            session: Some(session),
            ..MemorialStreamSpec::default()
        };
        assert_eq!(desired(&object(ask(1), status.clone()), at(0)).why, Why::SessionEnded);
        assert_eq!(desired(&object(ask(2), status), at(0)).state, State::Live);
    }

    #[test]
    fn the_live_limit_ends_a_broadcast_that_is_under_way() {
        let limits = Limits { live_minutes: Some(5), standby_minutes: None };
        let spec = MemorialStreamSpec {
            state: Some(State::Live),
            limits: Some(limits),
            ..MemorialStreamSpec::default()
        };
        let status = MemorialStreamStatus { live_since: time(0), ..MemorialStreamStatus::default() };
        let before = desired(&object(spec.clone(), status.clone()), at(4));
        assert_eq!((before.state, before.next_change), (State::Live, Some(at(5))));
        assert_eq!(desired(&object(spec.clone(), status.clone()), at(5)).why, Why::LiveLimit);
        let never_began = desired(&object(spec, status), at(500));
        assert_eq!(never_began.why, Why::LiveLimit, "whether a sender ever ran or not");
    }

    #[test]
    fn a_struck_standby_limit_holds_idle_until_the_request_changes() {
        let spec = MemorialStreamSpec { state: Some(State::Standby), ..MemorialStreamSpec::default() };
        let since = MemorialStreamStatus { standby_since: time(0), ..MemorialStreamStatus::default() };
        assert_eq!(desired(&object(spec.clone(), since.clone()), at(719)).state, State::Standby);
        let struck = desired(&object(spec.clone(), since), at(720));
        assert_eq!((struck.state, struck.why), (State::Idle, Why::StandbyLimit));
        let limit = StruckLimit { at: Time(at(720)), request: request_fingerprint(&spec) };
        let status = MemorialStreamStatus { standby_limit: Some(limit), ..MemorialStreamStatus::default() };
        assert_eq!(desired(&object(spec.clone(), status.clone()), at(2000)).why, Why::StandbyLimit);
        let asked_again = MemorialStreamSpec { session: Some(2), ..spec };
        assert_eq!(desired(&object(asked_again, status), at(2000)).state, State::Standby);
    }

    fn live_with_end(
        end: i64,
        overrun: Option<i64>,
        since: i64,
        camera: Option<(&str, i64)>,
    ) -> MemorialStream {
        let schedule = Schedule { end_at: time(end), overrun_minutes: overrun, ..Schedule::default() };
        let spec = MemorialStreamSpec {
            state: Some(State::Live),
            schedule: Some(schedule),
            ..MemorialStreamSpec::default()
        };
        let source = |(state, since): (&str, i64)| SourceStatus {
            name: "lectern".into(),
            state: state.into(),
            since: time(since),
        };
        let status = MemorialStreamStatus {
            live_since: time(since),
            compositor: Some(CompositorStatus {
                sources: camera.map(source).into_iter().collect(),
                ..CompositorStatus::default()
            }),
            ..MemorialStreamStatus::default()
        };
        object(spec, status)
    }

    #[test]
    fn a_lane_comes_back_when_the_answer_changes_and_never_spins() {
        let until = |next_change| {
            let desired = Desired { next_change, ..Desired::because(State::Live, Why::State) };
            desired.until_next_change(at(10))
        };
        assert_eq!(until(None), None);
        assert_eq!(until(Some(at(12))), Some(Duration::from_secs(120)));
        for past in [at(10), at(9)] {
            assert_eq!(until(Some(past)), Some(Duration::from_millis(50)));
        }
    }

    #[test]
    fn end_at_ends_what_a_person_asked_for_and_is_told_before() {
        let silent = live_with_end(60, None, 0, None);
        let before = desired(&silent, at(40));
        assert_eq!((before.state, before.next_change), (State::Live, Some(at(45))), "when it is told");
        assert_eq!(before.limit, Some(Limit { at: at(60), why: Why::EndAt }));
        assert_eq!(desired(&silent, at(50)).next_change, Some(at(60)));
        let struck = desired(&silent, at(60));
        assert_eq!((struck.state, struck.why), (State::Ended, Why::EndAt));
    }

    #[test]
    fn end_at_waits_for_a_camera_that_sends_up_to_the_overrun() {
        let sends = live_with_end(60, Some(30), 0, Some(("Live", 10)));
        assert_eq!(desired(&sends, at(89)).state, State::Live);
        assert_eq!(desired(&sends, at(90)).why, Why::EndAt);
        let fell_silent = live_with_end(60, Some(30), 0, Some(("Stalled", 70)));
        assert_eq!(desired(&fell_silent, at(70)).state, State::Live, "a moment's silence is no end");
        assert_eq!(desired(&fell_silent, at(71)).why, Why::EndAt);
        assert_eq!(desired(&live_with_end(60, Some(0), 0, Some(("Live", 10))), at(60)).why, Why::EndAt);
    }

    #[test]
    fn a_service_that_may_end_any_minute_is_told_of_all_the_time() {
        let sends = live_with_end(60, Some(60), 0, Some(("Live", 10)));
        let soon = |minute| ending_soon(&desired(&sends, at(minute)), at(minute)).map(|limit| limit.why);
        assert_eq!(soon(44), None);
        assert_eq!(soon(45), Some(Why::EndAt));
        assert_eq!(soon(61), Some(Why::Overrun), "an hour before it ends at the latest");
        let mut shorter = sends.clone();
        shorter.spec.limits = Some(Limits { live_minutes: Some(100), standby_minutes: None });
        let limit = desired(&shorter, at(61)).limit.unwrap();
        assert_eq!(limit, Limit { at: at(100), why: Why::Overrun }, "and within any minute before that");
        let limit = desired(&sends, at(61)).limit.unwrap();
        let words = how_to_go_on(limit);
        assert!(words.contains("no camera has sent for 60 s, at 02:00:00Z at the latest"), "{words}");
    }

    #[test]
    fn end_at_lets_a_persons_standby_fall_back_once_no_camera_sends() {
        let standby = |camera| {
            let mut object = live_with_end(60, Some(30), 0, camera);
            object.spec.state = Some(State::Standby);
            let status = object.status.as_mut().unwrap();
            status.standby_since = status.live_since.take();
            object
        };
        assert_eq!(
            desired(&standby(Some(("Live", 10))), at(89)).state,
            State::Standby,
            "the service is late"
        );
        let mut silent = standby(None);
        let struck = desired(&silent, at(60));
        assert_eq!((struck.state, struck.why), (State::Idle, Why::EndAt));
        let request = request_fingerprint(&silent.spec);
        let status = silent.status.as_mut().unwrap();
        (status.standby_since, status.standby_limit) =
            (None, Some(StruckLimit { at: Time(at(60)), request }));
        assert_eq!(desired(&silent, at(61)).why, Why::StandbyLimit, "it does not come back by itself");
        silent.spec.state = Some(State::Live);
        assert_eq!(desired(&silent, at(61)).state, State::Live, "and may still go live");
    }

    #[test]
    fn end_at_leaves_alone_what_was_asked_for_after_it() {
        let later = live_with_end(60, None, 61, Some(("Live", 61)));
        let desired = desired(&later, at(100));
        assert_eq!(
            (desired.state, desired.limit.map(|limit| limit.why)),
            (State::Live, Some(Why::LiveLimit))
        );
    }

    #[test]
    fn the_schedules_own_end_waits_for_a_camera_too() {
        let mut service = live_with_end(30, Some(20), 20, Some(("Live", 25)));
        service.spec.state = None;
        service.spec.schedule =
            Some(Schedule { live_at: time(20), ..service.spec.schedule.clone().unwrap_or_default() });
        assert_eq!(desired(&service, at(49)).state, State::Live);
        let struck = desired(&service, at(50));
        assert_eq!((struck.state, struck.why), (State::Ended, Why::Schedule));
    }

    #[test]
    fn a_limit_is_told_a_quarter_of_an_hour_before_and_says_how_to_go_on() {
        let service = live_with_end(60, None, 0, None);
        assert_eq!(ending_soon(&desired(&service, at(44)), at(44)), None);
        let told = desired(&service, at(45));
        assert_eq!(told.next_change, Some(at(60)), "it is told now; next it strikes");
        assert_eq!(ending_soon(&told, at(45)), Some(Limit { at: at(60), why: Why::EndAt }));
        let ways = [
            (Why::EndAt, "move schedule.endAt"),
            (Why::StandbyLimit, "raise limits.standbyMinutes"),
            (Why::LiveLimit, "raise limits.liveMinutes"),
        ];
        for (why, way) in ways {
            let words = how_to_go_on(Limit { at: at(60), why });
            assert!(words.contains("01:00:00Z") && words.contains(way), "{words}");
        }
    }

    #[test]
    fn of_two_limits_at_the_same_time_the_first_is_named() {
        let limit = desired(&live_with_end(360, None, 0, None), at(100)).limit;
        assert_eq!(limit, Some(Limit { at: at(360), why: Why::LiveLimit }));
    }

    /// Started, and not known to have stopped.
    fn under_way(egress: EgressStatus) -> MemorialStreamStatus {
        MemorialStreamStatus {
            started_at: time(0),
            egress: Some(Box::new(egress)),
            ..MemorialStreamStatus::default()
        }
    }

    #[test]
    fn the_way_out_is_fixed_once_a_sender_may_run() {
        let spec = MemorialStreamSpec {
            egress: Some(EgressSettings { via: Some(Via::Compositor), livekit: None }),
            session: Some(2),
            ..MemorialStreamSpec::default()
        };
        let attempt = EgressStatus { via: Some(Via::LiveKit), ..EgressStatus::default() };
        let named = EgressStatus { id: Some("EG_1".into()), ..attempt.clone() };
        let intent = CreateIntent { since: Time(at(0)), absent_since: None };
        let starting = EgressStatus { starting: Some(intent), ..attempt.clone() };
        assert_eq!(via(&spec, &under_way(attempt.clone())), Via::Compositor, "none came about");
        assert_eq!(via(&spec, &under_way(named.clone())), Via::LiveKit);
        assert_eq!(via(&spec, &under_way(starting)), Via::LiveKit, "its answer is not known");
        let own = |state: SenderState| EgressStatus {
            via: Some(Via::Compositor),
            status: Some(state.as_str().into()),
            ..EgressStatus::default()
        };
        let elsewhere = MemorialStreamSpec {
            egress: Some(EgressSettings { via: Some(Via::LiveKit), livekit: None }),
            ..spec.clone()
        };
        assert_eq!(via(&elsewhere, &under_way(own(SenderState::Connecting))), Via::LiveKit);
        assert_eq!(via(&elsewhere, &under_way(own(SenderState::Connected))), Via::Compositor);
        for (live_session, way) in [(1, Via::Compositor), (2, Via::LiveKit)] {
            let status =
                MemorialStreamStatus { live_session: Some(live_session), ..under_way(attempt.clone()) };
            assert_eq!(via(&spec, &status), way, "session {live_session} reached Mux");
        }
        let over = MemorialStreamStatus { ended_at: time(1), ..under_way(named) };
        assert_eq!(via(&spec, &over), Via::Compositor);
    }

    #[test]
    fn the_slate_says_farewell_while_a_broadcast_that_people_end_is_under_way() {
        let running = under_way(EgressStatus::default());
        let over = MemorialStreamStatus { ended_at: time(1), ..running.clone() };
        let farewell = |state, why, status| says_farewell(&Desired::because(state, why), status);
        assert!(farewell(State::Ended, Why::State, &running));
        assert!(!farewell(State::Ended, Why::State, &over));
        assert!(!farewell(State::Ended, Why::Deletion, &running), "nobody waits for what is deleted");
        assert!(!farewell(State::Live, Why::State, &running));
    }
}
