//! The API server: objects with resourceVersion and generation, finalizers, Secrets, pods, Events.

pub mod cache;
mod objects;
mod pods;
mod secrets;

use crate::land::Land;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use memorialstream_operator::api::conditions::ConditionType;
use memorialstream_operator::api::status::OwnedByProgram;
use memorialstream_operator::api::{MemorialStream, MemorialStreamSpec, MemorialStreamStatus};
use memorialstream_operator::world::KubernetesError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;

/// Namespace and name.
pub type Key = (String, String);

/// One change, as watches tell it. `None`: gone.
#[derive(Clone)]
pub enum Change {
    Object(Key, Option<Arc<MemorialStream>>),
    Pod(Key, Option<Arc<Pod>>),
}

#[derive(Clone, Default)]
pub struct StoredSecret {
    pub data: BTreeMap<String, String>,
    /// The UID of who owns it.
    pub owner: Option<String>,
    pub labels: BTreeSet<String>,
}

#[derive(Default)]
pub struct Cluster {
    version: u64,
    pub objects: BTreeMap<Key, Arc<MemorialStream>>,
    pub pods: BTreeMap<Key, Arc<Pod>>,
    pub secrets: BTreeMap<Key, StoredSecret>,
    /// What was abandoned, by UID.
    pub records: BTreeMap<String, BTreeMap<String, String>>,
    /// Namespaces that are being deleted.
    pub terminating: BTreeSet<String>,
    /// What happened when.
    pub journal: Vec<(u64, Change)>,
    pub watchers: Vec<Arc<Notify>>,
    /// Writes that changed something.
    pub writes: u64,
    pub events: u64,
    /// Events by object and reason.
    pub told: BTreeMap<(Key, String), u64>,
}

impl Cluster {
    fn tell(&mut self, now: u64, change: Change) {
        self.journal.push((now, change));
        for watcher in &self.watchers {
            watcher.notify_one();
        }
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    pub fn store_object(&mut self, now: u64, mut object: MemorialStream) -> Arc<MemorialStream> {
        object.metadata.resource_version = Some(self.next_version());
        let key = key_of(&object);
        let gone = object.metadata.deletion_timestamp.is_some()
            && object.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
        let object = Arc::new(object);
        if gone {
            self.objects.remove(&key);
            self.tell(now, Change::Object(key, None));
        } else {
            self.objects.insert(key.clone(), Arc::clone(&object));
            self.tell(now, Change::Object(key, Some(Arc::clone(&object))));
        }
        object
    }

    pub fn store_pod(&mut self, now: u64, mut pod: Pod) {
        pod.metadata.resource_version = Some(self.next_version());
        let key = pod_key(&pod);
        let pod = Arc::new(pod);
        self.pods.insert(key.clone(), Arc::clone(&pod));
        self.tell(now, Change::Pod(key, Some(pod)));
    }

    pub fn remove_pod(&mut self, now: u64, key: &Key) {
        if self.pods.remove(key).is_some() {
            self.tell(now, Change::Pod(key.clone(), None));
        }
    }

    pub fn object(&self, uid: &str) -> Option<&Arc<MemorialStream>> {
        self.objects.values().find(|object| object.metadata.uid.as_deref() == Some(uid))
    }

    pub fn status(&self, key: &Key) -> MemorialStreamStatus {
        self.objects.get(key).and_then(|object| object.status.clone()).unwrap_or_default()
    }
}

pub fn key_of(object: &MemorialStream) -> Key {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    (part(&object.metadata.namespace), part(&object.metadata.name))
}

pub fn pod_key(pod: &Pod) -> Key {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    (part(&pod.metadata.namespace), part(&pod.metadata.name))
}

/// Times lose their fractions when they are written.
fn whole_seconds<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap()
}

pub fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap())
}

fn is_programs(condition: &Condition) -> bool {
    condition.type_ == ConditionType::ProgramApplied.as_str()
}

impl Land {
    /// Somebody makes an object.
    pub fn create_object(&mut self, key: &Key, uid: &str, spec: MemorialStreamSpec) {
        let mut object = MemorialStream::new(&key.1, spec);
        object.metadata.namespace = Some(key.0.clone());
        object.metadata.uid = Some(uid.to_owned());
        object.metadata.generation = Some(1);
        object.metadata.creation_timestamp = Some(time(self.time()));
        self.note(|| format!("{} is made: {:?}", key.1, object.spec.state));
        let now = self.now;
        self.cluster.store_object(now, object);
    }

