//! Notices a lane or a watch that makes no progress. What is on air goes on without the operator, and the kubelet starts it
//! again: a process that does nothing for ever is worse than one that ends and says why.

use crate::api::MemorialStream;
use futures::channel::mpsc;
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A lane with due work finishes a pass within this time; every call in a pass is bounded. A lane in which nothing has
/// happened for so long is given something to do: how long kube's controller leaves an object alone does not show, and
/// it may have forgotten all of them.
pub(crate) const LANE_BOUND: Duration = Duration::from_secs(300);
/// How often it is looked.
const LOOK: Duration = Duration::from_secs(5);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A watch's sign of life.
pub struct Pulse {
    last: Mutex<Instant>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { last: Mutex::new(Instant::now()) }
    }
}

impl Pulse {
    /// It said something: an event, or why there is none.
    pub fn beat(&self) {
        *lock(&self.last) = Instant::now();
    }

    pub(crate) fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*lock(&self.last))
    }
}

/// The passes of one lane.
pub struct Lane {
    name: &'static str,
    store: Store<MemorialStream>,
    wake: mpsc::UnboundedSender<ObjectRef<MemorialStream>>,
    state: Mutex<Passes>,
}

struct Passes {
    /// When a pass began or ended last.
    progress: Instant,
    /// When each object's next pass is due, or its present one began.
    due: HashMap<ObjectRef<MemorialStream>, Instant>,
}

impl Lane {
    /// A lane that works on what `store` holds, and is told through `wake` what to look at.
    pub fn new(
        name: &'static str,
        store: Store<MemorialStream>,
        wake: mpsc::UnboundedSender<ObjectRef<MemorialStream>>,
    ) -> Self {
        let state = Mutex::new(Passes { progress: Instant::now(), due: HashMap::new() });
        Self { name, store, wake, state }
    }

    /// Wakes an object: a pass of it is due now.
    pub fn wake(&self, object: &ObjectRef<MemorialStream>) {
        self.wake_at(object, Instant::now());
    }

    /// Wakes an object unless it is gone; whether it is there.
    pub fn wake_if_there(&self, object: &ObjectRef<MemorialStream>) -> bool {
        let is_there = self.store.get(object).is_some();
        if is_there {
            self.wake(object);
        }
        is_there
    }

    fn wake_at(&self, object: &ObjectRef<MemorialStream>, now: Instant) {
        let mut passes = lock(&self.state);
        let due = passes.due.entry(object.clone()).or_insert(now);
        *due = (*due).min(now);
        if self.wake.unbounded_send(object.clone()).is_err() {
            tracing::debug!(lane = self.name, "the controller is gone");
        }
    }

    /// Nothing has happened for long, and nothing is due: one object is woken, so that it shows whether the lane still
    /// works.
    fn try_out(&self, now: Instant) {
        let quiet = {
            let passes = lock(&self.state);
            now.saturating_duration_since(passes.progress) > LANE_BOUND
                && passes.due.values().all(|due| *due > now)
        };
        if let Some(object) = self.store.state().first().filter(|_| quiet) {
            self.wake_at(&ObjectRef::from_obj(object.as_ref()), now);
        }
    }

    /// A pass begins.
    pub fn begins(&self, object: &ObjectRef<MemorialStream>) {
        self.progressed(object, Some(Duration::ZERO));
    }

    /// A pass ended; the next one is due after `next`.
    pub fn ends(&self, object: &ObjectRef<MemorialStream>, next: Option<Duration>) {
        self.progressed(object, next);
    }

    fn progressed(&self, object: &ObjectRef<MemorialStream>, next: Option<Duration>) {
        let now = Instant::now();
        let mut passes = lock(&self.state);
        passes.progress = now;
        match next.and_then(|next| now.checked_add(next)) {
            Some(due) => passes.due.insert(object.clone(), due),
            None => passes.due.remove(object),
        };
    }

