//! Absence is not a command: a GitOps tool takes fields away that Git does not have, so what a person said goes on until a
//! person says otherwise. Pure.

use super::desired::session;
use crate::api::spec::{Program, State};
use crate::api::status::{Held, Said};
use crate::api::{MemorialStream, MemorialStreamSpec, MemorialStreamStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// The object as if people's words still stood in it where they vanished.
pub fn with_held_words(object: &MemorialStream) -> MemorialStream {
    let mut whole = object.clone();
    let nothing = MemorialStreamStatus::default();
    let status = object.status.as_ref().unwrap_or(&nothing);
    let said = status.said.clone().unwrap_or_default();
    let before = said.session.unwrap_or(1);
    whole.spec.session = whole.spec.session.or(said.session);
    let new_session = session(&whole.spec) > before;
    if whole.spec.state.is_none() && !new_session {
        whole.spec.state = said.state;
    }
    if whole.spec.program.is_none() {
        whole.spec.program = held_program(&whole, status);
    }
    whole
}

/// The Program that was said last in this session, as far as its cameras are still declared.
fn held_program(whole: &MemorialStream, status: &MemorialStreamStatus) -> Option<Program> {
    let shown = status.program.as_ref()?;
    let mut program = shown.said.clone().filter(|_| shown.said_in_session == Some(session(&whole.spec)))?;
    let declared = |name: &String| whole.spec.cameras.iter().any(|camera| camera.name == *name);
    for names in [&mut program.sources, &mut program.fallback].into_iter().flatten() {
        names.retain(declared);
    }
    Some(program)
}

/// What people have said up to now of state and session: `before`, and what the spec says.
pub fn said(before: Option<Said>, spec: &MemorialStreamSpec) -> Option<Said> {
    if before.is_none() && spec.state.is_none() && spec.session.is_none() {
        return None;
    }
    let before = before.unwrap_or_default();
    let new_session = spec.session.is_some_and(|session| session > before.session.unwrap_or(1));
    let state = match spec.state {
        // Nobody's word any more: the schedule's.
        Some(State::Scheduled) => None,
        Some(state) => Some(state),
        None if new_session => None,
        None => before.state,
    };
    Some(Said { state, session: spec.session.or(before.session) })
}

/// Status, once it says so. What a raised session asks for begins now: limits that the one before had come near to are not
/// its own.
pub fn heard(before: &MemorialStreamStatus, said: Option<Said>) -> MemorialStreamStatus {
    let session = |said: &Option<Said>| said.as_ref().and_then(|said| said.session).unwrap_or(1);
    let goes_on = session(&said) <= session(&before.said);
    MemorialStreamStatus {
        live_since: before.live_since.clone().filter(|_| goes_on),
        standby_since: before.standby_since.clone().filter(|_| goes_on),
        said,
        ..before.clone()
    }
}

/// What is held: the words in `whole` that `object` lacks.
pub fn held(object: &MemorialStream, whole: &MemorialStream, now: Timestamp) -> Option<Held> {
    let before = object.status.as_ref().and_then(|status| status.held.clone());
    let missing = |there: bool| !there;
    let state = whole.spec.state.filter(|_| missing(object.spec.state.is_some()));
    let session = whole.spec.session.filter(|_| missing(object.spec.session.is_some()));
    let program = whole.spec.program.as_ref().filter(|_| missing(object.spec.program.is_some()));
    let sources = program.map(|program| program.sources.clone().unwrap_or_default());
    if state.is_none() && session.is_none() && sources.is_none() {
        return None;
    }
    let held = Held { state, session, sources, since: Time(now) };
    // It began when the first of them vanished.
    Some(match before {
        Some(before) => Held { since: before.since, ..held },
        None => held,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::spec::Camera;
    use crate::api::status::ProgramStatus;
    use crate::service::desired::{Why, desired};

    fn object(state: Option<State>, session: Option<i64>) -> MemorialStream {
        let camera = |name: &str| Camera { name: name.into(), display_name: None };
        let cameras = vec![camera("lectern"), camera("wide")];
        MemorialStream::new("jane-doe", MemorialStreamSpec { state, session, cameras, ..Default::default() })
    }

    fn all_said(object: &MemorialStream) -> Option<Said> {
        said(object.status.as_ref().and_then(|status| status.said.clone()), &object.spec)
    }

    /// What the next pass sees after `object` was seen and a tool applied `after`.
    fn synced(object: &MemorialStream, mut after: MemorialStream) -> MemorialStream {
        let status =
            MemorialStreamStatus { said: all_said(object), ..object.status.clone().unwrap_or_default() };
        after.status = Some(status);
        after
    }

    /// `schedule.endAt` strikes what began before it, and is left alone by who asks again afterwards.
    #[test]
    fn what_a_raised_session_asks_for_begins_now() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let schedule = crate::api::spec::Schedule { end_at: Some(Time(at(60))), ..Default::default() };
        for (state, since) in [(State::Live, at(0)), (State::Standby, at(0))] {
            let mut object = object(Some(state), None);
            object.spec.schedule = Some(schedule.clone());
            let status = object.status.get_or_insert_default();
            status.said = Some(Said { state: Some(state), session: None });
            (status.live_since, status.standby_since) = (Some(Time(since)), Some(Time(since)));
            let again = |object: &MemorialStream| {
                let before = object.status.clone().unwrap();
                let mut heard = object.clone();
                heard.status = Some(super::heard(&before, said(before.said.clone(), &object.spec)));
                desired(&heard, at(200)).state
            };
            assert_ne!(again(&object), state, "it is over");
            object.spec.session = Some(1);
            assert_ne!(again(&object), state, "no other session");
            object.spec.session = Some(2);
            assert_eq!(again(&object), state);
        }
    }

    #[test]
    fn a_state_and_a_session_that_vanish_are_held() {
        for state in [State::Idle, State::Standby, State::Live, State::Ended] {
            let stripped = synced(&object(Some(state), Some(3)), object(None, None));
            let whole = with_held_words(&stripped);
            assert_eq!((whole.spec.state, whole.spec.session), (Some(state), Some(3)));
            let held = held(&stripped, &whole, Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!((held.state, held.session, held.sources), (Some(state), Some(3), None));
            let again = synced(&stripped, object(None, None));
            assert_eq!(
                with_held_words(&again).spec.state,
                Some(state),
                "for as long as nobody says otherwise"
            );
        }
    }

    #[test]
    fn a_state_alone_is_held_and_the_same_session_again_ends_no_hold() {
        let stripped = synced(&object(Some(State::Live), None), object(None, None));
        let held = held(&stripped, &with_held_words(&stripped), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((held.state, held.session), (Some(State::Live), None));
        for (session, state) in [(1, Some(State::Live)), (2, None)] {
            let with_session = synced(&stripped, object(None, Some(session)));
            let said = all_said(&with_session).unwrap();
            assert_eq!((said.state, said.session), (state, Some(session)));
        }
    }

    #[test]
    fn a_hold_counts_from_when_the_first_word_vanished() {
        let mut stripped = synced(&object(Some(State::Live), None), object(None, None));
        let whole = with_held_words(&stripped);
        let first = held(&stripped, &whole, Timestamp::UNIX_EPOCH).unwrap();
        stripped.status.as_mut().unwrap().held = Some(first.clone());
        assert_eq!(held(&stripped, &whole, Timestamp::MAX), Some(first));
    }

    #[test]
    fn what_was_never_said_is_not_held() {
        let silent = synced(&object(None, None), object(None, None));
        assert_eq!(with_held_words(&silent).spec, silent.spec);
        assert_eq!(held(&silent, &silent, Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn an_explicit_word_and_a_new_session_end_the_hold() {
        let live = object(Some(State::Live), Some(1));
        let said_otherwise = synced(&live, object(Some(State::Idle), None));
        assert_eq!(with_held_words(&said_otherwise).spec.state, Some(State::Idle));
        let scheduled = synced(&synced(&live, object(Some(State::Scheduled), None)), object(None, None));
        assert_eq!(with_held_words(&scheduled).spec.state, None, "the schedule has the word");
        let next = synced(&live, object(None, Some(2)));
        assert_eq!(with_held_words(&next).spec.state, None, "nobody asked for a second broadcast");
        let mut over = synced(&live, object(None, None));
        over.status.as_mut().unwrap().ended_session = Some(1);
        let desired = desired(&with_held_words(&over), Timestamp::UNIX_EPOCH);
        assert_eq!(
            (desired.state, desired.why),
            (State::Ended, Why::SessionEnded),
            "and no schedule begins anew"
        );
    }

    #[test]
    fn a_program_that_vanishes_stays_with_the_cameras_that_there_still_are() {
        let sources = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let program =
            Program { sources: sources(&["lectern"]), fallback: sources(&["gone", "wide"]), layout: None };
        let mut object = object(Some(State::Live), None);
        object.status = Some(MemorialStreamStatus {
            program: Some(Box::new(ProgramStatus {
                said: Some(program),
                said_in_session: Some(1),
                ..ProgramStatus::default()
            })),
            ..MemorialStreamStatus::default()
        });
        let held = with_held_words(&object).spec.program.unwrap();
        assert_eq!((held.sources, held.fallback), (sources(&["lectern"]), sources(&["wide"])));
        object.spec.session = Some(2);
        assert_eq!(with_held_words(&object).spec.program, None);
        object.spec.program = Some(Program { sources: sources(&[]), ..Program::default() });
        assert_eq!(
            with_held_words(&object).spec.program.unwrap().sources,
            sources(&[]),
            "the slate is a word too"
        );
    }
}
