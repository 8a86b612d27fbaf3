//! Who may send next: a token bucket and those who wait for it. Pure; times count from the limiter's start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who goes first when requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Ends or deletes something that costs money or is seen.
    Stop,
    /// Brings something on air, or looks at what is there.
    Start,
    /// Makes, changes or puts away something that nobody watches.
    Create,
    /// Looks at something that nobody watches.
    Look,
}

/// A token bucket, as Mux publishes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests at once.
    pub burst: f64,
    /// Requests per second after that; more than 0.
    pub per_second: f64,
}

/// Lower goes first: by priority, then by arrival.
pub(super) type Ticket = (Priority, u64);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Turn {
    /// Send now; the place is given up.
    Go,
    /// Somebody else is first.
    Behind,
    /// First, but not before this time has passed.
    Wait(Duration),
}

/// A request that was handed back comes this long before its turn: it may be held up on its way.
const EARLY: Duration = Duration::from_secs(2);
/// A request that was handed back and did not come this long after its turn has lost its place.
const LOST: Duration = Duration::from_secs(30);
/// Any wait that no arithmetic gives.
const LONG: Duration = Duration::from_secs(3600);

/// A bucket and who waits for it.
#[derive(Debug)]
pub(super) struct Queue {
    rate: Rate,
    reserves: bool,
    tokens: f64,
    filled_at: Duration,
    paused_until: Duration,
    waiting: BTreeSet<Ticket>,
    arrivals: u64,
    /// Places of those who were handed back, and until when they are kept.
    booked: BTreeMap<String, (Ticket, Duration)>,
}

impl Queue {
    /// A full bucket. With `reserves`, what is not urgent leaves the last tokens to what is.
    pub fn new(rate: Rate, reserves: bool) -> Self {
        Self {
            rate,
            reserves,
            tokens: capacity(rate),
            filled_at: Duration::ZERO,
            paused_until: Duration::ZERO,
            waiting: BTreeSet::new(),
            arrivals: 0,
            booked: BTreeMap::new(),
        }
    }

    /// A place in the queue; the old one for who was handed back and comes again.
    pub fn enter(&mut self, priority: Priority, who: Option<&str>, now: Duration) -> Ticket {
        let kept = who.and_then(|who| self.booked.remove(who));
        let kept = kept.filter(|(ticket, until)| ticket.0 == priority && *until > now);
        let ticket = kept.map_or_else(
            || {
                self.arrivals += 1;
                (priority, self.arrivals)
            },
            |(ticket, _)| ticket,
        );
        self.waiting.insert(ticket);
        ticket
    }

    pub fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    pub fn turn(&mut self, ticket: Ticket, now: Duration) -> Turn {
        if self.waiting.first() != Some(&ticket) {
            return Turn::Behind;
        }
        if now < self.paused_until {
            return Turn::Wait(self.paused_until - now);
        }
        self.fill(now);
        let missing = 1.0 + self.reserve(ticket.0) - self.tokens;
        // A wait rounded down to nanoseconds must not be followed by another one of zero.
        if missing > 1e-6 {
            return Turn::Wait(self.time_for(missing));
        }
        self.tokens -= 1.0;
        self.waiting.remove(&ticket);
        Turn::Go
    }

    /// How long `ticket` waits, if nobody passes it.
    pub fn expected(&mut self, ticket: Ticket, now: Duration) -> Duration {
        self.fill(now);
        self.booked.retain(|_, (_, until)| *until > now);
        let booked = self.booked.values().filter(|(booked, _)| *booked < ticket).count();
        let ahead = self.waiting.range(..ticket).count() + booked;
        let missing = 1.0 + self.reserve(ticket.0) + number(ahead) - self.tokens;
        self.time_for(missing).max(self.paused_until.saturating_sub(now))
    }

    /// Hands `ticket` back and keeps its place. Returns after what time to come again.
    pub fn book(&mut self, ticket: Ticket, who: &str, now: Duration) -> Duration {
        let expected = self.expected(ticket, now);
        self.waiting.remove(&ticket);
        self.booked.insert(who.to_owned(), (ticket, now + expected + LOST));
        expected.saturating_sub(EARLY).max(Duration::from_secs(1))
    }

