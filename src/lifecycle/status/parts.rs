//! What the conditions of the single parts say: credentials, Mux live stream, room, compositor.

use super::{Kind, View};
use crate::api::Reason;
use crate::api::conditions::{Statement, Truth, find};
use crate::lifecycle::backoff::Part;
use crate::lifecycle::observed::{Observed, Seen};
use crate::lifecycle::plan::Action;
use crate::providers::mux::LiveStreamStatus;
use crate::providers::{ErrorClass, ProviderError};
use crate::service::credentials::{Access, SetAside};
use crate::service::desired::Why;
use crate::service::pod::{self, PodSeen, RecordedPod};
use crate::world::CompositorError;

/// LiveKit's own time-outs (livekit-server `config.go`: `departure_timeout` 20 s).
const OPENED_BY_OTHERS: &str = "a device opened the room before the operator did, so that LiveKit's own time-outs hold: it \
                                closes 20 s after the last participant has left, and is made anew then";

impl View<'_> {
    pub(super) fn credentials(&self) -> Statement {
        let kind = Kind::CredentialsValid;
        if let Some(SetAside { reason, message }) = &self.observed.set_aside {
            let message = match self.refused_credentials() {
                None => format!("{message}; until then the credentials that worked before go on being used"),
                Some(_) => format!("{message}; those that worked before are refused as well"),
            };
            return Statement::new(kind, false, *reason, message);
        }
        match &self.observed.access {
            Access::Unusable(SetAside { reason, message }) => {
                Statement::new(kind, false, *reason, message.clone())
            }
            access => match (self.refused_credentials(), access) {
                (Some(error), _) => {
                    Statement::new(kind, false, Reason::CredentialsRefused, error.message.clone())
                }
                (None, Access::Failed(error)) => Self::unanswered(kind, error),
                (None, _) => Statement::new(kind, true, Reason::Accepted, ""),
            },
        }
    }

    /// Where a provider refused the credentials of this pass.
    fn refused_credentials(&self) -> Option<&ProviderError> {
        let access = match &self.observed.access {
            Access::Failed(error) => Some(error),
            Access::Granted { .. } | Access::Unusable(_) => None,
        };
        let Observed { stream, rooms, egresses, .. } = self.observed;
        let errors = [access, stream.error(), rooms.error(), egresses.error()];
        errors.into_iter().flatten().find(|error| error.class == ErrorClass::Credentials)
    }

    fn namespace(&self) -> &str {
        self.object.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub(super) fn stream(&self) -> Statement {
        let kind = Kind::MuxStreamReady;
        let mux = self.status.mux.clone().unwrap_or_default();
        if let Some(error) = self.observed.stream_is_not_ours() {
            return Statement::new(kind, false, Reason::Refused, error.message.clone());
        }
        if let Some(error) = self.observed.stream.error().or(self.observed.marked.error()) {
            return Self::unanswered(kind, error);
        }
        let failed = self.backoff(kind, Part::Stream);
        if let Some(backoff) = failed.or_else(|| self.backoff(kind, Part::Settings)) {
            return backoff;
        }
        if let Some(before) = self.stream_was_ready() {
            return before;
        }
        let Seen::Known(Some(stream)) = &self.observed.stream else {
            if self.plan.desired.why == Why::Deletion && mux.creating.is_none() {
                return Statement::not_requested(kind);
            }
            let (reason, message) = match mux.creating {
                Some(intent)
                    if !self.plan.actions.iter().any(|action| matches!(action, Action::CreateStream(_))) =>
                {
                    (
                        Reason::Searching,
                        if intent.absent_since.is_some() {
                            "the answer to the creation of the Mux live stream was lost; it was not found once, and is searched for once more"
                        } else {
                            "the answer to the creation of the Mux live stream was lost; it is being searched for"
                        },
                    )
                }
                _ => (Reason::Creating, "the Mux live stream is being created"),
            };
            return Statement::new(kind, false, reason, message);
        };
        if stream.public_playback_id().is_none() {
            let message = format!(
                "the Mux live stream has no public playback id: nobody can watch; add one at Mux to live stream {}",
                stream.id
            );
            return Statement::new(kind, false, Reason::PlaybackIdMissing, message);
        }
        match (&stream.status, self.runs()) {
            (LiveStreamStatus::Disabled, true) => {
                Statement::new(kind, false, Reason::Enabling, "the Mux live stream is being enabled")
            }
            (LiveStreamStatus::Disabled, false) => Statement::new(kind, true, Reason::Disabled, ""),
            (_, true) => Statement::new(kind, true, Reason::Enabled, ""),
            (_, false) => {
                Statement::new(kind, false, Reason::Disabling, "the Mux live stream is being disabled")
            }
        }
    }

    /// A stream on which nothing depends is not asked for in each pass: it is as it was seen or left last.
    fn stream_was_ready(&self) -> Option<Statement> {
        let kind = Kind::MuxStreamReady;
        let named = self.status.mux.as_ref().is_some_and(|mux| mux.stream_id.is_some());
        let before = find(&self.object.status.as_ref()?.conditions, kind)?;
        let not_asked = self.observed.stream == Seen::NotAsked && self.plan.desired.why != Why::Deletion;
        if !not_asked || !named {
            return None;
        }
        if before.reason == Reason::PlaybackIdMissing.as_str() {
            return Some(Statement::new(kind, false, Reason::PlaybackIdMissing, before.message.clone()));
        }
        let reason = if self.runs() { Reason::Enabled } else { Reason::Disabled };
        (before.status == Truth::True.as_str()).then(|| Statement::new(kind, true, reason, ""))
    }

    pub(super) fn room(&self) -> Statement {
        let kind = Kind::RoomReady;
        if !self.runs() {
            return self.room_closing().unwrap_or_else(|| Statement::not_requested(kind));
        }
        if let Some(error) = self.observed.rooms.error() {
            return Self::unanswered(kind, error);
        }
        if let Some(backoff) = self.backoff(kind, Part::Room) {
            return backoff;
        }
        match self.status.room.as_ref().and_then(|room| room.sid.as_ref()) {
            Some(sid) if self.was_opened_by_others(sid) => {
                Statement::new(kind, true, Reason::Exists, OPENED_BY_OTHERS)
            }
            Some(_) => Statement::new(kind, true, Reason::Exists, ""),
            None => Statement::new(kind, false, Reason::Creating, "the LiveKit room is being created"),
        }
    }

    /// It does not bear our marker: LiveKit made it for a device that came first, and takes no settings for it any more.
    fn was_opened_by_others(&self, sid: &str) -> bool {
        let mut rooms = self.observed.rooms.known().into_iter().flatten();
        rooms.any(|room| room.sid == sid && room.metadata.is_empty())
    }

    /// A room that is still open although none is wanted: LiveKit bills what is in it.
    pub(super) fn room_closing(&self) -> Option<Statement> {
        let kind = Kind::RoomReady;
        let open = self.observed.rooms.known()?.first()?;
        if let Some(backoff) = self.backoff(kind, Part::Room) {
            return Some(backoff);
        }
        let ours = self.status.room.as_ref().is_some_and(|room| {
            room.name.as_ref() == Some(&open.name) || room.deleted_sid.as_ref() == Some(&open.sid)
        });
        Some(if ours {
            Statement::new(kind, false, Reason::Closing, format!("room {} is being closed", open.name))
        } else {
            let message = format!(
                "devices join room {} again after it was deleted, and open it by that; it is deleted each time: close \
                 the app on them",
                open.name
            );
            Statement::new(kind, false, Reason::Returned, message)
        })
    }

    pub(super) fn compositor(&self) -> Statement {
        let kind = Kind::CompositorReady;
        let no = |reason: Reason, message: String| Statement::new(kind, false, reason, message);
        let hanging = self.observed.pods.iter().find(|pod| pod.hangs(self.now));
        if !self.runs() {
            return hanging.map_or_else(
                || Statement::not_requested(kind),
                |pod| no(Reason::PodHanging, pod_hangs(self.namespace(), pod)),
            );
        }
        if let Some(backoff) = self.backoff(kind, Part::Pod) {
            return backoff;
        }
        let Some(pod) = pod::in_use(&self.observed.pods) else {
            if let Some(ending) = self.observed.pods.iter().find(|pod| pod.deleting && !pod.hangs(self.now)) {
                let message =
                    format!("compositor pod {} is ending; the next one is made once it is gone", ending.name);
                return no(Reason::Creating, message);
            }
            if self.observed.recorded_pod == RecordedPod::Unknown {
                let message = "the API server does not say whether the compositor pod is there";
                return no(Reason::Creating, message.into());
            }
            return no(Reason::Creating, "the compositor pod is being created".into());
        };
        if let Some((reason, message)) = &pod.complaint {
            return no(kubelet_reason(reason), format!("pod {}: {reason}: {message}", pod.name));
        }
        match &self.observed.compositor {
            Some(Err(CompositorError::Unauthorized)) => {
                let name = &pod.name;
                let error = CompositorError::Unauthorized;
                let namespace = self.namespace();
                let advice = format!(
                    "{error}; for another pod, within seconds: kubectl -n {namespace} delete pod {name}"
                );
                no(Reason::Unauthorized, advice)
            }
            Some(Err(error)) if pod.ready => no(Reason::NotAnswering, format!("pod {}: {error}", pod.name)),
            Some(Ok(status)) if status.boot_error.is_some() => {
                let error = status.boot_error.as_deref().unwrap_or_default();
                no(Reason::BootDocument, format!("pod {} cannot boot from its document: {error}", pod.name))
            }
            Some(Ok(status)) if status.publisher.identity_taken => {
                no(Reason::IdentityTaken, identity_taken(pod))
            }
            Some(Ok(status)) if !status.publisher.connected => no(
                Reason::NotPublishing,
                status
                    .publisher
                    .error
                    .clone()
                    .unwrap_or_else(|| "Program is not published in the room yet".into()),
            ),
            Some(Ok(status)) if !status.program_advances() => {
                no(Reason::ProgramStalled, format!("pod {}: Program stands still", pod.name))
            }
            Some(Ok(_)) if pod.ready => Statement::new(kind, true, Reason::Running, ""),
            _ => no(Reason::Starting, format!("pod {} is starting", pod.name)),
        }
    }
}

