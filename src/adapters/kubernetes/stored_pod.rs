//! A pod as far as it is read. Whoever may make pods may give one our label, and decides what else stands in it: how much,
//! and what our types cannot read. Such a pod costs only itself.

use super::stored::{Stored, Unreadable, bounded};
use crate::service::pod::{CONTAINER, IMAGE_ANNOTATION, INCARNATION_LABEL, SETTINGS_ANNOTATION, UID_LABEL};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// How much of a text is kept: the kubelet's messages are the longest that are told.
const LONGEST_TEXT: usize = 500;
/// How much of the settings that a pod was made with: the longest that a spec can have.
const LONGEST_SETTINGS: usize = 16_384;

/// All else is passed over as it comes in.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Read {
    metadata: ReadMetadata,
    spec: ReadSpec,
    status: ReadStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    /// As text: the API server's times reach further than ours.
    deletion_timestamp: Option<String>,
    deletion_grace_period_seconds: Option<i64>,
    labels: ReadLabels,
    annotations: ReadAnnotations,
    owner_references: Vec<ReadOwner>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReadLabels {
    #[serde(rename = "tributestream.com/memorialstream-uid")]
    uid: Option<String>,
    #[serde(rename = "tributestream.com/incarnation")]
    incarnation: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReadAnnotations {
    #[serde(rename = "tributestream.com/settings")]
    settings: Option<String>,
    #[serde(rename = "tributestream.com/image")]
    image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadOwner {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    controller: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadSpec {
    node_name: Option<String>,
    containers: Vec<ReadContainer>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReadContainer {
    name: String,
    image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    container_statuses: Vec<ReadContainerStatus>,
    conditions: Vec<ReadCondition>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadContainerStatus {
    name: String,
    ready: bool,
    restart_count: i32,
    state: ReadState,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReadState {
    waiting: Option<ReadWords>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReadWords {
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
    last_transition_time: Option<String>,
}

impl<'de> Deserialize<'de> for Stored<Pod> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { metadata, spec, status } = Read::deserialize(deserializer)?;
        let deleted = metadata.deletion_timestamp.as_deref().map(str::parse::<Timestamp>).transpose();
        let mut kept = kept_metadata(metadata);
        Ok(match deleted {
            Ok(deleted) => {
                kept.deletion_timestamp = deleted.map(Time);
                let (spec, status) = (Some(kept_spec(spec)), Some(kept_status(status)));
                Self::Readable(Box::new(Pod { metadata: kept, spec, status }))
            }
            Err(error) => Self::Unreadable(Box::new(Unreadable {
                metadata: kept,
                reason: format!("deletionTimestamp: {}", bounded(&error.to_string())),
                credentials_copy: None,
            })),
        })
    }
}

fn kept_metadata(read: ReadMetadata) -> ObjectMeta {
    let all = |pairs: [(&str, Option<String>); 2]| -> BTreeMap<String, String> {
        pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    };
    // One object is controlled by one other at most.
    let owner = read.owner_references.into_iter().find(|owner| owner.controller == Some(true));
    let owner = owner.map(|owner| OwnerReference {
        api_version: clipped(owner.api_version),
        kind: clipped(owner.kind),
        name: clipped(owner.name),
        uid: clipped(owner.uid),
        controller: Some(true),
        ..OwnerReference::default()
    });
    ObjectMeta {
        name: read.name,
        namespace: read.namespace,
        uid: read.uid,
        resource_version: read.resource_version,
        deletion_grace_period_seconds: read.deletion_grace_period_seconds,
        labels: Some(all([(UID_LABEL, read.labels.uid), (INCARNATION_LABEL, read.labels.incarnation)])),
        annotations: Some(all([
            (SETTINGS_ANNOTATION, read.annotations.settings.filter(|text| text.len() <= LONGEST_SETTINGS)),
            (IMAGE_ANNOTATION, read.annotations.image.map(clipped)),
        ])),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// The compositor's own container: admission may have put others beside it, or before it.
fn compositors<T>(all: Vec<T>, name: fn(&T) -> &str) -> Option<T> {
    all.into_iter().find(|one| name(one) == CONTAINER)
}

fn kept_spec(read: ReadSpec) -> PodSpec {
    let container = compositors(read.containers, |one: &ReadContainer| &one.name);
    let container = container.map(|container| Container {
        name: container.name,
        image: container.image.map(clipped),
        ..Container::default()
    });
    PodSpec {
        node_name: read.node_name.map(clipped),
        containers: container.into_iter().collect(),
        ..PodSpec::default()
    }
}

fn kept_status(read: ReadStatus) -> PodStatus {
    let container = compositors(read.container_statuses, |one: &ReadContainerStatus| &one.name);
    let container = container.map(|container| ContainerStatus {
        name: container.name,
        ready: container.ready,
        restart_count: container.restart_count,
        state: container.state.waiting.map(|waiting| ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: waiting.reason.map(clipped),
                message: waiting.message.map(clipped),
            }),
            ..ContainerState::default()
        }),
        ..ContainerStatus::default()
    });
    let is_read = |condition: &ReadCondition| ["PodScheduled", "Ready"].contains(&&*condition.kind);
    let conditions = read.conditions.into_iter().filter(is_read).take(2).map(|condition| PodCondition {
        last_transition_time: condition.last_transition_time.and_then(|at| at.parse().ok()).map(Time),
        type_: condition.kind,
        status: clipped(condition.status),
        reason: condition.reason.map(clipped),
        message: condition.message.map(clipped),
        ..PodCondition::default()
    });
    PodStatus {
        phase: read.phase.map(clipped),
        pod_ip: read.pod_ip.map(clipped),
        container_statuses: container.map(|container| vec![container]),
        conditions: Some(conditions.collect()),
        ..PodStatus::default()
    }
}

fn clipped(text: String) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(pod: Value) -> Pod {
        serde_json::from_value::<Stored<Pod>>(pod).unwrap().read().unwrap()
    }

    fn owner() -> Value {
        json!({"apiVersion": "v1", "kind": "x", "name": "jane", "uid": "uid-1", "controller": true})
    }

    /// What is read of a pod is kept, whoever stands beside the compositor in it.
    #[test]
    fn a_pod_is_kept_as_far_as_it_is_read() {
        let pod = read(json!({
            "metadata": {
                "name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7",
                "deletionTimestamp": "2026-12-05T10:00:00Z", "deletionGracePeriodSeconds": 10,
                "labels": {UID_LABEL: "uid-1", INCARNATION_LABEL: "3", "a": "b"},
                "annotations": {SETTINGS_ANNOTATION: "s", IMAGE_ANNOTATION: "compositor:1", "c": "d"},
                "ownerReferences": [{"uid": "other"}, owner()],
            },
            "spec": {"nodeName": "node-1", "containers": [
                {"name": "sidecar", "image": "proxy"}, {"name": CONTAINER, "image": "mirror/compositor@sha256:0", "args": ["x"]},
            ]},
            "status": {
                "phase": "Running", "podIP": "10.0.0.1",
                "containerStatuses": [
                    {"name": "sidecar", "ready": true, "restartCount": 7},
                    {"name": CONTAINER, "ready": false, "restartCount": 2, "state": {"waiting": {"reason": "ErrImagePull"}}},
                ],
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "1970-01-01T00:00:07Z"},
                               {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}],
            },
        }));
        let metadata = &pod.metadata;
        assert_eq!((metadata.name.as_deref(), metadata.namespace.as_deref()), (Some("p"), Some("n")));
        assert_eq!((metadata.uid.as_deref(), metadata.resource_version.as_deref()), (Some("u"), Some("7")));
        assert!(metadata.deletion_timestamp.is_some() && metadata.deletion_grace_period_seconds == Some(10));
        assert_eq!(metadata.labels.as_ref().map(BTreeMap::len), Some(2));
        assert_eq!(metadata.annotations.as_ref().unwrap()[IMAGE_ANNOTATION], "compositor:1");
        let owners = metadata.owner_references.as_ref().unwrap();
        assert_eq!((owners.len(), owners[0].uid.as_str(), owners[0].controller), (1, "uid-1", Some(true)));
        let spec = pod.spec.unwrap();
        assert_eq!(spec.node_name.as_deref(), Some("node-1"));
        assert_eq!(spec.containers[0].image.as_deref(), Some("mirror/compositor@sha256:0"));
        let status = pod.status.unwrap();
        assert_eq!((status.phase.as_deref(), status.pod_ip.as_deref()), (Some("Running"), Some("10.0.0.1")));
        let container = &status.container_statuses.unwrap()[0];
        assert_eq!((container.ready, container.restart_count), (false, 2));
        let waiting = container.state.clone().unwrap().waiting.unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("ErrImagePull"));
        let conditions = status.conditions.unwrap();
        assert_eq!(conditions[0].last_transition_time.as_ref().map(|at| at.0.as_second()), Some(7));
        assert_eq!(conditions[1].message.as_deref(), Some("full"));
    }

    /// Whoever may make one pod would else decide what the operator can read, and how much memory it takes.
    #[test]
    fn what_is_not_read_spoils_nothing_and_is_not_kept() {
        let many: Value = (0..1000).map(|number| (format!("example.com/{number}"), "x")).collect();
        let mut pod = json!({
            "metadata": {
                "name": "p", "labels": many, "annotations": many, "finalizers": vec!["x"; 1000],
                "creationTimestamp": "9999-12-31T23:59:59Z",
                "managedFields": [{"time": "9999-12-31T23:59:59Z", "fieldsV1": many}],
                "ownerReferences": vec![json!({"uid": "x", "name": "x"}); 1000],
            },
            "spec": {"containers": vec![json!({"name": "x", "image": "x".repeat(1000)}); 100], "tolerations": 7},
            "status": {"message": "x".repeat(10_000), "startTime": "9999-12-31T23:59:59Z", "phase": "y".repeat(10_000)},
        });
        let kept = serde_json::to_string(&read(pod.clone())).unwrap();
        assert!(kept.len() < 1000, "{} bytes: {kept}", kept.len());
        pod["metadata"]["deletionTimestamp"] = "9999-12-31T23:59:59Z".into();
        let list: Vec<Stored<Pod>> =
            serde_json::from_value(json!([pod, {"metadata": {"name": "q"}}])).unwrap();
        let unreadable = list[0].clone().read().unwrap_err();
        assert_eq!(unreadable.metadata.name.as_deref(), Some("p"));
        assert!(unreadable.reason.starts_with("deletionTimestamp"), "{}", unreadable.reason);
        assert_eq!(list[1].clone().read().unwrap().metadata.name.as_deref(), Some("q"));
    }
}
