//! Programs built from published Go modules.

use super::store::{Site, build_if_missing};
use crate::folders::Cache;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The version of the cluster's own programs.
pub const KUBERNETES: &str = "1.36.3";
/// The last livekit-server that the module proxy can build: later ones replace modules by unpublished forks.
pub const LIVEKIT: &str = "1.13.5";
/// The last helm that asks for no newer modules than this Kubernetes: built with it, most of its packages are shared.
pub const HELM: &str = "3.20.2";
/// Raised whenever `kubernetes/pause` changes.
pub const PAUSE: &str = "1";

/// The committed module that pins Kubernetes and helm; embedded, so that the lab needs no source tree.
const WRAPPER: [(&str, &str); 4] = [
    ("go.mod", include_str!("../../kubernetes/go.mod")),
    ("go.sum", include_str!("../../kubernetes/go.sum")),
    ("tools.go", include_str!("../../kubernetes/tools.go")),
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
    version: String,
    source: Source,
    /// The programs in it.
    pub programs: Vec<Program>,
}

/// Where a part's packages come from.
#[derive(Clone, Copy)]
enum Source {
    /// The wrapper module.
    Wrapper,
    /// A module that builds on its own with `go install`.
    Module,
}

/// What holds a pod's namespaces. It runs in an image only, and whoever builds that builds this.
pub fn pause() -> Part {
    Part::of_one("pause", PAUSE, Source::Wrapper, "./pause")
}

/// All parts that run on the machine, the longest first.
pub fn parts() -> Vec<Part> {
    let program = |name, package| Program { name, package };
    let livekit = "github.com/livekit/livekit-server/cmd/server";
    vec![
        Part {
            name: "kubernetes",
            version: format!("{KUBERNETES}-helm-{HELM}"),
            source: Source::Wrapper,
            programs: vec![
                program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
                program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
                program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
                program("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
                program("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
                program("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
                program("helm", "helm.sh/helm/v3/cmd/helm"),
            ],
        },
        Part::of_one("livekit-server", LIVEKIT, Source::Module, livekit),
    ]
}

impl Part {
    /// A part with one program of the same name.
    fn of_one(name: &'static str, version: &str, source: Source, package: &'static str) -> Part {
        Part { name, version: version.to_owned(), source, programs: vec![Program { name, package }] }
    }

    /// Where the finished programs are.
    pub fn folder(&self, cache: &Cache) -> PathBuf {
        cache.part(self.name, &self.version)
    }

    /// Builds the part into the cache unless it is there.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn build_if_missing(&self, cache: &Cache) -> Result<()> {
        build_if_missing(cache, self.name, &self.version, |site| match self.source {
            Source::Wrapper => self.build_from_wrapper(site),
            Source::Module => self.install(site),
        })
    }

    /// All programs by one command: while one is linked, packages of the next are compiled.
    fn build_from_wrapper(&self, site: &Site) -> Result<()> {
        let module = site.folder.join("module");
        for (name, text) in WRAPPER {
            let path = module.join(name);
            let parent = path.parent().context("a file of the module lies in a folder")?;
            fs::create_dir_all(parent)?;
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        let mut go = command()?;
        go.current_dir(&module)
            .args(["build", COMPILE_FLAGS, "-ldflags", LINK_FLAGS, "-o"])
            .arg(&site.folder);
        site.run(go.args(self.programs.iter().map(|program| program.package)))?;
        fs::remove_dir_all(&module).with_context(|| format!("remove {}", module.display()))
    }

    fn install(&self, site: &Site) -> Result<()> {
        let packages = self.programs.iter().map(|one| format!("{}@v{}", one.package, self.version));
        let mut go = command()?;
        go.env("GOBIN", &site.folder).args(["install", COMPILE_FLAGS, "-ldflags", "-s -w"]);
        site.run(go.args(packages))?;
        for program in &self.programs {
            let built = program.package.rsplit('/').next().unwrap_or(program.package);
            if built != program.name {
                fs::rename(site.folder.join(built), site.folder.join(program.name))
                    .with_context(|| format!("rename {built}"))?;
            }
        }
        Ok(())
    }
}

/// `go`; the same flags for all parts, so that what they share is compiled once.
///
/// # Errors
/// When Go is missing.
pub fn command() -> Result<Command> {
    let program = super::find_program("go").context("install Go 1.26 or later and put `go` on the PATH")?;
    Ok(Command::new(program))
}

/// Neither debug information nor inlining: that takes a quarter off the time to compile, most of what a first `make demo`
/// takes, and the lab asks little of these programs.
pub const COMPILE_FLAGS: &str = "-gcflags=all=-dwarf=false -l";

/// Without these the programs report version 0 and refuse each other.
const LINK_FLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

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
        assert!(go_mod.contains(&format!("helm.sh/helm/v3 v{HELM}\n")));
        assert!(go_mod.contains(&format!("k8s.io/kubernetes v{KUBERNETES}\n")));
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
