//! A model of Kubernetes, Mux, LiveKit and the pod: just enough to answer the planner, with answers that get lost.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use memorialstream_compositor_protocol as protocol;
use memorialstream_operator::api::names::{FINALIZER, marker};
use memorialstream_operator::api::spec::State;
use memorialstream_operator::api::{MemorialStream, MemorialStreamSpec, MemorialStreamStatus, Reason};
use memorialstream_operator::lifecycle::apply::{Outcome, settle};
use memorialstream_operator::lifecycle::backoff::{Effect, Failure, FailureClass};
use memorialstream_operator::lifecycle::context::Memory;
use memorialstream_operator::lifecycle::in_flight::StartSeen;
use memorialstream_operator::lifecycle::look::{StreamLook, look};
use memorialstream_operator::lifecycle::observed::{Observed, Seen};
use memorialstream_operator::lifecycle::plan::{Action, Plan, Timings, plan};
use memorialstream_operator::lifecycle::status::describe;
use memorialstream_operator::providers::livekit::{Egress, EgressStatus, LiveKitRoom};
use memorialstream_operator::providers::mux::{
    Environment, LatencyMode, LiveStream, LiveStreamStatus, PlaybackId,
};
use memorialstream_operator::providers::{Cause, ErrorClass, Provider, ProviderError, Secret};
use memorialstream_operator::service::Identity;
use memorialstream_operator::service::credentials::Access;
use memorialstream_operator::service::desired::desired;
use memorialstream_operator::service::pod::{PodSeen, settings_fingerprint};
use std::collections::HashMap;

/// What goes wrong in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The operator dies once its record is written, before it acts.
    CrashBeforeActions,
    /// Every call is processed, and every answer is lost.
    AnswersLost,
    /// The operator dies after it acted, before it writes down what came of it.
    CrashAfterActions,
    /// Neither provider answers.
    ProvidersDown,
    /// Mux does not even say whose credentials these are; LiveKit answers.
    MuxDown,
}

/// The world.
pub struct Model {
    pub object: MemorialStream,
    pub now: Timestamp,
    pub streams: Vec<LiveStream>,
    pub rooms: Vec<LiveKitRoom>,
    pub egresses: Vec<Egress>,
    pub pods: Vec<PodSeen>,
    /// The pod's own sender.
    pub sender: bool,
    pub program_advances: bool,
    /// A declared camera has not joined.
    pub camera_missing: bool,
    /// Whether an egress worker takes a start.
    pub capacity: bool,
    /// How often devices still join a room again that was deleted under them, and open it by that.
    pub rejoins: usize,
    /// All streams are searched for the marker in each pass, whatever it asks.
    pub searches: bool,
    /// Starts that LiveKit was asked for.
    pub started: usize,
    memory: Memory,
    /// Rooms that were deleted while devices were in them.
    left: Vec<String>,
    /// Things that a list does not show before: the answer to their creation was lost, and lists lag.
    hidden: HashMap<String, Timestamp>,
    made: usize,
    released: bool,
}

impl Model {
    pub fn new(spec: MemorialStreamSpec) -> Self {
        let mut object = MemorialStream::new("jane-doe", spec);
        object.metadata.uid = Some("uid-1".into());
        object.metadata.namespace = Some("default".into());
        object.metadata.generation = Some(1);
        Self {
            object,
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            streams: Vec::new(),
            rooms: Vec::new(),
            egresses: Vec::new(),
            pods: Vec::new(),
            sender: false,
            program_advances: true,
            camera_missing: false,
            capacity: true,
            rejoins: 0,
            searches: false,
            started: 0,
            memory: Memory::default(),
            left: Vec::new(),
            hidden: HashMap::new(),
            made: 0,
            released: false,
        }
    }

    fn identity(&self) -> Identity {
        Identity::of(&self.object).unwrap()
    }

    pub fn status(&self) -> MemorialStreamStatus {
        self.object.status.clone().unwrap_or_default()
    }

    pub fn ask(&mut self, state: State) {
        self.object.spec.state = Some(state);
        self.object.metadata.generation = self.object.metadata.generation.map(|generation| generation + 1);
    }

    pub fn delete(&mut self) {
        self.object.metadata.deletion_timestamp = Some(Time(self.now));
    }

    pub fn released(&self) -> bool {
        self.released
    }

