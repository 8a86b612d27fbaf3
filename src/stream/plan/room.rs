//! The LiveKit room: created by name, adopted when it reappeared under the same name, deleted at the end.

use super::{Action, Pass, Timings, elapsed};
use crate::api::MemorialStreamStatus;
use crate::api::names::room_name;
use crate::stream::observed::{Effect, held};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// Whether a room was deleted so lately that a participant may bring it back.
pub fn room_may_return(status: &MemorialStreamStatus, now: Timestamp, timings: &Timings) -> bool {
    let deleted = status.room.as_ref().and_then(|room| room.deleted_at.as_ref());
    deleted.is_some_and(|deleted| elapsed(deleted, now) < timings.room_return)
}

impl Pass<'_> {
    /// Makes sure of the room. True once it exists.
    pub(super) fn ready_room(&mut self) -> bool {
        let mut room = self.status.room.clone().unwrap_or_default();
        let name = room_name(self.object.metadata.uid.as_deref().unwrap_or(""), room.epoch);
        let Some(rooms) = self.observed.rooms.known() else { return false };
        let seen = rooms.iter().find(|seen| seen.name == name);
        // The name is written down before the room is made, so that a deletion knows that there may be one.
        room.name = Some(name.clone());
        room.sid = seen.map(|seen| seen.sid.clone());
        let exists = seen.is_some();
        self.status.room = Some(room);
        self.remove_stray_rooms(Some(&name));
        if !exists {
            self.act(Action::CreateRoom(name));
        }
        exists
    }

    /// Deletes every room of ours, one that a participant brought back too. True once none is left.
    pub(super) fn remove_rooms(&mut self) -> bool {
        let Some(rooms) = self.observed.rooms.known() else { return false };
        let gone = rooms.is_empty();
        self.remove_stray_rooms(None);
        if let Some(room) = self.status.room.as_mut().filter(|room| gone && room.name.is_some()) {
            room.name = None;
            room.sid = None;
            room.epoch += 1;
        }
        gone
    }

    /// Whether a room of ours was deleted so lately that a participant may bring it back.
    pub(super) fn room_may_return(&self) -> bool {
        room_may_return(&self.status, self.now, self.timings)
    }

    fn remove_stray_rooms(&mut self, current: Option<&str>) {
        let names = self.observed.rooms.known().into_iter().flatten().map(|room| &room.name);
        let strays = names.filter(|name| current != Some(name.as_str()));
        let deletions: Vec<_> = strays.cloned().map(Action::DeleteRoom).collect();
        if deletions.is_empty() || held(&self.observed.troubles, Effect::Room, self.now) {
            return;
        }
        self.status.room.get_or_insert_default().deleted_at = Some(Time(self.now));
        self.actions.extend(deletions);
    }
}
