//! What the images of this project stand on: everything in their Containerfiles but the program.

use super::base::{BASE_IMAGE, buildah};
use super::store::Site;
use crate::checkout;
use crate::digest::sha256;
use crate::folders::Cache;
use crate::kubectl::output_of;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The line that divides a Containerfile: what follows changes with the program.
const DIVIDE: &str = "\nFROM foundation\n";
const DESCRIBED: &str = "described.json";

/// The foundation of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foundation {
    /// The program that stands on it.
    pub program: &'static str,
    /// Below the source tree.
    containerfile: &'static str,
}

/// What a foundation holds, so that an image can be put on top of it without looking at its files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Described {
    /// Its configuration, as an image's is written.
    pub config: Value,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// One layer of an image, uncompressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `sha256:` and the hash.
    pub digest: String,
    /// In bytes.
    pub size: u64,
}

impl Foundation {
    /// The operator's.
    pub const OPERATOR: Foundation =
        Foundation { program: "memorialstream-operator", containerfile: "Containerfile" };
    /// The compositor's.
    pub const COMPOSITOR: Foundation =
        Foundation { program: "memorialstream-compositor", containerfile: "compositor/Containerfile" };
    /// All.
    pub const ALL: [Foundation; 2] = [Self::OPERATOR, Self::COMPOSITOR];

    /// Both halves of the Containerfile: what the foundation is made by, and what puts the program on it.
    ///
    /// # Errors
    /// When the file cannot be read or is not divided.
    pub fn stages(&self) -> Result<(String, String)> {
        let path = checkout::root().join(self.containerfile);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let (below, above) = text.split_once(DIVIDE).with_context(|| {
            format!("{} has no line `FROM foundation` between the packages and the program", path.display())
        })?;
        Ok((below.to_owned(), above.to_owned()))
    }

    /// Differs whenever something of it differs.
    ///
    /// # Errors
    /// As [`Foundation::stages`].
    pub fn version(&self) -> Result<String> {
        let (below, _) = self.stages()?;
        let hash = sha256([BASE_IMAGE, &below].join("\n").as_bytes());
        Ok(hash.chars().take(16).collect())
    }

    /// Builds it into the site as a file that containerd imports, and describes it.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn build(&self, cache: &Cache, site: &Site) -> Result<PathBuf> {
        let (below, _) = self.stages()?;
        let folder = site.folder.join(self.program);
        fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        fs::write(folder.join("Containerfile"), below).context("write the Containerfile")?;
        let name = format!("localhost/{}-foundation:{}", self.program, self.version()?);
        let mut build = buildah(cache);
        build.args(["build", "--isolation", "chroot", "--network", "host"]);
        build.args(["--build-arg", &format!("BASE={BASE_IMAGE}"), "--tag", &name]);
        site.run(build.arg(&folder))?;
        let archive = site.folder.join(format!("{}.tar", self.program));
        let target = format!("docker-archive:{}:{name}", archive.display());
        site.run(buildah(cache).args(["push", "--quiet", &name, &target]))?;
        // The archive holds all of it; what buildah keeps of it would be a second copy.
        site.run(buildah(cache).args(["rmi", &name]))?;
        let described = serde_json::to_vec_pretty(&describe_archive(&archive)?)?;
        fs::write(folder.join(DESCRIBED), described).context("describe the foundation")?;
        Ok(archive)
    }

    /// What it holds, from the part that it was built into.
    ///
    /// # Errors
    /// When it is not built.
    pub fn describe(&self, part: &Path) -> Result<Described> {
        let path = part.join(self.program).join(DESCRIBED);
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
    }
}

/// Reads what `docker save` and buildah write: a list of images, their configurations, and layers named by their hash.
fn describe_archive(archive: &Path) -> Result<Described> {
    let read = |name: &str| -> Result<Value> {
        let text = output_of(Command::new("tar").arg("-xOf").arg(archive).arg(name))?;
        serde_json::from_str(&text).with_context(|| format!("parse {name} of {}", archive.display()))
    };
    let images = read("manifest.json")?;
    let config = read(images[0]["Config"].as_str().context("the archive names no configuration")?)?;
    let listing = output_of(Command::new("tar").arg("-tvf").arg(archive))?;
    let names = images[0]["Layers"].as_array().context("the archive names no layers")?;
    let digests = config["rootfs"]["diff_ids"].as_array().context("the configuration names no layers")?;
    let layers: Result<Vec<Layer>> = names
        .iter()
        .zip(digests)
        .map(|(name, digest)| {
            let (name, digest) = (name.as_str().unwrap_or_default(), digest.as_str().unwrap_or_default());
            let size = size_in(&listing, name).with_context(|| format!("{name} has no size"))?;
            Ok(Layer { digest: digest.to_owned(), size })
        })
        .collect();
    Ok(Described { config, layers: layers? })
}

/// The size of a file in what `tar -tv` prints: rights, owner, size, date, time, name.
fn size_in(listing: &str, name: &str) -> Option<u64> {
    let mut lines = listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = lines.find(|words| words.get(5) == Some(&name))?;
    found.get(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_containerfiles_are_divided_before_their_programs() {
        for foundation in Foundation::ALL {
            let (below, above) = foundation.stages().expect("two stages");
            assert!(below.contains("AS foundation") && !below.contains("\nCOPY "), "{below}");
            assert!(above.starts_with(&format!("COPY {} ", foundation.program)), "{above}");
        }
    }

    #[test]
    fn a_layers_size_is_read_from_tars_list() {
        let listing =
            "-r--r--r-- 0/0  12800 2026-01-01 00:00 ab.tar\n-r--r--r-- 0/0 7 2026-01-01 00:00 c.json\n";
        assert_eq!(size_in(listing, "ab.tar"), Some(12_800));
        assert_eq!(size_in(listing, "d.tar"), None);
    }
}
