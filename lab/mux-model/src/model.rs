//! An environment of Mux: its state and what can be seen from outside of its REST API.

use crate::asset::Asset;
use crate::body::Policy;
use crate::bucket::Bucket;
use crate::fault::{Fault, UnknownOperation};
use crate::history::History;
use crate::ids::{Ids, object_id};
use crate::operation::Operation;
use crate::record::{RequestCount, StreamRecord};
use crate::request::Credentials;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::stream::LiveStream;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the ingest is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Cut this encoder off.
    DropEncoder {
        /// As it was named when it came.
        connection: String,
    },
}

/// Everything that an environment remembers. It holds secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub(crate) now: Timestamp,
    pub(crate) settings: Settings,
    pub(crate) credentials: Credentials,
    pub(crate) environment_id: String,
    pub(crate) organization_id: String,
    pub(crate) faults: Vec<Fault>,
    pub(crate) counts: Vec<RequestCount>,
    pub(crate) post: Bucket,
    pub(crate) other: Bucket,
    pub(crate) serial: u64,
    pub(crate) streams: BTreeMap<String, LiveStream>,
    pub(crate) deleted: Vec<StreamRecord>,
    pub(crate) past: History,
    pub(crate) assets: BTreeMap<String, Asset>,
    pub(crate) effects: Vec<Effect>,
    /// The stream of each encoder connection.
    pub(crate) connections: BTreeMap<String, String>,
    /// Whose each playback id is.
    pub(crate) playback: BTreeMap<String, Owner>,
    /// Streams with an encoder or a broadcast, and recordings that expire: nothing else does anything by itself.
    pub(crate) busy: BTreeSet<String>,
    pub(crate) expiring: BTreeSet<String>,
}

impl State {
    /// A stream that is about to be changed.
    pub(crate) fn change(&mut self, id: &str) -> Option<&mut LiveStream> {
        self.remember(id);
        self.streams.get_mut(id)
    }

    /// A stream is about to be changed, made or deleted.
    pub(crate) fn remember(&mut self, id: &str) {
        self.past.remember(id, self.streams.get(id), self.now, self.list_lag());
    }

    /// Drops what no list shows any more.
    pub(crate) fn forget(&mut self) {
        self.past.forget(self.now, self.list_lag());
    }

    /// The streams that a list shows, as it shows them.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &LiveStream> {
        let present = self.streams.iter().map(|(id, stream)| (id, Some(stream)));
        let deleted = self.past.ids().filter(|id| !self.streams.contains_key(*id)).map(|id| (id, None));
        let (now, lag) = (self.now, self.list_lag());
        present.chain(deleted).filter_map(move |(id, stream)| self.past.shown(id, stream, now, lag))
    }

    fn list_lag(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.settings.list_lag_seconds))
    }
}

/// Whose playback id it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Owner {
    /// A live stream, by its id.
    Stream(String),
    /// A recording, by its id.
    Asset(String),
}

impl State {
    /// A number for the order of things; it only grows.
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Whose a playback id is, and who may watch.
    pub(crate) fn owner_of(&self, playback_id: &str) -> Option<(&Owner, Policy)> {
        let owner = self.playback.get(playback_id)?;
        let ids = match owner {
            Owner::Stream(id) => &self.streams.get(id)?.playback_ids,
            Owner::Asset(id) => &self.assets.get(id)?.playback_ids,
        };
        let found = ids.iter().find(|one| one.id == playback_id)?;
        Some((owner, found.policy.policy))
    }

    /// Whether a stream may do something by itself.
    pub(crate) fn settle(&mut self, id: &str) {
        let stream = self.streams.get(id);
        if stream.is_some_and(|stream| stream.encoder.is_some() || stream.broadcast.is_some()) {
            self.busy.insert(id.to_owned());
        } else {
            self.busy.remove(id);
        }
    }

    pub(crate) fn record(&self, stream: &LiveStream, recordings: Recordings) -> StreamRecord {
        let Recordings { assets, live_assets } = recordings;
        StreamRecord {
            id: stream.id.clone(),
            passthrough: stream.settings.passthrough.clone(),
            status: stream.status().as_str().to_owned(),
            deleted: false,
            encoders: usize::from(stream.encoder.is_some()),
            assets,
            live_assets,
            created_at: stream.created_at,
            playback_ids: stream.playback_ids.iter().map(|one| one.id.clone()).collect(),
        }
    }

    /// The recordings of each stream that has any.
    fn recordings(&self) -> BTreeMap<&str, Recordings> {
        let mut all: BTreeMap<&str, Recordings> = BTreeMap::new();
        for asset in self.assets.values() {
            let of_stream = all.entry(asset.live_stream_id.as_str()).or_default();
            of_stream.assets += 1;
            of_stream.live_assets += usize::from(asset.is_live);
        }
        all
    }
}

