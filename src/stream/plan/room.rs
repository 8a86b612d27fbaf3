//! The LiveKit room: created by name, adopted when it reappeared under the same name, deleted at the end.

use super::{Action, Pass};
use crate::api::names::room_name;

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
        if !rooms.is_empty() {
            self.remove_stray_rooms(None);
            return false;
        }
        if let Some(room) = self.status.room.as_mut().filter(|room| room.name.is_some()) {
            room.name = None;
            room.sid = None;
            room.epoch += 1;
        }
        true
    }

    fn remove_stray_rooms(&mut self, current: Option<&str>) {
        for room in self.observed.rooms.known().into_iter().flatten() {
            if current != Some(room.name.as_str()) {
                self.act(Action::DeleteRoom(room.name.clone()));
            }
        }
    }
}
