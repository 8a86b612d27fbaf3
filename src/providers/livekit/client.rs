//! What can be asked of LiveKit.

use super::egress::{Egress, ProgramEgress};
use super::error::{classify, is};
use super::room::{LiveKitRoom, Participant};
use crate::providers::transport::Repeat;
use crate::providers::{ErrorClass, Provider, ProviderError, Result, Secret};
use async_trait::async_trait;
use livekit_api::services::egress::{EgressClient, EgressListFilter, EgressListOptions};
use livekit_api::services::room::{CreateRoomOptions, RoomClient};
use livekit_api::services::{ServerErrorCode, ServiceError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const ROOM_TIMEOUT: Duration = Duration::from_secs(10);
/// The server tries for up to 15 s to reach an egress worker.
const EGRESS_TIMEOUT: Duration = Duration::from_secs(20);
/// A worker that does not answer in this time is not there.
const WORKER_TIMEOUT: Duration = Duration::from_secs(4);
/// The server tries for more than a minute to start an egress; giving up earlier does not undo it.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// With what to call LiveKit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LiveKitCredentials {
    /// `wss://…`, `ws://…`, `https://…` or `http://…`. livekit-api ignores a path.
    pub url: String,
    /// The project's key.
    pub api_key: String,
    /// The key's secret.
    pub api_secret: Secret,
}

/// What can be asked of one LiveKit project, each request sent once. Every error is classed:
/// [`ErrorClass::InDoubt`] only where an egress may have been started.
#[async_trait]
pub trait LiveKitApi: Send + Sync {
    /// Creates a room. One of that name that lives already is returned as it is: its settings do not change.
    /// It closes `empty_timeout_seconds` after its creation if nobody joins, and `departure_timeout_seconds` after
    /// the last one left; egress does not hold it open.
    async fn create_room(
        &self,
        name: &str,
        metadata: &str,
        empty_timeout_seconds: u32,
        departure_timeout_seconds: u32,
    ) -> Result<LiveKitRoom>;
    /// Every room of the project.
    async fn rooms(&self) -> Result<Vec<LiveKitRoom>>;
    /// Deletes a room and disconnects everybody. One that is gone already is success.
    async fn delete_room(&self, name: &str) -> Result<()>;
    /// Who is in a room; nobody in one that does not exist.
    async fn participants(&self, room: &str) -> Result<Vec<Participant>>;
    /// Starts an egress through `StartEgress`, which needs livekit-server 1.13 or newer. Takes up to 90 s.
    async fn start_program_egress(&self, request: &ProgramEgress) -> Result<Egress>;
    /// Egresses of a room's name, or of the whole project, with those of the last 24 hours that are over unless
    /// `active_only`.
    async fn egresses(&self, room: Option<&str>, active_only: bool) -> Result<Vec<Egress>>;
    /// One egress, whatever its state. LiveKit forgets it 24 hours after its end.
    async fn egress(&self, id: &str) -> Result<Option<Egress>>;
    /// Whether the worker of an egress answers: it is asked to change nothing, which a healthy one does within 0.02 s.
    async fn ask_worker(&self, id: &str) -> Result<bool>;
    /// Asks an egress to stop; it is over some time after. One that ends or is over already is success.
    async fn stop_egress(&self, id: &str) -> Result<()>;
}

/// A client of one LiveKit project. Cheap to clone. It sends each request once: livekit-api's fail-over to other
/// regions is off, because a start that is sent again can run twice.
#[derive(Clone)]
pub struct LiveKitClient {
    clients: Arc<Clients>,
}

struct Clients {
    rooms: RoomClient,
    egress: EgressClient,
    starts: EgressClient,
}

impl fmt::Debug for LiveKitClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LiveKitClient")
    }
}

impl LiveKitClient {
    /// A client.
    ///
    /// # Errors
    /// The URL is none that LiveKit could have.
    pub fn new(credentials: &LiveKitCredentials) -> Result<Self> {
        let LiveKitCredentials { url, api_key, api_secret } = credentials;
        let usable = reqwest::Url::parse(url)
            .is_ok_and(|url| matches!(url.scheme(), "ws" | "wss" | "http" | "https") && url.has_host());
        if !usable {
            let message = "LiveKit's URL is not a ws, wss, http or https URL; correct it";
            return Err(ProviderError::new(Provider::LiveKit, "new", ErrorClass::Terminal, message));
        }
        let egress = |timeout| {
            let client = EgressClient::with_api_key(url, api_key, api_secret.reveal());
            client.with_failover(false).with_request_timeout(timeout)
        };
        let rooms = RoomClient::with_api_key(url, api_key, api_secret.reveal());
        let rooms = rooms.with_failover(false).with_request_timeout(ROOM_TIMEOUT);
        let clients = Clients { rooms, egress: egress(EGRESS_TIMEOUT), starts: egress(START_TIMEOUT) };
        Ok(Self { clients: Arc::new(clients) })
    }
}

