//! What outlives its object. Somebody took our finalizer away, and the API server let the object go while something paid
//! may still run. It ends as after any deletion, by the same passes; status, which nobody can write any more, is kept here.

use super::context::Context;
use super::plan::has_finalizer;
use super::reconcile::reconcile;
use crate::api::names::{ABANDON, FINALIZER};
use crate::api::status::OwnedByProgram;
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::world::{KubernetesError, Objects, World};
use async_trait::async_trait;
use futures::channel::mpsc::UnboundedReceiver;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, future};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The pass that let an object go is over by then.
const LET_GO: Duration = Duration::from_secs(5);
/// Between two passes, and two questions whether it is gone.
const AGAIN: Duration = Duration::from_secs(2);
/// After this long what still cannot be ended is written down, and let go.
const GIVEN_UP: Duration = Duration::from_secs(900);

/// The UIDs of objects that a pass let go.
#[derive(Clone, Default)]
pub struct LetGo(Arc<Mutex<HashSet<String>>>);

impl LetGo {
    /// Nothing of the object is left, or what may be is written down.
    pub fn note(&self, uid: &str) {
        self.uids().insert(uid.to_owned());
    }

    /// Whether it was; asked once.
    fn take(&self, uid: &str) -> bool {
        self.uids().remove(uid)
    }

    fn uids(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends, for ever, what outlives the objects that `gone` names as the cache knew them last.
pub async fn keep_ending(context: &Context, mut gone: UnboundedReceiver<Arc<MemorialStream>>) {
    let mut endings = FuturesUnordered::new();
    loop {
        tokio::select! {
            object = gone.next() => match object {
                Some(object) => endings.push(end(context, object)),
                None => break,
            },
            Some(()) = endings.next(), if !endings.is_empty() => {}
        }
    }
    while endings.next().await.is_some() {}
}

async fn end(context: &Context, object: Arc<MemorialStream>) {
    let Some(uid) = object.metadata.uid.clone() else { return };
    tokio::time::sleep(LET_GO).await;
    if context.let_go.take(&uid) || !has_finalizer(&object) {
        return;
    }
    // The cache lets go of what it cannot read, too.
    loop {
        match context.world.objects.exists(&object).await {
            Ok(true) => return,
            Ok(false) => break,
            Err(error) => tracing::warn!(%error, uid, "nobody can say whether an object is gone"),
        }
        tokio::time::sleep(AGAIN).await;
    }
    let name = object.metadata.name.as_deref().unwrap_or_default();
    tracing::warn!(uid, name, "our finalizer was taken away; what may still run for the object is ended");
    let kept = Arc::new(Kept::new(context, &object));
    let world = World { objects: kept.clone(), ..context.world.clone() };
    let context = Context { world, ..context.clone() };
    let begin = tokio::time::Instant::now();
    loop {
        if begin.elapsed() > GIVEN_UP {
            kept.abandon();
        }
        let object = kept.object();
        if let Err(error) = reconcile(&context, &object).await {
            tracing::warn!(%error, uid, name, "a pass failed");
        }
        if context.let_go.take(&uid) {
            return;
        }
        tokio::time::sleep(AGAIN).await;
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

    async fn exists(&self, _: &MemorialStream) -> Result<bool, KubernetesError> {
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
