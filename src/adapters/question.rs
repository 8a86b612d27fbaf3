//! Questions whose answers serve everybody. No lock is held across a request.

use super::pulse::{Pulse, SLOW};
use crate::providers::{ErrorClass, Provider, ProviderError};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How old a request may be that a pass waits for: whoever comes later does not wait for what makes others wait already.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long for that of a slow account, unless it is urgent.
const SHORT_TIMEOUT: Duration = Duration::from_millis(250);
/// Who wants an answer that is fresher than this has something on air, starting or ending.
pub(super) const URGENT: Duration = Duration::from_secs(10);
/// While an answer is awaited, the last one serves for so long beyond the freshness that was asked for. It is longer than
/// the lane's longest pause between two questions that were not answered.
const GRACE: Duration = Duration::from_secs(30);
/// What is asked for now is at most so old.
const NOW: Duration = Duration::from_secs(2);
/// After a failure nobody asks for so long, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

type Answer<T> = Result<Dated<T>, ProviderError>;
type Flight<T> = Shared<BoxFuture<'static, Answer<T>>>;

/// An answer and its time.
pub(super) struct Dated<T> {
    /// When it was asked for.
    pub asked: Instant,
    /// When it came.
    pub came: Instant,
    pub answer: Arc<T>,
    /// Nobody asked: it follows from a change of ours that the provider took.
    followed: bool,
    /// It may have changed since.
    outdated: bool,
}

impl<T> Clone for Dated<T> {
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer), ..*self }
    }
}

