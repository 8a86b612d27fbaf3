//! What the operator and the compositor pod say to each other.
//!
//! The operator sends the **whole** [`ControlDocument`] each time; the pod answers once the first frame that
//! shows it has reached the encoder. Documents are ordered by ([`generation`](ControlDocument::generation),
//! [`revision`](ControlDocument::revision)); an older one is refused.
//!
//! | call | body | answer |
//! | --- | --- | --- |
//! | `PUT /v1/program` | [`ControlDocument`] | [`ProgramApplied`], or [`Refusal`] with 409 or 422 |
//! | `PUT /v1/sender` | [`SenderRequest`] | [`SenderStatus`] |
//! | `GET /v1/status` | – | [`CompositorStatus`] |
//! | `GET /healthz`, `/readyz`, `/metrics` | – | text, no token needed |
//!
//! Each call under `/v1` needs `Authorization: Bearer …`; without it the answer is 401.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The port on which the pod answers `/v1`, `/healthz` and `/readyz`.
pub const CONTROL_PORT: u16 = 8080;
/// The port on which the pod answers `/metrics`, apart from control so that a NetworkPolicy can tell them apart.
pub const METRICS_PORT: u16 = 9090;
/// The folder in which the pod finds [`BOOT_FILE`] and [`BEARER_TOKEN_FILE`], mounted from its Secret.
pub const BOOT_FOLDER: &str = "/etc/memorialstream";
/// A [`BootDocument`] as JSON.
pub const BOOT_FILE: &str = "boot.json";
/// The bearer token that guards `/v1`, one line of text.
pub const BEARER_TOKEN_FILE: &str = "bearer-token";

/// Text that must not be printed: a LiveKit token or a stream key. It serializes as itself.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Whoever calls this keeps it out of logs, Events, status and argument lists.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

/// What a compositor needs before the operator first speaks to it: it survives a restart with no operator alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BootDocument {
    /// Size, rate and bitrate of Program. Fixed for the life of the pod.
    pub video: Video,
    /// What to composite from the start.
    pub control: ControlDocument,
}

/// Size, rate and bitrate of Program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Video {
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Frames per second.
    pub frames_per_second: u32,
    /// Bitrate of the encoded Program, kilobits per second.
    pub bitrate_kbps: u32,
    /// How long a source that stopped sending is held on air before its fallback, or the slate, replaces it.
    pub stall_hold_milliseconds: u32,
}

/// Everything that the compositor composites, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlDocument {
    /// `metadata.generation` of the MemorialStream that this comes from.
    pub generation: u64,
    /// Rises within a generation, for instance when only tokens were renewed.
    pub revision: u64,
    /// The n-th broadcast of this memorial; a new one starts with [`SlateText::Before`] again.
    pub session: u64,
    /// The room in which cameras are found and Program is published.
    pub room: Room,
    /// Every declared camera. Nobody else in the room is ever shown or heard.
    pub cameras: Vec<Camera>,
    /// What is on Program.
    pub program: Program,
    /// What is shown when no camera is.
    pub slate: Slate,
    /// Sound.
    pub audio: Audio,
}

/// A LiveKit room and the right to publish Program into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Room {
    /// LiveKit's WebSocket URL.
    pub url: String,
    /// The room's name.
    pub name: String,
    /// Joins as identity `program`: may publish, may not subscribe.
    pub program_token: Secret,
}

/// One declared camera.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Camera {
    /// Its name in the MemorialStream.
    pub name: String,
    /// The LiveKit identity under which its device publishes.
    pub identity: String,
    /// Joins hidden, subscribes only; used by the compositor to watch this one camera.
    pub token: Secret,
}

/// What is on Program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Program {
    /// How the sources are arranged.
    pub layout: Layout,
    /// Names of cameras, in the layout's order. Empty is the slate.
    pub sources: Vec<String>,
    /// Cameras tried in order when a source is dead, before the slate.
    pub fallback: Vec<String>,
}

/// How sources are arranged on Program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Layout {
    /// One source fills the picture.
    Single,
}

impl Layout {
    /// How many sources this layout shows.
    pub fn capacity(self) -> usize {
        match self {
            Self::Single => 1,
        }
    }
}

/// The slate's three texts, and which of them stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slate {
    /// Until a camera was shown in this session.
    pub before: String,
    /// After a camera was shown.
    pub interrupted: String,
    /// At the end, before the sender stops.
    pub ended: String,
    /// What the operator knows. The compositor itself moves from `Before` to `Interrupted` once it showed a
    /// camera in this [`session`](ControlDocument::session).
    pub text: SlateText,
}

/// Which text the slate shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SlateText {
    /// [`Slate::before`].
    Before,
    /// [`Slate::interrupted`].
    Interrupted,
    /// [`Slate::ended`].
    Ended,
}

