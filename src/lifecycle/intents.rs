//! Records of creates that were never sent: the write of the record failed, or its answer was lost, and the pass ended
//! there. What nobody sent need not be searched for.

use super::observed::{Created, Noted};
use super::plan::Action;
use crate::api::status::CreateIntent;
use crate::api::{MemorialStream, MemorialStreamStatus};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// So many of each are remembered.
const MOST: usize = 100;

/// Which creates this process noted and did not send. Lost with the process: then they are searched for.
#[derive(Debug, Default)]
pub struct Unsent(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    unsent: BTreeSet<Noted>,
    sent: BTreeSet<Noted>,
    /// The create of a stream that is not over, and since when it is known here.
    creating: Option<(i64, Instant)>,
}

impl Unsent {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No create was noted.
    pub fn is_empty(&self) -> bool {
        let inner = self.inner();
        inner.unsent.is_empty() && inner.sent.is_empty() && inner.creating.is_none()
    }

    /// All of them.
    pub fn seen(&self) -> BTreeSet<Noted> {
        self.inner().unsent.clone()
    }

    /// The object without a create of a stream that was never sent: its record binds to no account.
    pub fn left_out<'a>(&self, object: &'a MemorialStream) -> Cow<'a, MemorialStream> {
        let status = object.status.as_ref();
        let Some(creating) = status.and_then(|status| status.mux.as_ref()?.creating.as_ref()) else {
            return Cow::Borrowed(object);
        };
        if !self.inner().unsent.contains(&(Created::Stream, creating.since.0.as_second())) {
            return Cow::Borrowed(object);
        }
        let mut object = object.clone();
        if let Some(mux) = object.status.as_mut().and_then(|status| status.mux.as_mut()) {
            mux.creating = None;
        }
        Cow::Owned(object)
    }

    /// For how long it has been known here that a stream is being created.
    pub fn creating_for(&self, status: &MemorialStreamStatus) -> Duration {
        let mut inner = self.inner();
        let since =
            status.mux.as_ref().and_then(|mux| mux.creating.as_ref()).map(|one| one.since.0.as_second());
        let known = inner.creating.filter(|(known, _)| since == Some(*known)).map(|(_, at)| at);
        inner.creating = since.map(|since| (since, known.unwrap_or_else(Instant::now)));
        inner.creating.map_or(Duration::ZERO, |(_, at)| at.elapsed())
    }

    /// The record of these actions may stand in status, and none of them is done. What was sent within the same second
    /// stays sent: a cache may be older than its record.
    pub fn is_given_up(&self, actions: &[Action], record: &MemorialStreamStatus) {
        let mut inner = self.inner();
        let new: Vec<Noted> = noted(actions, record).filter(|one| !inner.sent.contains(one)).collect();
        inner.unsent.extend(new);
        bound(&mut inner.unsent);
    }

    /// The create that stands in this record did not follow, though no status may tell of that.
    pub fn did_not_follow(&self, what: Created, record: &MemorialStreamStatus) {
        let mut inner = self.inner();
        for one in intents(record).filter(|one| one.0 == what) {
            inner.sent.remove(&one);
            inner.unsent.insert(one);
        }
        bound(&mut inner.unsent);
    }

    /// The record of these actions stands, and they follow.
    pub fn is_sent(&self, actions: &[Action], record: &MemorialStreamStatus) {
        let mut inner = self.inner();
        for one in noted(actions, record) {
            inner.unsent.remove(&one);
            inner.sent.insert(one);
        }
        bound(&mut inner.sent);
    }
}

fn bound(all: &mut BTreeSet<Noted>) {
    while all.len() > MOST {
        all.pop_first();
    }
}

/// The creates of which a record tells.
fn intents(record: &MemorialStreamStatus) -> impl Iterator<Item = Noted> {
    let noted = |what| move |intent: &CreateIntent| (what, intent.since.0.as_second());
    let egress = record.egress.as_ref().and_then(|egress| egress.starting.as_ref());
    let stream = record.mux.as_ref().and_then(|mux| mux.creating.as_ref());
    egress.map(noted(Created::Egress)).into_iter().chain(stream.map(noted(Created::Stream)))
}

/// Those among them that are these actions.
fn noted(actions: &[Action], record: &MemorialStreamStatus) -> impl Iterator<Item = Noted> {
    intents(record).filter(|(what, _)| {
        actions.iter().any(|action| match what {
            Created::Egress => matches!(action, Action::StartEgress { .. }),
            Created::Stream => matches!(action, Action::CreateStream(_)),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::MuxStatus;
    use crate::providers::mux::{LatencyMode, NewLiveStream};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    #[test]
    fn what_was_sent_is_never_taken_for_unsent() {
        let new = NewLiveStream {
            passthrough: String::new(),
            latency_mode: LatencyMode::Low,
            reconnect_window_seconds: 0,
            test: false,
        };
        let actions = [Action::CreateStream(Box::new(new))];
        let record = |milliseconds| {
            let since = Time(Timestamp::from_millisecond(milliseconds).unwrap());
            let creating = Some(CreateIntent { since, absent_since: None });
            let mux = Some(MuxStatus { creating, ..MuxStatus::default() });
            MemorialStreamStatus { mux, ..MemorialStreamStatus::default() }
        };
        let unsent = Unsent::default();
        unsent.is_given_up(&actions, &record(1_100));
        assert_eq!(unsent.seen(), BTreeSet::from([(Created::Stream, 1)]));
        // The next pass does it, within the same second; a later one, with an old cache, comes too late.
        unsent.is_sent(&actions, &record(1_300));
        unsent.is_given_up(&actions, &record(1_900));
        assert_eq!(unsent.seen(), BTreeSet::new());
        // What came before it in that pass failed.
        unsent.did_not_follow(Created::Egress, &record(1_900));
        assert_eq!(unsent.seen(), BTreeSet::new());
        unsent.did_not_follow(Created::Stream, &record(1_900));
        assert_eq!(unsent.seen(), BTreeSet::from([(Created::Stream, 1)]));
    }
}
