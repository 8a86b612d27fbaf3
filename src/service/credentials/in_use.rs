//! The credentials that worked last.

use super::Credentials;
use crate::service::Identity;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The credentials that worked last, by the object's UID. What was made with them is kept and ended with them, although
/// the Secret is gone meanwhile, or belongs to another account.
#[derive(Clone, Default)]
pub struct CredentialsInUse(Arc<Mutex<HashMap<String, Credentials>>>);

impl CredentialsInUse {
    /// Those of the object.
    pub fn of(&self, identity: &Identity) -> Option<Credentials> {
        self.all().get(&identity.uid).cloned()
    }

    /// These work for the object.
    pub fn keep(&self, identity: &Identity, credentials: &Credentials) {
        self.all().insert(identity.uid.clone(), credentials.clone());
    }

    /// Nothing of the object is left.
    pub fn forget(&self, identity: &Identity) {
        self.all().remove(&identity.uid);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Credentials>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
