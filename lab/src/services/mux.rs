//! The Mux simulator as a process of the lab.

use super::rtmp::HLS_FOLDER;
use crate::checkout;
use crate::description::Mux;
use crate::folders::{RunFolder, write_private};
use crate::mux_simulator::Configuration;
use crate::ports::Ports;
use crate::process::{Ready, Specification};
use anyhow::Result;
use memorialstream_mux_model::Timings;
use std::net::{Ipv4Addr, SocketAddr};

/// A broadcast can be watched after 3 s instead of 10 s, so that tests are short.
const PLAYABLE_AFTER_SECONDS: f64 = 3.0;

/// Writes the simulator's configuration.
///
/// # Errors
/// When it cannot be written.
pub fn write_configuration(folder: &RunFolder, ports: &Ports, mux: &Mux) -> Result<()> {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let configuration = Configuration {
        listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, ports.mux)),
        callbacks: loopback(ports.mux_callbacks),
        nginx_control: loopback(ports.rtmp_control),
        hls_folder: folder.at(HLS_FOLDER),
        state_file: folder.at("mux-state.json"),
        token_id: mux.token_id.clone(),
        token_secret: mux.token_secret.clone(),
        timings: Timings { playable_after: PLAYABLE_AFTER_SECONDS, ..Timings::default() },
    };
    write_private(&folder.at("mux-simulator.json"), serde_json::to_vec_pretty(&configuration)?)
}

/// The lab's own program, as the simulator.
///
/// # Errors
/// When it is not built.
pub fn simulator(folder: &RunFolder, ports: &Ports) -> Result<Specification> {
    let program = checkout::program("memorialstream-lab", "memorialstream-lab")?;
    let arguments =
        vec!["mux-simulator".to_owned(), "--config".to_owned(), folder.text("mux-simulator.json")];
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.mux));
    let ready = Ready::Http(address, "/simulator/v1/requests".to_owned());
    Ok(Specification::new("mux-simulator", program.display().to_string(), arguments, ready))
}
