//! What mourners get at the playback address.

use async_trait::async_trait;
use std::time::Duration;

/// The media playlist as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playlist {
    /// Names the newest part of it: it changes whenever something is added.
    pub newest: String,
    /// How long a segment lasts at most.
    pub target_duration: Duration,
    /// Nothing more will come.
    pub ended: bool,
}

impl Playlist {
    /// How long nothing may be added: a player stalls after one and a half target durations (RFC 8216, 6.3.4), and looks
    /// are some seconds apart.
    pub fn patience(&self) -> Duration {
        self.target_duration * 3 / 2 + Duration::from_secs(3)
    }
}

/// Why no playlist was got.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewerError {
    /// The player was refused: mourners cannot watch either.
    #[error("the playback address answers {0}")]
    Refused(u16),
    /// Nobody can say what mourners see.
    #[error("the playback address cannot be read: {0}")]
    Unknown(String),
}

/// A mourner's player. Each look is bounded in time and size.
#[async_trait]
pub trait Viewer: Send + Sync {
    /// The media playlist behind a playback address.
    async fn playlist(&self, playback_url: &str) -> Result<Playlist, ViewerError>;
}
