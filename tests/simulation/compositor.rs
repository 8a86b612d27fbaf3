//! The compositor in a pod: boots from its Secret, publishes Program in the room, composites what it is sent, and sends
//! to Mux by itself when it is told to.

use crate::cluster::Key;
use crate::faults::{Fault, Site};
use crate::land::Land;
use crate::livekit::Who;
use crate::process::{Broken, Process};
use async_trait::async_trait;
use memorialstream_compositor_protocol as protocol;
use memorialstream_operator::api::names::PROGRAM_IDENTITY;
use memorialstream_operator::service::stream_key::fingerprint;
use memorialstream_operator::world::{self, CompositorError, PodEndpoint};
use protocol::{
    BEARER_TOKEN_FILE, BootDocument, CompositorStatus, ControlDocument, MediaTaken, ProgramApplied,
    PublisherStatus, Refusal, RefusalReason, SenderRequest, SenderState, SenderStatus, Shown, SlateText,
    Source, SourceState,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a container boots from.
pub struct Boot(ControlDocument);

impl Boot {
    /// A pod of version 0 refuses fields that it does not know.
    pub fn read(text: &str, protocol: u32) -> Option<Self> {
        let boot: BootDocument = serde_json::from_str(text).ok()?;
        (protocol > 0 || boot.control.protocol_version == 0).then_some(Self(boot.control))
    }
}

/// Its own sender.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    pub destination: Option<protocol::RtmpDestination>,
    pub revision: u64,
    pub connection: Option<String>,
    pub attempts: u64,
    pub error: Option<String>,
    /// Tells attempts of another wish from this one's.
    wish: u64,
}

/// A container's process.
pub struct Compositor {
    pub pod: Key,
    pub uid: String,
    pub ip: String,
    pub restarts: i32,
    pub running: bool,
    pub bearer: String,
    pub mounted: BTreeMap<String, String>,
    pub document: Option<ControlDocument>,
    pub publishes: bool,
    /// Somebody else joined as Program: it is silent until it is sent a document.
    pub taken: bool,
    /// Why it could not boot: it waits for a document.
    pub boot_error: Option<&'static str>,
    /// It refuses every document, for this reason.
    pub refuses: Option<RefusalReason>,
    /// Nothing is answered before then.
    pub hung_until: u64,
    /// Program's frames stand still since then.
    pub frozen_since: Option<u64>,
    pub camera_was_shown: bool,
    pub sender: Sender,
    pub protocol: u32,
    since: u64,
}

impl Compositor {
    #[expect(clippy::too_many_arguments, reason = "what a container is made of")]
    pub fn new(
        pod: Key,
        uid: String,
        ip: String,
        restarts: i32,
        mounted: BTreeMap<String, String>,
        boot: Option<Boot>,
        since: u64,
        protocol: u32,
    ) -> Self {
        let bearer = mounted.get(BEARER_TOKEN_FILE).cloned().unwrap_or_default();
        let boot_error = boot.is_none().then_some("control: it cannot be read");
        Self {
            pod,
            uid,
            ip,
            restarts,
            running: true,
            bearer,
            mounted,
            document: boot.map(|Boot(document)| document),
            publishes: false,
            taken: false,
            boot_error,
            refuses: None,
            hung_until: 0,
            frozen_since: None,
            camera_was_shown: false,
            sender: Sender::default(),
            protocol,
            since,
        }
    }

    /// Program's frames come out and are published.
    pub fn program_flows(&self) -> bool {
        self.running && self.publishes && self.frozen_since.is_none()
    }

    /// It composites: neither silent nor without anything to boot from.
    fn works(&self) -> bool {
        !self.taken && self.document.is_some()
    }

    fn shown(&self, sources: &[Source]) -> Shown {
        let Some(document) = &self.document else { return Shown::default() };
        let live = |name: &String| {
            sources.iter().any(|source| source.name == *name && source.state == SourceState::Live)
        };
        let program = &document.program;
        let asked: Vec<String> = program.sources.iter().filter(|name| live(name)).cloned().collect();
        let shown = if asked.is_empty() && !program.sources.is_empty() {
            program.fallback.iter().find(|name| live(name)).cloned().into_iter().collect()
        } else {
            asked
        };
        let slate = shown.is_empty().then_some(match document.slate.text {
            SlateText::Before if self.camera_was_shown => SlateText::Interrupted,
            text => text,
        });
        Shown { sources: shown, slate }
    }
}

