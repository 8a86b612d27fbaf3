//! Pods.

use super::stored::Stored;
use super::{bounded, gone_is_done};
use crate::api::MemorialStream;
use crate::api::names::OPERATOR_MANAGER;
use crate::service::pod::{GRACE_SECONDS, UID_LABEL};
use crate::world::{KubernetesError, Pods};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::reflector;
use std::sync::Arc;

/// Pods, over a shared cache.
#[derive(Clone)]
pub struct KubernetesPods {
    client: Client,
    cache: reflector::Store<Pod>,
}

impl KubernetesPods {
    /// Pods that `cache` holds.
    pub fn new(client: Client, cache: reflector::Store<Pod>) -> Self {
        Self { client, cache }
    }
}

#[async_trait]
impl Pods for KubernetesPods {
    fn pods(&self, object: &MemorialStream) -> Vec<Arc<Pod>> {
        let uid = object.metadata.uid.as_ref();
        let ours =
            |pod: &Arc<Pod>| pod.metadata.labels.as_ref().and_then(|labels| labels.get(UID_LABEL)) == uid;
        self.cache.state().into_iter().filter(ours).collect()
    }

    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, KubernetesError> {
        let api: Api<Stored<Pod>> = Api::namespaced(self.client.clone(), namespace);
        let Some(pod) = bounded(api.get_opt(name)).await? else { return Ok(None) };
        let read = pod.read().map_err(|unreadable| {
            KubernetesError::Unavailable(format!(
                "pod {namespace}/{name} cannot be read: {}",
                unreadable.reason
            ))
        });
        read.map(Some)
    }

    async fn create_pod(&self, pod: Pod) -> Result<(), KubernetesError> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = PostParams { field_manager: Some(OPERATOR_MANAGER.into()), ..PostParams::default() };
        match bounded(api.create(&parameters, &pod)).await {
            Ok(_) => Ok(()),
            // A create whose answer was lost; or somebody else's pod.
            Err(KubernetesError::Conflict) => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                let existing = self.pod(&namespace, &name).await?;
                let owner = |pod: &Pod| Some(pod.metadata.owner_references.as_ref()?.first()?.uid.clone());
                if existing.is_some_and(|existing| owner(&existing) == owner(&pod)) {
                    return Ok(());
                }
                Err(KubernetesError::Refused(format!("pod {namespace}/{name} exists and is not ours")))
            }
            Err(error) => Err(error),
        }
    }

    async fn delete_pod(&self, namespace: &str, name: &str) -> Result<(), KubernetesError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        // Whoever made it may have given it years.
        let parameters = DeleteParams::default().grace_period(u32::try_from(GRACE_SECONDS).unwrap_or(10));
        gone_is_done(bounded(api.delete(name, &parameters)).await)
    }
}
