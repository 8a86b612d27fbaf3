//! LiveKit as the lanes see it: one client per set of credentials, and lists that serve all objects of a project.

use super::shared::{PerCredentials, Shared};
use crate::providers::ProviderError;
use crate::providers::livekit::{
    Egress, LiveKitApi, LiveKitClient, LiveKitCredentials, LiveKitRoom, Participant, ProgramEgress,
};
use crate::world;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// How long a room lives that nobody joined yet: longer than any Standby may last.
const EMPTY_TIMEOUT_SECONDS: u32 = 24 * 3600;
/// How long a room lives after the last one left: a compositor that restarts must find it again.
const DEPARTURE_TIMEOUT_SECONDS: u32 = 24 * 3600;

struct Project {
    api: Arc<dyn LiveKitApi>,
    rooms: Shared<Vec<LiveKitRoom>>,
    egresses: Shared<Vec<Egress>>,
    participants: PerCredentials<String, Shared<Vec<Participant>>>,
}

type Connect = dyn Fn(&LiveKitCredentials) -> Result<Arc<dyn LiveKitApi>, ProviderError> + Send + Sync;

/// LiveKit, with whatever credentials the lanes bring.
pub struct LiveKit {
    connect: Box<Connect>,
    projects: PerCredentials<LiveKitCredentials, Project>,
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
        Self { connect: Box::new(connect), projects: PerCredentials::default() }
    }

    fn project(&self, credentials: &LiveKitCredentials) -> Result<Arc<Project>, ProviderError> {
        self.projects.get(credentials, || {
            Ok(Project {
                api: (self.connect)(credentials)?,
                rooms: Shared::default(),
                egresses: Shared::default(),
                participants: PerCredentials::default(),
            })
        })
    }
}

#[async_trait]
impl world::LiveKit for LiveKit {
    async fn rooms(
        &self,
        credentials: &LiveKitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LiveKitRoom>>, ProviderError> {
        let project = self.project(credentials)?;
        project.rooms.get(freshness, project.api.rooms()).await
    }

    async fn participants(
        &self,
        credentials: &LiveKitCredentials,
        room: &str,
        freshness: Duration,
    ) -> Result<Arc<Vec<Participant>>, ProviderError> {
        let project = self.project(credentials)?;
        let shared = project.participants.get(&room.to_owned(), || Ok(Shared::default()))?;
        shared.get(freshness, project.api.participants(room)).await
    }

    async fn active_egresses(
        &self,
        credentials: &LiveKitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<Egress>>, ProviderError> {
        let project = self.project(credentials)?;
        project.egresses.get(freshness, project.api.egresses(None, true)).await
    }

    async fn egress(
        &self,
        credentials: &LiveKitCredentials,
        id: &str,
    ) -> Result<Option<Egress>, ProviderError> {
        self.project(credentials)?.api.egress(id).await
    }

    async fn create_room(
        &self,
        credentials: &LiveKitCredentials,
        name: &str,
        metadata: &str,
    ) -> Result<LiveKitRoom, ProviderError> {
        let project = self.project(credentials)?;
        let room =
            project.api.create_room(name, metadata, EMPTY_TIMEOUT_SECONDS, DEPARTURE_TIMEOUT_SECONDS).await?;
        project.rooms.forget().await;
        Ok(room)
    }

    async fn delete_room(&self, credentials: &LiveKitCredentials, name: &str) -> Result<(), ProviderError> {
        let project = self.project(credentials)?;
        project.api.delete_room(name).await?;
        project.rooms.forget().await;
        Ok(())
    }

    async fn start_egress(
        &self,
        credentials: &LiveKitCredentials,
        request: &ProgramEgress,
    ) -> Result<Egress, ProviderError> {
        let project = self.project(credentials)?;
        let egress = project.api.start_program_egress(request).await?;
        project.egresses.forget().await;
        Ok(egress)
    }

    async fn stop_egress(&self, credentials: &LiveKitCredentials, id: &str) -> Result<(), ProviderError> {
        let project = self.project(credentials)?;
        project.api.stop_egress(id).await?;
        project.egresses.forget().await;
        Ok(())
    }
}
