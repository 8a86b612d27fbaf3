//! The conditions of a MemorialStream, named for the person who reads them.

use super::reason::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// A condition's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// The wanted state is reached. Ignores what is not wanted.
    Ready,
    /// Whether this service could go live: credentials, Mux, cameras.
    ReadyToGoLive,
    /// What mourners see: Mux is active, the sender is connected and Program's frames advance.
    OnAir,
    /// Mux and LiveKit accept the credentials.
    CredentialsValid,
    /// The Mux live stream exists and is in the state that is needed.
    MuxStreamReady,
    /// The LiveKit room exists.
    RoomReady,
    /// The compositor runs and publishes Program.
    CompositorReady,
    /// The sender to Mux is connected.
    EgressActive,
    /// Program shows what the spec asks for. Owned by the fast lane.
    ProgramApplied,
    /// A limit strikes within 15 minutes.
    EndingSoon,
    /// The operator is still changing something (kstatus).
    Reconciling,
    /// Nothing moves until a person acts (kstatus).
    Stalled,
}

impl ConditionType {
    /// As it stands in `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::ReadyToGoLive => "ReadyToGoLive",
            Self::OnAir => "OnAir",
            Self::CredentialsValid => "CredentialsValid",
            Self::MuxStreamReady => "MuxStreamReady",
            Self::RoomReady => "RoomReady",
            Self::CompositorReady => "CompositorReady",
            Self::EgressActive => "EgressActive",
            Self::ProgramApplied => "ProgramApplied",
            Self::EndingSoon => "EndingSoon",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can say, for instance because a provider does not answer.
    Unknown,
}

impl Truth {
    /// As it stands in `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What a condition says, before it is known whether that is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Which condition.
    pub kind: ConditionType,
    /// Whether it holds.
    pub truth: Truth,
    /// One word in CamelCase for programs.
    pub reason: Reason,
    /// A sentence for people, without times and request ids, so that it is stable between passes.
    pub message: String,
}

impl Statement {
    /// A statement.
    pub fn new(
        kind: ConditionType,
        truth: impl Into<Truth>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, truth: truth.into(), reason, message: message.into() }
    }

    /// The thing is not wanted in the present state.
    pub fn not_requested(kind: ConditionType) -> Self {
        Self::new(kind, Truth::False, Reason::NotRequested, "")
    }

    /// The condition as it is written: `lastTransitionTime` moves only when the status flips.
    pub fn into_condition(self, before: &[Condition], generation: Option<i64>, now: Timestamp) -> Condition {
        let type_ = self.kind.as_str();
        let status = self.truth.as_str();
        let last_transition_time = before
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == status)
            .map_or(Time(now), |condition| condition.last_transition_time.clone());
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason: self.reason.as_str().into(),
            message: self.message,
            observed_generation: generation,
            last_transition_time,
        }
    }
}

/// The condition of that type, if it stands there.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// Whether the condition of that type stands there and is `True`.
pub fn is_true(conditions: &[Condition], kind: ConditionType) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == Truth::True.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_when_the_status_flips() {
        let (first, second, third) =
            (Timestamp::UNIX_EPOCH, Timestamp::from_second(10).unwrap(), Timestamp::from_second(20).unwrap());
        let say = |truth: bool, reason, before: &[Condition], now| {
            Statement::new(ConditionType::OnAir, truth, reason, "").into_condition(before, Some(1), now)
        };
        let off = say(false, Reason::Starting, &[], first);
        let still_off = say(false, Reason::Reconnecting, &[off], second);
        assert_eq!(still_off.last_transition_time.0, first);
        assert_eq!(still_off.reason, "Reconnecting");
        let on = say(true, Reason::OnAir, &[still_off], third);
        assert_eq!(on.last_transition_time.0, third);
    }
}
