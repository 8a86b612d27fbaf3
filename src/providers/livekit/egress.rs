//! Egress: what we ask for and what LiveKit says of it.

use super::redact::redact_text;
use crate::providers::{Secret, one_line};
use livekit_protocol as proto;
use livekit_protocol::egress_info::Request;
use livekit_protocol::start_egress_request::{Encoding, Source};
use livekit_protocol::{audio_route, media_source, output};

/// Seconds between key frames. Mux advises 2 and needs it for low latency; LiveKit's default for streams is 4.
const KEY_FRAME_INTERVAL: f64 = 2.0;
/// Kilobits per second; LiveKit's default.
const AUDIO_BITRATE: i32 = 128;

/// An egress that sends one participant to an RTMP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramEgress {
    /// The room's name.
    pub room: String,
    /// Whose picture and sound. It must appear within 30 s; it may leave and come back.
    pub participant_identity: String,
    /// The full RTMP address with the stream key.
    pub rtmp_url: Secret,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub frames_per_second: u32,
    /// Bitrate of the video, kilobits per second.
    pub bitrate_kbps: u32,
    /// Whether the participant's sound is sent too.
    pub with_audio: bool,
}

impl ProgramEgress {
    /// The request of `StartEgress`. The source is media by participant identity: the only one that goes on when the
    /// participant leaves and joins again.
    pub(super) fn request(&self) -> proto::StartEgressRequest {
        let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let video = proto::ParticipantVideo {
            identity: self.participant_identity.clone(),
            ..proto::ParticipantVideo::default()
        };
        let route = proto::AudioRoute {
            r#match: Some(audio_route::Match::ParticipantIdentity(self.participant_identity.clone())),
            channel: proto::AudioChannel::Both.into(),
        };
        let stream = proto::StreamOutput {
            protocol: proto::StreamProtocol::Rtmp.into(),
            urls: vec![self.rtmp_url.reveal().to_owned()],
        };
        proto::StartEgressRequest {
            room_name: self.room.clone(),
            source: Some(Source::Media(proto::MediaSource {
                video: Some(media_source::Video::ParticipantVideo(video)),
                audio: self
                    .with_audio
                    .then(|| proto::AudioConfig { capture_all: false, routes: vec![route] }),
            })),
            encoding: Some(Encoding::Advanced(proto::EncodingOptions {
                width: number(self.width),
                height: number(self.height),
                framerate: number(self.frames_per_second),
                video_codec: proto::VideoCodec::H264Main.into(),
                video_bitrate: number(self.bitrate_kbps),
                key_frame_interval: KEY_FRAME_INTERVAL,
                audio_codec: proto::AudioCodec::Aac.into(),
                audio_bitrate: AUDIO_BITRATE,
                ..proto::EncodingOptions::default()
            })),
            outputs: vec![proto::Output {
                config: Some(output::Config::Stream(stream)),
                ..proto::Output::default()
            }],
            ..proto::StartEgressRequest::default()
        }
    }
}

/// An egress. Times are Unix nanoseconds, 0 where it has not happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Chosen by LiveKit, `EG_…`.
    pub id: String,
    /// The room's name. Rooms of other times may have had the same.
    pub room_name: String,
    /// The room's sid.
    pub room_id: String,
    /// How far it is.
    pub status: EgressStatus,
    /// What went wrong, or how it ended when that is not an error; empty while all is well. No keys.
    pub error: String,
    /// When its pipeline began to play.
    pub started_at: i64,
    /// When it was over.
    pub ended_at: i64,
    /// When LiveKit last heard of it.
    pub updated_at: i64,
    /// An RTMP server took it. `Active` alone does not say so: LiveKit sets that when media flows on its side.
    pub destination_connected: bool,
    /// Where it sends, in the form of [`redact`](super::redact()).
    pub redacted_urls: Vec<String>,
    /// Whose picture it was asked to send; empty where it was asked for a whole room, a page or single tracks, and absent
    /// where LiveKit does not tell what it was asked for.
    pub identity: Option<String>,
    /// When it last tried to reach its RTMP server again.
    pub last_retry_at: i64,
}

impl From<proto::EgressInfo> for Egress {
    fn from(info: proto::EgressInfo) -> Self {
        let status = EgressStatus::from(info.status);
        let over = !matches!(status, EgressStatus::Starting | EgressStatus::Active | EgressStatus::Ending);
        let failed = info.stream_results.iter().map(|stream| &stream.error).find(|error| !error.is_empty());
        let error = Some(&info.error)
            .filter(|error| !error.is_empty())
            .or(failed)
            .or(Some(&info.details).filter(|_| over))
            .map_or_else(String::new, |error| one_line(&redact_text(error)));
        Self {
            destination_connected: info.stream_results.iter().any(|stream| {
                stream.started_at != 0
                    && stream.ended_at == 0
                    && stream.status() == proto::stream_info::Status::Active
            }),
            identity: info.request.as_ref().map(|request| identity(request).unwrap_or_default()),
            last_retry_at: info.stream_results.iter().map(|stream| stream.last_retry_at).max().unwrap_or(0),
            redacted_urls: info.stream_results.into_iter().map(|stream| redact_text(&stream.url)).collect(),
            id: info.egress_id,
            room_name: info.room_name,
            room_id: info.room_id,
            status,
            error,
            started_at: info.started_at,
            ended_at: info.ended_at,
            updated_at: info.updated_at,
        }
    }
}

