//! HTTP as the lab speaks it.

use anyhow::{Context, Result};
use std::sync::Arc;
use std::time::Duration;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client for the lab's own services, which speak plain HTTP. Its TLS trusts nobody; it is set only because reqwest
/// wants a provider to be installed otherwise, and that is for each program to choose.
///
/// # Errors
/// When the client cannot be set up.
pub fn client() -> Result<reqwest::Client> {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(TIMEOUT)
        .no_proxy()
        .build()
        .context("set up an HTTP client")
}
