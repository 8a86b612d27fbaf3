//! One pass of the life-cycle lane.

use super::apply::{self, Outcome};
use super::backoff::Failure;
use super::context::Context;
use super::copies::{is_begun_by, keep_credentials, sweep_copies};
use super::observe::observe;
use super::observed::Created;
use super::plan::{self, Action, Event, has_finalizer};
use super::status;
use crate::api::spec::State;
use crate::api::status::{Held, Said, says_the_same};
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::service::desired::broadcast_under_way;
use crate::service::{Identity, said};
use crate::world::KubernetesError;
use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller;
use std::sync::Arc;
use std::time::Duration;

/// One pass.
///
/// # Errors
/// Kubernetes did not take a write: nothing was begun without its record. Where it refused, what is to end ended all the
/// same.
pub async fn reconcile(
    context: &Context,
    object: &MemorialStream,
) -> Result<controller::Action, KubernetesError> {
    let Some(identity) = Identity::of(object) else {
        return Err(KubernetesError::Refused(
            "an object without a namespace or a UID was never stored".into(),
        ));
    };
    if object.metadata.deletion_timestamp.is_some() && !has_finalizer(object) {
        // Nothing of ours is left; others may hold it for as long as they like.
        return Ok(controller::Action::await_change());
    }
    let memory = context.memories.of(&identity, object);
    let now = context.world.clock.now();
    let words = context.heard.words(object);
    let (stored, news, not_taken) = match hear(context, object, words.clone(), now).await {
        Ok((stored, news)) => (stored, news, None),
        Err(error) if is_refused(&error) => (heard_only(object, words), None, Some(error)),
        Err(error) => return Err(error),
    };
    let over = memory.unwritten.over(&stored);
    let object = over.as_ref().unwrap_or(&stored);
    let mut observed = observe(context, &identity, object, &memory, now).await;
    // Looking may have taken long: what is decided now, and noted, counts from now.
    let now = context.world.clock.now();
    if let Some(status) = object.status.as_ref().filter(|_| observed.start.failed()) {
        memory.unsent.did_not_follow(Created::Egress, status);
    }
    let mut plan = plan::plan(&identity, object, &observed, now, &context.timings);
    for effect in &plan.mended {
        memory.failures.worked(*effect);
        observed.backoffs.remove(effect);
    }
    // What failed last and is not even due any more was done by a call that was not answered.
    observed.backoffs.retain(|effect, backoff| {
        let due = plan.actions.iter().any(|action| action.effect() == *effect);
        let stands = due || !backoff.remaining.is_zero();
        if !stands {
            memory.failures.worked(*effect);
        }
        stands
    });
    let awaited = matches!(plan.desired.state, State::Live | State::Standby);
    let copy = match keep_credentials(context, &identity, object, &observed, &plan.actions).await {
        Ok(copy) => copy,
        Err(error) => {
            let failure = Failure::from(error);
            for action in plan.actions.iter().filter(|action| is_begun_by(action)) {
                let jitter = context.world.clock.jitter();
                memory.failures.failed(action.effect(), failure.clone(), awaited, jitter);
            }
            observed.backoffs = memory.failures.backoffs();
            plan = plan::plan(&identity, object, &observed, now, &context.timings);
            object.status.as_ref().and_then(|status| status.credentials_copy.clone())
        }
    };
    let mut described = status::describe(object, &observed, &plan, now);
    described.credentials_copy = copy;
    // The record comes first: an intent that is not written down is a create that is never found again.
    let written = match not_taken {
        Some(error) => Err(error),
        None => write(context, &stored, &described, &plan.actions).await,
    };
    let pass = |object| apply::Pass {
        context,
        identity: &identity,
        object,
        observed: &observed,
        memory: &memory,
        awaited,
    };
    let object = match written {
        Ok(object) => {
            memory.unsent.is_sent(&plan.actions, &described);
            memory.unwritten.forget();
            object
        }
        Err(error) => {
            memory.unsent.is_given_up(&plan.actions, &described);
            let is_newest = context.world.objects.superseded(&stored).now_or_never().is_none();
            if is_refused(&error) && is_newest && !awaited {
                let (ends, others): (Vec<Action>, Vec<Action>) =
                    plan.actions.into_iter().partition(|action| action.ends());
                let outcomes = pass(object).apply(&ends).await;
                let left_out = others.iter().filter_map(left_out);
                let mut settled = apply::settle(described.clone(), &outcomes);
                settled = apply::settle(settled, &left_out.collect::<Vec<_>>());
                if others.iter().any(|action| matches!(action, Action::DeleteRoom(_))) {
                    settled.room = stored.status.as_ref().and_then(|status| status.room.clone());
                }
                memory.unwritten.keep(&stored, described, settled);
                memory.beside.recorded(&observed.start);
                tell(context, &stored, news.into_iter().chain(plan.events).collect());
            }
            return Err(error);
        }
    };
    // A cache that lags does not know of the start yet whose answer this is: nothing stands in status then.
    let is_newer = object.metadata.resource_version != stored.metadata.resource_version;
    if is_newer || notes_a_start(&stored) {
        memory.beside.recorded(&observed.start);
    }
    let pass = pass(&object);
    let outcomes = pass.apply(&plan.actions).await;
    for what in outcomes.iter().filter_map(Outcome::unsent) {
        memory.unsent.did_not_follow(what, &described);
    }
    tell(context, &object, news.into_iter().chain(plan.events).collect());
    if outcomes.contains(&Outcome::Released) {
        context.memories.forget(&identity);
        if context.in_use.forget(&identity) {
            sweep_copies(context, Some(&identity)).await;
        }
        return Ok(controller::Action::await_change());
    }
    let settled = apply::settle(described, &outcomes);
    write(context, &object, &settled, &[]).await?;
    let unanswered = observed.unanswered();
    let rest = memory.failures.questions(unanswered, context.world.clock.jitter());
    let requeue = match unanswered {
        // What is on air is looked at all the same: whoever is silent is spared by who asks the questions.
        Some(_) if broadcast_under_way(&settled) => context.timings.fast,
        // Whoever is silent is asked more and more rarely, unless the others still have something to do.
        Some(_) if plan.actions.is_empty() => rest.max(Duration::from_secs(1)),
        Some(_) => Duration::from_secs(1),
        None => plan.requeue,
    };
    // A limit strikes, and the schedule goes on, whoever is silent.
    let requeue = plan.desired.until_next_change(now).map_or(requeue, |change| requeue.min(change));
    // A back-off that is over is looked at, so that status does not go on telling of it.
    let over =
        observed.backoffs.values().map(|backoff| backoff.remaining).filter(|left| !left.is_zero()).min();
    let requeue = over.map_or(requeue, |over| requeue.min(over + Duration::from_millis(50)));
    context.memories.put_away(&identity, memory);
    Ok(controller::Action::requeue(requeue))
}

