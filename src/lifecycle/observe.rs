//! Reads everything that one pass of the life-cycle lane needs.

use super::context::{Context, Memory};
use super::look::{StreamLook, look, may_show_program};
use super::observed::{Observed, Seen};
use super::plan::has_finalizer;
use super::sight::Sight;
use crate::api::names::is_of_another;
use crate::api::spec::State;
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::providers::ProviderError;
use crate::providers::livekit::{Egress, LiveKitRoom};
use crate::providers::mux::{LiveStream, MuxCredentials};
use crate::service::Identity;
use crate::service::credentials::{Access, Credentials, SignedIn, sign_in};
use crate::service::desired::{broadcast_under_way, desired};
use crate::service::pod::{boots_wrong, endpoint, pods_and_recorded};
use crate::service::stream_key::{KeptKey, secret_name};
use crate::world::{Mux, SpareLook, World};
use k8s_openapi::jiff::Timestamp;
use std::time::Duration;

/// How old the list of all streams may be in which duplicates are looked for.
const SCAN: Duration = Duration::from_secs(1800);
/// How old the word about a duplicate may be.
const SECONDS: Duration = Duration::from_secs(10);
/// Of how many streams with its marker a pass takes notice.
const MOST_SECONDS: usize = 10;

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
    let (pods, recorded_pod) = pods_and_recorded(world, object).await;
    let state = desired(object, now).state;
    let pod_is_ready = pods.iter().any(|pod| may_show_program(pod, &status, now));
    let backoffs = memory.failures.backoffs();
    let look = look(object, state, pod_is_ready, &backoffs, now, timings);
    // An object is not let go on the word of an old list.
    let rooms_freshness =
        if object.metadata.deletion_timestamp.is_some() { Duration::ZERO } else { look.rooms };
    let begun = memory.unsent.left_out(object);
    let SignedIn { access, set_aside, credentials, addresses_wait } =
        sign_in(world, &context.in_use, &context.default_secret, identity, &begun, rooms_freshness).await;
    // Without its slug nothing begins; what exists goes on and ends, and what is being deleted needs none.
    // Anybody may make a pod: one that no status records keeps nothing on.
    let recorded = pods.iter().any(|pod| !pod.stray);
    let runs = something_runs(&status) || recorded;
    let keeps_on = object.metadata.deletion_timestamp.is_some() || has_finalizer(object) && runs;
    let mut observed = Observed {
        cluster_id: context.cluster_id.to_string(),
        compositor_image: context.pod_template.image.clone(),
        slug_holder: context
            .slugs
            .other_holder(object, &world.objects.memorial_streams())
            .filter(|_| !keeps_on),
        credentials_are_kept: credentials.is_some()
            && context.in_use.remembered(identity).as_ref() == credentials.as_ref(),
        access,
        set_aside,
        addresses_wait,
        stream: Seen::NotAsked,
        stream_is_awaited: false,
        marked: Seen::NotAsked,
        marked_age: Duration::ZERO,
        rooms: Seen::NotAsked,
        egresses: Seen::NotAsked,
        egresses_age: Duration::ZERO,
        pods,
        recorded_pod,
        boots_wrong: false,
        compositor: None,
        participants: Seen::NotAsked,
        sight: Sight::NotLooked,
        mux_connected: None,
        age_of_active: None,
        kept_key: None,
        start: memory.beside.start(),
        unsent: memory.unsent.seen(),
        creating_for: memory.unsent.creating_for(&status),
        worker: memory.beside.worker(),
        stops: memory.beside.stops(),
        backoffs,
        credentials,
        endpoint: None,
    };
    if matches!(observed.access, Access::Unusable(_)) {
        return observed;
    }
    let Some(credentials) = observed.credentials.clone() else { return observed };
    observed.boots_wrong =
        boots_wrong(world, identity, object, &observed.pods, &credentials.livekit.url, now).await;
    let under_way = broadcast_under_way(&status);
    let busy = matches!(state, State::Live | State::Standby) || under_way;
    let marker = identity.marker(&context.cluster_id);
    let (streams, rooms, egresses, endpoint, participants, seen, kept_key) = tokio::join!(
        streams(world, &status, &credentials, &observed.access, &marker, look.stream),
        rooms(world, identity, &credentials, rooms_freshness),
        egresses(world, identity, &credentials, &status, look.egresses),
        async {
            let endpoint = endpoint(world, identity, &observed.pods).await?;
            let status = world.compositor.status(&endpoint).await;
            Some((endpoint, status))
        },
        async {
            let room = status.room.as_ref().and_then(|room| room.name.as_ref()).filter(|_| under_way);
            let room = room.filter(|room| identity.owns_room(room))?;
            Some(world.livekit.participants(&credentials.livekit, room, timings.fast).await)
        },
        async {
            let base = credentials.playback_base_url.trim_end_matches('/');
            let is_ours = |url: &&String| url.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
            let url = status.playback_url.as_ref().filter(|_| under_way).filter(is_ours)?;
            Some(world.viewer.playlist(url).await)
        },
        async {
            let name = secret_name(identity);
            if busy { kept_key(world, &identity.namespace, &name).await } else { None }
        },
    );
    observed.stream_is_awaited = streams.awaited;
    (observed.stream, observed.marked) = (streams.own, streams.marked);
    // What was forgotten meanwhile is taken to be as old as can be.
    observed.marked_age = world.mux.age_of_markers(&credentials.mux).unwrap_or(Duration::MAX);
    observed.egresses_age = world.livekit.age_of_egresses(&credentials.livekit).unwrap_or(Duration::MAX);
    observed.age_of_active = world.mux.age_of_active(&credentials.mux);
    if let Seen::Known(Some(stream)) = &observed.stream {
        observed.mux_connected = memory.looks.connected(&stream.id, stream.connected);
    }
    observed.sight = seen.map_or(Sight::NotLooked, |seen| memory.looks.judge(seen));
    observed.participants = participants
        .map_or(Seen::NotAsked, |answer| answer.map(|all| all.iter().cloned().collect::<Vec<_>>()).into());
    observed.kept_key = kept_key;
    observed.rooms = rooms;
    observed.egresses = egresses;
    (observed.endpoint, observed.compositor) = endpoint.unzip();
    observed
}

