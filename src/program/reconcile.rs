//! One pass of the fast lane: sends the whole document whenever it changes, and writes what is really on Program into
//! `status.program`.

use super::report::{self, Said, Take, applied, refused};
use super::tokens::{Minted, tokens};
use crate::api::conditions::{ConditionType, find};
use crate::api::status::{OwnedByProgram, same_as_written};
use crate::api::{MemorialStream, Reason};
use crate::service::credentials::{Credentials, CredentialsInUse, DefaultSecret, SetAside, read_usable};
use crate::service::desired::{Desired, desired};
use crate::service::pod::PodSeen;
use crate::service::said::with_held_words;
use crate::service::trigger::runs_program;
use crate::service::{Identity, control_document, pod};
use crate::world::{CompositorError, KubernetesError, PodEndpoint, World};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use memorialstream_compositor_protocol::{
    BootDocument, CompositorStatus, ControlDocument, DocumentKey, RefusalReason,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a running Program is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What waits for its time is looked at once in a while all the same: the wall clock may be set forward meanwhile.
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// `status.program` is written at most twice a second.
const WRITE_DISTANCE: SignedDuration = SignedDuration::from_millis(500);

/// Everything that a pass needs. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The world.
    pub world: World,
    /// The Secret that is used when a MemorialStream names none.
    pub default_secret: DefaultSecret,
    /// The credentials that the life-cycle lane saw work.
    pub in_use: CredentialsInUse,
    /// What is remembered, by UID.
    pub memories: Memories,
}

/// What is remembered of one object; all of it can be found out again.
#[derive(Clone, Default)]
struct Memory {
    minted: Option<Minted>,
    /// A pod that answered, and how it was asked: a TAKE does not wait for a Secret.
    reached: Option<(String, PodEndpoint)>,
    sent: Option<Sent>,
    /// What the pod boots from was not renewed since.
    boot_is_old: bool,
    applied: Option<(Timestamp, u64)>,
    written_at: Option<Timestamp>,
}

impl Memory {
    /// How this pod was reached before.
    fn reached(&self, pod: &PodSeen) -> Option<PodEndpoint> {
        let (name, endpoint) = self.reached.as_ref()?;
        (*name == pod.name && pod.ip.as_ref() == Some(&endpoint.ip)).then(|| endpoint.clone())
    }

    /// The document as it follows the one that this pod was sent last, where it says something else.
    fn next(&self, pod: &str, document: &ControlDocument) -> Option<ControlDocument> {
        let Sent { document: before, .. } = self.sent.as_ref().filter(|sent| sent.pod == pod)?;
        let next = document.clone().for_pod(before.protocol_version);
        let revision = next_revision(&next, before.key());
        let same = ControlDocument { revision: before.revision, ..next.clone() } == *before;
        (!same).then_some(ControlDocument { revision, ..next })
    }

    fn take(&self) -> Take {
        let sent = self.sent.as_ref();
        let generation = sent.and_then(|sent| i64::try_from(sent.document.generation).ok());
        Take { generation, applied: self.applied }
    }
}

#[derive(Clone)]
struct Sent {
    pod: String,
    document: ControlDocument,
}

/// What is remembered, by UID.
#[derive(Clone, Default)]
pub struct Memories(Arc<Mutex<HashMap<String, Memory>>>);

impl Memories {
    fn of(&self, identity: &Identity) -> Memory {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&identity.uid).cloned().unwrap_or_default()
    }

    fn keep(&self, identity: &Identity, memory: Option<Memory>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match memory {
            Some(memory) => all.insert(identity.uid.clone(), memory),
            None => all.remove(&identity.uid),
        };
    }
}

