//! What the cluster tests use in place of GitOps controllers: `tests/gitops`, built from the controllers' own
//! libraries. The demo does not need it, so it is built when it is first asked for.

use super::go;
use super::store::{Site, build_if_missing, lock};
use crate::folders::Cache;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

const NAME: &str = "gitops";

/// The module, embedded like that of the cluster's own programs.
const MODULE: [(&str, &str); 7] = [
    ("go.mod", include_str!("../../../tests/gitops/go.mod")),
    ("go.sum", include_str!("../../../tests/gitops/go.sum")),
    ("main.go", include_str!("../../../tests/gitops/main.go")),
    ("sync.go", include_str!("../../../tests/gitops/sync.go")),
    ("flux.go", include_str!("../../../tests/gitops/flux.go")),
    ("argocd.go", include_str!("../../../tests/gitops/argocd.go")),
    ("kstatus.go", include_str!("../../../tests/gitops/kstatus.go")),
];

/// The program, built unless the cache has it for this very source.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn program(cache: &Cache) -> Result<PathBuf> {
    let version = version();
    let program = cache.part(NAME, &version).join(NAME);
    if !program.exists() {
        let _lock = lock(cache)?;
        build_if_missing(cache, NAME, &version, build)?;
    }
    Ok(program)
}

/// FNV-1a over names and contents: any change is another version.
fn version() -> String {
    let bytes = MODULE.iter().flat_map(|(name, text)| name.bytes().chain([0]).chain(text.bytes()).chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn build(site: &Site) -> Result<()> {
    let module = site.folder.join("module");
    fs::create_dir_all(&module).with_context(|| format!("make {}", module.display()))?;
    for (name, text) in MODULE {
        let path = module.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let mut command = go::command()?;
    // The flags of the Kubernetes parts: what those have compiled is not compiled again.
    command.env("CGO_ENABLED", "0").current_dir(&module).args([
        "build",
        go::COMPILE_FLAGS,
        "-ldflags",
        "-s -w",
        "-o",
    ]);
    site.run(command.arg(site.folder.join(NAME)).arg("."))?;
    fs::remove_dir_all(&module).with_context(|| format!("remove {}", module.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::go::KUBERNETES;
    use std::path::Path;

    #[test]
    fn the_module_is_built_with_the_kubernetes_that_the_lab_runs() {
        let (_, go_mod) = MODULE[0];
        let minor_and_patch = KUBERNETES.strip_prefix("1.").expect("Kubernetes 1");
        assert!(go_mod.contains(&format!("k8s.io/client-go => k8s.io/client-go v0.{minor_and_patch}\n")));
    }

    #[test]
    fn every_source_file_of_the_module_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/gitops");
        let mut there: Vec<String> = fs::read_dir(folder)
            .expect("the module's folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
            .collect();
        there.sort_unstable();
        let mut embedded: Vec<&str> = MODULE.iter().map(|(name, _)| *name).collect();
        embedded.sort_unstable();
        assert_eq!(there, embedded);
    }
}
