//! What a mourner's player sees, from one look to the next. It may be lost: the next looks tell again.

use crate::world::{Playlist, ViewerError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What a mourner's player sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// Nobody looked, because nothing depends on it.
    #[default]
    NotLooked,
    /// The playlist gains segments.
    Grows,
    /// Nothing was added for this long, which is longer than its own target duration allows.
    Still(Duration),
    /// The playback address refuses, with this status.
    Refused(u16),
    /// Nobody can say.
    Unknown(String),
}

/// That a playlist stands still is told on for so long by a player that cannot look any more.
const LAST_WORD_HOLDS: Duration = Duration::from_secs(60);

/// The looks at one object's playlist.
#[derive(Debug, Default)]
pub struct Looks(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    newest: Option<(String, Instant)>,
    /// When a look that was answered found it standing still, if the last one did.
    still_at: Option<Instant>,
    /// The stream in which Mux once told that a sender is connected: where it never does, silence means nothing.
    told_connected: Option<String>,
}

impl Looks {
    /// Nobody looked.
    pub fn is_empty(&self) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.newest.is_none() && inner.told_connected.is_none()
    }

    /// What this look, taken together with those before, shows.
    pub fn judge(&self, look: Result<Playlist, ViewerError>) -> Sight {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match look {
            Err(ViewerError::Refused(status)) => Sight::Refused(status),
            Err(ViewerError::Unknown(why)) => {
                let still = inner.still_at.is_some_and(|at| now.duration_since(at) < LAST_WORD_HOLDS);
                match inner.newest.as_ref().filter(|_| still) {
                    Some((_, since)) => Sight::Still(now.duration_since(*since)),
                    None => Sight::Unknown(why),
                }
            }
            Ok(playlist) => {
                let patience = playlist.patience();
                let Playlist { newest, ended, .. } = playlist;
                let since = match &inner.newest {
                    Some((before, since)) if *before == newest => *since,
                    _ => now,
                };
                inner.newest = Some((newest, since));
                let still = now.duration_since(since);
                let stands = ended || still > patience;
                inner.still_at = stands.then_some(now);
                if stands { Sight::Still(still) } else { Sight::Grows }
            }
        }
    }

    /// Whether Mux says that a sender is connected to this stream; `None` where it never told.
    pub fn connected(&self, stream: &str, told: Option<bool>) -> Option<bool> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told == Some(true) {
            inner.told_connected = Some(stream.to_owned());
        }
        (inner.told_connected.as_deref() == Some(stream)).then_some(told == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playlist(newest: &str) -> Result<Playlist, ViewerError> {
        Ok(Playlist { newest: newest.into(), target_duration: Duration::from_secs(4), ended: false })
    }

    #[tokio::test(start_paused = true)]
    async fn a_playlist_that_stands_still_is_told_after_its_own_target_duration() {
        let looks = Looks::default();
        assert_eq!(looks.judge(playlist("1")), Sight::Grows);
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(looks.judge(playlist("1")), Sight::Grows, "a segment may take that long");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(looks.judge(playlist("1")), Sight::Still(Duration::from_secs(10)));
        let blind = || Err(ViewerError::Unknown("x".into()));
        assert_eq!(looks.judge(blind()), Sight::Still(Duration::from_secs(10)), "that was the last word");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(looks.judge(blind()), Sight::Unknown("x".into()));
        assert_eq!(looks.judge(playlist("2")), Sight::Grows);
        assert_eq!(looks.judge(blind()), Sight::Unknown("x".into()));
    }

    #[test]
    fn that_mux_says_nothing_of_a_connection_means_something_only_where_it_said_so_before() {
        let looks = Looks::default();
        assert_eq!(looks.connected("S1", None), None);
        assert_eq!(looks.connected("S1", Some(true)), Some(true));
        assert_eq!(looks.connected("S1", None), Some(false));
        assert_eq!(looks.connected("S2", None), None);
    }
}
