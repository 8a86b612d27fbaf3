//! What a running lab offers, as `lab.json` says it.

use crate::folders::RunFolder;
use crate::ports::Ports;
use crate::process::{RunningProcess, Table};
use crate::secret::Secret;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The variable that names a running lab's `lab.json`.
pub const DESCRIPTION_VARIABLE: &str = "MEMORIALSTREAM_LAB";

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running lab. `lab.json` is this, readable by root only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabDescription {
    /// The cluster's administrator.
    pub kubeconfig: PathBuf,
    /// The run folder; everything in it but the logs ends with the lab.
    pub folder: PathBuf,
    /// One log file per process.
    pub logs: PathBuf,
    /// To be put first on PATH: helm, ctr, and kubectl where the machine has none.
    pub bin: PathBuf,
    /// The LiveKit server; it answers only when the part `livekit` runs.
    pub livekit: LiveKit,
    /// The egress program, when one runs.
    pub egress: Option<PathBuf>,
    /// The Mux simulator; it answers only when the part `mux` runs.
    pub mux: Mux,
    /// The socket of the node's containerd.
    pub containerd_address: PathBuf,
    /// The ports in use.
    pub ports: Ports,
    /// When the lab was started (RFC 3339).
    pub started_at: String,
}

/// How to reach LiveKit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveKit {
    /// Its WebSocket address, the same from the host and from pods.
    pub url: String,
    /// The key's name.
    pub api_key: String,
    /// The key's secret.
    pub api_secret: Secret,
}

/// How to reach the Mux simulator. Every address is the same from the host and from pods.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mux {
    /// Base of the REST API.
    pub url: String,
    /// Base of the RTMP ingest, without the stream key.
    pub rtmp_url: String,
    /// Base of the playback addresses; `/{playback id}.m3u8` follows.
    pub playback_base_url: String,
    /// Base of the simulator's own switches and counters.
    pub admin_url: String,
    /// The access token's name.
    pub token_id: String,
    /// The access token's secret.
    pub token_secret: Secret,
}

/// The lab that runs on this machine.
///
/// # Errors
/// When none runs: it says how to start one.
pub fn attach() -> Result<LabDescription> {
    let path = match std::env::var_os(DESCRIPTION_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => RunFolder::fixed().description(),
    };
    let text = std::fs::read(&path).with_context(|| {
        format!(
            "no lab runs ({}): use `make test`, or start one with `memorialstream-lab up`",
            path.display()
        )
    })?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is of another lab version: stop that lab", path.display()))
}

impl LabDescription {
    /// The processes that run now. Pods are not among them.
    ///
    /// # Errors
    /// When the run folder cannot be read.
    pub fn processes(&self) -> Result<Vec<RunningProcess>> {
        self.table().all_running()
    }

    /// The names of all processes that were ever started, whether they run or not.
    ///
    /// # Errors
    /// When the run folder cannot be read.
    pub fn process_names(&self) -> Result<Vec<String>> {
        self.table().names()
    }

    /// Stops one process, such as `livekit-server`, as an outage would. It blocks until it is gone.
    ///
    /// # Errors
    /// When the lab has no such process or it does not end.
    pub fn stop_process(&self, name: &str) -> Result<()> {
        self.table().stop(name)
    }

    /// Starts a stopped process again with the same settings, and blocks until it is ready.
    ///
    /// # Errors
    /// When the lab has no such process, it runs, or it does not become ready within 60 s.
    pub fn start_process(&self, name: &str) -> Result<()> {
        self.table().start_again(name, START_TIMEOUT)
    }

    /// The table of its processes.
    pub(crate) fn table(&self) -> Table {
        Table::new(&RunFolder::new(&self.folder))
    }
}