impl Land {
    /// The pod joins its room as Program. The newer of two takes the identity.
    pub fn join_as_program(&mut self, key: &Key) {
        let Some(container) = self.kubelet.containers.get(key).filter(|one| one.running && !one.taken) else {
            return;
        };
        let Some(room) = container.document.as_ref().map(|document| document.room.clone()) else { return };
        if container.publishes {
            return;
        }
        if !self.join(&room.url, &room.name, PROGRAM_IDENTITY, Who::Program(key.clone())) {
            let key = key.clone();
            return self.after(2_000, move |land| land.join_as_program(&key));
        }
        if let Some(container) = self.kubelet.containers.get_mut(key) {
            container.publishes = true;
        }
        self.note(|| format!("{} publishes Program in {}", key.1, room.name));
    }

    pub fn leave_as_program(&mut self, key: &Key) {
        let Some(container) = self.kubelet.containers.get_mut(key) else { return };
        if !std::mem::take(&mut container.publishes) {
            return;
        }
        let Some(room) = container.document.as_ref().map(|document| document.room.clone()) else { return };
        self.leave(&room.url, &room.name, PROGRAM_IDENTITY);
    }

    /// LiveKit put Program out: its room is gone, or somebody took its identity.
    pub fn program_is_out(&mut self, key: &Key, taken: bool) {
        let Some(container) = self.kubelet.containers.get_mut(key) else { return };
        container.publishes = false;
        container.taken |= taken;
        if taken {
            self.note(|| format!("the identity of {} is taken", key.1));
            return self.stop_own_sender(key);
        }
        let key = key.clone();
        self.after(1_000, move |land| land.join_as_program(&key));
    }

    pub fn stop_own_sender(&mut self, key: &Key) {
        let Some(container) = self.kubelet.containers.get_mut(key) else { return };
        let sender = std::mem::take(&mut container.sender);
        container.sender.wish = sender.wish + 1;
        container.sender.revision = sender.revision;
        if let Some(connection) = sender.connection {
            self.hang_up(&connection);
        }
    }

    fn try_to_send(&mut self, key: &Key, wish: u64) {
        let Some(container) = self.kubelet.containers.get_mut(key) else { return };
        let sender = &mut container.sender;
        if sender.wish != wish || sender.connection.is_some() || !container.running {
            return;
        }
        let Some(destination) = sender.destination.clone() else { return };
        sender.attempts += 1;
        let uid = container.uid.clone();
        let name = format!("{}#{}", key.1, self.next_serial());
        let published = self.publish(destination.stream_key.reveal(), &name, &uid);
        let Some(container) = self.kubelet.containers.get_mut(key) else { return };
        match published {
            Ok(()) => {
                container.sender.connection = Some(name);
                container.sender.error = None;
            }
            Err(refused) => {
                container.sender.error = Some(refused);
                let key = key.clone();
                self.after(5_000, move |land| land.try_to_send(&key, wish));
            }
        }
    }

    /// Mux cut it off: it tries again.
    pub fn own_sender_is_cut_off(&mut self, key: &Key) {
        let Some(container) = self.kubelet.containers.get_mut(key) else { return };
        container.sender.connection = None;
        container.sender.error = Some("the connection broke".into());
        let (key, wish) = (key.clone(), container.sender.wish);
        self.after(1_000, move |land| land.try_to_send(&key, wish));
    }

    fn container_at(&self, ip: &str) -> Option<Key> {
        let container =
            self.kubelet.containers.values().find(|container| container.ip == ip && container.running);
        container.map(|container| container.pod.clone())
    }

    fn sources(&self, key: &Key) -> Vec<Source> {
        let container = self.kubelet.containers.get(key);
        let Some(document) = container.and_then(|container| container.document.as_ref()) else {
            return Vec::new();
        };
        let present = |identity: &str| self.is_in_room(&document.room.url, &document.room.name, identity);
        document
            .cameras
            .iter()
            .map(|camera| Source {
                name: camera.name.clone(),
                state: if present(&camera.identity) { SourceState::Live } else { SourceState::Absent },
                input_age_milliseconds: None,
                has_audio: true,
            })
            .collect()
    }

