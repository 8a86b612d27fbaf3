//! What status says: conditions, the state that is reached, and the one sentence about what is wrong. Pure.

mod broadcast;
mod parts;
#[cfg(test)]
mod tests;
mod verdict;

use super::backoff::{Backoff, Effect, Part};
use super::observed::Observed;
use super::plan::Plan;
use crate::api::conditions::{ConditionType as Kind, Statement, Truth, find};
use crate::api::spec::State;
use crate::api::status::SourceStatus;
use crate::api::{MemorialStream, MemorialStreamStatus, Reason};
use crate::providers::ProviderError;
use crate::service::desired::{Why, broadcast_under_way, ending_soon, how_to_go_on, session};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use memorialstream_compositor_protocol::{CompositorStatus, Source};

/// Status after a plan was made and before its actions.
pub fn describe(
    object: &MemorialStream,
    observed: &Observed,
    plan: &Plan,
    now: Timestamp,
) -> MemorialStreamStatus {
    let mut status = plan.status.clone();
    let view = View { object, observed, plan, status: &plan.status, now };
    let statements = view.statements(now);
    let generation = object.metadata.generation;
    status.observed_generation = generation;
    if view.reached(plan.desired.state, &statements) {
        status.state = Some(plan.desired.state);
        status.session = Some(session(&object.spec));
    }
    if let Some(compositor) = status.compositor.as_mut() {
        compositor.sources = view.sources(&compositor.sources, now);
    }
    if let Some(egress) = status.egress.as_mut() {
        let on_air = statements.iter().find(|one| one.kind == Kind::OnAir).map(|one| one.truth);
        egress.dark_since = match on_air.filter(|_| broadcast_under_way(&plan.status)) {
            Some(Truth::False) => Some(egress.dark_since.clone().unwrap_or(Time(now))),
            // Nobody can say: it is as dark as it was.
            Some(Truth::Unknown) => egress.dark_since.clone(),
            Some(Truth::True) | None => None,
        };
    }
    status.message = worst(&statements).or_else(|| what_holds_it_back(&statements));
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

/// Nothing is wrong, and still somebody may wonder: the service ended by a limit, is paused, or ends soon.
fn what_holds_it_back(statements: &[Statement]) -> Option<String> {
    let told = |kind: Kind| {
        statements.iter().find(|statement| statement.kind == kind && statement.truth == Truth::True)
    };
    [Kind::EndingSoon, Kind::Ready]
        .into_iter()
        .filter_map(told)
        .map(|statement| statement.message.clone())
        .find(|message| !message.is_empty())
}

struct View<'a> {
    object: &'a MemorialStream,
    observed: &'a Observed,
    plan: &'a Plan,
    status: &'a MemorialStreamStatus,
    now: Timestamp,
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
        let soon = match ending_soon(&self.plan.desired, now) {
            Some(limit) => {
                let reason = match limit.why {
                    Why::EndAt | Why::Overrun => Reason::EndAt,
                    Why::StandbyLimit => Reason::StandbyLimit,
                    _ => Reason::LiveLimit,
                };
                Statement::new(Kind::EndingSoon, true, reason, how_to_go_on(limit))
            }
            None => Statement::not_requested(Kind::EndingSoon),
        };
        said.extend([ready, soon, reconciling, stalled]);
        said
    }

    fn runs(&self) -> bool {
        matches!(self.plan.desired.state, State::Live | State::Standby)
    }

    /// What failed last of a part: making it, else ending it.
    fn backoff(&self, kind: Kind, part: Part) -> Option<Statement> {
        let backoffs = &self.observed.backoffs;
        backoffs
            .get(&Effect::making(part))
            .or_else(|| backoffs.get(&Effect::ending(part)))
            .map(|Backoff { reason, message, .. }| Statement::new(kind, false, *reason, message.clone()))
    }

    fn unanswered(kind: Kind, error: &ProviderError) -> Statement {
        Statement::new(kind, Truth::Unknown, Reason::ProviderNotAnswering, error.message.clone())
    }

    /// The declared cameras as the pod sees them. What it says of others, and what it says twice, counts for nothing: status
    /// holds each camera once.
    fn cameras<'b>(&'b self, said: &'b CompositorStatus) -> impl Iterator<Item = &'b Source> {
        let declared = self.object.spec.cameras.iter();
        declared.filter_map(|camera| said.sources.iter().find(|source| source.name == camera.name))
    }

    fn sources(&self, before: &[SourceStatus], now: Timestamp) -> Vec<SourceStatus> {
        let Some(Ok(status)) = &self.observed.compositor else { return before.to_vec() };
        self.cameras(status)
            .map(|source| {
                let state = source.state.as_str().to_owned();
                let known = before.iter().find(|known| known.name == source.name && known.state == state);
                let since = known.and_then(|known| known.since.clone()).or(Some(Time(now)));
                SourceStatus { name: source.name.clone(), state, since }
            })
            .collect()
    }
}
