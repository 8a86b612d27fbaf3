//! What the lane remembers of one object between passes, and may lose: starts that run beside the lane, and what
//! failed lately. Everything that must survive a crash stands in status instead.

use super::observed::{Effect, StartSeen, Trouble, Troubles};
use crate::providers::livekit::Egress;
use crate::providers::{ErrorClass, ProviderError};
use k8s_openapi::jiff::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is remembered of one object.
#[derive(Debug, Default)]
pub struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    start: Start,
    troubles: Troubles,
    unanswered: u32,
}

#[derive(Debug, Default)]
enum Start {
    #[default]
    None,
    InFlight,
    Finished(Result<Box<Egress>, ProviderError>),
}

impl Memory {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The start beside the lane. Its answer is told once; after that, status knows it or a search finds it.
    pub fn start(&self) -> StartSeen {
        let mut inner = self.inner();
        match std::mem::take(&mut inner.start) {
            Start::None => StartSeen::None,
            Start::InFlight => {
                inner.start = Start::InFlight;
                StartSeen::InFlight
            }
            Start::Finished(result) => StartSeen::Finished(result),
        }
    }

    /// A start begins.
    pub fn start_begins(&self) {
        self.inner().start = Start::InFlight;
    }

    /// A start has its answer.
    pub fn start_finished(&self, result: Result<Egress, ProviderError>) {
        self.inner().start = Start::Finished(result.map(Box::new));
    }

    /// What failed last, by effect.
    pub fn troubles(&self) -> Troubles {
        self.inner().troubles.clone()
    }

    /// An effect worked: nothing is held against it any more.
    pub fn worked(&self, effect: Effect) {
        self.inner().troubles.remove(&effect);
    }

    /// An effect failed.
    pub fn failed(&self, effect: Effect, failure: Failure, now: Timestamp, chance: f64) {
        let mut inner = self.inner();
        let count = inner.troubles.get(&effect).map_or(0, |trouble| trouble.count).saturating_add(1);
        let wait = failure.class.wait(count, chance);
        let not_before = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let terminal = failure.class == FailureClass::Terminal;
        let trouble =
            Trouble { count, not_before, reason: failure.reason, message: failure.message, terminal };
        inner.troubles.insert(effect, trouble);
    }

    /// A change of the spec may have mended what was terminal: try again.
    pub fn forget_troubles(&self) {
        self.inner().troubles.clear();
    }

    /// Questions to providers failed again, or were all answered. Returns how long to wait before the next ones.
    pub fn questions(&self, failure: Option<&ProviderError>, chance: f64) -> Duration {
        let mut inner = self.inner();
        match failure {
            None => {
                inner.unanswered = 0;
                Duration::ZERO
            }
            Some(error) => {
                inner.unanswered = inner.unanswered.saturating_add(1);
                FailureClass::of(error).wait(inner.unanswered, chance).min(Duration::from_secs(30))
            }
        }
    }
}

/// A failure of an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How it is met.
    pub class: FailureClass,
    /// One word for the condition.
    pub reason: &'static str,
    /// The provider's words.
    pub message: String,
}

/// How a failure is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// Only a change by a person helps.
    Terminal,
    /// The credentials are refused.
    Credentials,
    /// Too many requests; the provider may have said for how long.
    RateLimited(Option<Duration>),
    /// No capacity at the moment.
    Busy,
    /// It may pass.
    Transient,
}

impl FailureClass {
    /// The class of a provider's error.
    pub fn of(error: &ProviderError) -> Self {
        match error.class {
            ErrorClass::Terminal => Self::Terminal,
            ErrorClass::Credentials => Self::Credentials,
            ErrorClass::RateLimited { retry_after } => Self::RateLimited(retry_after),
            ErrorClass::Busy => Self::Busy,
            ErrorClass::NotFound | ErrorClass::Transient | ErrorClass::InDoubt => Self::Transient,
        }
    }

    /// How long to leave it alone after `count` failures in a row. `chance` from 0 to 1 spreads the herd.
    fn wait(self, count: u32, chance: f64) -> Duration {
        let spread = 0.75 + chance / 2.0;
        let doubling = |first: f64, most: f64| {
            let exponent = i32::try_from(count.clamp(1, 20)).unwrap_or(20) - 1;
            Duration::from_secs_f64((first * 2f64.powi(exponent)).min(most) * spread)
        };
        match self {
            Self::Terminal => Duration::from_secs(300),
            Self::Credentials => doubling(60.0, 300.0),
            Self::RateLimited(Some(told)) => told + Duration::from_secs_f64(spread),
            Self::RateLimited(None) => doubling(2.0, 60.0),
            Self::Busy => Duration::from_secs_f64(15.0 + chance * 15.0),
            Self::Transient => doubling(1.0, 300.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass) -> Failure {
        Failure { class, reason: "Test", message: "no".into() }
    }

    #[test]
    fn transient_failures_are_left_alone_longer_and_longer_up_to_five_minutes() {
        let memory = Memory::default();
        let waits: Vec<i64> = (0..12)
            .map(|_| {
                memory.failed(Effect::Room, failure(FailureClass::Transient), Timestamp::UNIX_EPOCH, 0.5);
                memory.troubles()[&Effect::Room].not_before.as_second()
            })
            .collect();
        assert_eq!(waits[..5], [1, 2, 4, 8, 16]);
        assert_eq!(waits[11], 300);
        memory.worked(Effect::Room);
        assert!(memory.troubles().is_empty());
    }

    #[test]
    fn the_answer_to_a_start_is_told_once() {
        let memory = Memory::default();
        memory.start_begins();
        assert_eq!(memory.start(), StartSeen::InFlight);
        assert_eq!(memory.start(), StartSeen::InFlight);
        let error = ProviderError::transient_for_test();
        memory.start_finished(Err(error.clone()));
        assert_eq!(memory.start(), StartSeen::Finished(Err(error)));
        assert_eq!(memory.start(), StartSeen::None);
    }
}
