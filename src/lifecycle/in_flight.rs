//! A start of an egress that runs beside the lane: it takes up to 90 s, and the lane must stay free to end or delete.

use crate::providers::ProviderError;
use crate::providers::livekit::Egress;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A start of an egress beside the lane.
#[derive(Clone, Debug, PartialEq)]
pub enum StartSeen {
    /// None.
    None,
    /// Under way.
    InFlight,
    /// LiveKit answered.
    Finished(Result<Box<Egress>, ProviderError>),
}

/// The start of one object's egress.
#[derive(Debug, Default)]
pub struct InFlight {
    start: Mutex<Start>,
}

#[derive(Debug, Default)]
enum Start {
    #[default]
    None,
    InFlight,
    Finished(Result<Box<Egress>, ProviderError>),
}

impl InFlight {
    fn inner(&self) -> MutexGuard<'_, Start> {
        self.start.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it is. Its answer is told once; after that, status knows it or a search finds it.
    pub fn seen(&self) -> StartSeen {
        let mut start = self.inner();
        match std::mem::take(&mut *start) {
            Start::None => StartSeen::None,
            Start::InFlight => {
                *start = Start::InFlight;
                StartSeen::InFlight
            }
            Start::Finished(result) => StartSeen::Finished(result),
        }
    }

    /// It begins.
    pub fn begins(&self) {
        *self.inner() = Start::InFlight;
    }

    /// It has its answer.
    pub fn finished(&self, result: Result<Egress, ProviderError>) {
        *self.inner() = Start::Finished(result.map(Box::new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_start_is_told_once() {
        let start = InFlight::default();
        start.begins();
        assert_eq!(start.seen(), StartSeen::InFlight);
        assert_eq!(start.seen(), StartSeen::InFlight);
        let error = ProviderError::transient_for_test();
        start.finished(Err(error.clone()));
        assert_eq!(start.seen(), StartSeen::Finished(Err(error)));
        assert_eq!(start.seen(), StartSeen::None);
    }
}
