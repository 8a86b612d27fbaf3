//! Mux's published rate limits, kept on our side. One limiter serves everything that uses one Mux environment.
//!
//! Source: mux.com/blog/protect-your-prod-environment-new-rate-limit-controls, low-priority tokens: `POST` 4 at once
//! and 1 per second, everything else 20 at once and 1 per second.

use super::queue::{Priority, Queue, Rate, Ticket, Turn};
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

/// A request that would wait too long for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Later(
    /// After this time it is to be tried again.
    pub Duration,
);

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
        let bucket = |queue| Bucket { queue: Mutex::new(queue), changed: Notify::new() };
        Self {
            started: Instant::now(),
            post: bucket(Queue::new(limits.post, false)),
            other: bucket(Queue::new(limits.other, true)),
        }
    }

    /// Returns once a request of this kind may be sent. One that would wait longer than `timeout` is handed back; who
    /// names itself in `who` keeps its place in the queue until it comes again. Dropping the future gives the place up.
    ///
    /// # Errors
    /// It is handed back.
    pub async fn acquire(
        &self,
        kind: Kind,
        priority: Priority,
        timeout: Duration,
        who: Option<&str>,
    ) -> Result<(), Later> {
        let bucket = self.bucket(kind);
        let deadline = Instant::now() + timeout;
        let place = {
            let mut queue = bucket.queue();
            let now = self.now();
            let ticket = queue.enter(priority, who, now);
            let handed_back = who.filter(|_| queue.expected(ticket, now) > timeout);
            if let Some(who) = handed_back {
                return Err(Later(queue.book(ticket, who, now)));
            }
            Place { bucket, ticket }
        };
        loop {
            let mut changed = pin!(bucket.changed.notified());
            changed.as_mut().enable();
            let turn = bucket.queue().turn(place.ticket, self.now());
            let wake = match turn {
                Turn::Go => return Ok(()),
                _ if Instant::now() >= deadline => break,
                Turn::Behind => deadline,
                Turn::Wait(wait) => deadline.min(Instant::now() + wait),
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        let mut queue = bucket.queue();
        let now = self.now();
        Err(Later(match who {
            Some(who) => queue.book(place.ticket, who, now),
            None => queue.expected(place.ticket, now),
        }))
    }

    /// Mux refused a request of this kind with a 429: others use up the same limit. Nothing more is sent until
    /// `retry_after` has passed, or a token has come in.
    pub fn refused(&self, kind: Kind, retry_after: Option<Duration>) {
        self.bucket(kind).queue().refused(self.now(), retry_after);
    }

    /// Mux said how many more requests of this kind it would take: others use up the same limit, or did before this
    /// process began.
    pub fn remaining(&self, kind: Kind, remaining: u32) {
        self.bucket(kind).queue().remain(self.now(), remaining);
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test(start_paused = true)]
    async fn waiters_go_in_order_of_priority_and_a_cancelled_one_is_forgotten() {
        let rate = Rate { burst: 2.0, per_second: 50.0 };
        let limiter = Arc::new(RateLimiter::new(RateLimits { post: rate, other: rate }));
        limiter.acquire(Kind::Other, Priority::Look, LONG, None).await.unwrap();
        let stop = limiter.acquire(Kind::Other, Priority::Stop, LONG, None);
        assert!(tokio::time::timeout(Duration::ZERO, stop).await.is_err());
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiters = [Priority::Look, Priority::Create, Priority::Start, Priority::Stop].map(|priority| {
            let (limiter, order) = (Arc::clone(&limiter), Arc::clone(&order));
            async move {
                limiter.acquire(Kind::Other, priority, LONG, None).await.unwrap();
                order.lock().unwrap().push(priority);
            }
        });
        futures::future::join_all(waiters).await;
        assert_eq!(
            *order.lock().unwrap(),
            [Priority::Stop, Priority::Start, Priority::Create, Priority::Look]
        );
        // The other bucket is a bucket of its own.
        limiter.acquire(Kind::Post, Priority::Look, LONG, None).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_handed_back_once_and_all_go_at_the_limiters_pace() {
        let limiter = RateLimiter::new(RateLimits::default());
        let timeout = Duration::from_secs(3);
        let begun = Instant::now();
        let requests = (0..200).map(async |index| {
            let who = format!("{index}");
            let mut handed_back = 0;
            while let Err(Later(wait)) =
                limiter.acquire(Kind::Post, Priority::Create, timeout, Some(&who)).await
            {
                assert!(begun.elapsed() < LONG, "it never comes to its turn");
                handed_back += 1;
                // What a lane adds.
                tokio::time::sleep(wait + Duration::from_millis(750 + index % 5 * 100)).await;
            }
            handed_back
        });
        let handed_back = futures::future::join_all(requests).await;
        assert!(handed_back.iter().all(|times| *times <= 1), "{handed_back:?}");
        assert!(begun.elapsed() <= Duration::from_secs(198), "{:?}", begun.elapsed());
    }
}
