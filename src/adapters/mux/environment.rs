//! What all tokens of one Mux environment share: the rate limit, and what is known of its live streams.

use super::markers::Markers;
use crate::adapters::kept::Kept;
use crate::adapters::question::{Dated, Question, Slot, URGENT};
use crate::providers::Provider;
use crate::providers::mux::{LiveStream, LiveStreamStatus, Priority, RateLimiter};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Mux promises nothing about how soon a list knows of a change. What we put to rest is not believed to be active on the
/// word of a list that was asked for earlier than this after it.
const LIST_LAG: Duration = Duration::from_secs(30);
/// Who was looked at urgently within this time is on air, starting or ending.
const IN_USE: Duration = Duration::from_secs(300);
/// Looks at streams on which nothing depends, whatever their number: so many at once, and then one in so many seconds.
/// Those that are wanted rarely do not take from the others.
const RARE: Duration = Duration::from_secs(300);
const RARE_BUDGET: Budget = Budget { burst: 2.0, seconds: 15.0 };
const SPARE_BUDGET: Budget = Budget { burst: 4.0, seconds: 5.0 };

struct Budget {
    burst: f64,
    seconds: f64,
}

/// One Mux environment.
pub(super) struct MuxEnvironment {
    pub(super) limiter: Arc<RateLimiter>,
    pub(super) active: Slot<Vec<LiveStream>>,
    pub(super) markers: Slot<Markers>,
    streams: Kept<String, Stream>,
    /// When streams were put to rest by us, by id.
    rested: Mutex<BTreeMap<String, Instant>>,
    /// How streams are since we changed their settings, and when that was, by id.
    changed: Mutex<BTreeMap<String, (Instant, LiveStream)>>,
    rare_looks: Mutex<(f64, Instant)>,
    spare_looks: Mutex<(f64, Instant)>,
}

/// What is known of one live stream.
pub(super) struct Stream {
    pub(super) question: Question<Option<LiveStream>>,
    urgent_at: Mutex<Option<Instant>>,
}

impl MuxEnvironment {
    pub(super) fn new(limiter: Arc<RateLimiter>) -> Self {
        Self {
            limiter,
            active: Slot::default(),
            markers: Slot::default(),
            streams: Kept::default(),
            rested: Mutex::default(),
            changed: Mutex::default(),
            rare_looks: Mutex::new((RARE_BUDGET.burst, Instant::now())),
            spare_looks: Mutex::new((SPARE_BUDGET.burst, Instant::now())),
        }
    }

    pub(super) fn stream(&self, id: &str) -> Arc<Stream> {
        let new = || {
            let question = Question::new(Provider::Mux, "live_stream");
            Ok::<_, Infallible>(Stream { question, urgent_at: Mutex::default() })
        };
        self.streams.get(&id.to_owned(), new).unwrap_or_else(|never| match never {})
    }

    /// Whether there is an answer about a stream that is as fresh as that.
    pub(super) fn is_known(&self, id: &str, freshness: Duration) -> bool {
        let last = self.streams.known(&id.to_owned()).and_then(|stream| stream.question.last());
        last.is_some_and(|last| last.came.elapsed() < freshness)
    }

    /// With what priority a stream is asked for whose answer must be as fresh as that.
    pub(super) fn looks(&self, stream: &Stream, freshness: Duration) -> Priority {
        if freshness >= URGENT {
            return Priority::Create;
        }
        *lock(&stream.urgent_at) = Some(Instant::now());
        Priority::Start
    }

    /// The streams of a list that are active, as far as we know better, with the settings that we gave them.
    pub(super) fn really_active(&self, listed: &Dated<Vec<LiveStream>>) -> Arc<Vec<LiveStream>> {
        let (mut rested, mut changed) = (lock(&self.rested), lock(&self.changed));
        rested.retain(|_, at| at.elapsed() < 2 * LIST_LAG);
        changed.retain(|_, (at, _)| at.elapsed() < 2 * LIST_LAG);
        let is_older = |at: &Instant| *at + LIST_LAG > listed.asked;
        let outdated = |stream: &LiveStream| rested.get(&stream.id).is_some_and(is_older);
        let settings = |stream: &LiveStream| {
            changed.get(&stream.id).filter(|(at, _)| is_older(at)).map(|(_, changed)| changed)
        };
        if !listed.answer.iter().any(|stream| outdated(stream) || settings(stream).is_some()) {
            return Arc::clone(&listed.answer);
        }
        let known = |stream: &LiveStream| match settings(stream) {
            Some(LiveStream { latency_mode, reconnect_window_seconds, .. }) => LiveStream {
                latency_mode: *latency_mode,
                reconnect_window_seconds: *reconnect_window_seconds,
                ..stream.clone()
            },
            None => stream.clone(),
        };
        Arc::new(listed.answer.iter().filter(|stream| !outdated(stream)).map(known).collect())
    }

    /// With what priority a stream is put to rest: one that mourners may see goes first, the rest waits behind creates.
    pub(super) fn stops(&self, id: &str) -> Priority {
        if self.may_be_seen(id) { Priority::Stop } else { Priority::Create }
    }

    /// Whether a broadcast of the stream is under way, or was lately, as far as is known here.
    pub(super) fn may_be_seen(&self, id: &str) -> bool {
        let listed = self.active.get().is_some_and(|list| list.answer.iter().any(|stream| stream.id == id));
        let urgent = self.streams.known(&id.to_owned()).and_then(|stream| *lock(&stream.urgent_at));
        let in_use = urgent.is_some_and(|at| at.elapsed() < IN_USE);
        listed || in_use || lock(&self.rested).contains_key(id)
    }

    /// Mux took a change after which the stream rests.
    pub(super) fn note_rest(&self, id: &str) {
        lock(&self.rested).insert(id.to_owned(), Instant::now());
    }

    /// Mux took a change of its settings, and told how the stream is now.
    pub(super) fn note_settings(&self, now: LiveStream) {
        lock(&self.changed).insert(now.id.clone(), (Instant::now(), now.clone()));
        self.stream(&now.id).question.set(Some(now));
    }

    /// Mux took a change: the stream is as it was, but for its status.
    pub(super) fn note_status(&self, id: &str, status: LiveStreamStatus) {
        let stream = self.stream(id);
        let known = stream.question.last().and_then(|last| last.answer.as_ref().clone());
        match known {
            Some(known) => stream.question.set(Some(LiveStream { status, ..known })),
            None => stream.question.forget(),
        }
    }

    /// One look at a stream on which nothing depends, if one is left.
    pub(super) fn take_spare(&self, freshness: Duration) -> bool {
        let (looks, budget) = match freshness >= RARE {
            true => (&self.rare_looks, RARE_BUDGET),
            false => (&self.spare_looks, SPARE_BUDGET),
        };
        let mut looks = lock(looks);
        let now = Instant::now();
        let gained = now.duration_since(looks.1).as_secs_f64() / budget.seconds;
        *looks = ((looks.0 + gained).min(budget.burst), now);
        let left = looks.0 >= 1.0;
        if left {
            looks.0 -= 1.0;
        }
        left
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
