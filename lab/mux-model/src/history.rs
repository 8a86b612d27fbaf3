//! Lists that lag: what they show is how things were a while ago.

use crate::stream::LiveStream;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How streams were that changed a short while ago, oldest first; deleted ones too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct History(BTreeMap<String, Vec<Past>>);

/// A stream as lists show it until that long after a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Past {
    changed_at: Timestamp,
    /// `None`: there was none.
    stream: Option<LiveStream>,
}

impl Past {
    fn is_shown(&self, now: Timestamp, lag: SignedDuration) -> bool {
        now.duration_since(self.changed_at) < lag
    }
}

impl History {
    /// A stream is about to be changed, made or deleted. Without a lag nobody asks how it was.
    pub(crate) fn remember(
        &mut self,
        id: &str,
        stream: Option<&LiveStream>,
        now: Timestamp,
        lag: SignedDuration,
    ) {
        if lag.is_zero() {
            return;
        }
        let past = self.0.entry(id.to_owned()).or_default();
        past.retain(|one| one.is_shown(now, lag));
        // Of several changes at once only the whole is seen.
        if past.last().is_none_or(|last| last.changed_at < now) {
            past.push(Past { changed_at: now, stream: stream.cloned() });
        }
    }

    /// Drops what no list shows any more.
    pub(crate) fn forget(&mut self, now: Timestamp, lag: SignedDuration) {
        self.0.retain(|_, past| past.last().is_some_and(|last| last.is_shown(now, lag)));
    }

    /// The stream as a list shows it, which is like `stream` now.
    pub(crate) fn shown<'a>(
        &'a self,
        id: &str,
        stream: Option<&'a LiveStream>,
        now: Timestamp,
        lag: SignedDuration,
    ) -> Option<&'a LiveStream> {
        let mut past = self.0.get(id).into_iter().flatten();
        match past.find(|one| one.is_shown(now, lag)) {
            Some(shown) => shown.stream.as_ref(),
            None => stream,
        }
    }

    /// Whose past it knows.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}
