//! What status says: conditions, the state that is reached, and the one sentence about what is wrong. Pure.

use super::observed::{Account, Effect, Observed, Seen, Trouble};
use super::plan::{Plan, paused};
use super::wanted::{Why, broadcast_under_way, session};
use crate::api::conditions::{ConditionType as Kind, Statement, Truth, find};
use crate::api::spec::{State, Via};
use crate::api::status::SourceStatus;
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::providers::livekit::EgressStatus as LiveKitStatus;
use crate::providers::mux::LiveStreamStatus;
use crate::providers::{ErrorClass, ProviderError};
use crate::world::CompositorError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use memorialstream_compositor_protocol::{SenderState, SourceState};

/// Status after a plan was made and before its actions.
pub fn describe(
    object: &MemorialStream,
    observed: &Observed,
    plan: &Plan,
    now: Timestamp,
) -> MemorialStreamStatus {
    let mut status = plan.status.clone();
    let view = View { object, observed, plan, status: &plan.status };
    let statements = view.statements(now);
    let generation = object.metadata.generation;
    status.observed_generation = generation;
    if view.reached(plan.wanted.state, &statements) {
        status.state = Some(plan.wanted.state);
        status.session = Some(session(&object.spec));
    }
    if let Some(compositor) = status.compositor.as_mut() {
        compositor.sources = view.sources(&compositor.sources, now);
    }
    status.message = worst(&statements);
    let before = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or(&[]);
    let applied = find(before, Kind::ProgramApplied).cloned();
    status.conditions = statements
        .into_iter()
        .map(|statement| statement.into_condition(before, generation, now))
        .chain(applied)
        .collect();
    status
}

/// The one thing that is wrong.
fn worst(statements: &[Statement]) -> Option<String> {
    let order = [
        Kind::Stalled,
        Kind::CredentialsValid,
        Kind::MuxStreamReady,
        Kind::RoomReady,
        Kind::CompositorReady,
        Kind::EgressActive,
        Kind::OnAir,
        Kind::Ready,
    ];
    order
        .iter()
        .filter_map(|kind| statements.iter().find(|statement| statement.kind == *kind))
        .find(|statement| {
            let wrong = if statement.kind == Kind::Stalled { Truth::True } else { Truth::False };
            (statement.truth == wrong || statement.truth == Truth::Unknown) && !statement.message.is_empty()
        })
        .map(|statement| statement.message.clone())
}

struct View<'a> {
    object: &'a MemorialStream,
    observed: &'a Observed,
    plan: &'a Plan,
    status: &'a MemorialStreamStatus,
}

