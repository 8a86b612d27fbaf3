//! What went wrong at a provider, and how that is to be met.

use std::fmt;
use std::time::Duration;

/// What a call to a provider brings.
pub type Result<T> = std::result::Result<T, ProviderError>;

/// Characters. What is wrong is told in a sentence or two.
const LONGEST_MESSAGE: usize = 500;

/// What others wrote, fit for a status that people read in one line: bounded, without control characters.
pub(crate) fn one_line(text: &str) -> String {
    let mut characters = text
        .chars()
        .map(|character| if character.is_control() || character.is_whitespace() { ' ' } else { character });
    let mut line: String = characters.by_ref().take(LONGEST_MESSAGE).collect();
    if characters.next().is_some() {
        line.pop();
        line.push('…');
    }
    line
}

/// Whom we called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Mux Video.
    Mux,
    /// LiveKit: rooms and egress.
    LiveKit,
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Mux => "Mux",
            Self::LiveKit => "LiveKit",
        })
    }
}

/// How a failure is to be met, whatever the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Refused for good: the same request will be refused again.
    Terminal,
    /// What the request names does not exist, and the credentials are good.
    NotFound,
    /// The credentials are refused or do not allow this, or something that is not the provider answers.
    Credentials,
    /// Not processed: too many requests. Safe to repeat.
    RateLimited {
        /// How long the provider asked us to wait, if it did.
        retry_after: Option<Duration>,
    },
    /// Certainly not processed, or safe to repeat.
    Transient,
    /// It may have been processed, and repeating it could make a second thing: search before trying again.
    InDoubt,
    /// Not processed: the provider has no capacity now.
    Busy,
}

/// What people can do something about, where the class does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// LiveKit's server does not know the call.
    ServerTooOld,
    /// No egress worker, or none with room for one more.
    NoCapacity,
    /// The request goes on; its asker waited as long as it could.
    NoAnswerYet,
    /// What our record names does not say that it is ours.
    NotOurs,
}

/// A call to a provider that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{provider}, {operation}: {message}")]
pub struct ProviderError {
    /// Whom we called.
    pub provider: Provider,
    /// The client's method.
    pub operation: &'static str,
    /// How to meet it.
    pub class: ErrorClass,
    /// What is wrong and what to do, with the provider's words. The same for the same failure: no request ids, no
    /// times. No secrets.
    pub message: String,
    /// What the class does not say.
    pub cause: Option<Cause>,
}

impl ProviderError {
    pub(super) fn new(
        provider: Provider,
        operation: &'static str,
        class: ErrorClass,
        message: impl Into<String>,
    ) -> Self {
        Self { provider, operation, class, message: one_line(&message.into()), cause: None }
    }

    /// A question that waits for its answer longer than its asker does.
    pub(crate) fn no_answer_yet(provider: Provider, operation: &'static str, class: ErrorClass) -> Self {
        let message = format!(
            "{provider} has not answered yet; it is slow, or the request waits for its turn at the rate limit"
        );
        Self::new(provider, operation, class, message).because(Cause::NoAnswerYet)
    }

    /// A question whose asking came to an end without an answer.
    pub(crate) fn cut_short(provider: Provider, operation: &'static str, class: ErrorClass) -> Self {
        Self::new(provider, operation, class, format!("the call to {provider} was cut short"))
    }

    /// An answer to a create without the id of what was made: it may be there.
    pub(crate) fn without_id(provider: Provider, operation: &'static str) -> Self {
        let message = format!("{provider}'s answer does not name what was made");
        Self::new(provider, operation, ErrorClass::InDoubt, message)
    }

    /// What our record names does not say that it is ours: nothing is done with it.
    pub(crate) fn not_ours(id: &str, marker: &str) -> Self {
        let message = format!(
            "status.mux.streamId names live stream {id}, whose passthrough is not {marker}: nothing is done with it. Give it \
             that passthrough at Mux if it is this service's, else set status.mux to null with kubectl's \
             --subresource=status; a new one is made then"
        );
        Self::new(Provider::Mux, "live_stream", ErrorClass::Terminal, message).because(Cause::NotOurs)
    }

    pub(super) fn because(self, cause: Cause) -> Self {
        Self { cause: Some(cause), ..self }
    }

    /// Any failure that may pass.
    #[cfg(test)]
    pub(crate) fn transient_for_test() -> Self {
        Self::new(Provider::Mux, "live_streams", ErrorClass::Transient, "Mux cannot be reached")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_endpoint_says_is_one_bounded_line() {
        let said = format!("first\r\nsecond\u{1b}[31m\tthird{}", "x".repeat(10_000));
        let error = ProviderError::new(Provider::Mux, "test", ErrorClass::Terminal, said);
        assert!(error.message.starts_with("first  second [31m third"), "{error}");
        assert!(!error.message.contains(char::is_control));
        assert_eq!(error.message.chars().count(), LONGEST_MESSAGE);
        assert!(error.message.ends_with('…'));
    }
}
