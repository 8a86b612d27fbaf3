//! Does what was planned, in order, and returns what came of it.

use super::lane::Lane;
use super::memory::{Failure, FailureClass, Memory};
use super::observe::Observation;
use super::observed::{Seen, ingest_address};
use super::plan::Action;
use super::pod;
use crate::api::names::{PROGRAM_IDENTITY, marker};
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::credentials::Credentials;
use crate::program::document;
use crate::providers::livekit::ProgramEgress;
use crate::providers::mux::LiveStream;
use crate::providers::{ErrorClass, ProviderError, Reason};
use crate::world::{CompositorError, StoreError};
use memorialstream_compositor_protocol::{RtmpDestination, SenderRequest};
use std::sync::Arc;

/// What came of one action, as far as status must know it before the next look.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A Mux live stream exists now.
    StreamCreated(String),
    /// None was created, for certain.
    StreamNotCreated,
    /// A Mux live stream is gone.
    StreamDeleted(String),
    /// The object is free to go.
    Released,
}

/// Does the actions in order. Stops at the first that failed, unless the end must go on without it.
pub async fn apply(
    lane: &Lane,
    object: &MemorialStream,
    observation: &Observation,
    actions: &[Action],
    memory: &Arc<Memory>,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for action in actions {
        tracing::info!(?action, "acting");
        match perform(lane, object, observation, action, memory).await {
            Ok(outcome) => {
                outcomes.extend(outcome);
                if !matches!(action, Action::StartEgress { .. }) {
                    memory.worked(action.effect());
                }
            }
            Err(failure) => {
                tracing::warn!(?action, reason = failure.reason, message = failure.message, "failed");
                if matches!(action, Action::CreateStream(_)) && failure.certain {
                    outcomes.push(Outcome::StreamNotCreated);
                }
                let clock = &lane.world.clock;
                memory.failed(action.effect(), failure.into(), clock.now(), clock.chance());
                if !action.may_fail() {
                    break;
                }
            }
        }
    }
    outcomes
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
            Outcome::StreamDeleted(id) if mux.stream_id.as_ref() == Some(id) => {
                mux.stream_id = None;
                mux.playback_ids = Vec::new();
                status.playback_url = None;
            }
            Outcome::StreamDeleted(_) | Outcome::Released => {}
        }
    }
    status
}

struct ActionError {
    class: FailureClass,
    reason: &'static str,
    message: String,
    /// It certainly did not happen.
    certain: bool,
}

impl ActionError {
    /// What the action needs was not seen in this pass: it was not tried.
    fn unseen(reason: &'static str, message: &str) -> Self {
        Self { class: FailureClass::Transient, reason, message: message.into(), certain: true }
    }
}

