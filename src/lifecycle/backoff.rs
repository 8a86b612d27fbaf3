//! What failed lately, and until when it is left alone. All of it may be lost: what must survive a crash stands in
//! status.

use crate::api::Reason;
use crate::providers::{ErrorClass, ProviderError};
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The failures of one object's effects and questions.
#[derive(Debug, Default)]
pub struct Failures {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    backoffs: Backoffs,
    unanswered: u32,
}

impl Failures {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What failed last, by effect.
    pub fn backoffs(&self) -> Backoffs {
        self.inner().backoffs.clone()
    }

    /// An effect worked: nothing is held against it any more.
    pub fn worked(&self, effect: Effect) {
        self.inner().backoffs.remove(&effect);
    }

    /// An effect failed.
    pub fn failed(&self, effect: Effect, failure: Failure, now: Timestamp, jitter: f64) {
        let mut inner = self.inner();
        let count = inner.backoffs.get(&effect).map_or(0, |backoff| backoff.count).saturating_add(1);
        let wait = failure.class.wait(count, jitter);
        let not_before = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let terminal = failure.class == FailureClass::Terminal;
        let backoff =
            Backoff { count, not_before, reason: failure.reason, message: failure.message, terminal };
        inner.backoffs.insert(effect, backoff);
    }

    /// A change of the spec may have mended what was terminal: try again.
    pub fn forget(&self) {
        self.inner().backoffs.clear();
    }

    /// Questions to providers failed again, or were all answered. Returns how long to wait before the next ones.
    pub fn questions(&self, failure: Option<&ProviderError>, jitter: f64) -> Duration {
        let mut inner = self.inner();
        match failure {
            None => {
                inner.unanswered = 0;
                Duration::ZERO
            }
            Some(error) => {
                inner.unanswered = inner.unanswered.saturating_add(1);
                FailureClass::of(error).wait(inner.unanswered, jitter).min(Duration::from_secs(30))
            }
        }
    }
}

/// Things that may fail and are then left alone for a while, each on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Changes of the Mux live stream.
    MuxStream,
    /// Changes of the room.
    Room,
    /// Changes of pod and Secret.
    Pod,
    /// Changes of the sender.
    Sender,
}

/// What failed last.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// How often in a row.
    pub count: u32,
    /// Not to be tried again before.
    pub not_before: Timestamp,
    /// One word.
    pub reason: Reason,
    /// The provider's words.
    pub message: String,
    /// Nothing but a change by a person will help.
    pub terminal: bool,
}

/// What failed last, by effect.
pub type Backoffs = BTreeMap<Effect, Backoff>;

/// Whether an effect must be left alone at `now`.
pub fn held(backoffs: &Backoffs, effect: Effect, now: Timestamp) -> bool {
    backoffs.get(&effect).is_some_and(|backoff| backoff.not_before > now)
}

/// A failure of an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How it is met.
    pub class: FailureClass,
    /// One word for the condition.
    pub reason: Reason,
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

    /// How long to leave it alone after `count` failures in a row. `jitter` from 0 to 1 spreads the herd.
    fn wait(self, count: u32, jitter: f64) -> Duration {
        let spread = 0.75 + jitter / 2.0;
        let doubling = |first: f64, most: f64| {
            let exponent = i32::try_from(count.clamp(1, 20)).unwrap_or(20) - 1;
            Duration::from_secs_f64((first * 2f64.powi(exponent)).min(most) * spread)
        };
        match self {
            Self::Terminal => Duration::from_secs(300),
            Self::Credentials => doubling(60.0, 300.0),
            Self::RateLimited(Some(told)) => told + Duration::from_secs_f64(spread),
            Self::RateLimited(None) => doubling(2.0, 60.0),
            Self::Busy => Duration::from_secs_f64(15.0 + jitter * 15.0),
            Self::Transient => doubling(1.0, 300.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transient_failures_are_left_alone_longer_and_longer_up_to_five_minutes() {
        let failures = Failures::default();
        let failure = Failure {
            class: FailureClass::Transient,
            reason: Reason::ProviderNotAnswering,
            message: "no".into(),
        };
        let waits: Vec<i64> = (0..12)
            .map(|_| {
                failures.failed(Effect::Room, failure.clone(), Timestamp::UNIX_EPOCH, 0.5);
                failures.backoffs()[&Effect::Room].not_before.as_second()
            })
            .collect();
        assert_eq!(waits[..5], [1, 2, 4, 8, 16]);
        assert_eq!(waits[11], 300);
        failures.worked(Effect::Room);
        assert!(failures.backoffs().is_empty());
    }
}
