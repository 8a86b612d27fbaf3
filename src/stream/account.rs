//! Which credentials a pass uses, and whose Mux says they are. What was made with some is kept and ended with them, though
//! the Secret is gone meanwhile or belongs to another account: nothing paid may run on because nobody can sign in.

use super::lane::Lane;
use super::observed::{Account, SetAside};
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::credentials::{self, Credentials, CredentialsError, DefaultSecret};
use crate::world::{Store, World};

/// How a pass presents itself to the providers.
pub(super) struct SignedIn {
    pub(super) account: Account,
    pub(super) set_aside: Option<SetAside>,
    /// Absent when there are none at all.
    pub(super) credentials: Option<Credentials>,
}

/// Reads the Secret; where it cannot be used, the credentials that worked last serve instead.
pub(super) async fn sign_in(lane: &Lane, object: &MemorialStream, status: &MemorialStreamStatus) -> SignedIn {
    let (account, credentials) = match read(lane.world.store.as_ref(), object, &lane.default_secret).await {
        Ok(fresh) => (account(&lane.world, &fresh, status).await, Some(fresh)),
        Err(problem) => (Account::Unusable(problem), None),
    };
    match (account, lane.in_use.of(object)) {
        (Account::Unusable(problem), Some(before)) => SignedIn {
            account: self::account(&lane.world, &before, status).await,
            set_aside: Some(problem),
            credentials: Some(before),
        },
        (account, _) => SignedIn { account, set_aside: None, credentials },
    }
}

/// Reads the credentials of `object`, unless they lead to another LiveKit than the one that its room is open on.
///
/// # Errors
/// Why they are not used.
pub(crate) async fn read(
    store: &dyn Store,
    object: &MemorialStream,
    default_secret: &DefaultSecret,
) -> Result<Credentials, SetAside> {
    let credentials = credentials::read(store, object, default_secret)
        .await
        .map_err(|error| SetAside { reason: reason(&error), message: error.to_string() })?;
    let room = object.status.as_ref().and_then(|status| status.room.as_ref());
    let elsewhere = room.and_then(|room| room.url.as_ref()).filter(|url| **url != credentials.livekit.url);
    match elsewhere {
        None => Ok(credentials),
        Some(url) => Err(SetAside {
            reason: "LiveKitChanged",
            message: format!(
                "LIVEKIT_URL is {} now, and the room of this service is open at {url}; put {url} back \
                 until the service has ended",
                credentials.livekit.url
            ),
        }),
    }
}

fn reason(error: &CredentialsError) -> &'static str {
    match error {
        CredentialsError::SecretNotFound(_) => "SecretNotFound",
        CredentialsError::KeyMissing { .. } => "SecretKeyMissing",
        CredentialsError::Store(_) => "SecretNotRead",
    }
}

async fn account(world: &World, credentials: &Credentials, status: &MemorialStreamStatus) -> Account {
    let environment = match world.mux.environment(&credentials.mux).await {
        Ok(environment) => environment,
        Err(error) => return Account::Failed(error),
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
        return Account::Unusable(SetAside { reason: "EnvironmentChanged", message });
    }
    Account::Known {
        environment,
        rtmp_url: credentials.rtmp_url.clone(),
        livekit_url: credentials.livekit.url.clone(),
        playback_base_url: credentials.playback_base_url.clone(),
    }
}
