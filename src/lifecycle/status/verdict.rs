//! What the conditions say that sum up the others: `ReadyToGoLive`, `Ready`, `Stalled`.

use super::{Kind, View, worst};
use crate::api::Reason;
use crate::api::conditions::{Statement, Truth};
use crate::api::spec::MOST_SESSIONS;
use crate::api::spec::State;
use crate::lifecycle::backoff::{Effect, Part};
use crate::lifecycle::observed::Seen;
use crate::lifecycle::plan::{latency_mode, paused};
use crate::service::desired::{Why, broadcast_under_way, session};
use crate::service::pod::settings_fingerprint;
use memorialstream_compositor_protocol::SourceState;

const PAUSED: &str = "annotation tributestream.com/paused stops all provider changes but End, limits and deletion; remove it to go on";

impl View<'_> {
    pub(super) fn ready_to_go_live(&self, said: &[Statement]) -> Statement {
        let kind = Kind::ReadyToGoLive;
        let no = |reason: Reason, message: String| Statement::new(kind, false, reason, message);
        let holds = |kind: Kind| said.iter().find(|statement| statement.kind == kind);
        if let Some(holder) = &self.observed.slug_holder {
            return no(Reason::SlugTaken, slug_taken(holder));
        }
        if self.status.ended_session.is_some_and(|ended| ended >= session(&self.object.spec)) {
            return no(Reason::SessionEnded, self.session_ended(session(&self.object.spec)));
        }
        if let Some(statement) =
            holds(Kind::CredentialsValid).filter(|statement| statement.truth != Truth::True)
        {
            return no(statement.reason, statement.message.clone());
        }
        if self.status.mux.as_ref().is_none_or(|mux| mux.stream_id.is_none()) {
            let message =
                holds(Kind::MuxStreamReady).map_or_else(String::new, |statement| statement.message.clone());
            return no(Reason::MuxStreamMissing, message);
        }
        if let Some(backoff) = self.observed.backoffs.get(&Effect::making(Part::Key)) {
            let message = format!(
                "the stream key is not kept, so that a sender that dies while Mux does not answer cannot be started again: {}",
                backoff.message
            );
            return no(backoff.reason, message);
        }
        match &self.observed.compositor {
            Some(Ok(status)) => {
                let missing: Vec<&str> = self
                    .cameras(status)
                    .filter(|source| source.state == SourceState::Absent)
                    .map(|source| source.name.as_str())
                    .collect();
                if missing.is_empty() {
                    return Statement::new(kind, true, Reason::Ready, "");
                }
                let hint = if self.an_older_room_is_open() {
                    "; a device joins the room of an earlier run: give it a new token"
                } else {
                    ""
                };
                no(
                    Reason::CamerasMissing,
                    format!("these cameras have not joined: {}{hint}", missing.join(", ")),
                )
            }
            _ => Statement::new(
                kind,
                true,
                Reason::Ready,
                "which cameras have joined is known from Standby on",
            ),
        }
    }

    /// A token is good for one room, and a device with an old one opens that room again.
    fn an_older_room_is_open(&self) -> bool {
        let current = self.status.room.as_ref().and_then(|room| room.name.as_ref());
        self.observed.rooms.known().into_iter().flatten().any(|room| Some(&room.name) != current)
    }

    pub(super) fn stalled(&self) -> Statement {
        let kind = Kind::Stalled;
        let yes = |reason: Reason, message: String| Statement::new(kind, true, reason, message);
        if let Some(holder) = &self.observed.slug_holder {
            return yes(Reason::SlugTaken, slug_taken(holder));
        }
        let credentials = self.credentials();
        if credentials.truth == Truth::False {
            return yes(credentials.reason, credentials.message);
        }
        if let Some(error) = self.observed.stream_is_not_ours() {
            return yes(Reason::Refused, error.message.clone());
        }
        if let Some(backoff) = self.observed.backoffs.values().find(|backoff| backoff.terminal) {
            return yes(backoff.reason, backoff.message.clone());
        }
        Statement::new(kind, false, Reason::Progressing, "")
    }

    pub(super) fn ready(&self, said: &[Statement], stalled: &Statement) -> Statement {
        let kind = Kind::Ready;
        let desired = self.plan.desired.state;
        if stalled.truth == Truth::True {
            return Statement::new(kind, false, stalled.reason, stalled.message.clone());
        }
        if self.reached(desired, said) {
            let (reason, message) = self.where_it_rests();
            return Statement::new(kind, true, reason, message);
        }
        // Nothing is brought about, because a person wants it so.
        if paused(self.object) && matches!(desired, State::Live | State::Standby) {
            return Statement::new(kind, true, Reason::Paused, PAUSED);
        }
        let message = worst(said).unwrap_or_else(|| format!("{} is being brought about", desired.as_str()));
        Statement::new(kind, false, Reason::Progressing, message)
    }

    /// Why the state that is reached is the one that is wanted, and what may be done about it.
    fn where_it_rests(&self) -> (Reason, String) {
        let session = session(&self.object.spec);
        match (self.plan.desired.state, self.plan.desired.why) {
            (_, Why::SessionEnded) => (Reason::SessionEnded, self.session_ended(session)),
            (_, Why::LiveLimit) => (Reason::LiveLimit, self.session_ended(session)),
            (State::Ended, Why::EndAt) => (Reason::EndAt, self.session_ended(session)),
            (_, Why::StandbyLimit | Why::EndAt) => (
                Reason::StandbyLimit,
                "Standby lasted as long as limits.standbyMinutes or schedule.endAt allows; change spec.state, \
                 spec.schedule or spec.session to start again"
                    .into(),
            ),
            (State::Live | State::Standby, _) if paused(self.object) => (Reason::Paused, PAUSED.into()),
            (State::Live, _) => (Reason::Live, self.pending()),
            (State::Standby, _) => (Reason::Standby, self.pending()),
            (State::Ended, _) => (Reason::Ended, self.pending()),
            (State::Idle | State::Scheduled, _) => (Reason::Idle, self.pending()),
        }
    }

    /// Changes that wait until the broadcast is over.
    pub(super) fn pending(&self) -> String {
        if !broadcast_under_way(self.status) {
            return String::new();
        }
        let mut waiting = Vec::new();
        let settings = settings_fingerprint(&self.object.spec);
        if self.observed.pods.iter().any(|pod| pod.runs() && pod.settings != settings) {
            waiting.push("spec.video, spec.compositor");
        }
        let asked = self.object.spec.egress.as_ref().and_then(|egress| egress.via).unwrap_or_default();
        if asked != self.via() {
            waiting.push("spec.egress");
        }
        if let Seen::Known(Some(stream)) = &self.observed.stream
            && stream.latency_mode != latency_mode(&self.object.spec)
        {
            waiting.push("spec.mux.latencyMode");
        }
        if self.observed.addresses_wait {
            waiting.push("MUX_RTMP_URL or MUX_PLAYBACK_BASE_URL");
        }
        if waiting.is_empty() {
            return String::new();
        }
        format!("changes of {} wait until the broadcast is over", waiting.join(" and "))
    }

    pub(super) fn reached(&self, state: State, said: &[Statement]) -> bool {
        if self.observed.slug_holder.is_some() || self.plan.desired.why == Why::Deletion {
            return false;
        }
        let holds = |kind: Kind| {
            said.iter().any(|statement| statement.kind == kind && statement.truth == Truth::True)
        };
        let nothing_runs = self.observed.pods.iter().all(|pod| pod.hangs(self.now))
            && self.observed.rooms.known().is_some_and(|rooms| rooms.is_empty())
            && !broadcast_under_way(self.status)
            && self.status.ending_since.is_none();
        match state {
            State::Ended if self.status.mux.as_ref().is_none_or(|mux| mux.stream_id.is_none()) => {
                nothing_runs
            }
            State::Idle | State::Ended | State::Scheduled => nothing_runs && holds(Kind::MuxStreamReady),
            State::Standby => {
                !broadcast_under_way(self.status)
                    && [Kind::MuxStreamReady, Kind::RoomReady, Kind::CompositorReady].into_iter().all(holds)
            }
            State::Live => holds(Kind::OnAir),
        }
    }

    fn session_ended(&self, session: i64) -> String {
        // A lower one is over with the last that has ended.
        let session = self.status.ended_session.map_or(session, |ended| ended.max(session));
        // A state that a tool took away is held for its session alone.
        let held = self.status.held.as_ref().is_some_and(|held| held.state.is_some());
        let state = if held { " and spec.state to Live" } else { "" };
        let again = match session.checked_add(1).filter(|next| *next <= MOST_SESSIONS) {
            Some(next) => format!("set spec.session to {next}{state} to go live again"),
            None => "it was the last that there can be; to go live again, make another MemorialStream".into(),
        };
        format!("session {session} was Live and has ended; {again}")
    }
}

fn slug_taken(holder: &str) -> String {
    format!(
        "the slug belongs to MemorialStream {holder}, which had it first; delete this one and choose another slug"
    )
}
