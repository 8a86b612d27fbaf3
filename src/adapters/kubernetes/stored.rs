//! A MemorialStream as the API server stores it. One that our types cannot read costs only itself: its neighbours are
//! listed and watched all the same.

use crate::api::MemorialStream;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use std::borrow::Cow;

/// kubectl's copy of the whole manifest.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// How much of a reason is told.
const LONGEST_REASON: usize = 200;

/// A MemorialStream as it is stored. Without `managedFields` and kubectl's copy of the manifest: most of an
/// object's size, and nobody reads them here.
#[derive(Clone, Debug)]
pub enum Stored {
    /// One that our types can read.
    Readable(Box<MemorialStream>),
    /// One that they cannot.
    Unreadable(Box<Unreadable>),
}

/// What is known of an object that our types cannot read.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// Whose it is.
    pub metadata: ObjectMeta,
    /// Why; bounded, and without what stands in the object.
    pub reason: String,
}

impl Unreadable {
    /// For Events.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(MemorialStream::api_version(&()).into_owned()),
            kind: Some(MemorialStream::kind(&()).into_owned()),
            name: self.metadata.name.clone(),
            namespace: self.metadata.namespace.clone(),
            uid: self.metadata.uid.clone(),
            ..ObjectReference::default()
        }
    }

    /// What a person can do about it.
    pub fn message(&self) -> String {
        format!(
            "the operator cannot read this object: {}. Nothing is done for it until that is mended, and what runs for it \
             goes on: correct the field (where that is refused, set it to null first), or run the version of the operator \
             that wrote it",
            self.reason
        )
    }
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED);
            }
        }
        match MemorialStream::deserialize(&value) {
            Ok(mut object) => {
                shrink(&mut object);
                Ok(Self::Readable(Box::new(object)))
            }
            Err(error) => {
                let metadata = value.get("metadata").cloned().unwrap_or_default();
                let metadata = ObjectMeta::deserialize(metadata).map_err(D::Error::custom)?;
                let reason = format!("{}{}", place(&value), bounded(&error.to_string()));
                Ok(Self::Unreadable(Box::new(Unreadable { metadata, reason })))
            }
        }
    }
}

/// Lists are read into vectors that have room for more, and each object is kept.
fn shrink(object: &mut MemorialStream) {
    object.spec.cameras.shrink_to_fit();
    if let Some(status) = object.status.as_mut() {
        status.conditions.shrink_to_fit();
    }
}

/// Which half cannot be read; serde does not say.
fn place(value: &Value) -> &'static str {
    let readable = |half: &str| {
        let mut alone = value.clone();
        if let Some(object) = alone.as_object_mut() {
            let other = if half == "spec" { "status" } else { "spec" };
            object.remove(other);
            object.entry("spec").or_insert_with(|| Value::Object(Default::default()));
        }
        MemorialStream::deserialize(&alone).is_ok()
    };
    match (readable("spec"), readable("status")) {
        (false, _) => "spec: ",
        (true, false) => "status: ",
        (true, true) => "",
    }
}

/// A reason without the text that it quotes, and not longer than a line.
pub(super) fn bounded(reason: &str) -> String {
    let unquoted = match (reason.find('"'), reason.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            Cow::Owned(format!("{}…{}", &reason[..=first], &reason[last..]))
        }
        _ => Cow::Borrowed(reason),
    };
    let line = unquoted.replace(char::is_control, " ");
    match line.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

impl Resource for Stored {
    type DynamicType = ();
    type Scope = <MemorialStream as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        MemorialStream::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        MemorialStream::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        MemorialStream::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        MemorialStream::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Readable(object) => &object.metadata,
            Self::Unreadable(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Readable(object) => &mut object.metadata,
            Self::Unreadable(unreadable) => &mut unreadable.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stored(spec: Value, status: Value) -> Value {
        json!({
            "apiVersion": "tributestream.com/v1alpha1", "kind": "MemorialStream",
            "metadata": {"name": "jane-doe", "namespace": "family", "uid": "uid-1",
                         "managedFields": [{"manager": "kubectl"}],
                         "annotations": {LAST_APPLIED: "{}", "kept": "yes"}},
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
        let list: Vec<Stored> = serde_json::from_value(list).unwrap();
        let Stored::Readable(object) = &list[0] else { panic!("{:?}", list[0]) };
        assert_eq!(object.metadata.managed_fields, None);
        assert_eq!(object.metadata.annotations, Some([("kept".to_owned(), "yes".to_owned())].into()));
        for (object, place) in list[1..].iter().zip(["spec: ", "spec: ", "status: ", "spec: "]) {
            let Stored::Unreadable(unreadable) = object else { panic!("{object:?}") };
            assert!(unreadable.reason.starts_with(place), "{}", unreadable.reason);
            assert!(!unreadable.reason.contains("secret"), "{}", unreadable.reason);
            assert!(unreadable.message().len() < 600);
            assert_eq!(unreadable.metadata.uid.as_deref(), Some("uid-1"));
        }
    }

    #[test]
    fn a_reason_is_one_short_line_without_quotations() {
        assert_eq!(
            bounded("invalid type: string \"a\nb\", expected i64"),
            "invalid type: string \"…\", expected i64"
        );
        assert!(bounded(&"ü".repeat(5_000)).chars().count() <= LONGEST_REASON + 1);
    }
}
