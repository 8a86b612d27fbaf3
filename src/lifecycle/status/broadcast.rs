//! What `EgressActive` and `OnAir` say: whether Program reaches Mux, and mourners.

use super::{Kind, View};
use crate::api::Reason;
use crate::api::conditions::{Statement, Truth, find};
use crate::api::spec::{State, Via};
use crate::lifecycle::backoff::Effect;
use crate::lifecycle::observed::Seen;
use crate::providers::livekit::EgressStatus as LiveKitStatus;
use crate::providers::mux::LiveStreamStatus;
use crate::service::desired::{self, broadcast_under_way};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use memorialstream_compositor_protocol::SenderState;

impl View<'_> {
    pub(super) fn via(&self) -> Via {
        desired::via(&self.object.spec, self.status)
    }

    /// Whether the sender is connected to Mux, as far as the sender itself can say.
    pub(super) fn sender_connected(&self) -> bool {
        match self.via() {
            Via::Compositor => {
                matches!(&self.observed.compositor, Some(Ok(status)) if status.sender.state == SenderState::Connected)
            }
            Via::LiveKit => {
                let id = self.status.egress.as_ref().and_then(|egress| egress.id.as_ref());
                self.observed.egresses.known().into_iter().flatten().any(|egress| {
                    Some(&egress.id) == id
                        && egress.status == LiveKitStatus::Active
                        && egress.destination_connected
                })
            }
        }
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
        if self.sender_connected() {
            return Statement::new(kind, true, Reason::Active, "");
        }
        if let Some(backoff) = self.backoff(kind, Effect::Sender) {
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
        match (egress.id, egress.error) {
            (None, Some(error)) => no(Reason::Restarting, format!("the sender to Mux ended: {error}")),
            (_, Some(error)) => no(Reason::Connecting, format!("the sender does not reach Mux: {error}")),
            _ => no(Reason::Starting, "the sender to Mux is starting".into()),
        }
    }

    pub(super) fn on_air(&self, now: Timestamp) -> Statement {
        let kind = Kind::OnAir;
        if self.plan.desired.state != State::Live && !broadcast_under_way(self.status) {
            return Statement::not_requested(kind);
        }
        let no = |reason: Reason, message: String| Statement::new(kind, false, reason, message);
        let active = match &self.observed.stream {
            Seen::Known(Some(stream)) => stream.status == LiveStreamStatus::Active,
            Seen::Failed(error) => return Self::unanswered(kind, error),
            _ => false,
        };
        let connected = self.sender_connected();
        match (active, connected) {
            (true, true) if self.program_advances() => Statement::new(kind, true, Reason::OnAir, ""),
            (true, true) => {
                no(Reason::ProgramStalled, "Program stands still: mourners see a frozen picture".into())
            }
            (true, false) => no(Reason::Reconnecting, self.reconnecting(now)),
            (false, true) => no(Reason::Connecting, "Mux receives the sender and is not active yet".into()),
            (false, false) => no(Reason::Starting, "nothing reaches Mux yet".into()),
        }
    }

    pub(super) fn program_advances(&self) -> bool {
        matches!(&self.observed.compositor, Some(Ok(status)) if status.program_advances())
    }

    /// Mux holds the broadcast open for its reconnect window, counted from when OnAir was lost.
    pub(super) fn reconnecting(&self, now: Timestamp) -> String {
        let Seen::Known(Some(stream)) = &self.observed.stream else { return String::new() };
        let before = self.object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or(&[]);
        let lost = find(before, Kind::OnAir)
            .filter(|condition| condition.status == Truth::False.as_str())
            .map_or(now, |condition| condition.last_transition_time.0);
        let window = SignedDuration::from_secs(i64::from(stream.reconnect_window_seconds));
        let deadline = lost.checked_add(window).unwrap_or(lost).to_string();
        let deadline = deadline.split('.').next().unwrap_or(&deadline).trim_end_matches('Z');
        format!("the sender is cut off; Mux ends the broadcast at {deadline}Z unless it is back")
    }
}
