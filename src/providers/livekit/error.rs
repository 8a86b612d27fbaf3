//! What LiveKit's errors mean. Pure.

use super::redact::redact_text;
use super::twirp::Failure;
use crate::providers::transport::{self, Repeat};
use crate::providers::{Cause, ErrorClass, Provider, ProviderError};
use livekit_api::services::ServerErrorCode;

/// Classes a failure.
pub(super) fn classify(operation: &'static str, repeat: Repeat, failure: &Failure) -> ProviderError {
    match failure {
        Failure::Refused(refusal) => refused(operation, repeat, refusal),
        Failure::NotLiveKit(status) => not_livekit(operation, repeat, *status),
        Failure::Interrupted(interruption) => {
            transport::failed(Provider::LiveKit, operation, repeat, interruption)
        }
        Failure::Unsigned(error) => {
            let message = format!(
                "no token can be signed with the API key and secret of LiveKit: {error}; correct them"
            );
            ProviderError::new(Provider::LiveKit, operation, ErrorClass::Credentials, message)
        }
    }
}

/// LiveKit answers a wrong key or secret with plain text, a proxy its own errors with HTML. A proxy that gave up may have
/// passed a start on; one that asks for patience, or LiveKit Cloud, has not.
fn not_livekit(operation: &'static str, repeat: Repeat, status: u16) -> ProviderError {
    let new = |class, message: String| ProviderError::new(Provider::LiveKit, operation, class, message);
    let class = match (status, repeat) {
        (429, _) => {
            let limited = ErrorClass::RateLimited { retry_after: None };
            return new(
                limited,
                "LiveKit, or a proxy before it, takes no more requests for now (429)".into(),
            );
        }
        (500.., _) => {
            let message = format!("a proxy before LiveKit answers {status}: LiveKit may be down; look at it");
            return new(repeat.doubt(), message);
        }
        (401 | 403, _) | (_, Repeat::Safe) => ErrorClass::Credentials,
        (_, Repeat::Never) => ErrorClass::InDoubt,
    };
    let message = "the answer is not LiveKit's API's: the API key or secret is wrong, or something else answers at its \
                   URL, such as a proxy; check LiveKit's URL, key and secret, and that the operator's clock is not a minute ahead";
    new(class, message.into())
}

/// An error in Twirp's form. Which code means what: livekit-server `pkg/service`.
fn refused(operation: &'static str, repeat: Repeat, refusal: &ServerErrorCode) -> ProviderError {
    let words = format!("{}: {}", refusal.code, redact_text(&refusal.msg));
    let new = |class, what: &str| {
        ProviderError::new(Provider::LiveKit, operation, class, format!("LiveKit {what} ({words})"))
    };
    let no_capacity = |what: &str| new(ErrorClass::Busy, what).because(Cause::NoCapacity);
    let starts = repeat == Repeat::Never;
    match refusal.code.as_str() {
        ServerErrorCode::BAD_ROUTE | ServerErrorCode::UNIMPLEMENTED => new(
            ErrorClass::Terminal,
            "does not know this call: StartEgress needs livekit-server 1.13 or newer; upgrade it, or send from the compositor",
        )
        .because(Cause::ServerTooOld),
        ServerErrorCode::UNAUTHENTICATED | ServerErrorCode::PERMISSION_DENIED => {
            new(ErrorClass::Credentials, "refused the credentials; check the API key and secret")
        }
        ServerErrorCode::NOT_FOUND => new(ErrorClass::NotFound, "does not have it"),
        ServerErrorCode::RESOURCE_EXHAUSTED if !starts => {
            new(ErrorClass::RateLimited { retry_after: None }, "takes no more requests for now")
        }
        ServerErrorCode::UNAVAILABLE if !starts => new(ErrorClass::Transient, "is not available"),
        ServerErrorCode::RESOURCE_EXHAUSTED | ServerErrorCode::UNAVAILABLE => {
            no_capacity("has no egress worker that is free; start one or wait")
        }
        // The server has no redis, and with it no egress service.
        ServerErrorCode::INTERNAL if refusal.msg.contains("egress not connected") => {
            no_capacity("has no egress service; connect one through redis")
        }
        ServerErrorCode::INVALID_ARGUMENT
        | ServerErrorCode::MALFORMED
        | ServerErrorCode::OUT_OF_RANGE
        | ServerErrorCode::ALREADY_EXISTS
        | ServerErrorCode::FAILED_PRECONDITION => new(ErrorClass::Terminal, "refused the request"),
        ServerErrorCode::DEADLINE_EXCEEDED => new(repeat.doubt(), "got no answer from its own parts in time"),
        _ => new(repeat.doubt(), "failed"),
    }
}

