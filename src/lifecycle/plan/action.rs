//! What a pass may do.

use crate::lifecycle::backoff::{Effect, Part};
use crate::providers::mux::{LiveStreamUpdate, NewLiveStream};
use crate::service::abandoned::Abandoned;
use crate::service::stream_key::KeptKey;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing paid before this is in place.
    AddFinalizer,
    /// Nothing of ours is left, or a person abandoned it.
    RemoveFinalizer,
    /// Write down what may be left.
    RecordAbandoned(Box<Abandoned>),
    /// Not idempotent: its intent is written first.
    CreateStream(Box<NewLiveStream>),
    /// Accept ingest.
    EnableStream(String),
    /// Refuse ingest; drops an encoder that is connected.
    DisableStream(String),
    /// End the recording now.
    CompleteStream(String),
    /// Settings that drifted.
    UpdateStream(String, LiveStreamUpdate),
    /// By id. Ours, or a surplus one with our marker.
    DeleteStream(String),
    /// Idempotent by name.
    CreateRoom(String),
    /// By name.
    DeleteRoom(String),
    /// Secret and pod of the compositor.
    CreatePod {
        /// Its name.
        name: String,
        /// The number in its name.
        incarnation: i64,
    },
    /// What the pod boots from, anew: it is wrong, and the pod does not live.
    RenewBoot {
        /// The pod's.
        incarnation: i64,
    },
    /// By name.
    DeletePod(String),
    /// Not idempotent: its intent is written first, and it runs beside the lane.
    StartEgress {
        /// The room whose Program is sent.
        room: String,
    },
    /// By id; beside the lane.
    StopEgress(String),
    /// By id: asks the worker of an egress whether it is there; beside the lane.
    AskWorker(String),
    /// By id: one that was given up, or that status does not name.
    StopSurplus(String),
    /// Start the compositor's own sender, or send it elsewhere.
    StartSender {
        /// Orders it against other requests.
        revision: u64,
    },
    /// Stop the compositor's own sender.
    StopSender {
        /// Orders it against other requests.
        revision: u64,
    },
    /// Keep the stream key in the object's Secret.
    KeepStreamKey(KeptKey),
}

impl Action {
    /// What fails with it.
    pub fn effect(&self) -> Effect {
        match self {
            Self::AddFinalizer | Self::CreatePod { .. } | Self::RenewBoot { .. } => Effect::making(Part::Pod),
            Self::RemoveFinalizer | Self::RecordAbandoned(_) | Self::DeletePod(_) => {
                Effect::ending(Part::Pod)
            }
            Self::CreateStream(_) | Self::EnableStream(_) => Effect::making(Part::Stream),
            Self::UpdateStream(..) => Effect::making(Part::Settings),
            Self::CompleteStream(_) | Self::DisableStream(_) | Self::DeleteStream(_) => {
                Effect::ending(Part::Stream)
            }
            Self::CreateRoom(_) => Effect::making(Part::Room),
            Self::DeleteRoom(_) => Effect::ending(Part::Room),
            Self::StartEgress { .. } | Self::StartSender { .. } => Effect::making(Part::Sender),
            Self::StopEgress(_) | Self::StopSender { .. } => Effect::ending(Part::Sender),
            Self::AskWorker(_) => Effect::making(Part::Surplus),
            Self::StopSurplus(_) => Effect::ending(Part::Surplus),
            Self::KeepStreamKey(_) => Effect::making(Part::Key),
        }
    }

    /// Whether something paid, or that people see, ends by it, and may do so without its record. A room's is needed: its
    /// name is never used again.
    pub fn ends(&self) -> bool {
        matches!(
            self,
            Self::CompleteStream(_)
                | Self::DisableStream(_)
                | Self::DeleteStream(_)
                | Self::DeletePod(_)
                | Self::StopEgress(_)
                | Self::StopSurplus(_)
                | Self::StopSender { .. }
        )
    }

    /// Whether it only begins in the pass: what comes of it is told later.
    pub fn runs_beside(&self) -> bool {
        matches!(
            self,
            Self::StartEgress { .. } | Self::StopEgress(_) | Self::StopSurplus(_) | Self::AskWorker(_)
        )
    }

    /// Whether what follows may go on when it failed: ending must not stop half-way.
    pub fn may_fail(&self) -> bool {
        matches!(
            self,
            Self::CompleteStream(_)
                | Self::DisableStream(_)
                | Self::DeleteStream(_)
                | Self::StopEgress(_)
                | Self::StopSurplus(_)
                | Self::AskWorker(_)
                | Self::StopSender { .. }
                | Self::KeepStreamKey(_)
                // Nobody waits for settings.
                | Self::UpdateStream(..)
        )
    }
}
