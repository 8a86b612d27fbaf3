//! Debian packages that the lab and the tests need.

use super::find_program;
use super::store::run;
use crate::progress::Step;
use anyhow::{Context, Result, bail};
use std::process::Command;

const PACKAGES: [&str; 26] = [
    // The node.
    "containernetworking-plugins",
    "iptables",
    "conntrack",
    "iproute2",
    "util-linux",
    "mount",
    "openssl",
    // Images.
    "buildah",
    "mmdebstrap",
    "debian-archive-keyring",
    "ca-certificates",
    // LiveKit's bus and the RTMP ingest.
    "redis-server",
    "nginx",
    "libnginx-mod-rtmp",
    // The egress service, cameras and pictures, at run time.
    "gstreamer1.0-tools",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-plugins-ugly",
    "gstreamer1.0-libav",
    "gstreamer1.0-nice",
    "gstreamer1.0-x",
    // Footage.
    "python3-pip",
    // Building the compositor.
    "libgstreamer-plugins-base1.0-dev",
    "libgstreamer-plugins-bad1.0-dev",
    "pkg-config",
];

/// Packages that are not needed where a program of the same work is there already, and that program. A container engine
/// from elsewhere brings its own containerd and runc, and would have to go if Debian's came.
const UNLESS_THERE: [(&str, &str); 5] = [
    ("etcd-server", "etcd"),
    ("containerd", "containerd"),
    ("runc", "runc"),
    // These drive the Mux simulator with Mux's own SDK.
    ("nodejs", "node"),
    ("npm", "node"),
];

/// Installs what is missing, when this is root.
///
/// # Errors
/// Names what is missing and the command to run, when this is not root; or says why apt-get failed.
pub fn install_missing() -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !rustix::process::geteuid().is_root() {
        bail!("Debian packages are missing. Run:\n  sudo apt-get install --no-install-recommends {names}");
    }
    let step = Step::begin_long(format!("{} Debian packages: installing", missing.len()));
    run(apt_get().arg("update"))?;
    run(apt_get().args(["install", "--yes", "--no-remove", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("install {names}"))?;
    step.done();
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // RUNLEVEL keeps the packages' own nginx, redis and etcd from being started.
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    command
}

fn missing() -> Result<Vec<&'static str>> {
    let absent = UNLESS_THERE.iter().filter(|(_, program)| find_program(program).is_none());
    let wanted: Vec<&str> = PACKAGES.into_iter().chain(absent.map(|(package, _)| *package)).collect();
    let answer = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(&wanted)
        .output()
        .context("run dpkg-query: the lab runs on Debian and its relatives")?;
    Ok(not_installed(&wanted, &String::from_utf8_lossy(&answer.stdout)))
}

fn not_installed(wanted: &[&'static str], listing: &str) -> Vec<&'static str> {
    let installed = |name: &str| {
        listing.lines().any(|line| line.split_once(' ').is_some_and(|pair| pair == (name, "installed")))
    };
    wanted.iter().copied().filter(|name| !installed(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let mut listing: String = PACKAGES.iter().map(|name| format!("{name} installed\n")).collect();
        assert!(not_installed(&PACKAGES, &listing).is_empty());
        listing = listing.replace("nginx installed", "nginx config-files").replace("mount installed\n", "");
        assert_eq!(not_installed(&PACKAGES, &listing), ["mount", "nginx"]);
    }
}
