//! Does what was planned, in order, and returns what came of it.

use super::backoff::{Effect, Failure, FailureClass, Part};
use super::context::{Context, Memory};
use super::observed::{Created, Observed};
use super::plan::{self, Action};
use crate::api::names::PROGRAM_IDENTITY;
use crate::api::{MemorialStream, MemorialStreamStatus, Reason};
use crate::providers::livekit::ProgramEgress;
use crate::providers::{Cause, ErrorClass, ProviderError};
use crate::service::credentials::Credentials;
use crate::service::{Identity, control_document, pod};
use crate::world::{CompositorError, KubernetesError};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use memorialstream_compositor_protocol::{PROTOCOL_VERSION, RtmpDestination, SenderRequest};
use std::sync::Arc;

/// What fails when a start beside the lane fails.
const START: Effect = Effect::making(Part::Sender);

/// Of a room's deletion: who may come back has so long, more or less.
const WORTH_A_WRITE: SignedDuration = SignedDuration::from_secs(2);

/// What came of one action, as far as status must know it before the next look.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A Mux live stream exists now.
    StreamCreated(String),
    /// None was created, for certain.
    StreamNotCreated,
    /// No egress was asked for, for certain.
    EgressNotStarted,
    /// A Mux live stream is gone.
    StreamDeleted(String),
    /// A room was deleted, at this time: the write before it may have taken long, or the deletion itself.
    RoomDeleted(Timestamp),
    /// The compositor pod that status records exists for certain.
    PodMade,
    /// The object is free to go.
    Released,
}

impl Outcome {
    /// The create that was not sent.
    pub fn unsent(&self) -> Option<Created> {
        match self {
            Self::StreamNotCreated => Some(Created::Stream),
            Self::EgressNotStarted => Some(Created::Egress),
            _ => None,
        }
    }
}

/// What the actions of one pass need.
pub struct Pass<'a> {
    /// The lane.
    pub context: &'a Context,
    /// Who the object is.
    pub identity: &'a Identity,
    /// The object, as it was written last.
    pub object: &'a MemorialStream,
    /// What was seen.
    pub observed: &'a Observed,
    /// What is remembered.
    pub memory: &'a Arc<Memory>,
    /// The service is one that people rehearse or watch.
    pub awaited: bool,
}

/// Status after the outcomes. Pure.
pub fn settle(mut status: MemorialStreamStatus, outcomes: &[Outcome]) -> MemorialStreamStatus {
    for outcome in outcomes {
        let mux = status.mux.get_or_insert_default();
        match outcome {
            Outcome::StreamCreated(id) => {
                mux.stream_id = Some(id.clone());
                mux.creating = None;
            }
            Outcome::StreamNotCreated => mux.creating = None,
            Outcome::EgressNotStarted => {
                if let Some(egress) = status.egress.as_mut() {
                    egress.starting = None;
                }
            }
            Outcome::StreamDeleted(id) if mux.stream_id.as_ref() == Some(id) => {
                mux.stream_id = None;
                mux.playback_ids = Vec::new();
                status.playback_url = None;
            }
            Outcome::RoomDeleted(at) => {
                let noted = status.room.as_mut().and_then(|room| room.deleted_at.as_mut());
                if let Some(noted) = noted.filter(|noted| at.duration_since(noted.0) >= WORTH_A_WRITE) {
                    *noted = Time(*at);
                }
            }
            Outcome::PodMade => status.compositor.get_or_insert_default().made = true,
            Outcome::StreamDeleted(_) | Outcome::Released => {}
        }
    }
    status
}

struct ActionError {
    class: FailureClass,
    reason: Reason,
    message: String,
    /// It certainly did not happen.
    certain: bool,
}

impl ActionError {
    /// What the action needs was not seen in this pass: it was not tried.
    fn unseen(reason: Reason, message: &str) -> Self {
        Self { class: FailureClass::Transient, reason, message: message.into(), certain: true }
    }
}

impl From<ActionError> for Failure {
    fn from(error: ActionError) -> Self {
        Self { class: error.class, reason: error.reason, message: error.message }
    }
}

impl From<KubernetesError> for Failure {
    fn from(error: KubernetesError) -> Self {
        ActionError::from(error).into()
    }
}

