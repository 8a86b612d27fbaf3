//! What the operator answers. Never a stream key or a token.

use super::conditions::ConditionType;
use super::spec::{Program, State};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is really happening. The life-cycle lane owns all of it but `program` and the condition `ProgramApplied`,
/// which belong to the fast lane.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemorialStreamStatus {
    /// The state that was fully reached last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The broadcast that `state` belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<i64>,
    /// The newest broadcast for which a sender was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_session: Option<i64>,
    /// The newest broadcast that was Live and was ended: it and all before it cannot go live again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_session: Option<i64>,
    /// The generation that was acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What people said last of state and session: it goes on when the fields vanish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
    /// What is held although it vanished from the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The Secret in the operator's own namespace with a copy of the credentials that worked last: what was made with
    /// them is ended with them, although the Secret that they came from is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_copy: Option<String>,
    /// How things stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The Mux live stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mux: Option<MuxStatus>,
    /// The LiveKit room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomStatus>,
    /// The compositor pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compositor: Option<CompositorStatus>,
    /// What is really on Program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Box<ProgramStatus>>,
    /// The sender to Mux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Box<EgressStatus>>,
    /// Since when Standby lasts; the standby limit counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby_since: Option<Time>,
    /// The standby limit struck: Idle is held until state, schedule or session changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby_limit: Option<StruckLimit>,
    /// Since when Live is wanted; the live limit counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_since: Option<Time>,
    /// When the present or last broadcast's sender was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Since when the end is under way: the slate says goodbye, then the sender stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending_since: Option<Time>,
    /// When the last broadcast's sender had stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Where mourners watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playback_url: Option<String>,
    /// The one thing that is wrong, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What people said last.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// The state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<i64>,
}

/// What goes on although it vanished from the spec: absence is not a command.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The state that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The session that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<i64>,
    /// The cameras that stay on Program; empty is the slate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
    /// Since when.
    pub since: Time,
}

/// The part of status that the fast lane writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedByProgram {
    /// What is really on Program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Box<ProgramStatus>>,
    /// `ProgramApplied`.
    pub conditions: Vec<Condition>,
}

/// The part of status that the life-cycle lane writes: all but what the fast lane does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct OwnedByLifecycle(MemorialStreamStatus);

impl From<MemorialStreamStatus> for OwnedByLifecycle {
    fn from(mut status: MemorialStreamStatus) -> Self {
        status.program = None;
        status.conditions.retain(|condition| condition.type_ != ConditionType::ProgramApplied.as_str());
        Self(status)
    }
}

/// The Mux live stream.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MuxStatus {
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// The Mux environment that it was created in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment_id: Option<String>,
    /// The one before, which somebody else deleted: a list that lags may still show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_stream_id: Option<String>,
    /// Its playback ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub playback_ids: Vec<String>,
    /// The recording that is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_asset_id: Option<String>,
    /// A create was sent, or was about to be, and its answer is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creating: Option<CreateIntent>,
}

/// A create that is not idempotent was about to be sent. It is written before the call, so that a crash between
/// the call and its answer is followed by a search and not by a second create.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateIntent {
    /// When it was about to be sent.
    pub since: Time,
    /// The first search by marker, after the grace time, that found nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_since: Option<Time>,
}

/// The LiveKit room.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomStatus {
    /// Its name, while it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// LiveKit's id of this incarnation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The LiveKit server that it is open on, or was and may come back to. A Secret that names another one is not used
    /// meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Part of the name; rises after each DeleteRoom of ours.
    pub epoch: i64,
    /// When the last room was deleted. A device that still holds a token can bring it back by joining again, so it
    /// is looked for a while longer, and deleted again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Time>,
    /// LiveKit's id of the room that was deleted last: a list that lags shows it for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_sid: Option<String>,
    /// How often in a row a room had to be deleted again: each time makes the wait before the next one longer.
    #[serde(default)]
    pub deletions: i64,
}

/// The compositor pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompositorStatus {
    /// Its name, while one is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// How many pods there have been, the one that is about to be made included.
    pub incarnation: i64,
    /// That pod was made for certain: its name is never used again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub made: bool,
    /// Restarts of the present pod's container.
    pub restarts: i64,
    /// The declared cameras as the compositor sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub sources: Vec<SourceStatus>,
}

