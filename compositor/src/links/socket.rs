//! What the kernel holds of what was sent: bytes that the peer's machine has not acknowledged.
//!
//! A connection takes up to 4 MB (`net.ipv4.tcp_wmem`) though nobody is there any more: at 3 Mbit/s that is more than
//! ten seconds in which everything that was written seems to have been taken. The kernel tells better.

use std::fs;
use std::path::Path;

/// The state of an established connection, as `/proc/net/tcp` has it.
const ESTABLISHED: &str = "01";

/// The process's connections that were made after it began to look.
#[derive(Debug)]
pub(super) struct Newer {
    /// Inodes of its sockets of before.
    older: Vec<u64>,
}

impl Newer {
    /// From now on.
    pub(super) fn than_now() -> Self {
        Self { older: own_sockets() }
    }

    /// Bytes that were sent to `port` of some host and that are not acknowledged, on the connection with the most. Where
    /// the kernel does not tell, that is none.
    pub(super) fn unacknowledged(&self, port: u16) -> u64 {
        let newer: Vec<u64> = own_sockets().into_iter().filter(|inode| !self.older.contains(inode)).collect();
        let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
        let tables = tables.map(|file| fs::read_to_string(file).unwrap_or_default());
        let queues = tables.iter().flat_map(|table| queues(table, port));
        queues.filter(|(inode, _)| newer.contains(inode)).map(|(_, queue)| queue).max().unwrap_or(0)
    }
}

/// Inodes and send queues, bytes, of the connections to `port`, in the kernel's table.
fn queues(table: &str, port: u16) -> impl Iterator<Item = (u64, u64)> {
    let remote = format!(":{port:04X}");
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace();
        let (peer, state, queues) = (fields.nth(2)?, fields.next()?, fields.next()?);
        let inode = fields.nth(4)?.parse().ok()?;
        let (sent, _received) = queues.split_once(':')?;
        let is_ours = peer.ends_with(&remote) && state == ESTABLISHED;
        let queue = u64::from_str_radix(sent, 16).ok()?;
        is_ours.then_some((inode, queue))
    })
}

/// Inodes of this process's sockets.
fn own_sockets() -> Vec<u64> {
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    descriptors.flatten().filter_map(|descriptor| socket(&descriptor.path())).collect()
}

fn socket(descriptor: &Path) -> Option<u64> {
    // One that was closed meanwhile cannot be read, and is of no interest.
    let target = fs::read_link(descriptor).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The port that an RTMP or RTMPS `url` leads to.
pub(super) fn port(url: &str) -> u16 {
    let (rest, default) = match url.strip_prefix("rtmps://") {
        Some(rest) => (rest, 443),
        None => (url.trim_start_matches("rtmp://"), 1935),
    };
    let host = rest.split('/').next().unwrap_or(rest);
    // What follows the bracket of an IPv6 address, or the host's name.
    let after = host.rsplit(']').next().unwrap_or(host);
    after.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:4B96 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1060 1 0 100 0 0 10 0
   1: 0100007F:B876 0100007F:4B96 01 003FF2C1:00000000 01:00000014 00000000     0        0 4711 2 0 20 4 30 10 -1
   2: 0100007F:B877 0100007F:4B96 06 00000001:00000000 01:00000014 00000000     0        0 4712 2 0 20 4 30 10 -1
   3: 0100007F:B878 0100007F:1EC3 01 00000002:00000000 01:00000014 00000000     0        0 4713 2 0 20 4 30 10 -1
";
        assert_eq!(queues(table, 0x4b96).collect::<Vec<_>>(), [(4711, 0x3f_f2c1)]);
        assert_eq!(queues("", 1).count(), 0);
    }

    #[test]
    fn what_a_peer_does_not_read_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let newer = Newer::than_now();
        assert_eq!(newer.unacknowledged(port), 0);
        let mut sender = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _receiver = listener.accept().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 64 * 1024]).is_ok() {}
        assert!(newer.unacknowledged(port) > 0);
        assert_eq!(Newer::than_now().unacknowledged(port), 0, "an older connection is left out");
    }

    #[test]
    fn a_url_tells_its_port() {
        for (url, expected) in [
            ("rtmp://198.18.0.1:19350/app", 19_350),
            ("rtmp://ingest.example/app", 1_935),
            ("rtmps://global-live.mux.com:443/app", 443),
            ("rtmps://ingest.example/app:1", 443),
            ("rtmp://[2001:db8::1]/app", 1_935),
            ("rtmp://[2001:db8::1]:5000/app", 5_000),
        ] {
            assert_eq!(port(url), expected, "{url}");
        }
    }
}
