//! What failed lately, and until when it is left alone. All of it may be lost: what must survive a crash stands in
//! status.

use crate::api::Reason;
use crate::providers::{ErrorClass, ProviderError};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// An end is tried again at the latest after this long.
const LONGEST_WAIT_OF_AN_END: Duration = Duration::from_secs(15);
/// What people wait for is tried again at the latest after this long, however hopeless it looked: somebody may have mended
/// it at the provider, of which nobody tells.
const LONGEST_WAIT_OF_PEOPLE: Duration = Duration::from_secs(30);

/// The failures of one object's effects and questions.
#[derive(Debug, Default)]
pub struct Failures {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    failed: BTreeMap<Effect, Failed>,
    unanswered: u32,
}

/// The clock that counts here never jumps, whatever people do to the wall clock.
#[derive(Debug)]
struct Failed {
    count: u32,
    until: Instant,
    failure: Failure,
}

impl Failures {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing failed, and everybody answered.
    pub fn is_empty(&self) -> bool {
        let inner = self.inner();
        inner.failed.is_empty() && inner.unanswered == 0
    }

    /// What failed last, by effect.
    pub fn backoffs(&self) -> Backoffs {
        let now = Instant::now();
        let backoff = |failed: &Failed| Backoff {
            count: failed.count,
            remaining: failed.until.saturating_duration_since(now),
            reason: failed.failure.reason,
            message: failed.failure.message.clone(),
            terminal: failed.failure.class == FailureClass::Terminal,
        };
        self.inner().failed.iter().map(|(effect, failed)| (*effect, backoff(failed))).collect()
    }

    /// An effect worked: nothing is held against it any more.
    pub fn worked(&self, effect: Effect) {
        self.inner().failed.remove(&effect);
    }

    /// An effect failed. `awaited`: it is part of a service that people rehearse or watch. `jitter` from 0 to 1 spreads the
    /// herd.
    pub fn failed(&self, effect: Effect, failure: Failure, awaited: bool, jitter: f64) {
        let mut inner = self.inner();
        let count = inner.failed.get(&effect).map_or(0, |failed| failed.count).saturating_add(1);
        let wait = failure.class.wait(count, jitter);
        let wait = match failure.class {
            // What ends something costs money for as long as it is put off.
            _ if effect.ending => wait.min(LONGEST_WAIT_OF_AN_END),
            FailureClass::RateLimited(_) => wait,
            _ if awaited => wait.min(LONGEST_WAIT_OF_PEOPLE),
            _ => wait,
        };
        inner.failed.insert(effect, Failed { count, until: Instant::now() + wait, failure });
    }

    /// A change of the spec may have mended what was terminal: try again.
    pub fn forget(&self) {
        self.inner().failed.clear();
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

/// Parts of a service that are made and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The Mux live stream.
    Stream,
    /// Its settings: one that Mux refuses must not hold up another stream.
    Settings,
    /// The room.
    Room,
    /// Pod and Secrets.
    Pod,
    /// The sender.
    Sender,
    /// Senders that were given up.
    Surplus,
    /// The kept stream key.
    Key,
}

/// Things that may fail and are then left alone for a while, each on its own: what cannot be started must not hold up
/// an end, nor the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Effect {
    /// What is changed.
    pub part: Part,
    /// It is ended, not made or changed.
    pub ending: bool,
}

impl Effect {
    /// Making or changing a part.
    pub const fn making(part: Part) -> Self {
        Self { part, ending: false }
    }

    /// Ending a part.
    pub const fn ending(part: Part) -> Self {
        Self { part, ending: true }
    }
}

/// What failed last.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// How often in a row.
    pub count: u32,
    /// For how much longer it is left alone.
    pub remaining: Duration,
    /// One word.
    pub reason: Reason,
    /// The provider's words.
    pub message: String,
    /// Nothing but a change by a person will help.
    pub terminal: bool,
}

/// What failed last, by effect.
pub type Backoffs = BTreeMap<Effect, Backoff>;

