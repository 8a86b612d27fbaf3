//! A LiveKit server: rooms that anybody with a token opens by joining, egress workers, and egress records that outlive
//! their worker.

use crate::cluster::Key;
use crate::land::Land;
use memorialstream_operator::api::names::PROGRAM_IDENTITY;
use memorialstream_operator::providers::livekit::EgressStatus;
use std::collections::BTreeMap;

/// Who is in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A compositor, by its pod.
    Program(Key),
    /// A device.
    Device,
    /// An egress worker's participant.
    Egress,
}

#[derive(Clone, Debug)]
pub struct Room {
    pub sid: String,
    pub metadata: String,
    pub created_at: i64,
    pub participants: BTreeMap<String, Who>,
    empty_timeout: u64,
    departure_timeout: u64,
}

#[derive(Clone, Debug)]
pub struct EgressRecord {
    pub room: String,
    pub room_sid: String,
    pub status: EgressStatus,
    pub error: String,
    pub started_at: i64,
    pub ended_at: i64,
    pub updated_at: i64,
    /// Address and key.
    pub url: String,
    pub identity: String,
    /// Its connection to Mux.
    pub connection: Option<String>,
    /// The worker that runs it; none runs a zombie.
    pub worker: Option<usize>,
    /// Whose object asked for it; absent: somebody else did.
    pub uid: Option<String>,
    /// When its connection broke.
    pub dropped_at: Option<u64>,
    attempts: u64,
}

impl EgressRecord {
    pub fn runs(&self) -> bool {
        self.worker.is_some()
    }
}

#[derive(Debug)]
pub struct LiveKitServer {
    pub api_key: String,
    pub api_secret: String,
    pub rooms: BTreeMap<String, Room>,
    pub egresses: BTreeMap<String, EgressRecord>,
    /// What each worker runs; a dead one has no place here.
    pub workers: Vec<Option<String>>,
    /// Starts take so much longer.
    pub slow: u64,
    /// Until then a start is under way that takes so long.
    pub slow_until: u64,
    /// How long a worker takes to end an egress that is stopped.
    pub ending: u64,
    /// It does not know StartEgress.
    pub too_old: bool,
    /// Egresses that start never get any further.
    pub stalls: bool,
    /// Services of workers died and left their handlers: what these run goes on, and nobody answers for it.
    pub orphaned: bool,
}

impl LiveKitServer {
    pub fn new(api_key: &str, api_secret: &str, workers: usize) -> Self {
        Self {
            api_key: api_key.into(),
            api_secret: api_secret.into(),
            rooms: BTreeMap::new(),
            egresses: BTreeMap::new(),
            workers: vec![None; workers],
            slow: 0,
            slow_until: 0,
            ending: 800,
            too_old: false,
            stalls: false,
            orphaned: false,
        }
    }
}

impl LiveKitServer {
    pub fn forget_the_dead(&mut self) {
        let over = |record: &EgressRecord| {
            !matches!(record.status, EgressStatus::Starting | EgressStatus::Active | EgressStatus::Ending)
        };
        self.egresses.retain(|_, record| record.runs() || over(record));
    }
}

impl Land {
    /// A room of that name; an API call names its time-outs, a device that joins does not.
    pub fn open_room(&mut self, url: &str, name: &str, metadata: &str, timeouts: (u64, u64)) -> Option<Room> {
        let at = self.time().as_second();
        let serial = self.next_serial();
        let server = self.livekit.get_mut(url)?;
        if let Some(room) = server.rooms.get(name) {
            return Some(room.clone());
        }
        let room = Room {
            sid: format!("RM_{serial}"),
            metadata: metadata.to_owned(),
            created_at: at,
            participants: BTreeMap::new(),
            empty_timeout: timeouts.0,
            departure_timeout: timeouts.1,
        };
        server.rooms.insert(name.to_owned(), room.clone());
        self.note(|| format!("room {name} opens"));
        self.close_when_empty(url, name, &room.sid, room.empty_timeout);
        self.room_is_open(url, name);
        Some(room)
    }

    fn close_when_empty(&mut self, url: &str, name: &str, sid: &str, timeout: u64) {
        let (url, name, sid) = (url.to_owned(), name.to_owned(), sid.to_owned());
        self.after(timeout, move |land| {
            let Some(server) = land.livekit.get_mut(&url) else { return };
            let holds = |who: &Who| !matches!(who, Who::Egress);
            let closes = server
                .rooms
                .get(&name)
                .is_some_and(|room| room.sid == sid && !room.participants.values().any(holds));
            if closes {
                land.close_room(&url, &name);
            }
        });
    }

