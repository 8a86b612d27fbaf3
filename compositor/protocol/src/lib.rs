//! What the operator and the compositor pod say to each other.
//!
//! The operator sends the **whole** [`ControlDocument`] each time; the pod answers once the first frame that
//! shows it has reached the encoder. Documents are ordered by ([`generation`](ControlDocument::generation),
//! [`revision`](ControlDocument::revision)); an older one is refused.
//!
//! | call | body | answer |
//! | --- | --- | --- |
//! | `PUT /v1/program` | [`ControlDocument`] | [`ProgramApplied`], or [`Refusal`] with 409 or 422 |
//! | `PUT /v1/sender` | [`SenderRequest`] | [`SenderStatus`], or [`Refusal`] with 409 |
//! | `GET /v1/status` | – | [`CompositorStatus`] |
//! | `GET /healthz`, `/readyz`, `/metrics` | – | text, no token needed |
//!
//! Each call under `/v1` needs `Authorization: Bearer …`; without it the answer is 401.

mod answers;
mod documents;

pub use answers::{
    CompositorStatus, MediaTaken, ProgramApplied, PublisherStatus, Refusal, RefusalReason, SenderState,
    SenderStatus, Shown, Source, SourceState,
};
pub use documents::{
    Audio, BootDocument, Camera, ControlDocument, DocumentKey, Layout, Program, Room, RtmpDestination,
    SenderRequest, Slate, SlateText, Video,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of this protocol. It rises when one side has to know what the other can; a mere new field needs no new
/// version, since fields that are not known are ignored and named, and those that are absent have a default.
///
/// 0 told no version and refused unknown fields. 1: the encoder's output and the media that the ingest took are told,
/// requests to the sender are ordered, and a pod whose boot document is wrong serves.
pub const PROTOCOL_VERSION: u32 = 1;

/// The port on which the pod answers `/v1`, `/healthz` and `/readyz`.
pub const CONTROL_PORT: u16 = 8080;
/// The port on which the pod answers `/metrics`, apart from control so that a NetworkPolicy can tell them apart.
pub const METRICS_PORT: u16 = 9090;
/// The folder in which the pod finds [`BOOT_FILE`] and [`BEARER_TOKEN_FILE`], mounted from its Secret.
pub const BOOT_FOLDER: &str = "/etc/memorialstream";
/// The folder that the pod may write to; it outlives the pod's containers.
pub const SCRATCH_FOLDER: &str = "/tmp";
/// A [`BootDocument`] as JSON.
pub const BOOT_FILE: &str = "boot.json";
/// The bearer token that guards `/v1`, one line of text.
pub const BEARER_TOKEN_FILE: &str = "bearer-token";

/// Text that must not be printed: a LiveKit token or a stream key. It serializes as itself.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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

#[cfg(test)]
mod tests {
    use super::*;

    // As pods of version 0 answered.
    const STATUS_0: &str = r#"{"generation":7,"revision":1,"frames":4211,"frameAgeMilliseconds":20,"publisher":{"connected":true,"error":null},"sender":{"state":"Connected","attempts":1,"error":null},"shown":{"sources":["lectern"],"slate":null},"cameraWasShown":true,"sources":[{"name":"lectern","state":"Live","inputAgeMilliseconds":33,"hasAudio":true},{"name":"wide","state":"Absent","inputAgeMilliseconds":null,"hasAudio":false}]}"#;
    const APPLIED_0: &str = r#"{"appliedGeneration":7,"appliedRevision":1,"framePresentationNanoseconds":140366666666,"takeMilliseconds":31,"shown":{"sources":["lectern"],"slate":null},"sources":[{"name":"lectern","state":"Live","inputAgeMilliseconds":33,"hasAudio":true},{"name":"wide","state":"Absent","inputAgeMilliseconds":null,"hasAudio":false}]}"#;

    fn destination() -> RtmpDestination {
        RtmpDestination { url: "rtmp://ingest/app".into(), stream_key: Secret::new("k-1") }
    }

    #[test]
    fn secrets_do_not_print() {
        let destination = destination();
        let printed = format!("{destination:?} {destination:#?} {:?}", destination.location());
        assert!(!printed.contains("k-1"), "{printed}");
        assert!(serde_json::to_string(&destination).unwrap().contains("k-1"));
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert_eq!(
            serde_json::from_str::<Audio>(r#"{"enabled":true,"gain":1}"#).unwrap(),
            Audio { enabled: true }
        );
        let request: SenderRequest = serde_json::from_str(r#"{"rtmp":null,"srt":"x"}"#).unwrap();
        assert_eq!(request, SenderRequest::default());
    }

    #[test]
    fn answers_of_version_0_are_read() {
        let status: CompositorStatus = serde_json::from_str(STATUS_0).unwrap();
        assert_eq!((status.protocol_version, status.frames, status.encoded_frames), (0, 4_211, None));
        assert!(status.program_advances() && status.sender.is_taken() && !status.publisher.identity_taken);
        let applied: ProgramApplied = serde_json::from_str(APPLIED_0).unwrap();
        assert_eq!((applied.applied_generation, applied.unknown_fields), (7, Vec::<String>::new()));
    }

    #[test]
    fn a_pod_of_version_0_is_sent_nothing_that_it_would_refuse() {
        let document = ControlDocument { protocol_version: PROTOCOL_VERSION, ..ControlDocument::default() };
        let request = SenderRequest { revision: 5, rtmp: Some(destination()) };
        let sent = |version| {
            let document = serde_json::to_string(&document.clone().for_pod(version)).unwrap();
            let request = serde_json::to_string(&request.clone().for_pod(version)).unwrap();
            (document.contains("protocolVersion"), request.contains("revision"))
        };
        assert_eq!(sent(0), (false, false));
        assert_eq!(sent(PROTOCOL_VERSION), (true, true));
        assert_eq!(sent(PROTOCOL_VERSION + 1), (true, true));
    }

    #[test]
    fn what_the_encoder_puts_out_counts() {
        let status = |encoded_frames, encoded_frame_age_milliseconds| CompositorStatus {
            frame_age_milliseconds: Some(20),
            encoded_frames,
            encoded_frame_age_milliseconds,
            ..CompositorStatus::default()
        };
        assert!(status(None, None).program_advances(), "version 0 tells of the input only");
        assert!(!status(Some(0), None).program_advances(), "frames go in and none comes out");
        assert!(status(Some(9), Some(1_999)).program_advances());
        assert!(!status(Some(9), Some(2_000)).program_advances());
    }

    #[test]
    fn connected_without_media_is_not_taken() {
        let status = |state, age_milliseconds| SenderStatus {
            state,
            media_taken: Some(MediaTaken { bytes: 1, age_milliseconds }),
            ..SenderStatus::default()
        };
        assert!(status(SenderState::Connected, 2_999).is_taken());
        assert!(!status(SenderState::Connected, 3_000).is_taken());
        assert!(!status(SenderState::Connecting, 0).is_taken());
        assert!(!SenderStatus::default().is_taken());
    }

    #[test]
    fn a_fingerprint_tells_keys_apart_and_not_what_they_are() {
        let hashed = std::cell::RefCell::new(Vec::new());
        let sha256 = |location: &[u8]| {
            hashed.borrow_mut().extend_from_slice(location);
            std::array::from_fn(|place| place as u8 + 0xa0)
        };
        assert_eq!(destination().fingerprint(sha256), "a0a1a2a3a4a5a6a7");
        assert_eq!(*hashed.borrow(), b"rtmp://ingest/app/k-1");
    }
}
