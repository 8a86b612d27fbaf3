//! HTTP, the same for both providers: no redirections, no repetitions, and no answer without a bound. An endpoint may be one
//! that a tenant named.

use super::Interruption;
use reqwest::{Client, Response};
use std::sync::Arc;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes. A page of 100 live streams of Mux's has some 150,000.
pub(super) const LONGEST_BODY: usize = 8 * 1024 * 1024;

/// Speaks TLS with rustls on ring and Mozilla's roots: it needs no certificates in the image.
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

/// The body, unless it is longer than any that is to be expected: it must not fill our memory.
pub(crate) async fn bounded_body(response: &mut Response, longest: usize) -> Result<Vec<u8>, Interruption> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Interruption::from(&error))? {
        if body.len() + chunk.len() > longest {
            return Err(Interruption::TooLong { host: response.url().host_str().map(str::to_owned) });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
