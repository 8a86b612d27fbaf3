//! Secrets.

use super::{bounded, gone_is_done};
use crate::api::names::{MANAGED_BY_LABEL, OPERATOR_MANAGER};
use crate::providers::Secret;
use crate::service::pod::{boots_earlier, is_boot_key};
use crate::service::{credentials, stream_key};
use crate::world::{KubernetesError, SecretData, Secrets};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use memorialstream_compositor_protocol::BOOT_FILE;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a Secret that was read is taken for granted.
const FRESHNESS: Duration = Duration::from_secs(15);

/// A tenant's Secrets may hold a megabyte each: kept is what is read, and no more of that than it can be. The longest of ours
/// is a boot document: some 10 KB with nine cameras.
fn longest(key: &str) -> usize {
    match key {
        BOOT_FILE => 64 * 1024,
        key if credentials::is_key(key) || stream_key::is_key(key) || is_boot_key(key) => 4 * 1024,
        _ => 0,
    }
}

/// Stands for what is too long, or no text: it is there, and of no use.
const UNUSABLE: &str = "\0";

/// What was read and when, by namespace and name.
type Cache = HashMap<(String, String), (Instant, SecretData)>;

/// Secrets, read one by one.
#[derive(Clone)]
pub struct KubernetesSecrets {
    client: Client,
    opt_in: Option<OptIn>,
    cache: Arc<Mutex<Cache>>,
}

/// How a namespace lets the operator use its Secrets: a RoleBinding of this role for this account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptIn {
    /// The ClusterRole.
    pub cluster_role: String,
    /// The operator's ServiceAccount, as `namespace:name`.
    pub service_account: String,
}

impl KubernetesSecrets {
    /// Secrets, read with this client. `opt_in`: what is said where that is not allowed.
    pub fn new(client: Client, opt_in: Option<OptIn>) -> Self {
        Self { client, opt_in, cache: Arc::default() }
    }

    fn explain(&self, error: KubernetesError, namespace: &str) -> KubernetesError {
        match &self.opt_in {
            Some(opt_in) => opt_in.explain(error, namespace),
            None => error,
        }
    }

    /// What stands in a Secret that the API server told of just now.
    fn remember(&self, key: (String, String), secret: KubernetesSecret) -> SecretData {
        let text = |key: &str, bytes: Vec<u8>| {
            let bytes = Some(bytes).filter(|bytes| bytes.len() <= longest(key));
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            Secret::new(text.unwrap_or_else(|| UNUSABLE.to_owned()))
        };
        let data = secret.data.unwrap_or_default().into_iter();
        let read = data.filter(|(key, _)| longest(key) > 0);
        let data: SecretData = read.map(|(key, value)| (key.clone(), text(&key, value.0))).collect();
        let now = Instant::now();
        let mut cache = self.cache();
        // Nobody asks again for those of services that are gone, and they hold tokens and keys.
        cache.retain(|_, (at, _)| now.duration_since(*at) < FRESHNESS);
        cache.insert(key, (now, data.clone()));
        data
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
        let found = bounded(api.get_opt(name)).await.map_err(|error| self.explain(error, namespace))?;
        let Some(secret) = found else {
            self.cache().remove(&key);
            return Ok(None);
        };
        Ok(Some(self.remember(key, secret)))
    }

    async fn apply_secret(&self, secret: KubernetesSecret) -> Result<(), KubernetesError> {
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        let name = secret.metadata.name.clone().unwrap_or_default();
        let api: Api<KubernetesSecret> = Api::namespaced(self.client.clone(), &namespace);
        let existing = bounded(api.get_opt(&name)).await.map_err(|error| self.explain(error, &namespace))?;
        // Until it is known what stands there nothing is taken for granted.
        self.cache().remove(&(namespace.clone(), name.clone()));
        let stored = match existing {
            None => {
                let parameters =
                    PostParams { field_manager: Some(OPERATOR_MANAGER.into()), ..PostParams::default() };
                bounded(api.create(&parameters, &secret)).await
            }
            Some(existing) => {
                check_owner(&existing, &secret)?;
                if boots_earlier(&secret, &existing) {
                    return Err(KubernetesError::Refused(format!(
                        "Secret {namespace}/{name} is that of a later compositor pod; if there is none, delete the Secret"
                    )));
                }
                let mut secret = secret;
                // Somebody else's that took its place meanwhile is not written either.
                secret.metadata.resource_version = existing.metadata.resource_version;
                secret.metadata.uid = existing.metadata.uid;
                let parameters = PatchParams::apply(OPERATOR_MANAGER).force();
                bounded(api.patch(&name, &parameters, &Patch::Apply(&secret))).await
            }
        }
        .map_err(|error| self.explain(error, &namespace))?;
        self.remember((namespace, name), stored);
        Ok(())
    }

