//! The reasons that conditions give: one word each, part of the API. `docs/operations.md` says what to do about each.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $meaning:literal])+ $name:ident,)+) => {
        /// Why a condition stands as it does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As it stands in `reason`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

reasons! {
    /// Both providers take the credentials.
    Accepted,
    /// The sender to Mux is connected.
    Active,
    /// Program shows what the spec asks for.
    Applied,
    /// The boot document of the compositor cannot be written, or the pod cannot boot from it.
    BootDocument,
    /// Declared cameras have not joined.
    CamerasMissing,
    /// The room is being closed.
    Closing,
    /// The compositor does not answer the fast lane.
    CompositorNotAnswering,
    /// The compositor did not do what it was asked.
    CompositorRefused,
    /// The sender is on its way to Mux.
    Connecting,
    /// The kubelet waits before it starts the container again.
    CrashLoopBackOff,
    /// The kubelet cannot make the container.
    CreateContainerConfigError,
    /// It is being created.
    Creating,
    /// There are no credentials to act with.
    CredentialsMissing,
    /// A provider refuses the credentials.
    CredentialsRefused,
    /// The Mux live stream takes no ingest, as is wanted.
    Disabled,
    /// The Mux live stream is being disabled.
    Disabling,
    /// The Mux live stream takes ingest, as is wanted.
    Enabled,
    /// The Mux live stream is being enabled.
    Enabling,
    /// schedule.endAt has come.
    EndAt,
    /// The broadcast is over.
    Ended,
    /// An address in the Secret is not on the installation's list.
    EndpointNotAllowed,
    /// The credentials belong to another Mux environment.
    EnvironmentChanged,
    /// The image is not on the node and must not be pulled.
    ErrImageNeverPull,
    /// The image cannot be pulled.
    ErrImagePull,
    /// The room exists.
    Exists,
    /// The operator has no permission: a RoleBinding is missing.
    Forbidden,
    /// Nothing runs, as is wanted.
    Idle,
    /// The compositor's identity in the room was taken by somebody else.
    IdentityTaken,
    /// The image cannot be pulled; the kubelet waits before it tries again.
    ImagePullBackOff,
    /// The image's name is none.
    InvalidImageName,
    /// The API server refused a write.
    KubernetesRefused,
    /// The service is on air, as is wanted.
    Live,
    /// Live lasted as long as its limit allows.
    LiveLimit,
    /// LIVEKIT_URL names another server than the one with the open room.
    LiveKitChanged,
    /// The compositor could not read a document.
    Malformed,
    /// There is no Mux live stream.
    MuxStreamMissing,
    /// No compositor runs yet.
    NoCompositor,
    /// The compositor pod does not answer.
    NotAnswering,
    /// A provider does not have it.
    NotFound,
    /// Program is not published in the room.
    NotPublishing,
    /// The present state does not want it.
    NotRequested,
    /// Mourners see Program.
    OnAir,
    /// The playback address refuses mourners.
    NotWatchable,
    /// A newer document was applied already.
    Outdated,
    /// An annotation stops all changes but End, limits and deletion.
    Paused,
    /// No frame came out of the compositor in time.
    PipelineNotRunning,
    /// Nothing is added to the playlist that mourners read.
    PlaylistStalled,
    /// The Mux live stream has no public playback id.
    PlaybackIdMissing,
    /// A pod that was deleted is not confirmed to be gone: its node does not answer.
    PodHanging,
    /// The pod does not run, for a reason of the kubelet's that stands in the message.
    PodNotRunning,
    /// Program's frames do not advance.
    ProgramStalled,
    /// It is being brought about.
    Progressing,
    /// A provider does not answer.
    ProviderNotAnswering,
    /// A provider takes no more requests for now.
    RateLimited,
    /// The service could go live.
    Ready,
    /// The sender is cut off, and Mux waits for it.
    Reconnecting,
    /// A provider refuses the request for good.
    Refused,
    /// The sender ended and is started again.
    Restarting,
    /// A device opened a deleted room again.
    Returned,
    /// The compositor runs and publishes Program.
    Running,
    /// The answer to a create was lost; what it made is searched for.
    Searching,
    /// A key of the Secret is missing.
    SecretKeyMissing,
    /// There is no Secret of that name.
    SecretNotFound,
    /// A Secret that is to be written belongs to somebody else.
    SecretNotOurs,
    /// The Secret could not be read.
    SecretNotRead,
    /// livekit-server is too old for the egress that is asked for.
    ServerTooOld,
    /// This session was Live and has ended.
    SessionEnded,
    /// Another object had the slug first.
    SlugTaken,
    /// The camera that the spec asks for sends no picture.
    SourceMissing,
    /// The rehearsal runs, as is wanted.
    Standby,
    /// Standby lasted as long as its limit allows.
    StandbyLimit,
    /// It is starting.
    Starting,
    /// The sender to Mux is being stopped.
    Stopping,
    /// No LiveKit token could be made.
    TokensNotMinted,
    /// More sources are asked for than the layout shows.
    TooManySources,
    /// The compositor does not take the operator's bearer token.
    Unauthorized,
    /// The operator cannot read the object.
    Unreadable,
    /// Program names a camera that is not declared.
    UnknownCamera,
    /// No node takes the pod.
    Unschedulable,
    /// The sender does not send any more.
    SenderLost,
    /// What must come before is not ready.
    Waiting,
    /// No egress worker is free.
    WaitingForCapacity,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_says_what_to_do_about_each_reason() {
        let operations = include_str!("../../docs/operations.md");
        let missing: Vec<&str> = Reason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .filter(|reason| !operations.contains(&format!("`{reason}`")))
            .collect();
        assert!(missing.is_empty(), "docs/operations.md does not name {missing:?}");
    }
}
