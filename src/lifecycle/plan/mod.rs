//! From what is wanted and what was seen to what is done next. Pure: no client, no clock, no `async`.

mod abandon;
mod action;
mod compositor;
mod egress;
mod room;
mod sender;
mod stream;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use room::{may_be_visited, room_may_return};
pub use sender::ingest;
pub(crate) use stream::latency_mode;

use super::at_rest::{is_at_rest, lacks_playback_id};
use super::backoff::{Effect, held};
use super::observed::{Observed, Seen};
use crate::api::conditions::{ConditionType, is_true};
use crate::api::names::{FINALIZER, PAUSED};
use crate::api::spec::{State, StreamDeletion};
use crate::api::status::StruckLimit;
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::providers::mux::LiveStreamStatus;
use crate::service::Identity;
use crate::service::credentials::Access;
use crate::service::desired::{self, Desired, Why, broadcast_under_way, request_fingerprint, session};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// How long the lane waits for what.
#[derive(Clone, Debug)]
pub struct Timings {
    /// After a create of a Mux live stream whose answer is unknown, until a search may find nothing.
    pub stream_grace: Duration,
    /// After a start of an egress whose answer is unknown, until a search may find nothing. LiveKit itself goes on
    /// trying for about 75 s.
    pub egress_grace: Duration,
    /// Between the two searches that must both find nothing.
    pub second_search: Duration,
    /// How long the slate says farewell before the sender stops.
    pub farewell: Duration,
    /// How long a stop may take before the end goes on without it.
    pub stop: Duration,
    /// How long a started sender may take until Mux is active.
    pub connect: Duration,
    /// How long an egress that was cut off may take to be back: LiveKit tries for 30 s.
    pub retry: Duration,
    /// How long after its deletion a room is looked for again: an app that lost its room joins again within a second
    /// or a few, and LiveKit makes a room for it.
    pub room_return: Duration,
    /// Between passes while something runs or changes.
    pub fast: Duration,
    /// Between looks at Mux while what is wanted is reached and runs: Mux takes one request a second for all services
    /// of an environment, and the sender tells sooner that it is cut off.
    pub steady: Duration,
    /// Between looks at the Mux live stream of a service that stands by.
    pub standby: Duration,
    /// Between passes while nothing does, but something may: a room that devices open again, a change that failed.
    pub slow: Duration,
    /// Between passes while what is wanted is reached, and nothing runs or may.
    pub idle: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            stream_grace: Duration::from_secs(35),
            egress_grace: Duration::from_secs(100),
            second_search: Duration::from_secs(5),
            farewell: Duration::from_secs(5),
            stop: Duration::from_secs(45),
            connect: Duration::from_secs(90),
            retry: Duration::from_secs(35),
            room_return: Duration::from_secs(8),
            fast: Duration::from_secs(2),
            steady: Duration::from_secs(6),
            standby: Duration::from_secs(30),
            slow: Duration::from_secs(60),
            idle: Duration::from_secs(600),
        }
    }
}

/// A Kubernetes Event: something to tell people, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// A warning, not mere news.
    pub warning: bool,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// What one pass decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is wanted, and why.
    pub desired: Desired,
    /// In order.
    pub actions: Vec<Action>,
    /// Status as it stands before the actions; conditions are not in it yet.
    pub status: MemorialStreamStatus,
    /// To be told.
    pub events: Vec<Event>,
    /// What failed before, and is not wanted any more: it is as it should be.
    pub mended: Vec<Effect>,
    /// When to look again at the latest.
    pub requeue: Duration,
}

/// One pass: what is given, and the plan as it grows.
struct Pass<'a> {
    identity: &'a Identity,
    object: &'a MemorialStream,
    observed: &'a Observed,
    timings: &'a Timings,
    now: Timestamp,
    desired: Desired,
    status: MemorialStreamStatus,
    actions: Vec<Action>,
    events: Vec<Event>,
    mended: Vec<Effect>,
    /// After how long something is to be done that nothing else tells of.
    due: Option<Duration>,
}

/// Decides what is done next.
pub fn plan(
    identity: &Identity,
    object: &MemorialStream,
    observed: &Observed,
    now: Timestamp,
    timings: &Timings,
) -> Plan {
    let mut pass = Pass {
        identity,
        object,
        observed,
        timings,
        now,
        desired: desired::desired(object, now),
        status: object.status.clone().unwrap_or_default(),
        actions: Vec::new(),
        events: Vec::new(),
        mended: Vec::new(),
        due: None,
    };
    pass.disown_room();
    pass.set_clocks_right();
    pass.decide();
    let requeue = pass.requeue();
    let Pass { desired, actions, status, events, mended, .. } = pass;
    Plan { desired, actions, status, events, mended, requeue }
}

