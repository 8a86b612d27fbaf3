//! The life of a broadcast: connected, recording, active, disconnected, idle.
//!
//! Source: mux.com/docs/guides/stream-recordings-of-live-streams.

use crate::asset::{Asset, AssetStatus, Recording};
use crate::model::{Effect, Model, State, later};
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
}

/// What happens by itself.
enum Due {
    WindowEnds(String),
    EncoderIsSilent(String),
    BroadcastIsTooLong(String),
    TestIsOver(String),
    TestAssetExpires(String),
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
        let id = stream.id.clone();
        // Unknown: what a second encoder with the same key meets. Here the newer one replaces the older and goes on with
        // its recording, so that an encoder can come back while its lost connection is still open.
        self.drop_encoder(&id);
        self.attach(&id, connection.into());
        Ok(())
    }

    fn attach(&mut self, id: &str, connection: String) {
        let now = self.state.now;
        let Some(stream) = self.state.streams.get_mut(id) else { return };
        let encoder = Encoder {
            connection: connection.clone(),
            heard_at: now,
            media: Duration::ZERO,
            ignored_until: None,
        };
        stream.encoder = Some(encoder);
        match &mut stream.broadcast {
            Some(broadcast) => {
                broadcast.window_ends = None;
                let asset = broadcast.asset.clone();
                self.record(&asset, connection, Duration::ZERO);
            }
            None => self.begin_broadcast(id, connection, Duration::ZERO),
        }
    }

    fn begin_broadcast(&mut self, id: &str, connection: String, from: Duration) {
        let (now, serial) = (self.state.now, self.state.next_serial());
        let Some(stream) = self.state.streams.get_mut(id) else { return };
        let asset = Asset::new(stream, serial, now, self.ids.as_mut());
        stream.remember_asset(&asset.id);
        let name = asset.id.clone();
        stream.broadcast =
            Some(Broadcast { asset: name.clone(), started_at: now, active_since: None, window_ends: None });
        self.state.assets.insert(name.clone(), asset);
        self.record(&name, connection, from);
    }

    fn record(&mut self, asset: &str, connection: String, from: Duration) {
        let started_at = self.state.now;
        if let Some(asset) = self.state.assets.get_mut(asset) {
            asset.recordings.push(Recording { connection, started_at, from, duration: Duration::ZERO });
        }
    }

    /// An encoder's media has come this far since it connected. Connections that are not known are ignored: they were
    /// cut off.
    pub fn media(&mut self, now: Timestamp, connection: &str, total: Duration) {
        self.advance(now);
        let now = self.state.now;
        let Some(stream) = self.state.stream_of_mut(connection) else { return };
        let Some(encoder) = &mut stream.encoder else { return };
        let before = encoder.media;
        let Some(fresh) = total.checked_sub(before).filter(|fresh| !fresh.is_zero()) else { return };
        encoder.media = total;
        encoder.heard_at = now;
        if stream.broadcast.is_none() {
            if encoder.ignored_until.is_some_and(|until| now < until) {
                return;
            }
            let id = stream.id.clone();
            self.begin_broadcast(&id, connection.to_owned(), before);
        }
        self.state.grow(connection, fresh);
    }

    /// An encoder is gone. One that is not known was cut off already.
    pub fn unpublish(&mut self, now: Timestamp, connection: &str) {
        self.advance(now);
        let Some(id) = self.state.stream_of_mut(connection).map(|stream| stream.id.clone()) else { return };
        self.detach(&id);
    }

    /// The encoder left: the reconnect window begins.
    fn detach(&mut self, id: &str) {
        let now = self.state.now;
        let Some(stream) = self.state.streams.get_mut(id) else { return };
        stream.encoder = None;
        let window = f64::from(stream.settings.reconnect_window);
        let Some(broadcast) = &mut stream.broadcast else { return };
        if window > 0.0 {
            broadcast.window_ends = Some(later(now, window));
        } else {
            self.end_broadcast(id);
        }
    }

    /// Cuts the encoder off, without a window.
    pub(crate) fn drop_encoder(&mut self, id: &str) {
        let encoder = self.state.streams.get_mut(id).and_then(|stream| stream.encoder.take());
        if let Some(Encoder { connection, .. }) = encoder {
            self.state.effects.push(Effect::DropEncoder { connection });
        }
    }

    /// Ends the recording. The encoder stays.
    pub(crate) fn end_broadcast(&mut self, id: &str) {
        let stream = self.state.streams.get_mut(id);
        let Some(broadcast) = stream.and_then(|stream| stream.broadcast.take()) else { return };
        if let Some(asset) = self.state.assets.get_mut(&broadcast.asset) {
            asset.finish();
        }
    }

    /// `complete`: the recording ends, and the encoder stays connected for a while.
    pub(crate) fn complete(&mut self, id: &str) {
        self.end_broadcast(id);
        let until = later(self.state.now, self.state.settings.timings.completed_encoder_stays);
        if let Some(encoder) = self.state.streams.get_mut(id).and_then(|stream| stream.encoder.as_mut()) {
            encoder.ignored_until = Some(until);
        }
    }

    /// `disable`: the recording ends and the encoder is cut off.
    pub(crate) fn disable(&mut self, id: &str) {
        self.end_broadcast(id);
        self.drop_encoder(id);
        if let Some(stream) = self.state.streams.get_mut(id) {
            stream.enabled = false;
        }
    }

    /// Lets everything happen that is due by `now`, in order. Time never goes back.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((at, due)) = self.state.next_due().filter(|(at, _)| *at <= now) {
            self.state.now = self.state.now.max(at);
            match due {
                Due::WindowEnds(id) => self.end_broadcast(&id),
                Due::EncoderIsSilent(id) => {
                    self.drop_encoder(&id);
                    self.detach(&id);
                }
                // An encoder that comes back then starts a new recording.
                Due::BroadcastIsTooLong(id) => {
                    self.end_broadcast(&id);
                    self.drop_encoder(&id);
                }
                Due::TestIsOver(id) => self.disable(&id),
                Due::TestAssetExpires(id) => self.expire(&id),
            }
        }
        self.state.now = self.state.now.max(now);
    }

    fn expire(&mut self, asset: &str) {
        let stream = self.state.assets.remove(asset).map(|asset| asset.live_stream_id);
        let Some(stream) = stream.and_then(|id| self.state.streams.get_mut(&id)) else { return };
        stream.recent_asset_ids.retain(|id| id != asset);
    }

    /// When something happens next by itself; `None` is never.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.state.next_due().map(|(at, _)| at)
    }
}

