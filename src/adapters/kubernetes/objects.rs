//! MemorialStreams, their status, and the Events about them.

use super::stored::{Stored, Unreadable};
use super::{bounded, gone_is_done};
use crate::api::names::{FINALIZER, LIFE_CYCLE_MANAGER, OPERATOR_MANAGER, PROGRAM_MANAGER};
use crate::api::status::{OwnedByLifecycle, OwnedByProgram};
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::world::{KubernetesError, Objects};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector;
use kube::{Client, Resource};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// MemorialStreams, over a shared cache.
#[derive(Clone)]
pub struct KubernetesObjects {
    client: Client,
    cache: reflector::Store<MemorialStream>,
    /// Told of every change of `cache`, after it stands there.
    changes: watch::Receiver<()>,
    recorder: Recorder,
    /// What an object that cannot be read names, by its UID. One that is deleted meanwhile, which takes somebody who
    /// removes our finalizer, is remembered until the operator starts anew.
    copies_of_unreadable: Arc<Mutex<BTreeMap<String, String>>>,
}

impl KubernetesObjects {
    /// The objects that `cache` holds. `changes` is told of every change of it, after it stands there.
    pub fn new(
        client: Client,
        cache: reflector::Store<MemorialStream>,
        changes: watch::Receiver<()>,
    ) -> Self {
        let reporter = Reporter { controller: "memorialstream-operator".into(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, cache, changes, recorder, copies_of_unreadable: Arc::default() }
    }

    /// An object cannot be read.
    pub fn note_unreadable(&self, object: &Unreadable) {
        let mut copies = self.copies();
        if let (Some(uid), Some(copy)) = (&object.metadata.uid, &object.credentials_copy) {
            copies.insert(uid.clone(), copy.clone());
        }
    }

    /// An object can be read.
    pub fn note_readable(&self, object: &MemorialStream) {
        if let Some(uid) = &object.metadata.uid {
            self.copies().remove(uid);
        }
    }

    fn copies(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.copies_of_unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its answers are read as the cache is: only as far as they are used.
    fn api(&self, object: &MemorialStream) -> Api<Stored<MemorialStream>> {
        Api::namespaced(self.client.clone(), object.metadata.namespace.as_deref().unwrap_or_default())
    }

    async fn apply_status(
        &self,
        object: &MemorialStream,
        manager: &str,
        resource_version: Option<&String>,
        status: serde_json::Value,
    ) -> Result<MemorialStream, KubernetesError> {
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
        let written = bounded(self.api(object).patch_status(name, &parameters, &Patch::Apply(patch))).await?;
        let unreadable = |answer: Box<Unreadable>| format!("its answer cannot be read: {}", answer.reason);
        written.read().map_err(|answer| KubernetesError::Unavailable(unreadable(answer)))
    }
}

/// The newest entry that is not of a subresource. Times count whole seconds, so in one second an apply is taken for the
/// later one: it takes fields over before it removes them. An entry of a migration may carry no time at all.
fn last_manager(entries: &[ManagedFieldsEntry]) -> Option<String> {
    let newest =
        entries.iter().filter(|entry| entry.subresource.as_deref().is_none_or(str::is_empty)).max_by_key(
            |entry| (entry.time.as_ref().map(|time| time.0), entry.operation.as_deref() == Some("Apply")),
        )?;
    newest.manager.clone()
}

async fn superseded(
    cache: &reflector::Store<MemorialStream>,
    mut changes: watch::Receiver<()>,
    object: &MemorialStream,
) {
    let reference = reflector::ObjectRef::from_obj(object);
    let is_newest = |cached: Arc<MemorialStream>| cached.metadata.generation <= object.metadata.generation;
    loop {
        changes.mark_unchanged();
        if !cache.get(&reference).is_some_and(is_newest) {
            return;
        }
        // Nobody tells any more only while the process ends.
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Objects for KubernetesObjects {
    fn memorial_streams(&self) -> Vec<Arc<MemorialStream>> {
        self.cache.state()
    }

    fn copies_of_unreadable(&self) -> Vec<String> {
        self.copies().values().cloned().collect()
    }

    async fn is_held(&self, object: &MemorialStream) -> Result<bool, KubernetesError> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        match bounded(self.api(object).get_metadata(name)).await {
            Ok(found) => {
                let ours = found.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER);
                let held = ours || found.metadata.deletion_timestamp.is_none();
                Ok(found.metadata.uid == object.metadata.uid && held)
            }
            Err(KubernetesError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn superseded(&self, object: &MemorialStream) {
        superseded(&self.cache, self.changes.clone(), object).await;
    }

    async fn set_finalizer(&self, object: &MemorialStream, present: bool) -> Result<(), KubernetesError> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        // The patch names other people's as well, which the cache does not have. One of an object that is newer by now is
        // refused for its resourceVersion.
        let mut finalizers = match bounded(self.api(object).get_metadata(name)).await {
            Ok(found) => found.metadata.finalizers.unwrap_or_default(),
            Err(error) => return gone_is_done(Err::<(), _>(error)),
        };
        finalizers.retain(|name| name != FINALIZER);
        if present {
            finalizers.push(FINALIZER.to_owned());
        }
        let patch = json!({"metadata": {
            "finalizers": finalizers,
            "resourceVersion": object.metadata.resource_version,
        }});
        let parameters =
            PatchParams { field_manager: Some(OPERATOR_MANAGER.into()), ..PatchParams::default() };
        gone_is_done(bounded(self.api(object).patch(name, &parameters, &Patch::Merge(patch))).await)
    }

    async fn write_status(
        &self,
        object: &MemorialStream,
        status: &MemorialStreamStatus,
    ) -> Result<MemorialStream, KubernetesError> {
        let own = OwnedByLifecycle::from(status.clone());
        let own = serde_json::to_value(own).map_err(|error| KubernetesError::Refused(error.to_string()))?;
        self.apply_status(object, LIFE_CYCLE_MANAGER, object.metadata.resource_version.as_ref(), own).await
    }

    async fn write_program_status(
        &self,
        object: &MemorialStream,
        status: &OwnedByProgram,
    ) -> Result<(), KubernetesError> {
        let own =
            serde_json::to_value(status).map_err(|error| KubernetesError::Refused(error.to_string()))?;
        gone_is_done(self.apply_status(object, PROGRAM_MANAGER, None, own).await)
    }

    async fn keep_record(&self, record: ConfigMap) -> Result<(), KubernetesError> {
        let namespace = record.metadata.namespace.clone().unwrap_or_default();
        let name = record.metadata.name.clone().unwrap_or_default();
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = PatchParams::apply(OPERATOR_MANAGER).force();
        bounded(api.patch(&name, &parameters, &Patch::Apply(&record))).await.map(drop)
    }

    async fn last_manager(&self, object: &MemorialStream) -> Option<String> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let found = bounded(self.api(object).get_metadata(name)).await;
        let entries = found.ok()?.metadata.managed_fields?;
        last_manager(&entries)
    }

    async fn publish_event(&self, object: &MemorialStream, warning: bool, reason: &str, message: &str) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(message.to_owned()),
            // kube counts an Event up where all but its words are the same, and keeps the first one's words: an address
            // that families are told to go to would be the old one. Its words are part of what was done.
            action: format!("Reconcile-{:08x}", words(message)),
            secondary: None,
        };
        let published = bounded(self.recorder.publish(&event, &object.object_ref(&()))).await;
        if let Err(error) = published {
            // In a namespace that is being deleted Events are refused.
            tracing::warn!(%error, reason, message, "an Event was not taken");
        }
    }
}

/// A fingerprint of a message.
fn words(message: &str) -> u32 {
    let hash = ring::digest::digest(&ring::digest::SHA256, message.as_bytes());
    hash.as_ref().iter().take(4).fold(0, |all, byte| all << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::http::{Method, header::CONTENT_TYPE};
    use futures::FutureExt;
    use kube::runtime::watcher::Event as Watched;
    use serde_json::Value;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn finalizers_of_others_stay_although_the_cache_does_not_have_them() {
        let _installed_already = rustls::crypto::ring::default_provider().install_default();
        let (patched, mut patches) = mpsc::unbounded_channel();
        let answer = async move |method: Method, body: String| {
            if method == Method::PATCH {
                patched.send(serde_json::from_str::<Value>(&body).unwrap()).unwrap();
            }
            let stored = json!({
                "apiVersion": "tributestream.com/v1alpha1", "kind": "MemorialStream", "spec": {},
                "metadata": {"name": "jane", "namespace": "default", "resourceVersion": "7",
                             "finalizers": ["example.com/theirs", FINALIZER]},
            });
            ([(CONTENT_TYPE, "application/json")], stored.to_string())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let client = Client::try_from(kube::Config::new(address.parse().unwrap())).unwrap();
        let objects = KubernetesObjects::new(client, reflector::store().0, watch::channel(()).1);
        let mut object = MemorialStream::new("jane", Default::default());
        object.metadata.namespace = Some("default".into());
        object.metadata.resource_version = Some("7".into());
        objects.set_finalizer(&object, true).await.unwrap();
        objects.set_finalizer(&object, false).await.unwrap();
        for finalizers in [json!(["example.com/theirs", FINALIZER]), json!(["example.com/theirs"])] {
            let metadata = json!({"finalizers": finalizers, "resourceVersion": "7"});
            assert_eq!(patches.recv().await.unwrap(), json!({"metadata": metadata}));
        }
        server.abort();
    }

    /// What does nothing but listen, and tells what is written.
    async fn api_server() -> (Client, mpsc::UnboundedReceiver<Value>) {
        let _installed_already = rustls::crypto::ring::default_provider().install_default();
        let (written, writes) = mpsc::unbounded_channel();
        let answer = async move |body: String| {
            written.send(serde_json::from_str::<Value>(&body).unwrap()).unwrap();
            ([(CONTENT_TYPE, "application/json")], body)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        (Client::try_from(kube::Config::new(address.parse().unwrap())).unwrap(), writes)
    }

    /// kube counts an Event up that differs in its words alone, and keeps the first one's.
    #[tokio::test]
    async fn an_event_with_other_words_is_another_event() {
        let (client, mut writes) = api_server().await;
        let objects = KubernetesObjects::new(client, reflector::store().0, watch::channel(()).1);
        let mut object = MemorialStream::new("jane", Default::default());
        object.metadata.namespace = Some("default".into());
        let mut written = async |message| {
            objects.publish_event(&object, false, "Moved", message).await;
            let event = writes.recv().await.unwrap();
            (event["note"].clone(), event["action"].clone(), event["series"]["count"].clone())
        };
        let first = written("watch at a").await;
        let second = written("watch at b").await;
        assert_eq!((&first.0, &second.0), (&json!("watch at a"), &json!("watch at b")));
        assert_ne!(first.1, second.1, "what was done");
        assert_eq!(second.2, Value::Null, "an Event of its own");
        assert_eq!(written("watch at b").await.2, json!(2), "the same again is counted");
    }

    /// A copy of credentials is kept for as long as an object names it, though nobody can read that object.
    #[test]
    fn the_copy_that_an_unreadable_object_names_is_known_until_it_can_be_read() {
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let _installed_already = rustls::crypto::ring::default_provider().install_default();
        let client = Client::try_from(config).unwrap();
        let objects = KubernetesObjects::new(client, reflector::store().0, watch::channel(()).1);
        let mut object = MemorialStream::new("jane", Default::default());
        object.metadata.uid = Some("uid-1".into());
        objects.note_unreadable(&Unreadable {
            metadata: object.metadata.clone(),
            reason: "spec.state: unknown".into(),
            credentials_copy: Some("copy".into()),
        });
        assert_eq!(objects.copies_of_unreadable(), ["copy"]);
        objects.note_readable(&object);
        assert!(objects.copies_of_unreadable().is_empty());
    }

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
