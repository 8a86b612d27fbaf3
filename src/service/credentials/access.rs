//! Which credentials a pass uses, and whose Mux says they are. What was made with some is kept and ended with them, though
//! the Secret is gone meanwhile or belongs to another account: nothing paid may run on because nobody can sign in.

use super::{Credentials, CredentialsError, CredentialsInUse, DefaultSecret};
use crate::api::{MemorialStream, MemorialStreamStatus, Reason};
use crate::providers::ProviderError;
use crate::providers::mux::Environment;
use crate::service::Identity;
use crate::world::{KubernetesError, Secrets, World};

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
}

/// Reads the Secret; where it cannot be used, the credentials that worked last serve instead.
pub async fn sign_in(
    world: &World,
    in_use: &CredentialsInUse,
    default_secret: &DefaultSecret,
    identity: &Identity,
    object: &MemorialStream,
) -> SignedIn {
    let nothing = MemorialStreamStatus::default();
    let status = object.status.as_ref().unwrap_or(&nothing);
    let (access, credentials) = match read_usable(world.secrets.as_ref(), object, default_secret).await {
        Ok(fresh) => (self::access(world, &fresh, status).await, Some(fresh)),
        Err(problem) => (Access::Unusable(problem), None),
    };
    match (access, in_use.of(identity)) {
        (Access::Unusable(problem), Some(before)) => SignedIn {
            access: self::access(world, &before, status).await,
            set_aside: Some(problem),
            credentials: Some(before),
        },
        (access, _) => SignedIn { access, set_aside: None, credentials },
    }
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
    let credentials = super::read(secrets, object, default_secret)
        .await
        .map_err(|error| SetAside { reason: reason(&error), message: error.to_string() })?;
    let room = object.status.as_ref().and_then(|status| status.room.as_ref());
    let elsewhere = room.and_then(|room| room.url.as_ref()).filter(|url| **url != credentials.livekit.url);
    match elsewhere {
        None => Ok(credentials),
        Some(url) => Err(SetAside {
            reason: Reason::LiveKitChanged,
            message: format!(
                "LIVEKIT_URL is {} now, and the room of this service is open at {url}; put {url} back \
                 until the service has ended",
                credentials.livekit.url
            ),
        }),
    }
}

fn reason(error: &CredentialsError) -> Reason {
    match error {
        CredentialsError::SecretNotFound(_) => Reason::SecretNotFound,
        CredentialsError::EndpointNotAllowed { .. } => Reason::EndpointNotAllowed,
        CredentialsError::KeyMissing { .. } => Reason::SecretKeyMissing,
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
