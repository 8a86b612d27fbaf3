//! Kubernetes as the lanes' [`Store`]: reads from shared caches, writes by server-side apply.

use crate::api::conditions::ConditionType;
use crate::api::names::{FINALIZER, LIFE_CYCLE_MANAGER, OPERATOR_MANAGER, PROGRAM_MANAGER};
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::providers::Secret;
use crate::stream::pod::UID_LABEL;
use crate::world::{Store, StoreError};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret as KubernetesSecret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector;
use kube::{Client, Resource};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a Secret that was read is taken for granted.
const SECRET_FRESHNESS: Duration = Duration::from_secs(15);
/// kube's client repeats 429, 503 and 504 by itself, 15 times; a pass does not wait that long.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

type SecretData = Option<BTreeMap<String, Secret>>;
/// What was read and when, by namespace and name.
type SecretCache = HashMap<(String, String), (Instant, SecretData)>;

/// Kubernetes.
#[derive(Clone)]
pub struct KubernetesStore {
    client: Client,
    streams: reflector::Store<MemorialStream>,
    pods: reflector::Store<Pod>,
    /// Told of every change of `streams`, after it stands there.
    changes: watch::Receiver<()>,
    cluster_id: String,
    recorder: Recorder,
    secrets: Arc<Mutex<SecretCache>>,
}

impl KubernetesStore {
    /// A store over shared caches. `changes` is told of every change of `streams`, after it stands there.
    ///
    /// # Errors
    /// The UID of kube-system cannot be read, and `cluster_id` does not stand in for it.
    pub async fn new(
        client: Client,
        streams: reflector::Store<MemorialStream>,
        pods: reflector::Store<Pod>,
        changes: watch::Receiver<()>,
        cluster_id: Option<String>,
    ) -> Result<Self, StoreError> {
        let cluster_id = match cluster_id {
            Some(cluster_id) => cluster_id,
            None => {
                let api: Api<Namespace> = Api::all(client.clone());
                let system = bounded(api.get("kube-system")).await?;
                system.metadata.uid.unwrap_or_default()
            }
        };
        let reporter = Reporter { controller: "memorialstream-operator".into(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        Ok(Self { client, streams, pods, changes, cluster_id, recorder, secrets: Arc::default() })
    }

    fn objects(&self, object: &MemorialStream) -> Api<MemorialStream> {
        Api::namespaced(self.client.clone(), object.metadata.namespace.as_deref().unwrap_or("default"))
    }

    async fn apply_status(
        &self,
        object: &MemorialStream,
        manager: &str,
        resource_version: Option<&String>,
        status: serde_json::Value,
    ) -> Result<MemorialStream, StoreError> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let mut metadata = json!({"name": name, "namespace": object.metadata.namespace});
        if let Some(version) = resource_version {
            metadata["resourceVersion"] = json!(version);
        }
        let patch = json!({
            "apiVersion": MemorialStream::api_version(&()),
            "kind": MemorialStream::kind(&()),
            "metadata": metadata,
            "status": status,
        });
        let parameters = PatchParams::apply(manager).force();
        bounded(self.objects(object).patch_status(name, &parameters, &Patch::Apply(patch))).await
    }
}

async fn superseded(
    streams: &reflector::Store<MemorialStream>,
    mut changes: watch::Receiver<()>,
    object: &MemorialStream,
) {
    let reference = reflector::ObjectRef::from_obj(object);
    let is_newest = |cached: Arc<MemorialStream>| cached.metadata.generation <= object.metadata.generation;
    loop {
        changes.mark_unchanged();
        if !streams.get(&reference).is_some_and(is_newest) {
            return;
        }
        // Nobody tells any more only while the process ends.
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result.map_err(classify),
        Err(_) => Err(StoreError::Unavailable(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))),
    }
}

fn classify(error: kube::Error) -> StoreError {
    match error {
        kube::Error::Api(status) => match status.code {
            404 => StoreError::NotFound,
            409 => StoreError::Conflict,
            429 | 500.. => StoreError::Unavailable(status.message.clone()),
            _ => StoreError::Refused(status.message.clone()),
        },
        other => StoreError::Unavailable(other.to_string()),
    }
}

