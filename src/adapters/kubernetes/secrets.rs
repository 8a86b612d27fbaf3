//! Secrets.

use super::bounded;
use crate::api::names::OPERATOR_MANAGER;
use crate::providers::Secret;
use crate::world::{KubernetesError, SecretData, Secrets};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a Secret that was read is taken for granted.
const FRESHNESS: Duration = Duration::from_secs(15);

/// What was read and when, by namespace and name.
type Cache = HashMap<(String, String), (Instant, SecretData)>;

/// Secrets, read one by one.
#[derive(Clone)]
pub struct KubernetesSecrets {
    client: Client,
    cache: Arc<Mutex<Cache>>,
}

impl KubernetesSecrets {
    /// Secrets, read with this client.
    pub fn new(client: Client) -> Self {
        Self { client, cache: Arc::default() }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Secrets for KubernetesSecrets {
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<SecretData>, KubernetesError> {
        let key = (namespace.to_owned(), name.to_owned());
        let known = self.cache().get(&key).cloned();
        if let Some((at, data)) = known
            && at.elapsed() < FRESHNESS
        {
            return Ok(Some(data));
        }
        let api: Api<KubernetesSecret> = Api::namespaced(self.client.clone(), namespace);
        let Some(secret) = bounded(api.get_opt(name)).await? else {
            self.cache().remove(&key);
            return Ok(None);
        };
        let text = |bytes: Vec<u8>| Secret::new(String::from_utf8_lossy(&bytes).into_owned());
        let data: SecretData =
            secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, text(value.0))).collect();
        self.cache().insert(key, (Instant::now(), data.clone()));
        Ok(Some(data))
    }

    async fn apply_secret(&self, secret: KubernetesSecret) -> Result<(), KubernetesError> {
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        let name = secret.metadata.name.clone().unwrap_or_default();
        let api: Api<KubernetesSecret> = Api::namespaced(self.client.clone(), &namespace);
        bounded(api.patch(&name, &PatchParams::apply(OPERATOR_MANAGER).force(), &Patch::Apply(&secret)))
            .await?;
        self.cache().remove(&(namespace, name));
        Ok(())
    }
}
