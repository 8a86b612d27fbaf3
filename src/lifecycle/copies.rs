//! Copies of the credentials in use, in the operator's own namespace: each exists before the first thing that was made with
//! it, and goes after the last.

use super::context::Context;
use super::observed::Observed;
use super::plan::{Action, has_finalizer};
use crate::api::MemorialStream;
use crate::service::Identity;
use crate::service::credentials::Access;
use crate::world::KubernetesError;
use std::time::Duration;

/// Between two looks for copies that nobody uses: one is left only by an operator that dies between two calls.
const SWEEP: Duration = Duration::from_secs(3600);

/// Keeps the credentials with which both providers let us in, and returns the name of their copy. What else there is to do
/// does not wait for it.
///
/// # Errors
/// There is none, and these actions would begin something that nobody could end one day.
pub(super) async fn keep_credentials(
    context: &Context,
    identity: &Identity,
    object: &MemorialStream,
    observed: &Observed,
    actions: &[Action],
) -> Result<Option<String>, KubernetesError> {
    let before = object.status.as_ref().and_then(|status| status.credentials_copy.clone());
    let (Access::Granted { environment, .. }, Some(credentials)) = (&observed.access, &observed.credentials)
    else {
        return Ok(before);
    };
    let both_accept = observed.rooms.known().is_some();
    if !both_accept || !has_finalizer(object) {
        return Ok(before);
    }
    let Context { in_use, world, .. } = context;
    let secrets = world.secrets.as_ref();
    // Where the Secret is set aside in part, what is used instead is kept, for the fast lane goes by it too; where it is set
    // aside as a whole, nothing is new.
    if observed.set_aside.is_some()
        && in_use.of(secrets, identity, object).await.as_ref() == Some(credentials)
    {
        // A status that names it may not have been taken.
        return Ok(in_use.name(identity).or(before));
    }
    let environment = &environment.environment_id;
    match in_use.keep(secrets, identity, object, environment, credentials).await {
        Ok(name) => Ok(Some(name)),
        Err(error) if actions.iter().any(is_begun_by) => Err(error),
        Err(error) => {
            tracing::warn!(%error, object = %identity, "the copy of the credentials was not renewed");
            Ok(before)
        }
    }
}

/// Whether something begins by it at a provider, perhaps in another account than all before.
pub(super) fn is_begun_by(action: &Action) -> bool {
    matches!(action, Action::CreateStream(_) | Action::CreateRoom(_))
}

/// Deletes the copies of credentials that no object uses any more, `released` set apart: the cache may still hold it.
pub(super) async fn sweep_copies(context: &Context, released: Option<&Identity>) {
    let is_released = |object: &MemorialStream| {
        released.is_some_and(|released| object.metadata.uid.as_ref() == Some(&released.uid))
    };
    let objects = context.world.objects.memorial_streams();
    let objects = objects.iter().filter(|object| !is_released(object));
    let named = objects.filter_map(|object| object.status.as_ref()?.credentials_copy.clone());
    let named = named.chain(context.world.objects.copies_of_unreadable()).collect();
    if let Err(error) = context.in_use.sweep(context.world.secrets.as_ref(), &named).await {
        tracing::warn!(%error, "copies of credentials that nobody uses may be left until the next look for them");
    }
}

/// Deletes now and then, from the start on, what nobody uses any more.
pub async fn keep_sweeping(context: &Context) {
    loop {
        sweep_copies(context, None).await;
        tokio::time::sleep(SWEEP).await;
    }
}
