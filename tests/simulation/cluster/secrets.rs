//! Secrets, as the operator reaches them.

use super::objects::CALL_TIMEOUT;
use super::{Key, StoredSecret};
use crate::faults::{Party, Site};
use crate::land::Land;
use crate::process::Process;
use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use memorialstream_operator::providers::Secret;
use memorialstream_operator::service::pod::{boots_earlier, pod_name};
use memorialstream_operator::world::{KubernetesError, SecretData, Secrets};
use std::collections::BTreeMap;

/// As in the adapter: how long a Secret that was read is taken for granted, in milliseconds.
const FRESHNESS: u64 = 15_000;

#[async_trait]
impl Secrets for Process {
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<SecretData>, KubernetesError> {
        let key = (namespace.to_owned(), name.to_owned());
        let now = self.universe.land().now;
        let known = self.secrets.lock().unwrap().get(&key).filter(|(at, _)| now < at + FRESHNESS).cloned();
        if let Some((_, data)) = known {
            return Ok(Some(data));
        }
        let call = self.through(Site::ReadSecret, name, CALL_TIMEOUT, |land| {
            land.may_use_secrets(&key.0)?;
            let stored = land.cluster.secrets.get(&key);
            let data = stored.map(|stored| {
                stored.data.iter().map(|(key, value)| (key.clone(), Secret::new(value.clone()))).collect()
            });
            Ok((land.now, data))
        });
        let answer: Result<(u64, Option<SecretData>), KubernetesError> = call.await?;
        let (at, data) = answer?;
        let mut cache = self.secrets.lock().unwrap();
        match &data {
            Some(data) => cache.insert(key, (at, data.clone())),
            None => cache.remove(&key),
        };
        Ok(data)
    }

    async fn apply_secret(&self, secret: KubernetesSecret) -> Result<(), KubernetesError> {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let key = (part(&secret.metadata.namespace), part(&secret.metadata.name));
        let call = self.through(Site::ApplySecret, &key.1, CALL_TIMEOUT, |land| {
            land.may_use_secrets(&key.0)?;
            let labels = secret.metadata.labels.clone().unwrap_or_default().into_keys().collect();
            let owners = secret.metadata.owner_references.clone().unwrap_or_default();
            let owner = owners.into_iter().next().map(|owner| owner.uid);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let data = secret.data.clone().unwrap_or_default();
            let data: BTreeMap<_, _> =
                data.iter().map(|(key, value)| (key.clone(), text(&value.0))).collect();
            // As the adapter over the real API server does: see its `check_owner`.
            if land.cluster.secrets.get(&key).is_some_and(|existing| {
                existing.owner != owner || owner.is_none() && existing.labels.is_empty()
            }) {
                return Err(KubernetesError::NotOurs(format!(
                    "Secret {} was not made by this operator",
                    key.1
                )));
            }
            let earlier = land.cluster.secrets.get(&key).is_some_and(|existing| {
                let bytes = |text: &String| ByteString(text.clone().into_bytes());
                let data = existing.data.iter().map(|(key, value)| (key.clone(), bytes(value))).collect();
                boots_earlier(&secret, &KubernetesSecret { data: Some(data), ..KubernetesSecret::default() })
            });
            if earlier {
                return Err(KubernetesError::Refused("it is that of a later compositor pod".into()));
            }
            if let Some(action) = land.action_of(&key, &data) {
                land.coverage.action(action);
            }
            land.secret_is_written(&key, owner.as_deref());
            if land.cluster.terminating.contains(&key.0) && !land.cluster.secrets.contains_key(&key) {
                return Err(KubernetesError::Refused("the namespace is being terminated".into()));
            }
            land.cluster.writes += 1;
            land.cluster.secrets.insert(key.clone(), StoredSecret { data, owner, labels });
            Ok(())
        });
        let answer = call.await?;
        self.secrets.lock().unwrap().remove(&key);
        answer
    }

    async fn secrets_with_label(&self, namespace: &str, label: &str) -> Result<Vec<String>, KubernetesError> {
        self.through(Site::ListSecrets, namespace, CALL_TIMEOUT, |land| {
            let all = land.cluster.secrets.iter();
            let labelled = all.filter(|(key, one)| key.0 == namespace && one.labels.contains(label));
            labelled.map(|(key, _)| key.1.clone()).collect()
        })
        .await
        .map_err(Into::into)
    }

    async fn delete_secret(&self, namespace: &str, name: &str) -> Result<(), KubernetesError> {
        let key = (namespace.to_owned(), name.to_owned());
        let deleted = self.through(Site::DeleteSecret, name, CALL_TIMEOUT, |land| {
            land.cluster.writes += 1;
            land.secret_is_deleted(&key);
            land.cluster.secrets.remove(&key);
        });
        let deleted = deleted.await.map_err(Into::into);
        self.secrets.lock().unwrap().remove(&key);
        deleted
    }
}

impl Land {
    /// What the life-cycle lane does by writing a Secret, where that is an action of its own.
    fn action_of(&self, key: &Key, data: &BTreeMap<String, String>) -> Option<&'static str> {
        if key.1.ends_with("-stream-key") {
            return Some("KeepStreamKey");
        }
        let incarnation = data.get("incarnation")?.parse().ok()?;
        let pod = (key.0.clone(), pod_name(key.1.strip_suffix("-compositor")?, incarnation));
        self.kubelet.containers.get(&pod)?.boot_error.map(|_| "RenewBoot")
    }

    /// A RoleBinding in the namespace allows it.
    fn may_use_secrets(&mut self, namespace: &str) -> Result<(), KubernetesError> {
        if !self.cluster.forbidden.contains(namespace) {
            return Ok(());
        }
        let now = self.now;
        self.faults.last.insert(Party::Kubernetes, now);
        Err(KubernetesError::Forbidden(format!(
            "the operator may not use Secrets in namespace {namespace}: a RoleBinding is missing"
        )))
    }
}
