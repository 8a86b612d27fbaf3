//! What a viewer gets at a playback address.

use crate::asset::{Asset, AssetStatus, Recording};
use crate::body::Policy;
use crate::model::Model;
use crate::stream::{PlaybackId, Status};

/// The answer to a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playback {
    /// 404.
    Unknown,
    /// 403: the playback id wants a signed token, and no signing keys are simulated.
    NotPublic,
    /// 412: nothing can be watched now.
    NotActive,
    /// 200.
    Plays(Program),
}

/// What can be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// In order; the media of each connection counts from `from`, for `duration`.
    pub recordings: Vec<Recording>,
    /// Nothing more will come.
    pub ended: bool,
    /// Only the newest part is shown: the address is a live stream's, not a recording's.
    pub newest_only: bool,
}

impl Program {
    fn of(asset: &Asset, newest_only: bool) -> Self {
        Self { recordings: asset.recordings.clone(), ended: !asset.is_live, newest_only }
    }
}

impl Model {
    /// What the playback id shows now, or as of the last [`Model::advance`].
    pub fn playback(&self, id: &str) -> Playback {
        let has = |ids: &[PlaybackId]| ids.iter().find(|one| one.id == id).map(|one| one.policy.policy);
        let state = &self.state;
        let stream = state.streams.values().find_map(|one| Some((one, has(&one.playback_ids)?)));
        let asset = state.assets.values().find_map(|one| Some((one, has(&one.playback_ids)?)));
        match (stream, asset) {
            (Some((_, Policy::Signed | Policy::Drm)), _) | (_, Some((_, Policy::Signed | Policy::Drm))) => {
                Playback::NotPublic
            }
            (Some((stream, _)), _) => match &stream.broadcast {
                Some(broadcast) if stream.status() == Status::Active => state
                    .assets
                    .get(&broadcast.asset)
                    .map_or(Playback::NotActive, |asset| Playback::Plays(Program::of(asset, true))),
                _ => Playback::NotActive,
            },
            (None, Some((asset, _))) => {
                let begun = asset.duration().as_secs_f64() >= state.settings.timings.playable_after;
                match asset.status {
                    AssetStatus::Errored => Playback::NotActive,
                    _ if asset.is_live && !begun => Playback::NotActive,
                    _ => Playback::Plays(Program::of(asset, false)),
                }
            }
            (None, None) => Playback::Unknown,
        }
    }
}
