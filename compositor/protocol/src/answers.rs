//! What the pod answers. Fields that came later than version 0 have a default: an older pod does not send them.

use crate::{DocumentKey, SlateText};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The first frame that shows a [`ControlDocument`] has reached the encoder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Paths of the document's fields that this pod does not know, for instance `cameras.0.gain`: it is older than the
    /// operator, and does not do what they ask for.
    #[serde(default)]
    pub unknown_fields: Vec<String>,
}

/// What Program really shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// No frame came out in time, or nothing runs that could do it: the boot document is wrong, or the identity was taken
    /// (503).
    PipelineNotRunning,
}

/// The pod's own sender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SenderStatus {
    /// How far it is.
    pub state: SenderState,
    /// How often a connection was started since it was switched on.
    pub attempts: u64,
    /// The last thing that went wrong, with no key in it.
    pub error: Option<String>,
    /// [`RtmpDestination::fingerprint`](crate::RtmpDestination::fingerprint) of where it sends; absent while it is off.
    #[serde(default)]
    pub destination: Option<String>,
    /// The newest [`SenderRequest::revision`](crate::SenderRequest::revision) that was taken; 0: none that had one.
    #[serde(default)]
    pub revision: u64,
    /// What the ingest took on the connection that there is; absent until it took any.
    #[serde(default)]
    pub media_taken: Option<MediaTaken>,
}

impl SenderStatus {
    /// An ingest that took nothing for this long takes nothing any more, milliseconds.
    pub const STANDSTILL_MILLISECONDS: u64 = 3_000;

    /// Whether the ingest takes media. A pod of version 0 only told that it is connected.
    pub fn is_taken(&self) -> bool {
        let fresh = |taken: &MediaTaken| taken.age_milliseconds < Self::STANDSTILL_MILLISECONDS;
        self.state == SenderState::Connected && self.media_taken.as_ref().is_none_or(fresh)
    }
}

/// Media that an ingest took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MediaTaken {
    /// Bytes on this connection that reached the ingest.
    pub bytes: u64,
    /// Since it last took any, milliseconds.
    pub age_milliseconds: u64,
}

/// How far the pod's own sender is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SenderState {
    /// Not asked for.
    #[default]
    Off,
    /// Trying to connect, or waiting to try again, or the ingest takes nothing any more.
    Connecting,
    /// The ingest takes media.
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompositorStatus {
    /// The pod's [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION). 0: it was made before versions were told, and refuses
    /// fields that it does not know.
    #[serde(default)]
    pub protocol_version: u32,
    /// What is wrong with the document that the pod was to boot from. It composites nothing, publishes nothing and is
    /// not ready until it is sent a good one.
    #[serde(default)]
    pub boot_error: Option<String>,
    /// Generation of the document that is applied.
    pub generation: u64,
    /// Revision of the document that is applied.
    pub revision: u64,
    /// Frames of Program that reached the encoder since the pod started.
    pub frames: u64,
    /// Age of the newest of them, milliseconds; absent until there was one.
    pub frame_age_milliseconds: Option<u64>,
    /// Pictures of Program that came out of the encoder; a pod of version 0 does not tell.
    #[serde(default)]
    pub encoded_frames: Option<u64>,
    /// Age of the newest of them, milliseconds; absent until there was one.
    #[serde(default)]
    pub encoded_frame_age_milliseconds: Option<u64>,
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

    /// The document that is applied.
    pub fn key(&self) -> DocumentKey {
        DocumentKey { generation: self.generation, revision: self.revision }
    }

    /// Whether Program's frames advance where they leave the encoder. A pod of version 0 only tells of its input.
    pub fn program_advances(&self) -> bool {
        let age = match self.encoded_frames {
            Some(_) => self.encoded_frame_age_milliseconds,
            None => self.frame_age_milliseconds,
        };
        age.is_some_and(|age| age < Self::STANDSTILL_MILLISECONDS)
    }
}

/// Program's connection to the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublisherStatus {
    /// Whether Program's tracks are published.
    pub connected: bool,
    /// The last thing that went wrong, with no token in it.
    pub error: Option<String>,
    /// Another participant joined as the same identity. The pod composites, publishes and sends nothing until it is
    /// sent a document: whoever speaks to it decides which of the two it is to be.
    #[serde(default)]
    pub identity_taken: bool,
}
