//! Whether an ingest takes media, judged by what rtmp2sink and the kernel tell: pure, time comes from outside.
//!
//! rtmp2sink tells figures only once the ingest answered `NetStream.Publish.Start`. From then on bytes count that the
//! ingest's machine acknowledged, which the kernel knows. An ingest that acknowledges in RTMP's own words, and stops to,
//! takes nothing any more whatever its machine does; but many do so every 5 MB only, nginx-rtmp for one.

use std::time::{Duration, Instant};

/// Media has to be taken for this long before it counts: at Program's rate this is more than a fresh connection takes
/// when nobody reads from it.
const SETTLE: Duration = Duration::from_secs(1);
/// So many of its own longest steps may an ingest that acknowledges be behind.
const TOLERATED_STEPS: u64 = 2;

/// What is told of one connection, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Written to it; 0 until the ingest accepted the stream.
    pub sent: u64,
    /// Of these, how many the ingest's machine did not acknowledge.
    pub unacknowledged: u64,
    /// Acknowledged by the ingest itself; 0 where it does not.
    pub acknowledged: u64,
}

/// What the ingest took on one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intake {
    accepted: Option<Accepted>,
    /// Acknowledged by the ingest itself, and the most of it that came at once.
    acknowledged: u64,
    longest_step: u64,
    newest: Option<Instant>,
    settled: bool,
}

#[derive(Clone, Copy, Debug)]
struct Accepted {
    at: Instant,
    /// What had been sent by then: commands.
    commands: u64,
    /// What has arrived since the beginning.
    arrived: u64,
}

impl Intake {
    /// Figures as they are at `now`.
    pub fn observe(&mut self, figures: Figures, now: Instant) {
        let Figures { sent, unacknowledged, acknowledged } = figures;
        if sent == 0 {
            return;
        }
        let first = Accepted { at: now, commands: sent, arrived: sent };
        let accepted = self.accepted.get_or_insert(first);
        self.longest_step = self.longest_step.max(acknowledged.saturating_sub(self.acknowledged));
        self.acknowledged = acknowledged;
        let behind = sent.saturating_sub(acknowledged);
        let follows = acknowledged == 0 || behind <= TOLERATED_STEPS * self.longest_step;
        let arrived = sent.saturating_sub(unacknowledged);
        if arrived > accepted.arrived && follows {
            accepted.arrived = arrived;
            self.newest = Some(now);
            self.settled |= now.saturating_duration_since(accepted.at) >= SETTLE;
        }
    }

    /// Bytes of media that it took, and when it took the newest of them; `None` until it took media for a while.
    pub fn taken(&self) -> Option<(u64, Instant)> {
        let accepted = self.accepted?;
        let newest = self.newest.filter(|_| self.settled)?;
        Some((accepted.arrived - accepted.commands, newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken after `figures` (sent, unacknowledged, acknowledged) that come every 100 ms: bytes, and how long
    /// ago, milliseconds.
    fn taken(figures: impl IntoIterator<Item = (u64, u64, u64)>) -> Option<(u64, u128)> {
        let mut intake = Intake::default();
        let mut now = Instant::now();
        for (sent, unacknowledged, acknowledged) in figures {
            now += Duration::from_millis(100);
            intake.observe(Figures { sent, unacknowledged, acknowledged }, now);
        }
        intake.taken().map(|(bytes, newest)| (bytes, now.duration_since(newest).as_millis()))
    }

    /// 3 kB of commands, then 40 kB each 100 ms.
    fn sent(tick: u64) -> u64 {
        3_000 + tick * 40_000
    }

    #[test]
    fn nothing_is_taken_before_the_stream_is_accepted() {
        assert_eq!(taken([]), None);
        assert_eq!(taken([(0, 0, 0); 100]), None);
        assert_eq!(taken([(3_000, 0, 0); 100]), None, "accepted, and no media went");
    }

    #[test]
    fn media_is_taken_once_it_goes_for_a_while() {
        let steady = |ticks| (0..ticks).map(|tick| (sent(tick), 0, 0));
        assert_eq!(taken(steady(10)), None);
        assert_eq!(taken(steady(11)), Some((400_000, 0)));
        assert_eq!(taken(steady(20).chain([(763_000, 0, 0); 30])), Some((760_000, 3_000)), "it stopped");
    }

    #[test]
    fn what_only_fills_the_kernels_buffer_is_not_taken() {
        // The ingest's machine is gone 2 s after the start, and the kernel takes 4 MB more.
        let gone = (0..120).map(|tick| (sent(tick), sent(tick).saturating_sub(sent(20)), 0));
        assert_eq!(taken(gone), Some((20 * 40_000, 9_900)));
        let never_there = (0..120).map(|tick| (sent(tick), sent(tick) - 3_000, 0));
        assert_eq!(taken(never_there), None);
    }

    #[test]
    fn a_burst_into_a_fresh_connection_is_not_taken() {
        let burst = (0..5).map(|tick| (sent(tick), 0, 0));
        assert_eq!(taken(burst.chain([(sent(4), 0, 0); 50])), None);
    }

    #[test]
    fn an_ingest_that_stops_to_acknowledge_takes_nothing_any_more() {
        // It acknowledges every 400 kB, up to 2 MB.
        let acknowledged = |tick: u64| (sent(tick) / 400_000 * 400_000).min(2_000_000);
        let follow = |ticks| taken((0..ticks).map(|tick| (sent(tick), 0, acknowledged(tick))));
        assert_eq!(follow(60), Some((59 * 40_000, 0)));
        let (_, age) = follow(100).unwrap();
        assert!(age >= 2_900, "its machine takes on, and the ingest does not: {age}");
    }
}
