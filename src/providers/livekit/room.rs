//! Rooms and who is in them.

use livekit_protocol as proto;

/// A room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveKitRoom {
    /// Chosen by who made it.
    pub name: String,
    /// Chosen by LiveKit, new each time a room of that name is made.
    pub sid: String,
    /// Our marker.
    pub metadata: String,
    /// Unix seconds.
    pub created_at: i64,
}

impl From<proto::Room> for LiveKitRoom {
    fn from(room: proto::Room) -> Self {
        Self { name: room.name, sid: room.sid, metadata: room.metadata, created_at: room.creation_time }
    }
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Chosen by who made the token; unique in a room.
    pub identity: String,
    /// Chosen by LiveKit, new with each connection.
    pub sid: String,
    /// What it is.
    pub kind: ParticipantKind,
    /// What is published.
    pub tracks: Vec<Track>,
    /// Unix seconds.
    pub joined_at: i64,
}

impl From<proto::ParticipantInfo> for Participant {
    fn from(participant: proto::ParticipantInfo) -> Self {
        Self {
            kind: participant.kind().into(),
            identity: participant.identity,
            sid: participant.sid,
            tracks: participant.tracks.into_iter().map(Track::from).collect(),
            joined_at: participant.joined_at,
        }
    }
}

/// What a participant is. LiveKit takes it from the token, which only the project's key can sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParticipantKind {
    /// An app: ours and everybody's.
    Standard,
    /// The worker of an egress. Its identity is the id of the egress (`BuildEgressToken` of `livekit/protocol`).
    Egress,
    /// Another service of LiveKit's.
    Other,
}

impl From<proto::participant_info::Kind> for ParticipantKind {
    fn from(kind: proto::participant_info::Kind) -> Self {
        match kind {
            proto::participant_info::Kind::Standard => Self::Standard,
            proto::participant_info::Kind::Egress => Self::Egress,
            _ => Self::Other,
        }
    }
}

/// Something published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// What it carries.
    pub kind: TrackKind,
    /// Where it comes from.
    pub source: TrackSource,
    /// Silent or black by the publisher's wish.
    pub muted: bool,
    /// Chosen by LiveKit, new each time it is published.
    pub sid: String,
}

impl From<proto::TrackInfo> for Track {
    fn from(track: proto::TrackInfo) -> Self {
        Self {
            kind: match track.r#type() {
                proto::TrackType::Audio => TrackKind::Audio,
                proto::TrackType::Video => TrackKind::Video,
                proto::TrackType::Data => TrackKind::Data,
            },
            source: match track.source() {
                proto::TrackSource::Unknown => TrackSource::Unknown,
                proto::TrackSource::Camera => TrackSource::Camera,
                proto::TrackSource::Microphone => TrackSource::Microphone,
                proto::TrackSource::ScreenShare => TrackSource::ScreenShare,
                proto::TrackSource::ScreenShareAudio => TrackSource::ScreenShareAudio,
            },
            muted: track.muted,
            sid: track.sid,
        }
    }
}

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Neither.
    Data,
}

/// Where a track comes from, as its publisher says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackSource {
    /// Not said.
    Unknown,
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A screen.
    ScreenShare,
    /// A screen's sound.
    ScreenShareAudio,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(kind: i32) -> ParticipantKind {
        Participant::from(proto::ParticipantInfo { kind, ..proto::ParticipantInfo::default() }).kind
    }

    #[test]
    fn the_worker_of_an_egress_is_told_from_an_app() {
        assert_eq!(kind(proto::participant_info::Kind::Egress.into()), ParticipantKind::Egress);
        assert_eq!(kind(proto::participant_info::Kind::Standard.into()), ParticipantKind::Standard);
        assert_eq!(kind(proto::participant_info::Kind::Agent.into()), ParticipantKind::Other);
    }
}
