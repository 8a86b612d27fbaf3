//! Which credentials a pass uses, and whose Mux says they are. What was made with some is kept and ended with them, though
//! the Secret is gone meanwhile or belongs to another account: nothing paid may run on because nobody can sign in.

use super::{Credentials, CredentialsError, CredentialsInUse, DefaultSecret, secret_of};
use crate::api::status::MuxStatus;
use crate::api::{MemorialStream, MemorialStreamStatus, Reason};
use crate::providers::mux::Environment;
use crate::providers::{ErrorClass, ProviderError};
use crate::service::Identity;
use crate::service::desired::broadcast_under_way;
use crate::world::{KubernetesError, Secrets, World};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Who the providers think we are.
#[derive(Clone, Debug)]
pub enum Access {
    /// Mux said so.
    Granted {
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
    pub reason: Reason,
    /// What is wrong where, and what to do.
    pub message: String,
}

/// How a pass presents itself to the providers.
pub struct SignedIn {
    /// Who the providers think we are.
    pub access: Access,
    /// Why the Secret cannot be used, where the credentials that worked last are used instead.
    pub set_aside: Option<SetAside>,
    /// Absent when there are none at all.
    pub credentials: Option<Credentials>,
    /// The Secret names other addresses of Mux than those through which mourners are reached now.
    pub addresses_wait: bool,
}

/// For so long after mourners were seen last an address that reached them is kept: a sender comes back by itself.
const ADDRESS_HOLDS: SignedDuration = SignedDuration::from_secs(40);

impl SignedIn {
    fn unusable(problem: SetAside) -> Self {
        Self { access: Access::Unusable(problem), set_aside: None, credentials: None, addresses_wait: false }
    }
}

/// Reads the Secret; where it cannot be used, or a provider refuses what stands in it, the credentials that worked last
/// serve instead. `rooms`: how fresh LiveKit's word on a changed key must be.
pub async fn sign_in(
    world: &World,
    in_use: &CredentialsInUse,
    default_secret: &DefaultSecret,
    identity: &Identity,
    object: &MemorialStream,
    rooms: Duration,
) -> SignedIn {
    let nothing = MemorialStreamStatus::default();
    let status = object.status.as_ref().unwrap_or(&nothing);
    let secrets = world.secrets.as_ref();
    let before = in_use.of(secrets, identity, object).await.filter(|_| is_begun(status));
    let reached = before.clone().filter(|_| reaches_mourners(status, world.clock.now()));
    let (mut chosen, set_aside) = match (read(secrets, object, default_secret).await, before) {
        (Ok(fresh), Some(before)) if fresh != before => {
            let place = secret_of(object, default_secret);
            replace(world, status, place, fresh, before, rooms).await
        }
        (Ok(fresh), _) => (fresh, None),
        (Err(problem), Some(before)) => (before, Some(problem)),
        (Err(problem), None) => return SignedIn::unusable(problem),
    };
    let addresses_wait = reached.is_some_and(|before| keep_addresses(&mut chosen, before));
    // A copy may be older than the room: at another server it would be taken for gone.
    if let Some(problem) = elsewhere(&chosen, status) {
        return SignedIn::unusable(set_aside.unwrap_or(problem));
    }
    let access = access(world, &chosen, status).await;
    SignedIn { access, set_aside, credentials: Some(chosen), addresses_wait }
}

/// Whether a broadcast is seen, or was a moment ago.
fn reaches_mourners(status: &MemorialStreamStatus, now: Timestamp) -> bool {
    let dark_since = status.egress.as_ref().and_then(|egress| egress.dark_since.as_ref());
    broadcast_under_way(status) && dark_since.is_none_or(|since| now.duration_since(since.0) < ADDRESS_HOLDS)
}

/// Whose token it is tells nothing of the addresses beside it: what is on air is not cut off for one that may be wrong.
/// True where they differ.
fn keep_addresses(chosen: &mut Credentials, before: Credentials) -> bool {
    let differ =
        (&chosen.rtmp_url, &chosen.playback_base_url) != (&before.rtmp_url, &before.playback_base_url);
    (chosen.rtmp_url, chosen.playback_base_url) = (before.rtmp_url, before.playback_base_url);
    differ
}

/// Whether anything was ever made for the object: it goes on and ends with the credentials that it was made with. Nothing
/// is begun with any but those that the Secret holds.
fn is_begun(status: &MemorialStreamStatus) -> bool {
    let stream =
        |mux: &MuxStatus| mux.stream_id.is_some() || mux.creating.is_some() || mux.environment_id.is_some();
    status.mux.as_ref().is_some_and(stream) || status.room.is_some() || status.started_at.is_some()
}

/// Which of two credentials serve, for each provider by itself, and why the newer do not. What a provider refuses, or what
/// leads elsewhere than to what exists, is set aside; where it does not say, what worked goes on working.
async fn replace(
    world: &World,
    status: &MemorialStreamStatus,
    (namespace, name): (&str, &str),
    fresh: Credentials,
    before: Credentials,
    rooms: Duration,
) -> (Credentials, Option<SetAside>) {
    let refused = |error: ProviderError| {
        let message = format!("Secret {namespace}/{name}: {}", error.message);
        (error.class == ErrorClass::Credentials)
            .then_some(SetAside { reason: Reason::CredentialsRefused, message })
    };
    let mut set_aside = None;
    let mut chosen = fresh;
    if (&chosen.mux, &chosen.rtmp_url, &chosen.playback_base_url)
        != (&before.mux, &before.rtmp_url, &before.playback_base_url)
    {
        let problem = match access(world, &chosen, status).await {
            Access::Granted { .. } => None,
            Access::Unusable(problem) => Some(Some(problem)),
            Access::Failed(error) => Some(refused(error)),
        };
        if let Some(problem) = problem {
            let Credentials { mux, rtmp_url, playback_base_url, .. } = before.clone();
            chosen = Credentials { mux, rtmp_url, playback_base_url, ..chosen };
            set_aside = problem;
        }
    }
    if chosen.livekit != before.livekit {
        let problem = match elsewhere(&chosen, status) {
            Some(problem) => Some(Some(problem)),
            None => world.livekit.rooms(&chosen.livekit, rooms).await.err().map(refused),
        };
        if let Some(problem) = problem {
            chosen.livekit = before.livekit;
            set_aside = set_aside.or(problem);
        }
    }
    (chosen, set_aside)
}

/// Reads the credentials of `object`, unless they lead to another LiveKit than the one that its room is open on.
///
/// # Errors
/// Why they are not used.
pub async fn read_usable(
    secrets: &dyn Secrets,
    object: &MemorialStream,
    default_secret: &DefaultSecret,
) -> Result<Credentials, SetAside> {
    let credentials = read(secrets, object, default_secret).await?;
    match object.status.as_ref().and_then(|status| elsewhere(&credentials, status)) {
        None => Ok(credentials),
        Some(problem) => Err(problem),
    }
}

async fn read(
    secrets: &dyn Secrets,
    object: &MemorialStream,
    default_secret: &DefaultSecret,
) -> Result<Credentials, SetAside> {
    let read = super::read(secrets, object, default_secret).await;
    read.map_err(|error| SetAside { reason: reason(&error), message: error.to_string() })
}

/// What is wrong where the room is open on another LiveKit.
fn elsewhere(credentials: &Credentials, status: &MemorialStreamStatus) -> Option<SetAside> {
    let open = status.room.as_ref().and_then(|room| room.url.as_ref());
    let url = open.filter(|url| **url != credentials.livekit.url)?;
    Some(SetAside {
        reason: Reason::LiveKitChanged,
        message: format!(
            "LIVEKIT_URL is {} now, and the room of this service is open at {url}, or was a moment ago; put {url} back until \
             the service has ended",
            credentials.livekit.url
        ),
    })
}

fn reason(error: &CredentialsError) -> Reason {
    match error {
        CredentialsError::SecretNotFound(_) => Reason::SecretNotFound,
        CredentialsError::EndpointNotAllowed { .. } => Reason::EndpointNotAllowed,
        CredentialsError::KeyMissing { .. } | CredentialsError::KeyUnusable { .. } => {
            Reason::SecretKeyMissing
        }
        CredentialsError::Kubernetes(KubernetesError::Forbidden(_)) => Reason::Forbidden,
        CredentialsError::Kubernetes(_) => Reason::SecretNotRead,
    }
}

async fn access(world: &World, credentials: &Credentials, status: &MemorialStreamStatus) -> Access {
    let environment = match world.mux.environment(&credentials.mux).await {
        Ok(environment) => environment,
        Err(error) => return Access::Failed(error),
    };
    let ours = status.mux.as_ref().filter(|mux| mux.stream_id.is_some() || mux.creating.is_some());
    if let Some(before) = ours.and_then(|mux| mux.environment_id.as_ref())
        && *before != environment.environment_id
    {
        let message = format!(
            "the credentials belong to Mux environment {}, and this service's live stream exists in {before}; put the \
             credentials of {before} back",
            environment.environment_id
        );
        return Access::Unusable(SetAside { reason: Reason::EnvironmentChanged, message });
    }
    Access::Granted {
        environment,
        rtmp_url: credentials.rtmp_url.clone(),
        livekit_url: credentials.livekit.url.clone(),
        playback_base_url: credentials.playback_base_url.clone(),
    }
}
