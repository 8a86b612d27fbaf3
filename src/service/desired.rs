//! Which state is wanted now, and why: `state` beats `schedule`, a broadcast that was ended stays ended, and the
//! limits beat both. Pure.

use crate::api::spec::{State, Via};
use crate::api::{MemorialStream, MemorialStreamSpec, MemorialStreamStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The wanted state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The state to bring about.
    pub state: State,
    /// Why this one.
    pub why: Why,
    /// When time alone will change the answer.
    pub next_change: Option<Timestamp>,
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
    /// Standby lasted as long as the limit allows.
    StandbyLimit,
    /// The object is being deleted.
    Deletion,
}

/// The session that the spec asks for.
pub fn session(spec: &MemorialStreamSpec) -> i64 {
    spec.session.unwrap_or(1)
}

/// Whether a broadcast is under way: its sender was started and is not known to have stopped.
pub fn broadcast_under_way(status: &MemorialStreamStatus) -> bool {
    status.started_at.is_some() && status.ended_at.is_none()
}

/// Who sends Program to Mux. Fixed while a broadcast is under way.
pub fn via(spec: &MemorialStreamSpec, status: &MemorialStreamStatus) -> Via {
    let fixed = status.egress.as_ref().and_then(|egress| egress.via);
    fixed
        .filter(|_| broadcast_under_way(status))
        .unwrap_or_else(|| spec.egress.as_ref().and_then(|egress| egress.via).unwrap_or_default())
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
        return Desired { state: State::Ended, why: Why::Deletion, next_change: None };
    }
    let nothing = MemorialStreamStatus::default();
    let status = object.status.as_ref().unwrap_or(&nothing);
    let asked = asked(&object.spec, now);
    match asked.state {
        State::Live => live(&object.spec, status, asked, now),
        State::Standby => standby(&object.spec, status, asked, now),
        State::Idle | State::Ended => asked,
    }
}

fn asked(spec: &MemorialStreamSpec, now: Timestamp) -> Desired {
    if let Some(state) = spec.state {
        return Desired { state, why: Why::State, next_change: None };
    }
    let Some(schedule) = &spec.schedule else {
        return Desired { state: State::Idle, why: Why::Default, next_change: None };
    };
    let steps = [
        (schedule.standby_at.as_ref(), State::Standby),
        (schedule.live_at.as_ref(), State::Live),
        (schedule.end_at.as_ref(), State::Ended),
    ];
    let mut desired = Desired { state: State::Idle, why: Why::Schedule, next_change: None };
    for (time, state) in steps {
        match time {
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
    let ended = |why| Desired { state: State::Ended, why, next_change: None };
    if status.ended_session.is_some_and(|ended| ended >= session(spec)) {
        return ended(Why::SessionEnded);
    }
    let Some(started) = status.started_at.as_ref().filter(|_| broadcast_under_way(status)) else {
        return asked;
    };
    let minutes = spec.limits.as_ref().and_then(|limits| limits.live_minutes).unwrap_or(360);
    let limit = after(started.0, minutes);
    if limit <= now { ended(Why::LiveLimit) } else { with_limit(asked, limit) }
}

fn standby(
    spec: &MemorialStreamSpec,
    status: &MemorialStreamStatus,
    asked: Desired,
    now: Timestamp,
) -> Desired {
    let held = Desired { state: State::Idle, why: Why::StandbyLimit, next_change: asked.next_change };
    if status.standby_limit.as_ref().is_some_and(|struck| struck.request == request_fingerprint(spec)) {
        return held;
    }
    let Some(since) = &status.standby_since else { return asked };
    let minutes = spec.limits.as_ref().and_then(|limits| limits.standby_minutes).unwrap_or(720);
    let limit = after(since.0, minutes);
    if limit <= now { held } else { with_limit(asked, limit) }
}

fn with_limit(asked: Desired, limit: Timestamp) -> Desired {
    let next_change = asked.next_change.map_or(limit, |next| next.min(limit));
    Desired { next_change: Some(next_change), ..asked }
}

fn after(time: Timestamp, minutes: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_mins(minutes)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::spec::{Limits, Schedule};
    use crate::api::status::StruckLimit;
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
        let schedule = Schedule { standby_at: time(10), live_at: time(20), end_at: time(30) };
        MemorialStreamSpec { schedule: Some(schedule), ..MemorialStreamSpec::default() }
    }

    #[test]
    fn the_schedule_decides_when_nobody_does() {
        let table = [
            (0, State::Idle, Some(10)),
            (10, State::Standby, Some(20)),
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
        let status = MemorialStreamStatus { started_at: time(0), ..MemorialStreamStatus::default() };
        let before = desired(&object(spec.clone(), status.clone()), at(4));
        assert_eq!((before.state, before.next_change), (State::Live, Some(at(5))));
        assert_eq!(desired(&object(spec.clone(), status.clone()), at(5)).why, Why::LiveLimit);
        let over = MemorialStreamStatus { ended_at: time(1), ..status };
        assert_eq!(
            desired(&object(spec, over), at(500)).state,
            State::Live,
            "an earlier broadcast does not count"
        );
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
}
