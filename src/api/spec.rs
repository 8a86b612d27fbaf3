//! What people write. Bounds and rules stand here and nowhere else: the API server checks them at admission.

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A memorial service that is taken live: a Mux live stream, a LiveKit room for the cameras, a compositor that
/// mixes them into one Program, and the sender that carries it to Mux.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "tributestream.com",
    version = "v1alpha1",
    kind = "MemorialStream",
    plural = "memorialstreams",
    shortname = "mstream",
    namespaced,
    status = "super::MemorialStreamStatus",
    derive = "PartialEq",
    doc = "A memorial service that is taken live.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state",
        description = "The state that was fully reached last"),
    printcolumn(name = "On-Air", type_ = "string", json_path = ".status.conditions[?(@.type==\"OnAir\")].status",
        description = "Whether mourners see the Program now"),
    printcolumn(name = "Program", type_ = "string", json_path = ".status.program.summary",
        description = "What is really on Program"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the wanted state is reached"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Egress", type_ = "string", priority = 1,
        json_path = ".status.conditions[?(@.type==\"EgressActive\")].reason",
        description = "How the sender to Mux stands"),
    printcolumn(name = "Playback", type_ = "string", priority = 1, json_path = ".status.playbackUrl",
        description = "Where mourners watch"),
    printcolumn(name = "Room", type_ = "string", priority = 1, json_path = ".status.room.name",
        description = "The LiveKit room"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.message",
        description = "The one thing that is wrong"),
    validation = Rule::new(
        "(has(self.spec.slug) ? self.spec.slug : self.metadata.name).matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')"
    ).message(
        "the slug (spec.slug, or metadata.name when it is absent) must be a DNS label: at most 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
    ),
    validation = Rule::new("size(self.metadata.name) <= 200").message(
        "metadata.name must have at most 200 characters: the names of its Secrets and Events are longer"
    ),
    validation = Rule::new(
        "(has(self.spec.slug) ? self.spec.slug : self.metadata.name) == (has(oldSelf.spec.slug) ? oldSelf.spec.slug : oldSelf.metadata.name)"
    ).message("the slug never changes: families already hold its address; make a new MemorialStream instead"),
    validation = Rule::new(
        "!has(self.spec.session) || !has(self.status) || !has(self.status.said) || !has(self.status.said.session) || self.spec.session >= self.status.said.session || (has(oldSelf.spec.session) && oldSelf.spec.session == self.spec.session)"
    ).message("session only grows: an earlier broadcast cannot come back"),
    validation = Rule::new(
        "!has(self.status) || !has(self.status.program) || !has(self.status.program.sources) || !has(oldSelf.spec.cameras) || self.status.program.sources.all(s, !oldSelf.spec.cameras.exists(c, c.name == s) || (has(self.spec.cameras) && self.spec.cameras.exists(c, c.name == s)))"
    ).message("spec.cameras lacks a camera that Program shows now: TAKE another camera first"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!has(self.program) || !has(self.program.sources) || self.program.sources.all(s, has(self.cameras) && self.cameras.exists(c, c.name == s))"
    ).message("program.sources names a camera that spec.cameras does not declare: declare it; to remove a camera that is on Program, TAKE another camera first"),
    validation = Rule::new(
        "!has(self.program) || !has(self.program.fallback) || self.program.fallback.all(s, has(self.cameras) && self.cameras.exists(c, c.name == s))"
    ).message("program.fallback names a camera that spec.cameras does not declare: declare it, or take it out of the fallback first"),
    validation = Rule::new(
        "!has(self.session) || self.session >= (has(oldSelf.session) ? oldSelf.session : 1)"
    ).message("session only grows: an earlier broadcast cannot come back"),
    validation = Rule::new(
        "(has(self.mux) && has(self.mux.test) ? self.mux.test : false) == (has(oldSelf.mux) && has(oldSelf.mux.test) ? oldSelf.mux.test : false)"
    ).message("mux.test never changes: Mux fixes it when the live stream is created; make a new MemorialStream instead"),
    validation = Rule::new(
        "(has(self.mux) && has(self.mux.playbackPolicy) ? self.mux.playbackPolicy : 'Public') == (has(oldSelf.mux) && has(oldSelf.mux.playbackPolicy) ? oldSelf.mux.playbackPolicy : 'Public')"
    ).message("mux.playbackPolicy never changes: the addresses that families hold depend on it; make a new MemorialStream instead"),
)]
pub struct MemorialStreamSpec {
    /// The address under which families find the service; a DNS label, unique in the cluster, unchangeable.
    /// Absent: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub slug: Option<String>,

