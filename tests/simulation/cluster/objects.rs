//! MemorialStreams, as the operator reaches them.

use super::key_of;
use crate::faults::{Fault, Site};
use crate::process::{Broken, Process};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use memorialstream_operator::api::names::FINALIZER;
use memorialstream_operator::api::status::OwnedByProgram;
use memorialstream_operator::api::{MemorialStream, MemorialStreamStatus};
use memorialstream_operator::world::{KubernetesError, Objects};
use std::sync::Arc;
use std::time::Duration;

/// As in the adapter.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);

impl From<Broken> for KubernetesError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Failed(Fault::Refused) => Self::Refused("forbidden: exceeded quota".into()),
            Broken::Failed(_) => Self::Unavailable("simulated".into()),
            Broken::TimedOut => Self::Unavailable("no answer within 15 s".into()),
        }
    }
}

#[async_trait]
impl Objects for Process {
    fn memorial_streams(&self) -> Vec<Arc<MemorialStream>> {
        self.caches().objects.values().cloned().collect()
    }

    fn copies_of_unreadable(&self) -> Vec<String> {
        let land = self.universe.land();
        let spoiled = land.cluster.objects.iter().filter(|(key, _)| land.cluster.spoiled.contains(*key));
        spoiled.filter_map(|(_, object)| object.status.as_ref()?.credentials_copy.clone()).collect()
    }

    async fn is_held(&self, object: &MemorialStream) -> Result<bool, KubernetesError> {
        let key = key_of(object);
        // As any read of one thing past the cache.
        let call = self.through(Site::GetPod, &key.1, CALL_TIMEOUT, |land| {
            let stored = land.cluster.objects.get(&key);
            stored.is_some_and(|stored| {
                let ours = stored.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER);
                let held = ours || stored.metadata.deletion_timestamp.is_none();
                stored.metadata.uid == object.metadata.uid && held
            })
        });
        call.await.map_err(Into::into)
    }

    async fn superseded(&self, object: &MemorialStream) {
        let key = key_of(object);
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let newest = self.caches().objects.get(&key).map(|object| object.metadata.generation);
            if newest.is_none_or(|generation| generation > object.metadata.generation) {
                return;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn set_finalizer(&self, object: &MemorialStream, present: bool) -> Result<(), KubernetesError> {
        let mut finalizers = object.metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|name| name != FINALIZER);
        if present {
            finalizers.push(FINALIZER.to_owned());
        }
        let key = key_of(object);
        let call = self.through(Site::SetFinalizer, &key.1, CALL_TIMEOUT, |land| {
            let action = if present { "AddFinalizer" } else { "RemoveFinalizer" };
            land.coverage.action(action);
            land.note(|| format!("{action} {}", key.1));
            land.set_finalizers(object, finalizers)
        });
        call.await?
    }

    async fn write_status(
        &self,
        object: &MemorialStream,
        status: &MemorialStreamStatus,
    ) -> Result<MemorialStream, KubernetesError> {
        let key = key_of(object);
        let call = self.through(Site::WriteStatus, &key.1, CALL_TIMEOUT, |land| {
            land.write_life_cycle_status(object, status)
        });
        call.await?
    }

    async fn write_program_status(
        &self,
        object: &MemorialStream,
        status: &OwnedByProgram,
    ) -> Result<(), KubernetesError> {
        let key = key_of(object);
        let call = self.through(Site::WriteProgram, &key.1, CALL_TIMEOUT, |land| {
            land.write_program_lanes_status(object, status)
        });
        call.await?
    }

    async fn keep_record(&self, record: ConfigMap) -> Result<(), KubernetesError> {
        let data = record.data.unwrap_or_default();
        let object = data["memorialStream"].split_once('/').unwrap().1.to_owned();
        let call = self.through(Site::KeepRecord, &object, CALL_TIMEOUT, |land| {
            land.coverage.action("RecordAbandoned");
            land.note(|| format!("record {data:?}"));
            land.record_is_kept(&data);
            land.cluster.writes += 1;
            land.cluster.records.insert(data["uid"].clone(), data);
        });
        call.await.map_err(Into::into)
    }

    async fn last_manager(&self, _: &MemorialStream) -> Option<String> {
        Some("kustomize-controller".into())
    }

    async fn publish_event(&self, object: &MemorialStream, warning: bool, reason: &str, message: &str) {
        let key = key_of(object);
        let call = self.through(Site::PublishEvent, &key.1, CALL_TIMEOUT, |land| {
            land.note(|| format!("Event {} {warning} {reason}: {message}", key.1));
            land.text_leaves("an Event", &key, message);
            if !land.cluster.terminating.contains(&key.0) {
                land.cluster.events += 1;
                *land.cluster.told.entry((key.clone(), reason.to_owned())).or_default() += 1;
            }
        });
        // As in the adapter, a failure is no reason to stop.
        let _: Result<(), Broken> = call.await;
    }
}
