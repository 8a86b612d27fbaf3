//! Building into the cache: one builder at a time, and nothing half-built under a final name.

use crate::folders::Cache;
use crate::progress::Step;
use anyhow::{Context, Result, bail};
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::process::{Command, Stdio};

/// Held while parts are built; dropped with the file.
pub fn lock(cache: &Cache) -> Result<File> {
    let path = cache.at("parts.lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            eprintln!("lab  another process builds parts (lock {}); waiting for it", path.display());
            file.lock().with_context(|| format!("lock {}", path.display()))?;
            Ok(file)
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

/// Makes the folder of a part unless it exists: `build` fills a temporary one, which is renamed when complete.
pub fn build_if_missing(
    cache: &Cache,
    name: &str,
    version: &str,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let done = cache.part(name, version);
    if done.exists() {
        return Ok(());
    }
    let step = Step::begin_long(format!("{name} {version}: building"));
    let partial = done.with_file_name(format!(".building-{name}"));
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("remove {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("make {}", partial.display()))?;
    build(&partial).with_context(|| format!("build {name} {version}"))?;
    fs::rename(&partial, &done).with_context(|| format!("move to {}", done.display()))?;
    step.done();
    Ok(())
}

/// Runs a command to its end with its output kept, and shown only when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(30)..].join("\n");
        bail!("{program} ended with {}:\n{end}", output.status);
    }
    Ok(())
}
