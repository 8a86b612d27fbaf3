//! Mux's published rate limits, kept on our side. One limiter serves everything that uses one Mux environment.
//!
//! Source: mux.com/blog/protect-your-prod-environment-new-rate-limit-controls, low-priority tokens: `POST` 4 at once
//! and 1 per second, everything else 20 at once and 1 per second.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Which bucket a request is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `POST`.
    Post,
    /// `GET`, `PUT`, `PATCH` and `DELETE`.
    Other,
}

/// Who goes first when requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Ends or deletes something that costs money or is seen.
    Stop,
    /// Makes or changes something.
    Change,
    /// Looks.
    Poll,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests at once.
    pub burst: f64,
    /// Requests per second after that; more than 0.
    pub per_second: f64,
}

/// Both buckets of an environment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimits {
    /// `POST`.
    pub post: Rate,
    /// Everything else.
    pub other: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { post: Rate { burst: 4.0, per_second: 1.0 }, other: Rate { burst: 20.0, per_second: 1.0 } }
    }
}

/// Holds requests back until Mux would take them.
#[derive(Debug)]
pub struct RateLimiter {
    started: Instant,
    post: Bucket,
    other: Bucket,
}

#[derive(Debug)]
struct Bucket {
    queue: Mutex<Queue>,
    changed: Notify,
}

impl RateLimiter {
    /// A limiter whose buckets are full.
    pub fn new(limits: RateLimits) -> Self {
        let bucket = |rate| Bucket { queue: Mutex::new(Queue::new(rate)), changed: Notify::new() };
        Self { started: Instant::now(), post: bucket(limits.post), other: bucket(limits.other) }
    }

    /// Returns once a request of this kind may be sent. Dropping the future gives the place in the queue up.
    pub async fn acquire(&self, kind: Kind, priority: Priority) {
        let bucket = self.bucket(kind);
        let ticket = bucket.queue().enter(priority);
        let place = Place { bucket, ticket };
        loop {
            let mut changed = pin!(bucket.changed.notified());
            changed.as_mut().enable();
            let turn = bucket.queue().turn(place.ticket, self.started.elapsed());
            match turn {
                Turn::Go => return,
                Turn::Behind => changed.await,
                Turn::Wait(wait) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = tokio::time::sleep(wait) => {}
                },
            }
        }
    }

    /// Mux refused a request of this kind with a 429: others use up the same limit. Nothing more is sent until
    /// `retry_after` has passed, or a token has come in.
    pub fn refused(&self, kind: Kind, retry_after: Option<Duration>) {
        self.bucket(kind).queue().refused(self.started.elapsed(), retry_after);
    }

    fn bucket(&self, kind: Kind) -> &Bucket {
        match kind {
            Kind::Post => &self.post,
            Kind::Other => &self.other,
        }
    }
}

impl Bucket {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a queue, given up when dropped.
struct Place<'a> {
    bucket: &'a Bucket,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.bucket.queue().leave(self.ticket);
        self.bucket.changed.notify_waiters();
    }
}

/// Lower goes first: by priority, then by arrival.
type Ticket = (Priority, u64);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Turn {
    /// Send now; the place is given up.
    Go,
    /// Somebody else is first.
    Behind,
    /// First, but not before this time has passed.
    Wait(Duration),
}

/// The pure core: a bucket and who waits for it. Times count from the limiter's start.
#[derive(Debug)]
struct Queue {
    rate: Rate,
    tokens: f64,
    filled_at: Duration,
    paused_until: Duration,
    waiting: BTreeSet<Ticket>,
    arrivals: u64,
}

impl Queue {
    fn new(rate: Rate) -> Self {
        let (filled_at, paused_until) = (Duration::ZERO, Duration::ZERO);
        Self { rate, tokens: rate.burst, filled_at, paused_until, waiting: BTreeSet::new(), arrivals: 0 }
    }

    fn enter(&mut self, priority: Priority) -> Ticket {
        self.arrivals += 1;
        let ticket = (priority, self.arrivals);
        self.waiting.insert(ticket);
        ticket
    }

    fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    fn turn(&mut self, ticket: Ticket, now: Duration) -> Turn {
        if self.waiting.first() != Some(&ticket) {
            return Turn::Behind;
        }
        if now < self.paused_until {
            return Turn::Wait(self.paused_until - now);
        }
        self.fill(now);
        let missing = 1.0 - self.tokens;
        // A wait rounded down to nanoseconds must not be followed by another one of zero.
        if missing > 1e-6 {
            let wait = Duration::try_from_secs_f64(missing / self.rate.per_second);
            return Turn::Wait(wait.unwrap_or(Duration::from_secs(3600)));
        }
        self.tokens -= 1.0;
        self.waiting.remove(&ticket);
        Turn::Go
    }

    fn fill(&mut self, now: Duration) {
        let gained = now.saturating_sub(self.filled_at).as_secs_f64() * self.rate.per_second;
        self.tokens = (self.tokens + gained).min(self.rate.burst);
        self.filled_at = self.filled_at.max(now);
    }