    /// For how long it has made no progress although work was due all the time.
    fn stands_still(&self, now: Instant) -> Option<Duration> {
        let mut passes = lock(&self.state);
        passes.due.retain(|object, _| self.store.get(object).is_some());
        let oldest = passes.due.values().min()?;
        let since = (*oldest).max(passes.progress);
        let still = now.saturating_duration_since(since);
        (still > LANE_BOUND).then_some(still)
    }
}

/// What is watched over.
pub struct Watchdog {
    /// Both lanes.
    pub lanes: Vec<Arc<Lane>>,
    /// Each watch, with what it watches and how long it may be silent.
    pub watches: Vec<(&'static str, Arc<Pulse>, Duration)>,
}

impl Watchdog {
    /// Ends the process when a lane or a watch stands still. A thread of its own: it looks even when the runtime is stuck.
    pub fn start(self) {
        std::thread::spawn(move || {
            let mut before = None;
            loop {
                std::thread::sleep(LOOK);
                let found = self.look(Instant::now());
                // Once may be a process that was itself stopped for a while.
                if let (Some(trouble), Some(_)) = (&found, &before) {
                    tracing::error!(
                        "{trouble}; the operator ends and is started again; what is on air goes on"
                    );
                    std::process::exit(1);
                }
                before = found;
            }
        });
    }

    /// What stands still, by `now`.
    pub(crate) fn look(&self, now: Instant) -> Option<String> {
        self.lanes.iter().for_each(|lane| lane.try_out(now));
        let lane = self.lanes.iter().find_map(|lane| {
            let still = lane.stands_still(now)?;
            Some(format!("the {} lane has made no progress for {} s", lane.name, still.as_secs()))
        });
        lane.or_else(|| {
            self.watches.iter().find_map(|(what, pulse, bound)| {
                let silent = pulse.silent(now);
                (silent > *bound)
                    .then(|| format!("the watch of {what} has been silent for {} s", silent.as_secs()))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;

    #[test]
    fn a_lane_stands_still_only_while_work_is_due_and_nothing_moves() {
        let (store, mut writer) = reflector::store();
        let object = |name: &str| {
            let mut object = MemorialStream::new(name, Default::default());
            object.metadata.namespace = Some("family".into());
            writer.apply_watcher_event(&Event::Apply(object.clone()));
            ObjectRef::from_obj(&object)
        };
        let [a, b] = ["a", "b"].map(object);
        let (wake, _woken) = mpsc::unbounded();
        let lane = Lane::new("life-cycle", store, wake);
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert_eq!(lane.stands_still(later(10_000)), None, "no work");
        lane.wake(&a);
        assert!(lane.stands_still(later(290)).is_none());
        assert!(lane.stands_still(later(310)).is_some(), "a pass that never begins");
        lane.begins(&a);
        assert!(lane.stands_still(later(310)).is_some(), "a pass that never ends");
        lane.ends(&a, Some(Duration::from_secs(60)));
        assert!(lane.stands_still(later(310)).is_none(), "due only after a minute");
        assert!(lane.stands_still(later(370)).is_some());
        lane.ends(&a, None);
        lane.wake(&b);
        let gone = MemorialStream::new("b", Default::default());
        let mut gone = gone;
        gone.metadata.namespace = Some("family".into());
        writer.apply_watcher_event(&Event::Delete(gone));
        assert_eq!(lane.stands_still(later(10_000)), None, "nobody works on what is gone");
    }

    #[test]
    fn a_silent_watch_is_named() {
        let pulse = Arc::new(Pulse::default());
        let dog =
            Watchdog { lanes: Vec::new(), watches: vec![("pods", pulse.clone(), Duration::from_secs(60))] };
        assert_eq!(dog.look(Instant::now()), None);
        let found = dog.look(Instant::now() + Duration::from_secs(61)).unwrap();
        assert!(found.contains("watch of pods"), "{found}");
        pulse.beat();
        assert_eq!(dog.look(Instant::now() + Duration::from_secs(59)), None);
    }
}
