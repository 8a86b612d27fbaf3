//! The stream key, kept in a Secret of the object: a sender that must be started again while Mux's API is down starts with
//! it. Never in a log, an Event or a status.

use super::Identity;
use super::pod::object_metadata;
use crate::api::MemorialStream;
use crate::providers::Secret;
use crate::world::SecretData;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use memorialstream_compositor_protocol::RtmpDestination;
use std::collections::BTreeMap;

const STREAM_ID: &str = "stream-id";
const STREAM_KEY: &str = "stream-key";

/// Whether the Secret with the stream key is read for this key.
pub fn is_key(name: &str) -> bool {
    name == STREAM_ID || name == STREAM_KEY
}

/// The key of one Mux live stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKey {
    /// Whose key it is.
    pub stream_id: String,
    /// With what a sender authenticates.
    pub key: Secret,
}

impl KeptKey {
    /// The key in a Secret; absent when it is not one of ours.
    pub fn read(data: &SecretData) -> Option<Self> {
        let stream_id = data.get(STREAM_ID)?.reveal().to_owned();
        Some(Self { stream_id, key: data.get(STREAM_KEY)?.clone() })
    }

    /// The Secret that keeps it.
    pub fn secret(&self, object: &MemorialStream, identity: &Identity) -> KubernetesSecret {
        let text = |text: &str| ByteString(text.as_bytes().to_vec());
        KubernetesSecret {
            metadata: object_metadata(object, secret_name(identity)),
            data: Some(BTreeMap::from([
                (STREAM_ID.to_owned(), text(&self.stream_id)),
                (STREAM_KEY.to_owned(), text(self.key.reveal())),
            ])),
            ..KubernetesSecret::default()
        }
    }
}

/// The name of the Secret that keeps the key.
pub fn secret_name(identity: &Identity) -> String {
    format!("{}-stream-key", identity.name)
}

/// Tells destinations apart without telling them.
pub fn fingerprint(destination: &RtmpDestination) -> String {
    destination.fingerprint(|bytes| {
        let mut hash = [0; 32];
        hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
        hash
    })
}

/// The same of a destination as LiveKit shows it, without its key.
pub fn fingerprint_of_redacted(url: &str) -> String {
    fingerprint(&RtmpDestination { url: url.to_owned(), stream_key: Secret::new("") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_key_is_read_back_and_does_not_print() {
        let kept = KeptKey { stream_id: "S1".into(), key: Secret::new("hidden") };
        let object = MemorialStream::new("jane-doe", Default::default());
        let identity =
            Identity { namespace: "n".into(), name: "jane-doe".into(), uid: "u".into(), generation: 1 };
        let secret = kept.secret(&object, &identity);
        assert_eq!(secret.metadata.name.as_deref(), Some("jane-doe-stream-key"));
        let text = |bytes: ByteString| Secret::new(String::from_utf8(bytes.0).unwrap());
        let data = secret.data.unwrap().into_iter().map(|(key, value)| (key, text(value))).collect();
        assert_eq!(KeptKey::read(&data), Some(kept.clone()));
        assert!(!format!("{kept:?}").contains("hidden"));
    }

    #[test]
    fn another_key_has_another_fingerprint() {
        let to = |key: &str| RtmpDestination { url: "rtmp://h/app".into(), stream_key: Secret::new(key) };
        assert_ne!(fingerprint(&to("1")), fingerprint(&to("2")));
        assert_eq!(fingerprint(&to("1")), fingerprint(&to("1")));
    }
}