    async fn secrets_with_label(&self, namespace: &str, label: &str) -> Result<Vec<String>, KubernetesError> {
        let api: Api<KubernetesSecret> = Api::namespaced(self.client.clone(), namespace);
        let ours = ListParams::default().labels(&format!("{MANAGED_BY_LABEL}={OPERATOR_MANAGER},{label}"));
        let found = bounded(api.list_metadata(&ours)).await?;
        Ok(found.items.into_iter().filter_map(|secret| secret.metadata.name).collect())
    }

    async fn delete_secret(&self, namespace: &str, name: &str) -> Result<(), KubernetesError> {
        let api: Api<KubernetesSecret> = Api::namespaced(self.client.clone(), namespace);
        let deleted = gone_is_done(bounded(api.delete(name, &DeleteParams::default())).await);
        self.cache().remove(&(namespace.to_owned(), name.to_owned()));
        deleted
    }
}

/// A Secret is ours by its controller, where it has one, else by who manages it.
fn check_owner(existing: &KubernetesSecret, ours: &KubernetesSecret) -> Result<(), KubernetesError> {
    let (there, here) = (&existing.metadata, &ours.metadata);
    let controller = |metadata: &ObjectMeta| {
        let owners = metadata.owner_references.iter().flatten();
        owners.into_iter().find(|owner| owner.controller == Some(true)).cloned()
    };
    let managed = |metadata: &ObjectMeta| metadata.labels.as_ref()?.get(MANAGED_BY_LABEL).cloned();
    let (theirs, own) = (controller(there), controller(here));
    let same = match (&theirs, &own) {
        (Some(theirs), Some(own)) => theirs.uid == own.uid,
        (None, None) => managed(there).is_some() && managed(there) == managed(here),
        _ => false,
    };
    let name = format!(
        "{}/{}",
        here.namespace.as_deref().unwrap_or_default(),
        here.name.as_deref().unwrap_or_default()
    );
    let predecessor = theirs.zip(own).is_some_and(|(theirs, own)| {
        (theirs.kind, theirs.api_version, theirs.name) == (own.kind, own.api_version, own.name)
    });
    if same {
        Ok(())
    } else if predecessor {
        Err(KubernetesError::Unavailable(format!(
            "Secret {name} of the MemorialStream that had this name before is still being deleted"
        )))
    } else {
        Err(KubernetesError::NotOurs(format!(
            "Secret {name} exists and was not made by this operator; it is left as it is: delete or rename it, or give \
             the MemorialStream another name"
        )))
    }
}

