//! Pods, as the operator reaches them.

use super::objects::CALL_TIMEOUT;
use super::pod_key;
use crate::faults::Site;
use crate::process::Process;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use memorialstream_operator::api::MemorialStream;
use memorialstream_operator::service::pod::UID_LABEL;
use memorialstream_operator::world::{KubernetesError, Pods};
use std::sync::Arc;

#[async_trait]
impl Pods for Process {
    fn pods(&self, object: &MemorialStream) -> Vec<Arc<Pod>> {
        let uid = object.metadata.uid.as_ref();
        let label =
            |pod: &Pod| pod.metadata.labels.as_ref().and_then(|labels| labels.get(UID_LABEL).cloned());
        self.caches().pods.values().filter(|pod| label(pod).as_ref() == uid).cloned().collect()
    }

    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, KubernetesError> {
        let key = (namespace.to_owned(), name.to_owned());
        let call =
            self.through(Site::GetPod, name, CALL_TIMEOUT, |land| land.cluster.pods.get(&key).cloned());
        Ok(call.await?.map(|pod| pod.as_ref().clone()))
    }

    async fn create_pod(&self, pod: Pod) -> Result<(), KubernetesError> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let call = self.through(Site::CreatePod, &name, CALL_TIMEOUT, |land| {
            let key = pod_key(&pod);
            land.coverage.action("CreatePod");
            land.note(|| format!("CreatePod {}", key.1));
            if land.cluster.terminating.contains(&key.0) {
                return Err(KubernetesError::Refused("the namespace is being terminated".into()));
            }
            if land.cluster.pods.contains_key(&key) {
                return Ok(());
            }
            land.pod_is_created(&pod);
            land.cluster.writes += 1;
            land.admit_pod(pod);
            Ok(())
        });
        call.await?
    }

    async fn delete_pod(&self, namespace: &str, name: &str) -> Result<(), KubernetesError> {
        let key = (namespace.to_owned(), name.to_owned());
        let call = self.through(Site::DeletePod, name, CALL_TIMEOUT, |land| {
            land.coverage.action("DeletePod");
            land.note(|| format!("DeletePod {name}"));
            land.pod_is_deleted(&key);
            land.terminate_pod(&key);
        });
        call.await?;
        Ok(())
    }
}
