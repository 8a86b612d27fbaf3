//! What mourners see right now.

use crate::bounds::PLAYLIST_STANDS_STILL;
use crate::cluster::Key;
use crate::land::Land;
use memorialstream_mux_model::Shown;

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
