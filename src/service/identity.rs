//! Who an object is: parsed once, where a pass begins.

use crate::api::MemorialStream;
use crate::api::names::{marker, room_name, room_prefix};
use std::fmt;

/// Who an object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Kubernetes' own name for it, never used twice.
    pub uid: String,
    /// Rises with each change of the spec.
    pub generation: i64,
}

impl Identity {
    /// The identity of an object that the API server has stored; absent for one that it has not.
    pub fn of(object: &MemorialStream) -> Option<Self> {
        let metadata = &object.metadata;
        Some(Self {
            namespace: metadata.namespace.clone()?,
            name: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
            generation: metadata.generation.unwrap_or(0),
        })
    }

    /// The marker that every paid or visible thing of the object carries.
    pub fn marker(&self, cluster_id: &str) -> String {
        marker(cluster_id, &self.uid)
    }

    /// The room of this epoch.
    pub fn room_name(&self, epoch: i64) -> String {
        room_name(&self.uid, epoch)
    }

    /// Whether a room of that name is this object's, of whatever epoch.
    pub fn owns_room(&self, name: &str) -> bool {
        name.starts_with(&room_prefix(&self.uid))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_was_never_stored_has_no_identity() {
        let mut object = MemorialStream::new("jane-doe", Default::default());
        assert_eq!(Identity::of(&object), None);
        object.metadata.namespace = Some("default".into());
        object.metadata.uid = Some("uid-1".into());
        let identity = Identity::of(&object).unwrap();
        assert_eq!(identity.to_string(), "default/jane-doe");
        assert!(identity.owns_room("memorial-uid-1-7") && !identity.owns_room("memorial-uid-11-0"));
    }
}
