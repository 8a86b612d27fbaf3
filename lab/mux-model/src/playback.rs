//! What a viewer gets at a playback address.

use crate::asset::{Asset, AssetStatus};
use crate::body::Policy;
use crate::model::{Model, Owner};
use crate::stream::Status;
use crate::timeline::{MediaKind, Recording};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How much of a broadcast a live stream's own address shows
/// (mux.com/docs/guides/stream-recordings-of-live-streams: "non-DVR").
const NEWEST: Duration = Duration::from_secs(30);

/// The answer to a viewer; `P` is what can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playback<P> {
    /// 404.
    Unknown,
    /// 403: the playback id wants a signed token, and no signing keys are simulated.
    NotPublic,
    /// 412: nothing can be watched now.
    NotActive,
    /// 200.
    Plays(P),
}

impl<P> Playback<P> {
    /// HTTP's status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unknown => 404,
            Self::NotPublic => 403,
            Self::NotActive => 412,
            Self::Plays(_) => 200,
        }
    }
}

/// What can be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// In order.
    pub recordings: Vec<Recording>,
    /// Nothing more will come.
    pub ended: bool,
    /// Only the newest part is shown: the address is a live stream's, not a recording's.
    pub newest_only: bool,
}

/// A media playlist, without its text: segments of one length, which appear when all of their media is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPlaylist {
    /// The number of the first segment that is listed (`EXT-X-MEDIA-SEQUENCE`). It only grows.
    pub media_sequence: u64,
    /// How many are listed.
    pub segments: u64,
    /// `EXT-X-TARGETDURATION`.
    pub target_duration: Duration,
    /// What the newest one shows; `None` before the first.
    pub newest: Option<MediaKind>,
    /// When the newest one was added; the broadcast's beginning before the first.
    pub newest_at: Timestamp,
    /// Nothing more will come (`EXT-X-ENDLIST`).
    pub ended: bool,
}

/// What is new at a playback address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shown {
    /// What an encoder sends.
    Content,
    /// Mux's own picture: the playlist grows, and yet nobody sends.
    Slate,
    /// The playlist stands still, has ended, or there is none.
    Nothing,
}

impl Playback<MediaPlaylist> {
    /// What a viewer sees of it at `now`, when a segment counts as new for `bound` after it was added.
    pub fn shows(&self, now: Timestamp, bound: Duration) -> Shown {
        let Self::Plays(playlist) = self else { return Shown::Nothing };
        let age = now.duration_since(playlist.newest_at);
        let fresh = SignedDuration::try_from(bound).is_ok_and(|bound| age <= bound) && !playlist.ended;
        match playlist.newest.filter(|_| fresh) {
            Some(MediaKind::Content) => Shown::Content,
            Some(MediaKind::Slate) => Shown::Slate,
            None => Shown::Nothing,
        }
    }
}

impl Model {
    /// What the playback id shows now, or as of the last [`Model::advance`].
    pub fn playback(&self, id: &str) -> Playback<Program> {
        self.watched(id, |asset, newest_only| Program {
            recordings: asset.timeline.recordings(self.state.now),
            ended: !asset.is_live,
            newest_only,
        })
    }

    /// The media playlist at the playback id. Nothing is copied: it can be asked at each step.
    pub fn media_playlist(&mut self, now: Timestamp, id: &str) -> Playback<MediaPlaylist> {
        self.advance(now);
        let now = self.state.now;
        self.watched(id, |asset, newest_only| {
            let (timeline, all) = (&asset.timeline, asset.timeline.segments(now));
            let shown = NEWEST.as_nanos().div_ceil(timeline.segment.as_nanos());
            let shown = u64::try_from(shown).unwrap_or(u64::MAX);
            let media_sequence = if newest_only { all.saturating_sub(shown) } else { 0 };
            let newest = timeline.newest(now);
            MediaPlaylist {
                media_sequence,
                segments: all - media_sequence,
                target_duration: timeline.segment,
                newest: newest.map(|newest| newest.kind),
                newest_at: newest.map_or(asset.created_at, |newest| newest.at),
                ended: !asset.is_live,
            }
        })
    }

    /// The recording behind a playback id, and whether only its newest part is shown.
    fn watched<P>(&self, id: &str, show: impl FnOnce(&Asset, bool) -> P) -> Playback<P> {
        let state = &self.state;
        let Some((owner, policy)) = state.owner_of(id) else { return Playback::Unknown };
        if policy != Policy::Public {
            return Playback::NotPublic;
        }
        let asset = match owner {
            Owner::Stream(id) => state
                .streams
                .get(id)
                .filter(|stream| stream.status() == Status::Active)
                .and_then(|stream| state.assets.get(&stream.broadcast.as_ref()?.asset))
                .map(|asset| (asset, true)),
            Owner::Asset(id) => state
                .assets
                .get(id)
                .filter(|asset| {
                    let begun =
                        asset.timeline.content().as_secs_f64() >= state.settings.timings.playable_after;
                    asset.status != AssetStatus::Errored && (begun || !asset.is_live)
                })
                .map(|asset| (asset, false)),
        };
        asset.map_or(Playback::NotActive, |(asset, newest_only)| Playback::Plays(show(asset, newest_only)))
    }
}
