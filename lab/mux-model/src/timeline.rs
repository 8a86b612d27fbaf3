//! What a recording is made of, and how its playlist grows.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Whose media it is: Mux's own words of `recording_times`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// An encoder's.
    Content,
    /// Mux's own picture, which it plays while it waits for an encoder.
    Slate,
}

/// Where a stretch of a recording comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// One encoder connection.
    Encoder {
        /// As it was named to the model.
        connection: String,
        /// How far the connection's media had come when this stretch began.
        from: Duration,
    },
    /// Mux itself.
    Slate,
}

/// A stretch of a recording that comes from one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// Whose media it is.
    pub source: Source,
    /// When it began.
    pub started_at: Timestamp,
    /// How much of it there is.
    pub duration: Duration,
}

impl Recording {
    /// An encoder's, or Mux's own.
    pub fn kind(&self) -> MediaKind {
        match self.source {
            Source::Encoder { .. } => MediaKind::Content,
            Source::Slate => MediaKind::Slate,
        }
    }
}

/// The newest segment of a playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Newest {
    pub kind: MediaKind,
    /// When it was added.
    pub at: Timestamp,
}

/// The stretches of a recording in order. Sums are kept, so that nothing has to be counted when somebody looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timeline {
    /// The length of a segment.
    pub segment: Duration,
    recordings: Vec<Recording>,
    /// The last of them goes on.
    open: bool,
    /// When the last one ended, or everything began: the next one starts no earlier.
    edge: Timestamp,
    /// All media of encoders.
    content: Duration,
    /// All of Mux's own that has ended.
    slate: Duration,
    /// The segments of what has ended.
    segments: u64,
    newest: Option<Newest>,
}

impl Timeline {
    pub fn new(segment: Duration, now: Timestamp) -> Self {
        Self {
            // A length of nothing would have no end of segments.
            segment: segment.max(Duration::from_millis(1)),
            recordings: Vec::new(),
            open: false,
            edge: now,
            content: Duration::ZERO,
            slate: Duration::ZERO,
            segments: 0,
            newest: None,
        }
    }

    /// More of an encoder's media, which had come to `from` before.
    pub fn grow(&mut self, connection: &str, from: Duration, fresh: Duration, now: Timestamp) {
        let same = |recording: &&Recording| matches!(&recording.source, Source::Encoder { connection: one, .. } if one == connection);
        if self.opened().filter(same).is_none() {
            self.close(now);
            let began = SignedDuration::try_from(fresh).ok().and_then(|fresh| now.checked_sub(fresh).ok());
            let source = Source::Encoder { connection: connection.to_owned(), from };
            self.begin(source, began.unwrap_or(now).max(self.edge));
        }
        let segment = self.segment;
        let Some(recording) = self.recordings.last_mut() else { return };
        let before = whole(recording.duration, segment);
        recording.duration += fresh;
        self.content += fresh;
        if whole(recording.duration, segment) > before {
            self.newest = Some(Newest { kind: MediaKind::Content, at: now });
        }
    }

    /// From now on Mux plays its own picture.
    pub fn begin_slate(&mut self, now: Timestamp) {
        if !self.is_slate() {
            self.close(now);
            self.begin(Source::Slate, now);
        }
    }

    fn begin(&mut self, source: Source, started_at: Timestamp) {
        self.recordings.push(Recording { source, started_at, duration: Duration::ZERO });
        self.open = true;
    }

    /// Nothing more comes from where the last came from. The rest of an encoder's media, which fills no segment, is
    /// shown as a shorter one; Mux's own picture ends with its last whole segment.
    pub fn close(&mut self, now: Timestamp) {
        let Some(last) = self.opened().cloned() else { return };
        match last.kind() {
            MediaKind::Content => {
                let whole = whole(last.duration, self.segment);
                let all = last.duration.as_nanos().div_ceil(self.segment.as_nanos());
                let all = u64::try_from(all).unwrap_or(u64::MAX);
                self.segments += all;
                if all > whole {
                    self.newest = Some(Newest { kind: MediaKind::Content, at: now });
                }
            }
            MediaKind::Slate => {
                let duration = between(last.started_at, now);
                self.newest = self.newest(now);
                self.segments += whole(duration, self.segment);
                self.slate += duration;
                if let Some(slate) = self.recordings.last_mut() {
                    slate.duration = duration;
                }
            }
        }
        self.open = false;
        self.edge = now;
    }

    fn opened(&self) -> Option<&Recording> {
        self.recordings.last().filter(|_| self.open)
    }

    fn slating(&self) -> Option<&Recording> {
        self.opened().filter(|recording| recording.kind() == MediaKind::Slate)
    }

    /// Whether Mux plays its own picture.
    pub fn is_slate(&self) -> bool {
        self.slating().is_some()
    }

    /// How much media encoders have brought.
    pub fn content(&self) -> Duration {
        self.content
    }

    /// How long everything is.
    pub fn duration(&self, now: Timestamp) -> Duration {
        let open = self.slating().map_or(Duration::ZERO, |slate| between(slate.started_at, now));
        self.content + self.slate + open
    }

    /// How many segments there are.
    pub fn segments(&self, now: Timestamp) -> u64 {
        let open = self.opened().map_or(0, |last| match last.kind() {
            MediaKind::Content => whole(last.duration, self.segment),
            MediaKind::Slate => whole(between(last.started_at, now), self.segment),
        });
        self.segments + open
    }

    /// The newest of them.
    pub fn newest(&self, now: Timestamp) -> Option<Newest> {
        let slate = self.slating().and_then(|slate| {
            let shown = whole(between(slate.started_at, now), self.segment);
            let length = u32::try_from(shown).ok().and_then(|shown| self.segment.checked_mul(shown))?;
            let at = slate.started_at.checked_add(SignedDuration::try_from(length).ok()?).ok()?;
            Some(Newest { kind: MediaKind::Slate, at }).filter(|_| shown > 0)
        });
        slate.or(self.newest)
    }

    /// The stretches, each with its present length.
    pub fn recordings(&self, now: Timestamp) -> Vec<Recording> {
        let mut recordings = self.recordings.clone();
        if self.is_slate()
            && let Some(slate) = recordings.last_mut()
        {
            slate.duration = between(slate.started_at, now);
        }
        recordings
    }
}

/// How many whole segments there are in it.
fn whole(duration: Duration, segment: Duration) -> u64 {
    u64::try_from(duration.as_nanos() / segment.as_nanos().max(1)).unwrap_or(u64::MAX)
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}
