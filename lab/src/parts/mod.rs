//! The parts that the lab is built from: Go programs, Debian packages and a base image.

pub mod base;
pub mod faac;
mod foundation;
mod gitops;
pub mod go;
pub mod node_images;
pub mod packages;
mod store;

pub use base::{BASE_IMAGE, PAUSE_IMAGE, buildah};
pub use faac::environment as egress_environment;
pub use foundation::{Described as FoundationDescription, Foundation, Layer};
pub use gitops::program as gitops_program;
pub use store::{Site, build_if_missing as build_part_if_missing, lock, run};

use crate::folders::{Cache, RunFolder};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Links every program into the run folder's `bin`, under the name that others call it by; `kubectl` only where the
/// machine has none.
///
/// # Errors
/// When a link cannot be made.
pub fn link_programs(cache: &Cache, folder: &RunFolder, egress: Option<&Path>) -> Result<()> {
    let bin = folder.bin();
    fs::create_dir_all(&bin).with_context(|| format!("make {}", bin.display()))?;
    let mut links: Vec<(&str, PathBuf)> = Vec::new();
    for part in go::parts() {
        let folder = part.folder(cache);
        links.extend(part.programs.iter().map(|program| (program.name, folder.join(program.name))));
    }
    if find_program("kubectl").is_some() {
        links.retain(|(name, _)| *name != "kubectl");
    }
    links.extend(egress.map(|program| ("egress", program.to_owned())));
    for (name, target) in links {
        symlink(&target, bin.join(name)).with_context(|| format!("link {name} to {}", target.display()))?;
    }
    Ok(())
}

/// A program on the PATH.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}
