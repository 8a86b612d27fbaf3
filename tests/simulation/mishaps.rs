//! What people and other programs do by mistake, or on purpose.

use crate::cluster::Key;
use crate::land::Land;
use crate::livekit::Who;
use memorialstream_compositor_protocol::BOOT_FILE;
use memorialstream_mux_model::Method;
use memorialstream_operator::api::names::PROGRAM_IDENTITY;
use memorialstream_operator::service::pod::secret_name;

impl Land {
    /// Somebody stores an object in a form that the operator cannot read, and mends it after so long.
    pub fn spoil(&mut self, uid: &str, milliseconds: u64) {
        let Some(key) = self.director.said.get(uid).map(|said| said.key.clone()) else { return };
        let now = self.now;
        self.note(|| format!("{} cannot be read any more", key.1));
        self.cluster.spoil(now, &key, true);
        self.after(milliseconds, move |land| land.mend(&key));
    }

    fn mend(&mut self, key: &Key) {
        let now = self.now;
        self.note(|| format!("{} can be read", key.1));
        self.cluster.spoil(now, key, false);
    }

    pub fn mend_all(&mut self) {
        for key in self.cluster.spoiled.clone() {
            self.mend(&key);
        }
    }

    /// Somebody takes the operator's permission for the Secrets of a namespace away for so long.
    pub fn forbid_secrets(&mut self, namespace: &str, milliseconds: u64) {
        self.note(|| format!("Secrets of {namespace} are forbidden"));
        self.cluster.forbidden.insert(namespace.to_owned());
        let namespace = namespace.to_owned();
        self.after(milliseconds, move |land| {
            land.cluster.forbidden.remove(&namespace);
        });
    }

    /// Somebody removes every playback id of an object's stream at Mux.
    pub fn somebody_removes_the_playback_ids(&mut self, uid: &str) {
        let Some((token, id)) = self.stream_of(uid) else { return };
        self.note(|| "somebody removes the playback ids".into());
        self.watch.unwatchable.insert(uid.to_owned());
        let streams = self.mux[&token].model.streams();
        let playback_ids = streams.into_iter().find(|stream| stream.id == id).map(|one| one.playback_ids);
        for playback_id in playback_ids.unwrap_or_default() {
            let path = format!("/video/v1/live-streams/{id}/playback-ids/{playback_id}");
            self.admin(&token, Method::Delete, path, "");
        }
    }

    /// Whoever finds that mourners cannot watch adds one.
    pub fn somebody_adds_a_playback_id(&mut self, uid: &str) {
        let Some((token, id)) = self.stream_of(uid) else { return };
        if !self.is_watchable(&token, &id) {
            let path = format!("/video/v1/live-streams/{id}/playback-ids");
            self.admin(&token, Method::Post, path, r#"{"policy":"public"}"#);
        }
        self.watch.unwatchable.remove(uid);
    }

    /// The stream has a playback id, or is gone.
    pub fn is_watchable(&self, token: &str, id: &str) -> bool {
        let streams = self.mux.get(token).map(|one| one.model.streams()).unwrap_or_default();
        let stream = streams.into_iter().find(|stream| stream.id == id && !stream.deleted);
        stream.is_none_or(|stream| !stream.playback_ids.is_empty())
    }

    /// Somebody with a token for it joins as Program, and so often again when he is put out.
    pub fn somebody_takes_the_identity(&mut self, uid: &str, again: u32) {
        let Some(said) = self.director.said.get(uid) else { return };
        let url = said.account.livekit_url.clone();
        let Some(room) = self.cluster.status(&said.key).room.and_then(|room| room.name) else { return };
        let open = self.livekit.get(&url).is_some_and(|server| server.rooms.contains_key(&room));
        if !open {
            return;
        }
        self.note(|| "somebody else joins as Program".into());
        self.join(&url, &room, PROGRAM_IDENTITY, Who::Device);
        let uid = uid.to_owned();
        self.after(1_500, move |land| match again {
            0 => land.leave_as_device(&url, &room),
            _ => land.somebody_takes_the_identity(&uid, again - 1),
        });
    }

    fn leave_as_device(&mut self, url: &str, room: &str) {
        let found = self.livekit.get(url).and_then(|server| server.rooms.get(room));
        if found.is_some_and(|room| room.participants.get(PROGRAM_IDENTITY) == Some(&Who::Device)) {
            self.leave(url, room, PROGRAM_IDENTITY);
        }
    }

    /// Somebody writes nonsense over what the pod of an object boots from, in the Secret and in what is mounted.
    pub fn somebody_spoils_the_boot_document(&mut self, uid: &str) {
        let Some(key) = self.director.said.get(uid).map(|said| said.key.clone()) else { return };
        self.note(|| "somebody spoils the boot document".into());
        if let Some(secret) = self.cluster.secrets.get_mut(&(key.0, secret_name(&key.1))) {
            secret.data.insert(BOOT_FILE.into(), "{".into());
        }
        for pod in self.pods_of(uid) {
            if let Some(container) = self.kubelet.containers.get_mut(&pod) {
                container.mounted.insert(BOOT_FILE.into(), "{".into());
            }
        }
    }
}
