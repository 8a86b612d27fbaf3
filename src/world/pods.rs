//! Pods.

use super::KubernetesError;
use crate::api::MemorialStream;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

/// Pods.
#[async_trait]
pub trait Pods: Send + Sync {
    /// The pods of one object, from the cache.
    fn pods(&self, object: &MemorialStream) -> Vec<Arc<Pod>>;
    /// Creates a pod; one of that name that exists already is success.
    async fn create_pod(&self, pod: Pod) -> Result<(), KubernetesError>;
    /// Deletes a pod; already gone is success.
    async fn delete_pod(&self, namespace: &str, name: &str) -> Result<(), KubernetesError>;
}
