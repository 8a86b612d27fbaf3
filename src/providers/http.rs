//! The HTTP client of all that is outside of the cluster.

use reqwest::Client;
use std::sync::Arc;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Speaks TLS with rustls on ring and Mozilla's roots: it needs no certificates in the image. Follows no redirect and repeats
/// nothing.
///
/// # Errors
/// The TLS configuration or the client cannot be made.
pub fn http_client() -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .user_agent(concat!("memorialstream-operator/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}