    /// Joins, and opens the room by that. The older participant of the same identity is put out. False: no server.
    pub fn join(&mut self, url: &str, room: &str, identity: &str, who: Who) -> bool {
        if self.open_room(url, room, "", (300_000, 20_000)).is_none() {
            return false;
        }
        let Some(found) = self.livekit.get_mut(url).and_then(|server| server.rooms.get_mut(room)) else {
            return false;
        };
        let before = found.participants.insert(identity.to_owned(), who.clone());
        if let Some(Who::Program(older)) = before.filter(|before| *before != who) {
            self.program_is_out(&older, true);
        }
        if identity == PROGRAM_IDENTITY {
            self.program_is_in(url, room);
        }
        true
    }

    pub fn leave(&mut self, url: &str, room: &str, identity: &str) {
        let Some(found) = self.livekit.get_mut(url).and_then(|server| server.rooms.get_mut(room)) else {
            return;
        };
        found.participants.remove(identity);
        if found.participants.is_empty() {
            let (sid, timeout) = (found.sid.clone(), found.departure_timeout);
            self.close_when_empty(url, room, &sid, timeout);
        }
    }

    pub fn is_in_room(&self, url: &str, room: &str, identity: &str) -> bool {
        let found = self.livekit.get(url).and_then(|server| server.rooms.get(room));
        found.is_some_and(|room| room.participants.contains_key(identity))
    }

    /// The room closes, and everybody is put out.
    pub fn close_room(&mut self, url: &str, name: &str) {
        let Some(room) = self.livekit.get_mut(url).and_then(|server| server.rooms.remove(name)) else {
            return;
        };
        self.note(|| format!("room {name} closes"));
        let mut devices = false;
        for (identity, who) in room.participants {
            match who {
                Who::Program(pod) => self.program_is_out(&pod, false),
                Who::Device => devices = true,
                Who::Egress => {
                    let url = url.to_owned();
                    self.after(500, move |land| {
                        land.end_egress(&url, &identity, EgressStatus::Complete, "End reason: Source closed");
                    });
                }
            }
        }
        if devices {
            self.devices_lost_their_room(url, name);
        }
    }

    /// Whoever is asked to start an egress, and has a worker that is free.
    pub fn start_egress(
        &mut self,
        url: &str,
        room: &str,
        identity: &str,
        rtmp: &str,
        uid: Option<String>,
    ) -> Option<String> {
        let at = self.time();
        let id = format!("EG_{}", self.next_serial());
        let server = self.livekit.get_mut(url)?;
        let worker = server.workers.iter().position(Option::is_none)?;
        server.workers[worker] = Some(id.clone());
        let record = EgressRecord {
            room: room.to_owned(),
            room_sid: server.rooms.get(room).map(|room| room.sid.clone()).unwrap_or_default(),
            status: EgressStatus::Starting,
            error: String::new(),
            started_at: 0,
            ended_at: 0,
            updated_at: i64::try_from(at.as_nanosecond()).unwrap(),
            url: rtmp.to_owned(),
            identity: identity.to_owned(),
            connection: None,
            worker: Some(worker),
            uid,
            dropped_at: None,
            attempts: 0,
        };
        server.egresses.insert(id.clone(), record);
        self.note(|| format!("egress {id} starts in {room}"));
        let (url, name) = (url.to_owned(), id.clone());
        self.after(150, move |land| land.egress_joins(&url, &name));
        Some(id)
    }

    fn egress_joins(&mut self, url: &str, id: &str) {
        let Some(record) = self.livekit[url].egresses.get(id).filter(|record| record.runs()).cloned() else {
            return;
        };
        if record.status != EgressStatus::Starting {
            return;
        }
        // Before it is Active: docs/livekit-facts.md.
        self.join(url, &record.room, id, Who::Egress);
        if self.livekit[url].stalls {
            return;
        }
        self.program_is_in(url, &record.room);
        let (url, id) = (url.to_owned(), id.to_owned());
        self.after(30_000, move |land| {
            if land.livekit[&url]
                .egresses
                .get(&id)
                .is_some_and(|record| record.status == EgressStatus::Starting)
            {
                land.end_egress(&url, &id, EgressStatus::Failed, "participant program not found");
            }
        });
    }

