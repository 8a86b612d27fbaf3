//! Records of creates that were never sent: the write of the record failed, or its answer was lost, and the pass ended
//! there. What nobody sent need not be searched for.

use super::plan::Action;
use crate::api::MemorialStreamStatus;
use crate::api::status::CreateIntent;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many are remembered while Kubernetes takes no write.
const MOST: usize = 100;

/// When this process noted intents on which it did not act, in seconds since 1970. Lost with the process: then they are searched for.
#[derive(Debug, Default)]
pub struct Unsent(Mutex<BTreeSet<i64>>);

impl Unsent {
    fn all(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When they were noted: see [`noted_at`].
    pub fn seen(&self) -> BTreeSet<i64> {
        self.all().clone()
    }

    /// The record of these actions may stand in status, and none of them is done.
    pub fn is_given_up(&self, actions: &[Action], record: &MemorialStreamStatus) {
        let mut all = self.all();
        all.extend(intents(actions, record));
        while all.len() > MOST {
            all.pop_first();
        }
    }

    /// The record of these actions stands, and they follow. An earlier record may bear the same time.
    pub fn is_sent(&self, actions: &[Action], record: &MemorialStreamStatus) {
        let mut all = self.all();
        for since in intents(actions, record) {
            all.remove(&since);
        }
    }
}

/// When an intent was noted: status counts whole seconds.
pub fn noted_at(intent: &CreateIntent) -> i64 {
    intent.since.0.as_second()
}

/// When the creates among these actions were noted.
fn intents(actions: &[Action], record: &MemorialStreamStatus) -> impl Iterator<Item = i64> {
    let starting = record.egress.as_ref().and_then(|egress| egress.starting.as_ref());
    let creating = record.mux.as_ref().and_then(|mux| mux.creating.as_ref());
    actions.iter().filter_map(move |action| match action {
        Action::StartEgress { .. } => starting.map(noted_at),
        Action::CreateStream(_) => creating.map(noted_at),
        _ => None,
    })
}
