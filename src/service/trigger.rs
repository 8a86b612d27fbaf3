//! What wakes a lane.

use crate::api::MemorialStream;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Changes whenever people ask for something else; status is the lanes' own writing, and wakes nobody.
pub fn asked(object: &MemorialStream) -> u64 {
    let metadata = &object.metadata;
    let mut hasher = DefaultHasher::new();
    metadata.uid.hash(&mut hasher);
    metadata.generation.hash(&mut hasher);
    metadata.annotations.hash(&mut hasher);
    metadata.finalizers.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    hasher.finish()
}
