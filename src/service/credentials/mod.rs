//! Which Secret holds the credentials of a MemorialStream, and what stands in it.

mod access;
mod endpoints;
mod in_use;

pub use access::{Access, SetAside, SignedIn, read_usable, sign_in};
pub use endpoints::AllowedEndpoints;
pub use in_use::CredentialsInUse;

use crate::api::MemorialStream;
use crate::providers::Secret;
use crate::providers::livekit::LiveKitCredentials;
use crate::providers::mux::MuxCredentials;
use crate::world::{KubernetesError, SecretData, Secrets};

/// Mux's own addresses, used unless the Secret names others.
/// Source: mux.com/docs, guides/configure-broadcast-software.
const MUX_BASE_URL: &str = "https://api.mux.com";
const MUX_RTMP_URL: &str = "rtmps://global-live.mux.com:443/app";
const MUX_PLAYBACK_BASE_URL: &str = "https://stream.mux.com";

/// What must stand in the Secret.
const REQUIRED: [&str; 5] =
    ["LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "MUX_TOKEN_ID", "MUX_TOKEN_SECRET"];
/// What may.
const OPTIONAL: [&str; 3] = ["MUX_BASE_URL", "MUX_RTMP_URL", "MUX_PLAYBACK_BASE_URL"];
/// In characters: an address, a key or a secret of either provider is shorter. They are kept, and told in status.
const LONGEST: usize = 1_024;

/// Whether a Secret with credentials, or a copy of one, is read for this key.
pub fn is_key(name: &str) -> bool {
    REQUIRED.contains(&name) || OPTIONAL.contains(&name) || name == in_use::NAMESPACE
}

/// Credentials and addresses of both providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Mux's API.
    pub mux: MuxCredentials,
    /// Where a sender connects, without the key.
    pub rtmp_url: String,
    /// What a playback id is appended to.
    pub playback_base_url: String,
    /// LiveKit's API.
    pub livekit: LiveKitCredentials,
}

/// The Secret that is used when a MemorialStream names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultSecret {
    /// The operator's own namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Where the other Secrets may lead.
    pub allowed_endpoints: AllowedEndpoints,
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No Secret of that name.
    #[error(
        "there is no Secret {0}; create it with LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET, MUX_TOKEN_ID and MUX_TOKEN_SECRET"
    )]
    SecretNotFound(String),
    /// A key is missing or empty.
    #[error("Secret {secret} has no {keys}; add what is missing")]
    KeyMissing {
        /// `namespace/name`.
        secret: String,
        /// The keys, with commas.
        keys: String,
    },
    /// What no provider ever gave out.
    #[error("Secret {secret}: {keys} is longer than 1,024 characters, or not plain ASCII text; correct it")]
    KeyUnusable {
        /// `namespace/name`.
        secret: String,
        /// The keys, with commas.
        keys: String,
    },
    /// An address that this installation does not allow.
    #[error(
        "Secret {secret}: {key} leads to a host that this installation does not allow ({host}); allowed are those in the operator's setting allowedEndpoints (--allowed-endpoints)"
    )]
    EndpointNotAllowed {
        /// `namespace/name`.
        secret: String,
        /// The key.
        key: &'static str,
        /// The host, bounded.
        host: String,
    },
    /// The API server did not answer.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
}

/// Namespace and name of the Secret with the credentials of `object`.
pub fn secret_of<'a>(object: &'a MemorialStream, default: &'a DefaultSecret) -> (&'a str, &'a str) {
    match object.spec.credentials_secret_ref.as_ref() {
        Some(own) => (object.metadata.namespace.as_deref().unwrap_or_default(), &own.name),
        None => (&default.namespace, &default.name),
    }
}

/// Reads the credentials of `object`.
///
/// # Errors
/// The Secret or one of its keys is missing, or the API server does not answer.
pub async fn read(
    secrets: &dyn Secrets,
    object: &MemorialStream,
    default: &DefaultSecret,
) -> Result<Credentials, CredentialsError> {
    let own = object.spec.credentials_secret_ref.as_ref();
    let (namespace, name) = secret_of(object, default);
    let place = format!("{namespace}/{name}");
    let Some(data) = secrets.secret(namespace, name).await? else {
        return Err(CredentialsError::SecretNotFound(place));
    };
    if own.is_some() {
        check_endpoints(secrets, default, &place, &data).await?;
    }
    parse(&place, &data)
}

/// What a tenant wrote leads only where the installation allows it.
async fn check_endpoints(
    secrets: &dyn Secrets,
    default: &DefaultSecret,
    place: &str,
    data: &SecretData,
) -> Result<(), CredentialsError> {
    // The operator's own Secret is read only where the list alone does not allow it.
    if default.allowed_endpoints.refused(data, None).is_none() {
        return Ok(());
    }
    let installation = secrets.secret(&default.namespace, &default.name).await?;
    match default.allowed_endpoints.refused(data, installation.as_ref()) {
        None => Ok(()),
        Some((key, host)) => {
            Err(CredentialsError::EndpointNotAllowed { secret: place.to_owned(), key, host })
        }
    }
}