fn something_runs(status: &MemorialStreamStatus) -> bool {
    broadcast_under_way(status)
        || status.ending_since.is_some()
        || status.room.as_ref().is_some_and(|room| room.name.is_some())
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

/// What was seen of the live streams of an object.
struct Streams {
    /// The one that status names.
    own: Seen<Option<LiveStream>>,
    /// The answer is on its way.
    awaited: bool,
    /// Those with our marker, where they were searched for.
    marked: Seen<Vec<LiveStream>>,
}

async fn streams(
    world: &World,
    status: &MemorialStreamStatus,
    credentials: &Credentials,
    access: &Access,
    marker: &str,
    look: StreamLook,
) -> Streams {
    let without_marked = |own| Streams { own, awaited: false, marked: Seen::NotAsked };
    if let Access::Failed(error) = access {
        return Streams {
            marked: Seen::Failed(error.clone()),
            ..without_marked(Seen::Failed(error.clone()))
        };
    }
    let (mux, credentials) = (&world.mux, &credentials.mux);
    let id = status.mux.as_ref().and_then(|mux| mux.stream_id.as_deref()).unwrap_or_default();
    let stream = match look {
        StreamLook::No => Seen::NotAsked,
        StreamLook::Search(freshness) => {
            let ids = mux.marked_streams(credentials, marker, freshness).await;
            let marked = those_that_exist(mux.as_ref(), credentials, ids, freshness).await;
            return Streams { marked: marked.into(), ..without_marked(Seen::NotAsked) };
        }
        StreamLook::Now => mux.stream(credentials, id, Duration::ZERO).await.into(),
        StreamLook::ById(freshness) => mux.stream(credentials, id, freshness).await.into(),
        StreamLook::Spare(freshness) => {
            let (own, awaited) = match mux.spare_look(credentials, id, freshness).await {
                SpareLook::NotNow => (Seen::NotAsked, false),
                SpareLook::Awaited => (Seen::NotAsked, true),
                SpareLook::Answered(answer) => (answer.into(), false),
            };
            // A duplicate that a stale leader made goes with the next scan, which serves the whole environment.
            let ids = mux.marked_streams(credentials, marker, SCAN).await;
            let seconds = ids.map(|ids| ids.into_iter().filter(|second| second != id).collect());
            let seconds = those_that_exist(mux.as_ref(), credentials, seconds, SECONDS).await;
            let own = ours(own, marker);
            return Streams { own, awaited, marked: seconds.map_or(Seen::NotAsked, Seen::Known) };
        }
        StreamLook::OnAir { list, own } => {
            let active = mux.active_streams(credentials, list).await;
            let listed = active.ok().and_then(|all| all.iter().find(|stream| stream.id == id).cloned());
            // An absence is believed to nobody but Mux's word about the stream itself.
            match listed {
                Some(stream) => Seen::Known(Some(stream)),
                None => mux.stream(credentials, id, own).await.into(),
            }
        }
    };
    without_marked(ours(stream, marker))
}

/// Status is not proof: whoever may write it may name any stream. Another object's is none of ours, as in a status that was
/// restored under a new UID; one that says nothing is left alone.
fn ours(stream: Seen<Option<LiveStream>>, marker: &str) -> Seen<Option<LiveStream>> {
    let Seen::Known(Some(named)) = &stream else { return stream };
    let text = named.passthrough.as_deref().unwrap_or_default();
    if text == marker {
        stream
    } else if is_of_another(text, marker) {
        Seen::Known(None)
    } else {
        Seen::Failed(ProviderError::not_ours(&named.id, marker))
    }
}

/// The streams themselves: what bears our marker is not taken or deleted on the word of a list. No more than a few at
/// once, whoever copies markers; the rest comes with later passes.
async fn those_that_exist(
    mux: &dyn Mux,
    credentials: &MuxCredentials,
    ids: Result<Vec<String>, ProviderError>,
    freshness: Duration,
) -> Result<Vec<LiveStream>, ProviderError> {
    let mut streams = Vec::new();
    for id in ids? {
        streams.extend(mux.stream(credentials, &id, freshness).await?);
        if streams.len() == MOST_SECONDS {
            break;
        }
    }
    Ok(streams)
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
    freshness: Option<Duration>,
) -> Seen<Vec<Egress>> {
    let Some(freshness) = freshness else { return Seen::NotAsked };
    let egress = status.egress.clone().unwrap_or_default();
    let active = match world.livekit.active_egresses(&credentials.livekit, freshness).await {
        Ok(active) => active,
        Err(error) => return Seen::Failed(error),
    };
    let mut ours: Vec<Egress> =
        active.iter().filter(|egress| identity.owns_room(&egress.room_name)).cloned().collect();
    if let Some(id) = egress.id.filter(|id| !ours.iter().any(|seen| seen.id == *id)) {
        match world.livekit.egress(&credentials.livekit, &id, freshness).await {
            Ok(found) => ours.extend(found),
            Err(error) => return Seen::Failed(error),
        }
    }
    Seen::Known(ours)
}
