//! Images of what cargo built, on the node.

use super::layer::{Stage, write_archive};
use crate::checkout;
use crate::description::LabDescription;
use crate::digest::sha256;
use crate::folders::Cache;
use crate::images;
use crate::parts::{Foundation, node_images, run};
use crate::progress::Step;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The operator's image on the node, made from the program that cargo built last. The same program is imported only
/// once.
///
/// # Errors
/// When the program is not built yet, or the import fails.
pub fn operator_image(lab: &LabDescription) -> Result<String> {
    bring(lab, Foundation::OPERATOR)
}

/// The compositor's image on the node; see [`operator_image`].
///
/// # Errors
/// When the program is not built yet, or the import fails.
pub fn compositor_image(lab: &LabDescription) -> Result<String> {
    bring(lab, Foundation::COMPOSITOR)
}

fn bring(lab: &LabDescription, foundation: Foundation) -> Result<String> {
    let name = foundation.program;
    let _one_at_a_time = super::lock(lab, name)?;
    let program = checkout::program(name, name)?;
    let (below, above) = foundation.stages()?;
    let image = format!("localhost/{name}:{}", key(&program, &[&below, &above])?);
    if images::list(&lab.containerd_address)?.contains(&image) {
        return Ok(image);
    }
    let step = Step::begin(format!("image {name} on the node"));
    let folder = lab.folder.join(format!("image-{name}"));
    remove_folder(&folder)?;
    fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
    let stripped = folder.join(name);
    // Without its symbols it is a fraction of the size.
    run(Command::new("strip").arg("-o").arg(&stripped).arg(&program))?;
    let described = foundation.describe(&node_images::folder(&Cache::open()?)?)?;
    let archive = write_archive(&described, &Stage::parse(&above, name)?, &stripped, &image, &folder)?;
    images::import(&lab.containerd_address, &archive)?;
    remove_folder(&folder)?;
    step.done();
    Ok(image)
}

fn remove_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    Ok(())
}

/// Differs whenever the program or a text differs.
fn key(program: &Path, texts: &[&str]) -> Result<String> {
    let program = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    let hashes: String = [program.as_slice()]
        .into_iter()
        .chain(texts.iter().map(|text| text.as_bytes()))
        .map(sha256)
        .collect();
    Ok(sha256(hashes.as_bytes()).chars().take(16).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_the_content() {
        let folder = std::env::temp_dir().join(format!("memorialstream-key-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("make a folder");
        let [one, two, three] = ["one", "two", "three"].map(|name| folder.join(name));
        for (file, text) in [(&one, "a"), (&two, "a"), (&three, "b")] {
            fs::write(file, text).expect("write");
        }
        let key = |file, text| key(file, &[text]).expect("a key");
        assert_eq!(key(&one, "x"), key(&two, "x"));
        assert_ne!(key(&one, "x"), key(&three, "x"));
        assert_ne!(key(&one, "x"), key(&one, "y"));
        fs::remove_dir_all(&folder).expect("remove");
    }
}