    /// Mux refused a request, although our bucket allowed it: somebody else uses up the same limit.
    pub fn refused(&mut self, now: Duration, retry_after: Option<Duration>) {
        self.remain(now, 0);
        self.paused_until = self.paused_until.max(now + retry_after.unwrap_or(Duration::ZERO));
    }

    /// Mux said how many requests it would still take.
    pub fn remain(&mut self, now: Duration, remaining: u32) {
        self.fill(now);
        self.tokens = self.tokens.min(f64::from(remaining));
    }

    fn fill(&mut self, now: Duration) {
        let gained = now.saturating_sub(self.filled_at).as_secs_f64() * self.rate.per_second;
        self.tokens = (self.tokens + gained).min(capacity(self.rate));
        self.filled_at = self.filled_at.max(now);
    }

    /// How many tokens are not for this priority.
    fn reserve(&self, priority: Priority) -> f64 {
        let share = match priority {
            Priority::Stop | Priority::Start => 0.0,
            Priority::Create => 0.3,
            Priority::Look => 0.5,
        };
        if self.reserves { ((capacity(self.rate) - 1.0) * share).floor() } else { 0.0 }
    }

    fn time_for(&self, tokens: f64) -> Duration {
        Duration::try_from_secs_f64(tokens.max(0.0) / self.rate.per_second).unwrap_or(LONG).min(LONG)
    }
}

