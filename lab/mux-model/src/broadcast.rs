//! The life of a broadcast: connected, recording, active, disconnected, idle.
//!
//! Source: mux.com/docs/guides/stream-recordings-of-live-streams.

use crate::asset::{Asset, AssetStatus};
use crate::model::{Effect, Model, Owner, later};
use crate::stream::{Broadcast, Encoder};
use jiff::Timestamp;
use std::time::Duration;

/// Why an encoder is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishRefusal {
    /// No stream has this key.
    UnknownKey,
    /// The stream is disabled.
    Disabled,
    /// Another encoder is connected, and second ones are refused.
    Occupied,
}

impl Model {
    /// An encoder comes with a stream key. `connection` is a name that no connection had before.
    ///
    /// # Errors
    /// When it is not to be let in.
    pub fn publish(
        &mut self,
        now: Timestamp,
        key: &str,
        connection: impl Into<String>,
    ) -> Result<(), PublishRefusal> {
        self.advance(now);
        let found = self.state.streams.values().find(|stream| stream.key.reveal() == key);
        let stream = found.ok_or(PublishRefusal::UnknownKey)?;
        if !stream.enabled {
            return Err(PublishRefusal::Disabled);
        }
        if stream.encoder.is_some() && self.state.settings.unknowns.second_encoder_is_refused {
            return Err(PublishRefusal::Occupied);
        }
        let id = stream.id.clone();
        // The newer one goes on with the recording, so that an encoder can come back while its lost connection is still
        // open.
        self.drop_encoder(&id);
        self.attach(&id, connection.into());
        Ok(())
    }

    fn attach(&mut self, id: &str, connection: String) {
        let now = self.state.now;
        let Some(stream) = self.state.change(id) else { return };
        let encoder = Encoder {
            connection: connection.clone(),
            heard_at: now,
            media: Duration::ZERO,
            ignored_until: None,
        };
        stream.encoder = Some(encoder);
        match &mut stream.broadcast {
            // A slate goes on until media comes.
            Some(broadcast) => broadcast.window_ends = None,
            None => self.begin_broadcast(id),
        }
        self.state.connections.insert(connection, id.to_owned());
        self.state.settle(id);
    }

    fn begin_broadcast(&mut self, id: &str) {
        let (now, serial) = (self.state.now, self.state.next_serial());
        let segment = self.state.settings.timings.segment();
        let Some(stream) = self.state.change(id) else { return };
        let asset = Asset::new(stream, serial, segment, now, self.ids.as_mut());
        stream.remember_asset(&asset.id);
        let name = asset.id.clone();
        stream.broadcast =
            Some(Broadcast { asset: name.clone(), started_at: now, active_since: None, window_ends: None });
        for playback_id in &asset.playback_ids {
            self.state.playback.insert(playback_id.id.clone(), Owner::Asset(name.clone()));
        }
        self.state.assets.insert(name, asset);
    }

    /// An encoder's media has come this far since it connected. Connections that are not known are ignored: they were
    /// cut off.
    pub fn media(&mut self, now: Timestamp, connection: &str, total: Duration) {
        self.advance(now);
        let now = self.state.now;
        let Some(id) = self.state.connections.get(connection).cloned() else { return };
        let Some(encoder) = self.state.streams.get(&id).and_then(|stream| stream.encoder.as_ref()) else {
            return;
        };
        let before = encoder.media;
        let Some(fresh) = total.checked_sub(before).filter(|fresh| !fresh.is_zero()) else { return };
        if before.is_zero() {
            // It is shown as `recording` from now on.
            self.state.remember(&id);
        }
        let Some(stream) = self.state.streams.get_mut(&id) else { return };
        let Some(encoder) = &mut stream.encoder else { return };
        encoder.media = total;
        encoder.heard_at = now;
        if stream.broadcast.is_none() {
            if encoder.ignored_until.is_some_and(|until| now < until) {
                return;
            }
            self.begin_broadcast(&id);
        }
        self.grow(&id, connection, before, fresh);
    }