    fn pod_status(&mut self, key: &Key) -> CompositorStatus {
        let sources = self.sources(key);
        let now = self.now;
        let Some(container) = self.kubelet.containers.get_mut(key) else {
            return CompositorStatus::default();
        };
        if !container.works() {
            let error = container.taken.then(|| "another participant joined as the same identity".to_owned());
            return CompositorStatus {
                protocol_version: container.protocol,
                boot_error: container.boot_error.filter(|_| !container.taken).map(str::to_owned),
                encoded_frames: Some(0),
                publisher: PublisherStatus { connected: false, error, identity_taken: container.taken },
                ..CompositorStatus::default()
            };
        }
        let shown = container.shown(&sources);
        container.camera_was_shown |= !shown.sources.is_empty();
        let age = container.frozen_since.map_or(30, |since| now - since + 30);
        let old = container.protocol == 0;
        let document = container.document.clone().unwrap_or_default();
        CompositorStatus {
            protocol_version: container.protocol,
            boot_error: None,
            generation: document.generation,
            revision: document.revision,
            frames: (now - container.since) / 33,
            frame_age_milliseconds: Some(age),
            encoded_frames: (!old).then_some((now - container.since) / 33),
            encoded_frame_age_milliseconds: (!old).then_some(age),
            publisher: PublisherStatus { connected: container.publishes, error: None, identity_taken: false },
            sender: sender_status(&container.sender, old),
            shown,
            camera_was_shown: container.camera_was_shown,
            sources,
        }
    }

    fn show(&mut self, key: &Key, document: &ControlDocument) -> Result<ProgramApplied, CompositorError> {
        let Some(container) = self.kubelet.containers.get_mut(key) else { return Err(unreachable()) };
        let refused = |reason, message: &str| {
            Err(CompositorError::Refused(Refusal { reason, message: message.to_owned() }))
        };
        let order = |document: &ControlDocument| (document.generation, document.revision);
        if let Some(reason) = container.refuses {
            return refused(reason, "simulated");
        }
        if container.works()
            && container.document.as_ref().is_some_and(|before| order(before) >= order(document))
        {
            return refused(RefusalReason::Outdated, "a newer document was applied");
        }
        if container.protocol == 0 && document.protocol_version > 0 {
            return refused(RefusalReason::Malformed, "unknown field protocolVersion");
        }
        let declared = |name: &String| document.cameras.iter().any(|camera| camera.name == *name);
        if !document.program.sources.iter().all(declared) {
            return refused(RefusalReason::UnknownCamera, "no such camera");
        }
        if document.program.sources.len() > document.program.layout.capacity() {
            return refused(RefusalReason::TooManySources, "too many");
        }
        if container.frozen_since.is_some() {
            return refused(RefusalReason::PipelineNotRunning, "no frame came out in time");
        }
        let before = container.document.as_ref().map(|document| document.room.clone());
        let (session, taken) = (container.document.as_ref().map(|one| one.session), container.taken);
        if session != Some(document.session) {
            container.camera_was_shown = false;
        }
        let moves = before
            .as_ref()
            .is_none_or(|room| (&room.url, &room.name) != (&document.room.url, &document.room.name));
        if moves {
            self.leave_as_program(key);
        }
        let Some(container) = self.kubelet.containers.get_mut(key) else { return Err(unreachable()) };
        container.document = Some(document.clone());
        container.taken = false;
        if container.boot_error.take().is_some() {
            let key = key.clone();
            self.after(600, move |land| land.report(&key, true));
        }
        if moves || taken {
            let key = key.clone();
            self.after(300, move |land| land.join_as_program(&key));
        }
        self.take_is_applied(key);
        let sources = self.sources(key);
        let Some(container) = self.kubelet.containers.get_mut(key) else { return Err(unreachable()) };
        let shown = container.shown(&sources);
        container.camera_was_shown |= !shown.sources.is_empty();
        Ok(ProgramApplied {
            applied_generation: document.generation,
            applied_revision: document.revision,
            frame_presentation_nanoseconds: 0,
            take_milliseconds: 20,
            shown,
            sources,
            unknown_fields: Vec::new(),
        })
    }