/// How many recordings there are, and how many of them are under way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recordings {
    assets: usize,
    live_assets: usize,
}

/// An environment of Mux. A clone goes its own way from there.
#[derive(Clone)]
pub struct Model {
    pub(crate) state: State,
    pub(crate) ids: Box<dyn Ids>,
}

impl fmt::Debug for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Model").field(&self.state).finish()
    }
}

impl Model {
    /// An empty environment with this one access token.
    pub fn new(settings: Settings, credentials: Credentials, now: Timestamp, mut ids: Box<dyn Ids>) -> Self {
        let limits = settings.rate_limits;
        let state = State {
            now,
            credentials,
            environment_id: object_id(ids.as_mut()),
            organization_id: object_id(ids.as_mut()),
            faults: Vec::new(),
            counts: Vec::new(),
            post: Bucket::full(limits.post, now),
            other: Bucket::full(limits.other, now),
            settings,
            serial: 0,
            streams: BTreeMap::new(),
            deleted: Vec::new(),
            past: History::default(),
            assets: BTreeMap::new(),
            effects: Vec::new(),
            connections: BTreeMap::new(),
            playback: BTreeMap::new(),
            busy: BTreeSet::new(),
            expiring: BTreeSet::new(),
        };
        Self { state, ids }
    }

    /// An environment as it was when its state was kept.
    pub fn resume(state: State, ids: Box<dyn Ids>) -> Self {
        Self { state, ids }
    }

    /// All that it remembers.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How it names itself.
    pub fn environment_id(&self) -> &str {
        &self.state.environment_id
    }

    /// What the ingest is to do; each is handed out once.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.state.effects)
    }

    /// The connections of all encoders that are let in.
    pub fn connections(&self) -> Vec<String> {
        self.state.connections.keys().cloned().collect()
    }

    /// Every stream that was ever made, the oldest first.
    pub fn streams(&self) -> Vec<StreamRecord> {
        let recordings = self.state.recordings();
        let of = |id: &str| recordings.get(id).copied().unwrap_or_default();
        let deleted = self.state.deleted.iter().cloned().map(|record| {
            let Recordings { assets, live_assets } = of(&record.id);
            StreamRecord { assets, live_assets, ..record }
        });
        let present = self.state.streams.values().map(|stream| self.state.record(stream, of(&stream.id)));
        let mut all: Vec<StreamRecord> = deleted.chain(present).collect();
        all.sort_by_key(|record| record.created_at);
        all
    }

    /// How many requests were answered how since they were last forgotten.
    pub fn counts(&self) -> &[RequestCount] {
        &self.state.counts
    }

    /// How many requests of this kind came, however they were answered, since they were last forgotten.
    pub fn requests(&self, operation: Operation) -> u64 {
        let counts = self.state.counts.iter();
        counts.filter(|count| count.operation == operation.name()).map(|count| count.count).sum()
    }

    /// How many came in all.
    pub fn all_requests(&self) -> u64 {
        self.state.counts.iter().map(|count| count.count).sum()
    }

    /// Forgets the counted requests.
    pub fn reset_counts(&mut self) {
        self.state.counts.clear();
    }

    /// The faults that can still strike.
    pub fn faults(&self) -> &[Fault] {
        &self.state.faults
    }

    /// Adds a fault. Of several that match a request the one that was added first strikes.
    ///
    /// # Errors
    /// When it names an operation that there is not.
    pub fn add_fault(&mut self, fault: Fault) -> Result<(), UnknownOperation> {
        fault.check()?;
        self.state.faults.push(fault);
        Ok(())
    }

    /// Removes all faults.
    pub fn clear_faults(&mut self) {
        self.state.faults.clear();
    }

    /// What can be set.
    pub fn settings(&self) -> &Settings {
        &self.state.settings
    }

    /// Changes it, from the next request on. Buckets whose rate changes are full again.
    pub fn set_settings(&mut self, settings: Settings) {
        let (old, new, now) = (self.state.settings.rate_limits, settings.rate_limits, self.state.now);
        if old.post != new.post {
            self.state.post = Bucket::full(new.post, now);
        }
        if old.other != new.other {
            self.state.other = Bucket::full(new.other, now);
        }
        self.state.settings = settings;
    }

    /// Replaces the access token's secret: the old one is refused from now on.
    pub fn set_token_secret(&mut self, secret: Secret) {
        self.state.credentials.token_secret = secret;
    }
}

/// So many seconds later.
pub(crate) fn later(at: Timestamp, seconds: f64) -> Timestamp {
    let wait = SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::MAX);
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}
