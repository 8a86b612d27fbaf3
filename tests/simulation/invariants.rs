//! What must hold at each step of virtual time.

use crate::bounds;
use crate::cluster::Key;
use crate::faults::Party;
use crate::land::Land;
use memorialstream_operator::api::spec::State;
use memorialstream_operator::providers::livekit::EgressStatus;
use memorialstream_operator::service::pod::UID_LABEL;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Every paid or visible create is preceded by its record.
    RecordFirst,
    OneStream,
    /// A stream that is one too many is fed.
    SurplusUsed,
    OneSender,
    OnePod,
    UnwantedSender,
    UnwantedPod,
    UnwantedRoom,
    /// Nothing of another UID, cluster or tenant is touched.
    Foreign,
    /// OnAir is True while mourners see no Program.
    OnAirLies,
    /// OnAir is False while they do.
    OnAirDoubts,
    /// Nobody is live again in an ended session.
    EndedIsOver,
    /// A session is marked as ended that nobody and no limit wanted ended.
    EndedForNothing,
    /// A session that was live and is over is marked so.
    EndIsLatched,
    /// OnAir says neither while every witness could be heard.
    OnAirUnknown,
    /// Nothing is on air in fair weather for an object that wants it.
    Dark,
    /// A TAKE reaches the pod.
    LateTake,
    /// A secret leaves for where it does not belong.
    Leak,
    /// The world does not become what the manifest says.
    Unstable,
    /// A stable object is not left alone.
    Restless,
    /// After a deletion something is left that no record names.
    Left,
    /// A provider refused requests of ours with 429.
    TooMany,
    /// A stream takes ingest and nobody wants that.
    OpenStream,
    /// A stream is made for an object that is over.
    NeedlessStream,
    /// An egress is stopped while LiveKit still tries to reach Mux again.
    Impatient,
    /// A room's name means two rooms.
    RoomReused,
}

/// One that did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: Invariant,
    pub seed: u64,
    /// Milliseconds of virtual time.
    pub at: u64,
    pub object: String,
    pub words: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, at, object, words, .. } = self;
        write!(formatter, "{invariant:?} of {object} at {} s: {words}", at / 1000)
    }
}

