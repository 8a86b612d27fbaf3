//! Requests that run beside the lane, which must stay free to end or delete: a start of an egress takes up to 90 s, and
//! LiveKit answers a stop of one whose worker is dead only after its own time-out.

use crate::providers::livekit::Egress;
use crate::providers::{ErrorClass, ProviderError};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A worker that answers is asked again in the next pass, two seconds later: the second silence of one that is dead is over
/// within 10 s, whatever Mux says.
const ASKED_EVERY: Duration = Duration::from_millis(1_500);

/// A start of an egress beside the lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum StartSeen {
    /// None.
    #[default]
    None,
    /// Under way.
    InFlight,
    /// LiveKit answered.
    Finished(Result<Box<Egress>, ProviderError>),
}

impl StartSeen {
    /// It surely brought nothing about.
    pub fn failed(&self) -> bool {
        matches!(self, Self::Finished(Err(error)) if error.class != ErrorClass::InDoubt)
    }
}

/// What the worker of an egress answered when it was asked whether it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerSeen {
    /// The egress.
    pub id: String,
    /// It is being asked right now.
    pub asked: bool,
    /// How often in a row it did not answer.
    pub misses: u32,
    /// It answered some time ago: whoever has a stake in it asks it again.
    pub due: bool,
}

/// What runs beside the lane for one object.
#[derive(Debug, Default)]
pub struct InFlight {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    start: StartSeen,
    stops: BTreeSet<String>,
    worker: Option<WorkerSeen>,
    worker_told_at: Option<Instant>,
}

impl InFlight {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing runs, and nothing that ran is still to be told.
    pub fn is_empty(&self) -> bool {
        let inner = self.inner();
        inner.start == StartSeen::None && inner.stops.is_empty() && inner.worker.is_none()
    }

    /// How far the start is. Its answer is told until it is [`recorded`](Self::recorded).
    pub fn start(&self) -> StartSeen {
        self.inner().start.clone()
    }

    /// A start begins.
    pub fn start_begins(&self) {
        self.inner().start = StartSeen::InFlight;
    }

    /// A start has its answer.
    pub fn start_finished(&self, result: Result<Egress, ProviderError>) {
        self.inner().start = StartSeen::Finished(result.map(Box::new));
    }

    /// This much of a start stands in status: an answer in it is told no more.
    pub fn recorded(&self, seen: &StartSeen) {
        let mut inner = self.inner();
        if matches!(seen, StartSeen::Finished(_)) && inner.start == *seen {
            inner.start = StartSeen::None;
        }
    }

    /// What the worker answered.
    pub fn worker(&self) -> Option<WorkerSeen> {
        let inner = self.inner();
        let due = inner.worker_told_at.is_none_or(|at| at.elapsed() >= ASKED_EVERY);
        inner.worker.clone().map(|worker| WorkerSeen { due, ..worker })
    }

    /// The worker of this egress is asked. False: it is being asked already.
    pub fn worker_is_asked(&self, id: &str) -> bool {
        let mut inner = self.inner();
        let worker = inner.worker.get_or_insert_default();
        if worker.id != id {
            *worker = WorkerSeen { id: id.to_owned(), ..WorkerSeen::default() };
        }
        !std::mem::replace(&mut worker.asked, true)
    }

    /// It answered, or did not, or LiveKit could not say.
    pub fn worker_answered(&self, id: &str, answered: Option<bool>) {
        let mut inner = self.inner();
        let Some(worker) = inner.worker.as_mut().filter(|worker| worker.id == id) else { return };
        worker.asked = false;
        match answered {
            Some(true) => worker.misses = 0,
            Some(false) => worker.misses = worker.misses.saturating_add(1),
            None => {}
        }
        inner.worker_told_at = Some(Instant::now());
    }

    /// The egresses that are being stopped.
    pub fn stops(&self) -> BTreeSet<String> {
        self.inner().stops.clone()
    }

    /// A stop of this egress begins. False: one is under way already.
    pub fn stop_begins(&self, id: &str) -> bool {
        self.inner().stops.insert(id.to_owned())
    }

    /// A stop of this egress has its answer.
    pub fn stop_finished(&self, id: &str) {
        self.inner().stops.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_start_is_told_until_it_is_recorded() {
        let beside = InFlight::default();
        beside.start_begins();
        assert_eq!(beside.start(), StartSeen::InFlight);
        beside.recorded(&StartSeen::InFlight);
        let error = ProviderError::transient_for_test();
        beside.start_finished(Err(error.clone()));
        let answer = StartSeen::Finished(Err(error));
        assert_eq!((beside.start(), beside.start()), (answer.clone(), answer.clone()));
        beside.recorded(&answer);
        assert_eq!(beside.start(), StartSeen::None);
    }

    #[test]
    fn one_egress_is_stopped_once_at_a_time() {
        let beside = InFlight::default();
        assert!(beside.stop_begins("EG_1") && !beside.stop_begins("EG_1") && beside.stop_begins("EG_2"));
        beside.stop_finished("EG_1");
        assert!(beside.stop_begins("EG_1"));
    }
}
