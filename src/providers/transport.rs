//! Failures below HTTP, the same for both providers.

use super::{ErrorClass, Provider, ProviderError};
use std::error::Error;

/// Whether a call may be made twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Twice is as good as once.
    Safe,
    /// Twice may make two things.
    Never,
}

impl Repeat {
    /// How to meet a call that may or may not have been processed.
    pub(super) fn doubt(self) -> ErrorClass {
        match self {
            Self::Safe => ErrorClass::Transient,
            Self::Never => ErrorClass::InDoubt,
        }
    }
}

/// How a request failed below HTTP. `host` is whom it was sent to, where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// The address is no URL. Nothing was sent.
    Address {
        /// What is wrong with it.
        cause: String,
    },
    /// No connection came about. Nothing was sent.
    NotReached {
        /// To whom.
        host: Option<String>,
        /// Why.
        cause: String,
    },
    /// No answer in time.
    TimedOut {
        /// Of whom.
        host: Option<String>,
    },
    /// The connection broke off before the answer was complete.
    BrokeOff {
        /// To whom.
        host: Option<String>,
    },
    /// The answer was longer than any of the provider's, and was not read to its end.
    TooLong {
        /// Whose.
        host: Option<String>,
    },
}

impl From<&reqwest::Error> for Interruption {
    fn from(error: &reqwest::Error) -> Self {
        let host = error.url().and_then(|url| url.host_str()).map(str::to_owned);
        if error.is_builder() {
            Self::Address { cause: innermost(error) }
        } else if error.is_connect() {
            Self::NotReached { host, cause: innermost(error) }
        } else if error.is_timeout() {
            Self::TimedOut { host }
        } else {
            Self::BrokeOff { host }
        }
    }
}

/// A request that was not answered, or whose answer broke off.
pub(super) fn failed(
    provider: Provider,
    operation: &'static str,
    repeat: Repeat,
    interruption: &Interruption,
) -> ProviderError {
    let at = |host: &Option<String>| host.as_ref().map_or_else(String::new, |host| format!(" ({host})"));
    let (class, message) = match interruption {
        Interruption::Address { cause } => {
            (ErrorClass::Terminal, format!("the address of {provider} is no URL: {cause}; correct it"))
        }
        Interruption::NotReached { host, cause } => {
            (ErrorClass::Transient, format!("{provider}{} cannot be reached: {cause}", at(host)))
        }
        Interruption::TimedOut { host } => {
            (repeat.doubt(), format!("{provider}{} did not answer in time", at(host)))
        }
        Interruption::BrokeOff { host } => (
            repeat.doubt(),
            format!("the connection to {provider}{} broke off before the answer was complete", at(host)),
        ),
        Interruption::TooLong { host } => (
            match (repeat, provider) {
                (Repeat::Never, _) => ErrorClass::InDoubt,
                // Its list of rooms holds what other products write into theirs.
                (Repeat::Safe, Provider::LiveKit) => ErrorClass::Transient,
                (Repeat::Safe, Provider::Mux) => ErrorClass::Credentials,
            },
            format!("the answer{} is longer than any of {provider}'s; check its URL and any proxy", at(host)),
        ),
    };
    ProviderError::new(provider, operation, class, message)
}

/// The cause at the bottom: what stands above it only repeats the URL.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::Loopback;
    use std::time::Duration;
    use tokio::net::TcpListener;

    fn client() -> reqwest::Client {
        crate::providers::http_client().unwrap()
    }

    async fn failure(url: &str, repeat: Repeat) -> ProviderError {
        let request = client().post(url).timeout(Duration::from_millis(200));
        let error = match request.send().await {
            Ok(answer) => answer.bytes().await.unwrap_err(),
            Err(error) => error,
        };
        failed(Provider::Mux, "test", repeat, &Interruption::from(&error))
    }

    #[tokio::test]
    async fn a_refused_connection_was_certainly_not_processed() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = failure(&format!("http://{free}/secret-path"), Repeat::Never).await;
        assert_eq!(error.class, ErrorClass::Transient);
        assert!(
            error.message.starts_with("Mux (127.0.0.1) cannot be reached: Connection refused"),
            "{error}"
        );
        assert!(!error.message.contains("secret-path"));
    }

    #[tokio::test]
    async fn silence_leaves_a_create_in_doubt_and_nothing_else() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let error = failure(&url, Repeat::Never).await;
        assert_eq!(
            (error.class, error.message.as_str()),
            (ErrorClass::InDoubt, "Mux (127.0.0.1) did not answer in time")
        );
        assert_eq!(failure(&url, Repeat::Safe).await.class, ErrorClass::Transient);
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_leaves_a_create_in_doubt() {
        for answer in ["", "HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{\"data\""] {
            let server = Loopback::that_says(answer).await;
            let error = failure(&format!("http://127.0.0.1:{}/", server.port), Repeat::Never).await;
            server.heard().await;
            assert_eq!(error.class, ErrorClass::InDoubt, "{error}");
            assert!(error.message.contains("broke off"), "{error}");
        }
    }
}
