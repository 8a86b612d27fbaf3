//! A token bucket.

use crate::settings::Rate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many requests may still come at once. `None` as its rate: any number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    tokens: f64,
    filled_at: Timestamp,
}

/// What a bucket says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draw {
    pub taken: bool,
    /// For `X-RateLimit-Limit` and `X-RateLimit-Remaining`.
    pub limit: u64,
    pub remaining: u64,
}

impl Bucket {
    pub fn full(rate: Option<Rate>, now: Timestamp) -> Self {
        Self { tokens: rate.map_or(0.0, |rate| rate.burst), filled_at: now }
    }

    /// Takes a token, when there is one. `None`: there is no limit.
    pub fn draw(&mut self, rate: Option<Rate>, now: Timestamp) -> Option<Draw> {
        let rate = rate?;
        let passed = now.duration_since(self.filled_at).as_secs_f64().max(0.0);
        self.tokens = (self.tokens + passed * rate.per_second).min(rate.burst);
        self.filled_at = now;
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        Some(Draw { taken, limit: whole(rate.burst), remaining: whole(self.tokens) })
    }
}

/// Rounded down; rates are small and never negative.
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    #[test]
    fn a_burst_is_taken_and_then_one_in_each_second() {
        let (rate, start) = (Some(Rate { burst: 4.0, per_second: 1.0 }), Timestamp::UNIX_EPOCH);
        let mut bucket = Bucket::full(rate, start);
        let mut draw = |milliseconds| {
            let now = start + SignedDuration::from_millis(milliseconds);
            bucket.draw(rate, now).expect("a limit")
        };
        let remaining: Vec<u64> = (0..4).map(|_| draw(0)).map(|draw| draw.remaining).collect();
        assert_eq!(remaining, [3, 2, 1, 0]);
        assert!(!draw(0).taken);
        assert!(!draw(900).taken);
        assert!(draw(1_000).taken);
        assert!(!draw(1_100).taken);
        assert_eq!(draw(60_000), Draw { taken: true, limit: 4, remaining: 3 });
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut bucket = Bucket::full(None, Timestamp::UNIX_EPOCH);
        assert_eq!(bucket.draw(None, Timestamp::UNIX_EPOCH), None);
    }
}