    /// When the state changes by itself. `state` beats it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,

    /// The wanted state, set by people. Never said: the schedule decides, else Idle. One that vanishes after it was said
    /// is held, for a GitOps tool takes away what Git does not have; `Scheduled` gives the word back to the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,

    /// The n-th broadcast of this memorial; absent is 1. One that was Live and was ended cannot go live again; a
    /// higher one can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MOST_SESSIONS))]
    pub session: Option<i64>,

    /// What a forgotten service may cost at most. Always apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// The Secret in this namespace with LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET, MUX_TOKEN_ID,
    /// MUX_TOKEN_SECRET and, optionally, MUX_BASE_URL, MUX_RTMP_URL and MUX_PLAYBACK_BASE_URL. Absent: the
    /// operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,

    /// The declared cameras. Nobody else in the room is ever shown or heard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub cameras: Vec<Camera>,

    /// What Program shows; a change of it is a TAKE. Absent: the slate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,

    /// What mourners read when no camera is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slate: Option<Slate>,

    /// Sound of Program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<Audio>,

    /// Size, rate and bitrate of Program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<Video>,

    /// The Mux live stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mux: Option<MuxSettings>,

    /// How Program reaches Mux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressSettings>,

    /// Where the compositor pod runs and what it may use. Its image belongs to the operator's installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compositor: Option<CompositorSettings>,

    /// What becomes of paid things when this object is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// The state of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = leave_description_to_field)]
pub enum State {
    /// The Mux live stream exists, disabled; nothing runs.
    Idle,
    /// Room and compositor run, the Mux live stream is enabled: a rehearsal that nobody outside sees.
    Standby,
    /// On air.
    Live,
    /// Over: recording completed, everything that runs is gone.
    Ended,
    /// Gives the word back to the schedule; without one it is Idle. Never reached itself.
    Scheduled,
}

impl State {
    /// As it stands in the spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Standby => "Standby",
            Self::Live => "Live",
            Self::Ended => "Ended",
            Self::Scheduled => "Scheduled",
        }
    }
}

/// The times that every reader understands. By `format: date-time` alone the API server admits `9999-12-31T23:59:59Z`,
/// offsets of 99 hours and text after the end, which are no times to us.
/// Source: k8s.io/kube-openapi, pkg/validation/strfmt, `IsDateTime`.
const TIME: &str = r"^2\d{3}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-](0\d|1[0-4]):[0-5]\d)$";

/// When the state changes by itself.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.standbyAt) || !has(self.liveAt) || self.standbyAt <= self.liveAt")
        .message("schedule.standbyAt must not be after schedule.liveAt"),
    validation = Rule::new("!has(self.liveAt) || !has(self.endAt) || self.liveAt < self.endAt")
        .message("schedule.endAt must be after schedule.liveAt"),
    validation = Rule::new("!has(self.standbyAt) || !has(self.endAt) || self.standbyAt < self.endAt")
        .message("schedule.endAt must be after schedule.standbyAt"),
)]
pub struct Schedule {
    /// From here on Standby.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = TIME, "maxLength" = 35))]
    pub standby_at: Option<Time>,
    /// From here on Live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = TIME, "maxLength" = 35))]
    pub live_at: Option<Time>,
    /// From here on Ended, also where a person asked for Live: whoever needs longer moves it. It waits while a declared
    /// camera still sends, up to `overrunMinutes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = TIME, "maxLength" = 35))]
    pub end_at: Option<Time>,
    /// Minutes for which `endAt` waits at most while a declared camera still sends; absent is 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 240))]
    pub overrun_minutes: Option<i64>,
}

/// What a forgotten service may cost at most.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Minutes of Standby after which the service falls back to Idle; absent is 720.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = MOST_STANDBY_MINUTES))]
    pub standby_minutes: Option<i64>,
    /// Minutes of Live after which the service ends; absent is 360. Mux itself stops at 720.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 720))]
    pub live_minutes: Option<i64>,
}

/// The highest session that there can be.
pub const MOST_SESSIONS: i64 = 1_000_000;
/// The longest limit of Standby that can be set.
pub const MOST_STANDBY_MINUTES: i64 = 1440;

