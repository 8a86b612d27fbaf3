//! What one pass sees of the world, and that as the planner is given it.

use super::provider::{compositor, egress, error, granted, key, live_stream};
use super::statuses::{CLUSTER, EPOCH, Mentions, NAME, UID, egress_id, now, sid, slot, stream_id};
use super::world::{EGRESSES, Egress, Held, Job, Mux, PODS, Phase, Pod, STREAMS, Start, World};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use memorialstream_operator::api::names::{FINALIZER, PROGRAM_IDENTITY, marker, room_name};
use memorialstream_operator::api::spec::{EgressSettings, State, Via};
use memorialstream_operator::api::{MemorialStream, MemorialStreamSpec, MemorialStreamStatus, Reason};
use memorialstream_operator::lifecycle::backoff::{Backoff, Backoffs};
use memorialstream_operator::lifecycle::in_flight::{StartSeen, WorkerSeen};
use memorialstream_operator::lifecycle::observed::{Observed, Seen};
use memorialstream_operator::lifecycle::sight::Sight;
use memorialstream_operator::providers::livekit::{LiveKitRoom, Participant, ParticipantKind};
use memorialstream_operator::providers::{Cause, ErrorClass, Provider};
use memorialstream_operator::service::credentials::Access;
use memorialstream_operator::service::pod::{PodSeen, RecordedPod, pod_name, settings_fingerprint};
use memorialstream_operator::service::stream_key::KeptKey;
use memorialstream_operator::world::CompositorError;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

/// What all pods are made with: nobody asks for anything else.
static SETTINGS: LazyLock<String> = LazyLock::new(|| settings_fingerprint(&MemorialStreamSpec::default()));

pub const FOREIGN: &str = "EG_foreign";

/// Who does not answer in this pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Silent {
    Nobody,
    Mux,
    LiveKit,
    Compositor,
}

/// What is seen. Two worlds that look the same are planned for once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct View {
    silent: Silent,
    pub asked: State,
    pub by_pod: bool,
    deleting: bool,
    finalizer: bool,
    named: Option<Mux>,
    streams: [Option<Mux>; STREAMS],
    room: Option<u8>,
    older_room: bool,
    pods: [Option<Pod>; PODS],
    egresses: [Option<Egress>; EGRESSES],
    foreign: bool,
    start: Start,
    held: Option<Held>,
    kept: u8,
    misses: u8,
    lit: bool,
}

impl View {
    pub fn of(world: &World, mentions: &Mentions, silent: Silent) -> Self {
        let named = mentions.streams.iter().zip(world.streams).find(|(known, _)| **known);
        let mut egresses = world.egresses;
        for (slot, egress) in egresses.iter_mut().enumerate() {
            let named = mentions.egress == Some(number(slot));
            let seen = |egress: Egress| match egress.job {
                Job::Over | Job::Starting if !named => None,
                // LiveKit says the same of both.
                Job::Hung => Some(Egress { job: Job::Connecting, ..egress }),
                Job::Retrying => Some(Egress { job: Job::Connected, ..egress }),
                _ => Some(egress),
            };
            *egress = egress.and_then(seen);
        }
        Self {
            silent,
            asked: world.asked,
            by_pod: world.by_pod,
            deleting: world.deleting,
            finalizer: world.finalizer,
            named: named.and_then(|(_, stream)| stream).map(|stream| stream.status),
            streams: world
                .streams
                .map(|stream| stream.filter(|stream| stream.listed).map(|stream| stream.status)),
            room: world.room,
            older_room: world.older_room,
            pods: world.pods,
            egresses,
            foreign: world.foreign,
            start: world.start,
            held: world.held,
            kept: world.kept,
            misses: world.misses,
            lit: world.lit(),
        }
    }

    pub fn without_held_starts(mut self) -> Self {
        self.held = self.held.filter(|held| held.effect.ending || !held.now);
        self
    }

