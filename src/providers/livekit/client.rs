//! What can be asked of LiveKit.

use super::credentials::LiveKitCredentials;
use super::egress::{Egress, ProgramEgress};
use super::error::{classify, is};
use super::room::{LiveKitRoom, Participant};
use super::twirp::{Call, Failure, Twirp};
use crate::providers::transport::Repeat;
use crate::providers::{ProviderError, Result};
use async_trait::async_trait;
use livekit_api::access_token::VideoGrants;
use livekit_api::services::ServerErrorCode;
use livekit_protocol as proto;
use prost::Message;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const ROOM_TIMEOUT: Duration = Duration::from_secs(10);
/// The server tries for up to 15 s to reach an egress worker.
const EGRESS_TIMEOUT: Duration = Duration::from_secs(20);
/// A worker that does not answer in this time does not send either, or LiveKit answers nobody. Of a dead one the server says
/// so after 3 s.
const WORKER_TIMEOUT: Duration = Duration::from_secs(4);
/// What says sooner that it is unavailable did not ask a worker.
const SOONEST_SILENCE: Duration = Duration::from_secs(2);
/// A list of egresses that has more pages than this is not LiveKit's.
const MOST_PAGES: usize = 100;
/// Bytes of a whole list.
const LONGEST_LIST: usize = 64 * 1024 * 1024;
/// The server tries for more than a minute to start an egress; giving up earlier does not undo it.
const START_TIMEOUT: Duration = Duration::from_secs(90);

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

/// A client of one LiveKit project. Cheap to clone. It sends each request once: a start that is sent again can run twice.
#[derive(Clone)]
pub struct LiveKitClient {
    twirp: Arc<Twirp>,
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
        Ok(Self { twirp: Arc::new(Twirp::new(credentials)?) })
    }

    async fn room_service<Q: Message, A: Message + Default>(
        &self,
        method: &'static str,
        request: &Q,
        grants: VideoGrants,
    ) -> std::result::Result<A, Failure> {
        let call = Call { service: "RoomService", method, request, grants, timeout: ROOM_TIMEOUT };
        self.twirp.call(call).await
    }

    async fn egress_service<Q: Message, A: Message + Default>(
        &self,
        method: &'static str,
        request: &Q,
        timeout: Duration,
    ) -> std::result::Result<A, Failure> {
        let grants = VideoGrants { room_record: true, ..VideoGrants::default() };
        self.twirp.call(Call { service: "Egress", method, request, grants, timeout }).await
    }

    /// All pages: self-hosted LiveKit answers with one, its cloud may name a next one. Half a list is none.
    async fn list_egress(
        &self,
        mut request: proto::ListEgressRequest,
    ) -> std::result::Result<Vec<Egress>, Failure> {
        let begun = Instant::now();
        let (mut all, mut length) = (Vec::new(), 0);
        for _ in 0..MOST_PAGES {
            let left = EGRESS_TIMEOUT.saturating_sub(begun.elapsed());
            let listed: proto::ListEgressResponse = self.egress_service("ListEgress", &request, left).await?;
            length += listed.encoded_len();
            if length > LONGEST_LIST {
                break;
            }
            all.extend(listed.items.into_iter().map(Egress::from));
            match listed.next_page_token.filter(|next| !next.token.is_empty()) {
                None => return Ok(all),
                next => request.page_token = next,
            }
        }
        Err(Failure::NotLiveKit(200))
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
        let request = proto::CreateRoomRequest {
            name: name.to_owned(),
            empty_timeout: empty_timeout_seconds,
            departure_timeout: departure_timeout_seconds,
            metadata: metadata.to_owned(),
            ..proto::CreateRoomRequest::default()
        };
        let grants = VideoGrants { room_create: true, ..VideoGrants::default() };
        let room: proto::Room =
            self.room_service("CreateRoom", &request, grants).await.map_err(safe("create_room"))?;
        Ok(room.into())
    }

    async fn rooms(&self) -> Result<Vec<LiveKitRoom>> {
        let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
        let request = proto::ListRoomsRequest::default();
        let listed: proto::ListRoomsResponse =
            self.room_service("ListRooms", &request, grants).await.map_err(safe("rooms"))?;
        Ok(listed.rooms.into_iter().map(LiveKitRoom::from).collect())
    }

    async fn delete_room(&self, name: &str) -> Result<()> {
        let grants = VideoGrants { room_create: true, ..VideoGrants::default() };
        let request = proto::DeleteRoomRequest { room: name.to_owned() };
        let deleted: std::result::Result<proto::DeleteRoomResponse, _> =
            self.room_service("DeleteRoom", &request, grants).await;
        match deleted {
            Err(failure) if is(&failure, ServerErrorCode::NOT_FOUND) => Ok(()),
            other => other.map(drop).map_err(safe("delete_room")),
        }
    }

    async fn participants(&self, room: &str) -> Result<Vec<Participant>> {
        let grants = VideoGrants { room_admin: true, room: room.to_owned(), ..VideoGrants::default() };
        let request = proto::ListParticipantsRequest { room: room.to_owned() };
        let listed: std::result::Result<proto::ListParticipantsResponse, _> =
            self.room_service("ListParticipants", &request, grants).await;
        match listed {
            Err(failure) if is(&failure, ServerErrorCode::NOT_FOUND) => Ok(Vec::new()),
            Err(failure) => Err(safe("participants")(failure)),
            Ok(listed) => Ok(listed.participants.into_iter().map(Participant::from).collect()),
        }
    }

    async fn start_program_egress(&self, request: &ProgramEgress) -> Result<Egress> {
        let started: std::result::Result<proto::EgressInfo, _> =
            self.egress_service("StartEgress", &request.request(), START_TIMEOUT).await;
        started.map(Egress::from).map_err(|failure| classify("start_program_egress", Repeat::Never, &failure))
    }

    async fn egresses(&self, room: Option<&str>, active_only: bool) -> Result<Vec<Egress>> {
        let room_name = room.unwrap_or_default().to_owned();
        let request = proto::ListEgressRequest {
            room_name,
            active: active_only,
            ..proto::ListEgressRequest::default()
        };
        self.list_egress(request).await.map_err(safe("egresses"))
    }

    async fn egress(&self, id: &str) -> Result<Option<Egress>> {
        let request =
            proto::ListEgressRequest { egress_id: id.to_owned(), ..proto::ListEgressRequest::default() };
        match self.list_egress(request).await {
            Err(failure) if is(&failure, ServerErrorCode::NOT_FOUND) => Ok(None),
            Err(failure) => Err(safe("egress")(failure)),
            Ok(egresses) => Ok(egresses.into_iter().find(|egress| egress.id == id)),
        }
    }

    async fn ask_worker(&self, id: &str) -> Result<bool> {
        // A frozen worker is waited for by the server for 15 s, a dead one for 3 s.
        let request = proto::UpdateStreamRequest { egress_id: id.to_owned(), ..Default::default() };
        let begun = Instant::now();
        let asked = self.egress_service("UpdateStream", &request, EGRESS_TIMEOUT);
        let Ok(answer) = tokio::time::timeout(WORKER_TIMEOUT, asked).await else { return Ok(false) };
        let answer: std::result::Result<proto::EgressInfo, _> = answer;
        match answer {
            Ok(_) => Ok(true),
            Err(failure)
                if begun.elapsed() >= SOONEST_SILENCE
                    && (is(&failure, ServerErrorCode::UNAVAILABLE)
                        || is(&failure, ServerErrorCode::DEADLINE_EXCEEDED)) =>
            {
                Ok(false)
            }
            Err(failure) => Err(safe("ask_worker")(failure)),
        }
    }

    async fn stop_egress(&self, id: &str) -> Result<()> {
        let request = proto::StopEgressRequest { egress_id: id.to_owned() };
        let stopped: std::result::Result<proto::EgressInfo, _> =
            self.egress_service("StopEgress", &request, EGRESS_TIMEOUT).await;
        match stopped {
            Err(failure)
                if is(&failure, ServerErrorCode::NOT_FOUND)
                    || is(&failure, ServerErrorCode::FAILED_PRECONDITION) =>
            {
                Ok(())
            }
            other => other.map(drop).map_err(safe("stop_egress")),
        }
    }
}

