//! Answers of Mux, LiveKit and the compositor.

use super::statuses::{CLUSTER, EPOCH, UID, now, stream_id};
use super::view::FOREIGN;
use super::world::{Egress, Job, Mux, NOWHERE, Pod, Sender};
use memorialstream_compositor_protocol as protocol;
use memorialstream_operator::api::names::{marker, room_name};
use memorialstream_operator::providers::livekit::{self, EgressStatus, LiveKitCredentials, redact};
use memorialstream_operator::providers::mux::{
    Environment, LatencyMode, LiveStream, LiveStreamStatus, MuxCredentials, PlaybackId,
};
use memorialstream_operator::providers::{Cause, ErrorClass, Provider, ProviderError, Secret};
use memorialstream_operator::service::credentials::{Access, Credentials};
use memorialstream_operator::service::stream_key::fingerprint;

const INGEST: &str = "rtmp://ingest/app";
const PLAYBACK: &str = "https://stream.example";
const SERVER: &str = "wss://livekit.example";

pub fn error(provider: Provider, class: ErrorClass, cause: Option<Cause>) -> ProviderError {
    ProviderError { provider, operation: "test", class, message: "no".into(), cause }
}

pub fn granted() -> (Access, Credentials) {
    let access = Access::Granted {
        environment: Environment {
            environment_id: "env".into(),
            environment_name: None,
            environment_type: None,
            organization_name: None,
        },
        rtmp_url: INGEST.into(),
        livekit_url: SERVER.into(),
        playback_base_url: PLAYBACK.into(),
    };
    let credentials = Credentials {
        mux: MuxCredentials {
            base_url: "https://mux.example".into(),
            token_id: "id".into(),
            token_secret: Secret::new("secret"),
        },
        rtmp_url: INGEST.into(),
        playback_base_url: PLAYBACK.into(),
        livekit: LiveKitCredentials {
            url: SERVER.into(),
            api_key: "key".into(),
            api_secret: Secret::new("secret"),
        },
    };
    (access, credentials)
}

/// The key of one stream; [`NOWHERE`]'s is that of one which is gone.
pub fn key(slot: u8) -> Secret {
    Secret::new(format!("key-{slot}"))
}

pub fn live_stream(slot: u8, status: Mux) -> LiveStream {
    LiveStream {
        id: stream_id(slot),
        created_at: i64::from(slot),
        status: match status {
            Mux::Idle => LiveStreamStatus::Idle,
            Mux::Active => LiveStreamStatus::Active,
            Mux::Disabled => LiveStreamStatus::Disabled,
        },
        stream_key: key(slot),
        playback_ids: vec![PlaybackId { id: format!("playback-{slot}"), policy: "public".into() }],
        passthrough: Some(marker(CLUSTER, UID)),
        latency_mode: LatencyMode::Standard,
        reconnect_window_seconds: Some(120),
        active_asset_id: None,
        recent_asset_ids: Vec::new(),
        test: false,
        connected: None,
    }
}

/// One of ours.
pub fn egress(id: String, seen: &Egress) -> livekit::Egress {
    let status = match seen.job {
        Job::Starting => EgressStatus::Starting,
        Job::Connecting | Job::Hung | Job::Connected | Job::Retrying | Job::Dead { .. } => {
            EgressStatus::Active
        }
        Job::Ending | Job::DeadEnding => EgressStatus::Ending,
        Job::Over => EgressStatus::Failed,
    };
    let connected = matches!(seen.job, Job::Connected | Job::Dead { connected: true, .. });
    let location = format!("{INGEST}/{}", key(seen.to).reveal());
    livekit::Egress {
        id,
        room_name: room_name(UID, if seen.in_room { EPOCH } else { EPOCH - 1 }),
        room_id: String::new(),
        status,
        error: String::new(),
        started_at: 2,
        ended_at: 0,
        updated_at: now().as_second() * 1_000_000_000,
        destination_connected: connected,
        redacted_urls: vec![redact(&location)],
        identity: Some(memorialstream_operator::api::names::PROGRAM_IDENTITY.into()),
        last_retry_at: 0,
    }
}

/// Somebody else's: it records the whole room into a file.
pub fn recording() -> livekit::Egress {
    let somewhere = Egress { job: Job::Connecting, to: NOWHERE, in_room: true };
    livekit::Egress {
        started_at: 1,
        redacted_urls: Vec::new(),
        identity: Some(String::new()),
        ..egress(FOREIGN.into(), &somewhere)
    }
}

pub fn compositor(pod: &Pod) -> protocol::CompositorStatus {
    let state = match pod.sender {
        Sender::Off => protocol::SenderState::Off,
        Sender::Connecting => protocol::SenderState::Connecting,
        Sender::Connected => protocol::SenderState::Connected,
    };
    let destination = protocol::RtmpDestination { url: INGEST.into(), stream_key: key(pod.to) };
    protocol::CompositorStatus {
        generation: 1,
        frames: 1,
        frame_age_milliseconds: Some(30),
        publisher: protocol::PublisherStatus { connected: pod.publishes, ..Default::default() },
        sender: protocol::SenderStatus {
            state,
            attempts: 1,
            destination: (pod.sender != Sender::Off).then(|| fingerprint(&destination)),
            ..Default::default()
        },
        shown: protocol::Shown { sources: Vec::new(), slate: Some(protocol::SlateText::Before) },
        ..protocol::CompositorStatus::default()
    }
}
