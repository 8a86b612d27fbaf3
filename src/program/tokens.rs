//! The LiveKit tokens of a document: minted once, renewed at half their life and when what they are good for changes.

use crate::api::MemorialStream;
use crate::providers::Secret;
use crate::service::control_document::{self, Tokens};
use crate::service::credentials::Credentials;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// Tokens live 24 h; they are renewed at half of that.
const HALF_LIFE: SignedDuration = SignedDuration::from_hours(12);

/// Tokens that were minted, and what for.
#[derive(Clone)]
pub(super) struct Minted {
    at: Timestamp,
    purpose: Purpose,
    tokens: Tokens,
}

/// What the tokens are good for; a change of it needs new ones.
#[derive(Clone, PartialEq)]
struct Purpose {
    room: String,
    api_key: String,
    api_secret: Secret,
    cameras: Vec<String>,
}

/// The tokens that `object` needs: those that were minted before, unless they are too old or good for something else.
///
/// # Errors
/// They cannot be signed; the message says why.
pub(super) fn tokens(
    object: &MemorialStream,
    credentials: &Credentials,
    minted: &mut Option<Minted>,
    now: Timestamp,
) -> Result<Tokens, String> {
    let livekit = &credentials.livekit;
    let purpose = Purpose {
        room: control_document::room(object),
        api_key: livekit.api_key.clone(),
        api_secret: livekit.api_secret.clone(),
        cameras: object.spec.cameras.iter().map(|camera| camera.name.clone()).collect(),
    };
    if let Some(minted) = minted
        && minted.purpose == purpose
        // One of a clock that was ahead is not valid yet.
        && (SignedDuration::ZERO..HALF_LIFE).contains(&now.duration_since(minted.at))
    {
        return Ok(minted.tokens.clone());
    }
    let tokens = control_document::mint(object, credentials)?;
    *minted = Some(Minted { at: now, purpose, tokens: tokens.clone() });
    Ok(tokens)
}