/// Whose picture a request asks for; none where it asks for a whole room, a page or single tracks.
fn identity(request: &Request) -> Option<String> {
    match request {
        Request::Egress(request) => match request.source.as_ref()? {
            Source::Media(media) => match media.video.as_ref()? {
                media_source::Video::ParticipantVideo(video) => Some(video.identity.clone()),
                _ => None,
            },
            _ => None,
        },
        Request::Participant(request) => Some(request.identity.clone()),
        _ => None,
    }
}

/// How far an egress is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressStatus {
    /// Accepted.
    Starting,
    /// Media flows on LiveKit's side.
    Active,
    /// The end was announced downstream.
    Ending,
    /// Over without an error, wanted or not.
    Complete,
    /// Over with an error.
    Failed,
    /// Over before it began.
    Aborted,
    /// Over because of LiveKit's limit on its length.
    LimitReached,
}

impl From<i32> for EgressStatus {
    fn from(status: i32) -> Self {
        match proto::EgressStatus::try_from(status) {
            Ok(proto::EgressStatus::EgressActive) => Self::Active,
            Ok(proto::EgressStatus::EgressEnding) => Self::Ending,
            Ok(proto::EgressStatus::EgressComplete) => Self::Complete,
            Ok(proto::EgressStatus::EgressFailed) => Self::Failed,
            Ok(proto::EgressStatus::EgressAborted) => Self::Aborted,
            Ok(proto::EgressStatus::EgressLimitReached) => Self::LimitReached,
            // A state that is new to us may be a running one: it is stopped, if it lasts, before another one starts.
            Ok(proto::EgressStatus::EgressStarting) | Err(_) => Self::Starting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(streams: Vec<proto::StreamInfo>) -> proto::EgressInfo {
        proto::EgressInfo {
            egress_id: "EG_1".into(),
            room_name: "room".into(),
            status: proto::EgressStatus::EgressActive.into(),
            stream_results: streams,
            ..proto::EgressInfo::default()
        }
    }

    fn stream(started_at: i64) -> proto::StreamInfo {
        proto::StreamInfo {
            url: "rtmp://h/app/{012...789}".into(),
            started_at,
            ..proto::StreamInfo::default()
        }
    }

    #[test]
    fn active_is_not_connected() {
        let waiting = Egress::from(info(vec![stream(0)]));
        assert_eq!((waiting.status, waiting.destination_connected), (EgressStatus::Active, false));
        assert!(Egress::from(info(vec![stream(5)])).destination_connected);
        let failed = proto::StreamInfo {
            status: proto::stream_info::Status::Failed.into(),
            error: "rtmp://h/app/0123456789: refused".into(),
            ..stream(5)
        };
        let failed = Egress::from(info(vec![failed]));
        assert!(!failed.destination_connected);
        assert_eq!(failed.error, "rtmp://h/app/{012...789}: refused");
    }

    #[test]
    fn an_egress_that_is_over_says_why() {
        let over = proto::EgressInfo {
            status: proto::EgressStatus::EgressComplete.into(),
            details: "End reason: Source closed".into(),
            ..info(Vec::new())
        };
        assert_eq!(Egress::from(over).error, "End reason: Source closed");
        let running = proto::EgressInfo { details: "End reason: CPU exhausted".into(), ..info(Vec::new()) };
        assert_eq!(Egress::from(running).error, "");
    }

    #[test]
    fn an_egress_tells_whose_picture_it_sends() {
        let wanted = ProgramEgress {
            room: "room".into(),
            participant_identity: "program".into(),
            rtmp_url: Secret::new("rtmp://h/app/hidden"),
            width: 1280,
            height: 720,
            frames_per_second: 30,
            bitrate_kbps: 3000,
            with_audio: true,
        };
        let ours = proto::EgressInfo { request: Some(Request::Egress(wanted.request())), ..info(Vec::new()) };
        assert_eq!(Egress::from(ours).identity.as_deref(), Some("program"));
        let whole_room = Request::RoomComposite(proto::RoomCompositeEgressRequest::default());
        let whole_room = proto::EgressInfo { request: Some(whole_room), ..info(Vec::new()) };
        assert_eq!(Egress::from(whole_room).identity.as_deref(), Some(""));
    }

    #[test]
    fn a_status_that_is_new_to_us_counts_as_running() {
        assert_eq!(EgressStatus::from(99), EgressStatus::Starting);
        assert_eq!(EgressStatus::from(6), EgressStatus::LimitReached);
    }

    #[test]
    fn the_request_names_the_participant_for_picture_and_sound() {
        let wanted = ProgramEgress {
            room: "room".into(),
            participant_identity: "program".into(),
            rtmp_url: Secret::new("rtmp://h/app/hidden"),
            width: 1280,
            height: 720,
            frames_per_second: 30,
            bitrate_kbps: 3000,
            with_audio: true,
        };
        assert!(!format!("{wanted:?}").contains("hidden"));
        let Some(Source::Media(media)) = wanted.request().source else { panic!("media was expected") };
        assert!(
            matches!(media.video, Some(media_source::Video::ParticipantVideo(video)) if video.identity == "program")
        );
        assert_eq!(
            media.audio.unwrap().routes[0].r#match,
            Some(audio_route::Match::ParticipantIdentity("program".into()))
        );
        let Some(Source::Media(silent)) = (ProgramEgress { with_audio: false, ..wanted }).request().source
        else {
            panic!("media was expected")
        };
        assert_eq!(silent.audio, None);
    }
}
