//! A world with one compositor pod and no provider: all that the fast lane may touch.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, Secret as KubernetesSecret};
use k8s_openapi::jiff::Timestamp;
use memorialstream_compositor_protocol::{
    BEARER_TOKEN_FILE, CompositorStatus, ControlDocument, ProgramApplied, PublisherStatus, SenderRequest,
    SenderState, SenderStatus, Shown,
};
use memorialstream_operator::api::spec::{Camera, State};
use memorialstream_operator::api::status::OwnedByProgram;
use memorialstream_operator::api::{MemorialStream, MemorialStreamSpec, MemorialStreamStatus};
use memorialstream_operator::providers::livekit::{
    Egress, LiveKitCredentials, LiveKitRoom, Participant, ProgramEgress,
};
use memorialstream_operator::providers::mux::{
    Environment, LiveStream, LiveStreamUpdate, MuxCredentials, NewLiveStream,
};
use memorialstream_operator::providers::{ProviderError, Secret};
use memorialstream_operator::world::{
    Clock, Compositor, CompositorError, KubernetesError, LiveKit, Mux, Objects, PodEndpoint, Pods,
    SecretData, Secrets, World,
};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// A service that is Live, with the cameras `lectern` and `wide`.
pub fn live_object() -> MemorialStream {
    let camera = |name: &str| Camera { name: name.into(), display_name: None };
    let spec = MemorialStreamSpec {
        state: Some(State::Live),
        cameras: vec![camera("lectern"), camera("wide")],
        ..MemorialStreamSpec::default()
    };
    let mut object = MemorialStream::new("jane-doe", spec);
    object.metadata.namespace = Some("default".into());
    object.metadata.uid = Some("uid-1".into());
    object
}

/// How the pod answers a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It shows what is asked for.
    Shown,
    /// Not at all.
    Never,
}

/// The world.
pub struct OnlyAPod {
    answer: Mutex<Answer>,
    documents: watch::Sender<Vec<ControlDocument>>,
    /// What the pod shows: a document that it answered.
    current: Mutex<Option<ControlDocument>>,
    newest_generation: watch::Sender<i64>,
    written: Mutex<Vec<OwnedByProgram>>,
}

impl OnlyAPod {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(Answer::Shown),
            documents: watch::Sender::default(),
            current: Mutex::default(),
            newest_generation: watch::Sender::new(1),
            written: Mutex::default(),
        })
    }

    pub fn world(self: &Arc<Self>) -> World {
        World {
            clock: self.clone(),
            objects: self.clone(),
            secrets: self.clone(),
            pods: self.clone(),
            mux: self.clone(),
            livekit: self.clone(),
            compositor: self.clone(),
        }
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Returns once the pod was sent `count` documents.
    pub async fn received(&self, count: usize) {
        self.documents.subscribe().wait_for(|all| all.len() >= count).await.unwrap();
    }

    pub fn documents(&self) -> Vec<ControlDocument> {
        self.documents.borrow().clone()
    }

    /// The cache learns of a newer generation.
    pub fn newest_generation(&self, generation: i64) {
        self.newest_generation.send_replace(generation);
    }

    pub fn restart_pod(&self) {
        *self.current.lock().unwrap() = None;
    }

    /// Every status that was written.
    pub fn written(&self) -> Vec<OwnedByProgram> {
        self.written.lock().unwrap().clone()
    }
}

impl Clock for OnlyAPod {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }
    fn jitter(&self) -> f64 {
        0.5
    }
    fn unguessable(&self) -> Secret {
        Secret::new("bearer")
    }
}

