//! What matters of the pods that exist, and how to reach the one in use.

use super::manifest::{GRACE_SECONDS, INCARNATION_KEY};
use super::{IMAGE_ANNOTATION, INCARNATION_LABEL, SETTINGS_ANNOTATION, UID_LABEL, secret_name};
use crate::api::MemorialStream;
use crate::providers::Secret;
use crate::service::{Identity, control_document};
use crate::world::{KubernetesError, PodEndpoint, World};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use memorialstream_compositor_protocol::{BEARER_TOKEN_FILE, BOOT_FILE, BootDocument};

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
    /// Since when, where the kubelet says so.
    pub ready_since: Option<Timestamp>,
    /// Its address.
    pub ip: Option<String>,
    /// Restarts of its container.
    pub restarts: i64,
    /// What the kubelet or the scheduler complains of: reason and message.
    pub complaint: Option<(String, String)>,
    /// The settings that it was made with; a difference is drift.
    pub settings: String,
    /// The image that it was made with.
    pub image: String,
    /// Not under the name that status records, or without a controller: never contacted, and deleted.
    pub stray: bool,
    /// The node that it was given to.
    pub node: Option<String>,
    /// Being deleted: when its grace ends.
    pub gone_by: Option<Timestamp>,
}

/// How long after its grace a pod that is being deleted may still be there. After that the kubelet of its node is taken
/// for dead: nothing waits for that pod any more.
const HANGS_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// Who may make a pod may give it any number; ours begin at 1.
const MOST_INCARNATIONS: i64 = 1_000_000_000;

impl PodSeen {
    /// It runs, or may yet run.
    pub fn runs(&self) -> bool {
        !self.deleting && !self.finished
    }

    /// Its deletion does not come to an end: nobody on its node confirms it.
    pub fn hangs(&self, now: Timestamp) -> bool {
        self.gone_by.is_some_and(|by| now.duration_since(by) > HANGS_AFTER)
    }
}

/// Whether the pod that status records is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordedPod {
    /// It is among the pods that were seen, or none is recorded.
    #[default]
    Seen,
    /// Past the cache too there is no pod of that name.
    Absent,
    /// The pod of that name is somebody else's.
    Taken,
    /// The cache does not show it, and the API server did not say.
    Unknown,
}

impl From<&Pod> for PodSeen {
    fn from(pod: &Pod) -> Self {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
        let containers: &[ContainerStatus] =
            pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or(&[]);
        let annotation = |key| pod.metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned();
        let image = || pod.spec.as_ref()?.containers.first()?.image.clone();
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            incarnation: pod
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(INCARNATION_LABEL))
                .and_then(|number| number.parse().ok())
                .filter(|number| (0..MOST_INCARNATIONS).contains(number))
                .unwrap_or(0),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            finished: matches!(phase, "Failed" | "Succeeded"),
            ready: containers.first().is_some_and(|container| container.ready),
            ready_since: ready_since(pod),
            ip: pod.status.as_ref().and_then(|status| status.pod_ip.clone()).filter(|ip| !ip.is_empty()),
            restarts: containers.first().map_or(0, |container| i64::from(container.restart_count)),
            complaint: complaint(pod, containers),
            settings: annotation(SETTINGS_ANNOTATION).unwrap_or_default(),
            // One that an earlier version made says it only there.
            image: annotation(IMAGE_ANNOTATION).or_else(image).unwrap_or_default(),
            stray: false,
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            gone_by: pod.metadata.deletion_timestamp.as_ref().map(|time| {
                // Somebody may have asked for a grace of years.
                let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(GRACE_SECONDS);
                let more = SignedDuration::from_secs(grace.saturating_sub(GRACE_SECONDS).max(0));
                time.0.checked_sub(more).unwrap_or(time.0)
            }),
        }
    }
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let ready = conditions.iter().find(|one| one.type_ == "Ready" && one.status == "True")?;
    ready.last_transition_time.as_ref().map(|since| since.0)
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

/// The pods of `object`, from the cache. A label can be set by whoever may create a pod anywhere; ours are those in the
/// object's namespace whose controller it is.
pub fn pods_of(world: &World, object: &MemorialStream) -> Vec<PodSeen> {
    world.pods.pods(object).iter().filter_map(|pod| ours(object, pod)).collect()
}

