//! Status as far as it decides what is done next, each distinct one once. Times become ages, and an age only tells
//! which deadlines are past: that makes the states finite.

use super::world::{EGRESSES, Job, STREAMS, Start, World};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use memorialstream_operator::api::MemorialStreamStatus;
use memorialstream_operator::api::names::room_name;
use memorialstream_operator::api::status::{CreateIntent, EgressStatus};
use memorialstream_operator::lifecycle::plan::Timings;
use memorialstream_operator::service::desired::broadcast_under_way;
use memorialstream_operator::service::pod::pod_name;
use rustc_hash::{FxHashMap, FxHasher};
use serde_json::Value;
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// Every pass is at this time; what is older in status lies before it.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub const CLUSTER: &str = "cluster";
pub const NAME: &str = "jane-doe";
pub const UID: &str = "uid-1";
/// The present epoch, once names are shifted down.
pub const EPOCH: i64 = 0;

pub fn stream_id(slot: u8) -> String {
    format!("stream-{slot}")
}

pub fn egress_id(slot: u8) -> String {
    format!("EG_{slot}")
}

pub fn sid(sid: u8) -> String {
    format!("RM_{sid}")
}

/// Between two deletions in a row of a room that came back; later ones wait longer.
const PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// How long Mux refuses ingest once a sender was given up (`plan::sender`).
const INGEST_IS_SHUT: i64 = 40;

/// The number at the end of one of these names.
pub fn slot(name: &str) -> u8 {
    name.rsplit(['-', '_']).next().and_then(|number| number.parse().ok()).unwrap_or(u8::MAX)
}

/// A time in status and the ages at which something may change, in seconds.
pub struct Deadlines {
    pub path: &'static str,
    pub ages: Vec<i64>,
    /// It strikes only where the search lets limits strike.
    pub limit: bool,
}

/// Every time that status may hold. One that is missing here ends the search with its path: say when it matters.
pub fn deadlines(timings: &Timings) -> Vec<Deadlines> {
    let s = |duration: Duration| i64::try_from(duration.as_secs()).unwrap();
    let wait = |path, ages: Vec<i64>| Deadlines { path, ages, limit: false };
    vec![
        wait("mux.creating.since", vec![s(timings.stream_grace)]),
        wait("mux.creating.absentSince", vec![s(timings.second_search)]),
        // 2 s is the distance to the second attempt; later ones only differ in how long they wait.
        wait("egress.startedAt", vec![2, s(timings.retry), s(timings.connect)]),
        wait("egress.darkSince", vec![s(timings.retry), s(timings.connect)]),
        wait("egress.starting.since", vec![s(timings.egress_grace)]),
        wait("egress.starting.absentSince", vec![s(timings.second_search)]),
        wait("egress.stoppingSince", vec![s(timings.stop / 3), s(timings.stop)]),
        wait("egress.givenUpAt", vec![INGEST_IS_SHUT]),
        wait(
            "endingSince",
            [Duration::ZERO, timings.stop / 3, timings.stop].map(|stop| s(timings.farewell + stop)).to_vec(),
        ),
        wait("room.deletedAt", vec![PAUSE.as_secs(), s(timings.room_return)]),
        wait("startedAt", vec![]),
        wait("endedAt", vec![]),
        wait("standbyLimit.at", vec![]),
        Deadlines { path: "standbySince", ages: vec![12 * 3600], limit: true },
        Deadlines { path: "liveSince", ages: vec![6 * 3600], limit: true },
    ]
}

/// What a status mentions: an id that it still knows is not given to something new.
#[derive(Clone, Copy, Default, Debug)]
pub struct Mentions {
    pub streams: [bool; STREAMS],
    pub egresses: [bool; EGRESSES],
    pub sids: [bool; 2],
    /// A room was deleted once: devices may bring it back.
    pub deleted_room: bool,
    pub session_used: bool,
    /// The egress that status names.
    pub egress: Option<u8>,
    /// An intent or an end is not over.
    pub unsettled: bool,
}

pub struct Kept {
    pub status: MemorialStreamStatus,
    pub mentions: Mentions,
    /// Which times it holds, and how old they are.
    pub times: Vec<(u8, i64)>,
    /// What comes with the next deadline, once that was asked for.
    later: Option<Option<(u8, u32)>>,
}

pub struct Statuses {
    pub deadlines: Vec<Deadlines>,
    /// By digest: statuses of the same one are compared.
    known: FxHashMap<u64, Vec<u32>>,
    all: Vec<Kept>,
}