/// Where the newest answer lies. Questions of several accounts may share one: then the answers of each serve all, and the
/// failures of each are its own.
pub(super) struct Slot<T>(Arc<Mutex<Option<Dated<T>>>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Slot<T> {
    pub(super) fn get(&self) -> Option<Dated<T>> {
        self.lock().clone()
    }

    fn offer(&self, dated: Dated<T>) {
        let mut slot = self.lock();
        if slot.as_ref().is_none_or(|known| known.asked <= dated.asked) {
            *slot = Some(dated);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Dated<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question to a provider. At most one request for it is under way; who asks meanwhile waits for the same answer, and
/// gets the same failure. The request goes on when who asked has gone.
pub(super) struct Question<T> {
    provider: Provider,
    operation: &'static str,
    slot: Slot<T>,
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    /// With the time at which it began.
    flight: Option<(Instant, Flight<T>)>,
    /// Counts how often everything that was known became worthless.
    epoch: u64,
    failures: u32,
    failed: Option<(Instant, ProviderError)>,
}

impl<T: Send + Sync + 'static> Question<T> {
    pub(super) fn new(provider: Provider, operation: &'static str) -> Self {
        Self::sharing(provider, operation, Slot::default())
    }

    /// A question whose answers lie in `slot`.
    pub(super) fn sharing(provider: Provider, operation: &'static str, slot: Slot<T>) -> Self {
        let state = State { flight: None, epoch: 0, failures: 0, failed: None };
        Self { provider, operation, slot, state: Arc::new(Mutex::new(state)) }
    }

    /// The newest answer, however old.
    pub(super) fn last(&self) -> Option<Dated<T>> {
        self.slot.get()
    }

    /// The answer, asked for anew when it is older than `freshness`. Without any freshness it is the provider's own word of
    /// the last two seconds.
    ///
    /// # Errors
    /// The provider failed, or did so just now, or has not answered yet: then the request goes on, and its answer serves
    /// who asks next.
    pub(super) async fn get(
        &self,
        pulse: &Pulse,
        freshness: Duration,
        ask: impl Future<Output = Result<T, ProviderError>> + Send + 'static,
    ) -> Result<Dated<T>, ProviderError> {
        let now = freshness.is_zero();
        let serves = |last: &Dated<T>, grace| match now {
            _ if last.outdated => false,
            true => last.came.elapsed() < NOW && !last.followed,
            false => last.came.elapsed() < freshness + grace,
        };
        if let Some(fresh) = self.slot.get().filter(|last| serves(last, Duration::ZERO)) {
            return Ok(fresh);
        }
        let flight = {
            let mut state = self.state();
            let under_way = state.flight.clone().filter(|(_, flight)| flight.peek().is_none());
            match (under_way, &state.failed) {
                (Some(flight), _) => flight,
                (None, Some((until, error))) if Instant::now() < *until => return Err(error.clone()),
                (None, _) => {
                    let flight = (Instant::now(), self.begin(state.epoch, ask));
                    state.flight = Some(flight.clone());
                    flight
                }
            }
        };
        // Who needs an answer of this moment waits for it: one that came between two passes would be too old for both.
        let flight = if now { (Instant::now(), flight.1) } else { flight };
        match wait(pulse, freshness < URGENT, flight).await {
            Some(answer) => answer,
            None => self.slot.get().filter(|last| serves(last, GRACE)).ok_or_else(|| self.no_answer_yet()),
        }
    }

    /// Something changed of which no answer knows.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.epoch += 1;
        state.flight = None;
        *self.slot.lock() = None;
    }

    /// What was known may have changed, but for what never does: it serves nobody, and [`last`](Self::last) still tells it.
    pub(super) fn outdate(&self) {
        let last = self.last();
        self.forget();
        if let Some(last) = last {
            *self.slot.lock() = Some(Dated { outdated: true, ..last });
        }
    }

    /// What is so from now on, without asking.
    pub(super) fn set(&self, answer: T) {
        let now = Instant::now();
        let mut state = self.state();
        state.epoch += 1;
        state.flight = None;
        state.failures = 0;
        state.failed = None;
        *self.slot.lock() =
            Some(Dated { asked: now, came: now, answer: Arc::new(answer), followed: true, outdated: false });
    }

    fn begin(
        &self,
        epoch: u64,
        ask: impl Future<Output = Result<T, ProviderError>> + Send + 'static,
    ) -> Flight<T> {
        let (slot, state) = (self.slot.clone(), Arc::clone(&self.state));
        let asked = Instant::now();
        let request = tokio::spawn(async move {
            let answer = ask.await;
            let came = Instant::now();
            let answer = answer.map(|answer| Dated {
                asked,
                came,
                answer: Arc::new(answer),
                followed: false,
                outdated: false,
            });
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.epoch == epoch {
                state.flight = None;
                match &answer {
                    Ok(answer) => {
                        state.failures = 0;
                        state.failed = None;
                        slot.offer(answer.clone());
                    }
                    Err(error) => {
                        let pause = FIRST_PAUSE * 2_u32.saturating_pow(state.failures.min(10));
                        state.failures = state.failures.saturating_add(1);
                        state.failed = Some((came + pause.min(LONGEST_PAUSE), error.clone()));
                    }
                }
            }
            answer
        });
        let (provider, operation) = (self.provider, self.operation);
        let cut_short = move |_| Err(ProviderError::cut_short(provider, operation, ErrorClass::Transient));
        async move { request.await.unwrap_or_else(cut_short) }.boxed().shared()
    }

    fn no_answer_yet(&self) -> ProviderError {
        ProviderError::no_answer_yet(self.provider, self.operation, ErrorClass::Transient)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a flight as long as the account's pulse makes it worth while.
async fn wait<T>(pulse: &Pulse, urgent: bool, (begun, flight): (Instant, Flight<T>)) -> Option<Answer<T>> {
    let left = |timeout: Duration| timeout.saturating_sub(begun.elapsed());
    if !pulse.is_slow()
        && let Ok(answer) = tokio::time::timeout(SLOW.min(left(TIMEOUT)), flight.clone()).await
    {
        return Some(answer);
    }
    let (place, timeout) = match pulse.is_slow() {
        true => (pulse.place(), if urgent { TIMEOUT } else { SHORT_TIMEOUT }),
        false => (None, TIMEOUT),
    };
    // An account that is not slow makes us wait for the rate limit, which is the same for all.
    let timeout = if pulse.is_slow() && place.is_none() { Duration::ZERO } else { timeout };
    tokio::time::timeout(left(timeout), flight).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::time::sleep;

    const HOUR: Duration = Duration::from_secs(3600);
    const SECOND: Duration = Duration::from_secs(1);

    struct Asked {
        question: Question<u32>,
        pulse: Arc<Pulse>,
        times: Arc<AtomicU32>,
    }

    impl Asked {
        fn new() -> Self {
            let question = Question::new(Provider::Mux, "test");
            Self { question, pulse: Arc::default(), times: Arc::default() }
        }

        /// The answer is how often it was asked before.
        async fn get(&self, freshness: Duration, takes: Duration, fails: bool) -> Result<u32, ProviderError> {
            let (times, pulse) = (Arc::clone(&self.times), Arc::clone(&self.pulse));
            let ask = async move {
                let number = times.fetch_add(1, Ordering::SeqCst);
                pulse.watch(sleep(takes)).await;
                if fails { Err(ProviderError::transient_for_test()) } else { Ok(number) }
            };
            self.question.get(&self.pulse, freshness, ask).await.map(|dated| *dated.answer)
        }

        fn times(&self) -> u32 {
            self.times.load(Ordering::SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_serves_everybody_until_it_is_too_old() {
        let asked = Asked::new();
        let answers = join_all((0..100).map(|_| asked.get(HOUR, SECOND / 2, false))).await;
        assert!(answers.into_iter().all(|answer| answer == Ok(0)));
        sleep(SECOND * 20).await;
        assert_eq!(asked.get(SECOND * 30, SECOND / 2, false).await, Ok(0));
        assert_eq!(asked.get(SECOND * 10, SECOND / 2, false).await, Ok(1));
        asked.question.forget();
        assert_eq!(asked.get(HOUR, SECOND / 2, false).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_and_the_next_asks_anew() {
        let asked = Asked::new();
        let failures = join_all((0..100).map(|_| asked.get(HOUR, SECOND / 2, true))).await;
        assert!(failures.into_iter().all(|answer| answer == Err(ProviderError::transient_for_test())));
        assert_eq!(asked.times(), 1);
        sleep(SECOND).await;
        assert_eq!(asked.get(HOUR, SECOND / 2, false).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_again_and_again_is_asked_more_and_more_rarely() {
        let asked = Asked::new();
        for _ in 0..600 {
            asked.get(HOUR, SECOND / 100, true).await.unwrap_err();
            sleep(SECOND / 10).await;
        }
        assert!((8..=12).contains(&asked.times()), "{} in a minute", asked.times());
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_takes_the_answer_from_nobody() {
        let asked = Asked::new();
        let gone = tokio::time::timeout(SECOND / 10, asked.get(HOUR, SECOND / 2, false)).await;
        assert!(gone.is_err());
        assert_eq!(asked.get(HOUR, SECOND / 2, false).await, Ok(0));
        assert_eq!(asked.times(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_not_waited_for_and_serves_who_asks_next() {
        let asked = Asked::new();
        let begun = Instant::now();
        let error = asked.get(SECOND * 60, SECOND * 8, false).await.unwrap_err();
        assert!(error.message.contains("has not answered yet"), "{error}");
        assert!(begun.elapsed() <= TIMEOUT);
        sleep(SECOND * 30).await;
        assert_eq!(asked.get(SECOND * 60, SECOND * 8, false).await, Ok(0));
        assert_eq!(asked.times(), 1);
    }

    /// Each pass of whoever is on air would else be late by as much, over and over.
    #[tokio::test(start_paused = true)]
    async fn a_request_that_makes_others_wait_already_is_not_waited_for_again() {
        let asked = Asked::new();
        asked.get(SECOND * 2, SECOND * 20, false).await.unwrap_err();
        let begun = Instant::now();
        asked.get(SECOND * 2, SECOND * 20, false).await.unwrap_err();
        assert_eq!((begun.elapsed(), asked.times()), (Duration::ZERO, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_account_is_read_from_its_last_answers_but_not_before_a_start() {
        let asked = Asked::new();
        asked.get(SECOND * 2, SECOND / 10, false).await.unwrap();
        for _ in 0..20 {
            sleep(SECOND * 2).await;
            asked.get(SECOND * 2, SECOND * 9, false).await.unwrap();
        }
        assert!(asked.times() >= 4, "it is asked on and on: {}", asked.times());
        sleep(SECOND * 20).await;
        let error = asked.get(Duration::ZERO, SECOND * 9, false).await;
        assert!(error.is_err(), "what was asked for now is never old");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_from_before_a_change_is_not_kept() {
        let asked = Asked::new();
        let before = asked.get(HOUR, SECOND / 2, false);
        let change = async {
            sleep(SECOND / 4).await;
            asked.question.forget();
        };
        assert_eq!(tokio::join!(before, change).0, Ok(0));
        assert_eq!(asked.get(HOUR, SECOND / 2, false).await, Ok(1));
    }
}