fn notes_a_start(object: &MemorialStream) -> bool {
    let egress = object.status.as_ref().and_then(|status| status.egress.as_ref());
    egress.is_some_and(|egress| egress.starting.is_some())
}

/// The API server looked at the write and does not take it. Who merely does not answer may hold a newer object.
fn is_refused(error: &KubernetesError) -> bool {
    matches!(error, KubernetesError::Refused(_) | KubernetesError::Forbidden(_))
}

/// The object with people's words, where status cannot be told of them.
fn heard_only(object: &MemorialStream, words: Option<Said>) -> MemorialStream {
    let mut heard = object.clone();
    // Since when what they ask for is wanted cannot be noted: limits count on.
    heard.status.get_or_insert_default().said = words;
    said::with_held_words(&heard)
}

/// What came of an action that was left out: its intent was noted, and nothing was sent.
fn left_out(action: &Action) -> Option<Outcome> {
    match action {
        Action::CreateStream(_) => Some(Outcome::StreamNotCreated),
        Action::StartEgress { .. } => Some(Outcome::EgressNotStarted),
        _ => None,
    }
}

/// Publishes Events. No end waits for that.
fn tell(context: &Context, object: &MemorialStream, events: Vec<Event>) {
    if events.is_empty() {
        return;
    }
    let (objects, object) = (Arc::clone(&context.world.objects), object.clone());
    tokio::spawn(async move {
        for Event { warning, reason, message } in events {
            objects.publish_event(&object, warning, reason, &message).await;
        }
    });
}

/// The object with what people said still standing in it where it vanished. What they say now is written down before
/// anything else: a GitOps tool may take it away within seconds.
async fn hear(
    context: &Context,
    object: &MemorialStream,
    said: Option<Said>,
    now: Timestamp,
) -> Result<(MemorialStream, Option<Event>), KubernetesError> {
    let before = object.status.clone().unwrap_or_default();
    let object = if before.said == said {
        object.clone()
    } else {
        context.world.objects.write_status(object, &said::heard(&before, said)).await?
    };
    let mut whole = said::with_held_words(&object);
    let held = said::held(&object, &whole, now);
    let news = match &held {
        Some(held) if before.held.is_none() => Some(told(context, &object, held).await),
        _ => None,
    };
    if let Some(status) = whole.status.as_mut() {
        status.held = held;
    }
    Ok((whole, news))
}

/// Who took people's words away, and that they hold.
async fn told(context: &Context, object: &MemorialStream, held: &Held) -> Event {
    let words = [
        held.state.map(|state| format!("state {}", state.as_str())),
        held.session.map(|session| format!("session {session}")),
        held.sources.as_ref().map(|_| "program".to_owned()),
    ];
    let words = words.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let manager = context.world.objects.last_manager(object).await;
    let manager = manager.map_or_else(String::new, |manager| format!(" by {manager}"));
    // Where only the Program is held, Scheduled would take the service off air.
    let how = match held.state {
        Some(_) => "; set spec.state to Scheduled to give the word back to the schedule",
        None => "",
    };
    Event {
        warning: false,
        reason: "WordsHeld",
        message: format!(
            "{words} vanished from the spec{manager} and is held: it goes on until a person says otherwise{how}"
        ),
    }
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
    let written = context.world.objects.write_status(object, status).await?;
    Ok(said::with_held_words(&written))
}
