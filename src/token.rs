//! A join token for a declared camera.

use crate::adapters::kubernetes::KubernetesSecrets;
use crate::api::MemorialStream;
use crate::api::names::camera_identity;
use crate::providers::Secret;
use crate::providers::livekit::TokenMinter;
use crate::service::control_document;
use crate::service::credentials::{self, DefaultSecret};
use anyhow::{Context, bail};
use kube::Client;
use kube::api::Api;
use std::time::Duration;

/// With what a device joins.
#[derive(Clone, Debug)]
pub struct CameraToken {
    /// LiveKit's WebSocket URL.
    pub url: String,
    /// The token.
    pub token: Secret,
}

/// Mints a token with which the device of a declared camera joins for as long as `lifetime`.
///
/// # Errors
/// There is no such object or camera, or its credentials cannot be read.
pub async fn camera_token(
    client: Client,
    default: &DefaultSecret,
    namespace: &str,
    object: &str,
    camera: &str,
    lifetime: Duration,
) -> anyhow::Result<CameraToken> {
    let api: Api<MemorialStream> = Api::namespaced(client.clone(), namespace);
    let found = api.get(object).await.with_context(|| format!("read MemorialStream {namespace}/{object}"))?;
    let declared = found.spec.cameras.iter().find(|declared| declared.name == camera);
    let Some(declared) = declared else {
        let names: Vec<&str> = found.spec.cameras.iter().map(|camera| camera.name.as_str()).collect();
        bail!("{namespace}/{object} declares no camera {camera}; it declares: {}", names.join(", "));
    };
    let secrets = KubernetesSecrets::new(client, None);
    let credentials = credentials::read(&secrets, &found, default).await?;
    let minter = TokenMinter::new(&credentials.livekit);
    let name = declared.display_name.as_deref().unwrap_or(camera);
    let token =
        minter.camera_token(&control_document::room(&found), &camera_identity(camera), name, lifetime)?;
    Ok(CameraToken { url: credentials.livekit.url, token })
}
