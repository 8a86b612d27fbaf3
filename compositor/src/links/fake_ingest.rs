//! An RTMP ingest for tests: it says yes to everything, takes media, and may stop to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of C1, S1 and their echoes.
const HANDSHAKE: usize = 1_536;
/// Commands come before this many bytes of a connection.
const COMMANDS: usize = 4_096;

/// The ingest. It ends with the test's process.
#[derive(Clone)]
pub(super) struct Ingest {
    pub(super) url: String,
    /// Whether it takes nothing any more from its connections, and keeps them open.
    pub(super) is_stuck: Arc<AtomicBool>,
    /// Bytes that it took.
    pub(super) taken: Arc<AtomicU64>,
    /// It acknowledges every so many bytes; 0: none.
    acknowledges: u64,
}

impl Ingest {
    /// Listens on loopback.
    pub(super) fn start(acknowledges: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("rtmp://{}/app", listener.local_addr().unwrap());
        let ingest = Self { url, is_stuck: Arc::default(), taken: Arc::default(), acknowledges };
        let served = ingest.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let ingest = served.clone();
                // A client that goes away ends it.
                std::thread::spawn(move || ingest.serve(connection).ok());
            }
        });
        ingest
    }

    fn serve(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut hello = [0; 1 + HANDSHAKE];
        connection.read_exact(&mut hello)?;
        let mut answer = vec![3];
        answer.extend([0; HANDSHAKE]);
        answer.extend(&hello[1..]);
        connection.write_all(&answer)?;
        connection.read_exact(&mut hello[1..])?;

        let (mut commands, mut said) = (Vec::new(), 0);
        let (mut taken, mut acknowledged) = (0, 0);
        let mut buffer = [0; 16 * 1024];
        loop {
            while self.is_stuck.load(Ordering::Acquire) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            let count = connection.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            self.taken.fetch_add(count as u64, Ordering::AcqRel);
            taken += count as u64;
            if commands.len() < COMMANDS {
                commands.extend(&buffer[..count]);
                for (place, answer) in answers().into_iter().enumerate().skip(said) {
                    let Some(message) = answer(&commands) else { break };
                    connection.write_all(&message)?;
                    said = place + 1;
                }
            }
            if self.acknowledges > 0 && taken - acknowledged >= self.acknowledges {
                acknowledged = taken;
                connection.write_all(&message(2, 3, 0, &(taken as u32).to_be_bytes()))?;
            }
        }
    }
}

type Answer = fn(&[u8]) -> Option<Vec<u8>>;

/// The answers to connect, createStream and publish, in that order.
fn answers() -> [Answer; 3] {
    [
        |commands| {
            let transaction = transaction(commands, "connect")?;
            let mut body = result(transaction);
            body.extend([3, 0, 0, 9]);
            body.extend(information("NetConnection.Connect.Success"));
            Some(message(3, 20, 0, &body))
        },
        |commands| {
            let transaction = transaction(commands, "createStream")?;
            let mut body = result(transaction);
            body.push(5);
            body.push(0);
            body.extend(1_f64.to_be_bytes());
            Some(message(3, 20, 0, &body))
        },
        |commands| {
            transaction(commands, "publish")?;
            let mut body = string("onStatus");
            body.push(0);
            body.extend(0_f64.to_be_bytes());
            body.push(5);
            body.extend(information("NetStream.Publish.Start"));
            Some(message(5, 20, 1, &body))
        },
    ]
}

/// The transaction of `command`, as AMF has it, once the command has come.
fn transaction(commands: &[u8], command: &str) -> Option<[u8; 9]> {
    let name = string(command);
    let end = commands.windows(name.len()).position(|window| window == name)? + name.len();
    commands.get(end..end + 9)?.try_into().ok()
}

fn result(transaction: [u8; 9]) -> Vec<u8> {
    let mut body = string("_result");
    body.extend(transaction);
    body
}

fn string(text: &str) -> Vec<u8> {
    let mut amf = vec![2];
    amf.extend((text.len() as u16).to_be_bytes());
    amf.extend(text.as_bytes());
    amf
}

/// An object with nothing but a code.
fn information(code: &str) -> Vec<u8> {
    let mut amf = vec![3, 0, 4];
    amf.extend(b"code");
    amf.extend(string(code));
    amf.extend([0, 0, 9]);
    amf
}

/// One message of fewer than 128 bytes, which is one chunk.
fn message(chunk_stream: u8, kind: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128);
    let mut message = vec![chunk_stream, 0, 0, 0, 0, 0, body.len() as u8, kind];
    message.extend(stream.to_le_bytes());
    message.extend(body);
    message
}