#[async_trait]
impl Compositor for OnlyAPod {
    async fn status(&self, _: &PodEndpoint) -> Result<CompositorStatus, CompositorError> {
        let current = self.current.lock().unwrap().clone();
        Ok(CompositorStatus {
            generation: current.as_ref().map_or(0, |document| document.generation),
            revision: current.as_ref().map_or(0, |document| document.revision),
            frames: 1,
            frame_age_milliseconds: Some(30),
            publisher: PublisherStatus { connected: true, ..PublisherStatus::default() },
            sender: SenderStatus { state: SenderState::Off, ..SenderStatus::default() },
            shown: current.as_ref().map_or(Shown { sources: Vec::new(), slate: None }, shown),
            camera_was_shown: false,
            sources: Vec::new(),
            ..CompositorStatus::default()
        })
    }

    async fn program(
        &self,
        _: &PodEndpoint,
        document: &ControlDocument,
    ) -> Result<ProgramApplied, CompositorError> {
        let answer = *self.answer.lock().unwrap();
        self.documents.send_modify(|all| all.push(document.clone()));
        if answer == Answer::Never {
            std::future::pending::<()>().await;
        }
        *self.current.lock().unwrap() = Some(document.clone());
        Ok(ProgramApplied {
            applied_generation: document.generation,
            applied_revision: document.revision,
            frame_presentation_nanoseconds: 0,
            take_milliseconds: 20,
            shown: shown(document),
            ..ProgramApplied::default()
        })
    }

    async fn sender(&self, _: &PodEndpoint, _: &SenderRequest) -> Result<SenderStatus, CompositorError> {
        unreachable!("the life-cycle lane's")
    }
}

fn shown(document: &ControlDocument) -> Shown {
    Shown { sources: document.program.sources.clone(), slate: None }
}

#[async_trait]
impl Objects for OnlyAPod {
    fn memorial_streams(&self) -> Vec<Arc<MemorialStream>> {
        unreachable!("the life-cycle lane's")
    }
    async fn superseded(&self, object: &MemorialStream) {
        let generation = object.metadata.generation.unwrap_or(0);
        self.newest_generation.subscribe().wait_for(|newest| *newest > generation).await.unwrap();
    }
    async fn set_finalizer(&self, _: &MemorialStream, _: bool) -> Result<(), KubernetesError> {
        unreachable!("the life-cycle lane's")
    }
    async fn write_status(
        &self,
        _: &MemorialStream,
        _: &MemorialStreamStatus,
    ) -> Result<MemorialStream, KubernetesError> {
        unreachable!("the life-cycle lane's")
    }
    async fn write_program_status(
        &self,
        _: &MemorialStream,
        status: &OwnedByProgram,
    ) -> Result<(), KubernetesError> {
        self.written.lock().unwrap().push(status.clone());
        Ok(())
    }
    async fn publish_event(&self, _: &MemorialStream, _: bool, _: &str, _: &str) {}
}

#[async_trait]
impl Secrets for OnlyAPod {
    async fn secret(&self, namespace: &str, _: &str) -> Result<Option<SecretData>, KubernetesError> {
        let credentials = [
            ("LIVEKIT_URL", "ws://livekit"),
            ("LIVEKIT_API_KEY", "key"),
            ("LIVEKIT_API_SECRET", "a-secret-of-at-least-32-characters"),
            ("MUX_TOKEN_ID", "id"),
            ("MUX_TOKEN_SECRET", "secret"),
        ];
        let bearer = [(BEARER_TOKEN_FILE, "bearer")];
        let data = if namespace == "system" { &credentials[..] } else { &bearer[..] };
        Ok(Some(data.iter().map(|(key, value)| ((*key).to_owned(), Secret::new(*value))).collect()))
    }
    async fn apply_secret(&self, _: KubernetesSecret) -> Result<(), KubernetesError> {
        Ok(())
    }
}

#[async_trait]
impl Pods for OnlyAPod {
    fn pods(&self, _: &MemorialStream) -> Vec<Arc<Pod>> {
        let pod = json!({
            "metadata": {"name": "jane-doe-compositor-1"},
            "status": {"phase": "Running", "podIP": "198.18.0.9"}
        });
        vec![Arc::new(serde_json::from_value(pod).unwrap())]
    }
    async fn create_pod(&self, _: Pod) -> Result<(), KubernetesError> {
        unreachable!("the life-cycle lane's")
    }
    async fn delete_pod(&self, _: &str, _: &str) -> Result<(), KubernetesError> {
        unreachable!("the life-cycle lane's")
    }
}

