//! A join token for a declared camera.

use crate::api::MemorialStream;
use crate::api::names::camera_identity;
use crate::credentials::{self, DefaultSecret};
use crate::kubernetes::KubernetesStore;
use crate::program::document;
use crate::providers::Secret;
use crate::providers::livekit::TokenMinter;
use anyhow::{Context, bail};
use kube::Client;
use kube::api::Api;
use kube::runtime::reflector;
use std::time::Duration;
use tokio::sync::watch;

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
    let (streams, _) = reflector::store();
    let (pods, _) = reflector::store();
    let store =
        KubernetesStore::new(client, streams, pods, watch::channel(()).1, Some(String::new())).await?;
    let credentials = credentials::read(&store, &found, default).await?;
    let minter = TokenMinter::new(&credentials.livekit);
    let name = declared.display_name.as_deref().unwrap_or(camera);
    let token = minter.camera_token(&document::room(&found), &camera_identity(camera), name, lifetime)?;
    Ok(CameraToken { url: credentials.livekit.url, token })
}