impl From<ProviderError> for ActionError {
    fn from(error: ProviderError) -> Self {
        Self {
            class: FailureClass::of(&error),
            reason: reason(&error),
            certain: error.class != ErrorClass::InDoubt,
            message: error.message,
        }
    }
}

impl From<KubernetesError> for ActionError {
    fn from(error: KubernetesError) -> Self {
        let (class, reason) = match error {
            KubernetesError::Conflict => (FailureClass::Raced, Reason::KubernetesRefused),
            KubernetesError::Refused(_) => (FailureClass::Admission, Reason::KubernetesRefused),
            KubernetesError::NotOurs(_) => (FailureClass::Admission, Reason::SecretNotOurs),
            KubernetesError::Forbidden(_) => (FailureClass::Admission, Reason::Forbidden),
            _ => (FailureClass::Transient, Reason::KubernetesRefused),
        };
        Self { class, reason, message: error.to_string(), certain: true }
    }
}

impl From<CompositorError> for ActionError {
    fn from(error: CompositorError) -> Self {
        Self {
            class: FailureClass::Transient,
            reason: Reason::CompositorRefused,
            message: error.to_string(),
            certain: true,
        }
    }
}

/// The word for a condition.
pub fn reason(error: &ProviderError) -> Reason {
    match (error.cause, error.class) {
        (Some(Cause::ServerTooOld), _) => Reason::ServerTooOld,
        (Some(Cause::NoCapacity), _) | (_, ErrorClass::Busy) => Reason::WaitingForCapacity,
        (_, ErrorClass::Credentials) => Reason::CredentialsRefused,
        (_, ErrorClass::RateLimited { .. }) => Reason::RateLimited,
        (_, ErrorClass::Terminal) => Reason::Refused,
        (_, ErrorClass::NotFound) => Reason::NotFound,
        (_, ErrorClass::Transient | ErrorClass::InDoubt) => Reason::ProviderNotAnswering,
    }
}

