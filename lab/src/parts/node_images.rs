//! What a lab's containerd starts with: the pause image and the foundations of this project's images, imported and
//! unpacked once per machine. A lab links the files; nothing writes them, for containers have layers of their own.

use super::base::{PAUSE_IMAGE, PAUSE_RECIPE, pause_archive};
use super::foundation::Foundation;
use super::store::{self, Site, run};
use crate::digest::sha256;
use crate::folders::Cache;
use crate::images;
use crate::process::{Signal, send_signal, wait_until};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

const NAME: &str = "node-images";
/// Raised whenever the way they are kept changes.
const RECIPE: &str = "1";
const TIMEOUT: Duration = Duration::from_secs(60);

/// The part's folder.
///
/// # Errors
/// When a Containerfile cannot be read.
pub fn folder(cache: &Cache) -> Result<PathBuf> {
    Ok(cache.part(NAME, &version()?))
}

/// Differs whenever one of the images does.
fn version() -> Result<String> {
    let mut text = format!("{RECIPE}\n{PAUSE_IMAGE}\n{PAUSE_RECIPE}\n");
    for foundation in Foundation::ALL {
        text.push_str(&foundation.version()?);
    }
    Ok(sha256(text.as_bytes()).chars().take(16).collect())
}

/// Builds them unless they are there, and removes earlier ones: they are large.
///
/// # Errors
/// When an image cannot be built or imported.
pub fn build_if_missing(cache: &Cache) -> Result<()> {
    store::build_if_missing(cache, NAME, &version()?, |site| build(cache, site))?;
    let kept = folder(cache)?;
    let parts = kept.parent().context("a part lies in a folder")?;
    for entry in fs::read_dir(parts).with_context(|| format!("list {}", parts.display()))? {
        let path = entry?.path();
        let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAME));
        if ours && path != kept {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn build(cache: &Cache, site: &Site) -> Result<()> {
    let mut archives = vec![pause_archive(cache)];
    for foundation in Foundation::ALL {
        archives.push(foundation.build(cache, site)?);
    }
    let state = site.folder.join("state");
    let socket = state.join("containerd.sock");
    fs::create_dir(&state).with_context(|| format!("make {}", state.display()))?;
    let configuration = state.join("containerd.toml");
    let text = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = \"{}\"\n",
        site.folder.join("root").display(),
        state.display(),
        socket.display()
    );
    fs::write(&configuration, text).with_context(|| format!("write {}", configuration.display()))?;
    let mut containerd = site.start(Command::new("containerd").arg("--config").arg(&configuration))?;
    let imported = import(&socket, &archives);
    let stopped = stop(&mut containerd);
    imported.and(stopped)?;
    fs::remove_dir_all(&state).with_context(|| format!("remove {}", state.display()))?;
    // The pause image's is another part's.
    for archive in archives.iter().filter(|archive| archive.starts_with(&site.folder)) {
        fs::remove_file(archive).with_context(|| format!("remove {}", archive.display()))?;
    }
    Ok(())
}

fn import(socket: &Path, archives: &[PathBuf]) -> Result<()> {
    if !wait_until(TIMEOUT, || Ok(UnixStream::connect(socket).is_ok()))? {
        bail!("containerd does not answer on {}", socket.display());
    }
    archives.iter().try_for_each(|archive| images::import(socket, archive))
}

/// Stops containerd, so that its data bases are complete.
fn stop(containerd: &mut Child) -> Result<()> {
    send_signal(i32::try_from(containerd.id())?, Signal::Term)?;
    if !wait_until(TIMEOUT, || Ok(containerd.try_wait()?.is_some()))? {
        containerd.kill().context("kill containerd")?;
        bail!("containerd did not stop within {} s", TIMEOUT.as_secs());
    }
    Ok(())
}

/// Makes the root folder of a containerd that has these images.
///
/// # Errors
/// When a file cannot be linked or copied.
pub fn lay_out(cache: &Cache, root: &Path) -> Result<()> {
    let source = folder(cache)?.join("root");
    let parent = root.parent().context("containerd's root lies in a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    let linked = run(Command::new("cp").args(["--archive", "--link"]).arg(&source).arg(root));
    if linked.is_err() {
        // The cache is on another file system, which has no links to here.
        if root.exists() {
            fs::remove_dir_all(root).with_context(|| format!("remove {}", root.display()))?;
        }
        return run(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(&source).arg(root));
    }
    for base in data_bases(&source)? {
        let own = root.join(base.strip_prefix(&source)?);
        fs::remove_file(&own).with_context(|| format!("unlink {}", own.display()))?;
        fs::copy(&base, &own).with_context(|| format!("copy {}", base.display()))?;
    }
    Ok(())
}

/// The files that containerd writes, in its plugins' folders.
fn data_bases(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for plugin in fs::read_dir(root).with_context(|| format!("list {}", root.display()))? {
        let plugin = plugin?.path();
        for entry in fs::read_dir(&plugin).with_context(|| format!("list {}", plugin.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "db") {
                found.push(path);
            }
        }
    }
    Ok(found)
}
