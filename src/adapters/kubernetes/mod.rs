//! Kubernetes: reads from caches that both lanes share, writes by server-side apply, each bounded in time.

mod objects;
mod pods;
mod secrets;
mod stored;
mod unreadable;
mod watch;

pub use objects::KubernetesObjects;
pub use pods::KubernetesPods;
pub use secrets::{KubernetesSecrets, OptIn};
pub use stored::{Stored, Unreadable};
pub use unreadable::report;
pub use watch::{Kept, RELIST, Told, for_watches, keep};

use crate::world::KubernetesError;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::Api;
use std::time::Duration;

/// kube's client repeats 429, 503 and 504 by itself, 15 times; a pass does not wait that long.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Names the cluster: the UID of kube-system.
///
/// # Errors
/// It cannot be read.
pub async fn cluster_id(client: &Client) -> Result<String, KubernetesError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let system = bounded(api.get("kube-system")).await?;
    Ok(system.metadata.uid.unwrap_or_default())
}

async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, KubernetesError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result.map_err(classify),
        Err(_) => Err(KubernetesError::Unavailable(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))),
    }
}

fn classify(error: kube::Error) -> KubernetesError {
    match error {
        kube::Error::Api(status) => match status.code {
            404 => KubernetesError::NotFound,
            // A namespace that is being deleted refuses with 403 as well: that is no matter of permission.
            403 if status.message.contains(" cannot ") => KubernetesError::Forbidden(status.message.clone()),
            409 => KubernetesError::Conflict,
            429 | 500.. => KubernetesError::Unavailable(status.message.clone()),
            _ => KubernetesError::Refused(status.message.clone()),
        },
        other => KubernetesError::Unavailable(other.to_string()),
    }
}

fn gone_is_done<T>(result: Result<T, KubernetesError>) -> Result<(), KubernetesError> {
    match result {
        Ok(_) | Err(KubernetesError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}
