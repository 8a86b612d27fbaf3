//! What outlives its object. Somebody took our finalizer away, and the object was let go while something paid may still run.
//! It ends as after any deletion, by the same passes; status, which nobody may be able to write any more, is kept here.

use super::context::Context;
use super::plan::has_finalizer;
use super::reconcile::reconcile;
use crate::api::names::{ABANDON, FINALIZER};
use crate::api::status::OwnedByProgram;
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::service::Identity;
use crate::world::{KubernetesError, Objects, World};
use async_trait::async_trait;
use futures::channel::mpsc::UnboundedReceiver;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, future};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The pass that let an object go is over by then.
const LET_GO: Duration = Duration::from_secs(5);
/// Between two passes, and two questions whether it is gone; twice as long after each in which nothing moved.
const AGAIN: Duration = Duration::from_secs(2);
/// At most so long: shorter than an end that failed is left alone, for what cannot be ended shows while it is.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How many endings make a pass at once: whoever strips thousands holds up nobody but them.
const AT_ONCE: usize = 8;
/// After this long what still cannot be ended is written down, and let go.
const GIVEN_UP: Duration = Duration::from_secs(900);

/// Ends, for ever, what outlives the objects that `gone` names as the cache knew them last.
pub async fn keep_ending(context: &Context, mut gone: UnboundedReceiver<Arc<MemorialStream>>) {
    let places = Semaphore::new(AT_ONCE);
    let mut under_way = HashSet::new();
    let mut endings = FuturesUnordered::new();
    loop {
        tokio::select! {
            object = gone.next() => {
                let Some(object) = object else { break };
                let uid = object.metadata.uid.clone().unwrap_or_default();
                if under_way.insert(uid.clone()) {
                    endings.push(end(context, &places, object).map(move |()| uid));
                }
            }
            Some(uid) = endings.next(), if !endings.is_empty() => {
                under_way.remove(&uid);
            }
        }
    }
    while endings.next().await.is_some() {}
}

async fn end(context: &Context, places: &Semaphore, object: Arc<MemorialStream>) {
    let Some(identity) = Identity::of(&object) else { return };
    tokio::time::sleep(LET_GO).await;
    if context.let_go.take(&identity.uid) {
        return;
    }
    // The cache lets go of what it cannot read, too.
    loop {
        match context.world.objects.is_held(&object).await {
            Ok(true) => return,
            Ok(false) => break,
            Err(error) => tracing::warn!(%error, object = %identity, "nobody can say whether it is gone"),
        }
        tokio::time::sleep(AGAIN).await;
    }
    if leaves_something(&object) {
        finish(context, places, &identity, &object).await;
    }
    context.memories.forget(&identity);
    context.in_use.forget(&identity);
}

/// Whether our finalizer went between two versions of an object that is being deleted.
pub fn is_let_go(before: &MemorialStream, now: &MemorialStream) -> bool {
    has_finalizer(before) && !has_finalizer(now) && now.metadata.deletion_timestamp.is_some()
}

/// Whether anything may exist for it.
fn leaves_something(object: &MemorialStream) -> bool {
    object.status.as_ref().is_some_and(|status| {
        status.mux.is_some()
            || status.room.is_some()
            || status.egress.is_some()
            || status.compositor.is_some()
    })
}

async fn finish(context: &Context, places: &Semaphore, identity: &Identity, object: &MemorialStream) {
    tracing::warn!(object = %identity, "our finalizer was taken away; what may still run for the object is ended");
    let kept = Arc::new(Kept::new(context, object));
    let world = World { objects: kept.clone(), ..context.world.clone() };
    let context = Context { world, ..context.clone() };
    let begin = tokio::time::Instant::now();
    let mut pause = AGAIN;
    loop {
        if begin.elapsed() > GIVEN_UP {
            kept.abandon();
        }
        let object = kept.object();
        {
            let Ok(_place) = places.acquire().await else { return };
            if let Err(error) = reconcile(&context, &object).await {
                tracing::warn!(%error, object = %identity, "a pass failed");
            }
        }
        if context.let_go.take(&identity.uid) {
            return;
        }
        let moved = kept.object().status != object.status;
        pause = if moved { AGAIN } else { (2 * pause).min(LONGEST_PAUSE) };
        tokio::time::sleep(pause).await;
    }
}

/// The object, kept for its end.
struct Kept {
    objects: Arc<dyn Objects>,
    object: Mutex<MemorialStream>,
}

impl Kept {
    fn new(context: &Context, object: &MemorialStream) -> Self {
        let mut object = object.clone();
        object.metadata.deletion_timestamp.get_or_insert(Time(context.world.clock.now()));
        object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        Self { objects: Arc::clone(&context.world.objects), object: Mutex::new(object) }
    }

    fn kept(&self) -> MutexGuard<'_, MemorialStream> {
        self.object.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self) -> MemorialStream {
        self.kept().clone()
    }

    fn abandon(&self) {
        self.kept().metadata.annotations.get_or_insert_default().insert(ABANDON.into(), "true".into());
    }
}

#[async_trait]
impl Objects for Kept {
    fn memorial_streams(&self) -> Vec<Arc<MemorialStream>> {
        let mut all = self.objects.memorial_streams();
        all.push(Arc::new(self.object()));
        all
    }

    fn copies_of_unreadable(&self) -> Vec<String> {
        self.objects.copies_of_unreadable()
    }

    async fn is_held(&self, _: &MemorialStream) -> Result<bool, KubernetesError> {
        Ok(false)
    }

    async fn superseded(&self, _: &MemorialStream) {
        future::pending().await
    }

    async fn set_finalizer(&self, _: &MemorialStream, present: bool) -> Result<(), KubernetesError> {
        self.kept().metadata.finalizers = present.then(|| vec![FINALIZER.to_owned()]);
        Ok(())
    }

    async fn write_status(
        &self,
        _: &MemorialStream,
        status: &MemorialStreamStatus,
    ) -> Result<MemorialStream, KubernetesError> {
        let mut kept = self.kept();
        kept.status = Some(status.clone());
        Ok(kept.clone())
    }

    async fn write_program_status(
        &self,
        _: &MemorialStream,
        _: &OwnedByProgram,
    ) -> Result<(), KubernetesError> {
        Ok(())
    }

    async fn keep_record(&self, record: ConfigMap) -> Result<(), KubernetesError> {
        self.objects.keep_record(record).await
    }

    async fn last_manager(&self, _: &MemorialStream) -> Option<String> {
        None
    }

    async fn publish_event(&self, object: &MemorialStream, warning: bool, reason: &str, message: &str) {
        self.objects.publish_event(object, warning, reason, message).await;
    }
}
