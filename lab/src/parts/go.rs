//! Programs built from published Go modules.

use super::store::{build_if_missing, run};
use crate::folders::Cache;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of the cluster's own programs.
pub const KUBERNETES: &str = "1.36.3";
/// The version of containerd, its shim and `ctr`.
pub const CONTAINERD: &str = "2.4.2";
/// The last livekit-server that the module proxy can build: later ones replace modules by unpublished forks.
pub const LIVEKIT: &str = "1.13.5";
/// The version of helm.
pub const HELM: &str = "3.22.0";
/// The etcd that this Kubernetes requires.
const ETCD: &str = "3.6.8";
/// Raised whenever `kubernetes/pause` changes.
pub const PAUSE: &str = "1";

/// The committed module that pins Kubernetes; embedded, so that the lab needs no source tree.
const WRAPPER: [(&str, &str); 5] = [
    ("go.mod", include_str!("../../kubernetes/go.mod")),
    ("go.sum", include_str!("../../kubernetes/go.sum")),
    ("tools.go", include_str!("../../kubernetes/tools.go")),
    ("etcd/main.go", include_str!("../../kubernetes/etcd/main.go")),
    ("pause/main.go", include_str!("../../kubernetes/pause/main.go")),
];

/// A program of a part and the Go package that it is built from.
pub struct Program {
    /// What it is called.
    pub name: &'static str,
    package: &'static str,
}

/// One folder of the cache, with one or more programs.
pub struct Part {
    name: &'static str,
    version: &'static str,
    source: Source,
    /// The programs in it.
    pub programs: Vec<Program>,
}

/// Where a part's packages come from.
#[derive(Clone, Copy)]
enum Source {
    /// The wrapper module.
    Wrapper { cgo: bool },
    /// A module that builds on its own with `go install`.
    Module { cgo: bool },
}

/// All parts; `kubectl` only where the machine has none.
pub fn parts() -> Vec<Part> {
    let kubernetes = |name, package| Part {
        name,
        version: KUBERNETES,
        source: Source::Wrapper { cgo: true },
        programs: vec![Program { name, package }],
    };
    let single = |name, version, source, package| Part {
        name,
        version,
        source,
        programs: vec![Program { name, package }],
    };
    let mut parts = vec![
        single("etcd", ETCD, Source::Wrapper { cgo: true }, "./etcd"),
        single("pause", PAUSE, Source::Wrapper { cgo: false }, "./pause"),
        kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
        kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
        Part {
            name: "containerd",
            version: CONTAINERD,
            source: Source::Module { cgo: false },
            programs: vec![
                Program { name: "containerd", package: "github.com/containerd/containerd/v2/cmd/containerd" },
                Program {
                    name: "containerd-shim-runc-v2",
                    package: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                },
                Program { name: "ctr", package: "github.com/containerd/containerd/v2/cmd/ctr" },
            ],
        },
        single(
            "livekit-server",
            LIVEKIT,
            Source::Module { cgo: true },
            "github.com/livekit/livekit-server/cmd/server",
        ),
        single("helm", HELM, Source::Module { cgo: true }, "helm.sh/helm/v3/cmd/helm"),
    ];
    if super::find_program("kubectl").is_none() {
        parts.push(kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"));
    }
    parts
}

impl Part {
    /// Where the finished programs are.
    pub fn folder(&self, cache: &Cache) -> PathBuf {
        cache.part(self.name, self.version)
    }

    /// Builds the part into the cache unless it is there.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn build_if_missing(&self, cache: &Cache) -> Result<()> {
        build_if_missing(cache, self.name, self.version, |folder| {
            self.programs.iter().try_for_each(|program| match self.source {
                Source::Wrapper { cgo } => build_from_wrapper(folder, program, cgo),
                Source::Module { cgo } => install(folder, program, self.version, cgo),
            })
        })
    }
}

fn go(cgo: bool) -> Result<Command> {
    let program = super::find_program("go").context("install Go 1.26 or later and put `go` on the PATH")?;
    let mut command = Command::new(program);
    if !cgo {
        command.env("CGO_ENABLED", "0");
    }
    Ok(command)
}

fn build_from_wrapper(folder: &Path, program: &Program, cgo: bool) -> Result<()> {
    let module = folder.join("module");
    for (name, text) in WRAPPER {
        let path = module.join(name);
        let parent = path.parent().context("a file of the module lies in a folder")?;
        fs::create_dir_all(parent)?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let mut command = go(cgo)?;
    command.current_dir(&module).args(["build", "-ldflags", LINK_FLAGS, "-o"]);
    run(command.arg(folder.join(program.name)).arg(program.package))?;
    fs::remove_dir_all(&module).with_context(|| format!("remove {}", module.display()))
}

/// Without these the programs report version 0 and refuse each other.
const LINK_FLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

fn install(folder: &Path, program: &Program, version: &str, cgo: bool) -> Result<()> {
    let mut command = go(cgo)?;
    command.env("GOBIN", folder).args(["install", &format!("{}@v{version}", program.package)]);
    run(&mut command)?;
    let built = program.package.rsplit('/').next().unwrap_or(program.package);
    if built != program.name {
        fs::rename(folder.join(built), folder.join(program.name))
            .with_context(|| format!("rename {built}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_flags_carry_the_version() {
        let (major_and_minor, _patch) = KUBERNETES.rsplit_once('.').expect("three numbers");
        let (major, minor) = major_and_minor.split_once('.').expect("two numbers");
        assert!(LINK_FLAGS.contains(&format!("gitVersion=v{KUBERNETES} ")));
        assert!(LINK_FLAGS.contains(&format!("gitMajor={major} ")));
        assert!(LINK_FLAGS.ends_with(&format!("gitMinor={minor}")));
    }

    #[test]
    fn the_wrapper_module_requires_the_versions_that_key_the_cache() {
        let (_, go_mod) = WRAPPER[0];
        assert!(go_mod.contains(&format!("k8s.io/kubernetes v{KUBERNETES}\n")));
        assert!(go_mod.contains(&format!("go.etcd.io/etcd/server/v3 v{ETCD}\n")));
    }

    #[test]
    fn no_two_parts_share_a_program_name() {
        let mut names: Vec<&str> =
            parts().iter().flat_map(|part| &part.programs).map(|one| one.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