    pub fn active_egresses(&self) -> usize {
        let runs = |egress: &&Egress| matches!(egress.status, EgressStatus::Starting | EgressStatus::Active);
        self.egresses.iter().filter(runs).count()
    }

    /// Passes without faults until nothing changes any more. Returns what was done.
    pub fn settle(&mut self) -> Vec<Action> {
        let mut done = Vec::new();
        let mut quiet = 0;
        for _ in 0..600 {
            let before = serde_json::to_value(self.status()).unwrap();
            let actions = self.step(Fault::None);
            let same = serde_json::to_value(self.status()).unwrap() == before;
            quiet = if actions.is_empty() && same { quiet + 1 } else { 0 };
            done.extend(actions);
            // Longer than the longest wait that is followed by an action.
            if quiet > 80 || self.released {
                break;
            }
        }
        done
    }

    fn observe(&self, fault: Fault) -> Observed {
        let livekit_down = fault == Fault::ProvidersDown;
        let mux_down = livekit_down || fault == Fault::MuxDown;
        let error = |provider| ProviderError {
            provider,
            operation: "test",
            class: ErrorClass::Transient,
            message: "no answer".into(),
            cause: None,
        };
        let status = self.status();
        let id = status.mux.as_ref().and_then(|mux| mux.stream_id.clone());
        let listed = |id: &String| self.hidden.get(id).is_none_or(|until| *until <= self.now);
        let all_marked: Vec<LiveStream> =
            self.streams.iter().filter(|stream| listed(&stream.id)).cloned().collect();
        let named = status.egress.as_ref().and_then(|egress| egress.id.clone());
        let egresses: Vec<Egress> = self
            .egresses
            .iter()
            .filter(|egress| named.as_ref() == Some(&egress.id) || listed(&egress.id))
            .cloned()
            .collect();
        let stream = id.map_or(Seen::NotAsked, |id| {
            Seen::Known(self.streams.iter().find(|stream| stream.id == id).cloned())
        });
        let pod = self.pods.iter().any(|pod| pod.ready);
        let backoffs = self.memory.failures.backoffs();
        let state = desired(&self.object, self.now).state;
        // A look on which nothing depends is never granted here: nothing may depend on it.
        let look = look(&self.object, state, pod, &backoffs, self.now, &Timings::default());
        let (stream, marked) = match look.stream {
            StreamLook::No | StreamLook::Spare(_) => (Seen::NotAsked, Seen::NotAsked),
            StreamLook::Search(_) => (Seen::NotAsked, Seen::Known(all_marked.clone())),
            StreamLook::Now | StreamLook::OnAir { .. } | StreamLook::ById(_) => (stream, Seen::NotAsked),
        };
        let known = Access::Granted {
            environment: Environment {
                environment_id: "env".into(),
                environment_name: None,
                environment_type: None,
                organization_name: None,
            },
            rtmp_url: "rtmp://ingest/app".into(),
            livekit_url: "wss://livekit".into(),
            playback_base_url: "https://stream.example".into(),
        };
        let marked = if self.searches { Seen::Known(all_marked) } else { marked };
        let refused = Access::Failed(error(Provider::Mux));
        Observed {
            cluster_id: "cluster".into(),
            slug_holder: None,
            set_aside: None,
            access: if fault == Fault::MuxDown { refused } else { known },
            stream: if mux_down { Seen::Failed(error(Provider::Mux)) } else { stream },
            marked: if mux_down { Seen::Failed(error(Provider::Mux)) } else { marked },
            rooms: if livekit_down {
                Seen::Failed(error(Provider::LiveKit))
            } else {
                Seen::Known(self.rooms.clone())
            },
            egresses: if livekit_down {
                Seen::Failed(error(Provider::LiveKit))
            } else {
                look.egresses.map_or(Seen::NotAsked, |_| Seen::Known(egresses))
            },
            pods: self.pods.clone(),
            compositor: pod.then(|| Ok(self.compositor())),
            start: self.memory.start.seen(),
            backoffs,
            credentials: None,
            endpoint: None,
        }
    }

