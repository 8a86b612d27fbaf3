//! An image as an archive that holds only the program's layer: the node has the foundation already.

use crate::digest::sha256;
use crate::parts::{FoundationDescription, Layer, run};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What the second stage of a Containerfile says: all that it may say there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// The program's place in the image.
    target: String,
    user: Option<String>,
    entrypoint: Option<Value>,
}

impl Stage {
    /// Reads the stage that puts `program` into the image.
    ///
    /// # Errors
    /// When it says anything but COPY of the program, USER and ENTRYPOINT.
    pub fn parse(text: &str, program: &str) -> Result<Stage> {
        let mut stage = Stage::default();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let (instruction, rest) = line.split_once(' ').unwrap_or((line, ""));
            match (instruction, rest.split_once(' ')) {
                ("COPY", Some((source, target))) if source == program => stage.target = target.to_owned(),
                ("USER", None) => stage.user = Some(rest.to_owned()),
                ("ENTRYPOINT", _) if rest.starts_with('[') => {
                    stage.entrypoint = Some(serde_json::from_str(rest).context(line.to_owned())?);
                }
                _ => bail!(
                    "after `FROM foundation` the lab knows COPY {program}, USER and ENTRYPOINT, not: {line}"
                ),
            }
        }
        if !stage.target.starts_with('/') {
            bail!("after `FROM foundation` {program} is copied to no absolute path");
        }
        Ok(stage)
    }

    /// The configuration of the image, from that of what it stands on.
    fn configuration(&self, mut below: Value, layer: &Layer) -> Result<Value> {
        if let Some(user) = &self.user {
            below["config"]["User"] = json!(user);
        }
        if let Some(entrypoint) = &self.entrypoint {
            below["config"]["Entrypoint"] = entrypoint.clone();
            // As ENTRYPOINT does.
            below["config"]["Cmd"] = Value::Null;
        }
        let layers = below["rootfs"]["diff_ids"].as_array_mut().context("the foundation has no layers")?;
        layers.push(json!(layer.digest));
        if let Some(history) = below["history"].as_array_mut() {
            history.push(json!({"created_by": format!("COPY {}", self.target)}));
        }
        Ok(below)
    }
}

/// Writes the image of `program` on `foundation` into `folder`, which is empty, and returns the archive.
///
/// # Errors
/// When a file cannot be written or tar fails.
pub fn write_archive(
    foundation: &FoundationDescription,
    stage: &Stage,
    program: &Path,
    image: &str,
    folder: &Path,
) -> Result<PathBuf> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("make {}", blobs.display()))?;
    let packed = folder.join("layer.tar");
    pack(program, &stage.target, &packed)?;
    let layer = keep(&blobs, &fs::read(&packed).with_context(|| format!("read {}", packed.display()))?)?;
    let configuration = stage.configuration(foundation.config.clone(), &layer)?;
    let configuration = keep(&blobs, configuration.to_string().as_bytes())?;
    let layers = foundation.layers.iter().chain([&layer]).map(|layer| descriptor(LAYER, layer));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIGURATION, &configuration),
        "layers": layers.collect::<Vec<_>>(),
    });
    let mut manifest = descriptor(MANIFEST, &keep(&blobs, manifest.to_string().as_bytes())?);
    manifest["annotations"] = json!({"io.containerd.image.name": image});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
    fs::write(folder.join("index.json"), index.to_string()).context("write index.json")?;
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).context("write oci-layout")?;
    let archive = folder.join("image.tar");
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--file").arg(&archive).arg("--directory").arg(folder);
    run(tar.args(["oci-layout", "index.json", "blobs"]))?;
    Ok(archive)
}

/// One file as a layer: it is root's, and the same program makes the same layer.
fn pack(program: &Path, target: &str, packed: &Path) -> Result<()> {
    let (folder, name) = (program.parent().context("a program lies in a folder")?, program.file_name());
    let name = name.context("a program has a name")?.to_string_lossy();
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--file").arg(packed).arg("--directory").arg(folder);
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "--mode=0755", "--mtime=@0"]);
    tar.arg(format!("--transform=flags=r;s,^.*$,{},", target.trim_start_matches('/')));
    run(tar.arg(name.as_ref()))
}

/// Keeps content under the name of its hash.
fn keep(blobs: &Path, content: &[u8]) -> Result<Layer> {
    let hash = sha256(content);
    fs::write(blobs.join(&hash), content).with_context(|| format!("write {hash}"))?;
    Ok(Layer { digest: format!("sha256:{hash}"), size: u64::try_from(content.len())? })
}

fn descriptor(media_type: &str, blob: &Layer) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest, "size": blob.size})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::Foundation;

    #[test]
    fn the_second_stage_of_both_containerfiles_is_read() {
        for foundation in Foundation::ALL {
            let (_, above) = foundation.stages().expect("two stages");
            let stage = Stage::parse(&above, foundation.program).expect("a stage");
            let target = format!("/usr/local/bin/{}", foundation.program);
            let (user, entrypoint) = (Some("65532:65532".to_owned()), Some(json!([target])));
            assert_eq!(stage, Stage { target, user, entrypoint });
        }
    }

    #[test]
    fn an_instruction_that_the_lab_cannot_carry_out_is_refused() {
        for text in ["COPY x /x\nRUN true", "COPY y /y", "COPY x x", "USER 1"] {
            assert!(Stage::parse(text, "x").is_err(), "{text}");
        }
    }

    #[test]
    fn an_image_is_its_foundation_and_one_layer_more() {
        let folder = std::env::temp_dir().join(format!("memorialstream-layer-{}", std::process::id()));
        fs::create_dir_all(folder.join("out")).expect("make a folder");
        fs::write(folder.join("x"), "program").expect("write");
        let below = Layer { digest: "sha256:below".to_owned(), size: 1 };
        let foundation = FoundationDescription {
            config: json!({"config": {"Env": ["A=b"], "Cmd": ["bash"]}, "rootfs": {"diff_ids": ["sha256:below"]}}),
            layers: vec![below.clone()],
        };
        let stage = Stage::parse("COPY x /bin/x\nUSER 1:1\nENTRYPOINT [\"/bin/x\"]\n", "x").expect("a stage");
        let out = folder.join("out");
        write_archive(&foundation, &stage, &folder.join("x"), "localhost/x:1", &out).expect("an archive");
        let read =
            |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON") };
        let blob = |value: &Value| {
            let digest = value["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
            out.join("blobs/sha256").join(digest.expect("a digest"))
        };
        let index = read(&out.join("index.json"));
        let manifest = read(&blob(&index["manifests"][0]));
        assert_eq!(manifest["layers"][0], descriptor(LAYER, &below));
        let configuration = read(&blob(&manifest["config"]));
        assert_eq!(
            configuration["config"],
            json!({"Env": ["A=b"], "Cmd": null, "User": "1:1", "Entrypoint": ["/bin/x"]})
        );
        assert_eq!(configuration["rootfs"]["diff_ids"][1], manifest["layers"][1]["digest"]);
        let listing =
            Command::new("tar").arg("-tvf").arg(blob(&manifest["layers"][1])).output().expect("tar");
        let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
        assert!(listing.starts_with("-rwxr-xr-x 0/0") && listing.trim_end().ends_with(" bin/x"), "{listing}");
        fs::remove_dir_all(folder).expect("remove");
    }
}