/// Classes the failure of a call that may be repeated.
fn safe(operation: &'static str) -> impl Fn(Failure) -> ProviderError {
    move |failure| classify(operation, Repeat::Safe, &failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{ErrorClass, Secret};
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A LiveKit that answers each `ListEgress` so, and what it was asked.
    async fn server(
        answer: impl Fn(usize) -> proto::ListEgressResponse + Send + 'static,
    ) -> (LiveKitClient, Arc<Mutex<Vec<proto::ListEgressRequest>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(connection.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap().to_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
                let mut body = vec![0; length.parse().unwrap()];
                connection.read_exact(&mut body).await.unwrap();
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(proto::ListEgressRequest::decode(body.as_slice()).unwrap());
                    seen.len()
                };
                let body = answer(number).encode_to_vec();
                let head =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                connection.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
            }
        });
        let api_secret = Secret::new("a-secret-of-thirty-two-characters");
        let credentials = LiveKitCredentials { url, api_key: "key".into(), api_secret };
        (LiveKitClient::new(&credentials).unwrap(), asked)
    }

    fn page(number: usize, next: Option<&str>) -> proto::ListEgressResponse {
        let items = vec![proto::EgressInfo { egress_id: format!("EG_{number}"), ..Default::default() }];
        let next_page_token = next.map(|token| proto::TokenPagination { token: token.into() });
        proto::ListEgressResponse { items, next_page_token }
    }

    #[tokio::test]
    async fn a_list_of_egresses_is_read_to_its_last_page() {
        let (client, asked) = server(|number| match number {
            1 => page(1, Some("two")),
            2 => page(2, Some("three")),
            _ => page(3, Some("")),
        })
        .await;
        let ids: Vec<String> =
            client.egresses(None, true).await.unwrap().into_iter().map(|egress| egress.id).collect();
        assert_eq!(ids, ["EG_1", "EG_2", "EG_3"]);
        let asked = asked.lock().unwrap();
        let tokens: Vec<Option<&str>> =
            asked.iter().map(|one| one.page_token.as_ref().map(|page| &*page.token)).collect();
        assert_eq!(tokens, [None, Some("two"), Some("three")]);
        assert!(asked.iter().all(|one| one.active), "each page is asked for as the first was");
    }

    #[tokio::test]
    async fn a_list_of_egresses_without_end_is_given_up() {
        let (client, asked) = server(|number| page(number, Some("and so on"))).await;
        let error = client.egresses(None, true).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Credentials);
        assert_eq!(asked.lock().unwrap().len(), MOST_PAGES);
    }
}
