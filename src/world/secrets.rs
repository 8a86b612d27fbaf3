//! Secrets.

use super::KubernetesError;
use crate::providers::Secret;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use std::collections::BTreeMap;

/// What stands in a Secret, by key.
pub type SecretData = BTreeMap<String, Secret>;

/// Secrets.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// What stands in a Secret. `Ok(None)`: there is none of that name.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<SecretData>, KubernetesError>;
    /// Applies a Secret whole.
    async fn apply_secret(&self, secret: KubernetesSecret) -> Result<(), KubernetesError>;
}