impl Statuses {
    pub fn new(timings: &Timings) -> Self {
        Self { deadlines: deadlines(timings), known: FxHashMap::default(), all: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn get(&self, id: u32) -> &Kept {
        &self.all[id as usize]
    }

    /// Keeps a status, and renames in it and in the world what only has a higher number than before.
    /// `before` is the one that was read.
    pub fn keep(&mut self, status: MemorialStreamStatus, before: u32, world: &mut World) -> u32 {
        let mut status = stripped(status);
        shift(&mut status, world);
        rename(&mut status, world);
        rename_egresses(&mut status, world);
        match self.all.get(before as usize) {
            Some(kept) if kept.status == status => before,
            _ => self.intern(status),
        }
    }

    /// Time goes on until the next deadline that is no limit: the path that it belongs to, and the status then.
    pub fn next_deadline(&mut self, id: u32) -> Option<(u8, u32)> {
        if let Some(later) = self.get(id).later {
            return later;
        }
        let until = |deadlines: &Deadlines, age: i64| {
            deadlines.ages.iter().map(|at| at + 1 - age).find(|wait| *wait > 0)
        };
        let times = self.get(id).times.clone();
        let waits = times.iter().filter_map(|(index, age)| {
            let deadlines = &self.deadlines[usize::from(*index)];
            Some((until(deadlines, *age).filter(|_| !deadlines.limit)?, *index))
        });
        let later = waits.min().map(|(wait, index)| {
            let mut value = serde_json::to_value(&self.get(id).status).unwrap();
            for (index, age) in &times {
                // Between two deadlines all ages are the same.
                let Deadlines { path, ages, limit } = &self.deadlines[usize::from(*index)];
                let passed = ages.iter().rev().find(|at| **at < age + wait && !limit);
                set_age(&mut value, path, passed.map_or(*age, |at| at + 1));
            }
            (index, self.intern(serde_json::from_value(value).unwrap()))
        });
        self.all[id as usize].later = Some(later);
        later
    }

    /// A limit strikes.
    pub fn strike(&mut self, id: u32, index: u8) -> u32 {
        let mut value = serde_json::to_value(&self.get(id).status).unwrap();
        let Deadlines { path, ages, .. } = &self.deadlines[usize::from(index)];
        set_age(&mut value, path, ages[0] + 1);
        self.intern(serde_json::from_value(value).unwrap())
    }

    fn intern(&mut self, status: MemorialStreamStatus) -> u32 {
        let alike = self.known.entry(digest(&status)).or_default();
        if let Some(&id) = alike.iter().find(|id| self.all[**id as usize].status == status) {
            return id;
        }
        let id = u32::try_from(self.all.len()).unwrap();
        alike.push(id);
        let value = serde_json::to_value(&status).unwrap();
        let mut times = Vec::new();
        self.times(&value, &mut String::new(), &mut times);
        let mentions = mentions(&status, &value.to_string());
        self.all.push(Kept { status, mentions, times, later: None });
        id
    }

    /// Every time in it, and how old it is.
    fn times(&self, value: &Value, path: &mut String, times: &mut Vec<(u8, i64)>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let length = path.len();
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                    self.times(value, path, times);
                    path.truncate(length);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.times(value, path, times)),
            Value::String(text) => {
                let Ok(time) = text.parse::<Timestamp>() else { return };
                let known = self.deadlines.iter().position(|known| known.path == path);
                let index = known.unwrap_or_else(|| {
                    panic!("status.{path} is a time that the search does not know: name its deadlines")
                });
                times.push((u8::try_from(index).unwrap(), now().as_second() - time.as_second()));
            }
            _ => {}
        }
    }
}

/// Tells most statuses apart, and costs less than to write them down.
fn digest(status: &MemorialStreamStatus) -> u64 {
    let mut hasher = FxHasher::default();
    let second = |time: &Time| time.0.as_second();
    let intent = |intent: &CreateIntent| (second(&intent.since), intent.absent_since.as_ref().map(second));
    let ours = [&status.ending_since, &status.started_at, &status.ended_at, &status.live_since];
    ours.map(|time| time.as_ref().map(second)).hash(&mut hasher);
    (status.live_session, status.ended_session, status.standby_limit.is_some()).hash(&mut hasher);
    if let Some(mux) = &status.mux {
        (&mux.stream_id, mux.creating.as_ref().map(intent)).hash(&mut hasher);
    }
    if let Some(room) = &status.room {
        (&room.name, &room.sid, room.deletions, room.deleted_at.as_ref().map(second)).hash(&mut hasher);
    }
    if let Some(pod) = &status.compositor {
        (&pod.pod_name, pod.incarnation, pod.made).hash(&mut hasher);
    }
    if let Some(egress) = &status.egress {
        (&egress.id, &egress.lost, egress.attempt, egress.revision, &egress.error).hash(&mut hasher);
        egress.starting.as_ref().map(intent).hash(&mut hasher);
        let times = [&egress.started_at, &egress.stopping_since, &egress.given_up_at, &egress.dark_since];
        times.map(|time| time.as_ref().map(second)).hash(&mut hasher);
    }
    hasher.finish()
}

