//! Reads everything that one pass of the life-cycle lane needs.

use super::context::{Context, Memory};
use super::observed::{Observed, Seen};
use super::plan::room_may_return;
use super::sight::Sight;
use crate::api::conditions::{ConditionType, is_true};
use crate::api::spec::State;
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::providers::ProviderError;
use crate::providers::livekit::{Egress, LiveKitRoom};
use crate::providers::mux::LiveStream;
use crate::service::Identity;
use crate::service::credentials::{Access, Credentials, SignedIn, sign_in};
use crate::service::desired::{broadcast_under_way, desired};
use crate::service::pod::{boots_wrong, endpoint, pods_and_recorded};
use crate::service::stream_key::{KeptKey, secret_name};
use crate::world::World;
use k8s_openapi::jiff::Timestamp;
use std::time::Duration;

/// Looks at everything that `object` depends on.
pub async fn observe(
    context: &Context,
    identity: &Identity,
    object: &MemorialStream,
    memory: &Memory,
    now: Timestamp,
) -> Observed {
    let Context { world, timings, .. } = context;
    let status = object.status.clone().unwrap_or_default();
    let SignedIn { access, set_aside, credentials } =
        sign_in(world, &context.in_use, &context.default_secret, identity, object).await;
    let (pods, recorded_pod) = pods_and_recorded(world, object).await;
    let mut observed = Observed {
        cluster_id: context.cluster_id.to_string(),
        slug_holder: context.slugs.other_holder(object, &world.objects.memorial_streams()),
        access,
        set_aside,
        stream: Seen::NotAsked,
        marked: Seen::NotAsked,
        rooms: Seen::NotAsked,
        egresses: Seen::NotAsked,
        pods,
        recorded_pod,
        boots_wrong: false,
        compositor: None,
        participants: Seen::NotAsked,
        sight: Sight::NotLooked,
        mux_connected: None,
        kept_key: None,
        start: memory.beside.start(),
        worker: memory.beside.worker(),
        stops: memory.beside.stops(),
        backoffs: memory.failures.backoffs(),
        credentials,
        endpoint: None,
    };
    if matches!(observed.access, Access::Unusable(_)) || observed.slug_holder.is_some() {
        return observed;
    }
    let Some(credentials) = observed.credentials.clone() else { return observed };
    observed.boots_wrong =
        boots_wrong(world, identity, object, &observed.pods, &credentials.livekit.url, now).await;
    let state = desired(object, now).state;
    let busy = matches!(state, State::Live | State::Standby) || broadcast_under_way(&status);
    let looks_fast = busy || room_may_return(&status, now, timings);
    // An object is not let go on the word of an old list.
    let freshness = match looks_fast {
        _ if object.metadata.deletion_timestamp.is_some() => Duration::ZERO,
        true => timings.fast,
        false => timings.slow / 2,
    };
    // A sender must not be started on the word of an old list. Without a pod that is ready none starts.
    let about_to_start = state == State::Live
        && !broadcast_under_way(&status)
        && observed.pods.iter().any(|pod| pod.ready && !pod.deleting);
    let list_freshness = match busy {
        true if is_reached(object, state) || about_to_start => timings.steady,
        true => timings.fast,
        false => timings.slow / 2,
    };
    let marker = identity.marker(&context.cluster_id);
    let under_way = broadcast_under_way(&status);
    let (streams, rooms, egresses, endpoint, participants, look, kept_key) = tokio::join!(
        streams(world, &status, &credentials, &observed.access, &marker, list_freshness, about_to_start),
        rooms(world, identity, &credentials, freshness),
        egresses(world, identity, &credentials, &status, freshness),
        async {
            let endpoint = endpoint(world, identity, &observed.pods).await?;
            let status = world.compositor.status(&endpoint).await;
            Some((endpoint, status))
        },
        async {
            let room = status.room.as_ref().and_then(|room| room.name.as_ref()).filter(|_| under_way)?;
            Some(world.livekit.participants(&credentials.livekit, room, freshness).await)
        },
        async {
            let url = status.playback_url.as_ref().filter(|_| under_way)?;
            Some(world.viewer.playlist(url).await)
        },
        async {
            let name = secret_name(identity);
            if busy { kept_key(world, &identity.namespace, &name).await } else { None }
        },
    );
    (observed.stream, observed.marked) = streams;
    if let Seen::Known(Some(stream)) = &observed.stream {
        observed.mux_connected = memory.looks.connected(&stream.id, stream.connected);
    }
    observed.sight = look.map_or(Sight::NotLooked, |look| memory.looks.judge(look));
    observed.participants = participants
        .map_or(Seen::NotAsked, |answer| answer.map(|all| all.iter().cloned().collect::<Vec<_>>()).into());
    observed.kept_key = kept_key;
    observed.rooms = rooms;
    observed.egresses = egresses;
    (observed.endpoint, observed.compositor) = endpoint.unzip();
    let both_accept = matches!(observed.access, Access::Granted { .. }) && observed.rooms.known().is_some();
    if both_accept && observed.set_aside.is_none() {
        context.in_use.keep(identity, &credentials);
    }
    observed
}

async fn kept_key(world: &World, namespace: &str, name: &str) -> Option<KeptKey> {
    match world.secrets.secret(namespace, name).await {
        Ok(data) => data.as_ref().and_then(KeptKey::read),
        Err(error) => {
            tracing::warn!(%error, secret = name, "the kept stream key cannot be read");
            None
        }
    }
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
    status: &MemorialStreamStatus,
    credentials: &Credentials,
    access: &Access,
    marker: &str,
    freshness: Duration,
    ask_for_ours: bool,
) -> (Seen<Option<LiveStream>>, Seen<Vec<LiveStream>>) {
    if let Access::Failed(error) = access {
        return (Seen::Failed(error.clone()), Seen::Failed(error.clone()));
    }
    let mux = status.mux.clone().unwrap_or_default();
    let searching = mux.stream_id.is_none() && mux.creating.is_some();
    let freshness = if searching { Duration::ZERO } else { freshness };
    let list = world.mux.streams(&credentials.mux, freshness).await;
    let marked = match &list {
        Ok(list) => Seen::Known(
            list.iter().filter(|stream| stream.passthrough.as_deref() == Some(marker)).cloned().collect(),
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
    identity: &Identity,
    credentials: &Credentials,
    freshness: Duration,
) -> Seen<Vec<LiveKitRoom>> {
    let all: Result<_, ProviderError> = world.livekit.rooms(&credentials.livekit, freshness).await;
    all.map(|all| all.iter().filter(|room| identity.owns_room(&room.name)).cloned().collect::<Vec<_>>())
        .into()
}

async fn egresses(
    world: &World,
    identity: &Identity,
    credentials: &Credentials,
    status: &MemorialStreamStatus,
    freshness: Duration,
) -> Seen<Vec<Egress>> {
    let egress = status.egress.clone().unwrap_or_default();
    let freshness = if egress.starting.is_some() { Duration::ZERO } else { freshness };
    let active = match world.livekit.active_egresses(&credentials.livekit, freshness).await {
        Ok(active) => active,
        Err(error) => return Seen::Failed(error),
    };
    let mut ours: Vec<Egress> =
        active.iter().filter(|egress| identity.owns_room(&egress.room_name)).cloned().collect();
    if let Some(id) = egress.id.filter(|id| !ours.iter().any(|seen| seen.id == *id)) {
        match world.livekit.egress(&credentials.livekit, &id).await {
            Ok(found) => ours.extend(found),
            Err(error) => return Seen::Failed(error),
        }
    }
    Seen::Known(ours)
}
