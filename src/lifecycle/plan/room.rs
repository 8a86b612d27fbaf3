//! The LiveKit room: created by name, adopted when it reappeared under the same name, deleted at the end.

use super::{Action, Pass, Timings, elapsed};
use crate::api::MemorialStreamStatus;
use crate::api::status::RoomStatus;
use crate::lifecycle::backoff::{Effect, Part, held};
use crate::service::credentials::Access;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// A device that joins over and over is put out ever more rarely: LiveKit may bill each stay as a whole minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A device can open a room that was deleted as long as its token is valid.
const TOKENS_LIVE: SignedDuration = SignedDuration::from_hours(24);

/// For how long LiveKit may still list a room that it deleted.
const LIST_LAG: Duration = Duration::from_secs(5);

/// For so long after its deletion a room is looked for at the server where it was open, whatever the Secret names since.
const SERVER_BINDS: Duration = Duration::from_secs(300);

/// After so many deletions in a row.
fn pause(deletions: i64) -> Duration {
    Duration::from_secs(1 << deletions.clamp(0, 6)).min(LONGEST_PAUSE)
}

/// Whether a room was deleted so lately that a participant may bring it back.
pub fn room_may_return(status: &MemorialStreamStatus, now: Timestamp, timings: &Timings) -> bool {
    let deleted = status.room.as_ref().and_then(|room| room.deleted_at.as_ref());
    deleted.is_some_and(|deleted| elapsed(deleted, now) < timings.room_return)
}

/// Whether a room may come back, or an egress that was given up may still run.
pub fn may_be_visited(status: &MemorialStreamStatus, now: Timestamp) -> bool {
    let deleted = status.room.as_ref().and_then(|room| room.deleted_at.as_ref());
    let lost = status.egress.as_ref().is_some_and(|egress| !egress.lost.is_empty());
    let ended = status.ended_at.as_ref().filter(|_| lost);
    deleted.into_iter().chain(ended).any(|since| now.duration_since(since.0) < TOKENS_LIVE)
}

