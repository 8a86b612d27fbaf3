//! What the life-cycle lane saw in one pass. Data only, so that the planner can be tested without a client.

use super::backoff::Backoffs;
use super::in_flight::{StartSeen, WorkerSeen};
use super::sight::Sight;
use crate::providers::livekit::{Egress, LiveKitRoom, Participant};
use crate::providers::mux::LiveStream;
use crate::providers::{Cause, ProviderError};
use crate::service::credentials::{Access, Credentials, SetAside};
use crate::service::pod::{PodSeen, RecordedPod};
use crate::service::stream_key::KeptKey;
use crate::world::{CompositorError, PodEndpoint};
use memorialstream_compositor_protocol::CompositorStatus;
use std::collections::BTreeSet;
use std::time::Duration;

/// Everything that was seen.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Names this cluster in markers.
    pub cluster_id: String,
    /// How old Mux's newest word about what is active is.
    pub age_of_active: Option<Duration>,
    /// The image that a compositor is made with now.
    pub compositor_image: String,
    /// Who holds the slug, when that is another object, as `namespace/name`.
    pub slug_holder: Option<String>,
    /// A copy of these credentials is kept: what is made with them can be ended when their Secret is gone.
    pub credentials_are_kept: bool,
    /// Who the providers think we are.
    pub access: Access,
    /// Why the Secret cannot be used, where the credentials that worked last are used instead.
    pub set_aside: Option<SetAside>,
    /// The Secret names other addresses of Mux than those that are used while mourners are reached by them.
    pub addresses_wait: bool,
    /// The Mux live stream.
    pub stream: Seen<Option<LiveStream>>,
    /// It was asked for, since there was room for a look on which nothing depends, and the answer is on its way.
    pub stream_is_awaited: bool,
    /// Every Mux live stream with our marker. Searched only when it matters.
    pub marked: Seen<Vec<LiveStream>>,
    /// How long ago it was asked for.
    pub marked_age: Duration,
    /// Our rooms: those whose name begins with this object's.
    pub rooms: Seen<Vec<LiveKitRoom>>,
    /// Active egresses in our rooms, and the one that status names in whatever state.
    pub egresses: Seen<Vec<Egress>>,
    /// How long ago the list of them was asked for.
    pub egresses_age: Duration,
    /// Our pods.
    pub pods: Vec<PodSeen>,
    /// Whether the pod that status records is there.
    pub recorded_pod: RecordedPod,
    /// The pod in use is not ready and would boot with something else than is asked for.
    pub boots_wrong: bool,
    /// What the newest pod says.
    pub compositor: Option<Result<CompositorStatus, CompositorError>>,
    /// Who is in our room, where something depends on it.
    pub participants: Seen<Vec<Participant>>,
    /// What a mourner's player sees.
    pub sight: Sight,
    /// Whether Mux says that a sender is connected; absent where Mux never tells.
    pub mux_connected: Option<bool>,
    /// The stream key that was kept for when Mux does not answer.
    pub kept_key: Option<KeptKey>,
    /// A start of an egress that runs beside the lane.
    pub start: StartSeen,
    /// Creates that were noted and surely not sent.
    pub unsent: BTreeSet<Noted>,
    /// For how long this process has known that a stream is being created, whatever the wall clock says.
    pub creating_for: Duration,
    /// What the worker of an egress answered.
    pub worker: Option<WorkerSeen>,
    /// The egresses that are being stopped beside the lane.
    pub stops: BTreeSet<String>,
    /// What failed in earlier passes, and until when it is left alone.
    pub backoffs: Backoffs,
    /// With what to act; absent when there are none at all.
    pub credentials: Option<Credentials>,
    /// How to reach the compositor.
    pub endpoint: Option<PodEndpoint>,
}

/// What is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Created {
    /// A live stream.
    Stream,
    /// An egress.
    Egress,
}

/// A create, and when it was noted: in seconds since 1970, for status counts whole seconds.
pub type Noted = (Created, i64);

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

impl Observed {
    /// The first question to a provider that was not answered: the lane then looks again more and more rarely.
    pub fn unanswered(&self) -> Option<&ProviderError> {
        let access = match &self.access {
            Access::Failed(error) => Some(error),
            Access::Granted { .. } | Access::Unusable(_) => None,
        };
        access
            .or(self.stream.error().filter(|_| self.stream_is_not_ours().is_none()))
            .or(self.marked.error())
            .or(self.rooms.error())
            .or(self.egresses.error())
    }

    /// What is wrong where status names a stream that does not say that it is ours.
    pub fn stream_is_not_ours(&self) -> Option<&ProviderError> {
        self.stream.error().filter(|error| error.cause == Some(Cause::NotOurs))
    }
}
