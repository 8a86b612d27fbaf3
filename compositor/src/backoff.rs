//! How long to wait before something that ended is started again: pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);

/// Nothing the first time, then 0.5 s, doubling up to 5 s, until it worked again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next attempt. `worked` says whether the attempt that just ended had worked.
    pub fn next(&mut self, worked: bool) -> Duration {
        if worked {
            self.failures = 0;
        }
        let wait = match self.failures {
            0 => Duration::ZERO,
            failures => (FIRST * 2_u32.saturating_pow(failures - 1)).min(LONGEST),
        };
        // More failures do not change the wait, and must not overflow.
        self.failures = (self.failures + 1).min(10);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_first_then_longer_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..12).map(|_| backoff.next(false).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1000, 2000, 4000, 5000, 5000, 5000, 5000, 5000, 5000, 5000]);
        assert_eq!(backoff.next(true), Duration::ZERO, "it worked, so the next try is at once");
        assert_eq!(backoff.next(false), FIRST);
    }
}
