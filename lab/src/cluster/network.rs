//! The bridge that pods and the host share.
//!
//! Addresses are from 198.18.0.0/15, the range set aside for benchmarks (RFC 2544), so they meet no real network.

use crate::folders::RunFolder;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The bridge's name.
pub const BRIDGE: &str = "lab0";
/// Its hardware address. Without one of its own a bridge takes the lowest of its ports', so it would change as pods come
/// and go, and each time other pods would not reach the host until they have asked for the address again: 20 s and more.
const BRIDGE_ADDRESS: &str = "02:6d:73:00:00:01";
/// The host on the bridge: pods and host processes reach the lab's services here.
pub const HOST_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The pods' addresses.
pub const POD_RANGE: &str = "198.18.0.0/24";
/// The services' addresses.
pub const SERVICE_RANGE: &str = "198.19.0.0/24";

/// What the kernel is told, and what it said before is restored at the end. Pods need forwarding. A picture's packets
/// come all at once, and a receive buffer of the usual 208 KiB loses some whenever its reader waits for a processor.
const SETTINGS: [(&str, &str); 2] = [("net/ipv4/ip_forward", "1"), ("net/core/rmem_default", "4194304")];
const NETWORK: &str = "memorialstream-lab";

/// Makes the bridge, lets the kernel forward between it and the pods, and gives sockets room. Remembers what was before.
///
/// # Errors
/// When `ip` fails or a setting cannot be written.
pub fn create(folder: &RunFolder) -> Result<()> {
    ip(&["link", "add", BRIDGE, "address", BRIDGE_ADDRESS, "type", "bridge"])?;
    ip(&["address", "add", &format!("{HOST_ADDRESS}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    for (name, value) in SETTINGS {
        let setting = Path::new("/proc/sys").join(name);
        let before = fs::read(&setting).with_context(|| format!("read {}", setting.display()))?;
        fs::write(before_file(folder, name), before)?;
        fs::write(&setting, value).with_context(|| format!("write {}", setting.display()))?;
    }
    Ok(())
}

fn before_file(folder: &RunFolder, setting: &str) -> PathBuf {
    folder.at(&format!("{}.before", setting.replace('/', ".")))
}

/// Removes the bridge and what is plugged into it, and restores the settings. Nothing there is no error.
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
    for (name, _) in SETTINGS {
        let before = before_file(folder, name);
        if before.exists() {
            let setting = Path::new("/proc/sys").join(name);
            fs::write(&setting, fs::read(&before)?)
                .with_context(|| format!("restore {}", setting.display()))?;
        }
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