/// One request less than Mux takes at once: on their way requests come closer together than they were sent, and Mux must
/// still find a token for each.
fn capacity(rate: Rate) -> f64 {
    (rate.burst - 1.0).max(1.0)
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn go(queue: &mut Queue, priority: Priority, now: Duration) -> Turn {
        let ticket = queue.enter(priority, None, now);
        let turn = queue.turn(ticket, now);
        queue.leave(ticket);
        turn
    }

    #[test]
    fn stops_pass_starts_pass_creates_pass_looks() {
        let mut queue = Queue::new(Rate { burst: 2.0, per_second: 1.0 }, true);
        let order = [Priority::Look, Priority::Create, Priority::Start, Priority::Stop, Priority::Stop];
        let [look, create, start, stop, second_stop] =
            order.map(|priority| queue.enter(priority, None, Duration::ZERO));
        assert_eq!(queue.turn(look, Duration::ZERO), Turn::Behind);
        for (second, ticket) in (0..).zip([stop, second_stop, start, create, look]) {
            assert_eq!(queue.turn(ticket, SECOND * second), Turn::Go);
        }
    }

    #[test]
    fn looks_and_creates_leave_tokens_to_stops_and_starts() {
        let mut queue = Queue::new(Rate { burst: 20.0, per_second: 1.0 }, true);
        let sent = |queue: &mut Queue, priority| {
            (0..100).take_while(|_| go(queue, priority, Duration::ZERO) == Turn::Go).count()
        };
        assert_eq!(sent(&mut queue, Priority::Look), 10);
        assert_eq!(sent(&mut queue, Priority::Create), 4);
        assert_eq!(sent(&mut queue, Priority::Start), 5);
        assert_eq!(sent(&mut queue, Priority::Stop), 0);
    }

    #[test]
    fn who_gives_up_holds_nobody_back() {
        let mut queue = Queue::new(Rate { burst: 2.0, per_second: 1.0 }, false);
        let stop = queue.enter(Priority::Stop, None, Duration::ZERO);
        let look = queue.enter(Priority::Look, None, Duration::ZERO);
        queue.leave(stop);
        assert_eq!(queue.turn(look, Duration::ZERO), Turn::Go);
    }

    #[test]
    fn who_is_handed_back_keeps_the_place() {
        let mut queue = Queue::new(Rate { burst: 2.0, per_second: 1.0 }, false);
        assert_eq!(go(&mut queue, Priority::Create, Duration::ZERO), Turn::Go);
        let mut hand_back = |who: &str| {
            let ticket = queue.enter(Priority::Create, Some(who), Duration::ZERO);
            queue.book(ticket, who, Duration::ZERO)
        };
        let told: Vec<u64> = ["a", "b", "c", "d", "e"].map(|who| hand_back(who).as_secs()).to_vec();
        assert_eq!(told, [1, 1, 1, 2, 3], "each comes 2 s before its turn");
        let newcomer = queue.enter(Priority::Create, Some("f"), SECOND);
        assert_eq!(queue.expected(newcomer, SECOND), SECOND * 5);
        let first = queue.enter(Priority::Create, Some("a"), SECOND);
        assert_eq!(queue.turn(newcomer, SECOND), Turn::Behind);
        assert_eq!(queue.turn(first, SECOND), Turn::Go);
    }

    #[test]
    fn a_place_that_nobody_comes_for_is_given_away() {
        let mut queue = Queue::new(Rate { burst: 2.0, per_second: 1.0 }, false);
        let ticket = queue.enter(Priority::Create, Some("gone"), Duration::ZERO);
        queue.book(ticket, "gone", Duration::ZERO);
        let late = SECOND * 40;
        let other = queue.enter(Priority::Create, Some("other"), late);
        assert_eq!(queue.expected(other, late), Duration::ZERO);
        let again = queue.enter(Priority::Create, Some("gone"), late);
        assert!(again > other, "the old place is lost");
    }

    #[test]
    fn a_refusal_empties_the_bucket_and_pauses_it_for_as_long_as_mux_says() {
        let mut queue = Queue::new(Rate { burst: 20.0, per_second: 1.0 }, false);
        queue.refused(SECOND, None);
        assert_eq!(go(&mut queue, Priority::Look, SECOND), Turn::Wait(SECOND));
        queue.refused(SECOND, Some(SECOND * 7));
        queue.refused(SECOND, Some(SECOND));
        assert_eq!(go(&mut queue, Priority::Look, SECOND * 2), Turn::Wait(SECOND * 6));
        assert_eq!(go(&mut queue, Priority::Look, SECOND * 8), Turn::Go);
    }

    #[test]
    fn what_others_use_up_is_not_used_again() {
        let mut queue = Queue::new(Rate { burst: 20.0, per_second: 1.0 }, false);
        queue.remain(Duration::ZERO, 1);
        assert_eq!(go(&mut queue, Priority::Stop, Duration::ZERO), Turn::Go);
        assert_eq!(go(&mut queue, Priority::Stop, Duration::ZERO), Turn::Wait(SECOND));
        queue.remain(Duration::ZERO, 15);
        assert_eq!(
            go(&mut queue, Priority::Stop, Duration::ZERO),
            Turn::Wait(SECOND),
            "it only ever takes away"
        );
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_allow(
            steps in proptest::collection::vec(0u64..3000, 1..200),
            burst in 2u32..30,
            per_second in 1u32..10,
        ) {
            let rate = Rate { burst: burst.into(), per_second: per_second.into() };
            let mut queue = Queue::new(rate, false);
            let (mut now, mut sent) = (Duration::ZERO, 0u32);
            for step in steps {
                now += Duration::from_millis(step);
                while go(&mut queue, Priority::Stop, now) == Turn::Go {
                    sent += 1;
                }
                let allowed = rate.burst - 1.0 + now.as_secs_f64() * rate.per_second;
                prop_assert!(f64::from(sent) <= allowed + 0.001, "{sent} of {allowed}");
            }
        }

        #[test]
        fn waiting_as_long_as_told_is_enough(used in 1u32..40, after in 0u64..5000) {
            let mut queue = Queue::new(Rate { burst: 20.0, per_second: 3.0 }, true);
            for _ in 0..used {
                go(&mut queue, Priority::Stop, Duration::ZERO);
            }
            let now = Duration::from_millis(after);
            for priority in [Priority::Stop, Priority::Create, Priority::Look] {
                if let Turn::Wait(wait) = go(&mut queue, priority, now) {
                    prop_assert_eq!(go(&mut queue, priority, now + wait), Turn::Go);
                    break;
                }
            }
        }
    }
}