fn gone_is_done<T>(result: Result<T, StoreError>) -> Result<(), StoreError> {
    match result {
        Ok(_) | Err(StoreError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Store for KubernetesStore {
    fn memorial_streams(&self) -> Vec<Arc<MemorialStream>> {
        self.streams.state()
    }

    async fn superseded(&self, object: &MemorialStream) {
        superseded(&self.streams, self.changes.clone(), object).await;
    }

    fn pods(&self, object: &MemorialStream) -> Vec<Arc<Pod>> {
        let uid = object.metadata.uid.as_ref();
        let ours =
            |pod: &Arc<Pod>| pod.metadata.labels.as_ref().and_then(|labels| labels.get(UID_LABEL)) == uid;
        self.pods.state().into_iter().filter(ours).collect()
    }

    fn cluster_id(&self) -> String {
        self.cluster_id.clone()
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<SecretData, StoreError> {
        let key = (namespace.to_owned(), name.to_owned());
        let known = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((at, data)) = known
            && at.elapsed() < SECRET_FRESHNESS
            && data.is_some()
        {
            return Ok(data);
        }
        let api: Api<KubernetesSecret> = Api::namespaced(self.client.clone(), namespace);
        let secret = bounded(api.get_opt(name)).await?;
        let data: SecretData = secret.map(|secret| {
            let text = |bytes: Vec<u8>| Secret::new(String::from_utf8_lossy(&bytes).into_owned());
            secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, text(value.0))).collect()
        });
        self.secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, (Instant::now(), data.clone()));
        Ok(data)
    }

    async fn apply_secret(&self, secret: KubernetesSecret) -> Result<(), StoreError> {
        let namespace = secret.metadata.namespace.clone().unwrap_or_else(|| "default".into());
        let name = secret.metadata.name.clone().unwrap_or_default();
        let api: Api<KubernetesSecret> = Api::namespaced(self.client.clone(), &namespace);
        bounded(api.patch(&name, &PatchParams::apply(OPERATOR_MANAGER).force(), &Patch::Apply(&secret)))
            .await?;
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).remove(&(namespace, name));
        Ok(())
    }

    async fn create_pod(&self, pod: Pod) -> Result<(), StoreError> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = PostParams { field_manager: Some(OPERATOR_MANAGER.into()), ..PostParams::default() };
        match bounded(api.create(&parameters, &pod)).await {
            // Names are never used twice, so one that exists is ours from a pass whose record was lost.
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn delete_pod(&self, namespace: &str, name: &str) -> Result<(), StoreError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        gone_is_done(bounded(api.delete(name, &DeleteParams::default())).await)
    }

    async fn set_finalizer(&self, object: &MemorialStream, present: bool) -> Result<(), StoreError> {
        let mut finalizers = object.metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|name| name != FINALIZER);
        if present {
            finalizers.push(FINALIZER.to_owned());
        }
        let patch = json!({"metadata": {
            "finalizers": finalizers,
            "resourceVersion": object.metadata.resource_version,
        }});
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let parameters =
            PatchParams { field_manager: Some(OPERATOR_MANAGER.into()), ..PatchParams::default() };
        gone_is_done(bounded(self.objects(object).patch(name, &parameters, &Patch::Merge(patch))).await)
    }

    async fn write_status(
        &self,
        object: &MemorialStream,
        status: &MemorialStreamStatus,
    ) -> Result<MemorialStream, StoreError> {
        let mut own = status.clone();
        own.program = None;
        own.conditions.retain(|condition| condition.type_ != ConditionType::ProgramApplied.as_str());
        let own = serde_json::to_value(own).map_err(|error| StoreError::Refused(error.to_string()))?;
        self.apply_status(object, LIFE_CYCLE_MANAGER, object.metadata.resource_version.as_ref(), own).await
    }

    async fn write_program_status(
        &self,
        object: &MemorialStream,
        status: &MemorialStreamStatus,
    ) -> Result<(), StoreError> {
        let mut own = json!({"conditions": status.conditions});
        if let Some(program) = &status.program {
            own["program"] = json!(program);
        }
        gone_is_done(self.apply_status(object, PROGRAM_MANAGER, None, own).await)
    }

    async fn announce(&self, object: &MemorialStream, warning: bool, reason: &str, message: &str) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(message.to_owned()),
            action: "Reconcile".into(),
            secondary: None,
        };
        let published = self.recorder.publish(&event, &object.object_ref(&())).await;
        if let Err(error) = published {
            // In a namespace that is being deleted Events are refused.
            tracing::warn!(%error, reason, message, "an Event was not taken");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use kube::runtime::watcher::Event as Watched;

    #[test]
    fn only_a_newer_generation_or_a_deletion_supersedes() {
        let object = |generation| {
            let mut object = MemorialStream::new("jane-doe", Default::default());
            object.metadata.namespace = Some("default".into());
            object.metadata.generation = Some(generation);
            object
        };
        let (streams, mut writer) = reflector::store();
        let (changed, changes) = watch::channel(());
        let mut tell = |event| {
            writer.apply_watcher_event(&event);
            changed.send_replace(());
        };
        tell(Watched::Apply(object(1)));
        let first = object(1);
        let mut waiting = Box::pin(superseded(&streams, changes.clone(), &first));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        // Its status was written.
        tell(Watched::Apply(object(1)));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        tell(Watched::Apply(object(2)));
        assert_eq!(waiting.as_mut().now_or_never(), Some(()));
        let second = object(2);
        let mut waiting = Box::pin(superseded(&streams, changes, &second));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        tell(Watched::Delete(object(2)));
        assert_eq!(waiting.as_mut().now_or_never(), Some(()));
    }
}