impl Pass<'_> {
    /// Status is not proof: whoever may write it may name another's room.
    pub(super) fn disown_room(&mut self) {
        let Some(room) = self.status.room.as_mut() else { return };
        if room.name.as_ref().is_some_and(|name| !self.identity.owns_room(name)) {
            *room = RoomStatus { epoch: room.epoch, ..RoomStatus::default() };
        }
    }

    /// Makes sure of the room. True once it exists.
    pub(super) fn ready_room(&mut self) -> bool {
        let mut room = self.status.room.clone().unwrap_or_default();
        let name = self.identity.room_name(room.epoch);
        let Some(rooms) = self.observed.rooms.known() else {
            // LiveKit does not answer: the room that there was is taken to be there.
            return room.name.as_ref() == Some(&name) && room.sid.is_some();
        };
        let seen = rooms.iter().find(|seen| seen.name == name);
        // The name is written down before the room is made, so that a deletion knows that there may be one.
        room.name = Some(name.clone());
        if let Access::Granted { livekit_url, .. } = &self.observed.access {
            room.url = Some(livekit_url.clone());
        }
        room.sid = seen.map(|seen| seen.sid.clone());
        let exists = seen.is_some();
        self.status.room = Some(room);
        self.remove_stray_rooms();
        if !exists {
            self.act(Action::CreateRoom(name));
        }
        exists
    }

    /// A server that has been gone for long binds nobody, whether it said that no room came back or not.
    pub(super) fn forget_old_server(&mut self) {
        let deleted = self.status.room.as_ref().and_then(|room| room.deleted_at.as_ref());
        if deleted.is_some_and(|at| self.elapsed(at) > SERVER_BINDS) {
            self.forget_server();
        }
    }

    fn forget_server(&mut self) {
        if let Some(room) = self.status.room.as_mut().filter(|room| room.name.is_none()) {
            room.url = None;
        }
    }

    /// Deletes every room of ours, one that a participant brought back too. True once none is left.
    pub(super) fn remove_rooms(&mut self) -> bool {
        let Some(rooms) = self.observed.rooms.known() else { return false };
        let gone = rooms.is_empty();
        self.retire_room();
        self.remove_stray_rooms();
        if gone && !self.room_may_return() {
            self.forget_server();
        }
        gone && self.status.room.as_ref().is_none_or(|room| room.name.is_none())
    }

    /// Lets go of the present room, and with it of its name: a name that is being deleted is never used again.
    fn retire_room(&mut self) {
        let Some(room) = self.status.room.clone().filter(|room| room.name.is_some()) else { return };
        let rooms = self.observed.rooms.known().into_iter().flatten();
        let open = rooms.into_iter().find(|seen| Some(&seen.name) == room.name.as_ref());
        // It is deleted although a list does not show it: the list may be wrong, or the answer to its creation is open, and
        // gone is done.
        let sid = open.map(|open| open.sid.clone()).or_else(|| room.sid.clone());
        let Some(name) = room.name.clone() else { return };
        if held(&self.observed.backoffs, Effect::ending(Part::Room)) {
            return;
        }
        self.status.room = Some(RoomStatus {
            name: None,
            url: room.url,
            sid: None,
            epoch: room.epoch + 1,
            deleted_at: Some(Time(self.now)),
            deleted_sid: sid,
            deletions: 0,
        });
        self.actions.push(Action::DeleteRoom(name));
    }

    /// Whether no room was ever deleted, or none has come back since and none will.
    pub(super) fn stays_deleted(&self, room: &RoomStatus) -> bool {
        let none_is_open = self.observed.rooms.known().is_some_and(Vec::is_empty);
        room.deleted_at.is_none() || (none_is_open && !self.room_may_return())
    }

    /// Whether a room of ours was deleted so lately that a participant may bring it back.
    pub(super) fn room_may_return(&self) -> bool {
        room_may_return(&self.status, self.now, self.timings)
    }

    /// It was just deleted, and a list that lags still shows it.
    fn is_going(&self, room: &RoomStatus, sid: &str) -> bool {
        let lately = room.deleted_at.as_ref().is_some_and(|at| self.elapsed(at) < LIST_LAG);
        lately && room.deleted_sid.as_deref() == Some(sid)
    }

    /// Deletes rooms of ours that status does not name: devices with an old token opened them.
    fn remove_stray_rooms(&mut self) {
        let room = self.status.room.clone().unwrap_or_default();
        // In this very pass.
        let being_deleted = |name: &String| {
            self.actions.iter().any(|action| matches!(action, Action::DeleteRoom(deleted) if deleted == name))
        };
        let strays: Vec<_> = self
            .observed
            .rooms
            .known()
            .into_iter()
            .flatten()
            .filter(|seen| room.name.as_ref() != Some(&seen.name) && !being_deleted(&seen.name))
            .filter(|seen| !self.is_going(&room, &seen.sid))
            .map(|seen| Action::DeleteRoom(seen.name.clone()))
            .collect();
        if strays.is_empty() || held(&self.observed.backoffs, Effect::ending(Part::Room)) {
            return;
        }
        let since = room.deleted_at.as_ref().map_or(Duration::MAX, |deleted| self.elapsed(deleted));
        let in_a_row = if since < 2 * LONGEST_PAUSE { room.deletions } else { 0 };
        if in_a_row > 0 && since < pause(in_a_row) {
            return;
        }
        let here = match &self.observed.access {
            Access::Granted { livekit_url, .. } => Some(livekit_url.clone()),
            _ => None,
        };
        self.status.room = Some(RoomStatus {
            url: room.url.clone().or(here),
            deleted_at: Some(Time(self.now)),
            deletions: in_a_row + 1,
            ..room
        });
        self.actions.extend(strays);
    }
}
