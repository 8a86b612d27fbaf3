//! The LiveKit room: created by name, adopted when it reappeared under the same name, deleted at the end.

use super::{Action, Pass, Timings, elapsed};
use crate::api::MemorialStreamStatus;
use crate::api::status::RoomStatus;
use crate::lifecycle::backoff::{Effect, held};
use crate::service::credentials::Access;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use std::time::Duration;

/// A device that joins over and over is put out ever more rarely: LiveKit may bill each stay as a whole minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// After so many deletions in a row.
fn pause(deletions: i64) -> Duration {
    Duration::from_secs(1 << deletions.clamp(0, 6)).min(LONGEST_PAUSE)
}

/// Whether a room was deleted so lately that a participant may bring it back.
pub fn room_may_return(status: &MemorialStreamStatus, now: Timestamp, timings: &Timings) -> bool {
    let deleted = status.room.as_ref().and_then(|room| room.deleted_at.as_ref());
    deleted.is_some_and(|deleted| elapsed(deleted, now) < timings.room_return)
}

impl Pass<'_> {
    /// Makes sure of the room. True once it exists.
    pub(super) fn ready_room(&mut self) -> bool {
        let mut room = self.status.room.clone().unwrap_or_default();
        let name = self.identity.room_name(room.epoch);
        let Some(rooms) = self.observed.rooms.known() else { return false };
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

    /// Deletes every room of ours, one that a participant brought back too. True once none is left.
    pub(super) fn remove_rooms(&mut self) -> bool {
        let Some(rooms) = self.observed.rooms.known() else { return false };
        let gone = rooms.is_empty();
        let ours = self.status.room.as_ref().and_then(|room| room.name.clone());
        let held = held(&self.observed.backoffs, Effect::Room, self.now);
        if let Some(name) = ours.filter(|ours| !held && rooms.iter().any(|room| room.name == *ours)) {
            self.status.room.get_or_insert_default().deleted_at = Some(Time(self.now));
            self.actions.push(Action::DeleteRoom(name));
        }
        self.remove_stray_rooms();
        if let Some(room) = self.status.room.as_mut().filter(|room| gone && room.name.is_some()) {
            room.name = None;
            room.url = None;
            room.sid = None;
            room.epoch += 1;
        }
        gone
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

    /// Deletes rooms of ours that status does not name: devices with an old token opened them.
    fn remove_stray_rooms(&mut self) {
        let room = self.status.room.clone().unwrap_or_default();
        let names = self.observed.rooms.known().into_iter().flatten().map(|room| &room.name);
        let strays: Vec<_> =
            names.filter(|name| room.name.as_ref() != Some(name)).cloned().map(Action::DeleteRoom).collect();
        if strays.is_empty() || held(&self.observed.backoffs, Effect::Room, self.now) {
            return;
        }
        let since = room.deleted_at.as_ref().map_or(Duration::MAX, |deleted| self.elapsed(deleted));
        let in_a_row = if since < 2 * LONGEST_PAUSE { room.deletions } else { 0 };
        if in_a_row > 0 && since < pause(in_a_row) {
            return;
        }
        self.status.room =
            Some(RoomStatus { deleted_at: Some(Time(self.now)), deletions: in_a_row + 1, ..room });
        self.actions.extend(strays);
    }
}