/// A declared camera as the compositor sees it.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Absent, Live or Stalled.
    pub state: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// What is really on Program.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramStatus {
    /// The generation whose Program is on the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Cameras that are composited now; empty is the slate.
    #[serde(default)]
    #[schemars(length(max = 9), inner(length(max = 63)))]
    pub sources: Vec<String>,
    /// For people: the cameras, or the slate's text.
    pub summary: String,
    /// When the newest generation's first frame reached the encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<Time>,
    /// From the compositor's receipt of that change to its first frame at the encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_milliseconds: Option<i64>,
    /// What people said last of the Program: it goes on when the field vanishes, until a new session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Program>,
    /// The session that it was said in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_in_session: Option<i64>,
    /// The newest broadcast in which a camera was shown: from then on the slate says `interrupted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera_shown_in_session: Option<i64>,
}

/// The sender to Mux.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressStatus {
    /// LiveKit's egress id; absent when the compositor sends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Who sends: `LiveKit` or `Compositor`. Fixed while Live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<super::spec::Via>,
    /// LiveKit's egress status, or the compositor's sender state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The session that this broadcast belongs to, or went over to while Live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<i64>,
    /// How many senders were started in this broadcast.
    #[serde(default)]
    pub attempt: i64,
    /// When the present one was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Since when `OnAir` was False, and not True since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dark_since: Option<Time>,
    /// Why the last one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// A fingerprint of where LiveKit was told to send: by it an egress of ours is known after the stream key changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// A start was sent, or was about to be, and its answer is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting: Option<CreateIntent>,
    /// Since when the present one is being stopped, or ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping_since: Option<Time>,
    /// Egresses that were given up: never adopted, and stopped whenever LiveKit answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
    /// When the last sender was given up that did not stop. Mux refuses all ingest until it has surely given up too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up_at: Option<Time>,
    /// How often the compositor was told to send or to stop, so that a late request never beats a newer one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: i64,
}

// `skip_serializing_if` wants references.
fn is_zero(number: &i64) -> bool {
    *number == 0
}

// `skip_serializing_if` wants references.
fn is_false(said: &bool) -> bool {
    !said
}

/// A limit that struck.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StruckLimit {
    /// When it struck.
    pub at: Time,
    /// State, schedule and session as they were; it holds until they change.
    pub request: String,
}

/// Whether `next` says what `before`, which was read from the API server, says already. Conditions of two managers come
/// back in an order that neither chose.
pub fn says_the_same(before: &MemorialStreamStatus, next: &MemorialStreamStatus) -> bool {
    let sorted = |status: &MemorialStreamStatus| {
        let mut sorted = status.clone();
        sorted.conditions.sort_by(|one, other| one.type_.cmp(&other.type_));
        sorted
    };
    before == next || same_as_written(&sorted(before), &sorted(next))
}

/// Whether two parts of a status are the same once they are written: times lose their fractions on the way. What is equal
/// already need not be written out for that: it is so in almost every pass, and writing costs more than all the rest.
pub fn same_as_written<T: Serialize + PartialEq>(one: &T, other: &T) -> bool {
    if one == other {
        return true;
    }
    match (serde_json::to_vec(one), serde_json::to_vec(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    #[test]
    fn neither_the_order_of_conditions_nor_fractions_of_a_second_are_news() {
        let condition = |kind: &str, milliseconds| Condition {
            type_: kind.into(),
            status: "True".into(),
            reason: String::new(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::from_millisecond(milliseconds).unwrap()),
        };
        let status = |conditions: Vec<Condition>| MemorialStreamStatus {
            conditions,
            ..MemorialStreamStatus::default()
        };
        let before = status(vec![condition("ProgramApplied", 5_000), condition("Ready", 7_000)]);
        assert!(says_the_same(
            &before,
            &status(vec![condition("Ready", 7_900), condition("ProgramApplied", 5_100)])
        ));
        assert!(!says_the_same(
            &before,
            &status(vec![condition("Ready", 8_000), condition("ProgramApplied", 5_100)])
        ));
        assert!(!says_the_same(&before, &status(vec![condition("Ready", 7_000)])));
    }
}
