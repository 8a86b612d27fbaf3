//! What can be asked of LiveKit.

use super::egress::{Egress, ProgramEgress};
use super::error::{classify, is};
use super::room::{LivekitRoom, Participant};
use crate::providers::transport::Repeat;
use crate::providers::{ErrorClass, Provider, ProviderError, Result, Secret};
use livekit_api::services::egress::{EgressClient, EgressListFilter, EgressListOptions};
use livekit_api::services::room::{CreateRoomOptions, RoomClient};
use livekit_api::services::{ServerErrorCode, ServiceError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const ROOM_TIMEOUT: Duration = Duration::from_secs(10);
/// The server tries for up to 15 s to reach an egress worker.
const EGRESS_TIMEOUT: Duration = Duration::from_secs(20);
/// The server tries for more than a minute to start an egress; giving up earlier does not undo it.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// With what to call LiveKit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LivekitCredentials {
    /// `wss://…`, `ws://…`, `https://…` or `http://…`. livekit-api ignores a path.
    pub url: String,
    /// The project's key.
    pub api_key: String,
    /// The key's secret.
    pub api_secret: Secret,
}

/// A client of one LiveKit project. Cheap to clone. It sends each request once: livekit-api's fail-over to other
/// regions is off, because a start that is sent again can run twice.
///
/// # Errors
/// Every method's error is classed: [`ErrorClass::InDoubt`] only where an egress may have been started.
#[derive(Clone)]
pub struct LivekitClient {
    clients: Arc<Clients>,
}

struct Clients {
    rooms: RoomClient,
    egress: EgressClient,
    starts: EgressClient,
}

impl fmt::Debug for LivekitClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LivekitClient")
    }
}

impl LivekitClient {
    /// A client.
    ///
    /// # Errors
    /// The URL is none that LiveKit could have.
    pub fn new(credentials: &LivekitCredentials) -> Result<Self> {
        let LivekitCredentials { url, api_key, api_secret } = credentials;
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

    /// Creates a room. One of that name that lives already is returned as it is: its settings do not change.
    /// It closes `empty_timeout_seconds` after its creation if nobody joins, and `departure_timeout_seconds` after
    /// the last one left; egress does not hold it open.
    pub async fn create_room(
        &self,
        name: &str,
        metadata: &str,
        empty_timeout_seconds: u32,
        departure_timeout_seconds: u32,
    ) -> Result<LivekitRoom> {
        let options = CreateRoomOptions {
            empty_timeout: empty_timeout_seconds,
            departure_timeout: departure_timeout_seconds,
            metadata: metadata.to_owned(),
            ..CreateRoomOptions::default()
        };
        let room = self.clients.rooms.create_room(name, options).await.map_err(safe("create_room"))?;
        Ok(room.into())
    }

    /// One room, if it lives.
    pub async fn room(&self, name: &str) -> Result<Option<LivekitRoom>> {
        let rooms = self.clients.rooms.list_rooms(vec![name.to_owned()]).await.map_err(safe("room"))?;
        Ok(rooms.into_iter().find(|room| room.name == name).map(LivekitRoom::from))
    }

    /// Every room of the project.
    pub async fn rooms(&self) -> Result<Vec<LivekitRoom>> {
        let rooms = self.clients.rooms.list_rooms(Vec::new()).await.map_err(safe("rooms"))?;
        Ok(rooms.into_iter().map(LivekitRoom::from).collect())
    }

    /// Deletes a room and disconnects everybody. One that is gone already is success.
    pub async fn delete_room(&self, name: &str) -> Result<()> {
        match self.clients.rooms.delete_room(name).await {
            Err(error) if is(&error, ServerErrorCode::NOT_FOUND) => Ok(()),
            other => other.map_err(safe("delete_room")),
        }
    }

    /// Who is in a room; nobody in one that does not exist.
    pub async fn participants(&self, room: &str) -> Result<Vec<Participant>> {
        match self.clients.rooms.list_participants(room).await {
            Err(error) if is(&error, ServerErrorCode::NOT_FOUND) => Ok(Vec::new()),
            Err(error) => Err(safe("participants")(error)),
            Ok(participants) => Ok(participants.into_iter().map(Participant::from).collect()),
        }
    }

    /// Disconnects a participant. One that is gone already is success.
    pub async fn remove_participant(&self, room: &str, identity: &str) -> Result<()> {
        match self.clients.rooms.remove_participant(room, identity).await {
            Err(error) if is(&error, ServerErrorCode::NOT_FOUND) => Ok(()),
            other => other.map_err(safe("remove_participant")),
        }
    }

    /// Starts an egress through `StartEgress`, which needs livekit-server 1.13 or newer. Takes up to 90 s.
    pub async fn start_program_egress(&self, request: &ProgramEgress) -> Result<Egress> {
        let started = self.clients.starts.start_egress(request.request()).await;
        started.map(Egress::from).map_err(|error| classify("start_program_egress", Repeat::Never, &error))
    }

    /// Egresses of a room's name, or of the whole project, with those of the last 24 hours that are over unless
    /// `active_only`.
    pub async fn egresses(&self, room: Option<&str>, active_only: bool) -> Result<Vec<Egress>> {
        let filter = room.map_or(EgressListFilter::All, |room| EgressListFilter::Room(room.to_owned()));
        let options = EgressListOptions { filter, active: active_only, page_token: None };
        let egresses = self.clients.egress.list_egress(options).await.map_err(safe("egresses"))?;
        Ok(egresses.into_iter().map(Egress::from).collect())
    }

    /// One egress, whatever its state. LiveKit forgets it 24 hours after its end.
    pub async fn egress(&self, id: &str) -> Result<Option<Egress>> {
        let filter = EgressListFilter::Egress(id.to_owned());
        let options = EgressListOptions { filter, active: false, page_token: None };
        match self.clients.egress.list_egress(options).await {
            Err(error) if is(&error, ServerErrorCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(safe("egress")(error)),
            Ok(egresses) => Ok(egresses.into_iter().find(|egress| egress.egress_id == id).map(Egress::from)),
        }
    }

    /// Asks an egress to stop; it is over some time after. One that ends or is over already is success.
    pub async fn stop_egress(&self, id: &str) -> Result<()> {
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
