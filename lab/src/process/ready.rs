//! Waiting until a process is ready.

use super::specification::Ready;
use anyhow::Result;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// Asks until `condition` holds; whether it did in time.
///
/// # Errors
/// The first error of `condition`.
pub fn wait_until(timeout: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<bool> {
    let began = Instant::now();
    loop {
        if condition()? {
            return Ok(true);
        }
        if began.elapsed() >= timeout {
            return Ok(false);
        }
        std::thread::sleep(PROBE_PAUSE);
    }
}

impl Ready {
    /// Whether it is so now.
    pub(super) fn holds(&self, search_path: &str) -> bool {
        match self {
            Ready::Tcp(address) => TcpStream::connect_timeout(address, PROBE_TIMEOUT).is_ok(),
            Ready::Http(address, path) => answers_200(*address, path).unwrap_or(false),
            Ready::Socket(path) => UnixStream::connect(path).is_ok(),
            Ready::Kubectl { kubeconfig, arguments, prints } => {
                kubectl(search_path, kubeconfig, arguments, prints)
            }
        }
    }
}

fn answers_200(address: SocketAddr, path: &str) -> std::io::Result<bool> {
    let mut connection = TcpStream::connect_timeout(&address, PROBE_TIMEOUT)?;
    connection.set_read_timeout(Some(PROBE_TIMEOUT))?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    connection.read_exact(&mut head)?;
    Ok(&head[8..] == b" 200")
}

fn kubectl(search_path: &str, kubeconfig: &Path, arguments: &[String], prints: &str) -> bool {
    let answer = Command::new("kubectl")
        .env("PATH", search_path)
        .env("KUBECONFIG", kubeconfig)
        .arg("--request-timeout=2s")
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    answer.is_ok_and(|answer| {
        answer.status.success() && String::from_utf8_lossy(&answer.stdout).contains(prints)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_when_the_condition_holds_and_when_the_time_is_over() {
        let mut asked = 0;
        let third = wait_until(Duration::from_secs(5), || {
            asked += 1;
            Ok(asked == 3)
        });
        assert!(third.expect("no error"));
        assert_eq!(asked, 3);
        assert!(!wait_until(Duration::ZERO, || Ok(false)).expect("no error"));
    }
}
