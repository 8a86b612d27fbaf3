//! The credentials that worked last, of each object: what was made with them is kept and ended with them, although the
//! Secret is gone meanwhile, is wrong, or belongs to another account. A copy in the operator's own namespace outlives the
//! operator's process and the object's namespace.

use super::{Credentials, CredentialsError, DefaultSecret, check_endpoints, contents, parse, secret_of};
use crate::api::MemorialStream;
use crate::api::names::{CREDENTIALS_COPY_LABEL, MANAGED_BY_LABEL, OPERATOR_MANAGER};
use crate::providers::Secret;
use crate::service::Identity;
use crate::world::{KubernetesError, SecretData, Secrets};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use kube::api::ObjectMeta;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The namespace whose MemorialStreams a copy is for.
pub(super) const NAMESPACE: &str = "NAMESPACE";

/// The credentials that worked last, and their copies. Objects of one namespace with the same Mux environment and LiveKit
/// share one copy.
#[derive(Clone)]
pub struct CredentialsInUse {
    default_secret: Arc<DefaultSecret>,
    inner: Arc<Mutex<Inner>>,
    /// Held while a copy is written or deleted: what is being deleted must not be taken for kept.
    writing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Inner {
    /// The name of its copy, by the object's UID.
    names: HashMap<String, Arc<str>>,
    /// What stands in a copy, by its name.
    copies: HashMap<Arc<str>, Credentials>,
}

impl Inner {
    /// The object uses this copy, if these credentials stand in it.
    fn note(&mut self, identity: &Identity, name: &Arc<str>, credentials: &Credentials) -> bool {
        let stand = self.copies.get(name) == Some(credentials);
        if stand && self.names.get(&identity.uid) != Some(name) {
            self.names.insert(identity.uid.clone(), Arc::clone(name));
        }
        stand
    }
}

impl CredentialsInUse {
    /// None yet; their copies are kept beside the Secret that is used by default.
    pub fn new(default_secret: DefaultSecret) -> Self {
        Self { default_secret: Arc::new(default_secret), inner: Arc::default(), writing: Arc::default() }
    }

    /// The operator's own namespace.
    fn namespace(&self) -> &str {
        &self.default_secret.namespace
    }

    /// Those of the object, as far as this process has seen them work.
    pub fn remembered(&self, identity: &Identity) -> Option<Credentials> {
        let inner = self.inner();
        inner.copies.get(inner.names.get(&identity.uid)?).cloned()
    }

    /// The name of their copy.
    pub fn name(&self, identity: &Identity) -> Option<String> {
        self.inner().names.get(&identity.uid).map(|name| name.to_string())
    }

    /// Those of the object: remembered, or out of the copy that its status names. A copy that cannot be read now is none.
    pub async fn of(
        &self,
        secrets: &dyn Secrets,
        identity: &Identity,
        object: &MemorialStream,
    ) -> Option<Credentials> {
        if let Some(remembered) = self.remembered(identity) {
            return Some(remembered);
        }
        let name = object.status.as_ref()?.credentials_copy.as_deref()?;
        let credentials = match self.read_copy(secrets, identity, name).await {
            Ok(credentials) => credentials?,
            Err(error) => {
                tracing::warn!(%error, object = %identity, copy = name, "the copy of the credentials is not used");
                return None;
            }
        };
        let mut inner = self.inner();
        inner.copies.insert(name.into(), credentials.clone());
        inner.note(identity, &name.into(), &credentials);
        Some(credentials)
    }

    async fn read_copy(
        &self,
        secrets: &dyn Secrets,
        identity: &Identity,
        name: &str,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let Some(data) = secrets.secret(self.namespace(), name).await? else { return Ok(None) };
        let whose = data.get(NAMESPACE).map(Secret::reveal).unwrap_or_default();
        if whose != self.namespace() {
            // Status is not proof: nobody gets at the credentials of another namespace by naming their copy.
            if whose != identity.namespace {
                return Ok(None);
            }
            // The installation may allow less now than when it was written.
            check_endpoints(secrets, &self.default_secret, name, &data).await?;
        }
        parse(name, &data).map(Some)
    }

