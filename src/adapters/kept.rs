//! What is kept as long as somebody uses it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What nobody asked for so long is forgotten.
const UNUSED: Duration = Duration::from_secs(15 * 60);
/// Between two looks for what is unused.
const SWEEP: Duration = Duration::from_secs(60);
/// What somebody asked for within this time is in use.
const LATELY: Duration = Duration::from_secs(60);

/// One of something per key. What is still held elsewhere is never forgotten.
pub(super) struct Kept<K, V>(Mutex<Inner<K, V>>);

struct Inner<K, V> {
    all: BTreeMap<K, (Instant, Arc<V>)>,
    swept: Instant,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Inner { all: BTreeMap::new(), swept: Instant::now() }))
    }
}

impl<K: Ord + Clone, V> Kept<K, V> {
    /// The one of `key`, made if there is none.
    pub(super) fn get<E>(&self, key: &K, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let now = Instant::now();
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(inner.swept) >= SWEEP {
            inner.swept = now;
            inner.all.retain(|_, (used, value)| {
                now.duration_since(*used) < UNUSED || Arc::strong_count(value) > 1
            });
        }
        if let Some((used, known)) = inner.all.get_mut(key) {
            *used = now;
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(make()?);
        inner.all.insert(key.clone(), (now, Arc::clone(&made)));
        Ok(made)
    }

    /// How many are in use.
    pub(super) fn in_use(&self) -> usize {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.all.values().filter(|(used, _)| used.elapsed() < LATELY).count()
    }

    /// The one of `key`, if there is one.
    pub(super) fn known(&self, key: &K) -> Option<Arc<V>> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.all.get(key).map(|(_, known)| Arc::clone(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[tokio::test(start_paused = true)]
    async fn what_nobody_uses_is_forgotten_and_what_somebody_holds_is_not() {
        let kept = Kept::default();
        let make = |value: u32| move || Ok::<_, Infallible>(value);
        let held = kept.get(&"held", make(1)).unwrap();
        kept.get(&"unused", make(2)).unwrap();
        for _ in 0..20 {
            tokio::time::advance(SWEEP).await;
            kept.get(&"used", make(3)).unwrap();
        }
        assert!(kept.known(&"unused").is_none());
        assert!(kept.known(&"used").is_some());
        assert!(Arc::ptr_eq(&held, &kept.known(&"held").unwrap()));
    }
}
