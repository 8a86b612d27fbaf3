//! Lists that lag: what they show is how things were a while ago.

use crate::model::{State, later};
use crate::stream::LiveStream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A stream as lists show it until that long after a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Past {
    changed_at: Timestamp,
    /// `None`: there was none.
    stream: Option<LiveStream>,
}

impl State {
    /// A stream that is about to be changed.
    pub(crate) fn change(&mut self, id: &str) -> Option<&mut LiveStream> {
        self.remember(id);
        self.streams.get_mut(id)
    }

    /// A stream is about to be changed, made or deleted. Without a lag nobody asks how it was.
    pub(crate) fn remember(&mut self, id: &str) {
        let lag = f64::from(self.settings.list_lag_seconds);
        if lag == 0.0 {
            return;
        }
        let (now, stream) = (self.now, self.streams.get(id).cloned());
        let past = self.past.entry(id.to_owned()).or_default();
        past.retain(|one| later(one.changed_at, lag) > now);
        // Of several changes at once only the whole is seen.
        if past.last().is_none_or(|last| last.changed_at < now) {
            past.push(Past { changed_at: now, stream });
        }
    }

    /// Drops what no list shows any more.
    pub(crate) fn forget(&mut self) {
        let (now, lag) = (self.now, f64::from(self.settings.list_lag_seconds));
        self.past.retain(|_, past| past.last().is_some_and(|last| later(last.changed_at, lag) > now));
    }

    /// The streams that a list shows, as it shows them.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &LiveStream> {
        let present = self.streams.iter().map(|(id, stream)| (id, Some(stream)));
        let deleted = self.past.keys().filter(|id| !self.streams.contains_key(*id)).map(|id| (id, None));
        let lag = f64::from(self.settings.list_lag_seconds);
        present.chain(deleted).filter_map(move |(id, stream)| {
            let mut past = self.past.get(id).into_iter().flatten();
            match past.find(|one| later(one.changed_at, lag) > self.now) {
                Some(shown) => shown.stream.as_ref(),
                None => stream,
            }
        })
    }
}