/// Sound of Program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Audio {
    /// False: Program carries silence. True: the sound of the camera that is shown; the slate is silent.
    pub enabled: bool,
}

/// The first frame that shows a [`ControlDocument`] has reached the encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgramApplied {
    /// The document's generation.
    pub applied_generation: u64,
    /// The document's revision.
    pub applied_revision: u64,
    /// Presentation time of that frame on the compositor's clock, nanoseconds.
    pub frame_presentation_nanoseconds: u64,
    /// From the request's arrival to that frame at the encoder, milliseconds.
    pub take_milliseconds: u64,
    /// What that frame really shows.
    pub shown: Shown,
    /// Every declared camera.
    pub sources: Vec<Source>,
}

/// What Program really shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Cameras on Program, in the layout's order. Empty: the slate fills the picture.
    pub sources: Vec<String>,
    /// Which text the slate shows, where it shows.
    pub slate: Option<SlateText>,
}

/// One camera as the compositor sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Its name in the MemorialStream.
    pub name: String,
    /// Whether pictures arrive.
    pub state: SourceState,
    /// Age of its newest picture, milliseconds; absent until one came.
    pub input_age_milliseconds: Option<u64>,
    /// Whether sound arrives. A camera without it is as good as any other.
    pub has_audio: bool,
}

/// Whether a camera's pictures arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SourceState {
    /// The compositor waits for it to join.
    Absent,
    /// Pictures arrive.
    Live,
    /// It is in the room, and no picture came for longer than the stall hold.
    Stalled,
}

impl SourceState {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "Absent",
            Self::Live => "Live",
            Self::Stalled => "Stalled",
        }
    }
}

/// Why a document or a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Its class.
    pub reason: RefusalReason,
    /// What is wrong and what to do, for a person.
    pub message: String,
}

/// The classes of [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RefusalReason {
    /// A newer document was applied already (409).
    Outdated,
    /// A source or fallback is no declared camera (422).
    UnknownCamera,
    /// More sources than the layout shows (422).
    TooManySources,
    /// The body could not be read (400).
    Malformed,
    /// No frame came out in time (503).
    PipelineNotRunning,
}

/// What the pod sends to Mux by itself. The same request again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SenderRequest {
    /// Where to; absent: send nothing.
    pub rtmp: Option<RtmpDestination>,
}

/// An RTMP or RTMPS ingest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RtmpDestination {
    /// Without the key, for instance `rtmps://global-live.mux.com:443/app`.
    pub url: String,
    /// Mux's stream key.
    pub stream_key: Secret,
}

/// The pod's own sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SenderStatus {
    /// How far it is.
    pub state: SenderState,
    /// How often a connection was started since it was switched on.
    pub attempts: u64,
    /// The last thing that went wrong, with no key in it.
    pub error: Option<String>,
}

/// How far the pod's own sender is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SenderState {
    /// Not asked for.
    Off,
    /// Trying to connect, or waiting to try again.
    Connecting,
    /// The ingest takes frames.
    Connected,
}

impl SenderState {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "Off",
            Self::Connecting => "Connecting",
            Self::Connected => "Connected",
        }
    }
}

/// The pod as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompositorStatus {
    /// Generation of the document that is applied.
    pub generation: u64,
    /// Revision of the document that is applied.
    pub revision: u64,
    /// Frames of Program that reached the encoder since the pod started.
    pub frames: u64,
    /// Age of the newest of them, milliseconds; absent until there was one.
    pub frame_age_milliseconds: Option<u64>,
    /// Program's connection to the room.
    pub publisher: PublisherStatus,
    /// The pod's own sender.
    pub sender: SenderStatus,
    /// What Program shows.
    pub shown: Shown,
    /// Whether a camera was shown in this session.
    pub camera_was_shown: bool,
    /// Every declared camera.
    pub sources: Vec<Source>,
}

impl CompositorStatus {
    /// Frames older than this mean that Program stands still, milliseconds.
    pub const STANDSTILL_MILLISECONDS: u64 = 2_000;

    /// Whether Program's frames advance.
    pub fn program_advances(&self) -> bool {
        self.frame_age_milliseconds.is_some_and(|age| age < Self::STANDSTILL_MILLISECONDS)
    }
}

/// Program's connection to the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublisherStatus {
    /// Whether Program's tracks are published.
    pub connected: bool,
    /// The last thing that went wrong, with no token in it.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let destination = RtmpDestination { url: "rtmp://ingest/app".into(), stream_key: Secret::new("k-1") };
        let printed = format!("{destination:?} {destination:#?}");
        assert!(!printed.contains("k-1"), "{printed}");
        assert!(serde_json::to_string(&destination).unwrap().contains("k-1"));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = serde_json::from_str::<Audio>(r#"{"enabled":true,"gain":1}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `gain`"), "{error}");
    }
}