    pub fn object(&self) -> MemorialStream {
        let via = if self.by_pod { Via::Compositor } else { Via::LiveKit };
        let spec = MemorialStreamSpec {
            state: Some(self.asked),
            egress: Some(EgressSettings { via: Some(via), livekit: None }),
            ..MemorialStreamSpec::default()
        };
        let mut object = MemorialStream::new(NAME, spec);
        object.metadata.uid = Some(UID.into());
        object.metadata.namespace = Some("default".into());
        object.metadata.generation = Some(1);
        object.metadata.finalizers = self.finalizer.then(|| vec![FINALIZER.into()]);
        object.metadata.deletion_timestamp = self.deleting.then(|| Time(now()));
        object
    }

    pub fn observed(&self, status: &MemorialStreamStatus) -> Observed {
        let mux_silent = self.silent == Silent::Mux;
        let livekit_silent = self.silent == Silent::LiveKit;
        let mux = || error(Provider::Mux, ErrorClass::Transient, None);
        let livekit = || error(Provider::LiveKit, ErrorClass::Transient, None);
        let marked = self.streams.iter().enumerate();
        let marked =
            marked.filter_map(|(slot, stream)| stream.map(|status| live_stream(number(slot), status)));
        let stream = match super::calls::named_stream(status) {
            None => Seen::NotAsked,
            Some(_) if mux_silent => Seen::Failed(mux()),
            Some(slot) => Seen::Known(self.named.map(|status| live_stream(slot, status))),
        };
        let (access, credentials) = granted();
        let pods: Vec<PodSeen> = self.pods.iter().flatten().map(|pod| self.pod(pod, status)).collect();
        let in_use = self.pods.iter().flatten().zip(&pods).find(|(_, seen)| seen.runs() && !seen.stray);
        let compositor = in_use.filter(|(_, seen)| seen.ready).map(|(pod, _)| match self.silent {
            Silent::Compositor => Err(CompositorError::Unreachable("no answer".into())),
            _ => Ok(compositor(pod)),
        });
        let recorded = status.compositor.as_ref().and_then(|compositor| compositor.pod_name.as_ref());
        let recorded_pod = match recorded {
            Some(name) if pods.iter().all(|pod| pod.name != *name) => RecordedPod::Absent,
            _ => RecordedPod::Seen,
        };
        let worker = status.egress.as_ref().and_then(|egress| egress.id.clone());
        let worker =
            worker.map(|id| WorkerSeen { id, asked: false, due: false, misses: u32::from(self.misses) });
        Observed {
            cluster_id: CLUSTER.into(),
            compositor_image: String::new(),
            age_of_active: None,
            slug_holder: None,
            credentials_are_kept: true,
            access: if mux_silent { Access::Failed(mux()) } else { access },
            set_aside: None,
            addresses_wait: false,
            stream,
            stream_is_awaited: false,
            marked_age: Duration::ZERO,
            egresses_age: Duration::ZERO,
            creating_for: Duration::from_secs(3600),
            marked: if mux_silent { Seen::Failed(mux()) } else { Seen::Known(marked.collect()) },
            rooms: if livekit_silent { Seen::Failed(livekit()) } else { Seen::Known(self.rooms()) },
            egresses: if livekit_silent { Seen::Failed(livekit()) } else { Seen::Known(self.egresses()) },
            pods,
            recorded_pod,
            boots_wrong: false,
            compositor,
            participants: match (livekit_silent, status.started_at.is_some() && status.ended_at.is_none()) {
                (_, false) => Seen::NotAsked,
                (true, true) => Seen::Failed(livekit()),
                (false, true) => Seen::Known(self.participants()),
            },
            sight: match (self.lit, self.named) {
                (true, _) => Sight::Grows,
                (false, Some(Mux::Active)) => Sight::Still(Duration::from_secs(20)),
                (false, _) => Sight::NotLooked,
            },
            mux_connected: None,
            kept_key: (usize::from(self.kept) < STREAMS)
                .then(|| KeptKey { stream_id: stream_id(self.kept), key: key(self.kept) }),
            start: self.start_seen(),
            worker,
            stops: BTreeSet::new(),
            unsent: BTreeSet::new(),
            backoffs: self.backoffs(),
            credentials: Some(credentials),
            endpoint: None,
        }
    }

