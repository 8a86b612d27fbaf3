//! Reads everything that one pass of the life-cycle lane needs.

use super::account::{SignedIn, sign_in};
use super::lane::Lane;
use super::memory::Memory;
use super::observed::{Account, Effect, Observed, PodSeen, Seen};
use super::plan::room_may_return;
use super::pod::{INCARNATION_LABEL, SETTINGS_ANNOTATION, secret_name};
use super::wanted::{broadcast_under_way, wanted};
use crate::api::conditions::{ConditionType, is_true};
use crate::api::names::{marker, room_name};
use crate::api::spec::State;
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::credentials::Credentials;
use crate::providers::livekit::{Egress, LivekitRoom};
use crate::providers::mux::LiveStream;
use crate::providers::{ProviderError, Secret};
use crate::world::{PodEndpoint, World};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use memorialstream_compositor_protocol::BEARER_TOKEN_FILE;
use std::time::Duration;

/// One pass's view of the world, and the credentials with which to act.
pub struct Observation {
    /// What was seen.
    pub observed: Observed,
    /// With what to act; absent when they cannot be read.
    pub credentials: Option<Credentials>,
    /// How to reach the compositor.
    pub endpoint: Option<PodEndpoint>,
}

/// Looks at everything that `object` depends on.
pub async fn observe(lane: &Lane, object: &MemorialStream, memory: &Memory) -> Observation {
    let Lane { world, timings, .. } = lane;
    let status = object.status.clone().unwrap_or_default();
    let SignedIn { account, set_aside, credentials } = sign_in(lane, object, &status).await;
    let pods: Vec<PodSeen> = world.store.pods(object).iter().map(|pod| pod_seen(pod)).collect();
    let mut observed = Observed {
        cluster_id: world.store.cluster_id(),
        slug_holder: lane.slugs.other_holder(object, &world.store.memorial_streams()),
        account,
        set_aside,
        stream: Seen::NotAsked,
        marked: Seen::NotAsked,
        rooms: Seen::NotAsked,
        egresses: Seen::NotAsked,
        pods,
        compositor: None,
        start: memory.start(),
        troubles: memory.troubles(),
    };
    let unusable = matches!(observed.account, Account::Unusable(_)) || observed.slug_holder.is_some();
    let credentials = match credentials {
        Some(credentials) if !unusable => credentials,
        credentials => return Observation { observed, credentials, endpoint: None },
    };
    let now = world.clock.now();
    let state = wanted(object, now).state;
    let busy = matches!(state, State::Live | State::Standby) || broadcast_under_way(&status);
    let looks_fast = busy || room_may_return(&status, now, timings);
    let freshness = if looks_fast { timings.fast } else { timings.slow / 2 };
    // A sender must not be started on the word of an old list. Without a pod that is ready none starts.
    let about_to_start = state == State::Live
        && !broadcast_under_way(&status)
        && observed.pods.iter().any(|pod| pod.ready && !pod.deleting);
    let list_freshness = match busy {
        true if is_reached(object, state) || about_to_start => timings.steady,
        true => timings.fast,
        false => timings.slow / 2,
    };
    let (streams, rooms, egresses, (endpoint, compositor)) = tokio::join!(
        streams(world, object, &credentials, &observed, list_freshness, about_to_start),
        rooms(world, object, &credentials, freshness),
        egresses(world, object, &credentials, &status, freshness),
        compositor(world, object, &observed.pods),
    );
    (observed.stream, observed.marked) = streams;
    observed.rooms = rooms;
    observed.egresses = egresses;
    observed.compositor = compositor;
    let both_accept = matches!(observed.account, Account::Known { .. }) && observed.rooms.known().is_some();
    if both_accept && observed.set_aside.is_none() {
        lane.in_use.keep(object, &credentials);
    }
    Observation { observed, credentials: Some(credentials), endpoint }
}

/// Whether `state` is reached, as far as was known when status was written.
fn is_reached(object: &MemorialStream, state: State) -> bool {
    let status = object.status.as_ref();
    status.is_some_and(|status| {
        status.state == Some(state)
            && status.observed_generation == object.metadata.generation
            && is_true(&status.conditions, ConditionType::Ready)
    })
}

async fn streams(
    world: &World,
    object: &MemorialStream,
    credentials: &Credentials,
    observed: &Observed,
    freshness: Duration,
    ask_for_ours: bool,
) -> (Seen<Option<LiveStream>>, Seen<Vec<LiveStream>>) {
    if let Account::Failed(error) = &observed.account {
        return (Seen::Failed(error.clone()), Seen::Failed(error.clone()));
    }
    let mux = object.status.as_ref().and_then(|status| status.mux.clone()).unwrap_or_default();
    let searching = mux.stream_id.is_none() && mux.creating.is_some();
    let freshness = if searching { Duration::ZERO } else { freshness };
    let uid = object.metadata.uid.as_deref().unwrap_or("");
    let marker = marker(&observed.cluster_id, uid);
    let list = world.mux.streams(&credentials.mux, freshness).await;
    let marked = match &list {
        Ok(list) => Seen::Known(
            list.iter()
                .filter(|stream| stream.passthrough.as_deref() == Some(marker.as_str()))
                .cloned()
                .collect(),
        ),
        Err(error) => Seen::Failed(error.clone()),
    };
    let Some(id) = mux.stream_id else { return (Seen::NotAsked, marked) };
    // An absence is believed to nobody but Mux.
    let listed = list.ok().and_then(|list| list.iter().find(|stream| stream.id == id).cloned());
    let stream = match listed.filter(|_| !ask_for_ours) {
        Some(stream) => Seen::Known(Some(stream)),
        None => world.mux.stream(&credentials.mux, &id).await.into(),
    };
    (stream, marked)
}