/// One a line.
pub fn told(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What is kept between steps.
#[derive(Default)]
pub struct Watch {
    pub violations: Vec<Violation>,
    pub secrets: Vec<String>,
    since: BTreeMap<(Invariant, String), u64>,
    told: BTreeSet<(Invariant, String)>,
    /// Sessions that have ended, and since when.
    ended: BTreeMap<String, (i64, u64)>,
    /// When what was first so, by UID.
    pub milestones: BTreeMap<(String, &'static str), u64>,
    pub passes: BTreeMap<Key, u64>,
    /// An operator is up since then.
    pub up_since: Option<u64>,
    /// The caches are whole again since then.
    pub caches_good_since: u64,
    /// A start was in doubt, or its process died, last then.
    pub doubt_at: Option<u64>,
    /// Rooms that the operator deleted, by name, and the sid that it last made.
    pub deleted_rooms: BTreeSet<String>,
    /// When LiveKit said last, against the truth, that there is no room.
    pub rooms_denied_at: Option<u64>,
    /// When LiveKit said last, against the truth, that it has no egress, or not this one.
    pub egresses_denied_at: Option<u64>,
    /// When the operator's wall clock jumped ahead last.
    pub clock_jumped_at: Option<u64>,
    /// Until then a Program is cut off from its room.
    pub cut_off_until: u64,
    /// When somebody changed a Secret last.
    pub secret_changed_at: Option<u64>,
    /// UIDs of objects whose finalizers somebody took away.
    pub stripped: BTreeSet<String>,
    /// UIDs whose stream somebody took the playback ids from.
    pub unwatchable: BTreeSet<String>,
}

impl Watch {
    pub fn ended_session(&self, uid: &str) -> Option<i64> {
        self.ended.get(uid).map(|(session, _)| *session)
    }

    /// The same, for whoever sent something so long before, in milliseconds, that it arrives now.
    pub fn ended_session_before(&self, uid: &str, now: u64, milliseconds: u64) -> Option<i64> {
        self.ended.get(uid).filter(|(_, at)| now > at + milliseconds).map(|(session, _)| *session)
    }

    pub fn session_ended(&mut self, uid: &str, session: i64, now: u64) {
        let known = self.ended.entry(uid.to_owned()).or_insert((session, now));
        if known.0 < session {
            *known = (session, now);
        }
    }
}

impl Land {
    pub fn violated(&mut self, invariant: Invariant, object: &str, words: impl Into<String>) {
        if !self.watch.told.insert((invariant, object.to_owned())) {
            return;
        }
        let words = words.into();
        self.note(|| format!("VIOLATION {invariant:?} {object}: {words}"));
        let (seed, at) = (self.seed, self.now);
        self.watch.violations.push(Violation { invariant, seed, at, object: object.to_owned(), words });
    }

    /// Something bad lasts longer than it may.
    pub fn lasts(&mut self, invariant: Invariant, object: &str, bad: bool, bound: u64, words: &str) {
        if !bad && self.watch.since.is_empty() {
            return;
        }
        let place = (invariant, object.to_owned());
        if !bad {
            self.watch.since.remove(&place);
            return;
        }
        let now = self.now;
        let since = *self.watch.since.entry(place).or_insert(now);
        if now - since > bound {
            self.violated(invariant, object, format!("{words} for {} s", (now - since) / 1000));
        }
    }

    /// Nothing went wrong with calls to this party for a while.
    pub fn is_fair(&self, party: Party) -> bool {
        let silent = self.faults.silent.get(&party).is_some_and(|until| self.now < *until);
        !silent && self.faults.last.get(&party).is_none_or(|last| self.now > last + 30_000)
    }

    /// All that must hold, now.
    pub fn check(&mut self) {
        self.follow_people();
        // Where nothing runs, nothing changes fast.
        let runs = !self.watch.since.is_empty()
            || !self.kubelet.containers.is_empty()
            || self.livekit.values().any(|server| !server.rooms.is_empty())
            || self.mux.values().any(|environment| !environment.connections.is_empty());
        if !runs && !self.now.is_multiple_of(8 * bounds::STEP) {
            return;
        }
        let uids: Vec<String> = self.director.said.keys().cloned().collect();
        let up = self.watch.up_since.is_some_and(|since| self.now > since + 5_000);
        let kubernetes =
            up && self.is_fair(Party::Kubernetes) && self.now > self.watch.caches_good_since + 5_000;
        let mux = self.is_fair(Party::Mux);
        let livekit = self.is_fair(Party::LiveKit);
        for uid in uids {
            let key = self.director.said[&uid].key.clone();
            if self.cluster.records.contains_key(&uid) && self.cluster.object(&uid).is_none() {
                self.check_record(&uid, &key);
                continue;
            }
            if self.cluster.spoiled.contains(&key) {
                // Nobody can do anything for it until it is mended.
                self.watch.since.retain(|(_, object), _| *object != key.1);
                continue;
            }
            let wanted = self.wanted(&uid);
            self.check_senders(&uid, &key, wanted, kubernetes && (mux || livekit));
            self.check_pods(&uid, &key, wanted, kubernetes);
            // What is at rest is looked at again after ten minutes.
            let told = self.watch.rooms_denied_at.is_none_or(|at| self.now > at + 640_000);
            self.check_rooms(&uid, &key, wanted, kubernetes && livekit && told);
            self.check_streams(&uid, &key, kubernetes && mux);
            let all = kubernetes && mux && livekit && self.is_fair(Party::Pod);
            let pods = kubernetes && livekit && self.is_fair(Party::Pod);
            self.check_air(&uid, &key, wanted, (kubernetes, pods, all));
            self.check_open_stream(&uid, &key, wanted, kubernetes && mux);
            self.check_latch(&uid, &key, wanted, kubernetes && mux && livekit);
            self.check_takes(&uid, &key, wanted, kubernetes && self.is_fair(Party::Pod));
        }
    }

    /// What is left of an object that was abandoned is named by its record.
    fn check_record(&mut self, uid: &str, key: &Key) {
        let record = &self.cluster.records[uid];
        let names = |field: &str| record.contains_key(field);
        let prefix = format!("memorial-{uid}-");
        let mut rooms = self.livekit.values().flat_map(|server| server.rooms.keys());
        let room = rooms.any(|name| name.starts_with(&prefix));
        // An egress whose id was never told is found by its room.
        let unnamed = [
            (self.senders(uid) > 0 && !names("liveKitEgresses") && !names("liveKitRooms"), "a sender"),
            (room && !names("liveKitRooms"), "a room"),
            (self.streams(uid) > 0 && !names("muxPassthrough"), "a stream"),
        ];
        for (_, what) in unnamed.into_iter().filter(|(is_left, _)| *is_left) {
            self.violated(Invariant::Left, &key.1, format!("{what} is left that its record does not name"));
        }
    }

    /// Senders that run for an object: what reaches Mux, or tries to.
    pub fn senders(&self, uid: &str) -> usize {
        self.senders_that_go_on(uid) + self.egresses(uid, &[EgressStatus::Ending])
    }

    fn egresses(&self, uid: &str, words: &[EgressStatus]) -> usize {
        let all = self.livekit.values().flat_map(|server| server.egresses.values());
        let running = all.filter(|record| record.runs() && record.uid.as_deref() == Some(uid));
        running.filter(|record| words.contains(&record.status)).count()
    }

    /// Without those that a worker is ending.
    fn senders_that_go_on(&self, uid: &str) -> usize {
        let pods = self.kubelet.containers.values().filter(|container| {
            container.running && container.uid == uid && container.sender.destination.is_some()
        });
        self.egresses(uid, &[EgressStatus::Starting, EgressStatus::Active]) + pods.count()
    }

    fn connected(&self, uid: &str) -> bool {
        self.mux.values().flat_map(|one| one.connections.values()).any(|connection| connection.uid == uid)
    }

    fn check_senders(&mut self, uid: &str, key: &Key, wanted: State, fair: bool) {
        let senders = self.senders(uid);
        if senders == 0 && self.watch.since.is_empty() {
            return;
        }
        let gone = self.cluster.object(uid).is_none() && self.director.said[uid].deleted;
        let words = "the object is gone and a sender of its runs";
        // A start in doubt is given up by the wall clock: where that jumped ahead, it may come about beside the next one, or
        // when its object is gone.
        let jumped = self.watch.clock_jumped_at.is_some_and(|at| self.now < at + 300_000);
        let late = jumped || self.watch.stripped.contains(uid);
        let bound = if late { bounds::OUTLIVES } else { bounds::TWO_SENDERS };
        self.lasts(Invariant::Left, &key.1, gone && senders > 0, bound, words);
        // One that LiveKit denied is replaced, and stopped when it is listed again.
        let denied = self.watch.egresses_denied_at.is_some_and(|at| self.now < at + 60_000);
        let overlap = if jumped || denied { bounds::DUPLICATE } else { bounds::TWO_SENDERS };
        // Nor can anybody stop either of them while LiveKit is silent.
        let told = !jumped || self.is_fair(Party::LiveKit);
        let two = told && self.senders_that_go_on(uid) > 1;
        self.lasts(Invariant::OneSender, &key.1, two, overlap, "two senders run");
        let unwanted = self.connected(uid) && wanted != State::Live && fair && !self.waits_for_pause(uid);
        self.lasts(
            Invariant::UnwantedSender,
            &key.1,
            unwanted,
            bounds::UNWANTED_SENDER,
            "a sender runs that nobody wants",
        );
    }

    /// Pause holds what would change something, but for an end.
    fn waits_for_pause(&self, uid: &str) -> bool {
        self.director.said.get(uid).is_some_and(|said| {
            said.paused && !said.deleted && !matches!(said.state, Some(State::Ended | State::Idle))
        })
    }

    fn check_pods(&mut self, uid: &str, key: &Key, wanted: State, fair: bool) {
        let running = self
            .kubelet
            .containers
            .values()
            .filter(|one| one.uid == uid && one.running && one.pod.0 == key.0);
        let running = running.count();
        self.lasts(Invariant::OnePod, &key.1, running > 1, bounds::TWO_PODS, "two pods run");
        let label = |pod: &k8s_openapi::api::core::v1::Pod| {
            pod.metadata.labels.as_ref().and_then(|labels| labels.get(UID_LABEL)).map(String::as_str)
                == Some(uid)
        };
        let pods = self
            .cluster
            .pods
            .values()
            .filter(|pod| label(pod) && pod.metadata.namespace.as_deref() == Some(&key.0));
        let pods = pods.filter(|pod| pod.metadata.deletion_timestamp.is_none()).count();
        if pods > 3 {
            self.violated(Invariant::OnePod, &key.1, format!("{pods} pods at once"));
        }
        let idle = !matches!(wanted, State::Live | State::Standby) && fair && !self.waits_for_pause(uid);
        let bad = idle && pods > 0 && !self.kubelet.lost;
        self.lasts(Invariant::UnwantedPod, &key.1, bad, bounds::UNWANTED_POD, "a pod runs that nobody wants");
    }

    fn check_rooms(&mut self, uid: &str, key: &Key, wanted: State, fair: bool) {
        let prefix = format!("memorial-{uid}-");
        let open = self
            .livekit
            .values()
            .flat_map(|server| server.rooms.keys())
            .any(|name| name.starts_with(&prefix));
        // Whoever was let go on a word that was not true, or by a clock that jumped, is looked at no more.
        let forgotten = self.cluster.object(uid).is_none() && self.watch.rooms_denied_at.is_some();
        let fair = fair && !forgotten;
        let idle = !matches!(wanted, State::Live | State::Standby) && fair && !self.waits_for_pause(uid);
        self.lasts(
            Invariant::UnwantedRoom,
            &key.1,
            idle && open,
            bounds::UNWANTED_ROOM,
            "a room is open that nobody wants",
        );
    }

    pub fn streams(&self, uid: &str) -> usize {
        let marker = marker(uid);
        let streams = self.mux.values().flat_map(|one| one.model.streams());
        streams.filter(|stream| !stream.deleted && stream.passthrough.as_deref() == Some(&*marker)).count()
    }

    fn check_streams(&mut self, uid: &str, key: &Key, fair: bool) {
        // Counted only where one was made since the last time.
        let made = self.coverage.actions.get("CreateStream").copied().unwrap_or(0);
        if made < 2 || !self.now.is_multiple_of(8 * bounds::STEP) {
            return;
        }
        let streams = self.streams(uid);
        self.lasts(Invariant::OneStream, &key.1, streams > 1 && fair, bounds::DUPLICATE, "two streams exist");
    }

    /// An encoder has connected for an object: to the stream that status names, where there is more than one.
    pub fn check_feed(&mut self, uid: &str) {
        if self.streams(uid) < 2 {
            return;
        }
        let status = self.cluster.object(uid).and_then(|object| object.status.as_ref());
        let Some(named) = status.and_then(|status| status.mux.as_ref()?.stream_id.clone()) else { return };
        let marker = marker(uid);
        let mut streams = self.mux.values().flat_map(|one| one.model.streams());
        let fed = streams.any(|stream| {
            stream.encoders > 0 && stream.id != named && stream.passthrough.as_deref() == Some(&*marker)
        });
        if fed {
            self.violated(Invariant::SurplusUsed, uid, "a sender feeds a stream that status does not name");
        }
    }

    fn check_open_stream(&mut self, uid: &str, key: &Key, wanted: State, fair: bool) {
        // Looked at now and then: all streams are gone through for it.
        if !self.now.is_multiple_of(8 * bounds::STEP) {
            return;
        }
        let idle = matches!(wanted, State::Idle | State::Ended) && fair && !self.waits_for_pause(uid);
        let open = idle && self.secret_is_good(uid) && {
            let marker = marker(uid);
            self.mux.values().flat_map(|one| one.model.streams()).any(|stream| {
                !stream.deleted
                    && stream.status != "disabled"
                    && stream.passthrough.as_deref() == Some(&*marker)
            })
        };
        let words = "a stream takes ingest and nobody wants that";
        self.lasts(Invariant::OpenStream, &key.1, open, bounds::OPEN_STREAM, words);
    }

    fn place_of_secret(&self, uid: &str) -> Option<Key> {
        let said = self.director.said.get(uid)?;
        let object = self.cluster.objects.get(&said.key)?;
        Some(match &object.spec.credentials_secret_ref {
            Some(own) => (said.key.0.clone(), own.name.clone()),
            None => (crate::operator::SYSTEM.0.to_owned(), crate::operator::SYSTEM.1.to_owned()),
        })
    }

    fn secret_of(&self, uid: &str) -> Option<&crate::cluster::StoredSecret> {
        self.cluster.secrets.get(&self.place_of_secret(uid)?)
    }

    /// Whether the Secret of an object is as it was made. One that never worked is all that there is to go by.
    pub fn secret_is_whole(&self, uid: &str) -> bool {
        self.secret_of(uid)
            .is_some_and(|secret| self.director.secrets.values().any(|one| one.data == secret.data))
    }

    /// Whether the Secret of an object says this now.
    pub fn secret_names(&self, uid: &str, name: &str, value: &str) -> bool {
        self.secret_of(uid).and_then(|secret| secret.data.get(name)).is_some_and(|found| found == value)
    }

    /// The same, or it is gone and said so last, or it was changed so lately that the operator may go by what it read
    /// before.
    pub fn secret_named(&self, uid: &str, name: &str, value: &str) -> bool {
        let place = self.place_of_secret(uid).filter(|place| !self.cluster.secrets.contains_key(place));
        let lost = place.and_then(|place| self.director.lost_secrets.get(&place));
        self.secret_names(uid, name, value)
            || lost.and_then(|lost| lost.data.get(name)).is_some_and(|found| found == value)
            || self
                .watch
                .secret_changed_at
                .is_some_and(|at| self.now < at + bounds::SECRETS_ARE_TAKEN_FOR_GRANTED)
    }

    pub fn secret_is_good(&self, uid: &str) -> bool {
        let account = &self.director.said[uid].account;
        self.secret_names(uid, "MUX_TOKEN_ID", &account.token_id)
            && self.secret_names(uid, "LIVEKIT_URL", &account.livekit_url)
    }

    fn check_latch(&mut self, uid: &str, key: &Key, wanted: State, fair: bool) {
        let said = &self.director.said[uid];
        let (session, was_live, deleted) = (said.session, said.was_live, said.deleted);
        let asked = said.state == Some(State::Ended) || said.live_from.is_some();
        let over = wanted == State::Ended && asked && !deleted && was_live == Some(session) && fair;
        let latched = self.watch.ended_session(uid).is_some_and(|ended| ended >= session);
        self.lasts(
            Invariant::EndIsLatched,
            &key.1,
            over && !latched,
            bounds::END_IS_LATCHED,
            "the session was live, is over and is not marked",
        );
        if over || deleted {
            let now = self.now;
            if !self.connected(uid) {
                self.watch.milestones.entry((uid.to_owned(), "silent")).or_insert(now);
            }
        }
    }

    fn check_takes(&mut self, uid: &str, key: &Key, wanted: State, fair: bool) {
        let Some(object) = self.cluster.objects.get(key) else { return };
        let generation = u64::try_from(object.metadata.generation.unwrap_or(0)).unwrap();
        let now = self.now;
        let behind = self.kubelet.containers.values().any(|one| {
            let ours = one.uid == uid && one.pod.0 == key.0 && one.running && one.publishes;
            ours && one.refuses.is_none()
                && one.frozen_since.is_none()
                && one.hung_until <= now
                && one.document.as_ref().is_some_and(|document| document.generation < generation)
        });
        let bad =
            behind && fair && matches!(wanted, State::Live | State::Standby) && self.secret_is_good(uid);
        self.lasts(Invariant::LateTake, &key.1, bad, 8_000, "a change did not reach the pod");
    }
}

fn marker(uid: &str) -> String {
    format!("memorialstream/{}/{uid}", crate::operator::CLUSTER)
}