/// The same, and the pod that status records past the cache where the cache does not show it.
pub async fn pods_and_recorded(world: &World, object: &MemorialStream) -> (Vec<PodSeen>, RecordedPod) {
    let mut pods = pods_of(world, object);
    let Some(name) = recorded(object).filter(|name| pods.iter().all(|pod| pod.name != **name)) else {
        return (pods, RecordedPod::Seen);
    };
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let recorded = match world.pods.pod(namespace, name).await {
        Ok(Some(pod)) => match ours(object, &pod) {
            Some(pod) => {
                pods.push(pod);
                RecordedPod::Seen
            }
            None => RecordedPod::Taken,
        },
        Ok(None) => RecordedPod::Absent,
        Err(error) => {
            tracing::warn!(%error, pod = name, "nobody can say whether the compositor pod is there");
            RecordedPod::Unknown
        }
    };
    (pods, recorded)
}

fn recorded(object: &MemorialStream) -> Option<&String> {
    object.status.as_ref()?.compositor.as_ref()?.pod_name.as_ref()
}

/// What matters of a pod, if it is the object's. The one that status records is, too, where it has no controller any more: a
/// deletion that leaves orphans takes that from it within moments. It is not used, since anybody may make such a pod.
fn ours(object: &MemorialStream, pod: &Pod) -> Option<PodSeen> {
    let (here, there) = (&object.metadata, &pod.metadata);
    if there.namespace != here.namespace {
        return None;
    }
    let owners = there.owner_references.as_deref().unwrap_or(&[]);
    let controller = owners.iter().find(|owner| owner.controller == Some(true));
    let is_recorded = there.name.as_ref().is_some_and(|name| recorded(object) == Some(name));
    let label = there.labels.as_ref().and_then(|labels| labels.get(UID_LABEL));
    let stray = match controller {
        Some(owner) if Some(&owner.uid) == here.uid.as_ref() => !is_recorded,
        None if is_recorded && label == here.uid.as_ref() => true,
        _ => return None,
    };
    Some(PodSeen { stray, ..PodSeen::from(pod) })
}

/// The pod in use: the one that status records, while it runs.
pub fn in_use(pods: &[PodSeen]) -> Option<&PodSeen> {
    pods.iter().find(|pod| pod.runs() && !pod.stray)
}

