//! The operator as a process of the host, under the chart's own service account.

use memorialstream_lab::LabDescription;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The lab's host as pods reach it, and loopback, where tests have servers of their own; nothing else.
const ALLOWED_ENDPOINTS: &str = "198.18.0.1,127.0.0.1";

/// A running operator; it is killed when dropped.
pub struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    /// Starts one. `kubeconfig` decides as whom it acts, `image` is what compositor pods run.
    pub fn start(lab: &LabDescription, kubeconfig: &Path, image: &str) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(1);
        let number = STARTED.fetch_add(1, Ordering::SeqCst);
        let log = lab.logs.join(format!("operator-{}-{number}.log", std::process::id()));
        let file = File::create(&log).expect("make the operator's log");
        let child = Command::new(env!("CARGO_BIN_EXE_memorialstream-operator"))
            .arg("run")
            .env("KUBECONFIG", kubeconfig)
            // The lab sweeps what carries its mark.
            .env(memorialstream_lab::PROCESS_MARKER, &lab.folder)
            .env("COMPOSITOR_IMAGE", image)
            .env("ALLOWED_ENDPOINTS", ALLOWED_ENDPOINTS)
            .env("COMPOSITOR_IMAGE_PULL_POLICY", "Never")
            // In the lab nothing arrives later than this after its sender died.
            .env("STREAM_GRACE_SECONDS", "5")
            .env("EGRESS_GRACE_SECONDS", "15")
            .env("RUST_LOG", "info,memorialstream_operator=debug")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("share the log"))
            .stderr(file)
            .spawn()
            .expect("start the operator");
        Self { child, log }
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("reap the operator");
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string())
    }

    /// Prints what it logged last of this namespace, for a test that failed; an empty name is everything.
    pub fn tell_of(&self, namespace: &str) {
        let text = self.log();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(namespace)).collect();
        let end = lines[lines.len().saturating_sub(40)..].join("\n");
        eprintln!("the end of {}, {namespace}:\n{end}", self.log.display());
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_of("");
        }
        // It may be dead already, as many tests want it.
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}