/// One pass.
///
/// # Errors
/// Kubernetes did not take the status.
pub async fn reconcile(context: &Context, object: &MemorialStream) -> Result<Action, KubernetesError> {
    let Some(identity) = Identity::of(object) else {
        return Err(KubernetesError::Refused(
            "an object without a namespace or a UID was never stored".into(),
        ));
    };
    let world = &context.world;
    let now = world.clock.now();
    let pods = pod::pods_of(world, object);
    // What vanished from the spec goes on.
    let whole = with_held_words(object);
    let desired = desired(&whole, now);
    let runs = runs_program(&whole, &desired);
    let Some(pod) = pod::in_use(&pods).filter(|_| runs) else {
        context.memories.keep(&identity, None);
        let said = report::nothing_runs(&whole, runs);
        write(context, object, said, &mut Memory::default(), now).await?;
        // Whatever lets it run wakes it, but for the time.
        return Ok(match desired.until_next_change(now) {
            _ if runs => Action::requeue(LOOK),
            Some(next) => Action::requeue(next.clamp(LOOK, LONGEST_REST)),
            None => Action::await_change(),
        });
    };
    let mut memory = context.memories.of(&identity);
    let endpoint = match memory.reached(pod) {
        Some(endpoint) => endpoint,
        None => match pod::endpoint(world, &identity, &pods).await {
            Some(endpoint) => endpoint,
            None => return Ok(Action::requeue(LOOK)),
        },
    };
    let pass = Pass {
        context,
        identity: &identity,
        object: &whole,
        desired: &desired,
        endpoint: &endpoint,
        incarnation: pod.incarnation,
        now,
    };
    // A newer TAKE does not wait for the answer to this one. What this one says is written down all the same: a GitOps tool
    // may take it away before the pod has answered.
    let (recorded, said) = tokio::join!(record(context, object, &whole), async {
        tokio::select! {
            biased;
            said = pass.look_and_send(&pod.name, &mut memory) => said.ok_or(LOOK),
            () = world.objects.superseded(object) => Err(Duration::ZERO),
        }
    });
    recorded?;
    let written = match said {
        Ok(said) => write(context, object, said, &mut memory, world.clock.now()).await,
        Err(pause) => Ok(pause),
    };
    if let Some(document) =
        memory.sent.as_ref().filter(|_| memory.boot_is_old).map(|sent| sent.document.clone())
    {
        // Nor does a newer TAKE wait for this; it writes its own.
        tokio::select! {
            biased;
            written = pass.renew_boot_secret(document) => memory.boot_is_old = !written,
            () = world.objects.superseded(object) => {}
        }
    }
    context.memories.keep(&identity, Some(memory));
    written.map(Action::requeue)
}

struct Pass<'a> {
    context: &'a Context,
    identity: &'a Identity,
    object: &'a MemorialStream,
    desired: &'a Desired,
    endpoint: &'a PodEndpoint,
    incarnation: i64,
    now: Timestamp,
}

impl Pass<'_> {
    /// Sends the document if the pod does not have it, and says what is on Program.
    async fn look_and_send(&self, pod: &str, memory: &mut Memory) -> Option<Said> {
        let (object, world) = (self.object, &self.context.world);
        let credentials = match self.credentials().await {
            Ok(credentials) => credentials,
            Err(SetAside { reason, message }) => return Some(refused(object, reason, message)),
        };
        let tokens = match tokens(object, &credentials, &mut memory.minted, self.now) {
            Ok(tokens) => tokens,
            Err(message) => return Some(refused(object, Reason::TokensNotMinted, message)),
        };
        let document = control_document::document(object, &credentials.livekit.url, &tokens, self.now);
        if let Some(next) = memory.next(pod, &document) {
            // A TAKE does not ask first what the pod has.
            if let Ok(said) = self.send(pod, next, memory).await {
                return Some(said);
            }
            memory.sent = None;
        }
        let status = match world.compositor.status(self.endpoint).await {
            Ok(status) => status,
            // The Secret may say something else by now.
            Err(CompositorError::Unauthorized) if memory.reached.take().is_some() => return None,
            Err(CompositorError::Unauthorized) => {
                return Some(refused(
                    object,
                    Reason::Unauthorized,
                    CompositorError::Unauthorized.to_string(),
                ));
            }
            // The life-cycle lane says what is wrong with the pod.
            Err(error) => {
                tracing::debug!(%error, pod, "no status");
                return None;
            }
        };
        memory.reached = Some((pod.to_owned(), self.endpoint.clone()));
        let mut document = document.for_pod(status.protocol_version);
        if has(memory, pod, &document, &status) {
            let shown = &status.shown;
            return Some(applied(object, self.desired, shown, status.camera_was_shown, &memory.take()));
        }
        document.revision = next_revision(&document, status.key());
        match self.send(pod, document, memory).await {
            Ok(said) => Some(said),
            Err(CompositorError::Refused(refusal)) if refusal.reason == RefusalReason::Outdated => None,
            Err(CompositorError::Refused(refusal)) => {
                Some(refused(object, report::reason(refusal.reason), refusal.message))
            }
            Err(error) => Some(refused(object, Reason::CompositorNotAnswering, error.to_string())),
        }
    }

    /// Sends the document, and says what is on Program. Whether a camera was shown before in this session the pod says at
    /// the next look: what it said until now may be of an earlier one.
    async fn send(
        &self,
        pod: &str,
        document: ControlDocument,
        memory: &mut Memory,
    ) -> Result<Said, CompositorError> {
        let (object, world) = (self.object, &self.context.world);
        let answer = world.compositor.program(self.endpoint, &document).await?;
        tracing::info!(
            object = %self.identity,
            generation = answer.applied_generation,
            revision = answer.applied_revision,
            milliseconds = answer.take_milliseconds,
            "applied"
        );
        let news = memory.sent.as_ref().is_none_or(|sent| sent.document.generation != document.generation);
        if news || memory.applied.is_none() {
            memory.applied = Some((world.clock.now(), answer.take_milliseconds));
        }
        memory.sent = Some(Sent { pod: pod.to_owned(), document });
        memory.boot_is_old = true;
        Ok(applied(object, self.desired, &answer.shown, false, &memory.take()))
    }

    /// Those that the room was made with: a TAKE does not fail for a Secret that is gone meanwhile, and Program does not
    /// leave the room for one that names another LiveKit.
    async fn credentials(&self) -> Result<Credentials, SetAside> {
        let Context { in_use, default_secret, world, .. } = self.context;
        if let Some(remembered) = in_use.remembered(self.identity) {
            return Ok(remembered);
        }
        let secrets = world.secrets.as_ref();
        match read_usable(secrets, self.object, default_secret).await {
            Ok(credentials) => Ok(credentials),
            Err(problem) => in_use.of(secrets, self.identity, self.object).await.ok_or(problem),
        }
    }

    /// The pod boots from this copy: a restart shows the right picture with no operator alive. True once it is written.
    async fn renew_boot_secret(&self, document: ControlDocument) -> bool {
        let boot = BootDocument { video: pod::video(&self.object.spec), control: document };
        let json = match serde_json::to_vec(&boot) {
            Ok(json) => json,
            Err(error) => {
                tracing::error!(%error, "the boot document cannot be written");
                return false;
            }
        };
        let secret = pod::boot_secret(self.object, json, &self.endpoint.bearer_token, self.incarnation);
        let written = self.context.world.secrets.apply_secret(secret).await;
        if let Err(error) = &written {
            tracing::warn!(%error, object = %self.identity, "the boot Secret was not renewed");
        }
        written.is_ok()
    }
}