/// The fast lane asks no provider: a TAKE never waits for one.
#[async_trait]
impl Mux for OnlyAPod {
    async fn environment(&self, _: &MuxCredentials) -> Result<Environment, ProviderError> {
        unreachable!()
    }
    async fn active_streams(
        &self,
        _: &MuxCredentials,
        _: Duration,
    ) -> Result<Arc<Vec<LiveStream>>, ProviderError> {
        unreachable!()
    }
    async fn stream(
        &self,
        _: &MuxCredentials,
        _: &str,
        _: Duration,
    ) -> Result<Option<LiveStream>, ProviderError> {
        unreachable!()
    }
    async fn spare_look(
        &self,
        _: &MuxCredentials,
        _: &str,
        _: Duration,
    ) -> Option<Result<Option<LiveStream>, ProviderError>> {
        unreachable!()
    }
    async fn all_streams(
        &self,
        _: &MuxCredentials,
        _: Duration,
    ) -> Result<Arc<Vec<LiveStream>>, ProviderError> {
        unreachable!()
    }
    async fn create_stream(
        &self,
        _: &MuxCredentials,
        _: &NewLiveStream,
    ) -> Result<LiveStream, ProviderError> {
        unreachable!()
    }
    async fn update_stream(
        &self,
        _: &MuxCredentials,
        _: &str,
        _: &LiveStreamUpdate,
    ) -> Result<(), ProviderError> {
        unreachable!()
    }
    async fn enable_stream(&self, _: &MuxCredentials, _: &str) -> Result<(), ProviderError> {
        unreachable!()
    }
    async fn disable_stream(&self, _: &MuxCredentials, _: &str) -> Result<(), ProviderError> {
        unreachable!()
    }
    async fn complete_stream(&self, _: &MuxCredentials, _: &str) -> Result<(), ProviderError> {
        unreachable!()
    }
    async fn delete_stream(&self, _: &MuxCredentials, _: &str) -> Result<(), ProviderError> {
        unreachable!()
    }
}

/// Nor this one.
#[async_trait]
impl LiveKit for OnlyAPod {
    async fn rooms(
        &self,
        _: &LiveKitCredentials,
        _: Duration,
    ) -> Result<Arc<Vec<LiveKitRoom>>, ProviderError> {
        unreachable!()
    }
    async fn participants(
        &self,
        _: &LiveKitCredentials,
        _: &str,
        _: Duration,
    ) -> Result<Arc<Vec<Participant>>, ProviderError> {
        unreachable!()
    }
    async fn active_egresses(
        &self,
        _: &LiveKitCredentials,
        _: Duration,
    ) -> Result<Arc<Vec<Egress>>, ProviderError> {
        unreachable!()
    }
    async fn egress(
        &self,
        _: &LiveKitCredentials,
        _: &str,
        _: Duration,
    ) -> Result<Option<Egress>, ProviderError> {
        unreachable!()
    }
    async fn create_room(
        &self,
        _: &LiveKitCredentials,
        _: &str,
        _: &str,
    ) -> Result<LiveKitRoom, ProviderError> {
        unreachable!()
    }
    async fn delete_room(&self, _: &LiveKitCredentials, _: &str) -> Result<(), ProviderError> {
        unreachable!()
    }
    async fn start_egress(&self, _: &LiveKitCredentials, _: &ProgramEgress) -> Result<Egress, ProviderError> {
        unreachable!()
    }
    async fn stop_egress(&self, _: &LiveKitCredentials, _: &str) -> Result<(), ProviderError> {
        unreachable!()
    }
}
