//! What every pass of the life-cycle lane is given, and what is remembered of each object between passes.

use super::backoff::Failures;
use super::heard::Heard;
use super::in_flight::InFlight;
use super::intents::Unsent;
use super::let_go::LetGo;
use super::plan::Timings;
use super::sight::Looks;
use super::slugs::Slugs;
use super::unwritten::Unwritten;
use crate::api::MemorialStream;
use crate::api::names::RECONCILE_REQUESTED_AT;
use crate::service::Identity;
use crate::service::credentials::{CredentialsInUse, DefaultSecret};
use crate::service::pod::PodTemplate;
use crate::world::World;
use futures::channel::mpsc::UnboundedSender;
use kube::runtime::reflector::ObjectRef;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Everything that a pass needs. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The world.
    pub world: World,
    /// Names this cluster in markers.
    pub cluster_id: Arc<str>,
    /// The Secret that is used when a MemorialStream names none.
    pub default_secret: DefaultSecret,
    /// The credentials that worked last; the fast lane uses the same.
    pub in_use: CredentialsInUse,
    /// What the installation decides about compositor pods.
    pub pod_template: PodTemplate,
    /// How long the lane waits for what.
    pub timings: Timings,
    /// Wakes an object.
    pub wake: UnboundedSender<ObjectRef<MemorialStream>>,
    /// What is remembered, by UID.
    pub memories: Memories,
    /// Which object holds which slug.
    pub slugs: Slugs,
    /// What people said that no status says yet.
    pub heard: Heard,
    /// What passes let go.
    pub let_go: LetGo,
}

impl Context {
    /// Wakes an object. Nobody listens any more only while the process ends.
    pub fn wake(&self, reference: ObjectRef<MemorialStream>) {
        if self.wake.unbounded_send(reference).is_err() {
            tracing::debug!("the controller is gone");
        }
    }
}

/// What is remembered of one object, and may be lost.
#[derive(Debug, Default)]
pub struct Memory {
    /// What failed lately.
    pub failures: Failures,
    /// What runs beside the lane.
    pub beside: InFlight,
    /// Creates that were noted and not sent.
    pub unsent: Unsent,
    /// The looks at what mourners see.
    pub looks: Looks,
    /// What the API server did not take.
    pub unwritten: Unwritten,
}

impl Memory {
    fn is_empty(&self) -> bool {
        let Self { failures, beside, unsent, looks, unwritten } = self;
        failures.is_empty()
            && beside.is_empty()
            && unsent.is_empty()
            && looks.is_empty()
            && unwritten.is_empty()
    }
}

/// What is remembered, by UID.
#[derive(Clone, Default)]
pub struct Memories(Arc<Mutex<HashMap<String, Remembered>>>);

/// A memory, and what people asked for when its failures happened.
type Remembered = ((i64, Option<String>), Arc<Memory>);

impl Memories {
    /// The memory of an object; a new generation, or a pass that somebody requested, forgets what failed, for it may
    /// have been mended.
    pub fn of(&self, identity: &Identity, object: &MemorialStream) -> Arc<Memory> {
        let requested =
            object.metadata.annotations.as_ref().and_then(|all| all.get(RECONCILE_REQUESTED_AT)).cloned();
        let asked = (identity.generation, requested);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, memory) =
            all.entry(identity.uid.clone()).or_insert_with(|| (asked.clone(), Arc::default()));
        if *known != asked {
            *known = asked;
            memory.failures.forget();
        }
        Arc::clone(memory)
    }

    /// A pass is over. A memory that says nothing, and that nobody else holds, is not kept: most services rest.
    pub fn put_away(&self, identity: &Identity, memory: Arc<Memory>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = !memory.is_empty();
        drop(memory);
        if !is_kept && all.get(&identity.uid).is_some_and(|(_, kept)| Arc::strong_count(kept) == 1) {
            all.remove(&identity.uid);
        }
    }

    /// Nothing of the object is left.
    pub fn forget(&self, identity: &Identity) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&identity.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;
    use crate::lifecycle::backoff::{Effect, Failure, FailureClass, Part};

    /// By the annotation, whatever it says as long as it is new.
    #[test]
    fn what_failed_is_tried_again_at_once_where_somebody_asks_for_it() {
        let memories = Memories::default();
        let mut object = MemorialStream::new("jane", Default::default());
        object.metadata.namespace = Some("default".into());
        object.metadata.uid = Some("uid".into());
        object.metadata.generation = Some(1);
        let held = |object: &MemorialStream| {
            let identity = Identity::of(object).unwrap();
            !memories.of(&identity, object).failures.backoffs().is_empty()
        };
        let fails = |object: &MemorialStream| {
            let failure =
                Failure { class: FailureClass::Terminal, reason: Reason::Refused, message: "a quota".into() };
            let memory = memories.of(&Identity::of(object).unwrap(), object);
            memory.failures.failed(Effect::making(Part::Pod), failure, false, 0.5);
        };
        fails(&object);
        assert!(held(&object));
        for requested in ["10:00", "10:01"] {
            let annotations = object.metadata.annotations.get_or_insert_default();
            annotations.insert(RECONCILE_REQUESTED_AT.into(), requested.into());
            assert!(!held(&object), "{requested}");
            fails(&object);
            assert!(held(&object), "once for each request");
        }
        object.metadata.generation = Some(2);
        assert!(!held(&object), "the spec may have mended it");
    }
}
