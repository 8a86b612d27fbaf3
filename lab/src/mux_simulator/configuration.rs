//! What the simulator is told when it starts.

use crate::secret::Secret;
use anyhow::{Context, Result};
use memorialstream_mux_model::Timings;
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The configuration file. It holds the access token: only its owner may read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// Where the REST API, the playback addresses and the switches are served.
    pub listen: SocketAddr,
    /// Where nginx asks whether an encoder may publish. Loopback.
    pub callbacks: SocketAddr,
    /// Where nginx takes orders. Loopback.
    pub nginx_control: SocketAddr,
    /// Where nginx writes HLS.
    pub hls_folder: PathBuf,
    /// Where the state is kept while it is stopped.
    pub state_file: PathBuf,
    /// The access token's id.
    pub token_id: String,
    /// The access token's secret.
    pub token_secret: Secret,
    /// How long things take at first; they can be changed later.
    pub timings: Timings,
}

impl Configuration {
    /// Reads it.
    ///
    /// # Errors
    /// When there is none or it cannot be understood.
    pub fn read(path: &Path) -> Result<Configuration> {
        let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
    }
}
