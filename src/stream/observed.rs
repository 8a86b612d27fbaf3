//! What the life-cycle lane saw in one pass. Data only, so that the planner can be tested without a client.

use crate::providers::livekit::{Egress, LivekitRoom};
use crate::providers::mux::{Environment, LiveStream};
use crate::providers::{ProviderError, Secret};
use crate::world::CompositorError;
use k8s_openapi::jiff::Timestamp;
use memorialstream_compositor_protocol::CompositorStatus;
use std::collections::BTreeMap;

/// Everything that was seen.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Names this cluster in markers.
    pub cluster_id: String,
    /// Who holds the slug, when that is another object, as `namespace/name`.
    pub slug_holder: Option<String>,
    /// Who the providers think we are.
    pub account: Account,
    /// Why the Secret cannot be used, where the credentials that worked last are used instead.
    pub set_aside: Option<SetAside>,
    /// The Mux live stream.
    pub stream: Seen<Option<LiveStream>>,
    /// Every Mux live stream with our marker. Searched only when it matters.
    pub marked: Seen<Vec<LiveStream>>,
    /// Our rooms: those whose name begins with this object's.
    pub rooms: Seen<Vec<LivekitRoom>>,
    /// Active egresses in our rooms, and the one that status names in whatever state.
    pub egresses: Seen<Vec<Egress>>,
    /// Our pods.
    pub pods: Vec<PodSeen>,
    /// What the newest pod says.
    pub compositor: Option<Result<CompositorStatus, CompositorError>>,
    /// A start of an egress that runs beside the lane.
    pub start: StartSeen,
    /// What failed in earlier passes, and until when it is left alone.
    pub troubles: Troubles,
}

/// What a question to a provider brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<T> {
    /// It was not asked, because nothing depends on it.
    NotAsked,
    /// The answer.
    Known(T),
    /// It did not say.
    Failed(ProviderError),
}

impl<T> Seen<T> {
    /// The answer, if there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::NotAsked | Self::Failed(_) => None,
        }
    }

    /// Why there is none.
    pub fn error(&self) -> Option<&ProviderError> {
        match self {
            Self::Failed(error) => Some(error),
            Self::NotAsked | Self::Known(_) => None,
        }
    }
}

impl<T> From<Result<T, ProviderError>> for Seen<T> {
    fn from(result: Result<T, ProviderError>) -> Self {
        match result {
            Ok(value) => Self::Known(value),
            Err(error) => Self::Failed(error),
        }
    }
}

/// Who the providers think we are.
#[derive(Clone, Debug)]
pub enum Account {
    /// Mux said so.
    Known {
        /// Mux's answer.
        environment: Environment,
        /// Without the key, where a sender connects.
        rtmp_url: String,
        /// The LiveKit server.
        livekit_url: String,
        /// What a playback id is appended to.
        playback_base_url: String,
    },
    /// The Secret is missing or incomplete, or it belongs to another environment than what exists.
    Unusable(SetAside),
    /// A provider refused the credentials or did not answer.
    Failed(ProviderError),
}

/// Why the credentials that stand in the Secret are not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// One word, for instance `SecretNotFound`.
    pub reason: &'static str,
    /// What is wrong where, and what to do.
    pub message: String,
}

/// One of our pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// The number in its name.
    pub incarnation: i64,
    /// Being deleted.
    pub deleting: bool,
    /// Failed or Succeeded: it will never run again.
    pub finished: bool,
    /// Its container is ready.
    pub ready: bool,
    /// Its address.
    pub ip: Option<String>,
    /// Restarts of its container.
    pub restarts: i64,
    /// What the kubelet or the scheduler complains of: reason and message.
    pub complaint: Option<(String, String)>,
    /// The settings that it was made with; a difference is drift.
    pub settings: String,
}

/// A start of an egress beside the lane.
#[derive(Clone, Debug, PartialEq)]
pub enum StartSeen {
    /// None.
    None,
    /// Under way.
    InFlight,
    /// LiveKit answered.
    Finished(Result<Box<Egress>, ProviderError>),
}

/// Things that may fail and are then left alone for a while, each on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Changes of the Mux live stream.
    MuxStream,
    /// Changes of the room.
    Room,
    /// Changes of pod and Secret.
    Pod,
    /// Changes of the sender.
    Sender,
}

/// What failed last.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// How often in a row.
    pub count: u32,
    /// Not to be tried again before.
    pub not_before: Timestamp,
    /// One word.
    pub reason: &'static str,
    /// The provider's words.
    pub message: String,
    /// Nothing but a change by a person will help.
    pub terminal: bool,
}

/// What failed last, by effect.
pub type Troubles = BTreeMap<Effect, Trouble>;

/// Whether an effect must be left alone at `now`.
pub fn held(troubles: &Troubles, effect: Effect, now: Timestamp) -> bool {
    troubles.get(&effect).is_some_and(|trouble| trouble.not_before > now)
}

/// The full RTMP address of a stream, key included.
pub fn ingest_address(rtmp_url: &str, key: &Secret) -> Secret {
    Secret::new(format!("{}/{}", rtmp_url.trim_end_matches('/'), key.reveal()))
}