impl From<ActionError> for Failure {
    fn from(error: ActionError) -> Self {
        Self { class: error.class, reason: error.reason, message: error.message }
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

impl From<StoreError> for ActionError {
    fn from(error: StoreError) -> Self {
        let class = match error {
            StoreError::Refused(_) => FailureClass::Terminal,
            _ => FailureClass::Transient,
        };
        Self { class, reason: "KubernetesRefused", message: error.to_string(), certain: true }
    }
}

impl From<CompositorError> for ActionError {
    fn from(error: CompositorError) -> Self {
        Self {
            class: FailureClass::Transient,
            reason: "CompositorRefused",
            message: error.to_string(),
            certain: true,
        }
    }
}

/// The word for a condition.
pub fn reason(error: &ProviderError) -> &'static str {
    match (error.reason, error.class) {
        (Some(Reason::ServerTooOld), _) => "ServerTooOld",
        (Some(Reason::NoCapacity), _) | (_, ErrorClass::Busy) => "WaitingForCapacity",
        (_, ErrorClass::Credentials) => "CredentialsRefused",
        (_, ErrorClass::RateLimited { .. }) => "RateLimited",
        (_, ErrorClass::Terminal) => "Refused",
        (_, ErrorClass::NotFound) => "NotFound",
        (_, ErrorClass::Transient | ErrorClass::InDoubt) => "ProviderNotAnswering",
    }
}

async fn perform(
    lane: &Lane,
    object: &MemorialStream,
    observation: &Observation,
    action: &Action,
    memory: &Arc<Memory>,
) -> Result<Option<Outcome>, ActionError> {
    let world = &lane.world;
    let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
    match action {
        Action::AddFinalizer => {
            world.store.set_finalizer(object, true).await?;
            return Ok(None);
        }
        Action::RemoveFinalizer => {
            world.store.set_finalizer(object, false).await?;
            return Ok(Some(Outcome::Released));
        }
        Action::DeletePod(name) => {
            world.store.delete_pod(namespace, name).await?;
            return Ok(None);
        }
        _ => {}
    }
    let Some(credentials) = &observation.credentials else {
        return Err(ActionError::unseen("CredentialsMissing", "the credentials were not read in this pass"));
    };
    let (mux, livekit) = (&credentials.mux, &credentials.livekit);
    match action {
        Action::AddFinalizer | Action::RemoveFinalizer | Action::DeletePod(_) => {}
        Action::CreateStream(new) => {
            let stream = world.mux.create_stream(mux, new).await?;
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
            let uid = object.metadata.uid.as_deref().unwrap_or("");
            let marker = marker(&observation.observed.cluster_id, uid);
            world.livekit.create_room(livekit, name, &marker).await?;
        }
        Action::DeleteRoom(name) => world.livekit.delete_room(livekit, name).await?,
        Action::CreatePod { name, incarnation } => {
            create_pod(lane, object, credentials, name, *incarnation).await?;
        }
        Action::StartEgress { room } => start_egress(lane, object, observation, credentials, room, memory)?,
        Action::StopEgress(id) => world.livekit.stop_egress(livekit, id).await?,
        Action::StartSender => {
            let stream = live_stream(observation)?;
            let destination =
                RtmpDestination { url: credentials.rtmp_url.clone(), stream_key: stream.stream_key.clone() };
            send(lane, observation, Some(destination)).await?;
        }
        Action::StopSender => send(lane, observation, None).await?,
    }
    Ok(None)
}

fn live_stream(observation: &Observation) -> Result<&LiveStream, ActionError> {
    match &observation.observed.stream {
        Seen::Known(Some(stream)) => Ok(stream),
        _ => Err(ActionError::unseen("MuxStreamMissing", "the Mux live stream was not seen in this pass")),
    }
}

async fn send(
    lane: &Lane,
    observation: &Observation,
    rtmp: Option<RtmpDestination>,
) -> Result<(), ActionError> {
    let Some(endpoint) = &observation.endpoint else {
        return Err(CompositorError::Unreachable("its pod has no address".into()).into());
    };
    lane.world.compositor.sender(endpoint, &SenderRequest { rtmp }).await?;
    Ok(())
}

async fn create_pod(
    lane: &Lane,
    object: &MemorialStream,
    credentials: &Credentials,
    name: &str,
    incarnation: i64,
) -> Result<(), ActionError> {
    let boot = document::boot(lane.world.clock.as_ref(), object, credentials).map_err(|message| {
        ActionError { class: FailureClass::Terminal, reason: "BootDocument", message, certain: true }
    })?;
    let secret = pod::boot_secret(object, boot, &lane.world.clock.unguessable());
    lane.world.store.apply_secret(secret).await?;
    let pod = pod::pod(object, name, incarnation, &lane.pod_template);
    lane.world.store.create_pod(pod).await?;
    Ok(())
}

/// Begins a start and returns at once: LiveKit may take up to 90 s, and the lane must stay free to end or delete.
fn start_egress(
    lane: &Lane,
    object: &MemorialStream,
    observation: &Observation,
    credentials: &Credentials,
    room: &str,
    memory: &Arc<Memory>,
) -> Result<(), ActionError> {
    let stream = live_stream(observation)?;
    let video = pod::video(&object.spec);
    let request = ProgramEgress {
        room: room.to_owned(),
        participant_identity: PROGRAM_IDENTITY.to_owned(),
        rtmp_url: ingest_address(&credentials.rtmp_url, &stream.stream_key),
        width: video.width,
        height: video.height,
        frames_per_second: video.frames_per_second,
        bitrate_kbps: video.bitrate_kbps,
        with_audio: true,
    };
    memory.start_begins();
    let (lane, account, memory) = (lane.clone(), credentials.livekit.clone(), Arc::clone(memory));
    let reference = kube::runtime::reflector::ObjectRef::from_obj(object);
    tokio::spawn(async move {
        let result = lane.world.livekit.start_egress(&account, &request).await;
        let clock = &lane.world.clock;
        match &result {
            Ok(_) => memory.worked(super::observed::Effect::Sender),
            Err(error) => {
                tracing::warn!(%error, object = %reference, "the egress did not start");
                let failure = ActionError::from(error.clone()).into();
                memory.failed(super::observed::Effect::Sender, failure, clock.now(), clock.chance());
            }
        }
        memory.start_finished(result);
        lane.wake(reference);
    });
    Ok(())
}