    fn rooms(&self) -> Vec<LiveKitRoom> {
        let room = |epoch, sid| LiveKitRoom {
            name: room_name(UID, epoch),
            sid,
            metadata: marker(CLUSTER, UID),
            created_at: 0,
        };
        let older = self.older_room.then(|| room(EPOCH - 1, "RM_older".into()));
        older.into_iter().chain(self.room.map(|number| room(EPOCH, sid(number)))).collect()
    }

    fn egresses(&self) -> Vec<memorialstream_operator::providers::livekit::Egress> {
        let mut all: Vec<_> = self.foreign.then(super::provider::recording).into_iter().collect();
        let ours = self.egresses.iter().enumerate();
        all.extend(ours.filter_map(|(slot, seen)| seen.map(|seen| egress(egress_id(number(slot)), &seen))));
        all
    }

    fn participants(&self) -> Vec<Participant> {
        let joined = |egress: &Egress| match egress.job {
            Job::Dead { joined, .. } => joined,
            Job::Starting | Job::DeadEnding | Job::Over => false,
            _ => egress.in_room || egress.job == Job::Ending,
        };
        let workers = self.egresses.iter().enumerate();
        let workers = workers.filter(|(_, egress)| egress.as_ref().is_some_and(joined));
        let workers = workers.map(|(slot, _)| (egress_id(number(slot)), ParticipantKind::Egress));
        let publishes = self.pods.iter().flatten().any(|pod| pod.publishes);
        let program = publishes.then(|| (PROGRAM_IDENTITY.to_owned(), ParticipantKind::Standard));
        let participant = |(identity, kind)| Participant {
            identity,
            sid: "PA".into(),
            kind,
            tracks: Vec::new(),
            joined_at: 0,
        };
        program.into_iter().chain(workers).map(participant).collect()
    }

    fn pod(&self, pod: &Pod, status: &MemorialStreamStatus) -> PodSeen {
        let name = pod_name(NAME, i64::from(pod.incarnation));
        let recorded = status.compositor.as_ref().and_then(|compositor| compositor.pod_name.as_ref());
        let hour = SignedDuration::from_hours(1);
        PodSeen {
            stray: recorded != Some(&name),
            name,
            incarnation: i64::from(pod.incarnation),
            deleting: matches!(pod.phase, Phase::Terminating | Phase::Stuck),
            finished: pod.phase == Phase::Finished,
            ready: pod.phase == Phase::Ready,
            ip: (pod.phase == Phase::Ready).then(|| "198.18.0.9".into()),
            settings: SETTINGS.clone(),
            gone_by: match pod.phase {
                Phase::Terminating => now().checked_add(hour).ok(),
                Phase::Stuck => now().checked_sub(hour).ok(),
                Phase::Ready | Phase::Finished => None,
            },
            ..PodSeen::default()
        }
    }

    fn start_seen(&self) -> StartSeen {
        let failed = |class, cause| StartSeen::Finished(Err(error(Provider::LiveKit, class, cause)));
        match self.start {
            Start::None => StartSeen::None,
            Start::Running(_) => StartSeen::InFlight,
            Start::Answered(slot) => {
                let started = Egress { job: Job::Starting, to: 0, in_room: true };
                StartSeen::Finished(Ok(Box::new(egress(egress_id(slot), &started))))
            }
            Start::Busy => failed(ErrorClass::Busy, Some(Cause::NoCapacity)),
            Start::Refused => failed(ErrorClass::Transient, None),
            Start::Doubt => failed(ErrorClass::InDoubt, None),
        }
    }

    fn backoffs(&self) -> Backoffs {
        let one = |held: &Held| {
            let backoff = Backoff {
                count: 1,
                remaining: Duration::from_secs(if held.now { 10 } else { 0 }),
                reason: if held.busy { Reason::WaitingForCapacity } else { Reason::ProviderNotAnswering },
                message: "no".into(),
                terminal: false,
            };
            (held.effect, backoff)
        };
        self.held.iter().map(one).collect()
    }
}

/// A slot's number, and back.
fn number(index: usize) -> u8 {
    u8::try_from(index).unwrap()
}

/// The egress that status names.
pub fn named_egress(status: &MemorialStreamStatus) -> Option<u8> {
    status.egress.as_ref().and_then(|egress| egress.id.as_deref()).map(slot)
}