/// What names most things in Kubernetes: a DNS subdomain. Source: RFC 1123, 2.1.
const SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A Secret in the same namespace.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecretReference {
    /// Its name: a DNS subdomain, as of any Secret.
    #[schemars(length(min = 1, max = 253), extend("pattern" = SUBDOMAIN))]
    pub name: String,
}

/// A declared camera. Its device joins the room as identity `camera-<name>`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Camera {
    /// Unique; a DNS label.
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')")
        .message("a camera's name must be a DNS label: at most 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"))]
    pub name: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub display_name: Option<String>,
}

/// What Program shows.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.layout) && self.layout != 'Single') || !has(self.sources) || size(self.sources) <= 1")
        .message("program.sources has more cameras than the layout shows: Single shows 1"),
    validation = Rule::new("!has(self.sources) || self.sources.all(s, self.sources.exists_one(t, t == s))")
        .message("program.sources names a camera twice"),
    validation = Rule::new("!has(self.fallback) || self.fallback.all(s, self.fallback.exists_one(t, t == s))")
        .message("program.fallback names a camera twice"),
)]
pub struct Program {
    /// How the sources are arranged; absent is Single.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Declared cameras, in the layout's order. Empty or absent: the slate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 9), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub sources: Option<Vec<String>>,
    /// Declared cameras, tried in order when a source is dead, before the slate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 9), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub fallback: Option<Vec<String>>,
}

/// How sources are arranged on Program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = leave_description_to_field)]
pub enum Layout {
    /// One source fills the picture.
    #[default]
    Single,
}

/// What mourners read when no camera is shown.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slate {
    /// Until a camera was shown in this session; absent is "The service will begin shortly".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub before: Option<String>,
    /// After a camera was shown; absent is "One moment please".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub interrupted: Option<String>,
    /// At the end; absent is "Thank you for being with us".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub ended: Option<String>,
}

/// Sound of Program.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audio {
    /// Absent is true: the sound of the camera that is shown. False: silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Size, rate and bitrate of Program.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Video {
    /// Pixels, even; absent is 1280.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 320, max = 1920), extend("multipleOf" = 2))]
    pub width: Option<i64>,
    /// Pixels, even; absent is 720.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 180, max = 1080), extend("multipleOf" = 2))]
    pub height: Option<i64>,
    /// Absent is 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 15, max = 60))]
    pub frames_per_second: Option<i64>,
    /// Kilobits per second; absent is 3000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 300, max = 8000))]
    pub bitrate_kbps: Option<i64>,
    /// How long a source that stopped sending is held before its fallback or the slate replaces it; absent is
    /// 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 5000))]
    pub stall_hold_milliseconds: Option<i64>,
}

/// The Mux live stream.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MuxSettings {
    /// Who may watch; absent is Public. Never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playback_policy: Option<PlaybackPolicy>,
    /// Absent is Standard. Mux takes a change only while the stream is idle, so while Live it is held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_mode: Option<LatencyMode>,
    /// How long Mux waits for a sender that was cut off before it ends the broadcast, in seconds; absent is 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1800))]
    pub reconnect_window_seconds: Option<i64>,
    /// A free, watermarked stream that Mux disables after 5 minutes; absent is false. Never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<bool>,
}

/// Who may watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = leave_description_to_field)]
pub enum PlaybackPolicy {
    /// Whoever knows the address.
    #[default]
    Public,
}

/// How far viewers are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = leave_description_to_field)]
pub enum LatencyMode {
    /// The most robust; 25 to 30 seconds.
    #[default]
    Standard,
    /// 12 to 20 seconds.
    Reduced,
    /// About 5 seconds.
    Low,
}

/// How Program reaches Mux.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressSettings {
    /// Absent is LiveKit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// Settings of `via: LiveKit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub livekit: Option<LiveKitEgressSettings>,
}

/// Who sends Program to Mux.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = leave_description_to_field)]
pub enum Via {
    /// LiveKit's egress service: its RTMP session outlives a restart of the compositor.
    #[default]
    LiveKit,
    /// The compositor pod itself, over RTMP: no egress service is needed.
    Compositor,
}

/// Settings of `via: LiveKit`.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveKitEgressSettings {
    /// Absent is Media.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<EgressStrategy>,
}

/// Which kind of egress is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = leave_description_to_field)]
pub enum EgressStrategy {
    /// Media of the identity `program`, through StartEgress: needs livekit-server 1.13 and egress 1.14.
    #[default]
    Media,
}