    fn send(&mut self, key: &Key, request: &SenderRequest) -> Result<SenderStatus, CompositorError> {
        let Some(container) = self.kubelet.containers.get_mut(key) else { return Err(unreachable()) };
        if request.revision != 0 && request.revision < container.sender.revision {
            let message = "a newer wish was taken".to_owned();
            return Err(CompositorError::Refused(Refusal { reason: RefusalReason::Outdated, message }));
        }
        if !container.works() {
            let message = "nothing is composited that could be sent, send a document first".to_owned();
            return match request.rtmp {
                None => Ok(SenderStatus::default()),
                Some(_) => Err(CompositorError::Refused(Refusal {
                    reason: RefusalReason::PipelineNotRunning,
                    message,
                })),
            };
        }
        container.sender.revision = container.sender.revision.max(request.revision);
        if container.sender.destination != request.rtmp {
            self.stop_own_sender(key);
            let Some(container) = self.kubelet.containers.get_mut(key) else { return Err(unreachable()) };
            container.sender.destination = request.rtmp.clone();
            let (key, wish) = (key.clone(), container.sender.wish);
            if request.rtmp.is_some() {
                self.after(600, move |land| land.try_to_send(&key, wish));
            }
        }
        let container = self.kubelet.containers.get(key).ok_or_else(unreachable)?;
        Ok(sender_status(&container.sender, container.protocol == 0))
    }
}

fn sender_status(sender: &Sender, old: bool) -> SenderStatus {
    let connected = sender.connection.is_some();
    SenderStatus {
        state: match (&sender.destination, connected) {
            (None, _) => SenderState::Off,
            (Some(_), false) => SenderState::Connecting,
            (Some(_), true) => SenderState::Connected,
        },
        attempts: sender.attempts,
        error: sender.error.clone(),
        destination: sender.destination.as_ref().filter(|_| !old).map(fingerprint),
        revision: sender.revision,
        media_taken: (connected && !old).then_some(MediaTaken { bytes: 1, age_milliseconds: 20 }),
    }
}

fn unreachable() -> CompositorError {
    CompositorError::Unreachable("cannot connect".into())
}

impl From<Broken> for CompositorError {
    fn from(broken: Broken) -> Self {
        Self::Unreachable(
            match broken {
                Broken::Failed(Fault::ServerError | Fault::ServerErrorAfter) => "/v1 answered 500",
                Broken::Failed(_) => "the connection broke",
                Broken::TimedOut => "no answer in time",
            }
            .into(),
        )
    }
}

impl Process {
    async fn ask<T: Send>(
        &self,
        site: Site,
        pod: &PodEndpoint,
        timeout: Duration,
        commit: impl FnOnce(&mut Land, &Key) -> Result<T, CompositorError> + Send,
    ) -> Result<T, CompositorError> {
        // A process that hangs takes the connection, and answers nobody.
        let hung = {
            let mut land = self.universe.land();
            land.bearer_leaves(&pod.ip, pod.bearer_token.reveal());
            let key = land.container_at(&pod.ip);
            key.is_some_and(|key| land.kubelet.containers[&key].hung_until > land.now)
        };
        if hung {
            tokio::time::sleep(timeout).await;
            return Err(CompositorError::Unreachable("no answer in time".into()));
        }
        self.through(site, &pod.ip, timeout, |land| {
            let key = land.container_at(&pod.ip).ok_or_else(unreachable)?;
            if land.kubelet.containers[&key].bearer != pod.bearer_token.reveal() {
                return Err(CompositorError::Unauthorized);
            }
            commit(land, &key)
        })
        .await?
    }
}

#[async_trait]
impl world::Compositor for Process {
    async fn status(&self, pod: &PodEndpoint) -> Result<CompositorStatus, CompositorError> {
        self.ask(Site::PodStatus, pod, Duration::from_secs(1), |land, key| Ok(land.pod_status(key))).await
    }

    async fn program(
        &self,
        pod: &PodEndpoint,
        document: &ControlDocument,
    ) -> Result<ProgramApplied, CompositorError> {
        self.ask(Site::PodProgram, pod, Duration::from_secs(1), |land, key| {
            land.document_leaves(key, document);
            land.show(key, document)
        })
        .await
    }

    async fn sender(
        &self,
        pod: &PodEndpoint,
        request: &SenderRequest,
    ) -> Result<SenderStatus, CompositorError> {
        self.ask(Site::PodSender, pod, Duration::from_secs(10), |land, key| {
            land.coverage.action(if request.rtmp.is_some() { "StartSender" } else { "StopSender" });
            land.note(|| format!("sender of {}: {}", key.1, request.rtmp.is_some()));
            land.sender_is_asked(key, request.rtmp.as_ref());
            land.send(key, request)
        })
        .await
    }
}