impl Pass<'_> {
    /// Does the actions in order. Stops at the first that failed, unless the end must go on without it.
    pub async fn apply(&self, actions: &[Action]) -> Vec<Outcome> {
        let failures = &self.memory.failures;
        let mut outcomes = Vec::new();
        for (index, action) in actions.iter().enumerate() {
            // Whether a worker is there is asked every two seconds.
            if !matches!(action, Action::AskWorker(_)) {
                tracing::info!(object = %self.identity, ?action, "acting");
            }
            match self.perform(action).await {
                Ok(outcome) => {
                    outcomes.extend(outcome);
                    if !action.runs_beside() {
                        failures.worked(action.effect());
                    }
                }
                Err(failure) => {
                    let (reason, message) = (failure.reason, &failure.message);
                    tracing::warn!(object = %self.identity, ?action, %reason, message, "failed");
                    if matches!(action, Action::CreateStream(_)) && failure.certain {
                        outcomes.push(Outcome::StreamNotCreated);
                    }
                    let jitter = self.context.world.clock.jitter();
                    // Settings wait for nobody.
                    let awaited = self.awaited && !matches!(action, Action::UpdateStream(..));
                    failures.failed(action.effect(), failure.into(), awaited, jitter);
                    if !action.may_fail() {
                        let untried = &actions[index..];
                        if untried.iter().any(|action| matches!(action, Action::StartEgress { .. })) {
                            outcomes.push(Outcome::EgressNotStarted);
                        }
                        break;
                    }
                }
            }
        }
        outcomes
    }

    async fn perform(&self, action: &Action) -> Result<Option<Outcome>, ActionError> {
        let world = &self.context.world;
        match action {
            Action::AddFinalizer => {
                world.objects.set_finalizer(self.object, true).await?;
                return Ok(None);
            }
            Action::RemoveFinalizer => {
                // The answer may be lost, and the object gone all the same.
                self.context.let_go.note(&self.identity.uid);
                let taken = world.objects.set_finalizer(self.object, false).await;
                if matches!(taken, Err(KubernetesError::Conflict | KubernetesError::Refused(_))) {
                    self.context.let_go.take(&self.identity.uid);
                }
                taken?;
                return Ok(Some(Outcome::Released));
            }
            Action::RecordAbandoned(abandoned) => {
                let record = abandoned.record(self.identity, &self.context.default_secret.namespace);
                tracing::warn!(object = %self.identity, ?abandoned, "abandoned");
                world.objects.keep_record(record).await?;
                return Ok(None);
            }
            Action::DeletePod(name) => {
                world.pods.delete_pod(&self.identity.namespace, name).await?;
                return Ok(None);
            }
            _ => {}
        }
        let Some(credentials) = &self.observed.credentials else {
            return Err(ActionError::unseen(
                Reason::CredentialsMissing,
                "the credentials were not read in this pass",
            ));
        };
        let (mux, livekit) = (&credentials.mux, &credentials.livekit);
        match action {
            Action::AddFinalizer
            | Action::RemoveFinalizer
            | Action::RecordAbandoned(_)
            | Action::DeletePod(_) => {}
            Action::CreateStream(new) => {
                let stream = world.mux.create_stream(mux, new, self.awaited).await?;
                return Ok(Some(Outcome::StreamCreated(stream.id)));
            }
            Action::EnableStream(id) => world.mux.enable_stream(mux, id).await?,
            Action::DisableStream(id) => world.mux.disable_stream(mux, id).await?,
            Action::CompleteStream(id) => world.mux.complete_stream(mux, id).await?,
            Action::UpdateStream(id, update) => world.mux.update_stream(mux, id, update).await?,
            Action::DeleteStream(id) => {
                world.mux.delete_stream(mux, id).await?;
                return Ok(Some(Outcome::StreamDeleted(id.clone())));
            }
            Action::CreateRoom(name) => {
                let marker = self.identity.marker(&self.context.cluster_id);
                world.livekit.create_room(livekit, name, &marker).await?;
            }
            Action::DeleteRoom(name) => {
                world.livekit.delete_room(livekit, name).await?;
                return Ok(Some(Outcome::RoomDeleted(world.clock.now())));
            }
            Action::CreatePod { name, incarnation } => {
                self.create_pod(credentials, name, *incarnation).await?;
                return Ok(Some(Outcome::PodMade));
            }
            Action::RenewBoot { incarnation } => self.write_boot(credentials, *incarnation, true).await?,
            Action::StartEgress { room } => self.start_egress(credentials, room)?,
            Action::StopEgress(id) | Action::StopSurplus(id) => {
                self.stop_egress(credentials, id, action.effect())
            }
            Action::AskWorker(id) => self.ask_worker(credentials, id),
            Action::StartSender { revision } => self.send(Some(self.ingest()?), *revision).await?,
            Action::StopSender { revision } => self.send(None, *revision).await?,
            Action::KeepStreamKey(key) => {
                world.secrets.apply_secret(key.secret(self.object, self.identity)).await?;
            }
        }
        Ok(None)
    }

    fn ingest(&self) -> Result<RtmpDestination, ActionError> {
        plan::ingest(self.object, self.observed).ok_or_else(|| {
            ActionError::unseen(Reason::MuxStreamMissing, "the stream key was not seen in this pass")
        })
    }

    async fn send(&self, rtmp: Option<RtmpDestination>, revision: u64) -> Result<(), ActionError> {
        let Some(endpoint) = &self.observed.endpoint else {
            return Err(CompositorError::Unreachable("its pod has no address".into()).into());
        };
        let version = match &self.observed.compositor {
            Some(Ok(compositor)) => compositor.protocol_version,
            _ => 0,
        };
        let request = SenderRequest { rtmp, revision }.for_pod(version);
        self.context.world.compositor.sender(endpoint, &request).await?;
        Ok(())
    }

    async fn create_pod(
        &self,
        credentials: &Credentials,
        name: &str,
        incarnation: i64,
    ) -> Result<(), ActionError> {
        self.write_boot(credentials, incarnation, false).await?;
        let pod = pod::pod(self.object, name, incarnation, &self.context.pod_template);
        self.context.world.pods.create_pod(pod).await?;
        Ok(())
    }

    async fn write_boot(
        &self,
        credentials: &Credentials,
        incarnation: i64,
        exists: bool,
    ) -> Result<(), ActionError> {
        let world = &self.context.world;
        // A create whose answer was lost may have made the pod: it goes on with the token that it booted with.
        let kept = pod::kept_boot(world, self.identity, incarnation, exists).await?;
        let version = kept.as_ref().map_or(PROTOCOL_VERSION, |kept| kept.protocol_version);
        let token = kept.map_or_else(|| world.clock.unguessable(), |kept| kept.bearer_token);
        let boot = control_document::boot(world.clock.as_ref(), self.object, credentials, version).map_err(
            |message| ActionError {
                class: FailureClass::Terminal,
                reason: Reason::BootDocument,
                message,
                certain: true,
            },
        )?;
        world.secrets.apply_secret(pod::boot_secret(self.object, boot, &token, incarnation)).await?;
        Ok(())
    }

    /// Begins a start and returns at once: LiveKit may take up to 90 s, and the lane must stay free to end or delete.
    fn start_egress(&self, credentials: &Credentials, room: &str) -> Result<(), ActionError> {
        let rtmp_url = self.ingest()?.location();
        let video = pod::video(&self.object.spec);
        let request = ProgramEgress {
            room: room.to_owned(),
            participant_identity: PROGRAM_IDENTITY.to_owned(),
            rtmp_url,
            width: video.width,
            height: video.height,
            frames_per_second: video.frames_per_second,
            bitrate_kbps: video.bitrate_kbps,
            with_audio: true,
        };
        self.memory.beside.start_begins();
        let (context, livekit) = (self.context.clone(), credentials.livekit.clone());
        let (memory, identity) = (Arc::clone(self.memory), self.identity.clone());
        let reference = kube::runtime::reflector::ObjectRef::from_obj(self.object);
        tokio::spawn(async move {
            let result = context.world.livekit.start_egress(&livekit, &request).await;
            match &result {
                Ok(_) => memory.failures.worked(START),
                Err(error) => {
                    tracing::warn!(%error, object = %identity, "the egress did not start");
                    let failure = ActionError::from(error.clone()).into();
                    memory.failures.failed(START, failure, true, context.world.clock.jitter());
                }
            }
            memory.beside.start_finished(result);
            context.wake(reference);
        });
        Ok(())
    }

    /// Begins a stop and returns at once: where a worker is dead LiveKit answers only after its own time-out.
    fn stop_egress(&self, credentials: &Credentials, id: &str, effect: Effect) {
        if !self.memory.beside.stop_begins(id) {
            return;
        }
        let (context, livekit) = (self.context.clone(), credentials.livekit.clone());
        let (memory, identity, id) = (Arc::clone(self.memory), self.identity.clone(), id.to_owned());
        let reference = kube::runtime::reflector::ObjectRef::from_obj(self.object);
        tokio::spawn(async move {
            match context.world.livekit.stop_egress(&livekit, &id).await {
                Ok(()) => memory.failures.worked(effect),
                Err(error) => {
                    tracing::warn!(%error, object = %identity, egress = id, "the egress was not stopped");
                    let failure = ActionError::from(error).into();
                    memory.failures.failed(effect, failure, false, context.world.clock.jitter());
                }
            }
            memory.beside.stop_finished(&id);
            context.wake(reference);
        });
    }

    /// Begins to ask and returns at once.
    fn ask_worker(&self, credentials: &Credentials, id: &str) {
        if !self.memory.beside.worker_is_asked(id) {
            return;
        }
        let (context, livekit) = (self.context.clone(), credentials.livekit.clone());
        let (memory, id) = (Arc::clone(self.memory), id.to_owned());
        let reference = kube::runtime::reflector::ObjectRef::from_obj(self.object);
        tokio::spawn(async move {
            let answered = context.world.livekit.ask_worker(&livekit, &id).await;
            if let Err(error) = &answered {
                tracing::debug!(%error, egress = id, "nobody can say whether the worker is there");
            }
            let silent = matches!(answered, Ok(false));
            memory.beside.worker_answered(&id, answered.ok());
            if silent {
                context.wake(reference);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::RoomStatus;

    /// Devices of a room are waited for from when it was closed, not from when that was written down.
    #[test]
    fn a_room_is_deleted_when_livekit_did_so() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let deleted_at = |second| {
            let room = RoomStatus { deleted_at: Some(Time(at(100))), ..RoomStatus::default() };
            let status = MemorialStreamStatus { room: Some(room), ..MemorialStreamStatus::default() };
            settle(status, &[Outcome::RoomDeleted(at(second))]).room.unwrap().deleted_at.unwrap().0
        };
        assert_eq!(deleted_at(115), at(115));
        assert_eq!(deleted_at(101), at(100), "not worth a write");
    }
}
