//! An answer as it goes out.

use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// How an answer reaches who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// As it stands.
    Whole,
    /// Not at all: the connection is closed.
    Closed,
    /// Not at all, and the connection stays open until who asked gives up.
    Hangs,
    /// Half of the body; then the connection is closed.
    Truncated,
    /// Half of the body; then nothing more comes and the connection stays open until who asked gives up.
    Stalls,
    /// Another page, in HTML, with the answer's status.
    Page,
    /// JSON may begin with spaces. So many bytes in all, or spaces without an end.
    Padded {
        /// How many, spaces and body together; `None` is without an end.
        bytes: Option<u64>,
    },
}

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
    /// Whether and how it arrives.
    pub delivery: Delivery,
}

impl Answer {
    pub(crate) fn new(status: u16, body: Option<Value>) -> Self {
        Self { status, headers: Vec::new(), body, delay: Duration::ZERO, delivery: Delivery::Whole }
    }

    /// The object or list in the success envelope.
    pub(crate) fn data(status: u16, data: Value) -> Self {
        Self::new(status, Some(json!({ "data": data })))
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether at least its status arrives.
    pub fn delivered(&self) -> bool {
        !matches!(self.delivery, Delivery::Closed | Delivery::Hangs)
    }

    /// The whole body as bytes, without what padding adds: what `Content-Length` promises.
    pub fn bytes(&self) -> Vec<u8> {
        if self.delivery == Delivery::Page {
            return format!(
                "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n",
                self.status
            )
            .into_bytes();
        }
        self.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default()
    }

    /// What arrives of the body, up to so many bytes. Whether more would come is for [`Delivery`] to say.
    pub fn arrives(&self, at_most: usize) -> Vec<u8> {
        let mut bytes = self.bytes();
        match self.delivery {
            Delivery::Whole | Delivery::Page => {}
            Delivery::Closed | Delivery::Hangs => bytes.clear(),
            Delivery::Truncated | Delivery::Stalls => bytes.truncate(bytes.len() / 2),
            Delivery::Padded { bytes: all } => {
                let all = all.unwrap_or(u64::MAX);
                let body = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let spaces = usize::try_from(all.saturating_sub(body)).unwrap_or(usize::MAX).min(at_most);
                bytes.splice(0..0, std::iter::repeat_n(b' ', spaces));
            }
        }
        bytes.truncate(at_most);
        bytes
    }

    /// The object in the success envelope; `null` when there is none.
    pub fn object(&self) -> Value {
        self.body.as_ref().and_then(|body| body.get("data")).cloned().unwrap_or(Value::Null)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.status)?;
        if self.delivery == Delivery::Whole { Ok(()) } else { write!(formatter, ", {:?}", self.delivery) }
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