impl State {
    /// More media for the broadcast of this connection.
    fn grow(&mut self, connection: &str, fresh: Duration) {
        let (now, timings) = (self.now, self.settings.timings);
        let Some(stream) = self
            .streams
            .values_mut()
            .find(|stream| stream.encoder.as_ref().is_some_and(|encoder| encoder.connection == connection))
        else {
            return;
        };
        let Some(broadcast) = &mut stream.broadcast else { return };
        let Some(asset) = self.assets.get_mut(&broadcast.asset) else { return };
        if let Some(recording) = asset.recordings.last_mut() {
            recording.duration += fresh;
        }
        let recorded = asset.duration().as_secs_f64();
        if recorded >= timings.playable_after && broadcast.active_since.is_none() {
            broadcast.active_since = Some(now);
        }
        if recorded >= timings.ready_after {
            asset.status = AssetStatus::Ready;
        }
    }

    fn next_due(&self) -> Option<(Timestamp, Due)> {
        let timings = &self.settings.timings;
        let of_streams = self.streams.values().flat_map(|stream| {
            let id = || stream.id.clone();
            let settings = &stream.settings;
            let broadcast = stream.broadcast.as_ref();
            let longest = f64::from(settings.max_continuous_duration);
            [
                broadcast.and_then(|one| one.window_ends).map(|at| (at, Due::WindowEnds(id()))),
                stream.encoder.as_ref().map(|encoder| {
                    let at = later(encoder.heard_at, timings.silent_encoder_dropped_after);
                    (at, Due::EncoderIsSilent(id()))
                }),
                broadcast.map(|one| (later(one.started_at, longest), Due::BroadcastIsTooLong(id()))),
                broadcast
                    .and_then(|one| one.active_since)
                    .filter(|_| settings.test)
                    .map(|since| (later(since, timings.test_stream_active_for), Due::TestIsOver(id()))),
            ]
        });
        let of_assets = self.assets.values().filter(|asset| asset.test && !asset.is_live).map(|asset| {
            let at = later(asset.created_at, timings.test_asset_kept_for);
            Some((at, Due::TestAssetExpires(asset.id.clone())))
        });
        of_streams.chain(of_assets).flatten().min_by_key(|(at, _)| *at)
    }
}