    fn compositor(&self) -> protocol::CompositorStatus {
        let state = if self.sender { protocol::SenderState::Connected } else { protocol::SenderState::Off };
        protocol::CompositorStatus {
            generation: 1,
            revision: 0,
            frames: 1,
            frame_age_milliseconds: Some(if self.program_advances { 30 } else { 9_000 }),
            publisher: protocol::PublisherStatus { connected: true, ..Default::default() },
            sender: protocol::SenderStatus { state, attempts: 1, ..Default::default() },
            shown: protocol::Shown { sources: Vec::new(), slate: Some(protocol::SlateText::Before) },
            camera_was_shown: false,
            sources: self.camera_missing.then(absent_camera).into_iter().collect(),
            ..protocol::CompositorStatus::default()
        }
    }

    /// What would be decided now. The answer to a start is told once, so this looks without one.
    pub fn plan(&self) -> Plan {
        let observed = Observed { start: StartSeen::None, ..self.observe(Fault::None) };
        plan(&self.identity(), &self.object, &observed, self.now, &Timings::default())
    }

    /// One pass, and two seconds. Returns what was done.
    pub fn step(&mut self, fault: Fault) -> Vec<Action> {
        self.live_on();
        let observed = self.observe(fault);
        self.rejoin();
        let plan = plan(&self.identity(), &self.object, &observed, self.now, &Timings::default());
        let described = describe(&self.object, &observed, &plan, self.now);
        let unchanged_object = plan
            .actions
            .iter()
            .any(|action| matches!(action, Action::AddFinalizer | Action::RemoveFinalizer));
        if !unchanged_object {
            self.object.status = Some(described.clone());
        }
        self.now = self.now.checked_add(SignedDuration::from_secs(2)).unwrap();
        if fault == Fault::CrashBeforeActions {
            self.memory = Memory::default();
            return Vec::new();
        }
        let mut outcomes = Vec::new();
        for action in &plan.actions {
            match self.perform(action, fault) {
                Ok(outcome) => outcomes.extend(outcome),
                Err(certain) => {
                    if certain && matches!(action, Action::CreateStream(_)) {
                        outcomes.push(Outcome::StreamNotCreated);
                    }
                    let failure = Failure {
                        class: FailureClass::Transient,
                        reason: Reason::ProviderNotAnswering,
                        message: "lost".into(),
                    };
                    self.memory.failures.failed(action.effect(), failure, self.now, 0.5);
                    if !action.may_fail() {
                        break;
                    }
                }
            }
        }
        if fault == Fault::CrashAfterActions {
            self.memory = Memory::default();
        } else if !unchanged_object {
            self.object.status = Some(settle(described, &outcomes));
        }
        plan.actions
    }

    /// `Err(certain)`: no answer; `certain` says whether it surely did not happen.
    fn perform(&mut self, action: &Action, fault: Fault) -> Result<Option<Outcome>, bool> {
        let silent = match action.effect() {
            Effect::Pod => false,
            Effect::MuxStream => matches!(fault, Fault::ProvidersDown | Fault::MuxDown),
            Effect::Room | Effect::Sender => fault == Fault::ProvidersDown,
        };
        if silent {
            return Err(true);
        }
        let mut outcome = None;
        match action {
            Action::AddFinalizer => self.object.metadata.finalizers = Some(vec![FINALIZER.into()]),
            Action::RemoveFinalizer => {
                self.object.metadata.finalizers = None;
                self.released = true;
            }
            Action::CreateStream(new) => {
                self.made += 1;
                assert_eq!(new.passthrough, marker("cluster", "uid-1"));
                let id = format!("stream-{}", self.made);
                outcome = Some(Outcome::StreamCreated(id.clone()));
                self.hide(&id, fault, 30);
                self.streams.push(LiveStream {
                    playback_ids: vec![PlaybackId {
                        id: format!("playback-{}", self.made),
                        policy: "public".into(),
                    }],
                    id,
                    created_at: self.now.as_second(),
                    status: LiveStreamStatus::Idle,
                    stream_key: Secret::new("key"),
                    passthrough: Some(new.passthrough.clone()),
                    latency_mode: LatencyMode::Standard,
                    reconnect_window_seconds: new.reconnect_window_seconds,
                    active_asset_id: None,
                    recent_asset_ids: Vec::new(),
                    test: new.test,
                    connected: None,
                });
            }
            Action::EnableStream(id) => self.set_stream(id, LiveStreamStatus::Idle),
            Action::DisableStream(id) => {
                self.set_stream(id, LiveStreamStatus::Disabled);
                self.sender = false;
            }
            Action::CompleteStream(id) => self.set_stream(id, LiveStreamStatus::Idle),
            Action::UpdateStream(..) => {}
            Action::DeleteStream(id) => {
                self.streams.retain(|stream| stream.id != *id);
                outcome = Some(Outcome::StreamDeleted(id.clone()));
            }
            Action::CreateRoom(name) => self.open_room(name.clone()),
            Action::DeleteRoom(name) => {
                self.rooms.retain(|room| room.name != *name);
                self.left.push(name.clone());
            }
            Action::CreatePod { name, incarnation } => self.pods.push(PodSeen {
                name: name.clone(),
                incarnation: *incarnation,
                ready: true,
                ip: Some("198.18.0.9".into()),
                settings: settings_fingerprint(&self.object.spec),
                ..PodSeen::default()
            }),
            Action::DeletePod(name) => {
                self.pods.retain(|pod| pod.name != *name);
                self.sender = false;
            }
            Action::StartEgress { room } => self.start_egress(room, fault),
            Action::StopEgress(id) => {
                for egress in self.egresses.iter_mut().filter(|egress| egress.id == *id) {
                    egress.status = EgressStatus::Complete;
                }
            }
            Action::StartSender => self.sender = true,
            Action::StopSender => self.sender = false,
        }
        let started = matches!(action, Action::StartEgress { .. });
        if fault == Fault::AnswersLost && !started { Err(false) } else { Ok(outcome) }
    }