    /// These work for the object. Returns the name of their copy, which exists by now.
    ///
    /// # Errors
    /// The copy could not be written; what is kept is what was.
    pub async fn keep(
        &self,
        secrets: &dyn Secrets,
        identity: &Identity,
        object: &MemorialStream,
        environment_id: &str,
        credentials: &Credentials,
    ) -> Result<String, KubernetesError> {
        let (whose, secret) = secret_of(object, &self.default_secret);
        let Credentials { livekit, rtmp_url, playback_base_url, .. } = credentials;
        let what = [whose, secret, environment_id, &livekit.url, rtmp_url, playback_base_url];
        let name: Arc<str> = copy_name(&what).into();
        if !self.inner().note(identity, &name, credentials) {
            let _writing = self.writing.lock().await;
            let mut wanted = contents(credentials);
            wanted.insert(NAMESPACE.to_owned(), Secret::new(whose));
            if secrets.secret(self.namespace(), &name).await?.as_ref() != Some(&wanted) {
                secrets.apply_secret(self.copy(&name, &wanted)).await?;
            }
            let mut inner = self.inner();
            inner.copies.insert(Arc::clone(&name), credentials.clone());
            inner.note(identity, &name, credentials);
        }
        Ok(name.to_string())
    }

    /// Nothing of the object is left. True where no other object of this process uses its copy.
    pub fn forget(&self, identity: &Identity) -> bool {
        let mut inner = self.inner();
        let name = inner.names.remove(&identity.uid);
        name.is_none_or(|name| !inner.names.values().any(|used| *used == name))
    }

    /// Deletes the copies that neither an object of this process nor one of `named` uses.
    ///
    /// # Errors
    /// The API server did not list or delete them; the others are left for the next time.
    pub async fn sweep(
        &self,
        secrets: &dyn Secrets,
        named: &BTreeSet<String>,
    ) -> Result<(), KubernetesError> {
        for name in secrets.secrets_with_label(self.namespace(), CREDENTIALS_COPY_LABEL).await? {
            let _writing = self.writing.lock().await;
            if !named.contains(&name) && self.is_unused(&name) {
                secrets.delete_secret(self.namespace(), &name).await?;
                tracing::info!(copy = name, "the copy of credentials that nobody uses any more was deleted");
            }
        }
        Ok(())
    }

    /// Whether no object of this process uses the copy; it is then written again before anybody does.
    fn is_unused(&self, name: &str) -> bool {
        let mut inner = self.inner();
        let unused = !inner.names.values().any(|used| **used == *name);
        if unused {
            inner.copies.remove(name);
        }
        unused
    }

