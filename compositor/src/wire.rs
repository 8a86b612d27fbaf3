//! Reads what the operator sends. Fields that this pod does not know are ignored, and named: the operator may be newer.

use memorialstream_compositor_protocol::{Refusal, RefusalReason, RtmpDestination};
use serde::Deserializer;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// No more unknown fields than this are named, and none with a longer path, characters.
const MOST_NAMED: usize = 32;
const LONGEST_PATH: usize = 200;

/// What was read, and the paths of the fields in it that are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<T> {
    /// What was read.
    pub value: T,
    /// For instance `cameras.0.gain`.
    pub unknown_fields: Vec<String>,
}

/// Reads a request's body.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Read<T>, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = read_from(&mut json).and_then(|read| json.end().map(|()| read));
    // The error tells place and kind of the fault; a value of ours in it could be a secret, so the types hold none
    // that serde prints: tokens and keys are plain strings, which always fit.
    read.map_err(|error| Refusal {
        reason: RefusalReason::Malformed,
        message: crate::redact::redact(&format!("the body cannot be read: {error}")),
    })
}

/// Reads from any `source`.
pub fn read_from<'a, T: DeserializeOwned, D: Deserializer<'a>>(source: D) -> Result<Read<T>, D::Error> {
    let mut unknown_fields = Vec::new();
    let value = serde_ignored::deserialize(source, |path| {
        if unknown_fields.len() < MOST_NAMED {
            unknown_fields.push(path.to_string().chars().take(LONGEST_PATH).collect());
        }
    })?;
    Ok(Read { value, unknown_fields })
}

/// How `destination` is called in status.
pub fn fingerprint(destination: &RtmpDestination) -> String {
    destination.fingerprint(|location| Sha256::digest(location).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::fixture::document;
    use memorialstream_compositor_protocol::{ControlDocument, Secret, SenderRequest};
    use serde_json::{Value, json};

    #[test]
    fn fields_of_a_newer_operator_are_ignored_and_named() {
        let known = document(1, 0, &["a", "b"], |_| {});
        let mut newer: Value = serde_json::to_value(&known).unwrap();
        newer["lowerThird"] = json!({"text": "Jane Doe"});
        newer["cameras"][1]["gain"] = json!(3);
        newer["audio"]["loudness"] = json!(-16);
        let read: Read<ControlDocument> = read(newer.to_string().as_bytes()).unwrap();
        assert_eq!(read.value, known);
        assert_eq!(read.unknown_fields, ["audio.loudness", "cameras.1.gain", "lowerThird"]);
    }

    #[test]
    fn a_flood_of_unknown_fields_is_named_in_part() {
        let flood: serde_json::Map<String, Value> =
            (0..1_000).map(|number| (format!("{number}{}", "x".repeat(1_000)), json!(1))).collect();
        let read: Read<SenderRequest> = read(Value::Object(flood).to_string().as_bytes()).unwrap();
        assert_eq!(read.unknown_fields.len(), MOST_NAMED);
        assert!(read.unknown_fields.iter().all(|path| path.len() <= LONGEST_PATH));
    }

    #[test]
    fn what_is_no_document_is_refused_and_its_secrets_are_not_repeated() {
        for body in ["{", "{} {}", r#"{"rtmp":"eyJhbGciOi.eyJ2aWRl.c1gn"}"#] {
            let refusal = read::<SenderRequest>(body.as_bytes()).unwrap_err();
            assert_eq!(refusal.reason, RefusalReason::Malformed, "{body}");
            assert!(!refusal.message.contains("eyJ"), "{}", refusal.message);
        }
    }

    #[test]
    fn a_fingerprint_is_the_beginning_of_the_locations_hash() {
        // printf %s rtmps://global-live.mux.com:443/app/key-of-a-test | sha256sum
        let destination = RtmpDestination {
            url: "rtmps://global-live.mux.com:443/app/".into(),
            stream_key: Secret::new("key-of-a-test"),
        };
        assert_eq!(fingerprint(&destination), "b00fe0b3278a5bf5");
    }
}
