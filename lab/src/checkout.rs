//! The source tree that this lab was built from, and the programs that cargo built beside it.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The root of the source tree: charts, examples and Containerfiles lie below it.
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// A program of this workspace, from the folder into which cargo built this one.
///
/// # Errors
/// When it is not there: it names the command that builds it.
pub fn program(package: &str, name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program's own file")?;
    // Tests lie one folder deeper.
    let folders = own.ancestors().skip(1).take(2);
    match folders.map(|folder| folder.join(name)).find(|candidate| candidate.is_file()) {
        Some(program) => Ok(program),
        None => bail!("{name} is not built; run `cargo build -p {package}`"),
    }
}