fn set_age(value: &mut Value, path: &str, seconds: i64) {
    let time = now().checked_sub(SignedDuration::from_secs(seconds)).unwrap();
    let pointer = format!("/{}", path.replace('.', "/"));
    if let Some(place) = value.pointer_mut(&pointer) {
        *place = Value::String(time.to_string());
    }
}

/// Without what is said and decides nothing.
pub fn stripped(mut status: MemorialStreamStatus) -> MemorialStreamStatus {
    (status.message, status.playback_url, status.observed_generation) = (None, None, None);
    (status.state, status.session) = (None, None);
    if let Some(mux) = status.mux.as_mut() {
        mux.playback_ids.clear();
        // Names of streams and keys are used again here, which Mux never does.
        (mux.environment_id, mux.lost_stream_id) = (None, None);
    }
    let under_way = broadcast_under_way(&status);
    if !under_way {
        (status.started_at, status.ended_at) = (None, None);
    }
    status.conditions.clear();
    if let Some(egress) = status.egress.as_mut() {
        // There is one session.
        (egress.destination, egress.session) = (None, None);
        strip_egress(egress, under_way);
    }
    status.egress = status.egress.filter(|egress| *egress != Box::default());
    if let Some(compositor) = status.compositor.as_mut() {
        compositor.restarts = 0;
    }
    if let Some(room) = status.room.as_mut() {
        let lately = room.deleted_at.as_ref().is_some_and(|deleted| age(deleted) <= PAUSE.as_secs());
        room.deletions = if lately { room.deletions.min(1) } else { 0 };
        (room.url, room.deleted_sid) = (None, None);
    }
    status
}

fn strip_egress(egress: &mut EgressStatus, under_way: bool) {
    // Whether the last start came about is what both tell together.
    let came_about = egress.status.is_some() || egress.error.is_none();
    egress.status = None;
    egress.error = (!came_about && under_way).then(|| "no".into());
    egress.attempt = egress.attempt.min(1);
    // Odd is a start, even a stop.
    egress.revision = if egress.revision == 0 { 0 } else { 2 - egress.revision % 2 };
    if egress.given_up_at.as_ref().is_some_and(|at| age(at) >= INGEST_IS_SHUT) {
        egress.given_up_at = None;
    }
    if !under_way {
        (egress.attempt, egress.started_at, egress.via) = (0, None, None);
    }
    let Some(since) = egress.dark_since.as_mut() else { return };
    if let Some(started) = egress.started_at.as_ref().filter(|started| started.0 > since.0) {
        // The later of the two counts.
        *since = started.clone();
    }
    let since = since.0;
    if egress.started_at.as_ref().is_some_and(|started| age(started) > 2 && started.0 < since) {
        egress.started_at = Some(long_ago());
    }
}

/// Before each deadline but the limits.
fn long_ago() -> Time {
    Time(now().checked_sub(SignedDuration::from_secs(600)).unwrap())
}

/// Seconds.
pub fn age(time: &Time) -> i64 {
    now().duration_since(time.0).as_secs()
}

/// Epochs and incarnations are counted from below again, and ids of what is gone are forgotten.
fn shift(status: &mut MemorialStreamStatus, world: &mut World) {
    if let Some(room) = status.room.as_mut() {
        let present = room_name(UID, room.epoch);
        let renamed = |name| room_name(UID, if name == present { EPOCH } else { EPOCH - 1 });
        room.name = room.name.take().map(renamed);
        room.epoch = EPOCH;
    }
    let mut incarnations: Vec<i64> = world.pods().map(|pod| i64::from(pod.incarnation)).collect();
    if let Some(compositor) = &status.compositor {
        incarnations.push(compositor.incarnation);
        if let Some(name) = &compositor.pod_name {
            incarnations.push(i64::from(slot(name)));
        }
    }
    incarnations.retain(|number| *number > 0);
    incarnations.sort_unstable();
    incarnations.dedup();
    let renamed =
        |number: i64| incarnations.iter().position(|known| *known == number).map_or(0, |rank| rank + 1);
    if let Some(compositor) = status.compositor.as_mut() {
        compositor.incarnation = i64::try_from(renamed(compositor.incarnation)).unwrap();
        let name = compositor.pod_name.take();
        compositor.pod_name =
            name.map(|name| pod_name(NAME, i64::try_from(renamed(i64::from(slot(&name)))).unwrap()));
    }
    for pod in world.pods.iter_mut().flatten() {
        pod.incarnation = u8::try_from(renamed(i64::from(pod.incarnation))).unwrap();
    }
    if let Some(egress) = status.egress.as_mut() {
        let runs = |id: &String| {
            let known = (0..world.egresses.len()).find(|slot| *id == egress_id(u8::try_from(*slot).unwrap()));
            let egress = known.and_then(|slot| world.egresses[slot]);
            egress.is_some_and(|egress| egress.job != Job::Over)
        };
        egress.lost.retain(runs);
        egress.lost.sort();
        egress.lost.dedup();
    }
}

