//! LiveKit as the lanes see it: one client per set of credentials, and lists that serve all objects of a project.

use super::deeds::Deeds;
use super::kept::Kept;
use super::pulse::Pulse;
use super::question::Question;
use crate::providers::livekit::{
    Egress, LiveKitApi, LiveKitClient, LiveKitCredentials, LiveKitRoom, Participant, ProgramEgress,
};
use crate::providers::{Provider, ProviderError};
use crate::world;
use async_trait::async_trait;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// How long a room lives that nobody joined yet: longer than any Standby may last.
const EMPTY_TIMEOUT_SECONDS: u32 = 24 * 3600;
/// How long a room lives after the last one left: a compositor that restarts must find it again.
const DEPARTURE_TIMEOUT_SECONDS: u32 = 24 * 3600;

struct Project {
    api: Arc<dyn LiveKitApi>,
    pulse: Arc<Pulse>,
    rooms: Question<Vec<LiveKitRoom>>,
    egresses: Question<Vec<Egress>>,
    /// By room.
    participants: Kept<String, Question<Vec<Participant>>>,
    /// By id: those that the list does not show.
    over: Kept<String, Question<Option<Egress>>>,
    changes: Deeds<()>,
    creates: Deeds<LiveKitRoom>,
}

type Connect = dyn Fn(&LiveKitCredentials) -> Result<Arc<dyn LiveKitApi>, ProviderError> + Send + Sync;

/// LiveKit, with whatever credentials the lanes bring.
pub struct LiveKit {
    connect: Box<Connect>,
    /// By URL, key and its secret.
    projects: Kept<(String, String, String), Project>,
}

impl LiveKit {
    /// LiveKit as it is reached over the network.
    pub fn over_http() -> Self {
        Self::new(|credentials| Ok(Arc::new(LiveKitClient::new(credentials)?)))
    }

    /// LiveKit, whose projects are reached by what `connect` returns.
    pub fn new(
        connect: impl Fn(&LiveKitCredentials) -> Result<Arc<dyn LiveKitApi>, ProviderError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { connect: Box::new(connect), projects: Kept::default() }
    }

    fn project(&self, credentials: &LiveKitCredentials) -> Result<Arc<Project>, ProviderError> {
        let LiveKitCredentials { url, api_key, api_secret } = credentials;
        let key = (url.clone(), api_key.clone(), api_secret.reveal().to_owned());
        self.projects.get(&key, || {
            Ok(Project {
                api: (self.connect)(credentials)?,
                pulse: Arc::default(),
                rooms: Question::new(Provider::LiveKit, "rooms"),
                egresses: Question::new(Provider::LiveKit, "egresses"),
                participants: Kept::default(),
                over: Kept::default(),
                changes: Deeds::repeatable(Provider::LiveKit),
                creates: Deeds::repeatable(Provider::LiveKit),
            })
        })
    }
}

/// The question about one thing.
fn about<T: Send + Sync + 'static>(
    all: &Kept<String, Question<T>>,
    operation: &'static str,
    what: &str,
) -> Arc<Question<T>> {
    let new = || Ok::<_, Infallible>(Question::new(Provider::LiveKit, operation));
    all.get(&what.to_owned(), new).unwrap_or_else(|never| match never {})
}

#[async_trait]
impl world::LiveKit for LiveKit {
    async fn rooms(
        &self,
        credentials: &LiveKitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LiveKitRoom>>, ProviderError> {
        let project = self.project(credentials)?;
        let (api, pulse) = (Arc::clone(&project.api), Arc::clone(&project.pulse));
        let ask = async move { pulse.watch(api.rooms()).await };
        Ok(project.rooms.get(&project.pulse, freshness, ask).await?.answer)
    }

    async fn participants(
        &self,
        credentials: &LiveKitCredentials,
        room: &str,
        freshness: Duration,
    ) -> Result<Arc<Vec<Participant>>, ProviderError> {
        let project = self.project(credentials)?;
        let (api, pulse, name) = (Arc::clone(&project.api), Arc::clone(&project.pulse), room.to_owned());
        let ask = async move { pulse.watch(api.participants(&name)).await };
        let question = about(&project.participants, "participants", room);
        Ok(question.get(&project.pulse, freshness, ask).await?.answer)
    }

    async fn active_egresses(
        &self,
        credentials: &LiveKitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<Egress>>, ProviderError> {
        let project = self.project(credentials)?;
        let (api, pulse) = (Arc::clone(&project.api), Arc::clone(&project.pulse));
        let ask = async move { pulse.watch(api.egresses(None, true)).await };
        Ok(project.egresses.get(&project.pulse, freshness, ask).await?.answer)
    }

    async fn egress(
        &self,
        credentials: &LiveKitCredentials,
        id: &str,
        freshness: Duration,
    ) -> Result<Option<Egress>, ProviderError> {
        let project = self.project(credentials)?;
        let (api, pulse, named) = (Arc::clone(&project.api), Arc::clone(&project.pulse), id.to_owned());
        let ask = async move { pulse.watch(api.egress(&named)).await };
        let answer = about(&project.over, "egress", id).get(&project.pulse, freshness, ask).await?.answer;
        Ok(answer.as_ref().clone())
    }

    async fn create_room(
        &self,
        credentials: &LiveKitCredentials,
        name: &str,
        metadata: &str,
    ) -> Result<LiveKitRoom, ProviderError> {
        let project = self.project(credentials)?;
        let (here, named, metadata) = (Arc::clone(&project), name.to_owned(), metadata.to_owned());
        let deed = async move {
            let create =
                here.api.create_room(&named, &metadata, EMPTY_TIMEOUT_SECONDS, DEPARTURE_TIMEOUT_SECONDS);
            let room = here.pulse.watch(create).await;
            here.rooms.forget();
            room
        };
        project.creates.run(&project.pulse, "create_room", name, deed).await
    }

    async fn delete_room(&self, credentials: &LiveKitCredentials, name: &str) -> Result<(), ProviderError> {
        let project = self.project(credentials)?;
        let (here, named) = (Arc::clone(&project), name.to_owned());
        let deed = async move {
            let deleted = here.pulse.watch(here.api.delete_room(&named)).await;
            here.rooms.forget();
            deleted
        };
        project.changes.run(&project.pulse, "delete_room", name, deed).await
    }

    async fn start_egress(
        &self,
        credentials: &LiveKitCredentials,
        request: &ProgramEgress,
    ) -> Result<Egress, ProviderError> {
        let project = self.project(credentials)?;
        // It takes long by its nature: that says nothing about the project.
        let started = project.api.start_program_egress(request).await;
        project.egresses.forget();
        // Its worker joins the room: who was there before says nothing of it.
        about(&project.participants, "participants", &request.room).forget();
        started
    }

    async fn ask_worker(&self, credentials: &LiveKitCredentials, id: &str) -> Result<bool, ProviderError> {
        self.project(credentials)?.api.ask_worker(id).await
    }

    async fn stop_egress(&self, credentials: &LiveKitCredentials, id: &str) -> Result<(), ProviderError> {
        let project = self.project(credentials)?;
        let (here, named) = (Arc::clone(&project), id.to_owned());
        let deed = async move {
            let stopped = here.pulse.watch(here.api.stop_egress(&named)).await;
            here.egresses.forget();
            about(&here.over, "egress", &named).forget();
            stopped
        };
        project.changes.run(&project.pulse, "stop_egress", id, deed).await
    }
}
