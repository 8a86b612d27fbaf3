//! What Mux's answers mean. Pure.

use crate::providers::transport::Repeat;
use crate::providers::{ErrorClass, Provider, ProviderError, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Mux asked for no more than seconds so far; a mistake of its must not silence us for hours.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// An answer as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's.
    pub status: u16,
    /// How long to send nothing.
    pub retry_after: Option<Duration>,
    /// How many more requests of this kind Mux would take now, if it says so.
    pub remaining: Option<u32>,
    /// Names the request to Mux's support. Logged only: it differs each time.
    pub request_id: Option<String>,
    /// JSON, unless something else than Mux answered.
    pub body: Vec<u8>,
}

/// Both shapes in which Mux words an error. Source: mux.com/docs/core/make-api-requests for the first; the second is
/// what a 429 carries (muxinc/next-video#309).
#[derive(Deserialize)]
#[serde(untagged)]
enum Refusal {
    Typed { error: TypedError },
    Plain { errors: Vec<String> },
}

#[derive(Deserialize)]
struct TypedError {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    messages: Vec<String>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

impl Answer {
    /// `Ok` for any 2xx; else the error, classed.
    pub(super) fn accepted(self, operation: &'static str, repeat: Repeat) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let said = self.words();
        let said = said.as_deref();
        let words = said.unwrap_or("no words of Mux's");
        let status = self.status;
        let (class, message) = match status {
            401 | 403 => (
                ErrorClass::Credentials,
                format!(
                    "Mux refused the credentials ({status}: {words}); check the token id, its secret and its permissions"
                ),
            ),
            404 => (ErrorClass::NotFound, format!("Mux does not have it ({status}: {words})")),
            429 => (
                ErrorClass::RateLimited { retry_after: self.retry_after },
                format!("Mux takes no more requests for now ({status}: {words})"),
            ),
            408 | 500.. => (repeat.doubt(), format!("Mux failed ({status}: {words})")),
            _ if said.is_none() => (
                ErrorClass::Credentials,
                format!("something that is not Mux answered with {status}; check the base URL and any proxy"),
            ),
            _ => (ErrorClass::Terminal, format!("Mux refused the request ({status}: {words})")),
        };
        Err(ProviderError::new(Provider::Mux, operation, class, message))
    }

    /// The object in an accepted answer.
    pub(super) fn data<T: DeserializeOwned>(&self, operation: &'static str, repeat: Repeat) -> Result<T> {
        // Serde's words may quote the body, and a body may hold a stream key: only the place is told.
        serde_json::from_slice(&self.body).map(|Envelope { data }| data).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            let message =
                format!("the answer cannot be read as Mux's ({place}); check the base URL and any proxy");
            ProviderError::new(Provider::Mux, operation, repeat.doubt(), message)
        })
    }

    fn words(&self) -> Option<String> {
        let words = match serde_json::from_slice(&self.body).ok()? {
            Refusal::Typed { error } => format!("{}: {}", error.kind, error.messages.join("; ")),
            Refusal::Plain { errors } => errors.join("; "),
        };
        Some(words.trim_end_matches([' ', ':']).to_owned())
    }
}

/// Reads `retry-after-ms` and `retry-after` (seconds), as Mux's SDK does.
pub(super) fn retry_after(milliseconds: Option<&str>, seconds: Option<&str>) -> Option<Duration> {
    let number = |text: Option<&str>, unit: f64| {
        let value: f64 = text?.trim().parse().ok()?;
        Duration::try_from_secs_f64(value * unit).ok()
    };
    number(milliseconds, 0.001).or_else(|| number(seconds, 1.0)).map(|wait| wait.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn refused(status: u16, body: &str, repeat: Repeat) -> ProviderError {
        let retry_after = Some(Duration::from_secs(7));
        let answer = Answer { status, retry_after, body: body.into(), ..Answer::default() };
        answer.accepted("test", repeat).unwrap_err()
    }

    #[test]
    fn each_status_has_its_class() {
        let typed = r#"{"error": {"type": "some_type", "messages": ["some words"]}}"#;
        let cases = [
            (400, Repeat::Never, ErrorClass::Terminal),
            (401, Repeat::Never, ErrorClass::Credentials),
            (403, Repeat::Safe, ErrorClass::Credentials),
            (404, Repeat::Safe, ErrorClass::NotFound),
            (409, Repeat::Safe, ErrorClass::Terminal),
            (422, Repeat::Never, ErrorClass::Terminal),
            (429, Repeat::Never, ErrorClass::RateLimited { retry_after: Some(Duration::from_secs(7)) }),
            (408, Repeat::Never, ErrorClass::InDoubt),
            (408, Repeat::Safe, ErrorClass::Transient),
            (500, Repeat::Never, ErrorClass::InDoubt),
            (503, Repeat::Safe, ErrorClass::Transient),
        ];
        for (status, repeat, class) in cases {
            let error = refused(status, typed, repeat);
            assert_eq!(error.class, class, "{status}");
            assert!(error.message.contains(&format!("({status}: some_type: some words)")), "{error}");
        }
    }

    #[test]
    fn the_words_of_both_shapes_are_told() {
        let error = refused(429, r#"{"errors": ["Too many requests, retry later."]}"#, Repeat::Never);
        assert_eq!(
            error.message,
            "Mux takes no more requests for now (429: Too many requests, retry later.)"
        );
        let error = refused(
            401,
            r#"{"error":{"type":"unauthorized","messages":["Unauthorized request"]}}"#,
            Repeat::Safe,
        );
        assert_eq!(
            error.to_string(),
            "Mux, test: Mux refused the credentials (401: unauthorized: Unauthorized request); check the token id, its secret and its permissions"
        );
        assert!(
            refused(500, r#"{"error":{"type":"internal"}}"#, Repeat::Safe)
                .message
                .ends_with("(500: internal)")
        );
    }

    #[test]
    fn an_answer_that_is_not_muxs_says_so_and_is_not_quoted() {
        for (status, class) in
            [(302, ErrorClass::Credentials), (413, ErrorClass::Credentials), (502, ErrorClass::InDoubt)]
        {
            let error = refused(status, "<html>hidden</html>", Repeat::Never);
            assert_eq!(error.class, class, "{status}");
            assert!(!error.message.contains("hidden"));
        }
    }

    #[test]
    fn an_object_that_cannot_be_read_is_not_quoted() {
        let answer = Answer { status: 201, body: r#"{"data": "hidden-key"}"#.into(), ..Answer::default() };
        let error = answer.data::<u32>("create_live_stream", Repeat::Never).unwrap_err();
        assert_eq!(error.class, ErrorClass::InDoubt);
        assert!(!error.message.contains("hidden"), "{error}");
        assert_eq!(answer.data::<Value>("test", Repeat::Safe).unwrap(), Value::from("hidden-key"));
    }

    #[test]
    fn retry_after_is_read_in_both_units_and_bounded() {
        assert_eq!(retry_after(None, Some("3")), Some(Duration::from_secs(3)));
        assert_eq!(retry_after(Some("1500"), Some("3")), Some(Duration::from_millis(1500)));
        assert_eq!(retry_after(Some("soon"), Some("2.5")), Some(Duration::from_millis(2500)));
        assert_eq!(retry_after(None, Some("86400")), Some(LONGEST_PAUSE));
        for nonsense in [None, Some("-1"), Some("NaN"), Some("Wed, 21 Oct 2026 07:28:00 GMT")] {
            assert_eq!(retry_after(None, nonsense), None);
        }
    }
}
