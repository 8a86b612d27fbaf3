//! LiveKit, as the operator reaches it.

use crate::faults::{Fault, Site};
use crate::land::Land;
use crate::livekit::{EgressRecord, Room};
use crate::process::{Broken, Process};
use async_trait::async_trait;
use livekit_protocol as proto;
use memorialstream_operator::providers::livekit::{
    Egress, EgressStatus, LiveKitApi, LiveKitCredentials, LiveKitRoom, Participant, ParticipantKind,
    ProgramEgress, redact,
};
use memorialstream_operator::providers::{Cause, ErrorClass, Provider, ProviderError, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

const ROOM_TIMEOUT: Duration = Duration::from_secs(10);
const EGRESS_TIMEOUT: Duration = Duration::from_secs(20);
const WORKER_TIMEOUT: Duration = Duration::from_secs(4);
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// One project, as one process of the operator reaches it.
pub struct Project {
    pub process: Arc<Process>,
    pub credentials: LiveKitCredentials,
}

fn error(operation: &'static str, class: ErrorClass, message: &str) -> ProviderError {
    ProviderError { provider: Provider::LiveKit, operation, class, message: message.into(), cause: None }
}

/// What the operator reads in an answer without a body: protobuf takes that for a message whose fields are all unset.
trait Unset {
    fn unset() -> Self;
}

impl Unset for () {
    fn unset() {}
}

impl Unset for bool {
    /// Any answer at all shows that somebody is there.
    fn unset() -> Self {
        true
    }
}

impl<T> Unset for Vec<T> {
    fn unset() -> Self {
        Self::new()
    }
}

impl<T> Unset for Option<T> {
    fn unset() -> Self {
        None
    }
}

impl Unset for LiveKitRoom {
    fn unset() -> Self {
        proto::Room::default().into()
    }
}

impl Project {
    /// An answer that the server gives of its own accord. Somebody has to look at the time meanwhile.
    async fn arrives<T>(&self, mut answer: oneshot::Receiver<T>) -> T {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(self.process.universe.land());
            if let Ok(answer) = answer.try_recv() {
                return answer;
            }
        }
    }

    /// `starts`: doing it twice makes two things.
    async fn call<T: Send + Unset>(
        &self,
        (site, operation, starts): (Site, &'static str, bool),
        timeout: Duration,
        commit: impl FnOnce(&mut Land, &str) -> Result<T> + Send,
    ) -> Result<T> {
        let url = &self.credentials.url;
        let doubt = if starts { ErrorClass::InDoubt } else { ErrorClass::Transient };
        let answer = self.process.through(site, url, timeout, |land| {
            land.livekit_secret_leaves(url, &self.credentials);
            let Some(server) = land.livekit.get(url) else {
                return Err(error(operation, ErrorClass::Transient, "LiveKit cannot be reached"));
            };
            if (&*server.api_key, &*server.api_secret)
                != (&*self.credentials.api_key, self.credentials.api_secret.reveal())
            {
                let class = if starts { ErrorClass::InDoubt } else { ErrorClass::Credentials };
                return Err(error(operation, class, "the answer is not LiveKit's API's"));
            }
            commit(land, url)
        });
        answer.await.unwrap_or_else(|broken| {
            let (class, message) = match broken {
                Broken::Failed(Fault::Empty) => return Ok(T::unset()),
                Broken::Failed(Fault::Endless) => {
                    let class = if starts { ErrorClass::InDoubt } else { ErrorClass::Transient };
                    (class, "the answer is longer than any of LiveKit's; check its URL and any proxy")
                }
                Broken::Failed(Fault::Lost) => (ErrorClass::Transient, "LiveKit cannot be reached"),
                Broken::Failed(Fault::TooMany) if starts => {
                    (ErrorClass::Busy, "LiveKit has no worker that is free")
                }
                Broken::Failed(Fault::TooMany) => {
                    (ErrorClass::RateLimited { retry_after: None }, "LiveKit takes no more requests for now")
                }
                Broken::Failed(_) => (doubt, "LiveKit failed (internal)"),
                Broken::TimedOut => (doubt, "LiveKit did not answer in time"),
            };
            Err(error(operation, class, message))
        })
    }
}

fn room(name: &str, room: &Room) -> LiveKitRoom {
    LiveKitRoom {
        name: name.to_owned(),
        sid: room.sid.clone(),
        metadata: room.metadata.clone(),
        created_at: room.created_at,
    }
}

fn egress(id: &str, record: &EgressRecord) -> Egress {
    Egress {
        id: id.to_owned(),
        room_name: record.room.clone(),
        room_id: record.room_sid.clone(),
        status: record.status,
        error: record.error.clone(),
        started_at: record.started_at,
        ended_at: record.ended_at,
        updated_at: record.updated_at,
        // What the server last heard of: nobody told it that a dead worker's connection is gone.
        destination_connected: record.status == EgressStatus::Active
            && (record.connection.is_some() || !record.runs()),
        redacted_urls: vec![redact(&record.url)],
        identity: Some(record.identity.clone()),
        last_retry_at: 0,
    }
}

fn is_over(record: &EgressRecord) -> bool {
    !matches!(record.status, EgressStatus::Starting | EgressStatus::Active | EgressStatus::Ending)
}

impl Land {
    /// Whether an egress is the one that its object's status names.
    pub fn is_in_use(&self, url: &str, id: &str) -> bool {
        let uid = self.livekit[url].egresses.get(id).and_then(|record| record.uid.as_deref());
        let status = uid.and_then(|uid| self.cluster.object(uid)).and_then(|object| object.status.as_ref());
        status
            .and_then(|status| status.egress.as_ref())
            .is_some_and(|egress| egress.id.as_deref() == Some(id))
    }
}

#[async_trait]
impl LiveKitApi for Project {
    async fn create_room(
        &self,
        name: &str,
        metadata: &str,
        empty_timeout_seconds: u32,
        departure_timeout_seconds: u32,
    ) -> Result<LiveKitRoom> {
        let timeouts = (u64::from(empty_timeout_seconds) * 1000, u64::from(departure_timeout_seconds) * 1000);
        self.call((Site::CreateRoom, "create_room", false), ROOM_TIMEOUT, |land, url| {
            land.coverage.action("CreateRoom");
            land.room_is_created(name, metadata);
            let opened = land.open_room(url, name, metadata, timeouts);
            opened
                .map(|opened| room(name, &opened))
                .ok_or_else(|| error("create_room", ErrorClass::Transient, "no server"))
        })
        .await
    }

    async fn rooms(&self) -> Result<Vec<LiveKitRoom>> {
        self.call((Site::ListRooms, "rooms", false), ROOM_TIMEOUT, |land, url| {
            Ok(land.livekit[url].rooms.iter().map(|(name, found)| room(name, found)).collect())
        })
        .await
    }

    async fn delete_room(&self, name: &str) -> Result<()> {
        self.call((Site::DeleteRoom, "delete_room", false), ROOM_TIMEOUT, |land, url| {
            land.coverage.action("DeleteRoom");
            land.room_is_deleted(name);
            land.close_room(url, name);
            Ok(())
        })
        .await
    }

    async fn participants(&self, room: &str) -> Result<Vec<Participant>> {
        self.call((Site::ListParticipants, "participants", false), ROOM_TIMEOUT, |land, url| {
            let found = land.livekit[url].rooms.get(room);
            let all = found.into_iter().flat_map(|room| room.participants.keys());
            Ok(all
                .map(|identity| Participant {
                    identity: identity.clone(),
                    sid: format!("PA_{identity}"),
                    kind: ParticipantKind::Standard,
                    tracks: Vec::new(),
                    joined_at: 0,
                })
                .collect())
        })
        .await
    }

    async fn start_program_egress(&self, request: &ProgramEgress) -> Result<Egress> {
        let call = (Site::StartEgress, "start_program_egress", true);
        let (slow, capacity) = {
            let land = self.process.universe.land();
            let server = land.livekit.get(&self.credentials.url);
            let free = server.is_some_and(|server| server.workers.iter().any(Option::is_none));
            (server.map_or(0, |server| server.slow), free)
        };
        // The server looks for a worker for some seconds before it says that there is none. It goes on when its caller
        // does not.
        let wait = if capacity { 300 + slow } else { 7_000 };
        let (answers, answer) = oneshot::channel();
        let request = request.clone();
        let begun = self.call(call, START_TIMEOUT, |land, url| {
            if land.livekit[url].too_old {
                let old =
                    error("start_program_egress", ErrorClass::Terminal, "LiveKit does not know this call");
                return Err(ProviderError { cause: Some(Cause::ServerTooOld), ..old });
            }
            land.coverage.action("StartEgress");
            let uid = land.egress_is_started(&request, url);
            let (now, url) = (land.now, url.to_owned());
            if let Some(server) = land.livekit.get_mut(&url).filter(|_| slow > 0) {
                server.slow_until = now + wait;
            }
            land.after(wait, move |land| {
                let (room, identity) = (&request.room, &request.participant_identity);
                let started = land.start_egress(&url, room, identity, request.rtmp_url.reveal(), uid);
                // Nobody waits for it when its caller died.
                drop(answers.send(started.map(|id| egress(&id, &land.livekit[&url].egresses[&id]))));
            });
            Ok(Some(()))
        });
        if begun.await?.is_none() {
            return Ok(proto::EgressInfo::default().into());
        }
        match tokio::time::timeout(START_TIMEOUT, self.arrives(answer)).await {
            Ok(Some(egress)) => Ok(egress),
            Ok(None) => {
                let message = "LiveKit has no egress worker that is free";
                let busy = error("start_program_egress", ErrorClass::Busy, message);
                Err(ProviderError { cause: Some(Cause::NoCapacity), ..busy })
            }
            Err(_) => {
                Err(error("start_program_egress", ErrorClass::InDoubt, "LiveKit did not answer in time"))
            }
        }
    }

    async fn egresses(&self, room: Option<&str>, active_only: bool) -> Result<Vec<Egress>> {
        self.call((Site::ListEgresses, "egresses", false), EGRESS_TIMEOUT, |land, url| {
            let all = land.livekit[url].egresses.iter();
            Ok(all
                .filter(|(_, record)| room.is_none_or(|room| record.room == room))
                .filter(|(_, record)| !active_only || !is_over(record))
                .map(|(id, record)| egress(id, record))
                .collect())
        })
        .await
    }

    async fn egress(&self, id: &str) -> Result<Option<Egress>> {
        self.call((Site::GetEgress, "egress", false), EGRESS_TIMEOUT, |land, url| {
            Ok(land.livekit[url].egresses.get(id).map(|record| egress(id, record)))
        })
        .await
    }

    async fn ask_worker(&self, id: &str) -> Result<bool> {
        let answers = self
            .call((Site::AskWorker, "ask_worker", false), WORKER_TIMEOUT, |land, url| {
                land.coverage.action("AskWorker");
                let server = &land.livekit[url];
                Ok(!server.orphaned && server.egresses.get(id).is_some_and(EgressRecord::runs))
            })
            .await?;
        if !answers {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        Ok(answers)
    }

    async fn stop_egress(&self, id: &str) -> Result<()> {
        // Nobody answers for a dead worker, nor for one that waits for its participant: docs/livekit-facts.md.
        let silence = {
            let land = self.process.universe.land();
            let server = land.livekit.get(&self.credentials.url);
            let orphaned = server.is_some_and(|server| server.orphaned);
            let record = server.and_then(|server| server.egresses.get(id));
            match record.filter(|record| !is_over(record)) {
                Some(record) if !record.runs() || orphaned => 3,
                Some(record) if record.status == EgressStatus::Starting => 15,
                _ => 0,
            }
        };
        tokio::time::sleep(Duration::from_secs(silence)).await;
        self.call((Site::StopEgress, "stop_egress", false), EGRESS_TIMEOUT, |land, url| {
            let named = land.is_in_use(url, id);
            land.coverage.action(if named { "StopEgress" } else { "StopSurplus" });
            land.egress_is_stopped(url, id);
            let Some(server) = land.livekit.get_mut(url) else { return Ok(()) };
            let orphaned = server.orphaned;
            let Some(record) = server.egresses.get_mut(id) else { return Ok(()) };
            if is_over(record) {
                return Ok(());
            }
            if orphaned || !record.runs() || record.status == EgressStatus::Starting {
                return Err(error(
                    "stop_egress",
                    ErrorClass::Transient,
                    "LiveKit got no answer from its own parts in time",
                ));
            }
            record.status = EgressStatus::Ending;
            let (url, id, takes) = (url.to_owned(), id.to_owned(), server.ending);
            land.after(takes, move |land| land.end_egress(&url, &id, EgressStatus::Complete, ""));
            Ok(())
        })
        .await
    }
}
