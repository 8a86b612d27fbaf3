//! Puts the time stamps of one camera onto Program's clock: pure.
//!
//! Picture and sound of a camera share one offset, so they stay together. The offset is set so that the first
//! buffer is due when it arrives. It grows when buffers come too late to be used, and shrinks when all of them
//! come needlessly early for a while.

use std::time::Duration;

/// A buffer that is later than this would be useless, so the offset grows.
const TOLERATED_LATENESS: i64 = Duration::from_millis(60).as_nanos() as i64;
/// A buffer that is earlier than this comes from a time stamp that jumped.
const TOLERATED_EARLINESS: i64 = Duration::from_secs(1).as_nanos() as i64;
/// All buffers of a window being earlier than this makes the offset shrink.
const NEEDLESS_EARLINESS: i64 = Duration::from_millis(60).as_nanos() as i64;
/// How long earliness is watched.
const WINDOW: i64 = Duration::from_secs(5).as_nanos() as i64;

/// The offset of one camera. Times are nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeline {
    offset: Option<i64>,
    window_ends: i64,
    /// The least earliness that was seen in this window.
    least_earliness: Option<i64>,
}

impl Timeline {
    /// The time on Program's clock at which a buffer is due that bears `stamp` and arrived at `now`.
    pub fn place(&mut self, stamp: u64, now: u64) -> u64 {
        let (stamp, now) = (signed(stamp), signed(now));
        let offset = match self.offset {
            Some(offset) if (-TOLERATED_LATENESS..=TOLERATED_EARLINESS).contains(&(stamp + offset - now)) => {
                offset
            }
            Some(_) | None => self.restart(now - stamp, now),
        };
        let earliness = stamp + offset - now;
        self.least_earliness = Some(self.least_earliness.map_or(earliness, |least| least.min(earliness)));
        if now >= self.window_ends {
            let needless = self.least_earliness.filter(|least| *least > NEEDLESS_EARLINESS).unwrap_or(0);
            self.restart(offset - needless, now);
        }
        u64::try_from(stamp + self.offset.unwrap_or(offset)).unwrap_or(0)
    }

    fn restart(&mut self, offset: i64, now: i64) -> i64 {
        *self = Self { offset: Some(offset), window_ends: now + WINDOW, least_earliness: None };
        offset
    }
}

fn signed(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn the_first_buffer_is_due_when_it_arrives_and_spacing_is_kept() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.place(0, 7_000 * MILLISECOND), 7_000 * MILLISECOND);
        // It arrives 20 ms late and 20 ms early; its due time keeps the camera's own rhythm.
        assert_eq!(timeline.place(33 * MILLISECOND, 7_053 * MILLISECOND), 7_033 * MILLISECOND);
        assert_eq!(timeline.place(66 * MILLISECOND, 7_046 * MILLISECOND), 7_066 * MILLISECOND);
    }

    #[test]
    fn a_late_buffer_moves_the_offset_so_that_the_next_is_in_time() {
        let mut timeline = Timeline::default();
        timeline.place(0, 1_000 * MILLISECOND);
        assert_eq!(timeline.place(40 * MILLISECOND, 1_200 * MILLISECOND), 1_200 * MILLISECOND);
        assert_eq!(timeline.place(80 * MILLISECOND, 1_240 * MILLISECOND), 1_240 * MILLISECOND);
    }

    #[test]
    fn a_jump_of_the_stamps_is_followed() {
        let mut timeline = Timeline::default();
        timeline.place(0, 1_000 * MILLISECOND);
        assert_eq!(timeline.place(90_000 * MILLISECOND, 1_033 * MILLISECOND), 1_033 * MILLISECOND);
        assert_eq!(timeline.place(33 * MILLISECOND, 1_066 * MILLISECOND), 1_066 * MILLISECOND);
    }

    #[test]
    fn needless_delay_is_taken_back_after_a_while() {
        let mut timeline = Timeline::default();
        timeline.place(0, 1_000 * MILLISECOND);
        // One burst is 500 ms late, afterwards everything is in time again.
        timeline.place(33 * MILLISECOND, 1_533 * MILLISECOND);
        let mut delays = Vec::new();
        for frame in 2..600 {
            let stamp = frame * 33 * MILLISECOND;
            let now = stamp + 1_000 * MILLISECOND;
            delays.push((timeline.place(stamp, now) - now) / MILLISECOND);
        }
        assert_eq!(delays.first(), Some(&500));
        assert_eq!(delays.last(), Some(&0));
    }
}
