//! A service and what is seen of it, for the unit tests of what decides: all is well, until a test changes what it is about.

use super::backoff::{Backoff, Effect};
use super::in_flight::{StartSeen, WorkerSeen};
use super::observed::{Observed, Seen};
use super::plan::{Action, Plan, Timings, plan};
use super::sight::Sight;
use super::status::describe;
use crate::api::conditions::{ConditionType, Truth, find};
use crate::api::names::FINALIZER;
use crate::api::spec::{Camera, EgressSettings, State, Via};
use crate::api::status::{CompositorStatus as Recorded, EgressStatus, MuxStatus, RoomStatus};
use crate::api::{MemorialStream, MemorialStreamSpec, MemorialStreamStatus, Reason};
use crate::providers::livekit::{Egress, EgressStatus as Word, LiveKitCredentials, LiveKitRoom};
use crate::providers::mux::{Environment, LiveStream, LiveStreamStatus, MuxCredentials};
use crate::providers::{ErrorClass, Provider, ProviderError, Secret};
use crate::service::Identity;
use crate::service::credentials::{Access, Credentials};
use crate::service::pod::{PodSeen, RecordedPod, settings_fingerprint};
use crate::service::stream_key::{KeptKey, fingerprint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use memorialstream_compositor_protocol::{
    CompositorStatus, PublisherStatus, RtmpDestination, SenderState, SenderStatus,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Without the key.
const INGEST: &str = "rtmp://mux/app";

/// What a pass is given.
pub struct Given {
    pub object: MemorialStream,
    pub seen: Observed,
    pub now: Timestamp,
}

impl Given {
    /// At rest: there is a stream that takes no ingest.
    pub fn idle() -> Self {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let camera = Camera { name: "lectern".into(), display_name: None };
        let spec = MemorialStreamSpec {
            state: Some(State::Idle),
            cameras: vec![camera],
            ..MemorialStreamSpec::default()
        };
        let mut object = MemorialStream::new("jane", spec);
        object.metadata.namespace = Some("default".into());
        object.metadata.uid = Some("uid".into());
        object.metadata.generation = Some(1);
        object.metadata.finalizers = Some(vec![FINALIZER.into()]);
        let status = MemorialStreamStatus {
            state: Some(State::Idle),
            observed_generation: Some(1),
            mux: Some(MuxStatus { stream_id: Some("stream".into()), ..MuxStatus::default() }),
            playback_url: Some("https://play/playback.m3u8".into()),
            ..MemorialStreamStatus::default()
        };
        object.status = Some(status);
        let seen = Observed {
            cluster_id: "cluster".into(),
            compositor_image: String::new(),
            age_of_active: None,
            slug_holder: None,
            credentials_are_kept: false,
            access: Access::Granted {
                environment: Environment {
                    environment_id: "environment".into(),
                    environment_name: None,
                    environment_type: None,
                    organization_name: None,
                },
                rtmp_url: INGEST.into(),
                livekit_url: "wss://livekit".into(),
                playback_base_url: "https://play".into(),
            },
            set_aside: None,
            addresses_wait: false,
            stream: Seen::Known(Some(stream())),
            stream_is_awaited: false,
            marked_age: Duration::ZERO,
            egresses_age: Duration::ZERO,
            creating_for: Duration::from_secs(3600),
            marked: Seen::NotAsked,
            rooms: Seen::Known(Vec::new()),
            egresses: Seen::Known(Vec::new()),
            pods: Vec::new(),
            recorded_pod: RecordedPod::Seen,
            boots_wrong: false,
            compositor: None,
            participants: Seen::NotAsked,
            sight: Sight::NotLooked,
            mux_connected: None,
            kept_key: Some(KeptKey { stream_id: "stream".into(), key: Secret::new("key") }),
            start: StartSeen::None,
            unsent: BTreeSet::new(),
            worker: None,
            stops: BTreeSet::new(),
            backoffs: BTreeMap::new(),
            credentials: Some(Credentials {
                mux: MuxCredentials {
                    base_url: "https://mux".into(),
                    token_id: "token".into(),
                    token_secret: Secret::new("secret"),
                },
                rtmp_url: INGEST.into(),
                playback_base_url: "https://play".into(),
                livekit: LiveKitCredentials {
                    url: "wss://livekit".into(),
                    api_key: "key".into(),
                    api_secret: Secret::new("secret"),
                },
            }),
            endpoint: None,
        };
        Self { object, seen, now }
    }

    /// Everything runs but a sender.
    pub fn standby() -> Self {
        let mut given = Self::idle();
        let identity = given.identity();
        given.object.spec.state = Some(State::Standby);
        given.stream().status = LiveStreamStatus::Idle;
        let room = LiveKitRoom {
            name: identity.room_name(0),
            sid: "RM_1".into(),
            metadata: "our marker".into(),
            created_at: 0,
        };
        let standby_since = Some(given.ago(600));
        let status = given.status();
        status.state = Some(State::Standby);
        status.standby_since = standby_since;
        status.room = Some(RoomStatus {
            name: Some(room.name.clone()),
            sid: Some(room.sid.clone()),
            ..RoomStatus::default()
        });
        status.compositor = Some(Recorded {
            pod_name: Some("jane-compositor-1".into()),
            incarnation: 1,
            made: true,
            ..Recorded::default()
        });
        given.seen.rooms = Seen::Known(vec![room]);
        given.seen.pods = vec![PodSeen {
            name: "jane-compositor-1".into(),
            incarnation: 1,
            ready: true,
            settings: settings_fingerprint(&given.object.spec),
            ..PodSeen::default()
        }];
        given.seen.compositor = Some(Ok(CompositorStatus {
            protocol_version: 1,
            frames: 100,
            frame_age_milliseconds: Some(20),
            publisher: PublisherStatus { connected: true, ..PublisherStatus::default() },
            ..CompositorStatus::default()
        }));
        given
    }

    /// On air for ten minutes.
    pub fn live(via: Via) -> Self {
        let mut given = Self::standby();
        given.object.spec.state = Some(State::Live);
        given.object.spec.egress = Some(EgressSettings { via: Some(via), livekit: None });
        given.stream().status = LiveStreamStatus::Active;
        let since = given.ago(600);
        let destination = RtmpDestination { url: INGEST.into(), stream_key: Secret::new("key") };
        let mut egress = EgressStatus {
            via: Some(via),
            session: Some(1),
            attempt: 1,
            started_at: Some(since.clone()),
            ..EgressStatus::default()
        };
        match via {
            Via::LiveKit => {
                egress.id = Some("EG_1".into());
                egress.status = Some("Active".into());
                let redacted = crate::providers::livekit::redact(destination.location().reveal());
                let room = given.identity().room_name(0);
                given.seen.egresses = Seen::Known(vec![Egress {
                    id: "EG_1".into(),
                    room_name: room,
                    room_id: "RM_1".into(),
                    status: Word::Active,
                    error: String::new(),
                    started_at: 0,
                    ended_at: 0,
                    updated_at: 0,
                    destination_connected: true,
                    redacted_urls: vec![redacted],
                    identity: Some("program".into()),
                    last_retry_at: 0,
                }]);
                given.seen.worker = Some(WorkerSeen { id: "EG_1".into(), ..WorkerSeen::default() });
            }
            Via::Compositor => {
                egress.revision = 1;
                egress.status = Some("Connected".into());
                given.pod_says().sender = SenderStatus {
                    state: SenderState::Connected,
                    destination: Some(fingerprint(&destination)),
                    revision: 1,
                    ..SenderStatus::default()
                };
            }
        }
        given.seen.sight = Sight::Grows;
        let status = given.status();
        status.state = Some(State::Live);
        status.standby_since = None;
        status.live_since = Some(since.clone());
        status.started_at = Some(since);
        status.live_session = Some(1);
        status.egress = Some(Box::new(egress));
        given.said_before(ConditionType::OnAir, Truth::True, 600);
        given
    }

    pub fn ask(mut self, state: State) -> Self {
        self.object.spec.state = Some(state);
        self
    }

    pub fn deleted(mut self) -> Self {
        self.object.metadata.deletion_timestamp = Some(self.ago(1));
        self
    }

    pub fn identity(&self) -> Identity {
        Identity::of(&self.object).unwrap()
    }

    pub fn status(&mut self) -> &mut MemorialStreamStatus {
        self.object.status.get_or_insert_default()
    }

    pub fn egress(&mut self) -> &mut EgressStatus {
        self.status().egress.get_or_insert_default()
    }

    pub fn stream(&mut self) -> &mut LiveStream {
        let Seen::Known(Some(stream)) = &mut self.seen.stream else { panic!("no stream") };
        stream
    }

    pub fn record(&mut self) -> &mut Egress {
        let Seen::Known(egresses) = &mut self.seen.egresses else { panic!("no list") };
        &mut egresses[0]
    }

    pub fn pod_says(&mut self) -> &mut CompositorStatus {
        let Some(Ok(compositor)) = &mut self.seen.compositor else { panic!("no compositor") };
        compositor
    }

    pub fn ago(&self, seconds: i64) -> Time {
        Time(self.now - SignedDuration::from_secs(seconds))
    }

    /// Status said so already, since so many seconds.
    pub fn said_before(&mut self, kind: ConditionType, truth: Truth, seconds: i64) {
        let condition = Condition {
            type_: kind.as_str().into(),
            status: truth.as_str().into(),
            reason: String::new(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: self.ago(seconds),
        };
        self.status().conditions.retain(|before| before.type_ != condition.type_);
        self.status().conditions.push(condition);
    }

    pub fn plan(&self) -> Plan {
        plan(&self.identity(), &self.object, &self.seen, self.now, &Timings::default())
    }

    pub fn actions(&self) -> Vec<Action> {
        self.plan().actions
    }

    /// The reasons of the Events.
    pub fn events(&self) -> Vec<&'static str> {
        self.plan().events.iter().map(|event| event.reason).collect()
    }

    /// Status after the pass.
    pub fn described(&self) -> MemorialStreamStatus {
        describe(&self.object, &self.seen, &self.plan(), self.now)
    }

    /// What a condition says after the pass.
    pub fn says(&self, kind: ConditionType) -> Condition {
        find(&self.described().conditions, kind).unwrap().clone()
    }

    /// An effect failed, and is left alone for so many seconds.
    pub fn fails(&mut self, effect: Effect, seconds: u64) {
        let backoff = Backoff {
            count: 1,
            remaining: Duration::from_secs(seconds),
            reason: Reason::Refused,
            message: "the provider's words".into(),
            terminal: false,
        };
        self.seen.backoffs.insert(effect, backoff);
    }
}

/// A provider did not answer.
pub fn silence() -> ProviderError {
    ProviderError {
        provider: Provider::LiveKit,
        operation: "a question",
        class: ErrorClass::Transient,
        message: "silence".into(),
        cause: None,
    }
}

/// A provider refused the credentials.
pub fn refusal() -> ProviderError {
    ProviderError { class: ErrorClass::Credentials, message: "refused".into(), ..silence() }
}

fn stream() -> LiveStream {
    serde_json::from_value(serde_json::json!({
        "id": "stream",
        "created_at": 1_700_000_000,
        "status": "disabled",
        "stream_key": "key",
        "playback_ids": [{ "id": "playback", "policy": "public" }],
        "latency_mode": "standard",
        "reconnect_window": 120,
    }))
    .unwrap()
}
