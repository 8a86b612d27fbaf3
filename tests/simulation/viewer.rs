//! What mourners see right now.

use crate::bounds::PLAYLIST_STANDS_STILL;
use crate::cluster::Key;
use crate::faults::Site;
use crate::land::Land;
use crate::process::{Broken, Process};
use async_trait::async_trait;
use memorialstream_mux_model::{Playback, Shown};
use memorialstream_operator::world::{Playlist, Viewer, ViewerError};
use std::time::Duration;

/// As in the adapter.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What the address that status names shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The Program.
    Program,
    /// A playlist that grows, with something in it that is not Program.
    Black,
    /// Mux's own picture.
    Slate,
    /// A still, or nothing at all.
    Still,
}

impl Land {
    /// What mourners see who watch at the address in status.
    pub fn sight(&mut self, key: &Key) -> Sight {
        let now = self.now;
        let at = self.time();
        let Some(object) = self.cluster.objects.get(key) else { return Sight::Still };
        let Some(url) = object.status.as_ref().and_then(|status| status.playback_url.as_ref()) else {
            return Sight::Still;
        };
        let file = url.rsplit('/').next().unwrap_or_default();
        let id = file.trim_end_matches(".m3u8").to_owned();
        let uid = object.metadata.uid.clone().unwrap_or_default();
        for environment in self.mux.values_mut() {
            let fresh = i64::try_from(PLAYLIST_STANDS_STILL.as_millis()).unwrap();
            match environment.model.media_playlist(at, &id).shows(at, PLAYLIST_STANDS_STILL) {
                Shown::Nothing => continue,
                Shown::Slate => return Sight::Slate,
                Shown::Content => {
                    let mut ours = environment.connections.values().filter(|one| one.uid == uid);
                    let program = |at: u64| i64::try_from(now - at).unwrap() <= fresh;
                    return if ours.any(|one| one.program_at.is_some_and(program)) {
                        Sight::Program
                    } else if environment.connections.values().any(|one| one.uid == uid) {
                        Sight::Black
                    } else {
                        Sight::Still
                    };
                }
            }
        }
        Sight::Still
    }
}

#[async_trait]
impl Viewer for Process {
    async fn playlist(&self, playback_url: &str) -> Result<Playlist, ViewerError> {
        let call = self.through(Site::ReadPlaylist, playback_url, TIMEOUT, |land| {
            let at = land.time();
            let file = playback_url.rsplit('/').next().unwrap_or_default();
            let id = file.trim_end_matches(".m3u8");
            let mut answers =
                land.mux.values_mut().map(|environment| environment.model.media_playlist(at, id));
            answers.find(|answer| *answer != Playback::Unknown).unwrap_or(Playback::Unknown)
        });
        match call.await {
            Ok(Playback::Plays(playlist)) => Ok(Playlist {
                newest: format!("{} {}", playlist.media_sequence, playlist.segments),
                target_duration: playlist.target_duration,
                ended: playlist.ended,
            }),
            Ok(refused) => Err(ViewerError::Refused(refused.status())),
            Err(Broken::TimedOut) => Err(ViewerError::Unknown("no answer in time".into())),
            Err(Broken::Failed(_)) => Err(ViewerError::Unknown("the connection failed".into())),
        }
    }
}