    /// More media for the broadcast of a stream.
    fn grow(&mut self, id: &str, connection: &str, before: Duration, fresh: Duration) {
        let (now, timings) = (self.state.now, self.state.settings.timings);
        let broadcast = self.state.streams.get(id).and_then(|stream| stream.broadcast.as_ref());
        let Some(broadcast) = broadcast else { return };
        let Some(asset) = self.state.assets.get_mut(&broadcast.asset) else { return };
        asset.timeline.grow(connection, before, fresh, now);
        let recorded = asset.timeline.content().as_secs_f64();
        if recorded >= timings.ready_after {
            asset.status = AssetStatus::Ready;
        }
        if recorded >= timings.playable_after && broadcast.active_since.is_none() {
            let broadcast = self.state.change(id).and_then(|stream| stream.broadcast.as_mut());
            if let Some(broadcast) = broadcast {
                broadcast.active_since = Some(now);
            }
        }
    }

    /// An encoder is gone. One that is not known was cut off already.
    pub fn unpublish(&mut self, now: Timestamp, connection: &str) {
        self.advance(now);
        let Some(id) = self.state.connections.get(connection).cloned() else { return };
        self.state.connections.remove(connection);
        self.detach(&id);
    }

    /// The encoder left: the reconnect window begins.
    pub(crate) fn detach(&mut self, id: &str) {
        let now = self.state.now;
        let Some(stream) = self.state.change(id) else { return };
        stream.encoder = None;
        let (window, slate) = (f64::from(stream.settings.reconnect_window), stream.settings.plays_slate());
        let Some(broadcast) = &mut stream.broadcast else { return self.state.settle(id) };
        if window > 0.0 {
            broadcast.window_ends = Some(later(now, window));
            let asset = broadcast.asset.clone();
            self.pause(&asset, slate);
        } else {
            self.end_broadcast(id);
        }
    }

    /// Media has ceased to come: the playlist stands still, or Mux's own picture goes on with it.
    pub(crate) fn pause(&mut self, asset: &str, slate: bool) {
        let now = self.state.now;
        let Some(asset) = self.state.assets.get_mut(asset) else { return };
        // Unknown: what there is to see before anything was; here it is nothing.
        if slate && !asset.timeline.content().is_zero() {
            asset.timeline.begin_slate(now);
        } else {
            asset.timeline.close(now);
        }
    }

    /// Cuts the encoder off, without a window.
    pub(crate) fn drop_encoder(&mut self, id: &str) {
        let encoder = self.state.change(id).and_then(|stream| stream.encoder.take());
        if let Some(Encoder { connection, .. }) = encoder {
            self.state.connections.remove(&connection);
            self.state.effects.push(Effect::DropEncoder { connection });
        }
        self.state.settle(id);
    }

    /// Ends the recording. The encoder stays.
    pub(crate) fn end_broadcast(&mut self, id: &str) {
        let now = self.state.now;
        let stream = self.state.change(id);
        let broadcast = stream.and_then(|stream| stream.broadcast.take());
        self.state.settle(id);
        let Some(asset) = broadcast.and_then(|broadcast| self.state.assets.get_mut(&broadcast.asset)) else {
            return;
        };
        asset.finish(now);
        if asset.test {
            self.state.expiring.insert(asset.id.clone());
        }
    }

    /// `complete`: the recording ends, and the encoder stays connected for a while.
    pub(crate) fn complete(&mut self, id: &str) {
        self.end_broadcast(id);
        let until = later(self.state.now, self.state.settings.timings.completed_encoder_stays);
        if let Some(encoder) = self.state.change(id).and_then(|stream| stream.encoder.as_mut()) {
            encoder.ignored_until = Some(until);
        }
    }

    /// `disable`: the recording ends and the encoder is cut off.
    pub(crate) fn disable(&mut self, id: &str) {
        self.end_broadcast(id);
        self.drop_encoder(id);
        if let Some(stream) = self.state.change(id) {
            stream.enabled = false;
        }
    }
}
