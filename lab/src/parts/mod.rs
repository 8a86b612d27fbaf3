//! The parts that the lab is built from: Go programs, Debian packages and a base image.

mod base;
mod faac;
mod gitops;
mod go;
mod packages;
mod store;

pub use base::{BASE_IMAGE, PAUSE_IMAGE, buildah, pause_archive};
pub use faac::environment as egress_environment;
pub use gitops::program as gitops_program;
pub use store::{build_if_missing as build_part_if_missing, run};

use crate::folders::{Cache, RunFolder};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Installs and builds whatever is missing. With everything there it takes well under a second.
///
/// # Errors
/// When packages are missing and this is not root, or something cannot be built.
pub fn prepare(cache: &Cache) -> Result<()> {
    packages::install_missing()?;
    let _lock = store::lock(cache)?;
    for part in go::parts() {
        part.build_if_missing(cache)?;
    }
    faac::build_plugin_if_missing(cache)?;
    base::build_if_missing(cache)
}

/// Links every program into the run folder's `bin`, under the name that others call it by.
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