/// Writes down what people say of the Program now.
async fn record(
    context: &Context,
    object: &MemorialStream,
    whole: &MemorialStream,
) -> Result<(), KubernetesError> {
    let before = object.status.clone().unwrap_or_default();
    let program = report::with_words(before.program.clone().unwrap_or_default(), whole);
    let news = before.program.as_ref().is_none_or(|before| before.said != program.said);
    if object.spec.program.is_none() || !news {
        return Ok(());
    }
    let condition = find(&before.conditions, ConditionType::ProgramApplied).cloned();
    let status = OwnedByProgram { program: Some(program), conditions: condition.into_iter().collect() };
    context.world.objects.write_program_status(object, &status).await
}

/// Writes `status.program` and `ProgramApplied` when they say something new, and not too often. Returns when to look
/// again.
async fn write(
    context: &Context,
    object: &MemorialStream,
    said: Said,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Duration, KubernetesError> {
    let before = object.status.clone().unwrap_or_default();
    let condition = said.statement.into_condition(&before.conditions, object.metadata.generation, now);
    let same = same_as_written(&before.program, &said.program)
        && same_as_written(&find(&before.conditions, ConditionType::ProgramApplied), &Some(&condition));
    if same {
        return Ok(LOOK);
    }
    let next = memory.written_at.map_or(Duration::ZERO, |at| rest(at, now));
    if next > Duration::ZERO {
        return Ok(next);
    }
    let status = OwnedByProgram { program: said.program, conditions: vec![condition] };
    context.world.objects.write_program_status(object, &status).await?;
    memory.written_at = Some(now);
    Ok(LOOK)
}

/// How long after a write at `written_at` the next one has to wait. A clock that went back says nothing.
fn rest(written_at: Timestamp, now: Timestamp) -> Duration {
    let since = now.duration_since(written_at);
    if since.is_negative() {
        return Duration::ZERO;
    }
    Duration::try_from(WRITE_DISTANCE.saturating_sub(since)).unwrap_or(Duration::ZERO)
}

/// Whether the pod has this document already.
fn has(memory: &Memory, pod: &str, document: &ControlDocument, status: &CompositorStatus) -> bool {
    memory.sent.as_ref().is_some_and(|sent| {
        let same = ControlDocument { revision: sent.document.revision, ..document.clone() } == sent.document;
        same && sent.pod == pod && status.key() == sent.document.key()
    })
}

/// The revision with which `document` comes after what the pod has.
fn next_revision(document: &ControlDocument, has: DocumentKey) -> u64 {
    if has.generation == document.generation { has.revision.saturating_add(1) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_revision_that_a_pod_claims_to_have_is_too_high() {
        let document = ControlDocument { generation: 7, ..ControlDocument::default() };
        let next = |generation, revision| next_revision(&document, DocumentKey { generation, revision });
        assert_eq!((next(7, 3), next(6, 3), next(7, u64::MAX)), (4, 0, u64::MAX));
    }
}
