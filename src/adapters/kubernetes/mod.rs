//! Kubernetes: reads from caches that both lanes share, writes by server-side apply, each bounded in time.

mod objects;
mod pods;
mod secrets;
mod stored;
mod stored_object;
mod stored_pod;
mod unreadable;
mod watch;

pub use objects::KubernetesObjects;
pub use pods::KubernetesPods;
pub use secrets::{KubernetesSecrets, OptIn};
pub use stored::{Stored, Unreadable};
pub use unreadable::report;
pub use watch::{RELIST, Told, for_watches, keep};

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
            403 if is_of_rbac(&status.message) => KubernetesError::Forbidden(status.message.clone()),
            409 => KubernetesError::Conflict,
            500 if is_of_the_write(&status.message) => KubernetesError::Refused(status.message.clone()),
            429 | 500.. => KubernetesError::Unavailable(status.message.clone()),
            _ => KubernetesError::Refused(status.message.clone()),
        },
        other => KubernetesError::Unavailable(other.to_string()),
    }
}

/// The API server is there, and answers 500 all the same: the schema does not know a field of ours (a CRD of before;
/// kubernetes/kubernetes#122480), or a webhook that must be asked is not there. That does not pass by itself.
fn is_of_the_write(message: &str) -> bool {
    message.contains("failed to create typed ") || message.contains("failed calling webhook")
}

/// Quotas, admission and a namespace that is being deleted refuse with 403 as well: those are no matter of permission.
fn is_of_rbac(message: &str) -> bool {
    message.contains(": User \"") && message.contains("\" cannot ")
}

fn gone_is_done<T>(result: Result<T, KubernetesError>) -> Result<(), KubernetesError> {
    match result {
        Ok(_) | Err(KubernetesError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, message: &str) -> KubernetesError {
        classify(kube::Error::Api(Box::new(kube::core::Status::failure(message, "").with_code(code))))
    }

    #[test]
    fn a_500_that_is_about_the_write_is_a_refusal() {
        for words in [
            "failed to create typed patch object (default/jane; tributestream.com/v1alpha1, Kind=MemorialStream): \
             .status.said: field not declared in schema",
            "Internal error occurred: failed calling webhook \"no.example.com\": dial tcp: connection refused",
        ] {
            assert!(matches!(answered(500, words), KubernetesError::Refused(_)), "{words}");
        }
        let busy = answered(500, "etcdserver: request timed out");
        assert!(matches!(busy, KubernetesError::Unavailable(_)), "{busy}");
    }

    #[test]
    fn only_a_missing_permission_is_told_as_one() {
        let refused = |message: &str| answered(403, message);
        let rbac = r#"secrets "own" is forbidden: User "system:serviceaccount:system:operator" cannot get resource "secrets" in API group "" in the namespace "family""#;
        assert!(matches!(refused(rbac), KubernetesError::Forbidden(_)));
        for others in [
            r#"pods "jane-1" is forbidden: exceeded quota: no-pods, requested: pods=1, used: pods=0, limited: pods=0"#,
            r#"pods "jane-1" is forbidden: unable to create new content in namespace family because it is being terminated"#,
            r#"admission webhook "no.example.com" denied the request: pods cannot run on Sundays"#,
        ] {
            assert!(matches!(refused(others), KubernetesError::Refused(_)), "{others}");
        }
    }
}
