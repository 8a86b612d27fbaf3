//! What happens by itself, and when.

use crate::model::{Model, State, later};
use jiff::Timestamp;

/// What happens by itself to a stream or, as the last one says, to a recording.
#[derive(Clone, Copy, Debug)]
enum Due {
    WindowEnds,
    EncoderIsSilent,
    SlateBegins,
    BroadcastIsTooLong,
    TestIsOver,
    TestAssetExpires,
}

impl Model {
    /// Lets everything happen that is due by `now`, in order. Time never goes back.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((at, due, id)) = self.state.next_due().filter(|(at, ..)| *at <= now) {
            let id = id.to_owned();
            self.state.now = self.state.now.max(at);
            match due {
                Due::WindowEnds => self.end_broadcast(&id),
                Due::EncoderIsSilent => {
                    self.drop_encoder(&id);
                    self.detach(&id);
                }
                Due::SlateBegins => {
                    let broadcast = self.state.streams.get(&id).and_then(|stream| stream.broadcast.as_ref());
                    if let Some(asset) = broadcast.map(|broadcast| broadcast.asset.clone()) {
                        self.pause(&asset, true);
                    }
                }
                // An encoder that comes back then starts a new recording.
                Due::BroadcastIsTooLong => {
                    self.end_broadcast(&id);
                    self.drop_encoder(&id);
                }
                Due::TestIsOver => self.disable(&id),
                Due::TestAssetExpires => self.expire(&id),
            }
        }
        self.state.now = self.state.now.max(now);
    }

    /// A recording goes.
    pub(crate) fn expire(&mut self, asset: &str) {
        self.state.expiring.remove(asset);
        let Some(gone) = self.state.assets.remove(asset) else { return };
        for playback_id in &gone.playback_ids {
            self.state.playback.remove(&playback_id.id);
        }
        let Some(stream) = self.state.change(&gone.live_stream_id) else { return };
        stream.recent_asset_ids.retain(|id| id != asset);
    }

    /// When something happens next by itself; `None` is never.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.state.next_due().map(|(at, ..)| at)
    }
}

impl State {
    fn next_due(&self) -> Option<(Timestamp, Due, &str)> {
        let of_streams = self.busy.iter().filter_map(|id| {
            let (at, due) = self.next_of_stream(id)?;
            Some((at, due, id.as_str()))
        });
        let kept = self.settings.timings.test_asset_kept_for;
        let of_assets = self.expiring.iter().filter_map(|id| {
            let at = later(self.assets.get(id)?.created_at, kept);
            Some((at, Due::TestAssetExpires, id.as_str()))
        });
        of_streams.chain(of_assets).min_by_key(|(at, ..)| *at)
    }

    fn next_of_stream(&self, id: &str) -> Option<(Timestamp, Due)> {
        let (timings, stream) = (&self.settings.timings, self.streams.get(id)?);
        let (settings, broadcast) = (&stream.settings, stream.broadcast.as_ref());
        let encoder = stream.encoder.as_ref();
        let longest = f64::from(settings.max_continuous_duration);
        let all = [
            (broadcast.and_then(|one| one.window_ends), Due::WindowEnds),
            (
                encoder.map(|encoder| later(encoder.heard_at, timings.silent_encoder_dropped_after)),
                Due::EncoderIsSilent,
            ),
            (broadcast.map(|one| later(one.started_at, longest)), Due::BroadcastIsTooLong),
            (
                broadcast
                    .and_then(|one| one.active_since)
                    .filter(|_| settings.test)
                    .map(|since| later(since, timings.test_stream_active_for)),
                Due::TestIsOver,
            ),
            (self.slate_for_silence(id), Due::SlateBegins),
        ];
        all.into_iter().filter_map(|(at, due)| Some((at?, due))).min_by_key(|(at, _)| *at)
    }

    /// When Mux stops waiting for an encoder that is connected and sends nothing.
    fn slate_for_silence(&self, id: &str) -> Option<Timestamp> {
        let wait = self.settings.unknowns.slate_after_silence?;
        let stream = self.streams.get(id).filter(|stream| stream.settings.plays_slate())?;
        let asset = self.assets.get(&stream.broadcast.as_ref()?.asset)?;
        let waits = !asset.timeline.is_slate() && !asset.timeline.content().is_zero();
        stream.encoder.as_ref().filter(|_| waits).map(|encoder| later(encoder.heard_at, wait))
    }
}