impl OptIn {
    /// Says how a person lets the operator in.
    fn explain(&self, error: KubernetesError, namespace: &str) -> KubernetesError {
        match error {
            KubernetesError::Forbidden(_) => KubernetesError::Forbidden(format!(
                "the operator may not use Secrets in namespace {namespace}; let it: kubectl create rolebinding {role} \
                 --namespace {namespace} --clusterrole={role} --serviceaccount={account}",
                role = self.cluster_role,
                account = self.service_account,
            )),
            error => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MemorialStream;
    use crate::service::pod::boot_secret;

    #[test]
    fn a_boot_secret_never_gives_way_to_that_of_an_earlier_pod() {
        let secret = |incarnation| {
            let object = MemorialStream::new("jane-doe", Default::default());
            boot_secret(&object, b"{}".to_vec(), &Secret::new("token"), incarnation)
        };
        let older = |next, existing| boots_earlier(&secret(next), &secret(existing));
        assert_eq!((older(1, 2), older(2, 2), older(10, 9)), (true, false, false));
        let unnumbered = KubernetesSecret::default();
        assert!(!boots_earlier(&unnumbered, &secret(2)) && !boots_earlier(&secret(2), &unnumbered));
    }

    fn ours(uid: &str) -> KubernetesSecret {
        let mut object = MemorialStream::new("jane-doe", Default::default());
        object.metadata.namespace = Some("family".into());
        object.metadata.uid = Some(uid.into());
        boot_secret(&object, b"{}".to_vec(), &Secret::new("token"), 1)
    }

    #[test]
    fn a_secret_of_somebody_else_is_not_ours() {
        assert_eq!(check_owner(&ours("uid-1"), &ours("uid-1")), Ok(()));
        let refused = |existing: &KubernetesSecret| check_owner(existing, &ours("uid-1")).unwrap_err();
        assert!(matches!(refused(&ours("uid-2")), KubernetesError::Unavailable(_)), "a predecessor's");
        let mut foreign = ours("uid-1");
        foreign.metadata.owner_references = None;
        let KubernetesError::NotOurs(message) = refused(&foreign) else { panic!("the labels alone") };
        assert!(message.contains("family/jane-doe-compositor"), "{message}");
        let mut of_a_deployment = ours("uid-2");
        for owner in of_a_deployment.metadata.owner_references.iter_mut().flatten() {
            owner.kind = "Deployment".into();
        }
        assert!(matches!(refused(&of_a_deployment), KubernetesError::NotOurs(_)));
        assert!(matches!(refused(&KubernetesSecret::default()), KubernetesError::NotOurs(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_long_ago_does_not_stay_in_memory() {
        let _installed_already = rustls::crypto::ring::default_provider().install_default();
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let secrets = KubernetesSecrets::new(Client::try_from(nowhere).unwrap(), None);
        let read = |name: &str| secrets.remember(("family".into(), name.into()), ours("uid-1"));
        let kept = || {
            let mut names: Vec<_> = secrets.cache().keys().map(|(_, name)| name.clone()).collect();
            names.sort();
            names
        };
        read("jane");
        tokio::time::advance(FRESHNESS / 2).await;
        read("john");
        assert_eq!(kept(), ["jane", "john"]);
        tokio::time::advance(FRESHNESS / 2).await;
        read("mary");
        assert_eq!(kept(), ["john", "mary"]);
    }

    #[tokio::test]
    async fn what_is_too_long_to_be_ours_is_not_kept() {
        let _installed_already = rustls::crypto::ring::default_provider().install_default();
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let secrets = KubernetesSecrets::new(Client::try_from(nowhere).unwrap(), None);
        let mut secret = ours("uid-1");
        let bytes = |length| k8s_openapi::ByteString(vec![0xff; length]);
        let all = [
            ("another", bytes(1)),
            ("LIVEKIT_URL", bytes(1)),
            ("MUX_BASE_URL", k8s_openapi::ByteString(vec![b'x'; 4 * 1024 + 1])),
            (BOOT_FILE, k8s_openapi::ByteString(vec![b'x'; 64 * 1024])),
        ];
        secret.data = Some(all.map(|(key, value)| (key.to_owned(), value)).into());
        let read = secrets.remember(("family".into(), "own".into()), secret);
        let read: Vec<_> = read.iter().map(|(key, value)| (key.as_str(), value.reveal().len())).collect();
        assert_eq!(read, [("LIVEKIT_URL", 1), ("MUX_BASE_URL", 1), (BOOT_FILE, 64 * 1024)]);
    }

    #[test]
    fn a_namespace_that_did_not_opt_in_is_told_the_command() {
        let opt_in =
            OptIn { cluster_role: "ms-namespace-secrets".into(), service_account: "system:ms".into() };
        let told = opt_in.explain(KubernetesError::Forbidden("cannot get".into()), "family").to_string();
        let command = "kubectl create rolebinding ms-namespace-secrets --namespace family \
                       --clusterrole=ms-namespace-secrets --serviceaccount=system:ms";
        assert!(told.contains(command), "{told}");
        assert_eq!(opt_in.explain(KubernetesError::Conflict, "family"), KubernetesError::Conflict);
    }

    #[test]
    fn a_copy_without_an_owner_is_ours_by_its_manager() {
        let without_owner = |manager: Option<&str>| {
            let mut secret = ours("uid-1");
            secret.metadata.owner_references = None;
            secret.metadata.labels =
                manager.map(|manager| [(MANAGED_BY_LABEL.into(), manager.into())].into());
            secret
        };
        let copy = without_owner(Some("memorialstream-operator"));
        assert_eq!(check_owner(&copy, &copy), Ok(()));
        assert!(check_owner(&without_owner(Some("helm")), &copy).is_err());
        assert!(check_owner(&without_owner(None), &without_owner(None)).is_err());
    }
}
