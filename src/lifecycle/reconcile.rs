//! One pass of the life-cycle lane.

use super::apply::{self, Outcome};
use super::context::Context;
use super::observe::observe;
use super::plan::{self, Action};
use super::status;
use crate::api::status::says_the_same;
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::service::Identity;
use crate::world::KubernetesError;
use kube::runtime::controller;
use std::time::Duration;

/// One pass.
///
/// # Errors
/// Kubernetes did not take a write: nothing was done without its record.
pub async fn reconcile(
    context: &Context,
    object: &MemorialStream,
) -> Result<controller::Action, KubernetesError> {
    let Some(identity) = Identity::of(object) else {
        return Err(KubernetesError::Refused(
            "an object without a namespace or a UID was never stored".into(),
        ));
    };
    let memory = context.memories.of(&identity);
    let now = context.world.clock.now();
    let observed = observe(context, &identity, object, &memory, now).await;
    let plan = plan::plan(&identity, object, &observed, now, &context.timings);
    let described = status::describe(object, &observed, &plan, now);
    // The record comes first: an intent that is not written down is a create that is never found again.
    let object = write(context, object, &described, &plan.actions).await?;
    for event in &plan.events {
        context.world.objects.publish_event(&object, event.warning, event.reason, &event.message).await;
    }
    let pass =
        apply::Pass { context, identity: &identity, object: &object, observed: &observed, memory: &memory };
    let outcomes = pass.apply(&plan.actions).await;
    if outcomes.contains(&Outcome::Released) {
        context.memories.forget(&identity);
        context.in_use.forget(&identity);
        return Ok(controller::Action::await_change());
    }
    let settled = apply::settle(described, &outcomes);
    write(context, &object, &settled, &[]).await?;
    let unanswered = observed.unanswered();
    let rest = memory.failures.questions(unanswered, context.world.clock.jitter());
    let requeue = match unanswered {
        // Whoever is silent is asked more and more rarely, unless the others still have something to do.
        Some(_) if plan.actions.is_empty() => rest.max(Duration::from_secs(1)),
        Some(_) => Duration::from_secs(1),
        None => plan.requeue,
    };
    Ok(controller::Action::requeue(requeue))
}

/// Writes status when it says something new.
async fn write(
    context: &Context,
    object: &MemorialStream,
    status: &MemorialStreamStatus,
    actions: &[Action],
) -> Result<MemorialStream, KubernetesError> {
    let releasing =
        actions.iter().any(|action| matches!(action, Action::RemoveFinalizer | Action::AddFinalizer));
    if releasing || object.status.as_ref().is_some_and(|before| says_the_same(before, status)) {
        return Ok(object.clone());
    }
    context.world.objects.write_status(object, status).await
}
