//! Images that no registry is needed for: the Debian base and the pods' pause.

use super::go;
use super::store::{self, Site};
use crate::folders::Cache;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Debian base in the lab's image store; a Containerfile takes it as `--build-arg BASE`.
pub const BASE_IMAGE: &str = "localhost/memorialstream-lab/trixie:2";
/// What the node holds a pod's namespaces with.
pub const PAUSE_IMAGE: &str = "localhost/memorialstream-lab/pause:1";

const SUITE: &str = "trixie";
/// Raised whenever the way the base is made changes, together with [`BASE_IMAGE`].
const RECIPE: &str = "2";
/// The same for the pause image.
pub const PAUSE_RECIPE: &str = "1";
/// What the public slim image leaves out as well; it holds for every package that is installed later.
const LEFT_OUT: [&str; 5] = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
];

/// buildah on a store of the lab's own inside the cache, so that layers are kept between runs.
pub fn buildah(cache: &Cache) -> Command {
    let mut command = Command::new("buildah");
    command.arg("--root").arg(cache.at("images")).arg("--runroot").arg(cache.at("images-run"));
    command
}

/// The pause image as a file that containerd imports.
pub fn pause_archive(cache: &Cache) -> PathBuf {
    cache.part("pause-image", PAUSE_RECIPE).join("pause.tar")
}

/// Builds the images that are missing.
///
/// # Errors
/// When one cannot be built.
pub fn build_if_missing(cache: &Cache) -> Result<()> {
    go::pause().build_if_missing(cache)?;
    store::build_if_missing(cache, "pause-image", PAUSE_RECIPE, |site| {
        let program = go::pause().folder(cache).join("pause");
        fs::copy(program, site.folder.join("pause")).context("copy pause")?;
        let text = "FROM scratch\nCOPY pause /pause\nENTRYPOINT [\"/pause\"]\n";
        build_image(cache, site, text, PAUSE_IMAGE)?;
        let archive = format!("docker-archive:{}:{PAUSE_IMAGE}", site.folder.join("pause.tar").display());
        site.run(buildah(cache).args(["push", "--quiet", PAUSE_IMAGE, &archive]))
    })?;
    store::build_if_missing(cache, &format!("{SUITE}-base"), RECIPE, |site| {
        let components = format!("deb {} {SUITE} main", mirror()?);
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=apt", "--quiet"]);
        command.args(LEFT_OUT.map(|option| format!("--dpkgopt={option}")));
        site.run(command.arg(SUITE).arg(site.folder.join("base.tar")).arg(components))?;
        build_image(cache, site, "FROM scratch\nADD base.tar /\nCMD [\"bash\"]\n", BASE_IMAGE)?;
        fs::remove_file(site.folder.join("base.tar")).context("remove base.tar")
    })
}

fn build_image(cache: &Cache, site: &Site, containerfile: &str, name: &str) -> Result<()> {
    fs::write(site.folder.join("Containerfile"), containerfile).context("write the Containerfile")?;
    site.run(
        buildah(cache).args(["build", "--quiet", "--isolation", "chroot", "--tag", name]).arg(&site.folder),
    )
}

/// The Debian mirror that this machine's own apt uses.
fn mirror() -> Result<String> {
    let mut texts = Vec::new();
    let folder = Path::new("/etc/apt/sources.list.d");
    let listed = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in listed.chain([PathBuf::from("/etc/apt/sources.list")]) {
        let known = path.extension().is_some_and(|extension| extension == "sources" || extension == "list");
        if known && path.exists() {
            texts.push(fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?);
        }
    }
    texts.iter().find_map(|text| debian_mirror(text)).context(
        "no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d: add one whose address ends in /debian",
    )
}

/// The first address in an apt source file that holds Debian itself, in either of apt's formats.
fn debian_mirror(text: &str) -> Option<String> {
    let lines = text.lines().map(str::trim);
    let mut words =
        lines.filter(|line| line.starts_with("URIs:") || line.starts_with("deb ")).flat_map(|line| {
            line.split_whitespace().filter(|word| word.contains("://")).map(|word| word.trim_end_matches('/'))
        });
    words.find(|address| address.ends_with("/debian")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_found_in_both_formats() {
        let one =
            "Types: deb\n# URIs: http://old.example/debian\nURIs: http://mirror.example/debian/\nSuites: x\n";
        assert_eq!(debian_mirror(one).as_deref(), Some("http://mirror.example/debian"));
        let two = "# a comment\ndeb [signed-by=/k.gpg] https://mirror.example/debian bookworm main\n";
        assert_eq!(debian_mirror(two).as_deref(), Some("https://mirror.example/debian"));
    }

    #[test]
    fn other_archives_are_passed_over() {
        assert_eq!(debian_mirror("deb https://other.example/node nodistro main\n"), None);
        assert_eq!(debian_mirror("URIs: http://mirror.example/debian-security\n"), None);
    }
}
