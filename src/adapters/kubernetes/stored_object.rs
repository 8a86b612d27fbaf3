//! A MemorialStream as far as it is read. Labels, other people's annotations and finalizers, managedFields and the like may
//! be most of an object's size, and are as many as their writers want.

use super::stored::{Stored, Unreadable, bounded};
use crate::api::names::{ABANDON, FINALIZER, PAUSED, RECONCILE_REQUESTED_AT};
use crate::api::{MemorialStream, MemorialStreamSpec, MemorialStreamStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// Of a Secret, as the API server allows it.
const LONGEST_NAME: usize = 253;
/// How much of an annotation is kept.
const LONGEST_ANNOTATION: usize = 64;

/// What is read of an object; all else is passed over as it comes in.
#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    metadata: ReadMetadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    annotations: Option<ReadAnnotations>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReadAnnotations {
    #[serde(rename = "tributestream.com/paused")]
    paused: Option<String>,
    #[serde(rename = "tributestream.com/abandon")]
    abandon: Option<String>,
    #[serde(rename = "tributestream.com/reconcile-requested-at")]
    reconcile_requested_at: Option<String>,
}

impl From<ReadMetadata> for ObjectMeta {
    fn from(read: ReadMetadata) -> Self {
        let ReadAnnotations { paused, abandon, reconcile_requested_at } =
            read.annotations.unwrap_or_default();
        let all = [(PAUSED, paused), (ABANDON, abandon), (RECONCILE_REQUESTED_AT, reconcile_requested_at)];
        let kept = |value: String| value.chars().take(LONGEST_ANNOTATION).collect();
        let annotations: BTreeMap<String, String> =
            all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), kept(value?)))).collect();
        let is_ours = read.finalizers.is_some_and(|all| all.iter().any(|name| name == FINALIZER));
        Self {
            name: read.name,
            namespace: read.namespace,
            uid: read.uid,
            resource_version: read.resource_version,
            generation: read.generation,
            creation_timestamp: read.creation_timestamp,
            deletion_timestamp: read.deletion_timestamp,
            finalizers: is_ours.then(|| vec![FINALIZER.to_owned()]),
            annotations: Some(annotations).filter(|all| !all.is_empty()),
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for Stored<MemorialStream> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { metadata, spec, status } = Read::deserialize(deserializer)?;
        let metadata = metadata.into();
        let cannot =
            |half| move |error: serde_json::Error| format!("{half}: {}", bounded(&error.to_string()));
        let copy =
            status.get("credentialsCopy").and_then(Value::as_str).filter(|name| name.len() <= LONGEST_NAME);
        let credentials_copy = copy.map(str::to_owned);
        let spec = MemorialStreamSpec::deserialize(spec).map_err(cannot("spec"));
        let status = Option::<MemorialStreamStatus>::deserialize(status).map_err(cannot("status"));
        Ok(match spec.and_then(|spec| Ok((spec, status?))) {
            Ok((spec, status)) => {
                let mut object = MemorialStream { metadata, spec, status };
                shrink(&mut object);
                Self::Readable(Box::new(object))
            }
            Err(reason) => Self::Unreadable(Box::new(Unreadable { metadata, reason, credentials_copy })),
        })
    }
}

/// Lists are read into vectors that have room for more, and each object is kept.
fn shrink(object: &mut MemorialStream) {
    object.spec.cameras.shrink_to_fit();
    if let Some(status) = object.status.as_mut() {
        status.conditions.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stored(spec: Value, status: Value) -> Value {
        json!({
            "apiVersion": "tributestream.com/v1alpha1", "kind": "MemorialStream",
            "metadata": {"name": "jane-doe", "namespace": "family", "uid": "uid-1"},
            "spec": spec, "status": status,
        })
    }

    #[test]
    fn one_object_that_cannot_be_read_does_not_spoil_a_list() {
        let long = "secret".repeat(10_000);
        let list = json!([
            stored(json!({}), json!({})),
            stored(json!({"session": "one"}), json!({})),
            stored(json!({"schedule": {"liveAt": long}}), json!({})),
            stored(json!({}), json!({"conditions": 7})),
            stored(json!("hello"), json!({})),
        ]);
        let list: Vec<Stored<MemorialStream>> = serde_json::from_value(list).unwrap();
        assert!(matches!(list[0], Stored::Readable(_)), "{:?}", list[0]);
        for (object, place) in list[1..].iter().zip(["spec: ", "spec: ", "status: ", "spec: "]) {
            let Stored::Unreadable(unreadable) = object else { panic!("{object:?}") };
            assert!(unreadable.reason.starts_with(place), "{}", unreadable.reason);
            assert!(!unreadable.reason.contains("secret"), "{}", unreadable.reason);
            assert!(unreadable.message().len() < 600);
            assert_eq!(unreadable.metadata.uid.as_deref(), Some("uid-1"));
        }
    }

    /// Whoever may make one object would else decide how much memory it takes.
    #[test]
    fn what_has_no_bound_and_is_not_read_is_not_kept() {
        let ours = [PAUSED, ABANDON, RECONCILE_REQUESTED_AT];
        let mut object = stored(json!({"state": "Idle"}), json!({"state": "Idle"}));
        object["metadata"] = json!({
            "name": "jane-doe", "namespace": "family", "uid": "uid-1", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-12-05T09:00:00Z", "deletionTimestamp": "2026-12-05T10:00:00Z",
            "finalizers": [FINALIZER], "annotations": ours.map(|key| (key, "true")).into_iter().collect::<Value>(),
        });
        let read = |object: &Value| {
            let stored: Stored<MemorialStream> = serde_json::from_value(object.clone()).unwrap();
            serde_json::to_value(stored.read().unwrap()).unwrap()
        };
        assert_eq!(read(&object), object, "what is read is kept whole");

        let mut large = object.clone();
        let many: Value = (0..1000).map(|number| (format!("example.com/{number}"), "x")).collect();
        let metadata = large["metadata"].as_object_mut().unwrap();
        metadata.insert("labels".into(), many.clone());
        metadata.insert("managedFields".into(), json!([{"manager": "kubectl", "fieldsV1": many}]));
        metadata.insert(
            "ownerReferences".into(),
            json!([{"kind": "x", "name": "x", "uid": "x", "apiVersion": "x"}]),
        );
        for number in 0..1000 {
            metadata["finalizers"].as_array_mut().unwrap().push(format!("example.com/{number}").into());
            metadata["annotations"][format!("tributestream.com/{number}")] = "x".into();
        }
        metadata["annotations"][RECONCILE_REQUESTED_AT] = "ü".repeat(100_000).into();
        object["metadata"]["annotations"][RECONCILE_REQUESTED_AT] = "ü".repeat(LONGEST_ANNOTATION).into();
        assert_eq!(read(&large), object);
    }
}
