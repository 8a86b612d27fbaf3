//! An answer as it goes out.

use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// An answer, or that there is none. Its `Debug` hides the body, which may hold a stream key.
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// HTTP's.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// JSON; `None` is an empty body.
    pub body: Option<Value>,
    /// How long to wait before it is sent.
    pub delay: Duration,
    /// `false`: the connection is closed instead.
    pub delivered: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: Option<Value>) -> Self {
        Self { status, headers: Vec::new(), body, delay: Duration::ZERO, delivered: true }
    }

    /// The object or list in the success envelope.
    pub(crate) fn data(status: u16, data: Value) -> Self {
        Self::new(status, Some(json!({ "data": data })))
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The object in the success envelope; `null` when there is none.
    pub fn object(&self) -> Value {
        self.body.as_ref().and_then(|body| body.get("data")).cloned().unwrap_or(Value::Null)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.delivered { "" } else { ", not delivered" };
        write!(formatter, "{}{how}", self.status)
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400.
    Invalid(String),
    /// 401.
    Unauthorized,
    /// 404: it is not there, or the token may not see it.
    NotFound,
    /// 429.
    TooManyRequests,
    /// 5xx.
    Failed(u16),
}

impl Refusal {
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let typed = |status, kind: &str, message: &str| {
            Answer::new(status, Some(json!({"error": {"type": kind, "messages": [message]}})))
        };
        match refusal {
            Refusal::Invalid(message) => typed(400, "invalid_parameters", &message),
            Refusal::Unauthorized => typed(401, "unauthorized", "Unauthorized request"),
            Refusal::NotFound => typed(
                404,
                "not_found",
                "The requested resource either doesn't exist or you don't have access to it.",
            ),
            // The one error without a type, as recorded in muxinc/next-video#309.
            Refusal::TooManyRequests => {
                Answer::new(429, Some(json!({"errors": ["Too many requests, retry later."]})))
            }
            Refusal::Failed(status) => typed(status, "internal_error", "Internal server error"),
        }
    }
}