impl View<'_> {
    fn statements(&self, now: Timestamp) -> Vec<Statement> {
        let mut said = vec![self.credentials(), self.stream(), self.room(), self.compositor(), self.egress()];
        said.push(self.on_air(now));
        said.push(self.ready_to_go_live(&said));
        let stalled = self.stalled();
        let stuck = stalled.truth == Truth::True;
        let ready = self.ready(&said, &stalled);
        let reconciling = if ready.truth == Truth::True || stuck {
            Statement::new(Kind::Reconciling, false, ready.reason, "")
        } else {
            Statement::new(Kind::Reconciling, true, ready.reason, ready.message.clone())
        };
        said.extend([ready, reconciling, stalled]);
        said
    }

    fn runs(&self) -> bool {
        matches!(self.plan.wanted.state, State::Live | State::Standby)
    }

    fn trouble(&self, kind: Kind, effect: Effect) -> Option<Statement> {
        self.observed
            .troubles
            .get(&effect)
            .map(|Trouble { reason, message, .. }| Statement::new(kind, false, reason, message.clone()))
    }

    fn unanswered(kind: Kind, error: &ProviderError) -> Statement {
        Statement::new(kind, Truth::Unknown, "ProviderNotAnswering", error.message.clone())
    }

    fn credentials(&self) -> Statement {
        let kind = Kind::CredentialsValid;
        let refused =
            |error: &ProviderError| Statement::new(kind, false, "CredentialsRefused", error.message.clone());
        match &self.observed.account {
            Account::Unusable { reason, message } => Statement::new(kind, false, reason, message.clone()),
            Account::Failed(error) if error.class == ErrorClass::Credentials => refused(error),
            Account::Failed(error) => Self::unanswered(kind, error),
            Account::Known { .. } => {
                let errors = [
                    self.observed.stream.error(),
                    self.observed.rooms.error(),
                    self.observed.egresses.error(),
                ];
                let credentials = |error: &&ProviderError| error.class == ErrorClass::Credentials;
                match errors.into_iter().flatten().find(credentials) {
                    Some(error) => refused(error),
                    None => Statement::new(kind, true, "Accepted", ""),
                }
            }
        }
    }

    fn stream(&self) -> Statement {
        let kind = Kind::MuxStreamReady;
        let mux = self.status.mux.clone().unwrap_or_default();
        if let Some(error) = self.observed.stream.error().or(self.observed.marked.error()) {
            return Self::unanswered(kind, error);
        }
        if let Some(trouble) = self.trouble(kind, Effect::MuxStream) {
            return trouble;
        }
        let Seen::Known(Some(stream)) = &self.observed.stream else {
            let (reason, message) = match mux.creating {
                Some(intent)
                    if !self
                        .plan
                        .actions
                        .iter()
                        .any(|action| matches!(action, super::plan::Action::CreateStream(_))) =>
                {
                    (
                        "Searching",
                        if intent.absent_since.is_some() {
                            "the answer to the creation of the Mux live stream was lost; it was not found once, and is searched for once more"
                        } else {
                            "the answer to the creation of the Mux live stream was lost; it is being searched for"
                        },
                    )
                }
                _ => ("Creating", "the Mux live stream is being created"),
            };
            return Statement::new(kind, false, reason, message);
        };
        match (&stream.status, self.runs()) {
            (LiveStreamStatus::Disabled, true) => {
                Statement::new(kind, false, "Enabling", "the Mux live stream is being enabled")
            }
            (LiveStreamStatus::Disabled, false) => Statement::new(kind, true, "Disabled", ""),
            (_, true) => Statement::new(kind, true, "Enabled", ""),
            (_, false) => Statement::new(kind, false, "Disabling", "the Mux live stream is being disabled"),
        }
    }

    fn room(&self) -> Statement {
        let kind = Kind::RoomReady;
        if !self.runs() {
            return self.room_closing().unwrap_or_else(|| Statement::not_requested(kind));
        }
        if let Some(error) = self.observed.rooms.error() {
            return Self::unanswered(kind, error);
        }
        if let Some(trouble) = self.trouble(kind, Effect::Room) {
            return trouble;
        }
        match self.status.room.as_ref().and_then(|room| room.sid.as_ref()) {
            Some(_) => Statement::new(kind, true, "Exists", ""),
            None => Statement::new(kind, false, "Creating", "the LiveKit room is being created"),
        }
    }

    /// A room that is still open although none is wanted: LiveKit bills what is in it.
    fn room_closing(&self) -> Option<Statement> {
        let kind = Kind::RoomReady;
        let open = self.observed.rooms.known()?.first()?;
        if let Some(trouble) = self.trouble(kind, Effect::Room) {
            return Some(trouble);
        }
        let ours = self.status.room.as_ref().is_some_and(|room| room.name.as_ref() == Some(&open.name));
        Some(if ours {
            Statement::new(kind, false, "Closing", format!("room {} is being closed", open.name))
        } else {
            let message = format!(
                "devices join room {} again after it was deleted, and open it by that; it is deleted each time: close \
                 the app on them",
                open.name
            );
            Statement::new(kind, false, "Returned", message)
        })
    }

    fn compositor(&self) -> Statement {
        let kind = Kind::CompositorReady;
        if !self.runs() {
            return Statement::not_requested(kind);
        }
        let no = |reason: &'static str, message: String| Statement::new(kind, false, reason, message);
        if let Some(trouble) = self.trouble(kind, Effect::Pod) {
            return trouble;
        }
        let running = self.observed.pods.iter().filter(|pod| !pod.deleting && !pod.finished);
        let Some(pod) = running.max_by_key(|pod| pod.incarnation) else {
            return no("Creating", "the compositor pod is being created".into());
        };
        if let Some((reason, message)) = &pod.complaint {
            return no(kubelet_reason(reason), format!("pod {}: {reason}: {message}", pod.name));
        }
        match &self.observed.compositor {
            Some(Err(CompositorError::Unauthorized)) => {
                no("Unauthorized", CompositorError::Unauthorized.to_string())
            }
            Some(Err(error)) if pod.ready => no("NotAnswering", format!("pod {}: {error}", pod.name)),
            Some(Ok(status)) if !status.publisher.connected => no(
                "NotPublishing",
                status
                    .publisher
                    .error
                    .clone()
                    .unwrap_or_else(|| "Program is not published in the room yet".into()),
            ),
            Some(Ok(status)) if !status.program_advances() => {
                no("ProgramStalled", format!("pod {}: Program stands still", pod.name))
            }
            Some(Ok(_)) if pod.ready => Statement::new(kind, true, "Running", ""),
            _ => no("Starting", format!("pod {} is starting", pod.name)),
        }
    }

    fn via(&self) -> Via {
        let fixed = self
            .status
            .egress
            .as_ref()
            .and_then(|egress| egress.via)
            .filter(|_| broadcast_under_way(self.status));
        fixed.unwrap_or_else(|| {
            self.object.spec.egress.as_ref().and_then(|egress| egress.via).unwrap_or_default()
        })
    }

    /// Whether the sender is connected to Mux, as far as the sender itself can say.
    fn sender_connected(&self) -> bool {
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

    fn egress(&self) -> Statement {
        let kind = Kind::EgressActive;
        let no = |reason: &'static str, message: String| Statement::new(kind, false, reason, message);
        if self.plan.wanted.state != State::Live {
            return if broadcast_under_way(self.status) || self.status.ending_since.is_some() {
                no("Stopping", "the sender to Mux is being stopped".into())
            } else {
                Statement::not_requested(kind)
            };
        }
        if self.sender_connected() {
            return Statement::new(kind, true, "Active", "");
        }
        if let Some(trouble) = self.trouble(kind, Effect::Sender) {
            return trouble;
        }
        if self.via() == Via::LiveKit
            && let Some(error) = self.observed.egresses.error()
        {
            return Self::unanswered(kind, error);
        }
        if !broadcast_under_way(self.status) {
            return no(
                "Waiting",
                "the sender starts once the Mux live stream, the room and the compositor are ready".into(),
            );
        }
        let egress = self.status.egress.clone().unwrap_or_default();
        match (egress.id, egress.error) {
            (None, Some(error)) => no("Restarting", format!("the sender to Mux ended: {error}")),
            (_, Some(error)) => no("Connecting", format!("the sender does not reach Mux: {error}")),
            _ => no("Starting", "the sender to Mux is starting".into()),
        }
    }

    fn on_air(&self, now: Timestamp) -> Statement {
        let kind = Kind::OnAir;
        if self.plan.wanted.state != State::Live && !broadcast_under_way(self.status) {
            return Statement::not_requested(kind);
        }
        let no = |reason: &'static str, message: String| Statement::new(kind, false, reason, message);
        let active = match &self.observed.stream {
            Seen::Known(Some(stream)) => stream.status == LiveStreamStatus::Active,
            Seen::Failed(error) => return Self::unanswered(kind, error),
            _ => false,
        };
        let connected = self.sender_connected();
        match (active, connected) {
            (true, true) if self.program_advances() => Statement::new(kind, true, "OnAir", ""),
            (true, true) => {
                no("ProgramStalled", "Program stands still: mourners see a frozen picture".into())
            }
            (true, false) => no("Reconnecting", self.reconnecting(now)),
            (false, true) => no("Connecting", "Mux receives the sender and is not active yet".into()),
            (false, false) => no("Starting", "nothing reaches Mux yet".into()),
        }
    }

    fn program_advances(&self) -> bool {
        matches!(&self.observed.compositor, Some(Ok(status)) if status.program_advances())
    }

    /// Mux holds the broadcast open for its reconnect window, counted from when OnAir was lost.
    fn reconnecting(&self, now: Timestamp) -> String {
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

    fn ready_to_go_live(&self, said: &[Statement]) -> Statement {
        let kind = Kind::ReadyToGoLive;
        let no = |reason: &'static str, message: String| Statement::new(kind, false, reason, message);
        let holds = |kind: Kind| said.iter().find(|statement| statement.kind == kind);
        if let Some(holder) = &self.observed.slug_holder {
            return no("SlugTaken", slug_taken(holder));
        }
        if self.status.ended_session.is_some_and(|ended| ended >= session(&self.object.spec)) {
            return no("SessionEnded", session_ended(session(&self.object.spec)));
        }
        if let Some(statement) =
            holds(Kind::CredentialsValid).filter(|statement| statement.truth != Truth::True)
        {
            return no(statement.reason, statement.message.clone());
        }
        if self.status.mux.as_ref().is_none_or(|mux| mux.stream_id.is_none()) {
            let message =
                holds(Kind::MuxStreamReady).map_or_else(String::new, |statement| statement.message.clone());
            return no("MuxStreamMissing", message);
        }
        match &self.observed.compositor {
            Some(Ok(status)) => {
                let missing: Vec<&str> = status
                    .sources
                    .iter()
                    .filter(|source| source.state == SourceState::Absent)
                    .map(|source| source.name.as_str())
                    .collect();
                if missing.is_empty() {
                    Statement::new(kind, true, "Ready", "")
                } else {
                    no("CamerasMissing", format!("these cameras have not joined: {}", missing.join(", ")))
                }
            }
            _ => Statement::new(kind, true, "Ready", "which cameras have joined is known from Standby on"),
        }
    }

    fn stalled(&self) -> Statement {
        let kind = Kind::Stalled;
        let yes = |reason: &'static str, message: String| Statement::new(kind, true, reason, message);
        if let Some(holder) = &self.observed.slug_holder {
            return yes("SlugTaken", slug_taken(holder));
        }
        if self.plan.wanted.why == Why::SessionEnded {
            return yes("SessionEnded", session_ended(session(&self.object.spec)));
        }
        if self.plan.wanted.why == Why::StandbyLimit {
            return yes(
                "StandbyLimit",
                "Standby lasted as long as limits.standbyMinutes allows; change spec.state, spec.schedule or spec.session to start again".into(),
            );
        }
        let credentials = self.credentials();
        if credentials.truth == Truth::False {
            return yes(credentials.reason, credentials.message);
        }
        if let Some(trouble) = self.observed.troubles.values().find(|trouble| trouble.terminal) {
            return yes(trouble.reason, trouble.message.clone());
        }
        if paused(self.object) {
            return yes(
                "Paused",
                "annotation tributestream.com/paused stops all provider changes but End, limits and deletion; remove it to go on".into(),
            );
        }
        Statement::new(kind, false, "Progressing", "")
    }

    fn ready(&self, said: &[Statement], stalled: &Statement) -> Statement {
        let kind = Kind::Ready;
        let wanted = self.plan.wanted.state;
        if stalled.truth == Truth::True {
            return Statement::new(kind, false, stalled.reason, stalled.message.clone());
        }
        if self.reached(wanted, said) {
            let pending = self.pending();
            let reason = match wanted {
                State::Idle => "Idle",
                State::Standby => "Standby",
                State::Live => "Live",
                State::Ended => "Ended",
            };
            return Statement::new(kind, true, reason, pending);
        }
        let message = worst(said).unwrap_or_else(|| format!("{wanted:?} is being brought about"));
        Statement::new(kind, false, "Progressing", message)
    }

    /// Changes that wait until the broadcast is over.
    fn pending(&self) -> String {
        if !broadcast_under_way(self.status) {
            return String::new();
        }
        let mut waiting = Vec::new();
        let settings = super::pod::settings_fingerprint(&self.object.spec);
        if self.observed.pods.iter().any(|pod| !pod.deleting && !pod.finished && pod.settings != settings) {
            waiting.push("spec.video, spec.compositor");
        }
        let asked = self.object.spec.egress.as_ref().and_then(|egress| egress.via).unwrap_or_default();
        if asked != self.via() {
            waiting.push("spec.egress");
        }
        if waiting.is_empty() {
            return String::new();
        }
        format!("changes of {} wait until the broadcast is over", waiting.join(" and "))
    }

    fn reached(&self, state: State, said: &[Statement]) -> bool {
        if self.observed.slug_holder.is_some() || self.plan.wanted.why == Why::Deletion {
            return false;
        }
        let holds = |kind: Kind| {
            said.iter().any(|statement| statement.kind == kind && statement.truth == Truth::True)
        };
        let nothing_runs = self.observed.pods.is_empty()
            && self.observed.rooms.known().is_some_and(|rooms| rooms.is_empty())
            && !broadcast_under_way(self.status)
            && self.status.ending_since.is_none();
        match state {
            State::Idle | State::Ended => nothing_runs && holds(Kind::MuxStreamReady),
            State::Standby => {
                !broadcast_under_way(self.status)
                    && [Kind::MuxStreamReady, Kind::RoomReady, Kind::CompositorReady].into_iter().all(holds)
            }
            State::Live => holds(Kind::OnAir),
        }
    }

    fn sources(&self, before: &[SourceStatus], now: Timestamp) -> Vec<SourceStatus> {
        let Some(Ok(status)) = &self.observed.compositor else { return before.to_vec() };
        status
            .sources
            .iter()
            .map(|source| {
                let state = format!("{:?}", source.state);
                let known = before.iter().find(|known| known.name == source.name && known.state == state);
                let since = known.and_then(|known| known.since.clone()).or(Some(Time(now)));
                SourceStatus { name: source.name.clone(), state, since }
            })
            .collect()
    }
}

fn slug_taken(holder: &str) -> String {
    format!(
        "the slug belongs to MemorialStream {holder}, which is older; delete this one and choose another slug"
    )
}

fn session_ended(session: i64) -> String {
    format!("session {session} was Live and has ended; set spec.session to {} to go live again", session + 1)
}

/// A condition's reason must be one of ours: what the kubelet says stands in the message.
fn kubelet_reason(reason: &str) -> &'static str {
    match reason {
        "ErrImagePull" => "ErrImagePull",
        "ImagePullBackOff" => "ImagePullBackOff",
        "ErrImageNeverPull" => "ErrImageNeverPull",
        "InvalidImageName" => "InvalidImageName",
        "CrashLoopBackOff" => "CrashLoopBackOff",
        "CreateContainerConfigError" => "CreateContainerConfigError",
        "Unschedulable" => "Unschedulable",
        _ => "PodNotRunning",
    }
}
