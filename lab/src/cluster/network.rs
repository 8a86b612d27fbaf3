//! The bridge that pods and the host share.
//!
//! Addresses are from 198.18.0.0/15, the range set aside for benchmarks (RFC 2544), so they meet no real network.

use crate::folders::RunFolder;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

/// The bridge's name.
pub const BRIDGE: &str = "lab0";
/// The host on the bridge: pods and host processes reach the lab's services here.
pub const HOST_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The pods' addresses.
pub const POD_RANGE: &str = "198.18.0.0/24";
/// The services' addresses.
pub const SERVICE_RANGE: &str = "198.19.0.0/24";

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
const NETWORK: &str = "memorialstream-lab";

/// Makes the bridge and lets the kernel forward between it and the pods. Remembers what forwarding was before.
///
/// # Errors
/// When `ip` fails or a setting cannot be written.
pub fn create(folder: &RunFolder) -> Result<()> {
    ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    ip(&["address", "add", &format!("{HOST_ADDRESS}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    let before = fs::read_to_string(FORWARDING).context("read ip_forward")?;
    fs::write(folder.at("ip_forward.before"), before)?;
    fs::write(FORWARDING, "1").context("set ip_forward")
}

/// Removes the bridge and what is plugged into it, and restores forwarding. Nothing there is no error.
///
/// # Errors
/// When `ip` fails or a setting cannot be written.
pub fn remove(folder: &RunFolder) -> Result<()> {
    if exists() {
        let ports = fs::read_dir(format!("/sys/class/net/{BRIDGE}/brif")).into_iter().flatten().flatten();
        for port in ports {
            let name = port.file_name().to_string_lossy().into_owned();
            // The kernel may have removed it in between, with the pod's network namespace.
            if let Err(error) = ip(&["link", "delete", &name])
                && Path::new("/sys/class/net").join(&name).exists()
            {
                return Err(error);
            }
        }
        ip(&["link", "delete", BRIDGE])?;
    }
    let before = folder.at("ip_forward.before");
    if before.exists() {
        fs::write(FORWARDING, fs::read(&before)?).context("restore ip_forward")?;
    }
    Ok(())
}

/// Whether the bridge is there.
pub fn exists() -> bool {
    Path::new("/sys/class/net").join(BRIDGE).exists()
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output().context("run ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The CNI network of the pods. Debian's plugins refuse version 1.0.0.
pub fn cni_configuration(folder: &RunFolder) -> String {
    let addresses = json!({
        "type": "host-local",
        "dataDir": folder.at("cni/addresses"),
        "ranges": [[{"subnet": POD_RANGE, "rangeStart": "198.18.0.10", "gateway": HOST_ADDRESS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    });
    let bridge = json!({"type": "bridge", "bridge": BRIDGE, "isGateway": true, "ipam": addresses});
    let document = json!({"cniVersion": "0.4.0", "name": NETWORK, "plugins": [bridge]});
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_get_addresses_from_the_bridges_range() {
        let text = cni_configuration(&RunFolder::new("/run/x"));
        let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(document["cniVersion"], "0.4.0");
        let plugin = &document["plugins"][0];
        assert_eq!(plugin["bridge"], "lab0");
        assert_eq!(plugin["ipam"]["dataDir"], "/run/x/cni/addresses");
        assert_eq!(plugin["ipam"]["ranges"][0][0]["gateway"], "198.18.0.1");
    }
}
