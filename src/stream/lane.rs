//! The life-cycle lane as a controller: one pass per object at a time, woken by changes, by starts that finished
//! and by time.

use super::apply::{self, Outcome};
use super::memory::Memory;
use super::observe::{self, questions_failed};
use super::plan::{self, Action, Timings};
use super::pod::PodTemplate;
use super::slugs::Slugs;
use super::status;
use crate::api::status::says_the_same;
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::credentials::{CredentialsInUse, DefaultSecret};
use crate::world::{StoreError, World};
use futures::channel::mpsc::UnboundedSender;
use kube::runtime::controller;
use kube::runtime::reflector::ObjectRef;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Everything that a pass needs. Cheap to clone.
#[derive(Clone)]
pub struct Lane {
    /// The world.
    pub world: World,
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
}

/// What is remembered, by UID.
#[derive(Clone, Default)]
pub struct Memories(Arc<Mutex<HashMap<String, Remembered>>>);

/// A memory, and the generation that it belongs to.
type Remembered = (i64, Arc<Memory>);

impl Memories {
    /// The memory of `object`; a new generation forgets what failed, for it may have been mended.
    fn of(&self, object: &MemorialStream) -> Arc<Memory> {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or(0);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, memory) = all.entry(uid).or_insert_with(|| (generation, Arc::default()));
        if *known != generation {
            *known = generation;
            memory.forget_troubles();
        }
        Arc::clone(memory)
    }

    fn forget(&self, object: &MemorialStream) {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
    }
}

impl Lane {
    /// Wakes an object. Nobody listens any more only while the process ends.
    pub fn wake(&self, reference: ObjectRef<MemorialStream>) {
        if self.wake.unbounded_send(reference).is_err() {
            tracing::debug!("the controller is gone");
        }
    }

    /// One pass.
    ///
    /// # Errors
    /// Kubernetes did not take a write: nothing was done without its record.
    pub async fn reconcile(&self, object: &MemorialStream) -> Result<controller::Action, StoreError> {
        let memory = self.memories.of(object);
        let observation = observe::observe(self, object, &memory).await;
        let observed = &observation.observed;
        let now = self.world.clock.now();
        let plan = plan::plan(object, observed, now, &self.timings);
        let described = status::describe(object, observed, &plan, now);
        // The record comes first: an intent that is not written down is a create that is never found again.
        let object = self.write(object, &described, &plan.actions).await?;
        for announcement in &plan.announcements {
            self.world
                .store
                .announce(&object, announcement.warning, announcement.reason, &announcement.message)
                .await;
        }
        let outcomes = apply::apply(self, &object, &observation, &plan.actions, &memory).await;
        if outcomes.contains(&Outcome::Released) {
            self.memories.forget(&object);
            self.in_use.forget(&object);
            return Ok(controller::Action::await_change());
        }
        let settled = apply::settle(described, &outcomes);
        self.write(&object, &settled, &[]).await?;
        let questions = questions_failed(observed).map(|(_, error)| error);
        let rest = memory.questions(questions, self.world.clock.chance());
        let requeue = match questions {
            // Whoever is silent is asked more and more rarely, unless the others still have something to do.
            Some(_) if plan.actions.is_empty() => rest.max(Duration::from_secs(1)),
            Some(_) => Duration::from_secs(1),
            None => plan.requeue,
        };
        Ok(controller::Action::requeue(requeue))
    }

    /// Writes status when it says something new.
    async fn write(
        &self,
        object: &MemorialStream,
        status: &MemorialStreamStatus,
        actions: &[Action],
    ) -> Result<MemorialStream, StoreError> {
        let releasing =
            actions.iter().any(|action| matches!(action, Action::RemoveFinalizer | Action::AddFinalizer));
        if releasing || object.status.as_ref().is_some_and(|before| says_the_same(before, status)) {
            return Ok(object.clone());
        }
        self.world.store.write_status(object, status).await
    }
}
