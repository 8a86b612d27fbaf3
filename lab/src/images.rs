//! Container images without a registry: built with buildah, imported into the node's containerd.

use crate::description::LabDescription;
use crate::folders::Cache;
use crate::kubectl::output_of;
use crate::parts::{BASE_IMAGE, buildah, run};
use crate::progress::Step;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Imports an archive into the containerd at `address`.
///
/// # Errors
/// When `ctr` fails; its words are in the error.
pub fn import(address: &Path, archive: &Path) -> Result<()> {
    run(ctr(address).args(["import", "--no-unpack=false"]).arg(archive))
}

/// The names of the images that the containerd at `address` has.
///
/// # Errors
/// When `ctr` fails; its words are in the error.
pub fn list(address: &Path) -> Result<Vec<String>> {
    let listed = output_of(ctr(address).args(["list", "--quiet"]))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// `ctr` on the images that the kubelet sees.
fn ctr(address: &Path) -> Command {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(address).args(["--namespace", "k8s.io", "images"]);
    command
}

/// Builds `containerfile` on the lab's Debian base and imports it as `tag`. Layers are kept for the next time.
///
/// # Errors
/// When the build or the import fails.
pub fn build(lab: &LabDescription, tag: &str, containerfile: &Path, context: &Path) -> Result<()> {
    let cache = Cache::open()?;
    let step = Step::begin_long(format!("image {tag}"));
    run(buildah(&cache)
        .args(["build", "--quiet", "--layers", "--isolation", "chroot", "--network", "host"])
        .args(["--build-arg", &format!("BASE={BASE_IMAGE}"), "--tag", tag, "--file"])
        .arg(containerfile)
        .arg(context))?;
    let archive = lab.folder.join("image.tar");
    if archive.exists() {
        fs::remove_file(&archive).with_context(|| format!("remove {}", archive.display()))?;
    }
    let target = format!("docker-archive:{}:{tag}", archive.display());
    run(buildah(&cache).args(["push", "--quiet", tag, &target]))?;
    import(&lab.containerd_address, &archive)?;
    fs::remove_file(&archive).with_context(|| format!("remove {}", archive.display()))?;
    step.done();
    Ok(())
}