/// Of two names that mean the same, the first.
fn rename(status: &mut MemorialStreamStatus, world: &mut World) {
    let sid_of = status.room.as_mut().and_then(|room| room.sid.as_mut());
    let other = match sid_of {
        Some(known) => {
            let other = slot(known) == 1;
            *known = sid(0);
            other
        }
        None => world.room == Some(1),
    };
    if other {
        world.room = world.room.map(|number| 1 - number);
    }
    let named = status.mux.as_mut().and_then(|mux| mux.stream_id.as_mut());
    let other = match named {
        Some(known) => {
            let other = slot(known) == 1;
            *known = stream_id(0);
            other
        }
        None => world.streams[0].is_none() && world.streams[1].is_some(),
    };
    if other {
        world.swap_streams();
    }
}

/// The egress that status names comes first, then those that were given up, then the others.
fn rename_egresses(status: &mut MemorialStreamStatus, world: &mut World) {
    let number = |index: usize| u8::try_from(index).unwrap();
    let named = super::view::named_egress(status);
    let lost = |slot: u8| {
        status.egress.as_ref().is_some_and(|egress| egress.lost.iter().any(|id| *id == egress_id(slot)))
    };
    let answered = |slot: u8| world.start == Start::Answered(slot);
    let mut order: Vec<u8> = (0..world.egresses.len()).map(number).collect();
    order.sort_by_key(|slot| {
        let egress = world.egresses[usize::from(*slot)];
        (named != Some(*slot), !answered(*slot), !lost(*slot), egress.is_none(), egress)
    });
    if order.is_sorted() {
        return;
    }
    let renamed = |slot: u8| order.iter().position(|old| *old == slot).map_or(slot, number);
    if let Some(egress) = status.egress.as_mut() {
        egress.id = named.map(|slot| egress_id(renamed(slot)));
        egress.lost.iter_mut().for_each(|id| *id = egress_id(renamed(slot(id))));
        egress.lost.sort();
    }
    if let Start::Answered(slot) = world.start {
        world.start = Start::Answered(renamed(slot));
    }
    let before = world.egresses;
    for (egress, old) in world.egresses.iter_mut().zip(&order) {
        *egress = before[usize::from(*old)];
    }
}

fn mentions(status: &MemorialStreamStatus, text: &str) -> Mentions {
    let mut mentions = Mentions {
        deleted_room: status.room.as_ref().is_some_and(|room| room.deleted_at.is_some()),
        unsettled: status.ending_since.is_some()
            || status.mux.as_ref().is_some_and(|mux| mux.creating.is_some())
            || status.egress.as_ref().is_some_and(|egress| egress.starting.is_some()),
        egress: super::view::named_egress(status),
        session_used: status.live_session.is_some() || status.ended_session.is_some(),
        ..Mentions::default()
    };
    let number = |index: usize| u8::try_from(index).unwrap();
    for (index, known) in mentions.streams.iter_mut().enumerate() {
        *known = text.contains(&format!("\"{}\"", stream_id(number(index))));
    }
    for (index, known) in mentions.egresses.iter_mut().enumerate() {
        *known = text.contains(&format!("\"{}\"", egress_id(number(index))));
    }
    for (index, known) in mentions.sids.iter_mut().enumerate() {
        *known = text.contains(&format!("\"{}\"", sid(number(index))));
    }
    mentions
}

/// A higher session is asked for: what was said of the one before is about an earlier one.
pub fn new_session(status: &MemorialStreamStatus) -> MemorialStreamStatus {
    MemorialStreamStatus {
        live_session: None,
        ended_session: None,
        live_since: None,
        standby_since: None,
        ..status.clone()
    }
}