#[async_trait]
impl LiveKitApi for LiveKitClient {
    async fn create_room(
        &self,
        name: &str,
        metadata: &str,
        empty_timeout_seconds: u32,
        departure_timeout_seconds: u32,
    ) -> Result<LiveKitRoom> {
        let options = CreateRoomOptions {
            empty_timeout: empty_timeout_seconds,
            departure_timeout: departure_timeout_seconds,
            metadata: metadata.to_owned(),
            ..CreateRoomOptions::default()
        };
        let room = self.clients.rooms.create_room(name, options).await.map_err(safe("create_room"))?;
        Ok(room.into())
    }

    async fn rooms(&self) -> Result<Vec<LiveKitRoom>> {
        let rooms = self.clients.rooms.list_rooms(Vec::new()).await.map_err(safe("rooms"))?;
        Ok(rooms.into_iter().map(LiveKitRoom::from).collect())
    }

    async fn delete_room(&self, name: &str) -> Result<()> {
        match self.clients.rooms.delete_room(name).await {
            Err(error) if is(&error, ServerErrorCode::NOT_FOUND) => Ok(()),
            other => other.map_err(safe("delete_room")),
        }
    }

    async fn participants(&self, room: &str) -> Result<Vec<Participant>> {
        match self.clients.rooms.list_participants(room).await {
            Err(error) if is(&error, ServerErrorCode::NOT_FOUND) => Ok(Vec::new()),
            Err(error) => Err(safe("participants")(error)),
            Ok(participants) => Ok(participants.into_iter().map(Participant::from).collect()),
        }
    }

    async fn start_program_egress(&self, request: &ProgramEgress) -> Result<Egress> {
        let started = self.clients.starts.start_egress(request.request()).await;
        started.map(Egress::from).map_err(|error| classify("start_program_egress", Repeat::Never, &error))
    }

    async fn egresses(&self, room: Option<&str>, active_only: bool) -> Result<Vec<Egress>> {
        let filter = room.map_or(EgressListFilter::All, |room| EgressListFilter::Room(room.to_owned()));
        let options = EgressListOptions { filter, active: active_only, page_token: None };
        let egresses = self.clients.egress.list_egress(options).await.map_err(safe("egresses"))?;
        Ok(egresses.into_iter().map(Egress::from).collect())
    }

    async fn egress(&self, id: &str) -> Result<Option<Egress>> {
        let filter = EgressListFilter::Egress(id.to_owned());
        let options = EgressListOptions { filter, active: false, page_token: None };
        match self.clients.egress.list_egress(options).await {
            Err(error) if is(&error, ServerErrorCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(safe("egress")(error)),
            Ok(egresses) => Ok(egresses.into_iter().find(|egress| egress.egress_id == id).map(Egress::from)),
        }
    }

    async fn ask_worker(&self, id: &str) -> Result<bool> {
        // A frozen worker is waited for by the server for 15 s, a dead one for 3 s.
        let asked = self.clients.egress.update_stream(id, Vec::new(), Vec::new());
        let Ok(answer) = tokio::time::timeout(WORKER_TIMEOUT, asked).await else { return Ok(false) };
        match answer {
            Ok(_) => Ok(true),
            Err(error)
                if is(&error, ServerErrorCode::UNAVAILABLE)
                    || is(&error, ServerErrorCode::DEADLINE_EXCEEDED) =>
            {
                Ok(false)
            }
            Err(error) => Err(safe("ask_worker")(error)),
        }
    }

    async fn stop_egress(&self, id: &str) -> Result<()> {
        match self.clients.egress.stop_egress(id).await {
            Err(error)
                if is(&error, ServerErrorCode::NOT_FOUND)
                    || is(&error, ServerErrorCode::FAILED_PRECONDITION) =>
            {
                Ok(())
            }
            other => other.map(drop).map_err(safe("stop_egress")),
        }
    }
}

/// Classes the error of a call that may be repeated.
fn safe(operation: &'static str) -> impl Fn(ServiceError) -> ProviderError {
    move |error| classify(operation, Repeat::Safe, &error)
}