    /// Somebody changes the spec or the annotations.
    pub fn change_object(&mut self, key: &Key, change: impl FnOnce(&mut MemorialStream)) {
        let Some(object) = self.cluster.objects.get(key) else { return };
        let mut next = object.as_ref().clone();
        change(&mut next);
        if next == **object {
            return;
        }
        if next.spec != object.spec {
            next.metadata.generation = next.metadata.generation.map(|generation| generation + 1);
        }
        let now = self.now;
        self.cluster.store_object(now, next);
    }

    /// Somebody deletes it.
    pub fn delete_object(&mut self, key: &Key) {
        let at = time(self.time());
        let Some(object) = self.cluster.objects.get(key) else { return };
        if object.metadata.deletion_timestamp.is_some() {
            return;
        }
        let mut next = object.as_ref().clone();
        next.metadata.deletion_timestamp = Some(at);
        next.metadata.generation = next.metadata.generation.map(|generation| generation + 1);
        self.note(|| format!("{} is deleted", key.1));
        let now = self.now;
        self.cluster.store_object(now, next);
        self.collect_garbage();
    }

    /// Whoever is owned by an object that is gone goes too.
    pub fn collect_garbage(&mut self) {
        let alive: BTreeSet<String> =
            self.cluster.objects.values().filter_map(|object| object.metadata.uid.clone()).collect();
        self.cluster.secrets.retain(|_, secret| secret.owner.as_ref().is_none_or(|uid| alive.contains(uid)));
        let orphans: Vec<Key> = self
            .cluster
            .pods
            .iter()
            .filter(|(_, pod)| owner(pod).is_some_and(|uid| !alive.contains(&uid)))
            .map(|(key, _)| key.clone())
            .collect();
        for key in orphans {
            self.terminate_pod(&key);
        }
    }

    /// Another writer touches the object, and changes nothing that matters.
    pub fn touch(&mut self, key: &Key) {
        let Some(object) = self.cluster.objects.get(key) else { return };
        let mut next = object.as_ref().clone();
        let touched = next.metadata.resource_version.clone().unwrap_or_default();
        next.metadata.labels.get_or_insert_default().insert("example.com/touched".into(), touched);
        let now = self.now;
        self.cluster.store_object(now, next);
    }

    fn write_life_cycle_status(
        &mut self,
        object: &MemorialStream,
        status: &MemorialStreamStatus,
    ) -> Result<MemorialStream, KubernetesError> {
        let key = key_of(object);
        let stored = self.cluster.objects.get(&key).cloned().ok_or(KubernetesError::NotFound)?;
        if stored.metadata.resource_version != object.metadata.resource_version {
            return Err(KubernetesError::Conflict);
        }
        let before = stored.status.clone().unwrap_or_default();
        let mut next: MemorialStreamStatus = whole_seconds(status);
        next.program = before.program.clone();
        next.conditions.retain(|condition| !is_programs(condition));
        next.conditions.extend(before.conditions.iter().filter(|condition| is_programs(condition)).cloned());
        Ok(self.store_status(&stored, next))
    }

    fn write_program_lanes_status(
        &mut self,
        object: &MemorialStream,
        status: &OwnedByProgram,
    ) -> Result<(), KubernetesError> {
        let Some(stored) = self.cluster.objects.get(&key_of(object)).cloned() else { return Ok(()) };
        let mut next = stored.status.clone().unwrap_or_default();
        next.program = status.program.as_ref().map(whole_seconds);
        next.conditions.retain(|condition| !is_programs(condition));
        next.conditions.extend(status.conditions.iter().map(whole_seconds));
        self.store_status(&stored, next);
        Ok(())
    }

    fn store_status(&mut self, stored: &MemorialStream, next: MemorialStreamStatus) -> MemorialStream {
        if stored.status.as_ref() == Some(&next) {
            return stored.clone();
        }
        self.status_is_written(stored, &next);
        self.cluster.writes += 1;
        let mut object = stored.clone();
        object.status = Some(next);
        let now = self.now;
        self.cluster.store_object(now, object).as_ref().clone()
    }

    fn set_finalizers(&mut self, object: &MemorialStream, all: Vec<String>) -> Result<(), KubernetesError> {
        let key = key_of(object);
        let Some(stored) = self.cluster.objects.get(&key).cloned() else { return Ok(()) };
        if stored.metadata.resource_version != object.metadata.resource_version {
            return Err(KubernetesError::Conflict);
        }
        let mut next = stored.as_ref().clone();
        next.metadata.finalizers = Some(all).filter(|all| !all.is_empty());
        self.finalizers_are_written(&stored, &next);
        self.cluster.writes += 1;
        let now = self.now;
        self.cluster.store_object(now, next);
        self.collect_garbage();
        Ok(())
    }
}

/// The UID of the MemorialStream that controls a pod.
pub fn owner(pod: &Pod) -> Option<String> {
    let owners = pod.metadata.owner_references.as_ref()?;
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}
