//! Bodies that do not end as they should.

use super::server::NoAnswer;
use axum::body::{Body, Bytes};
use hyper::body::Frame;
use std::pin::Pin;
use std::task::{Context, Poll};

/// So many spaces are sent at once.
const CHUNK: usize = 64 * 1024;

/// Spaces, then bytes, then an end of some kind.
struct Spoilt {
    /// How many spaces are still to come.
    spaces: u64,
    bytes: Bytes,
    end: End,
    /// Everything before a cut is on its way.
    flushed: bool,
}

/// How a body ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// As it should.
    Whole,
    /// The connection is closed.
    Cut,
    /// Nothing more comes until the client goes.
    Stall,
}

/// A body of so many spaces, these bytes, and that end.
pub fn body(spaces: u64, bytes: Vec<u8>, end: End) -> Body {
    Body::new(Spoilt { spaces, bytes: bytes.into(), end, flushed: false })
}

impl hyper::body::Body for Spoilt {
    type Data = Bytes;
    type Error = NoAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NoAnswer>>> {
        if self.spaces > 0 {
            static SPACES: [u8; CHUNK] = [b' '; CHUNK];
            let length = usize::try_from(self.spaces).unwrap_or(CHUNK).min(CHUNK);
            self.spaces = self.spaces.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&SPACES[..length])))));
        }
        if !self.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))));
        }
        let end = self.end;
        match end {
            End::Whole => Poll::Ready(None),
            // hyper sends what it has before it asks again.
            End::Cut if !self.flushed => {
                self.flushed = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Cut => Poll::Ready(Some(Err(NoAnswer))),
            // Nobody is woken: hyper drops it when the client goes.
            End::Stall => Poll::Pending,
        }
    }
}
