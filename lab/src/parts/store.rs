//! Building into the cache: one builder at a time, and nothing half-built under a final name.

use crate::folders::Cache;
use crate::progress::Step;
use anyhow::{Context, Result, bail};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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

/// Where a part is made: the folder that becomes the part, and the log of what is run for it.
pub struct Site {
    /// Filled by the build.
    pub folder: PathBuf,
    log: PathBuf,
}

/// Makes the folder of a part unless it exists: `build` fills a temporary one, which is renamed when complete.
///
/// # Errors
/// With what `build` says, the part's name, and the log of what was run.
pub fn build_if_missing(
    cache: &Cache,
    name: &str,
    version: &str,
    build: impl FnOnce(&Site) -> Result<()>,
) -> Result<()> {
    let done = cache.part(name, version);
    if done.exists() {
        return Ok(());
    }
    let step = Step::begin_long(format!("{name} {version}: building"));
    let site = Site::clear(cache, &done, name)?;
    build(&site)
        .with_context(|| format!("build {name} {version} (log {})", site.log.display()))
        .inspect_err(|_| step.failed())?;
    fs::rename(&site.folder, &done).with_context(|| format!("move to {}", done.display()))?;
    step.done();
    Ok(())
}

impl Site {
    fn clear(cache: &Cache, done: &Path, name: &str) -> Result<Site> {
        let folder = done.with_file_name(format!(".building-{name}"));
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let logs = cache.at("logs");
        fs::create_dir_all(&logs).with_context(|| format!("make {}", logs.display()))?;
        let log = logs.join(format!("{name}.log"));
        fs::write(&log, "").with_context(|| format!("write {}", log.display()))?;
        Ok(Site { folder, log })
    }

    /// Starts a command; what it prints goes to the part's log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, command: &mut Command) -> Result<Child> {
        let program = command.get_program().to_string_lossy().into_owned();
        let explain = || format!("open {}", self.log.display());
        let log = File::options().append(true).open(&self.log).with_context(explain)?;
        command.stdin(Stdio::null()).stdout(log.try_clone().with_context(explain)?).stderr(log);
        command.spawn().with_context(|| format!("run {program}"))
    }

    /// Runs a command to its end; what it prints goes to the part's log, and the end of it into the error.
    ///
    /// # Errors
    /// When it cannot be run or fails.
    pub fn run(&self, command: &mut Command) -> Result<()> {
        let status = self.start(command)?.wait()?;
        if !status.success() {
            let program = command.get_program().to_string_lossy();
            let text = fs::read(&self.log).with_context(|| format!("read {}", self.log.display()))?;
            bail!("{program} ended with {status}:\n{}", end_of(&text));
        }
        Ok(())
    }
}

/// Runs a command to its end with its output kept, and shown only when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("{program} ended with {}:\n{}", output.status, end_of(&text));
    }
    Ok(())
}

fn end_of(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_fails_names_its_log_and_is_not_there_afterwards() {
        let root = std::env::temp_dir().join(format!("memorialstream-parts-{}", std::process::id()));
        let cache = Cache::at_root(&root).expect("a cache");
        let script = |site: &Site, text: &str| site.run(Command::new("sh").args(["-c", text]));
        let failed = build_if_missing(&cache, "x", "1", |site| script(site, "echo why; exit 3"));
        let words = format!("{:#}", failed.expect_err("it fails"));
        assert!(
            words.contains("build x 1") && words.contains("logs/x.log") && words.contains("why"),
            "{words}"
        );
        assert!(!cache.part("x", "1").exists());
        build_if_missing(&cache, "x", "1", |site| script(site, "true")).expect("the second time it works");
        assert!(cache.part("x", "1").exists());
        fs::remove_dir_all(root).expect("remove");
    }
}
