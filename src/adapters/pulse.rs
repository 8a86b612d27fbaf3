//! How quickly an account answers, and with that how long a pass waits for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// An answer that takes longer is slow.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// Passes that wait for one slow account at the same time: the others go on without its answer, so that it never holds
/// more of the lane's slots.
const MOST_WAITING: usize = 4;

/// What was seen of an account's speed.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    state: Mutex<State>,
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// Requests that were sent and not answered, by a number that rises.
    outstanding: BTreeMap<u64, Instant>,
    sent: u64,
    last_was_slow: bool,
}

impl Pulse {
    /// Watches a request that is sent now.
    pub(super) async fn watch<T>(&self, request: impl Future<Output = T>) -> T {
        let outstanding = Outstanding::new(self);
        let answer = request.await;
        outstanding.answered();
        answer
    }

    /// Whether a request is not answered for long, or the last one took long.
    pub(super) fn is_slow(&self) -> bool {
        let state = self.state();
        let oldest = state.outstanding.first_key_value();
        state.last_was_slow || oldest.is_some_and(|(_, sent)| sent.elapsed() >= SLOW)
    }

    /// One of the few places for those who wait for a slow account. Given back when dropped.
    pub(super) fn place(&self) -> Option<WaitingPlace<'_>> {
        let place = WaitingPlace(self);
        (self.waiting.fetch_add(1, Ordering::SeqCst) < MOST_WAITING).then_some(place)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct WaitingPlace<'a>(&'a Pulse);

impl Drop for WaitingPlace<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A request under way, forgotten when it is given up.
struct Outstanding<'a> {
    pulse: &'a Pulse,
    number: u64,
    sent: Instant,
}

impl<'a> Outstanding<'a> {
    fn new(pulse: &'a Pulse) -> Self {
        let sent = Instant::now();
        let mut state = pulse.state();
        state.sent += 1;
        let number = state.sent;
        state.outstanding.insert(number, sent);
        Self { pulse, number, sent }
    }

    fn answered(&self) {
        self.pulse.state().last_was_slow = self.sent.elapsed() >= SLOW;
    }
}

impl Drop for Outstanding<'_> {
    fn drop(&mut self) {
        self.pulse.state().outstanding.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn an_account_is_slow_from_the_second_that_it_does_not_answer_until_it_answers_quickly() {
        let pulse = Pulse::default();
        pulse.watch(sleep(SLOW / 2)).await;
        assert!(!pulse.is_slow());
        let hanging = pulse.watch(sleep(SLOW * 10));
        let seen = async {
            sleep(SLOW / 2).await;
            assert!(!pulse.is_slow());
            sleep(SLOW).await;
            assert!(pulse.is_slow());
        };
        tokio::join!(hanging, seen);
        assert!(pulse.is_slow());
        pulse.watch(sleep(SLOW / 10)).await;
        assert!(!pulse.is_slow());
    }

    #[test]
    fn few_wait_for_a_slow_account() {
        let pulse = Pulse::default();
        let mut places: Vec<_> = (0..MOST_WAITING).map(|_| pulse.place().unwrap()).collect();
        assert!(pulse.place().is_none());
        places.pop();
        assert!(pulse.place().is_some());
    }
}