/// Whether LiveKit refused with Twirp's code `code`.
pub(super) fn is(failure: &Failure, code: &str) -> bool {
    matches!(failure, Failure::Refused(refusal) if refusal.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classed(repeat: Repeat, code: &str, message: &str) -> ProviderError {
        let refusal = ServerErrorCode { code: code.into(), msg: message.into(), meta: Default::default() };
        classify("test", repeat, &Failure::Refused(refusal))
    }

    #[test]
    fn each_code_has_its_class() {
        use ErrorClass::{Busy, Credentials, InDoubt, NotFound, Terminal, Transient};
        let limited = ErrorClass::RateLimited { retry_after: None };
        let table = [
            ("unauthenticated", Credentials, Credentials),
            ("permission_denied", Credentials, Credentials),
            ("not_found", NotFound, NotFound),
            ("invalid_argument", Terminal, Terminal),
            ("malformed", Terminal, Terminal),
            ("failed_precondition", Terminal, Terminal),
            ("already_exists", Terminal, Terminal),
            ("bad_route", Terminal, Terminal),
            ("resource_exhausted", limited, Busy),
            ("unavailable", Transient, Busy),
            ("deadline_exceeded", Transient, InDoubt),
            ("internal", Transient, InDoubt),
            ("unknown", Transient, InDoubt),
            ("a code that is new to us", Transient, InDoubt),
        ];
        for (code, safe, never) in table {
            assert_eq!(classed(Repeat::Safe, code, "words").class, safe, "{code}");
            assert_eq!(classed(Repeat::Never, code, "words").class, never, "{code}");
        }
    }

    #[test]
    fn what_people_can_act_on_has_a_reason() {
        let old = classed(Repeat::Never, "bad_route", "no handler for path");
        assert_eq!(old.cause, Some(Cause::ServerTooOld));
        assert!(old.message.contains("1.13"), "{old}");
        let full = classed(Repeat::Never, "unavailable", "no response from servers");
        assert_eq!(full.cause, Some(Cause::NoCapacity));
        assert!(full.message.contains("no response from servers"), "{full}");
        let none = classed(Repeat::Never, "internal", "egress not connected (redis required)");
        assert_eq!((none.class, none.cause), (ErrorClass::Busy, Some(Cause::NoCapacity)));
        assert_eq!(classed(Repeat::Safe, "unavailable", "no").cause, None);
        let late = classed(Repeat::Safe, "deadline_exceeded", "context deadline exceeded");
        assert!(late.message.contains("no answer from its own parts in time"), "{late}");
    }

    #[test]
    fn a_refusal_is_known_by_its_code() {
        let refusal =
            ServerErrorCode { code: "not_found".into(), msg: String::new(), meta: Default::default() };
        let failure = Failure::Refused(refusal);
        assert!(is(&failure, "not_found"));
        assert!(!is(&failure, "unavailable"));
        assert!(!is(&Failure::NotLiveKit(404), "not_found"));
    }

    #[test]
    fn what_is_not_twirp_is_told_by_its_status() {
        let class = |repeat, status| classify("test", repeat, &Failure::NotLiveKit(status)).class;
        let limited = ErrorClass::RateLimited { retry_after: None };
        let table = [
            (429, limited, limited),
            (401, ErrorClass::Credentials, ErrorClass::Credentials),
            (403, ErrorClass::Credentials, ErrorClass::Credentials),
            (404, ErrorClass::Credentials, ErrorClass::InDoubt),
            (200, ErrorClass::Credentials, ErrorClass::InDoubt),
            (502, ErrorClass::Transient, ErrorClass::InDoubt),
        ];
        for (status, safe, never) in table {
            assert_eq!(
                (class(Repeat::Safe, status), class(Repeat::Never, status)),
                (safe, never),
                "{status}"
            );
        }
    }

    #[test]
    fn a_key_in_livekits_words_is_redacted() {
        let error = classed(Repeat::Never, "invalid_argument", "bad url rtmp://h/app/0123456789");
        assert!(error.message.ends_with("(invalid_argument: bad url rtmp://h/app/{012...789})"), "{error}");
    }
}
