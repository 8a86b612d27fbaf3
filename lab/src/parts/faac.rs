//! The GStreamer element "faac", without which LiveKit's egress sends no sound and which Debian does not ship.

use super::store::build_if_missing;
use crate::folders::Cache;
use crate::kubectl::output_of;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Raised whenever `gstreamer/faac.c` changes.
const RECIPE: &str = "1";
const SOURCE: &str = include_str!("../../gstreamer/faac.c");

fn folder(cache: &Cache) -> PathBuf {
    cache.part("faac", RECIPE)
}

/// The variables with which GStreamer finds it. Its registry is one of its own: a shared one would be written anew
/// whenever a program with the plugin follows one without.
pub fn environment(cache: &Cache) -> BTreeMap<String, String> {
    variables(&folder(cache))
}

fn variables(folder: &Path) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("GST_PLUGIN_PATH".to_owned(), folder.display().to_string()),
        ("GST_REGISTRY".to_owned(), folder.join("registry.bin").display().to_string()),
    ])
}

/// Builds the plugin unless it is there.
pub fn build_plugin_if_missing(cache: &Cache) -> Result<()> {
    build_if_missing(cache, "faac", RECIPE, |site| {
        let source = site.folder.join("faac.c");
        fs::write(&source, SOURCE).with_context(|| format!("write {}", source.display()))?;
        let flags = output_of(Command::new("pkg-config").args(["--cflags", "--libs", "gstreamer-1.0"]))?;
        let plugin = site.folder.join("libgstmemorialstreamfaac.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&plugin).arg(&source);
        site.run(compiler.args(flags.split_whitespace()))?;
        let mut inspect = Command::new("gst-inspect-1.0");
        site.run(inspect.envs(variables(&site.folder)).arg("faac"))
            .context("GStreamer does not find the element")
    })
}
