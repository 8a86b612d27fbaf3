//! A status that the API server refuses: a webhook or a policy is in the way, or its CRD is older than the operator. Nothing
//! is begun then, and what is to end does so all the same, but for the room: its name is never used again, which must be
//! written down. From an API server that does not answer nothing follows: it may hold a newer object.

use crate::api::conditions::ConditionType;
use crate::api::status::says_the_same;
use crate::api::{MemorialStream, MemorialStreamStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far an end has come that no status tells of. Lost with the process: then the end begins anew.
#[derive(Debug, Default)]
pub struct Unwritten(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    /// What the API server holds: what it held before, or what it seemed not to take.
    stored: [MemorialStreamStatus; 2],
    /// How things stand.
    status: MemorialStreamStatus,
}

impl Unwritten {
    /// Every status was taken.
    pub fn is_empty(&self) -> bool {
        self.kept().is_none()
    }

    /// The object as it would be had its last status been taken; none where it was, or somebody wrote another since.
    pub fn over(&self, object: &MemorialStream) -> Option<MemorialStream> {
        let mut kept = self.kept();
        let Kept { stored, status } = kept.as_ref()?;
        let now = object.status.clone().unwrap_or_default();
        let held = without_words(now.clone());
        if stored.iter().all(|stored| !says_the_same(stored, &held)) {
            *kept = None;
            return None;
        }
        let mut status = MemorialStreamStatus {
            said: now.said,
            held: now.held,
            program: now.program,
            ..progress(status.clone())
        };
        status.conditions.extend(now.conditions.into_iter().filter(is_programs));
        Some(MemorialStream { status: Some(status), ..object.clone() })
    }

    /// The API server held `object`, and seemed not to take `tried`; by now things stand as `status` says.
    pub fn keep(&self, object: &MemorialStream, tried: MemorialStreamStatus, status: MemorialStreamStatus) {
        let before = object.status.clone().unwrap_or_default();
        *self.kept() = Some(Kept { stored: [before, tried].map(without_words), status });
    }

    /// A status was taken.
    pub fn forget(&self) {
        *self.kept() = None;
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_programs(condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> bool {
    condition.type_ == ConditionType::ProgramApplied.as_str()
}

/// What a raised session asks for begins when it is heard.
fn without_words(status: MemorialStreamStatus) -> MemorialStreamStatus {
    MemorialStreamStatus { live_since: None, standby_since: None, ..progress(status) }
}

/// Without what the fast lane writes, and without people's words, which every pass hears anew.
fn progress(mut status: MemorialStreamStatus) -> MemorialStreamStatus {
    status.conditions.retain(|condition| !is_programs(condition));
    MemorialStreamStatus { said: None, held: None, program: None, ..status }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::spec::State;

    fn status(state: State) -> MemorialStreamStatus {
        MemorialStreamStatus { state: Some(state), ..MemorialStreamStatus::default() }
    }

    fn object(status: MemorialStreamStatus) -> MemorialStream {
        MemorialStream { status: Some(status), ..MemorialStream::new("jane-doe", Default::default()) }
    }

    #[test]
    fn what_was_not_taken_goes_on_until_somebody_writes() {
        let unwritten = Unwritten::default();
        let stored = object(status(State::Live));
        assert!(unwritten.over(&stored).is_none());
        unwritten.keep(&stored, status(State::Idle), status(State::Ended));
        let over = unwritten.over(&stored).unwrap();
        assert_eq!(over.status.unwrap().state, Some(State::Ended));
        // Only the answer was lost.
        let over = unwritten.over(&object(status(State::Idle))).unwrap();
        assert_eq!(over.status.unwrap().state, Some(State::Ended));
        // The fast lane's part is its own, and does not matter.
        let program = Some(Default::default());
        let shown = object(MemorialStreamStatus { program, ..status(State::Live) });
        let over = unwritten.over(&shown).unwrap().status.unwrap();
        assert_eq!((over.state, over.program.is_some()), (Some(State::Ended), true));
        assert!(unwritten.over(&object(status(State::Standby))).is_none(), "somebody wrote");
        assert!(unwritten.is_empty());
    }
}
