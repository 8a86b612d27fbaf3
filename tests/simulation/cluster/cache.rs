//! What one operator's watches told it so far: late, in order, and at times not at all.

use super::{Change, Cluster, Key};
use k8s_openapi::api::core::v1::Pod;
use memorialstream_operator::api::MemorialStream;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One watch: how far it has come, and what ails it.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    position: usize,
    /// Milliseconds after which a change arrives.
    pub lag: u64,
    /// It stands still until then.
    pub still_until: u64,
    /// So many changes of the next ones never arrive; the next list brings them.
    pub drops: u32,
    /// Everything is listed again then.
    pub relist_at: Option<u64>,
    /// So many changes are told twice, the older ones after the newer.
    pub repeats: usize,
}

/// Both caches of one operator.
#[derive(Default)]
pub struct Caches {
    pub objects: BTreeMap<Key, Arc<MemorialStream>>,
    pub pods: BTreeMap<Key, Arc<Pod>>,
    pub watch_objects: Watch,
    pub watch_pods: Watch,
}

impl Caches {
    /// Filled by a list.
    pub fn list(&mut self, cluster: &Cluster) {
        self.objects = cluster.readable();
        self.pods = cluster.pods.clone();
        self.watch_objects.position = cluster.journal.len();
        self.watch_pods.position = cluster.journal.len();
    }

    /// When the list comes that brings what never arrived; 0 where nothing is missing.
    pub fn whole_at(&self) -> u64 {
        [&self.watch_objects, &self.watch_pods]
            .into_iter()
            .filter_map(|watch| watch.relist_at)
            .max()
            .unwrap_or(0)
    }

    /// Takes in what has arrived by now. Returns it, and when the next arrives.
    pub fn take_in(&mut self, cluster: &Cluster, now: u64) -> (Vec<Change>, Option<u64>) {
        let mut arrived = Vec::new();
        let mut next = self.of_kind(cluster, now, true, &mut arrived);
        if let Some(pods) = self.of_kind(cluster, now, false, &mut arrived) {
            next = Some(next.map_or(pods, |next| next.min(pods)));
        }
        (arrived, next)
    }

    fn of_kind(
        &mut self,
        cluster: &Cluster,
        now: u64,
        objects: bool,
        arrived: &mut Vec<Change>,
    ) -> Option<u64> {
        let watch = if objects { &mut self.watch_objects } else { &mut self.watch_pods };
        if watch.relist_at.is_some_and(|at| at <= now) {
            watch.relist_at = None;
            watch.position = cluster.journal.len();
            watch.still_until = 0;
            relist(cluster, objects, &mut self.objects, &mut self.pods, arrived);
            return None;
        }
        let mut repeated = Vec::new();
        while let Some((at, change)) = cluster.journal.get(watch.position) {
            if matches!(change, Change::Object(..)) != objects {
                watch.position += 1;
                continue;
            }
            let due = (at + watch.lag).max(watch.still_until);
            if due > now {
                let relist = watch.relist_at.unwrap_or(u64::MAX);
                return Some(due.min(relist));
            }
            watch.position += 1;
            if watch.drops > 0 {
                watch.drops -= 1;
                watch.relist_at = Some(now + 30_000);
                continue;
            }
            if watch.repeats > 0 {
                watch.repeats -= 1;
                repeated.push(change.clone());
            }
            apply(change, &mut self.objects, &mut self.pods);
            arrived.push(change.clone());
        }
        let again: Vec<Change> = repeated.iter().chain(arrived.last()).cloned().collect();
        if !repeated.is_empty() {
            for change in again {
                apply(&change, &mut self.objects, &mut self.pods);
                arrived.push(change);
            }
        }
        watch.relist_at
    }
}

fn apply(
    change: &Change,
    objects: &mut BTreeMap<Key, Arc<MemorialStream>>,
    pods: &mut BTreeMap<Key, Arc<Pod>>,
) {
    match change {
        Change::Object(key, Some(object)) => drop(objects.insert(key.clone(), Arc::clone(object))),
        Change::Object(key, None) => drop(objects.remove(key)),
        Change::Pod(key, Some(pod)) => drop(pods.insert(key.clone(), Arc::clone(pod))),
        Change::Pod(key, None) => drop(pods.remove(key)),
    }
}

fn relist(
    cluster: &Cluster,
    of_objects: bool,
    objects: &mut BTreeMap<Key, Arc<MemorialStream>>,
    pods: &mut BTreeMap<Key, Arc<Pod>>,
    arrived: &mut Vec<Change>,
) {
    if of_objects {
        let readable = cluster.readable();
        let gone = objects.keys().filter(|key| !readable.contains_key(*key));
        arrived.extend(gone.map(|key| Change::Object(key.clone(), None)));
        arrived.extend(
            readable.iter().map(|(key, object)| Change::Object(key.clone(), Some(Arc::clone(object)))),
        );
        *objects = readable;
    } else {
        let gone = pods.keys().filter(|key| !cluster.pods.contains_key(*key));
        arrived.extend(gone.map(|key| Change::Pod(key.clone(), None)));
        arrived.extend(cluster.pods.iter().map(|(key, pod)| Change::Pod(key.clone(), Some(Arc::clone(pod)))));
        *pods = cluster.pods.clone();
    }
}
