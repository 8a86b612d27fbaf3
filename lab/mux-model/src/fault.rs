//! What can be made to go wrong.

use crate::operation::Operation;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A fault: it strikes requests until it is used up or cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests, such as `create_live_stream`; `None` is all.
    #[serde(default)]
    pub operation: Option<String>,
    /// How many of them; `None` is until it is cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens to them.
    pub kind: FaultKind,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It is done, and then the connection is closed without an answer. Requests that are refused are answered.
    DropReply,
    /// The connection is closed before anything is done.
    Outage,
    /// It fails with this status, after it was done or without.
    ServerError {
        /// 500 to 599.
        status: u16,
        /// Whether it is done.
        committed: bool,
    },
    /// 429, and nothing is done.
    TooManyRequests {
        /// The `Retry-After` header, in seconds.
        retry_after: Option<u32>,
    },
    /// The connection is accepted and nothing ever comes, until who asked gives up.
    Hang {
        /// Whether it is done. Requests that are refused are answered then.
        committed: bool,
    },
    /// It is done, and half of the answer's body comes before the connection is closed. Answers without a body and
    /// refusals are not struck.
    TruncatedBody,
    /// The same, but the connection stays open, until who asked gives up.
    StalledBody,
    /// A proxy's page in HTML comes with this status, after it was done or without. Requests that are refused are
    /// answered when it is done.
    WrongContent {
        /// Any.
        status: u16,
        /// Whether it is done.
        committed: bool,
    },
    /// It is done, and spaces come before the answer's JSON: so many bytes in all, or without an end. Answers without a
    /// body and refusals are not struck.
    LargeBody {
        /// `None` is without an end.
        bytes: Option<u64>,
    },
    /// It is done at once, and answered after so many milliseconds.
    Slow {
        /// How much later.
        milliseconds: u32,
    },
}

impl Fault {
    fn of(operation: Option<&str>, times: Option<u32>, kind: FaultKind) -> Self {
        Self { operation: operation.map(str::to_owned), times, kind }
    }

    /// Answers come this much later, until cleared.
    pub fn slow(operation: &str, milliseconds: u32) -> Self {
        Self::of(Some(operation), None, FaultKind::Slow { milliseconds })
    }

    /// The next `times` are done and not answered.
    pub fn drop_reply(operation: &str, times: u32) -> Self {
        Self::of(Some(operation), Some(times), FaultKind::DropReply)
    }

    /// Everything fails with 503 and nothing is done, until cleared.
    pub fn server_error() -> Self {
        Self::of(None, None, FaultKind::ServerError { status: 503, committed: false })
    }

    /// The next `times` are done, and answered with 503.
    pub fn server_error_after(operation: &str, times: u32) -> Self {
        Self::of(Some(operation), Some(times), FaultKind::ServerError { status: 503, committed: true })
    }

    /// Every connection is closed and nothing is done, until cleared.
    pub fn outage() -> Self {
        Self::of(None, None, FaultKind::Outage)
    }

    /// The next `times` are refused with 429.
    pub fn too_many_requests(operation: &str, times: u32, retry_after: Option<u32>) -> Self {
        Self::of(Some(operation), Some(times), FaultKind::TooManyRequests { retry_after })
    }

    /// The next `times` are never answered, whether they are done or not.
    pub fn hang(operation: &str, times: u32, committed: bool) -> Self {
        Self::of(Some(operation), Some(times), FaultKind::Hang { committed })
    }

    /// Nothing is done and nothing is ever answered, until cleared.
    pub fn black_hole() -> Self {
        Self::of(None, None, FaultKind::Hang { committed: false })
    }

    /// The next `times` are done, and half of the answer comes.
    pub fn truncated_body(operation: &str, times: u32) -> Self {
        Self::of(Some(operation), Some(times), FaultKind::TruncatedBody)
    }

    /// A proxy's page with status 502 comes instead of everything, until cleared.
    pub fn bad_gateway() -> Self {
        Self::of(None, None, FaultKind::WrongContent { status: 502, committed: false })
    }

    /// The next `times` are done, and the answer has no end.
    pub fn endless_body(operation: &str, times: u32) -> Self {
        Self::of(Some(operation), Some(times), FaultKind::LargeBody { bytes: None })
    }

    pub(crate) fn strikes(&self, operation: Operation) -> bool {
        self.times != Some(0) && self.operation.as_deref().is_none_or(|name| name == operation.name())
    }

    pub(crate) fn check(&self) -> Result<(), UnknownOperation> {
        match &self.operation {
            Some(name) if Operation::from_name(name).is_none() => Err(UnknownOperation(name.clone())),
            _ => Ok(()),
        }
    }
}

/// A fault names an operation that there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownOperation(String);

impl fmt::Display for UnknownOperation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "there is no operation {:?}; use one of: {}", self.0, Operation::names().join(", "))
    }
}

impl std::error::Error for UnknownOperation {}
