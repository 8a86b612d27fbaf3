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
    /// Writes a Secret whole. One of that name that is not ours is never written: `NotOurs`.
    async fn apply_secret(&self, secret: KubernetesSecret) -> Result<(), KubernetesError>;
    /// The names of our Secrets with this label in the operator's own namespace.
    async fn secrets_with_label(&self, namespace: &str, label: &str) -> Result<Vec<String>, KubernetesError>;
    /// Deletes a Secret of ours in the operator's own namespace. One that is gone is deleted.
    async fn delete_secret(&self, namespace: &str, name: &str) -> Result<(), KubernetesError>;
}
