//! What `EgressActive` and `OnAir` say: whether Program reaches Mux, and mourners.

use super::{Kind, View};
use crate::api::Reason;
use crate::api::conditions::{Statement, Truth};
use crate::api::spec::{State, Via};
use crate::lifecycle::backoff::Part;
use crate::lifecycle::in_flight::StartSeen;
use crate::lifecycle::observed::Seen;
use crate::lifecycle::plan::Action;
use crate::lifecycle::sight::Sight;
use crate::lifecycle::witnesses::{Testimony, Witnesses, slate_may_play};
use crate::providers::mux::LiveStreamStatus;
use crate::service::desired::{self, broadcast_under_way};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// What is on air is asked for every 6 s: after this long at least one question was not answered in time.
const MUX_IS_SILENT: Duration = Duration::from_secs(9);

impl View<'_> {
    pub(super) fn via(&self) -> Via {
        desired::via(&self.object.spec, self.status)
    }

    fn witnesses(&self) -> Witnesses {
        Witnesses::hear(self.status, self.via(), self.observed)
    }

    pub(super) fn egress(&self) -> Statement {
        let kind = Kind::EgressActive;
        let no = |reason: Reason, message: String| Statement::new(kind, false, reason, message);
        if self.plan.desired.state != State::Live {
            return if broadcast_under_way(self.status) || self.status.ending_since.is_some() {
                no(Reason::Stopping, "the sender to Mux is being stopped".into())
            } else {
                Statement::not_requested(kind)
            };
        }
        let testimony = self.witnesses().sender;
        if testimony == Testimony::For {
            return Statement::new(kind, true, Reason::Active, "");
        }
        if let Testimony::Unsure(why) = testimony {
            return Statement::new(kind, Truth::Unknown, Reason::NotAnswering, why);
        }
        if self.start_is_searched_for() {
            let message = "the answer to the start of the egress was lost; it is being searched for, and a new one starts \
                           once it is surely not there";
            return no(Reason::Searching, message.into());
        }
        if let Some(backoff) = self.backoff(kind, Part::Sender) {
            return backoff;
        }
        if self.via() == Via::LiveKit
            && let Some(error) = self.observed.egresses.error()
        {
            return Self::unanswered(kind, error);
        }
        if !broadcast_under_way(self.status) {
            return no(
                Reason::Waiting,
                "the sender starts once the Mux live stream, the room and the compositor are ready".into(),
            );
        }
        let egress = self.status.egress.clone().unwrap_or_default();
        if egress.status.as_deref() == Some("Active")
            && let Testimony::Against(reason, message) = testimony
        {
            return no(reason, message);
        }
        match (egress.id, egress.error) {
            // The compositor's own sender has no id, and goes on trying.
            (None, Some(error)) if self.via() == Via::LiveKit => {
                no(Reason::Restarting, format!("the sender to Mux ended: {error}"))
            }
            (_, Some(error)) => no(Reason::Connecting, format!("the sender does not reach Mux: {error}")),
            _ => no(Reason::Starting, "the sender to Mux is starting".into()),
        }
    }

    /// A start was sent, or was about to be, by a call that is over, and nobody knows what came of it.
    fn start_is_searched_for(&self) -> bool {
        let open = self.status.egress.as_ref().is_some_and(|egress| egress.starting.is_some());
        let begins = self.plan.actions.iter().any(|action| matches!(action, Action::StartEgress { .. }));
        open && !begins && self.observed.start != StartSeen::InFlight
    }

    pub(super) fn on_air(&self, now: Timestamp) -> Statement {
        let kind = Kind::OnAir;
        if self.plan.desired.state != State::Live && !broadcast_under_way(self.status) {
            return Statement::not_requested(kind);
        }
        let no = |reason: Reason, message: String| Statement::new(kind, false, reason, message);
        let Witnesses { viewer, mux, sender, program } = self.witnesses();
        let active = match &self.observed.stream {
            Seen::Known(Some(stream)) => stream.status == LiveStreamStatus::Active,
            Seen::Known(None) | Seen::NotAsked => false,
            // Mux's API does not answer; what mourners get does not pass through it. Where Mux would play a slate of its
            // own, a playlist that grows says nothing.
            Seen::Failed(error)
                if slate_may_play(&self.object.spec, self.observed) || viewer != Testimony::For =>
            {
                return Self::unanswered(kind, error);
            }
            Seen::Failed(_) => true,
        };
        if !active {
            return match sender {
                Testimony::For => {
                    no(Reason::Connecting, "Mux receives the sender and is not active yet".into())
                }
                _ => no(Reason::Starting, "nothing reaches Mux yet".into()),
            };
        }
        if let Testimony::Against(reason, message) = &program {
            return no(*reason, message.clone());
        }
        for witness in [&sender, &mux] {
            if let Testimony::Against(_, message) = witness {
                return no(Reason::Reconnecting, self.reconnecting(message, now));
            }
        }
        if let Testimony::Against(reason, message) = viewer {
            return no(reason, message);
        }
        for witness in [program, sender] {
            if let Testimony::Unsure(why) = witness {
                let message = format!("nobody can say whether mourners see Program: {why}");
                return Statement::new(kind, Truth::Unknown, Reason::NotAnswering, message);
            }
        }
        if self.nobody_sees_what_arrives() {
            let message =
                "neither Mux nor the playback address answers: nobody can say whether mourners see Program";
            return Statement::new(kind, Truth::Unknown, Reason::ProviderNotAnswering, message);
        }
        Statement::new(kind, true, Reason::OnAir, "")
    }

    /// The last word of Mux's is old, and no player can look either.
    fn nobody_sees_what_arrives(&self) -> bool {
        let blind = matches!(self.observed.sight, Sight::Unknown(_));
        blind && self.observed.age_of_active.is_some_and(|age| age > MUX_IS_SILENT)
    }

    /// Mux holds the broadcast open for its reconnect window, counted from when OnAir was lost.
    fn reconnecting(&self, why: &str, now: Timestamp) -> String {
        let Seen::Known(Some(stream)) = &self.observed.stream else { return why.to_owned() };
        let dark_since = self.status.egress.as_ref().and_then(|egress| egress.dark_since.as_ref());
        let lost = dark_since.map_or(now, |since| since.0);
        let window = SignedDuration::from_secs(i64::from(stream.reconnect_window()));
        let deadline = lost.checked_add(window).unwrap_or(lost).to_string();
        let deadline = deadline.split('.').next().unwrap_or(&deadline).trim_end_matches('Z');
        format!("{why}; Mux ends the broadcast at {deadline}Z unless the sender is back")
    }
}
