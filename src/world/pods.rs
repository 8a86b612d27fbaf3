//! Pods.

use super::KubernetesError;
use crate::api::MemorialStream;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

/// Pods.
#[async_trait]
pub trait Pods: Send + Sync {
    /// The pods that say that they belong to one object, from the cache. Whoever may create a pod can say so: see
    /// [`pods_of`](crate::service::pod::pods_of).
    fn pods(&self, object: &MemorialStream) -> Vec<Arc<Pod>>;
    /// A pod, past the cache. `Ok(None)`: there is none of that name.
    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, KubernetesError>;
    /// Creates a pod; one of that name with the same owner that exists already is success.
    async fn create_pod(&self, pod: Pod) -> Result<(), KubernetesError>;
    /// Deletes a pod; already gone is success.
    async fn delete_pod(&self, namespace: &str, name: &str) -> Result<(), KubernetesError>;
}