/// Whether an effect must be left alone now.
pub fn held(backoffs: &Backoffs, effect: Effect) -> bool {
    backoffs.get(&effect).is_some_and(|backoff| !backoff.remaining.is_zero())
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
    /// The API server refused it: a quota or an admission rule, which people change without telling us.
    Admission,
    /// No capacity at the moment.
    Busy,
    /// It may pass.
    Transient,
    /// Somebody else wrote in between: at once again, on what is there now.
    Raced,
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
            Self::Admission => doubling(2.0, 24.0),
            // Mourners wait meanwhile, and a worker may be there any moment.
            Self::Busy => Duration::from_secs_f64(3.0 + jitter * 2.0),
            Self::Transient => doubling(1.0, 300.0),
            Self::Raced => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::given::silence;

    fn failure(class: FailureClass) -> Failure {
        Failure { class, reason: Reason::ProviderNotAnswering, message: "no".into() }
    }

    fn waits(effect: Effect, class: FailureClass) -> Vec<u64> {
        waits_of(effect, class, false)
    }

    fn waits_of(effect: Effect, class: FailureClass, awaited: bool) -> Vec<u64> {
        let failures = Failures::default();
        let wait = |_| {
            failures.failed(effect, failure(class), awaited, 0.5);
            failures.backoffs()[&effect].remaining.as_secs_f64().round() as u64
        };
        (0..12).map(wait).collect()
    }

    #[test]
    fn each_class_waits_for_so_long_and_jitter_spreads_it_by_a_quarter_both_ways() {
        let told = FailureClass::RateLimited(Some(Duration::from_secs(10)));
        // After one failure and after twenty, in seconds.
        let cases = [
            (FailureClass::Terminal, 0.5, [300.0, 300.0]),
            (FailureClass::Credentials, 0.0, [45.0, 225.0]),
            (FailureClass::Credentials, 1.0, [75.0, 375.0]),
            (told, 0.0, [10.75, 10.75]),
            (told, 1.0, [11.25, 11.25]),
            (FailureClass::RateLimited(None), 0.0, [1.5, 45.0]),
            (FailureClass::RateLimited(None), 1.0, [2.5, 75.0]),
            (FailureClass::Admission, 1.0, [2.5, 30.0]),
            (FailureClass::Busy, 0.0, [3.0, 3.0]),
            (FailureClass::Busy, 1.0, [5.0, 5.0]),
            (FailureClass::Transient, 0.0, [0.75, 225.0]),
            (FailureClass::Transient, 1.0, [1.25, 375.0]),
            (FailureClass::Raced, 1.0, [0.0, 0.0]),
        ];
        for (class, jitter, seconds) in cases {
            let waits = [1, 20].map(|count| class.wait(count, jitter).as_secs_f64());
            assert_eq!(waits, seconds, "{class:?} at {jitter}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_held_against_what_worked_and_who_answered() {
        let failures = Failures::default();
        assert!(failures.is_empty());
        failures.failed(Effect::making(Part::Pod), failure(FailureClass::Transient), false, 0.5);
        assert!(!failures.is_empty());
        failures.worked(Effect::making(Part::Pod));
        assert!(failures.is_empty());
        let silent = silence();
        let waits = [(); 7].map(|()| failures.questions(Some(&silent), 0.5).as_secs());
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert!(!failures.is_empty());
        assert_eq!(failures.questions(None, 0.5), Duration::ZERO);
        assert!(failures.is_empty());
        assert_eq!(failures.questions(Some(&silent), 0.5).as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_conflict_holds_nothing_up() {
        assert_eq!(waits(Effect::making(Part::Pod), FailureClass::Raced), [0; 12]);
    }

    #[tokio::test(start_paused = true)]
    async fn transient_failures_are_left_alone_longer_and_longer_up_to_five_minutes() {
        let waits = waits(Effect::making(Part::Room), FailureClass::Transient);
        assert_eq!(waits[..5], [1, 2, 4, 8, 16]);
        assert_eq!(waits[11], 300);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_tried_again_soon_whatever_failed_before() {
        for class in [FailureClass::Transient, FailureClass::Terminal, FailureClass::Credentials] {
            let waits = waits(Effect::ending(Part::Sender), class);
            assert!(waits.iter().all(|wait| *wait <= 15), "{class:?}: {waits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_people_wait_for_is_tried_again_within_half_a_minute() {
        for class in [FailureClass::Transient, FailureClass::Terminal, FailureClass::Credentials] {
            let waits = waits_of(Effect::making(Part::Sender), class, true);
            assert!(waits.iter().all(|wait| *wait <= 30), "{class:?}: {waits:?}");
        }
        let told = FailureClass::RateLimited(Some(Duration::from_secs(60)));
        assert!(waits_of(Effect::making(Part::Sender), told, true).iter().all(|wait| *wait >= 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_fails_does_not_hold_up_a_stop() {
        let failures = Failures::default();
        failures.failed(Effect::making(Part::Sender), failure(FailureClass::Terminal), false, 0.5);
        let backoffs = failures.backoffs();
        assert!(held(&backoffs, Effect::making(Part::Sender)));
        assert!(!held(&backoffs, Effect::ending(Part::Sender)));
        tokio::time::advance(Duration::from_secs(301)).await;
        assert!(!held(&failures.backoffs(), Effect::making(Part::Sender)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_api_server_refused_is_tried_again_within_half_a_minute() {
        let waits = waits(Effect::making(Part::Pod), FailureClass::Admission);
        assert!(waits.iter().all(|wait| *wait <= 30), "{waits:?}");
    }
}
