//! What the API server stores, as far as it is read here. What our types cannot read costs only itself: its neighbours are
//! listed and watched all the same.

use crate::api::MemorialStream;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use std::borrow::Cow;

/// How much of a reason is told.
const LONGEST_REASON: usize = 200;

/// An object as it is stored, as far as it is read: what else its writers put into it is passed over as it comes in.
#[derive(Clone, Debug)]
pub enum Stored<K> {
    /// One that our types can read.
    Readable(Box<K>),
    /// One that they cannot.
    Unreadable(Box<Unreadable>),
}

impl<K> Stored<K> {
    /// The object.
    ///
    /// # Errors
    /// Which one it is, and why it cannot be read.
    pub fn read(self) -> Result<K, Box<Unreadable>> {
        match self {
            Self::Readable(object) => Ok(*object),
            Self::Unreadable(unreadable) => Err(unreadable),
        }
    }
}

/// What is known of an object that our types cannot read.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// Whose it is.
    pub metadata: ObjectMeta,
    /// Why; bounded, and without what stands in the object.
    pub reason: String,
    /// The copy of credentials that its status names, for what runs for it is ended with that one day.
    pub credentials_copy: Option<String>,
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
        // What people change without saying so is never status.
        let how =
            if self.reason.starts_with("status") { ", with kubectl's --subresource=status" } else { "" };
        format!(
            "the operator cannot read this object: {}. Nothing is done for it until that is mended, and what runs for it \
             goes on: correct the field{how} (where that is refused, set it to null first), or run the version of the \
             operator that wrote it",
            self.reason
        )
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

impl<K: Resource<DynamicType = ()>> Resource for Stored<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Readable(object) => object.meta(),
            Self::Unreadable(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Readable(object) => object.meta_mut(),
            Self::Unreadable(unreadable) => &mut unreadable.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line_without_quotations() {
        assert_eq!(
            bounded("invalid type: string \"a\nb\", expected i64"),
            "invalid type: string \"…\", expected i64"
        );
        assert!(bounded(&"ü".repeat(5_000)).chars().count() <= LONGEST_REASON + 1);
    }
}
