//! Answers that serve everybody, and one client per set of credentials.

use crate::providers::ProviderError;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// An answer that serves everybody until it is too old for the one who asks.
pub(super) struct Shared<T>(tokio::sync::Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(tokio::sync::Mutex::new(None))
    }
}

impl<T> Shared<T> {
    /// The answer, asked for anew when it is older than `freshness`. Who asks meanwhile waits for the same answer.
    pub(super) async fn get(
        &self,
        freshness: Duration,
        ask: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<Arc<T>, ProviderError> {
        let asked_at = Instant::now();
        let mut slot = self.0.lock().await;
        if let Some((at, answer)) = slot.as_ref()
            && (*at >= asked_at || at.elapsed() < freshness)
        {
            return Ok(Arc::clone(answer));
        }
        let begun = Instant::now();
        let answer = Arc::new(ask.await?);
        *slot = Some((begun, Arc::clone(&answer)));
        Ok(answer)
    }

    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

/// One of something per set of credentials.
pub(super) struct PerCredentials<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for PerCredentials<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Hash + Eq + Clone, V> PerCredentials<K, V> {
    pub(super) fn get(
        &self,
        key: &K,
        make: impl FnOnce() -> Result<V, ProviderError>,
    ) -> Result<Arc<V>, ProviderError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(key) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(make()?);
        all.insert(key.clone(), Arc::clone(&made));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn one_answer_serves_everybody_until_it_is_too_old() {
        let shared = Shared::default();
        let asked = AtomicU32::new(0);
        let ask = || async { Ok(asked.fetch_add(1, Ordering::SeqCst)) };
        let hour = Duration::from_secs(3600);
        let answers =
            tokio::join!(shared.get(hour, ask()), shared.get(hour, ask()), shared.get(Duration::ZERO, ask()));
        assert_eq!(*answers.0.unwrap(), 0);
        assert_eq!(*answers.1.unwrap(), 0);
        assert_eq!(*answers.2.unwrap(), 1, "no freshness means asking anew");
        shared.forget().await;
        assert_eq!(*shared.get(hour, ask()).await.unwrap(), 2);
    }
}
