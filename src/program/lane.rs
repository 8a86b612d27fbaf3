//! The fast lane as a controller: sends the whole document whenever it changes, and writes what is really on
//! Program into `status.program`.

use super::document::{self, Tokens};
use crate::api::conditions::{ConditionType, Statement, Truth, find};
use crate::api::spec::State;
use crate::api::status::{ProgramStatus, same_as_written};
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::credentials::{Credentials, CredentialsInUse, DefaultSecret};
use crate::providers::Secret;
use crate::stream::account;
use crate::stream::observe::{endpoint, pod_seen};
use crate::stream::observed::{PodSeen, SetAside};
use crate::stream::pod;
use crate::stream::wanted::{broadcast_under_way, wanted};
use crate::world::{CompositorError, PodEndpoint, StoreError, World};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use memorialstream_compositor_protocol::{
    BootDocument, CompositorStatus, ControlDocument, RefusalReason, Shown,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a running Program is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// `status.program` is written at most twice a second.
const WRITE_DISTANCE: SignedDuration = SignedDuration::from_millis(500);
/// Tokens live 24 h; they are renewed at half of that.
const TOKEN_HALF_LIFE: SignedDuration = SignedDuration::from_hours(12);

/// Everything that a pass needs. Cheap to clone.
#[derive(Clone)]
pub struct ProgramLane {
    /// The world.
    pub world: World,
    /// The Secret that is used when a MemorialStream names none.
    pub default_secret: DefaultSecret,
    /// The credentials that the life-cycle lane saw work.
    pub in_use: CredentialsInUse,
    /// What is remembered, by UID.
    pub memories: Arc<Mutex<HashMap<String, Memory>>>,
}

/// What is remembered of one object; all of it can be found out again.
#[derive(Clone, Default)]
pub struct Memory {
    minted: Option<Minted>,
    sent: Option<Sent>,
    applied: Option<(Timestamp, u64)>,
    written_at: Option<Timestamp>,
}

#[derive(Clone)]
struct Minted {
    at: Timestamp,
    /// What the tokens are good for; a change of it needs new ones.
    purpose: (String, String, Secret, Vec<String>),
    tokens: Tokens,
}

#[derive(Clone)]
struct Sent {
    pod: String,
    document: ControlDocument,
}

/// What is to be said of Program.
struct Said {
    program: Option<ProgramStatus>,
    statement: Statement,
}

impl ProgramLane {
    fn memory(&self, object: &MemorialStream) -> Memory {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        self.memories.lock().unwrap_or_else(PoisonError::into_inner).get(&uid).cloned().unwrap_or_default()
    }

    fn remember(&self, object: &MemorialStream, memory: Option<Memory>) {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let mut all = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        match memory {
            Some(memory) => all.insert(uid, memory),
            None => all.remove(&uid),
        };
    }

    /// One pass.
    ///
    /// # Errors
    /// Kubernetes did not take the status.
    pub async fn reconcile(&self, object: &MemorialStream) -> Result<Action, StoreError> {
        let pods: Vec<PodSeen> = self.world.store.pods(object).iter().map(|pod| pod_seen(pod)).collect();
        let runs = matches!(wanted(object, self.world.clock.now()).state, State::Live | State::Standby)
            || object.status.as_ref().is_some_and(broadcast_under_way);
        let newest =
            pods.iter().filter(|pod| !pod.deleting && !pod.finished).max_by_key(|pod| pod.incarnation);
        let Some(pod) = newest.filter(|_| runs) else {
            self.remember(object, None);
            return self.nothing_runs(object, runs).await;
        };
        let Some(endpoint) = endpoint(&self.world, object, &pods).await else {
            return Ok(Action::requeue(LOOK));
        };
        let mut memory = self.memory(object);
        // A newer TAKE does not wait for the answer to this one.
        let said = tokio::select! {
            said = self.look_and_send(object, &pod.name, &endpoint, &mut memory) => said.ok_or(LOOK),
            () = self.world.store.superseded(object) => Err(Duration::ZERO),
        };
        let written = match said {
            Ok(said) => self.write(object, said, &mut memory).await,
            Err(pause) => Ok(pause),
        };
        self.remember(object, Some(memory));
        written.map(Action::requeue)
    }

    /// Sends the document if the pod does not have it, and says what is on Program.
    async fn look_and_send(
        &self,
        object: &MemorialStream,
        pod: &str,
        endpoint: &PodEndpoint,
        memory: &mut Memory,
    ) -> Option<Said> {
        let now = self.world.clock.now();
        let credentials = match self.credentials(object).await {
            Ok(credentials) => credentials,
            Err(SetAside { reason, message }) => return Some(refused(object, reason, message)),
        };
        let tokens = match tokens(object, &credentials, memory, now) {
            Ok(tokens) => tokens,
            Err(message) => return Some(refused(object, "TokensNotMinted", message)),
        };
        let mut document = document::document(object, &credentials.livekit.url, &tokens, now);
        let status = match self.world.compositor.status(endpoint).await {
            Ok(status) => status,
            Err(CompositorError::Unauthorized) => {
                return Some(refused(object, "Unauthorized", CompositorError::Unauthorized.to_string()));
            }
            // The life-cycle lane says what is wrong with the pod.
            Err(error) => {
                tracing::debug!(%error, pod, "no status");
                return None;
            }
        };
        if has(memory, pod, &document, &status) {
            return Some(applied(object, &status.shown, &status, memory));
        }
        document.revision = next_revision(&document, &status);
        match self.world.compositor.program(endpoint, &document).await {
            Ok(answer) => {
                tracing::info!(
                    object = object.metadata.name,
                    generation = answer.applied_generation,
                    revision = answer.applied_revision,
                    milliseconds = answer.take_milliseconds,
                    "applied"
                );
                let news =
                    memory.sent.as_ref().is_none_or(|sent| sent.document.generation != document.generation);
                if news || memory.applied.is_none() {
                    memory.applied = Some((self.world.clock.now(), answer.take_milliseconds));
                }
                self.renew_boot_secret(object, endpoint, &document).await;
                memory.sent = Some(Sent { pod: pod.to_owned(), document });
                Some(applied(object, &answer.shown, &status, memory))
            }
            Err(CompositorError::Refused(refusal)) if refusal.reason == RefusalReason::Outdated => None,
            Err(CompositorError::Refused(refusal)) => {
                Some(refused(object, reason(refusal.reason), refusal.message))
            }
            Err(error) => Some(refused(object, "CompositorNotAnswering", error.to_string())),
        }
    }

    /// Those that the room was made with: a TAKE does not fail for a Secret that is gone meanwhile, and Program does not
    /// leave the room for one that names another LiveKit.
    async fn credentials(&self, object: &MemorialStream) -> Result<Credentials, SetAside> {
        match self.in_use.of(object) {
            Some(credentials) => Ok(credentials),
            None => account::read(self.world.store.as_ref(), object, &self.default_secret).await,
        }
    }

    /// The pod boots from this copy: a restart shows the right picture with no operator alive.
    async fn renew_boot_secret(
        &self,
        object: &MemorialStream,
        endpoint: &PodEndpoint,
        document: &ControlDocument,
    ) {
        let boot = BootDocument { video: pod::video(&object.spec), control: document.clone() };
        let json = match serde_json::to_vec(&boot) {
            Ok(json) => json,
            Err(error) => return tracing::error!(%error, "the boot document cannot be written"),
        };
        let secret = pod::boot_secret(object, json, &endpoint.bearer_token);
        if let Err(error) = self.world.store.apply_secret(secret).await {
            tracing::warn!(%error, object = object.metadata.name, "the boot Secret was not renewed");
        }
    }

    async fn nothing_runs(&self, object: &MemorialStream, wanted: bool) -> Result<Action, StoreError> {
        let status = object.status.clone().unwrap_or_default();
        let statement = if wanted {
            Statement::new(ConditionType::ProgramApplied, false, "NoCompositor", "no compositor runs yet")
        } else {
            Statement::not_requested(ConditionType::ProgramApplied)
        };
        let shown = status.program.as_ref().and_then(|program| program.camera_shown_in_session);
        let program = shown.map(|session| ProgramStatus {
            summary: "none".into(),
            camera_shown_in_session: Some(session),
            ..ProgramStatus::default()
        });
        let mut memory = Memory::default();
        self.write(object, Said { program, statement }, &mut memory).await?;
        Ok(Action::requeue(if wanted { LOOK } else { LOOK * 30 }))
    }

    /// Writes `status.program` and `ProgramApplied` when they say something new, and not too often. Returns when to look
    /// again.
    async fn write(
        &self,
        object: &MemorialStream,
        said: Said,
        memory: &mut Memory,
    ) -> Result<Duration, StoreError> {
        let now = self.world.clock.now();
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
        let status = MemorialStreamStatus {
            program: said.program,
            conditions: vec![condition],
            ..MemorialStreamStatus::default()
        };
        self.world.store.write_program_status(object, &status).await?;
        memory.written_at = Some(now);
        Ok(LOOK)
    }
}

/// How long after a write at `written_at` the next one has to wait.
fn rest(written_at: Timestamp, now: Timestamp) -> Duration {
    let distance = WRITE_DISTANCE.saturating_sub(now.duration_since(written_at));
    Duration::try_from(distance).unwrap_or(Duration::ZERO)
}

/// Whether the pod has this document already.
fn has(memory: &Memory, pod: &str, document: &ControlDocument, status: &CompositorStatus) -> bool {
    memory.sent.as_ref().is_some_and(|sent| {
        let same = ControlDocument { revision: sent.document.revision, ..document.clone() } == sent.document;
        same && sent.pod == pod
            && (status.generation, status.revision) == (sent.document.generation, sent.document.revision)
    })
}

/// Documents are ordered by (generation, revision).
fn next_revision(document: &ControlDocument, status: &CompositorStatus) -> u64 {
    if status.generation == document.generation { status.revision + 1 } else { 0 }
}

fn tokens(
    object: &MemorialStream,
    credentials: &Credentials,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Tokens, String> {
    let livekit = &credentials.livekit;
    let cameras = object.spec.cameras.iter().map(|camera| camera.name.clone()).collect();
    let purpose = (document::room(object), livekit.api_key.clone(), livekit.api_secret.clone(), cameras);
    if let Some(minted) = &memory.minted
        && minted.purpose == purpose
        && now.duration_since(minted.at) < TOKEN_HALF_LIFE
    {
        return Ok(minted.tokens.clone());
    }
    let tokens = document::mint(object, credentials)?;
    memory.minted = Some(Minted { at: now, purpose, tokens: tokens.clone() });
    Ok(tokens)
}

fn applied(object: &MemorialStream, shown: &Shown, status: &CompositorStatus, memory: &Memory) -> Said {
    let before = object.status.as_ref().and_then(|status| status.program.clone()).unwrap_or_default();
    let session = crate::stream::wanted::session(&object.spec);
    let was_shown = status.camera_was_shown || !shown.sources.is_empty();
    let generation = memory.sent.as_ref().and_then(|sent| i64::try_from(sent.document.generation).ok());
    let program = ProgramStatus {
        observed_generation: generation.or(before.observed_generation),
        sources: shown.sources.clone(),
        summary: document::summary(shown),
        applied_at: memory.applied.map(|(at, _)| Time(at)).or(before.applied_at),
        take_milliseconds: memory
            .applied
            .and_then(|(_, milliseconds)| i64::try_from(milliseconds).ok())
            .or(before.take_milliseconds),
        camera_shown_in_session: if was_shown { Some(session) } else { before.camera_shown_in_session },
    };
    let asked = object.spec.program.clone().unwrap_or_default().sources.unwrap_or_default();
    let goodbye = object.status.as_ref().is_some_and(|status| status.ending_since.is_some());
    let statement = if asked == shown.sources || goodbye {
        Statement::new(ConditionType::ProgramApplied, true, "Applied", "")
    } else {
        let shows = if shown.sources.is_empty() { "the slate".into() } else { shown.sources.join(", ") };
        let message = format!("{} sends no picture: Program shows {shows}", asked.join(", "));
        Statement::new(ConditionType::ProgramApplied, false, "SourceMissing", message)
    };
    Said { program: Some(program), statement }
}

fn refused(object: &MemorialStream, reason: &'static str, message: String) -> Said {
    let program = object.status.as_ref().and_then(|status| status.program.clone());
    Said { program, statement: Statement::new(ConditionType::ProgramApplied, Truth::False, reason, message) }
}

fn reason(refusal: RefusalReason) -> &'static str {
    match refusal {
        RefusalReason::Outdated => "Outdated",
        RefusalReason::UnknownCamera => "UnknownCamera",
        RefusalReason::TooManySources => "TooManySources",
        RefusalReason::Malformed => "Malformed",
        RefusalReason::PipelineNotRunning => "PipelineNotRunning",
    }
}
