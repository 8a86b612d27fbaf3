//! A request as it comes in.

use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// HTTP's methods, as far as Mux uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "HTTP's own words")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// HTTP's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl FromStr for Method {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        let all = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];
        all.into_iter().find(|method| method.as_str() == word).ok_or(())
    }
}

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The token's id: the user of HTTP Basic.
    pub token_id: String,
    /// The token's secret: the password.
    pub token_secret: Secret,
}

/// A request. Its `Debug` hides what may hold a stream key.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// HTTP's.
    pub method: Method,
    /// From `/video` or `/system` on.
    pub path: String,
    /// What follows the question mark, decoded.
    pub query: Vec<(String, String)>,
    /// From HTTP Basic; `None` when there are none that can be read.
    pub credentials: Option<Credentials>,
    /// As it came.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without a query and a body.
    pub fn new(method: Method, path: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            credentials: Some(credentials),
            body: Vec::new(),
        }
    }

    /// The first value of that name in the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} ({} bytes)", self.method.as_str(), self.path, self.body.len())
    }
}