/// How to reach the pod in use, once it has an address.
pub async fn endpoint(world: &World, identity: &Identity, pods: &[PodSeen]) -> Option<PodEndpoint> {
    let ip = in_use(pods)?.ip.clone()?;
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

/// What a pod's boot Secret holds already, and goes on holding when it is written anew.
pub struct KeptBoot {
    /// Guards the pod's `/v1`.
    pub bearer_token: Secret,
    /// The newest protocol that the pod is known to read; 0 where nobody knows.
    pub protocol_version: u32,
}

/// What stands in the boot Secret for this incarnation. `exists`: its pod is there, so a Secret that names no incarnation
/// is its own.
///
/// # Errors
/// The Secret cannot be read.
pub async fn kept_boot(
    world: &World,
    identity: &Identity,
    incarnation: i64,
    exists: bool,
) -> Result<Option<KeptBoot>, KubernetesError> {
    let data = world.secrets.secret(&identity.namespace, &secret_name(&identity.name)).await?;
    let incarnation = incarnation.to_string();
    let Some(data) = data else { return Ok(None) };
    let its_own = data.get(INCARNATION_KEY).map_or(exists, |kept| kept.reveal() == incarnation);
    let Some(bearer_token) = data.get(BEARER_TOKEN_FILE).filter(|_| its_own).cloned() else {
        return Ok(None);
    };
    let boot = data.get(BOOT_FILE).and_then(|boot| serde_json::from_str::<BootDocument>(boot.reveal()).ok());
    let protocol_version = boot.map_or(0, |boot| boot.control.protocol_version);
    Ok(Some(KeptBoot { bearer_token, protocol_version }))
}

/// Whether the pod in use is not ready and would boot with something else than is asked for: nobody can send a document
/// to a pod that does not live.
pub async fn boots_wrong(
    world: &World,
    identity: &Identity,
    object: &MemorialStream,
    pods: &[PodSeen],
    livekit_url: &str,
    now: Timestamp,
) -> bool {
    if in_use(pods).is_none_or(|pod| pod.ready) {
        return false;
    }
    match world.secrets.secret(&identity.namespace, &secret_name(&identity.name)).await {
        Ok(data) => {
            let boot = data.as_ref().and_then(|data| data.get(BOOT_FILE));
            boot.is_none_or(|boot| {
                control_document::boots_wrong(boot.reveal().as_bytes(), object, livekit_url, now)
            })
        }
        Err(error) => {
            tracing::warn!(%error, object = %identity, "the boot Secret cannot be read");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MemorialStreamStatus;
    use crate::api::status::CompositorStatus;
    use crate::service::pod::{PodTemplate, pod, pod_name};

    fn object(name: &str, uid: &str) -> MemorialStream {
        let mut object = MemorialStream::new(name, Default::default());
        object.metadata.namespace = Some("family".into());
        object.metadata.uid = Some(uid.into());
        let compositor = CompositorStatus {
            pod_name: Some(pod_name(name, 2)),
            incarnation: 2,
            ..CompositorStatus::default()
        };
        object.status =
            Some(MemorialStreamStatus { compositor: Some(compositor), ..MemorialStreamStatus::default() });
        object
    }

    fn made(object: &MemorialStream, incarnation: i64) -> Pod {
        let template = PodTemplate { image: "compositor:1".into(), image_pull_policy: "Never".into() };
        let name = pod_name(object.metadata.name.as_deref().unwrap(), incarnation);
        pod(object, &name, incarnation, &template)
    }

    /// Somebody's own pod may have any number, any grace and any image.
    #[test]
    fn what_others_write_into_a_pod_of_ours_has_its_bounds() {
        let jane = object("jane-doe", "uid-1");
        let mut pod = made(&jane, 2);
        let labels = pod.metadata.labels.as_mut().unwrap();
        labels.insert(INCARNATION_LABEL.into(), i64::MAX.to_string());
        let deleted = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000);
        pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(deleted));
        pod.metadata.deletion_grace_period_seconds = Some(1_000_000);
        pod.spec.as_mut().unwrap().containers[0].image = Some("mirror/compositor@sha256:0".into());
        let seen = ours(&jane, &pod).unwrap();
        assert_eq!((seen.incarnation, seen.image.as_str()), (0, "compositor:1"));
        assert_eq!(seen.gone_by, Some(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(GRACE_SECONDS)));
        assert!(seen.hangs(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(GRACE_SECONDS + 31)));
    }

    #[test]
    fn a_pod_is_ours_by_owner_and_namespace_and_in_use_under_its_recorded_name_only() {
        let jane = object("jane-doe", "uid-1");
        let recorded = made(&jane, 2);
        assert_eq!(ours(&jane, &recorded).map(|pod| pod.stray), Some(false));

        let mut elsewhere = made(&jane, 99);
        elsewhere.metadata.namespace = Some("stranger".into());
        assert_eq!(ours(&jane, &elsewhere), None, "another namespace");

        let mut orphan = made(&jane, 2);
        orphan.metadata.owner_references = None;
        assert_eq!(ours(&jane, &orphan).map(|pod| pod.stray), Some(true), "it lost its owner");
        let mut labelled = made(&jane, 3);
        labelled.metadata.owner_references = None;
        assert_eq!(ours(&jane, &labelled), None, "the label alone");
        orphan.metadata.labels = None;
        assert_eq!(ours(&jane, &orphan), None, "the name alone");

        let mut of_another = made(&object("john-doe", "uid-2"), 2);
        of_another.metadata.labels = recorded.metadata.labels.clone();
        of_another.metadata.name = recorded.metadata.name.clone();
        assert_eq!(ours(&jane, &of_another), None, "another owner");

        let mut not_controlled = made(&jane, 2);
        for owner in not_controlled.metadata.owner_references.iter_mut().flatten() {
            owner.controller = None;
        }
        let stray = ours(&jane, &not_controlled).map(|pod| pod.stray);
        assert_eq!(stray, Some(true), "an owner that is not its controller");

        let higher = ours(&jane, &made(&jane, 99)).unwrap();
        assert!(higher.stray, "a higher incarnation that was never recorded");
        let pods = [higher, ours(&jane, &recorded).unwrap()];
        assert_eq!(in_use(&pods).map(|pod| pod.incarnation), Some(2));
        assert_eq!(in_use(&pods[..1]), None);
    }
}