    fn refused(&mut self, now: Duration, retry_after: Option<Duration>) {
        self.fill(now);
        self.tokens = self.tokens.min(0.0);
        self.paused_until = self.paused_until.max(now + retry_after.unwrap_or(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    const SECOND: Duration = Duration::from_secs(1);

    fn go(queue: &mut Queue, now: Duration) -> Turn {
        let ticket = queue.enter(Priority::Poll);
        let turn = queue.turn(ticket, now);
        queue.leave(ticket);
        turn
    }

    #[test]
    fn the_published_limits_are_kept() {
        let limits = RateLimits::default();
        for (rate, burst) in [(limits.post, 4), (limits.other, 20)] {
            let mut queue = Queue::new(rate);
            assert!((0..burst).all(|_| go(&mut queue, Duration::ZERO) == Turn::Go));
            assert_eq!(go(&mut queue, Duration::ZERO), Turn::Wait(SECOND));
            assert_eq!(go(&mut queue, SECOND), Turn::Go);
            assert_eq!(go(&mut queue, SECOND), Turn::Wait(SECOND));
        }
    }

    #[test]
    fn stops_pass_changes_and_changes_pass_polls() {
        let mut queue = Queue::new(Rate { burst: 1.0, per_second: 1.0 });
        let poll = queue.enter(Priority::Poll);
        let change = queue.enter(Priority::Change);
        let stop = queue.enter(Priority::Stop);
        let second_stop = queue.enter(Priority::Stop);
        assert_eq!(queue.turn(poll, Duration::ZERO), Turn::Behind);
        for (second, ticket) in [stop, second_stop, change, poll].into_iter().enumerate() {
            assert_eq!(queue.turn(ticket, SECOND * u32::try_from(second).unwrap()), Turn::Go);
        }
    }

    #[test]
    fn who_gives_up_holds_nobody_back() {
        let mut queue = Queue::new(Rate { burst: 1.0, per_second: 1.0 });
        let stop = queue.enter(Priority::Stop);
        let poll = queue.enter(Priority::Poll);
        queue.leave(stop);
        assert_eq!(queue.turn(poll, Duration::ZERO), Turn::Go);
    }

    #[test]
    fn a_refusal_empties_the_bucket_and_pauses_it_for_as_long_as_mux_says() {
        let mut queue = Queue::new(Rate { burst: 20.0, per_second: 1.0 });
        queue.refused(SECOND, None);
        assert_eq!(go(&mut queue, SECOND), Turn::Wait(SECOND));
        queue.refused(SECOND, Some(SECOND * 7));
        queue.refused(SECOND, Some(SECOND));
        assert_eq!(go(&mut queue, SECOND * 2), Turn::Wait(SECOND * 6));
        assert_eq!(go(&mut queue, SECOND * 8), Turn::Go);
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_allow(
            steps in proptest::collection::vec(0u64..3000, 1..200),
            burst in 1u32..30,
            per_second in 1u32..10,
        ) {
            let rate = Rate { burst: burst.into(), per_second: per_second.into() };
            let mut queue = Queue::new(rate);
            let (mut now, mut sent) = (Duration::ZERO, 0u32);
            for step in steps {
                now += Duration::from_millis(step);
                while go(&mut queue, now) == Turn::Go {
                    sent += 1;
                }
                let allowed = rate.burst + now.as_secs_f64() * rate.per_second;
                prop_assert!(f64::from(sent) <= allowed + 0.001, "{sent} of {allowed}");
            }
        }

        #[test]
        fn waiting_as_long_as_told_is_enough(used in 1u32..40, after in 0u64..5000) {
            let mut queue = Queue::new(Rate { burst: 20.0, per_second: 3.0 });
            for _ in 0..used {
                go(&mut queue, Duration::ZERO);
            }
            let now = Duration::from_millis(after);
            if let Turn::Wait(wait) = go(&mut queue, now) {
                prop_assert_eq!(go(&mut queue, now + wait), Turn::Go);
            }
        }
    }

    #[tokio::test]
    async fn waiters_go_in_order_of_priority_and_a_cancelled_one_is_forgotten() {
        let rate = Rate { burst: 1.0, per_second: 50.0 };
        let limiter = Arc::new(RateLimiter::new(RateLimits { post: rate, other: rate }));
        limiter.acquire(Kind::Other, Priority::Poll).await;
        let cancelled =
            tokio::time::timeout(Duration::ZERO, limiter.acquire(Kind::Other, Priority::Stop)).await;
        assert!(cancelled.is_err());
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiters = [Priority::Poll, Priority::Change, Priority::Stop].map(|priority| {
            let (limiter, order) = (Arc::clone(&limiter), Arc::clone(&order));
            async move {
                limiter.acquire(Kind::Other, priority).await;
                order.lock().unwrap().push(priority);
            }
        });
        let [poll, change, stop] = waiters;
        tokio::join!(poll, change, stop);
        assert_eq!(*order.lock().unwrap(), [Priority::Stop, Priority::Change, Priority::Poll]);
        // The other bucket is a bucket of its own.
        limiter.acquire(Kind::Post, Priority::Poll).await;
    }
}