    fn copy(&self, name: &str, contents: &SecretData) -> KubernetesSecret {
        let labels = [(MANAGED_BY_LABEL, OPERATOR_MANAGER), (CREDENTIALS_COPY_LABEL, "true")];
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        KubernetesSecret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(self.namespace().to_owned()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            data: Some(contents.iter().map(|(key, value)| (key.clone(), bytes(value.reveal()))).collect()),
            ..KubernetesSecret::default()
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By what does not change when a key is rotated, so that the newer takes the older's place.
/// Of two Secrets for the same accounts, as there are while services move to a new key, each has its own.
/// What is on air stays with the addresses of before, while others use the new ones.
fn copy_name(what: &[&str]) -> String {
    let text = what.join("\n");
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let hash: String = hash.as_ref().iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("credentials-in-use-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::credentials::AllowedEndpoints;
    use async_trait::async_trait;

    /// Secrets in memory, by namespace and name, with their labels.
    #[derive(Default)]
    struct Memory(Mutex<HashMap<(String, String), Stored>>);

    type Stored = (SecretData, BTreeSet<String>);

    #[async_trait]
    impl Secrets for Memory {
        async fn secret(&self, namespace: &str, name: &str) -> Result<Option<SecretData>, KubernetesError> {
            let all = self.0.lock().unwrap();
            Ok(all.get(&(namespace.into(), name.into())).map(|(data, _)| data.clone()))
        }

        async fn apply_secret(&self, secret: KubernetesSecret) -> Result<(), KubernetesError> {
            let text = |bytes: ByteString| Secret::new(String::from_utf8(bytes.0).unwrap());
            let data = secret.data.unwrap().into_iter().map(|(key, value)| (key, text(value))).collect();
            let labels = secret.metadata.labels.unwrap().into_keys().collect();
            let key = (secret.metadata.namespace.unwrap(), secret.metadata.name.unwrap());
            self.0.lock().unwrap().insert(key, (data, labels));
            Ok(())
        }

        async fn secrets_with_label(&self, _: &str, label: &str) -> Result<Vec<String>, KubernetesError> {
            let all = self.0.lock().unwrap();
            Ok(all.iter().filter(|(_, one)| one.1.contains(label)).map(|(key, _)| key.1.clone()).collect())
        }

        async fn delete_secret(&self, namespace: &str, name: &str) -> Result<(), KubernetesError> {
            self.0.lock().unwrap().remove(&(namespace.into(), name.into()));
            Ok(())
        }
    }

    fn default_secret(allowed: &str) -> DefaultSecret {
        DefaultSecret {
            namespace: "system".into(),
            name: "providers".into(),
            allowed_endpoints: AllowedEndpoints::parse(allowed).unwrap(),
        }
    }

    fn object(namespace: &str, copy: Option<&str>) -> (MemorialStream, Identity) {
        let mut object = MemorialStream::new("jane-doe", Default::default());
        object.metadata.namespace = Some(namespace.into());
        object.metadata.uid = Some(format!("uid-{namespace}"));
        object.spec.credentials_secret_ref = Some(crate::api::spec::SecretReference { name: "own".into() });
        object.status.get_or_insert_default().credentials_copy = copy.map(str::to_owned);
        let identity = Identity::of(&object).unwrap();
        (object, identity)
    }

    fn credentials(secret: &str) -> Credentials {
        let data = [
            ("LIVEKIT_URL", "wss://a.livekit.cloud"),
            ("LIVEKIT_API_KEY", "key"),
            ("LIVEKIT_API_SECRET", secret),
            ("MUX_TOKEN_ID", "id"),
            ("MUX_TOKEN_SECRET", "hidden"),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), Secret::new(value))).into();
        parse("own", &data).unwrap()
    }

    async fn kept(secrets: &Memory, secret: &str) -> String {
        let (object, identity) = object("family", None);
        let in_use = CredentialsInUse::new(default_secret(AllowedEndpoints::DEFAULT));
        in_use.keep(secrets, &identity, &object, "E1", &credentials(secret)).await.unwrap()
    }

    /// What another process reads.
    async fn read(secrets: &Memory, allowed: &str, namespace: &str, copy: &str) -> Option<Credentials> {
        let (object, identity) = object(namespace, Some(copy));
        let in_use = CredentialsInUse::new(default_secret(allowed));
        in_use.of(secrets, &identity, &object).await
    }

    #[tokio::test]
    async fn a_copy_is_read_back_by_its_own_namespace_and_by_no_other() {
        let secrets = Memory::default();
        let copy = kept(&secrets, "one").await;
        assert_eq!(
            read(&secrets, AllowedEndpoints::DEFAULT, "family", &copy).await,
            Some(credentials("one"))
        );
        assert_eq!(read(&secrets, AllowedEndpoints::DEFAULT, "evil", &copy).await, None);
        assert_eq!(read(&secrets, "elsewhere.example", "family", &copy).await, None, "it is not allowed now");
        assert_eq!(kept(&secrets, "two").await, copy, "a rotated key takes the old one's place");
        assert_eq!(
            read(&secrets, AllowedEndpoints::DEFAULT, "family", &copy).await,
            Some(credentials("two"))
        );
    }

    #[test]
    fn two_secrets_for_the_same_accounts_have_a_copy_each() {
        let copy = |secret| copy_name(&["family", secret, "E1", "wss://a.livekit.cloud"]);
        assert_ne!(copy("own"), copy("next-key"));
    }

    #[tokio::test]
    async fn a_copy_goes_with_the_last_that_uses_it() {
        let secrets = Memory::default();
        let (object, identity) = object("family", None);
        let in_use = CredentialsInUse::new(default_secret(AllowedEndpoints::DEFAULT));
        let one = credentials("one");
        let keep = || in_use.keep(&secrets, &identity, &object, "E1", &one);
        let name = keep().await.unwrap();
        in_use.sweep(&secrets, &BTreeSet::new()).await.unwrap();
        assert!(secrets.secret("system", &name).await.unwrap().is_some(), "this process uses it");
        assert!(in_use.forget(&identity));
        in_use.sweep(&secrets, &BTreeSet::from([name.clone()])).await.unwrap();
        assert!(secrets.secret("system", &name).await.unwrap().is_some(), "a status names it");
        in_use.sweep(&secrets, &BTreeSet::new()).await.unwrap();
        assert!(secrets.secret("system", &name).await.unwrap().is_none());
        keep().await.unwrap();
        assert!(
            secrets.secret("system", &name).await.unwrap().is_some(),
            "it is written again when it is needed"
        );
    }
}
