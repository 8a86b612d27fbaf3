//! What a process of the lab is: enough to start it again as it was.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One process. It holds no secret: those stand in files that only root reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Specification {
    /// Unique in the lab; also the name of its log.
    pub name: String,
    /// The program, found on the lab's PATH unless it is a whole path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How far it gives way to others, 0 to 19.
    pub niceness: u8,
    /// Variables beyond the inherited ones.
    pub environment: BTreeMap<String, String>,
    /// How it shows that it is ready.
    pub ready: Ready,
    /// How it is stopped.
    pub stop: Stop,
}

/// The kernel weighs a whole pod against each single process outside; a pod has to come first all the same.
const GIVES_WAY: u8 = 5;

impl Specification {
    /// A process that gives way to pods, is ready as `ready` says, and is stopped with SIGTERM within 5 s.
    pub fn new(
        name: &str,
        program: impl Into<String>,
        arguments: Vec<String>,
        ready: Ready,
    ) -> Specification {
        Specification {
            name: name.to_owned(),
            program: program.into(),
            arguments,
            niceness: GIVES_WAY,
            environment: BTreeMap::new(),
            ready,
            stop: Stop { signal: Signal::Term, timeout_seconds: 5 },
        }
    }
}

/// How a process shows that it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ready {
    /// It takes connections at this address.
    Tcp(SocketAddr),
    /// A plain HTTP GET of this path at this address answers 200.
    Http(SocketAddr, String),
    /// This socket takes connections.
    Socket(PathBuf),
    /// `kubectl` with these arguments succeeds and prints this.
    Kubectl {
        /// The kubeconfig to use.
        kubeconfig: PathBuf,
        /// Words after `kubectl`.
        arguments: Vec<String>,
        /// Text that the answer must hold.
        prints: String,
    },
}

/// How a process is stopped: this signal, then SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What asks it to end.
    pub signal: Signal,
    /// How long it may take, in seconds.
    pub timeout_seconds: u64,
}

/// The signals that the lab sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Interrupt,
    /// SIGKILL.
    Kill,
    /// SIGUSR1, whose meaning is the process's own.
    User1,
    /// SIGUSR2, likewise.
    User2,
}

impl Signal {
    /// The kernel's number.
    pub(super) fn number(self) -> rustix::process::Signal {
        match self {
            Signal::Term => rustix::process::Signal::TERM,
            Signal::Interrupt => rustix::process::Signal::INT,
            Signal::Kill => rustix::process::Signal::KILL,
            Signal::User1 => rustix::process::Signal::USR1,
            Signal::User2 => rustix::process::Signal::USR2,
        }
    }
}