/// What a person can do about somebody who joins as Program.
fn identity_taken(pod: &PodSeen) -> String {
    format!(
        "somebody else joined the room as Program and put pod {} out; it is sent its document again and takes the place \
         back. If this comes again, somebody holds a token for Program or the project's secret: make a new API key at \
         LiveKit and put it into the Secret",
        pod.name
    )
}

/// What a person can do about a pod that is not confirmed to be gone.
fn pod_hangs(namespace: &str, pod: &PodSeen) -> String {
    let node = pod.node.as_deref().unwrap_or("no node");
    format!(
        "compositor pod {} on {node} was deleted and does not end: the kubelet there does not answer; the service goes on \
         without it. If that node is gone for good, delete it, or the pod: kubectl -n {namespace} delete pod {} \
         --force",
        pod.name, pod.name
    )
}

/// A condition's reason must be one of ours: what the kubelet says stands in the message.
fn kubelet_reason(reason: &str) -> Reason {
    match reason {
        "ErrImagePull" => Reason::ErrImagePull,
        "ImagePullBackOff" => Reason::ImagePullBackOff,
        "ErrImageNeverPull" => Reason::ErrImageNeverPull,
        "InvalidImageName" => Reason::InvalidImageName,
        "CrashLoopBackOff" => Reason::CrashLoopBackOff,
        "CreateContainerConfigError" => Reason::CreateContainerConfigError,
        "Unschedulable" => Reason::Unschedulable,
        _ => Reason::PodNotRunning,
    }
}
