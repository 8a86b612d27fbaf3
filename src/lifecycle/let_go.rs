//! Which objects passes let go: nothing of them is left, or what may be is written down.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Their UIDs.
#[derive(Clone, Default)]
pub struct LetGo(Arc<Mutex<HashSet<String>>>);

impl LetGo {
    /// It is let go.
    pub fn note(&self, uid: &str) {
        self.uids().insert(uid.to_owned());
    }

    /// Whether it was; from then on it is not.
    pub fn take(&self, uid: &str) -> bool {
        self.uids().remove(uid)
    }

    fn uids(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