    /// Program is in the room: whoever waits for it begins to send.
    fn program_is_in(&mut self, url: &str, room: &str) {
        let Some(server) = self.livekit.get(url) else { return };
        let waiting: Vec<String> = server
            .egresses
            .iter()
            .filter(|(id, record)| {
                record.room == room
                    && record.runs()
                    && record.status == EgressStatus::Starting
                    && !server.stalls
                    && self.is_in_room(url, room, id)
                    && self.is_in_room(url, room, &record.identity)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in waiting {
            self.egress_connects(url, &id, true, 0);
        }
    }

    /// The first connection must be taken; one that broke is tried again for 30 s.
    fn egress_connects(&mut self, url: &str, id: &str, first: bool, dropped_at: u64) {
        let at = i64::try_from(self.time().as_nanosecond()).unwrap();
        let Some(record) = self.livekit.get_mut(url).and_then(|server| server.egresses.get_mut(id)) else {
            return;
        };
        if !record.runs() || record.connection.is_some() || record.status == EgressStatus::Ending {
            return;
        }
        record.attempts += 1;
        record.updated_at = at;
        if first {
            record.status = EgressStatus::Active;
            record.started_at = at;
        }
        let key = record.url.rsplit('/').next().unwrap_or_default().to_owned();
        let name = format!("{id}#{}", record.attempts);
        let Some(uid) = record.uid.clone() else {
            // Somebody else's goes somewhere else.
            record.connection = Some(name);
            return;
        };
        match self.publish(&key, &name, &uid) {
            Ok(()) => {
                if let Some(record) = self.livekit.get_mut(url).and_then(|server| server.egresses.get_mut(id))
                {
                    record.connection = Some(name);
                }
                self.egress_reports(url, id);
            }
            Err(refused) if first || self.now > dropped_at + 30_000 => {
                self.end_egress(url, id, EgressStatus::Failed, &refused);
            }
            Err(_) => {
                let (url, id) = (url.to_owned(), id.to_owned());
                self.after(1_000, move |land| land.egress_connects(&url, &id, false, dropped_at));
            }
        }
    }

    /// A worker that lives tells the server so, now and then.
    fn egress_reports(&mut self, url: &str, id: &str) {
        let at = i64::try_from(self.time().as_nanosecond()).unwrap();
        let Some(record) = self.livekit.get_mut(url).and_then(|server| server.egresses.get_mut(id)) else {
            return;
        };
        if !record.runs() {
            return;
        }
        record.updated_at = at;
        let (url, id) = (url.to_owned(), id.to_owned());
        self.after(60_000, move |land| land.egress_reports(&url, &id));
    }

    /// Mux, or the network, cut it off.
    pub fn egress_is_cut_off(&mut self, url: &str, id: &str) {
        let now = self.now;
        let Some(record) = self.livekit.get_mut(url).and_then(|server| server.egresses.get_mut(id)) else {
            return;
        };
        record.connection = None;
        record.dropped_at = Some(now);
        if record.runs() && record.status == EgressStatus::Active {
            let (url, id) = (url.to_owned(), id.to_owned());
            self.after(500, move |land| land.egress_connects(&url, &id, false, now));
        }
    }

    pub fn end_egress(&mut self, url: &str, id: &str, status: EgressStatus, why: &str) {
        let at = i64::try_from(self.time().as_nanosecond()).unwrap();
        let Some(server) = self.livekit.get_mut(url) else { return };
        let Some(record) = server.egresses.get_mut(id).filter(|record| record.runs()) else { return };
        record.status = status;
        record.error = why.to_owned();
        record.ended_at = at;
        record.updated_at = at;
        if let Some(worker) = record.worker.take() {
            server.workers[worker] = None;
        }
        let (connection, room) = (record.connection.take(), record.room.clone());
        self.note(|| format!("egress {id} is {status:?}: {why}"));
        if let Some(connection) = connection {
            self.hang_up(&connection);
        }
        self.leave(url, &room, id);
    }

    /// What a worker runs dies with it; its record stays as it is.
    pub fn kill_worker(&mut self, url: &str, index: usize) {
        let Some(server) = self.livekit.get_mut(url).filter(|server| index < server.workers.len()) else {
            return;
        };
        let running = server.workers.remove(index);
        for record in server.egresses.values_mut() {
            record.worker = record.worker.filter(|worker| *worker != index);
            record.worker = record.worker.map(|worker| if worker > index { worker - 1 } else { worker });
        }
        let Some(id) = running else { return };
        let Some(record) = server.egresses.get_mut(&id) else { return };
        let (connection, room) = (record.connection.take(), record.room.clone());
        self.note(|| format!("the worker of egress {id} dies"));
        if let Some(connection) = connection {
            self.hang_up(&connection);
        }
        // LiveKit waits for it to come back: docs/livekit-facts.md.
        let url = url.to_owned();
        self.after(20_500, move |land| land.leave(&url, &room, &id));
    }
}