    pub fn open_room(&mut self, name: String) {
        self.made += 1;
        let sid = format!("RM_{}", self.made);
        self.rooms.push(LiveKitRoom { name, sid, metadata: String::new(), created_at: 0 });
    }

    /// LiveKit makes a room for whoever joins it, also where it was deleted. Here just after the
    /// lane looked and saw that it was gone.
    fn rejoin(&mut self) {
        let Some(name) = self.left.pop() else { return };
        if self.rejoins > 0 {
            self.rejoins -= 1;
            self.open_room(name);
        }
    }

    fn start_egress(&mut self, room: &str, fault: Fault) {
        self.started += 1;
        let error = |class, cause| ProviderError {
            provider: Provider::LiveKit,
            operation: "start",
            class,
            message: "no".into(),
            cause,
        };
        if !self.capacity {
            let error = error(ErrorClass::Busy, Some(Cause::NoCapacity));
            let failure = Failure {
                class: FailureClass::Busy,
                reason: Reason::WaitingForCapacity,
                message: error.message.clone(),
            };
            self.memory.failures.failed(Effect::Sender, failure, self.now, 0.5);
            return self.memory.start.finished(Err(error));
        }
        assert_eq!(self.active_egresses(), 0, "a second egress is started");
        let egress = Egress {
            id: format!("EG_{}", self.started),
            room_name: room.to_owned(),
            room_id: String::new(),
            status: EgressStatus::Active,
            error: String::new(),
            started_at: self.now.as_second(),
            ended_at: 0,
            updated_at: 0,
            destination_connected: true,
            redacted_urls: Vec::new(),
        };
        self.hide(&egress.id, fault, 90);
        self.egresses.push(egress.clone());
        match fault {
            Fault::AnswersLost => self.memory.start.finished(Err(error(ErrorClass::InDoubt, None))),
            _ => self.memory.start.finished(Ok(egress)),
        }
    }

    fn hide(&mut self, id: &str, fault: Fault, seconds: i64) {
        if matches!(fault, Fault::AnswersLost | Fault::CrashAfterActions) {
            let until = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
            self.hidden.insert(id.to_owned(), until);
        }
    }

    fn set_stream(&mut self, id: &str, status: LiveStreamStatus) {
        for stream in self.streams.iter_mut().filter(|stream| stream.id == id) {
            stream.status = status.clone();
        }
    }

    /// Mux is active while something sends to an enabled stream.
    fn live_on(&mut self) {
        let sends = self.sender
            || self
                .egresses
                .iter()
                .any(|egress| egress.status == EgressStatus::Active && egress.destination_connected);
        for stream in &mut self.streams {
            if sends && stream.status == LiveStreamStatus::Idle {
                stream.status = LiveStreamStatus::Active;
            }
        }
    }
}

fn absent_camera() -> protocol::Source {
    protocol::Source {
        name: "lectern".into(),
        state: protocol::SourceState::Absent,
        input_age_milliseconds: None,
        has_audio: false,
    }
}
