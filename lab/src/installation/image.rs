//! Images of what cargo built, on the node.

use super::lock;
use crate::checkout;
use crate::description::LabDescription;
use crate::folders::Cache;
use crate::images;
use crate::kubectl::output_of;
use crate::parts::{buildah, run};
use anyhow::{Context, Result};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;

/// What one of the two images is made of.
struct Recipe {
    package: &'static str,
    /// The program, and the image's name.
    program: &'static str,
    /// Below the source tree.
    containerfile: &'static str,
}

/// The operator's image on the node, built from the program that cargo built last. The same program is built and
/// imported only once.
///
/// # Errors
/// When the program is not built yet, or the build or the import fails.
pub fn operator_image(lab: &LabDescription) -> Result<String> {
    bring(
        lab,
        &Recipe {
            package: "memorialstream-operator",
            program: "memorialstream-operator",
            containerfile: "Containerfile",
        },
    )
}

/// The compositor's image on the node; see [`operator_image`].
///
/// # Errors
/// When the program is not built yet, or the build or the import fails.
pub fn compositor_image(lab: &LabDescription) -> Result<String> {
    bring(
        lab,
        &Recipe {
            package: "memorialstream-compositor",
            program: "memorialstream-compositor",
            containerfile: "compositor/Containerfile",
        },
    )
}

fn bring(lab: &LabDescription, recipe: &Recipe) -> Result<String> {
    let Recipe { package, program, containerfile } = recipe;
    let _one_at_a_time = lock(lab)?;
    let context = lab.folder.join("image-context");
    remove_folder(&context)?;
    fs::create_dir(&context).with_context(|| format!("make {}", context.display()))?;
    let copy = context.join(program);
    // Without its symbols it is a fraction of the size.
    run(Command::new("strip").arg("-o").arg(&copy).arg(checkout::program(package, program)?))?;
    let containerfile = checkout::root().join(containerfile);
    let repository = format!("localhost/{program}");
    let image = format!("{repository}:{:016x}", content_key(&[&copy, &containerfile])?);
    if !on_node(lab, &image)? {
        images::build(lab, &image, &containerfile, &context)?;
        forget_older(&repository, &image)?;
    }
    remove_folder(&context)?;
    Ok(image)
}

fn remove_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    Ok(())
}

/// Differs whenever a file differs.
fn content_key(files: &[&Path]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        fs::read(file).with_context(|| format!("read {}", file.display()))?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn on_node(lab: &LabDescription, image: &str) -> Result<bool> {
    let mut command = Command::new(lab.bin.join("ctr"));
    command.arg("--address").arg(&lab.containerd_address).args(["--namespace", "k8s.io", "images", "list"]);
    let listed = output_of(command.args(["--quiet", &format!("name=={image}")]))?;
    Ok(listed.lines().any(|line| line == image))
}

/// Images of earlier programs would fill the cache; their common layers stay.
fn forget_older(repository: &str, kept: &str) -> Result<()> {
    let cache = Cache::open()?;
    let format = ["images", "--format", "{{.Name}}:{{.Tag}}"];
    let listed = output_of(buildah(&cache).args(format))?;
    for image in older(&listed, repository, kept) {
        run(buildah(&cache).args(["rmi", image]))?;
    }
    Ok(())
}

fn older<'a>(listed: &'a str, repository: &str, kept: &str) -> Vec<&'a str> {
    let of_repository = |image: &&str| image.rsplit_once(':').is_some_and(|(name, _)| name == repository);
    listed.lines().filter(of_repository).filter(|image| *image != kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_images_of_the_same_repository_are_forgotten() {
        let listed = "localhost/operator:1\nlocalhost/operator:2\nlocalhost/operator-x:1\n<none>:<none>\n";
        assert_eq!(older(listed, "localhost/operator", "localhost/operator:2"), ["localhost/operator:1"]);
    }

    #[test]
    fn the_key_follows_the_content() {
        let folder = std::env::temp_dir().join(format!("memorialstream-key-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("make a folder");
        let [one, two, three] = ["one", "two", "three"].map(|name| folder.join(name));
        for (file, text) in [(&one, "a"), (&two, "a"), (&three, "b")] {
            fs::write(file, text).expect("write");
        }
        let key = |file| content_key(&[file]).expect("a key");
        assert_eq!(key(&one), key(&two));
        assert_ne!(key(&one), key(&three));
        fs::remove_dir_all(&folder).expect("remove");
    }
}
