//! What the operator sends.
//!
//! A pod ignores fields that it does not know and names them in its answer: while Live a pod is kept, though the
//! operator was upgraded. Version 0 alone refused them, so [`for_pod`](ControlDocument::for_pod) leaves them out there.

use crate::{PROTOCOL_VERSION, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a compositor needs before the operator first speaks to it: it survives a restart with no operator alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BootDocument {
    /// Size, rate and bitrate of Program. Fixed for the life of the pod.
    pub video: Video,
    /// What to composite from the start.
    pub control: ControlDocument,
}

/// Size, rate and bitrate of Program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControlDocument {
    /// [`PROTOCOL_VERSION`] of whoever wrote it; 0, which is not sent, was before versions were told.
    #[serde(default, skip_serializing_if = "is_version_0")]
    pub protocol_version: u32,
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

impl ControlDocument {
    /// Its place in the order of documents.
    pub fn key(&self) -> DocumentKey {
        DocumentKey { generation: self.generation, revision: self.revision }
    }

    /// This document for a pod that told `protocol_version` in its status. Version 0 gets no field that it would refuse.
    #[must_use]
    pub fn for_pod(self, protocol_version: u32) -> Self {
        Self { protocol_version: PROTOCOL_VERSION.min(protocol_version), ..self }
    }
}

/// A document's place in the order of documents: first by generation, then by revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// [`ControlDocument::generation`].
    pub generation: u64,
    /// [`ControlDocument::revision`].
    pub revision: u64,
}

/// A LiveKit room and the right to publish Program into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
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
#[serde(rename_all = "camelCase")]
pub struct Camera {
    /// Its name in the MemorialStream.
    pub name: String,
    /// The LiveKit identity under which its device publishes.
    pub identity: String,
    /// Joins hidden, subscribes only; used by the compositor to watch this one camera.
    pub token: Secret,
}

/// What is on Program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// How the sources are arranged.
    pub layout: Layout,
    /// Names of cameras, in the layout's order. Empty is the slate.
    pub sources: Vec<String>,
    /// Cameras tried in order when a source is dead, before the slate.
    pub fallback: Vec<String>,
}

/// How sources are arranged on Program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Layout {
    /// One source fills the picture.
    #[default]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SlateText {
    /// [`Slate::before`].
    #[default]
    Before,
    /// [`Slate::interrupted`].
    Interrupted,
    /// [`Slate::ended`].
    Ended,
}

/// Sound of Program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Audio {
    /// False: Program carries silence. True: the sound of the camera that is shown; the slate is silent.
    pub enabled: bool,
}

/// What the pod sends to Mux by itself. The same request again changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SenderRequest {
    /// Rises with each change of the wish, whatever process of the operator wrote it. A request with an older one, or
    /// with the same one and another destination, is refused as outdated: a delayed "on" does not send again after
    /// "off". 0, which is not sent, is taken in whatever order it comes.
    #[serde(default, skip_serializing_if = "is_unordered")]
    pub revision: u64,
    /// Where to; absent: send nothing.
    pub rtmp: Option<RtmpDestination>,
}

impl SenderRequest {
    /// This request for a pod that told `protocol_version` in its status. Version 0 gets no field that it would refuse.
    #[must_use]
    pub fn for_pod(self, protocol_version: u32) -> Self {
        if protocol_version == 0 { Self { revision: 0, ..self } } else { self }
    }
}

/// An RTMP or RTMPS ingest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RtmpDestination {
    /// Without the key, for instance `rtmps://global-live.mux.com:443/app`.
    pub url: String,
    /// Mux's stream key.
    pub stream_key: Secret,
}

impl RtmpDestination {
    /// The whole location, key included: it goes to who sends there, and nowhere else.
    pub fn location(&self) -> Secret {
        Secret::new(format!("{}/{}", self.url.trim_end_matches('/'), self.stream_key.reveal()))
    }

    /// Tells destinations apart without telling them: the first 16 hexadecimal digits of the location's SHA-256.
    /// `sha256` is the hash itself, since this package brings none.
    pub fn fingerprint(&self, sha256: impl FnOnce(&[u8]) -> [u8; 32]) -> String {
        let hash = sha256(self.location().reveal().as_bytes());
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

// `skip_serializing_if` wants references.
fn is_version_0(version: &u32) -> bool {
    *version == 0
}

fn is_unordered(revision: &u64) -> bool {
    *revision == 0
}