/// Where the compositor pod runs and what it may use.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompositorSettings {
    /// Requests and limits of the pod's container. Absent: 1 CPU and 512Mi requested, 1Gi at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources")]
    pub resources: Option<ResourceRequirements>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "node_labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), transform = bound_tolerations)]
    pub tolerations: Vec<Toleration>,
}

/// The letters of Kubernetes' names. None of them grows when it is written as JSON.
const NAME: &str = "^[-./0-9A-Z_a-z]*$";
/// The longest key of a label, a taint or a resource: 253 of its domain, the slash, 63 of its name.
const LONGEST_KEY: u32 = 317;
/// The longest value of a label or a taint.
const LONGEST_VALUE: u32 = 63;

/// `ResourceRequirements` without `claims`: the pod has no resource claims that they could name.
fn resources(_: &mut SchemaGenerator) -> Schema {
    let quantity = json_schema!({"x-kubernetes-int-or-string": true, "maxLength": 32});
    let quantities = |description: &str| {
        let mut map = map(8, &quantity);
        map.insert("description".into(), description.into());
        map
    };
    json_schema!({
        "type": "object",
        "properties": {
            "limits": quantities("What the container gets at most, by resource."),
            "requests": quantities("What is kept free for the container, by resource."),
        },
    })
}

fn node_labels(_: &mut SchemaGenerator) -> Schema {
    map(16, &json_schema!({"type": "string", "maxLength": LONGEST_VALUE, "pattern": NAME}))
}

/// A map with Kubernetes' names as keys. A schema can bound keys by a rule alone.
fn map(most: u32, values: &Schema) -> Schema {
    let letters = NAME.trim_end_matches("*$");
    json_schema!({
        "type": "object",
        "maxProperties": most,
        "additionalProperties": values,
        "x-kubernetes-validations": [{
            "rule": format!("self.all(key, key.matches('{letters}{{1,{LONGEST_KEY}}}$'))"),
            "message": format!(
                "each key must be a name as Kubernetes knows it: at most {LONGEST_KEY} letters, digits, hyphens, underscores, dots and slashes"
            ),
        }],
    })
}

fn bound_tolerations(schema: &mut Schema) {
    let fields = schema.pointer_mut("/items/properties").and_then(serde_json::Value::as_object_mut);
    for (name, field) in fields.into_iter().flatten().filter(|(_, field)| field["type"] == "string") {
        field["maxLength"] = if name == "key" { LONGEST_KEY } else { LONGEST_VALUE }.into();
        field["pattern"] = NAME.into();
    }
}

/// What becomes of paid things when the object is deleted.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletionPolicy {
    /// The Mux live stream; absent is Delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamDeletion>,
}

/// What becomes of the Mux live stream when the object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = leave_description_to_field)]
pub enum StreamDeletion {
    /// It is deleted. Recordings stay.
    #[default]
    Delete,
    /// It stays, disabled.
    Retain,
}

/// Drops an enum's own description, which would otherwise replace that of the field it stands in.
fn leave_description_to_field(schema: &mut schemars::Schema) {
    schema.remove("description");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quantity_may_be_a_number() {
        let settings: CompositorSettings = serde_json::from_value(json!({
            "resources": {"limits": {"cpu": 2, "memory": "1Gi"}, "requests": {"cpu": -9_223_372_036_854_775_808_i64}},
        }))
        .unwrap();
        let resources = settings.resources.unwrap();
        assert_eq!(resources.limits.unwrap()["cpu"].0, "2");
        assert_eq!(resources.requests.unwrap()["cpu"].0, "-9223372036854775808");
        assert_eq!(serde_json::from_value::<CompositorSettings>(json!({})).unwrap().resources, None);
    }

    #[test]
    fn the_extremes_of_the_times_that_are_admitted_can_be_read() {
        let read = |time: &str| serde_json::from_value::<Schedule>(json!({"liveAt": time})).is_ok();
        for time in [
            "2000-01-01T00:00:00Z",
            "2000-01-01T00:00:00.1+14:59",
            "2024-02-29T23:59:59.999999999-14:59",
            "2999-12-31T23:59:59.999999999-14:59",
            "2999-12-31T23:59:59-00:00",
        ] {
            assert!(read(time), "{time}");
        }
        // What the pattern keeps out, and would break.
        for time in ["9999-12-31T23:59:59Z", "2026-01-01T00:00:00+99:00", "2026-01-01T00:00:00Zt"] {
            assert!(!read(time), "{time}");
        }
    }
}
