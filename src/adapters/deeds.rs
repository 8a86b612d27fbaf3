//! Changes that go on when who asked for them has gone: a provider that hangs holds no pass for long.

use super::pulse::Pulse;
use crate::providers::{ErrorClass, Provider, ProviderError};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a pass waits for a change that may be repeated. The request waits for its turn meanwhile, and then for its
/// answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long for that of a slow account.
const SHORT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a pass waits for a create: to give up early leaves it in doubt.
const CREATE_TIMEOUT: Duration = Duration::from_secs(12);
const SHORT_CREATE_TIMEOUT: Duration = Duration::from_secs(5);

type Flight<T> = Shared<BoxFuture<'static, Result<T, ProviderError>>>;

/// Changes under way, by what they change. The same change is not sent twice at a time, different ones wait for nothing.
pub(super) struct Deeds<T> {
    provider: Provider,
    /// A create is not repeated: who gives up on it leaves it in doubt.
    creates: bool,
    flights: Arc<Mutex<BTreeMap<String, Flight<T>>>>,
}

impl<T: Clone + Send + Sync + 'static> Deeds<T> {
    /// Changes that may be repeated.
    pub(super) fn repeatable(provider: Provider) -> Self {
        Self { provider, creates: false, flights: Arc::default() }
    }

    /// Creates that may not.
    pub(super) fn creates(provider: Provider) -> Self {
        Self { provider, creates: true, flights: Arc::default() }
    }

    /// Does it, or joins the same deed that is under way.
    ///
    /// # Errors
    /// It failed, or is not answered yet: then it goes on.
    pub(super) async fn run(
        &self,
        pulse: &Pulse,
        operation: &'static str,
        what: &str,
        deed: impl Future<Output = Result<T, ProviderError>> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let class = if self.creates { ErrorClass::InDoubt } else { ErrorClass::Transient };
        let timeout = match (self.creates, pulse.is_slow()) {
            (true, false) => CREATE_TIMEOUT,
            (true, true) => SHORT_CREATE_TIMEOUT,
            (false, false) => TIMEOUT,
            (false, true) => SHORT_TIMEOUT,
        };
        let flight = self.begin_or_join(operation, what, class, deed);
        let waited = tokio::time::timeout(timeout, flight).await;
        waited.unwrap_or_else(|_| Err(ProviderError::no_answer_yet(self.provider, operation, class)))
    }

    fn begin_or_join(
        &self,
        operation: &'static str,
        what: &str,
        class: ErrorClass,
        deed: impl Future<Output = Result<T, ProviderError>> + Send + 'static,
    ) -> Flight<T> {
        let key = format!("{operation} {what}");
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(&key).filter(|flight| flight.peek().is_none()) {
            return flight.clone();
        }
        let (all, provider) = (Arc::clone(&self.flights), self.provider);
        let done = key.clone();
        let request = tokio::spawn(async move {
            let result = deed.await;
            lock(&all).remove(&done);
            result
        });
        let cut_short = move |_| Err(ProviderError::cut_short(provider, operation, class));
        let flight = async move { request.await.unwrap_or_else(cut_short) }.boxed().shared();
        flights.insert(key, flight.clone());
        flight
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::time::{Instant, sleep};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_change_that_hangs_goes_on_alone_and_the_same_one_joins_it() {
        let (deeds, pulse) = (Deeds::repeatable(Provider::Mux), Pulse::default());
        let done = Arc::new(AtomicU32::new(0));
        let deed = || {
            let done = Arc::clone(&done);
            async move {
                sleep(SECOND * 7).await;
                done.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        };
        let begun = Instant::now();
        let first = deeds.run(&pulse, "disable", "stream", deed()).await;
        assert_eq!(first.unwrap_err().class, ErrorClass::Transient);
        assert_eq!(begun.elapsed(), TIMEOUT);
        assert_eq!(deeds.run(&pulse, "disable", "stream", deed()).await, Ok(()));
        assert_eq!(begun.elapsed(), SECOND * 7);
        assert_eq!(done.load(Ordering::SeqCst), 1);
        deeds.run(&pulse, "disable", "stream", deed()).await.unwrap_err();
        sleep(SECOND * 7).await;
        assert_eq!(done.load(Ordering::SeqCst), 2, "what is over is done again when it is asked for again");
    }

    #[tokio::test(start_paused = true)]
    async fn different_changes_wait_for_nothing() {
        let (deeds, pulse) = (Deeds::repeatable(Provider::Mux), Pulse::default());
        let begun = Instant::now();
        let names: Vec<String> = (0..50).map(|index| format!("{index}")).collect();
        let all = names.iter().map(|name| {
            deeds.run(&pulse, "disable", name, async {
                sleep(SECOND * 4).await;
                Ok(())
            })
        });
        assert!(join_all(all).await.into_iter().all(|done| done.is_ok()));
        assert_eq!(begun.elapsed(), SECOND * 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_create_that_is_given_up_is_in_doubt() {
        let (deeds, pulse) = (Deeds::creates(Provider::Mux), Pulse::default());
        let create = async {
            sleep(SECOND * 30).await;
            Ok(())
        };
        let error = deeds.run(&pulse, "create", "marker", create).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::InDoubt);
    }
}