async fn rooms(
    world: &World,
    object: &MemorialStream,
    credentials: &Credentials,
    freshness: Duration,
) -> Seen<Vec<LivekitRoom>> {
    let prefix = room_prefix(object);
    let all: Result<_, ProviderError> = world.livekit.rooms(&credentials.livekit, freshness).await;
    all.map(|all| all.iter().filter(|room| room.name.starts_with(&prefix)).cloned().collect::<Vec<_>>())
        .into()
}

async fn egresses(
    world: &World,
    object: &MemorialStream,
    credentials: &Credentials,
    status: &MemorialStreamStatus,
    freshness: Duration,
) -> Seen<Vec<Egress>> {
    let prefix = room_prefix(object);
    let egress = status.egress.clone().unwrap_or_default();
    let freshness = if egress.starting.is_some() { Duration::ZERO } else { freshness };
    let active = match world.livekit.active_egresses(&credentials.livekit, freshness).await {
        Ok(active) => active,
        Err(error) => return Seen::Failed(error),
    };
    let mut ours: Vec<Egress> =
        active.iter().filter(|egress| egress.room_name.starts_with(&prefix)).cloned().collect();
    if let Some(id) = egress.id.filter(|id| !ours.iter().any(|seen| seen.id == *id)) {
        match world.livekit.egress(&credentials.livekit, &id).await {
            Ok(found) => ours.extend(found),
            Err(error) => return Seen::Failed(error),
        }
    }
    Seen::Known(ours)
}

fn room_prefix(object: &MemorialStream) -> String {
    room_name(object.metadata.uid.as_deref().unwrap_or(""), 0).trim_end_matches('0').to_owned()
}

type CompositorSeen =
    Option<Result<memorialstream_compositor_protocol::CompositorStatus, crate::world::CompositorError>>;

async fn compositor(
    world: &World,
    object: &MemorialStream,
    pods: &[PodSeen],
) -> (Option<PodEndpoint>, CompositorSeen) {
    let Some(endpoint) = endpoint(world, object, pods).await else { return (None, None) };
    let status = world.compositor.status(&endpoint).await;
    (Some(endpoint), Some(status))
}

/// How to reach the newest running pod.
pub async fn endpoint(world: &World, object: &MemorialStream, pods: &[PodSeen]) -> Option<PodEndpoint> {
    let running = pods.iter().filter(|pod| !pod.deleting && !pod.finished && pod.ip.is_some());
    let ip = running.max_by_key(|pod| pod.incarnation)?.ip.clone()?;
    let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
    let name = secret_name(object.metadata.name.as_deref().unwrap_or(""));
    match world.store.secret(namespace, &name).await {
        Ok(data) => {
            let bearer_token = data.as_ref().and_then(|data| data.get(BEARER_TOKEN_FILE)).cloned();
            Some(PodEndpoint { ip, bearer_token: bearer_token.unwrap_or_else(|| Secret::new("")) })
        }
        Err(error) => {
            tracing::warn!(%error, secret = name, "cannot read the compositor's bearer token");
            None
        }
    }
}

/// What matters of a pod.
pub fn pod_seen(pod: &Pod) -> PodSeen {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let containers: &[ContainerStatus] =
        pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or(&[]);
    PodSeen {
        name: pod.metadata.name.clone().unwrap_or_default(),
        incarnation: pod
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(INCARNATION_LABEL))
            .and_then(|number| number.parse().ok())
            .unwrap_or(0),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        finished: matches!(phase, "Failed" | "Succeeded"),
        ready: containers.first().is_some_and(|container| container.ready),
        ip: pod.status.as_ref().and_then(|status| status.pod_ip.clone()).filter(|ip| !ip.is_empty()),
        restarts: containers.first().map_or(0, |container| i64::from(container.restart_count)),
        complaint: complaint(pod, containers),
        settings: pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(SETTINGS_ANNOTATION))
            .cloned()
            .unwrap_or_default(),
    }
}

fn complaint(pod: &Pod, containers: &[ContainerStatus]) -> Option<(String, String)> {
    let waiting = containers.iter().find_map(|container| container.state.as_ref()?.waiting.as_ref());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.clone().unwrap_or_else(|| "Waiting".into());
        if !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing") {
            return Some((reason, waiting.message.clone().unwrap_or_default()));
        }
        return None;
    }
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or(&[]);
    conditions
        .iter()
        .find(|condition| {
            condition.type_ == "PodScheduled"
                && condition.status == "False"
                && condition.reason.as_deref() == Some("Unschedulable")
        })
        .map(|condition| ("Unschedulable".into(), condition.message.clone().unwrap_or_default()))
}

/// Whether a question to a provider failed in a way that may pass: the lane then looks again more and more rarely.
pub fn questions_failed(observed: &Observed) -> Option<(Effect, &ProviderError)> {
    let account = match &observed.account {
        Account::Failed(error) => Some(error),
        Account::Known { .. } | Account::Unusable(_) => None,
    };
    account
        .or(observed.stream.error())
        .or(observed.marked.error())
        .map(|error| (Effect::MuxStream, error))
        .or(observed.rooms.error().map(|error| (Effect::Room, error)))
        .or(observed.egresses.error().map(|error| (Effect::Sender, error)))
}
