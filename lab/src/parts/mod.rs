//! The parts that the lab is built from: Go programs, Debian packages and a base image.

mod base;
mod faac;
mod foundation;
mod gitops;
mod go;
pub mod node_images;
mod packages;
mod store;

pub use base::{BASE_IMAGE, PAUSE_IMAGE, buildah};
pub use faac::environment as egress_environment;
pub use foundation::{Described as FoundationDescription, Foundation, Layer};
pub use gitops::program as gitops_program;
pub use store::{Site, build_if_missing as build_part_if_missing, run};

use crate::folders::{Cache, RunFolder};
use crate::footage;
use crate::progress::Step;
use crate::side_by_side::side_by_side;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs and builds whatever is missing, side by side, and runs `beside` as soon as Debian's packages are there. With
/// everything there it takes well under a second.
///
/// # Errors
/// When packages are missing and this is not root, something cannot be built, or `beside` fails.
pub fn prepare(cache: &Cache, beside: Option<Command>) -> Result<()> {
    let _lock = store::lock(cache)?;
    // Compiling fills both processors; what waits for the network goes on meanwhile.
    side_by_side(vec![
        Box::new(|| go::parts().iter().try_for_each(|part| part.build_if_missing(cache))),
        Box::new(|| {
            packages::install_missing()?;
            side_by_side(vec![
                Box::new(|| beside.map_or(Ok(()), run_beside)),
                Box::new(|| {
                    base::build_if_missing(cache)?;
                    node_images::build_if_missing(cache)
                }),
                Box::new(|| {
                    faac::build_plugin_if_missing(cache)?;
                    footage::clips(cache).map(|_| ())
                }),
            ])
        }),
    ])
}

/// Its output is shown as it comes.
fn run_beside(mut command: Command) -> Result<()> {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let step = Step::begin_long(&words);
    let status = command.status().with_context(|| format!("run {words}"))?;
    if !status.success() {
        step.failed();
        bail!("`{words}` ended with {status}");
    }
    step.done();
    Ok(())
}

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
