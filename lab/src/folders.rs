//! Where the lab keeps what it builds and what it runs.

use anyhow::{Context, Result};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The one place of a running lab: a second start finds the first here. Only root can write it.
pub const RUN_FOLDER: &str = "/var/lib/memorialstream-lab";

/// What outlives a lab: built parts and image layers, outside the source tree.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$XDG_CACHE_HOME/memorialstream`, or `~/.cache/memorialstream`.
    ///
    /// # Errors
    /// When neither `XDG_CACHE_HOME` nor `HOME` is set, or the folder cannot be made.
    pub fn open() -> Result<Cache> {
        let base = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(
                std::env::var_os("HOME").context("set HOME or XDG_CACHE_HOME: the lab caches there")?,
            )
            .join(".cache"),
        };
        Cache::at_root(&base.join("memorialstream"))
    }

    /// The cache in a folder of its own.
    pub(crate) fn at_root(root: &Path) -> Result<Cache> {
        fs::create_dir_all(root.join("parts"))
            .with_context(|| format!("make the cache {}", root.display()))?;
        Ok(Cache { root: root.to_owned() })
    }

    /// The folder of one part at one version. It exists only once the part is complete.
    pub fn part(&self, name: &str, version: &str) -> PathBuf {
        self.root.join("parts").join(part_key(name, version))
    }

    /// A file or folder directly in the cache.
    pub fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// The folder name of a part: its name and version, with anything unusual in a file name replaced.
fn part_key(name: &str, version: &str) -> String {
    let plain = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => character,
        _ => '_',
    };
    format!("{name}-{version}").chars().map(plain).collect()
}

/// The folder of a running lab, and the files in it that more than one module names.
#[derive(Clone, Debug)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// The machine's one run folder.
    pub fn fixed() -> RunFolder {
        RunFolder { root: PathBuf::from(RUN_FOLDER) }
    }

    /// The run folder that a description names.
    pub fn new(root: impl Into<PathBuf>) -> RunFolder {
        RunFolder { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder directly in it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The same as text, for arguments and configuration files.
    pub fn text(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// One log file per process; they outlive the lab until the next start.
    pub fn logs(&self) -> PathBuf {
        self.at("logs")
    }

    /// Links to the programs in use; children have it first on their PATH.
    pub fn bin(&self) -> PathBuf {
        self.at("bin")
    }

    /// The description of a lab that is up.
    pub fn description(&self) -> PathBuf {
        self.at("lab.json")
    }

    /// `PATH` with the lab's programs first.
    pub fn search_path(&self) -> String {
        let inherited = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        format!("{}:{inherited}", self.bin().display())
    }

    /// The API server's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.at("kubeconfig")
    }
}

/// Writes a file that only its owner can read, under a temporary name first.
///
/// # Errors
/// When the file cannot be written.
pub fn write_private(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let explain = || format!("write {}", path.display());
    let partial = path.with_extension("partial");
    if partial.exists() {
        fs::remove_file(&partial).with_context(explain)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .with_context(explain)?;
    file.write_all(content.as_ref()).with_context(explain)?;
    fs::rename(&partial, path).with_context(explain)
}

/// Makes a folder that only its owner can enter.
///
/// # Errors
/// When it cannot be made.
pub fn make_private_folder(path: &Path) -> Result<()> {
    let explain = || format!("make the folder {}", path.display());
    fs::create_dir_all(path).with_context(explain)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).with_context(explain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_keyed_by_its_version() {
        assert_eq!(part_key("etcd", "3.6.8"), "etcd-3.6.8");
        assert_ne!(part_key("etcd", "3.6.8"), part_key("etcd", "3.6.9"));
        assert_eq!(part_key("base", "trixie/2"), "base-trixie_2");
    }

    #[test]
    fn the_labs_programs_come_first() {
        assert!(RunFolder::new("/x").search_path().starts_with("/x/bin:"));
    }
}
