//! What matters of the pods that exist, and how to reach the one in use.

use super::{INCARNATION_LABEL, SETTINGS_ANNOTATION, secret_name};
use crate::api::MemorialStream;
use crate::providers::Secret;
use crate::service::Identity;
use crate::world::{PodEndpoint, World};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use memorialstream_compositor_protocol::BEARER_TOKEN_FILE;

/// One of our pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// The number in its name.
    pub incarnation: i64,
    /// Being deleted.
    pub deleting: bool,
    /// Failed or Succeeded: it will never run again.
    pub finished: bool,
    /// Its container is ready.
    pub ready: bool,
    /// Its address.
    pub ip: Option<String>,
    /// Restarts of its container.
    pub restarts: i64,
    /// What the kubelet or the scheduler complains of: reason and message.
    pub complaint: Option<(String, String)>,
    /// The settings that it was made with; a difference is drift.
    pub settings: String,
}

impl PodSeen {
    /// It runs, or may yet run.
    pub fn runs(&self) -> bool {
        !self.deleting && !self.finished
    }
}

impl From<&Pod> for PodSeen {
    fn from(pod: &Pod) -> Self {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
        let containers: &[ContainerStatus] =
            pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or(&[]);
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            incarnation: pod
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(INCARNATION_LABEL))
                .and_then(|number| number.parse().ok())
                .unwrap_or(0),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            finished: matches!(phase, "Failed" | "Succeeded"),
            ready: containers.first().is_some_and(|container| container.ready),
            ip: pod.status.as_ref().and_then(|status| status.pod_ip.clone()).filter(|ip| !ip.is_empty()),
            restarts: containers.first().map_or(0, |container| i64::from(container.restart_count)),
            complaint: complaint(pod, containers),
            settings: pod
                .metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(SETTINGS_ANNOTATION))
                .cloned()
                .unwrap_or_default(),
        }
    }
}

fn complaint(pod: &Pod, containers: &[ContainerStatus]) -> Option<(String, String)> {
    let waiting = containers.iter().find_map(|container| container.state.as_ref()?.waiting.as_ref());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.clone().unwrap_or_else(|| "Waiting".into());
        if !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing") {
            return Some((reason, waiting.message.clone().unwrap_or_default()));
        }
        return None;
    }
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or(&[]);
    conditions
        .iter()
        .find(|condition| {
            condition.type_ == "PodScheduled"
                && condition.status == "False"
                && condition.reason.as_deref() == Some("Unschedulable")
        })
        .map(|condition| ("Unschedulable".into(), condition.message.clone().unwrap_or_default()))
}

/// The pods of `object`, from the cache.
pub fn pods_of(world: &World, object: &MemorialStream) -> Vec<PodSeen> {
    world.pods.pods(object).iter().map(|pod| PodSeen::from(pod.as_ref())).collect()
}

/// The pod in use: the newest of those that run.
pub fn in_use(pods: &[PodSeen]) -> Option<&PodSeen> {
    pods.iter().filter(|pod| pod.runs()).max_by_key(|pod| pod.incarnation)
}

/// How to reach the newest running pod that has an address.
pub async fn endpoint(world: &World, identity: &Identity, pods: &[PodSeen]) -> Option<PodEndpoint> {
    let reachable = pods.iter().filter(|pod| pod.runs() && pod.ip.is_some());
    let ip = reachable.max_by_key(|pod| pod.incarnation)?.ip.clone()?;
    let name = secret_name(&identity.name);
    match world.secrets.secret(&identity.namespace, &name).await {
        Ok(data) => {
            let bearer_token = data.as_ref().and_then(|data| data.get(BEARER_TOKEN_FILE)).cloned();
            Some(PodEndpoint { ip, bearer_token: bearer_token.unwrap_or_else(|| Secret::new("")) })
        }
        Err(error) => {
            tracing::warn!(%error, secret = name, "cannot read the compositor's bearer token");
            None
        }
    }
}