fn parse(place: &str, data: &SecretData) -> Result<Credentials, CredentialsError> {
    let value = |key: &str| {
        data.get(key).map(|value| value.reveal().trim().to_owned()).filter(|value| !value.is_empty())
    };
    let is_usable = |text: String| text.len() <= LONGEST && text.chars().all(|char| char.is_ascii_graphic());
    let unusable: Vec<&str> =
        REQUIRED.into_iter().chain(OPTIONAL).filter(|key| !value(key).is_none_or(is_usable)).collect();
    if !unusable.is_empty() {
        return Err(CredentialsError::KeyUnusable { secret: place.to_owned(), keys: unusable.join(", ") });
    }
    let [Some(livekit_url), Some(api_key), Some(api_secret), Some(token_id), Some(token_secret)] =
        REQUIRED.map(value)
    else {
        let missing: Vec<&str> = REQUIRED.into_iter().filter(|key| value(key).is_none()).collect();
        return Err(CredentialsError::KeyMissing { secret: place.to_owned(), keys: missing.join(", ") });
    };
    let or = |key: &str, default: &str| value(key).unwrap_or_else(|| default.to_owned());
    Ok(Credentials {
        mux: MuxCredentials {
            base_url: or("MUX_BASE_URL", MUX_BASE_URL),
            token_id,
            token_secret: Secret::new(token_secret),
        },
        rtmp_url: or("MUX_RTMP_URL", MUX_RTMP_URL),
        playback_base_url: or("MUX_PLAYBACK_BASE_URL", MUX_PLAYBACK_BASE_URL),
        livekit: LiveKitCredentials { url: livekit_url, api_key, api_secret: Secret::new(api_secret) },
    })
}

/// What [`parse`] reads.
fn contents(credentials: &Credentials) -> SecretData {
    let Credentials { mux, rtmp_url, playback_base_url, livekit } = credentials;
    let pairs: [(&str, &str); 8] = [
        ("LIVEKIT_URL", &livekit.url),
        ("LIVEKIT_API_KEY", &livekit.api_key),
        ("LIVEKIT_API_SECRET", livekit.api_secret.reveal()),
        ("MUX_TOKEN_ID", &mux.token_id),
        ("MUX_TOKEN_SECRET", mux.token_secret.reveal()),
        ("MUX_BASE_URL", &mux.base_url),
        ("MUX_RTMP_URL", rtmp_url),
        ("MUX_PLAYBACK_BASE_URL", playback_base_url),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), Secret::new(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> SecretData {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), Secret::new(*value))).collect()
    }

    #[test]
    fn every_missing_key_is_named() {
        let error =
            parse("ns/providers", &data(&[("LIVEKIT_URL", "wss://x"), ("MUX_TOKEN_ID", " ")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Secret ns/providers has no LIVEKIT_API_KEY, LIVEKIT_API_SECRET, MUX_TOKEN_ID, MUX_TOKEN_SECRET; add what is missing"
        );
    }

    /// What is kept of a tenant's Secret, and told in status, has a bound.
    #[test]
    fn what_no_provider_gives_out_is_refused_by_its_key() {
        let whole = |key: &str, value: &str| {
            let mut all: SecretData =
                REQUIRED.into_iter().map(|key| (key.to_owned(), Secret::new("x"))).collect();
            all.insert(key.to_owned(), Secret::new(value));
            parse("ns/providers", &all).map_err(|error| error.to_string())
        };
        assert!(whole("MUX_BASE_URL", &"x".repeat(LONGEST)).is_ok());
        for (key, value) in [("MUX_BASE_URL", "x".repeat(LONGEST + 1)), ("LIVEKIT_API_KEY", "ü".into())] {
            let told = whole(key, &value).unwrap_err();
            let words = format!(
                "Secret ns/providers: {key} is longer than 1,024 characters, or not plain ASCII text; correct it"
            );
            assert_eq!(told, words);
        }
    }

    #[test]
    fn values_are_trimmed_and_secrets_do_not_print() {
        let credentials = parse(
            "ns/providers",
            &data(&[
                ("LIVEKIT_URL", "wss://x\n"),
                ("LIVEKIT_API_KEY", "key"),
                ("LIVEKIT_API_SECRET", "hidden-1\n"),
                ("MUX_TOKEN_ID", "id"),
                ("MUX_TOKEN_SECRET", "hidden-2"),
            ]),
        )
        .unwrap();
        assert_eq!(credentials.livekit.api_secret.reveal(), "hidden-1");
        assert_eq!(credentials.mux.base_url, MUX_BASE_URL);
        assert!(!format!("{credentials:?}").contains("hidden"));
        assert_eq!(parse("copy", &contents(&credentials)).unwrap(), credentials);
    }
}
