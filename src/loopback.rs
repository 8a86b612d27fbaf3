//! A server on loopback that answers one request, for the tests of those who ask.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The server, until it has answered.
pub struct Loopback {
    pub port: u16,
    answered: JoinHandle<String>,
}

impl Loopback {
    /// It answers so, and hangs up.
    pub async fn that_says(answer: impl Into<Vec<u8>>) -> Self {
        Self::that_goes_on(answer, b"").await
    }

    /// It answers so, and then repeats `endless` as long as anybody reads it.
    pub async fn that_goes_on(answer: impl Into<Vec<u8>>, endless: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = answer.into();
        let answered = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            // The request's head is read to its end: closing with unread bytes would reset the answer away.
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(connection.read_u8().await.unwrap());
            }
            connection.write_all(&answer).await.unwrap();
            while !endless.is_empty() && connection.write_all(endless).await.is_ok() {}
            String::from_utf8(head).unwrap()
        });
        Self { port, answered }
    }

    /// The head of the request, once it is answered.
    pub async fn heard(self) -> String {
        self.answered.await.unwrap()
    }
}

/// A whole answer with a body.
pub fn http(status: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