impl Pass<'_> {
    fn decide(&mut self) {
        let deleting = self.deleting();
        if !has_finalizer(self.object) {
            if !deleting && self.observed.slug_holder.is_none() {
                self.act(Action::AddFinalizer);
            }
            return;
        }
        if deleting && self.nothing_was_made() {
            self.act(Action::RemoveFinalizer);
            return;
        }
        self.forget_old_server();
        if matches!(self.observed.access, Access::Unusable(_)) {
            self.keep_time();
            // What needs no provider ends all the same: the pod, and with it what it sends to Mux.
            if !matches!(self.desired.state, State::Live | State::Standby) {
                self.remove_compositor();
            }
            if deleting {
                self.abandon();
            }
            return;
        }
        let mux_answers = matches!(self.observed.access, Access::Granted { .. });
        if self.observed.slug_holder.is_some() && !deleting {
            // Nothing begins without it. Devices may open a room again that was deleted.
            self.stop_surplus();
            if mux_answers {
                self.identify_stream();
            }
            self.shut_stream();
            self.remove_rooms();
            return;
        }
        self.keep_time();
        if self.paused() {
            // The answer to a start that was sent before is told once.
            self.identify_egress();
            self.note_broadcast();
            match self.desired.state {
                // What was on air ends all the same.
                State::Standby => {
                    self.stop_sender();
                }
                // To ask changes nothing, and what mourners see is told on.
                _ => self.ask_own_worker(),
            }
            return;
        }
        if mux_answers {
            self.identify_stream();
        }
        self.identify_egress();
        self.note_broadcast();
        match self.desired.state {
            // Without Mux nothing is begun, but what is on air is kept there, and an end does not wait.
            State::Live | State::Standby if mux_answers || broadcast_under_way(&self.status) => {
                self.bring_up()
            }
            State::Live | State::Standby => {}
            State::Idle | State::Ended | State::Scheduled => self.bring_down(),
        }
    }

    fn bring_up(&mut self) {
        if self.desired.state == State::Standby {
            if !self.stop_sender() {
                return;
            }
            self.rest_stream();
        }
        self.keep_key();
        let stream = self.ready_stream();
        let room = self.ready_room();
        if !room || !self.ready_compositor() || !stream {
            return;
        }
        if self.desired.state == State::Live {
            self.run_sender();
        }
    }

    fn bring_down(&mut self) {
        if !self.stop_sender() {
            return;
        }
        self.rest_stream();
        if self.remove_compositor() {
            let rooms_gone = self.remove_rooms();
            if self.deleting() {
                if rooms_gone {
                    self.finish_deletion();
                }
                self.abandon();
            }
        }
    }

    fn finish_deletion(&mut self) {
        let policy =
            self.object.spec.deletion_policy.as_ref().and_then(|policy| policy.stream).unwrap_or_default();
        let mux = self.status.mux.clone().unwrap_or_default();
        match (mux.stream_id, mux.creating) {
            (None, None) => self.release(),
            // Its answer is unknown: the search goes on until the stream is found or known to be absent.
            (None, Some(_)) => {}
            (Some(id), _) => match policy {
                StreamDeletion::Delete => {
                    if matches!(self.observed.stream, Seen::Known(Some(_))) {
                        self.act(Action::DeleteStream(id));
                    }
                }
                StreamDeletion::Retain if self.stream_rests() => self.release(),
                StreamDeletion::Retain => {}
            },
        }
    }

    /// Lets go of the object, unless a room may still come back or an egress may still start: nobody would be left to
    /// end it.
    fn release(&mut self) {
        if !self.room_may_return() && !self.start_is_open() {
            self.act(Action::RemoveFinalizer);
        }
    }

    /// A wall clock that went back leaves times in the future behind; they would be waited for. What is in the future
    /// began now.
    fn set_clocks_right(&mut self) {
        let now = self.now;
        let latest = now.saturating_add(SignedDuration::from_secs(2)).unwrap_or(Timestamp::MAX);
        let right = |time: &mut Time| {
            if time.0 > latest {
                *time = Time(now);
            }
        };
        let status = &mut self.status;
        let times = [
            &mut status.standby_since,
            &mut status.live_since,
            &mut status.started_at,
            &mut status.ending_since,
        ];
        times.into_iter().flatten().for_each(right);
        if let Some(creating) = status.mux.as_mut().and_then(|mux| mux.creating.as_mut()) {
            [Some(&mut creating.since), creating.absent_since.as_mut()].into_iter().flatten().for_each(right);
        }
        if let Some(deleted) = status.room.as_mut().and_then(|room| room.deleted_at.as_mut()) {
            right(deleted);
        }
        if let Some(egress) = status.egress.as_mut() {
            let times = [&mut egress.started_at, &mut egress.stopping_since, &mut egress.given_up_at];
            times.into_iter().flatten().for_each(right);
            if let Some(starting) = egress.starting.as_mut() {
                [Some(&mut starting.since), starting.absent_since.as_mut()]
                    .into_iter()
                    .flatten()
                    .for_each(right);
            }
        }
    }

    /// Since when things last, and what was latched.
    fn keep_time(&mut self) {
        let now = Time(self.now);
        match self.desired.state {
            State::Standby => {
                self.status.standby_since.get_or_insert(now.clone());
            }
            _ => self.status.standby_since = None,
        }
        match self.desired.state {
            State::Live => {
                self.status.live_since.get_or_insert(now.clone());
            }
            _ => self.status.live_since = None,
        }
        if self.desired.state == State::Idle && matches!(self.desired.why, Why::StandbyLimit | Why::EndAt) {
            let request = request_fingerprint(&self.object.spec);
            if self.status.standby_limit.as_ref().is_none_or(|struck| struck.request != request) {
                self.status.standby_limit = Some(StruckLimit { at: now, request });
                let (limit, name) = match self.desired.why {
                    Why::EndAt => ("EndAt", "schedule.endAt"),
                    _ => ("StandbyLimit", "limits.standbyMinutes"),
                };
                let words = format!(
                    "Standby lasted as long as {name} allows; change spec.state, spec.schedule or spec.session to start \
                     again"
                );
                self.warn(limit, words);
            }
        } else {
            self.status.standby_limit = None;
        }
        self.latch_end();
        self.warn_of_limit();
    }

    /// A broadcast that was Live and is ended, or that a limit ends whether it ever came about or not, stays ended.
    fn latch_end(&mut self) {
        if self.desired.state != State::Ended {
            return;
        }
        let asked = session(&self.object.spec);
        let by_limit = matches!(self.desired.why, Why::LiveLimit | Why::EndAt);
        // A sender that was started may have been seen by mourners, though we did not see it.
        let under_way = broadcast_under_way(&self.status)
            .then(|| self.status.egress.as_ref().and_then(|egress| egress.session).unwrap_or(asked));
        let was_live = self.status.live_session.filter(|live| *live == asked).or(under_way);
        let ends = if by_limit { Some(asked) } else { was_live };
        if ends.is_none() || self.status.ended_session >= ends {
            return;
        }
        self.status.ended_session = ends;
        match self.desired.why {
            Why::LiveLimit => {
                self.warn(
                    "LiveLimit",
                    "the broadcast lasted as long as limits.liveMinutes allows and ends now",
                );
            }
            Why::EndAt => self.warn("EndAt", "schedule.endAt has come: the broadcast ends now"),
            _ => {}
        }
    }

    /// Once, a quarter of an hour before.
    fn warn_of_limit(&mut self) {
        let Some(limit) = desired::ending_soon(&self.desired, self.now) else { return };
        let conditions =
            self.object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or(&[]);
        if !is_true(conditions, ConditionType::EndingSoon) {
            self.warn("EndingSoon", desired::how_to_go_on(limit));
        }
    }

    /// Pause stops what would start or change something, never an end, a limit or a deletion.
    fn paused(&self) -> bool {
        paused(self.object) && matches!(self.desired.state, State::Live | State::Standby)
    }

    fn deleting(&self) -> bool {
        self.desired.why == Why::Deletion
    }

    fn nothing_was_made(&self) -> bool {
        let status = &self.status;
        status.mux.as_ref().is_none_or(|mux| mux.stream_id.is_none() && mux.creating.is_none())
            && status.room.as_ref().is_none_or(|room| room.name.is_none() && self.stays_deleted(room))
            && !broadcast_under_way(status)
            && self.pods_are_gone()
    }

    /// Plans an action unless its effect failed and is left alone for now.
    fn act(&mut self, action: Action) {
        if !held(&self.observed.backoffs, action.effect()) {
            self.actions.push(action);
        }
    }

    fn event(&mut self, reason: &'static str, message: impl Into<String>) {
        self.events.push(Event { warning: false, reason, message: message.into() });
    }

    fn warn(&mut self, reason: &'static str, message: impl Into<String>) {
        self.events.push(Event { warning: true, reason, message: message.into() });
    }

    fn elapsed(&self, since: &Time) -> Duration {
        elapsed(since, self.now)
    }

    fn requeue(&self) -> Duration {
        // A worker that does not answer wakes the object.
        if self.actions.iter().any(|action| !matches!(action, Action::AskWorker(_))) {
            return Duration::from_millis(200);
        }
        let settled = matches!(self.desired.state, State::Idle | State::Ended)
            && self.status.state == Some(self.desired.state)
            && !self.deleting()
            && self.nothing_is_left()
            && !self.room_may_return()
            && self.stream_needs_nothing();
        let held = self.observed.backoffs.values().map(|backoff| backoff.remaining);
        let held = held.filter(|remaining| !remaining.is_zero()).min();
        let nothing_runs = matches!(self.desired.state, State::Idle | State::Ended)
            && !broadcast_under_way(&self.status)
            && self.observed.pods.is_empty();
        let usual = match &self.observed.access {
            // What a person or another object mends is looked for often: it costs no request to a provider.
            Access::Unusable(_) => self.timings.slow / 4,
            _ if self.observed.slug_holder.is_some() => self.timings.slow / 4,
            Access::Failed(_) => self.timings.slow,
            Access::Granted { .. } if settled => self.rest(),
            Access::Granted { .. } => match held.filter(|_| nothing_runs) {
                Some(held) => held.max(self.timings.fast).min(self.timings.slow),
                None => self.timings.fast,
            },
        };
        let next = [self.due, self.desired.until_next_change(self.now)];
        next.into_iter().flatten().fold(usual, Duration::min)
    }

    /// No room, pod or sender. What status calls reached may be from before something was begun and taken back.
    fn nothing_is_left(&self) -> bool {
        let room = self.status.room.as_ref().is_some_and(|room| room.name.is_some());
        !room && self.pods_are_gone() && !broadcast_under_way(&self.status)
    }

    /// The stream was seen to rest, or there is none and none is wanted. One that was just found is looked at first.
    fn stream_needs_nothing(&self) -> bool {
        match self.status.mux.as_ref().map(|mux| (&mux.stream_id, &mux.creating)) {
            Some((Some(_), None)) => match &self.observed.stream {
                Seen::Known(Some(stream)) => stream.status == LiveStreamStatus::Disabled,
                Seen::NotAsked => is_at_rest(self.object, self.desired.state),
                Seen::Known(None) | Seen::Failed(_) => false,
            },
            Some((None, None)) | None => self.desired.state == State::Ended,
            Some((_, Some(_))) => false,
        }
    }

    /// The stream has no playback id, or had none when it was seen last: people are told to add one.
    fn nobody_can_watch(&self) -> bool {
        match &self.observed.stream {
            Seen::Known(stream) => {
                stream.as_ref().is_some_and(|stream| stream.public_playback_id().is_none())
            }
            Seen::NotAsked | Seen::Failed(_) => lacks_playback_id(&self.status),
        }
    }

    /// How long an object that is at rest is left alone: the longer, the less may happen to it, and each for a time of its
    /// own, so that many do not come at once.
    fn rest(&self) -> Duration {
        let observed = self.observed;
        if !observed.backoffs.is_empty()
            || observed.set_aside.is_some()
            || observed.stream_is_awaited
            || self.nobody_can_watch()
            || may_be_visited(&self.status, self.now)
        {
            return self.timings.slow;
        }
        let mut hasher = DefaultHasher::new();
        self.identity.uid.hash(&mut hasher);
        let share = u32::try_from(hasher.finish() % 512).unwrap_or(0);
        shortest_rest(self.timings) + self.timings.idle * share / 1024
    }
}

/// How long what is at rest is left alone at least; each for a time of its own, up to two thirds longer.
pub(super) fn shortest_rest(timings: &Timings) -> Duration {
    timings.idle * 3 / 4
}

/// No time at all where the clock went back.
fn elapsed(since: &Time, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since.0)).unwrap_or(Duration::ZERO)
}

/// Whether we hold on to the object.
pub fn has_finalizer(object: &MemorialStream) -> bool {
    object.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
}

/// Whether the object is paused.
pub fn paused(object: &MemorialStream) -> bool {
    object.metadata.annotations.as_ref().and_then(|all| all.get(PAUSED)).is_some_and(|value| value == "true")
}
