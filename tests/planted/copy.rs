//! The copy of the workspace into which the bugs are planted, all of them at once: each is in force only when the
//! environment variable `PLANTED` names it, so one build serves all. No switch stands in the product's own code.

use crate::bugs::Bug;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{fs, io};

/// By path from the workspace's root.
pub type Sources = BTreeMap<String, String>;

/// What is not the workspace's own.
const LEFT_OUT: [&str; 4] = [".git", "target", "node_modules", "demo-pictures"];
/// The version of the copy's packages: with the original's, cargo would take the one's artefacts for the other's.
const VERSION: (&str, &str) = ("0.1.0", "0.1.0-planted");
/// Stands in a bug's new text for whether it is in force.
const IN_FORCE: &str = "PLANTED";

const SWITCH: &str = r#"
/// Whether the bug of that number is in force.
pub(crate) fn planted(number: usize) -> bool {
    static IN_FORCE: std::sync::LazyLock<Option<usize>> =
        std::sync::LazyLock::new(|| std::env::var("PLANTED").ok()?.parse().ok());
    *IN_FORCE == Some(number)
}
"#;

/// Programs of the copy, by the name of their target.
pub struct Copy {
    pub root: PathBuf,
    programs: BTreeMap<String, PathBuf>,
    /// What the build took.
    pub seconds: f64,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The operator's own sources.
pub fn sources() -> io::Result<Sources> {
    let mut found = Sources::new();
    for path in files(&root().join("src"))? {
        found.insert(name(root(), &path), fs::read_to_string(&path)?);
    }
    Ok(found)
}

fn name(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let left_out = LEFT_OUT.iter().any(|name| path.ends_with(name)) || path.join("CACHEDIR.TAG").exists();
        if path.is_symlink() || left_out {
            continue;
        }
        if path.is_dir() { all.extend(files(&path)?) } else { all.push(path) }
    }
    Ok(all)
}

/// The sources with all bugs in them. `Err`: which cannot be planted any more, and why.
pub fn planted(sources: &Sources, bugs: &[Bug]) -> Result<Sources, Vec<String>> {
    let mut problems = Vec::new();
    // By file: from where to where which text stands.
    let mut edits: BTreeMap<&str, Vec<(usize, usize, String)>> = BTreeMap::new();
    for (number, bug) in bugs.iter().enumerate() {
        let switch = format!("crate::planted({number})");
        for (file, old, new) in bug.places {
            let text = sources.get(*file).map_or("", String::as_str);
            let places: Vec<usize> = text.match_indices(old).map(|(at, _)| at).collect();
            let [at] = places[..] else {
                problems.push(format!("{}: stands {} times in {file}: {old}", bug.name, places.len()));
                continue;
            };
            let new = if new.contains(IN_FORCE) {
                new.replace(IN_FORCE, &switch)
            } else {
                format!("{{ if {switch} {{ {new} }} else {{ {old} }} }}")
            };
            edits.entry(file).or_default().push((at, at + old.len(), new));
        }
    }
    let mut whole = sources.clone();
    for (file, mut edits) in edits {
        edits.sort();
        if edits.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            problems.push(format!("two bugs change the same words of {file}"));
            continue;
        }
        let Some(text) = whole.get_mut(file) else { continue };
        for (from, to, new) in edits.into_iter().rev() {
            text.replace_range(from..to, &new);
        }
    }
    if let Some(library) = whole.get_mut("src/lib.rs") {
        *library = format!("#![allow(warnings)]\n{library}{SWITCH}");
    }
    if problems.is_empty() { Ok(whole) } else { Err(problems) }
}

fn replaced(text: &str, old: &str, new: &str) -> io::Result<String> {
    match text.matches(old).count() {
        1 => Ok(text.replace(old, new)),
        count => Err(io::Error::other(format!("stands {count} times in a manifest: {old}"))),
    }
}

/// The manifest without the program, which no bug needs, and with the unit tests as one more test.
fn manifest(text: &str) -> io::Result<String> {
    let version = |version: &str| format!("[workspace.package]\nversion = \"{version}\"\n");
    let text = replaced(text, &version(VERSION.0), &version(VERSION.1))?;
    let text = replaced(&text, "default-run = \"memorialstream-operator\"\n", "autobins = false\n")?;
    Ok(text + "\n[[test]]\nname = \"units\"\npath = \"src/lib.rs\"\n")
}

fn lock(text: &str) -> String {
    let mut packages: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
    for package in &mut packages {
        if package.contains("name = \"memorialstream-") && !package.contains("\nsource = ") {
            let version = |version: &str| format!("\nversion = \"{version}\"\n");
            *package = package.replace(&version(VERSION.0), &version(VERSION.1));
        }
    }
    packages.join("\n\n")
}

impl Copy {
    /// Copies what is needed, plants the bugs and builds. Files that stand there already as they must are left alone, so
    /// that cargo builds no more than has changed.
    pub fn make(bugs: &[Bug]) -> io::Result<Self> {
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
        let mut wanted: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for path in files(root())? {
            wanted.insert(name(root(), &path), fs::read(&path)?);
        }
        let planted = planted(&sources()?, bugs).map_err(|problems| io::Error::other(problems.join("\n")))?;
        wanted.extend(planted.into_iter().map(|(name, text)| (name, text.into_bytes())));
        wanted.remove("src/main.rs");
        let text = |name: &str| fs::read_to_string(root().join(name));
        wanted.insert("Cargo.toml".into(), manifest(&text("Cargo.toml")?)?.into_bytes());
        wanted.insert("Cargo.lock".into(), lock(&text("Cargo.lock")?).into_bytes());
        fs::create_dir_all(&copy)?;
        for path in files(&copy)? {
            if !wanted.contains_key(&name(&copy, &path)) {
                fs::remove_file(path)?;
            }
        }
        for (name, content) in &wanted {
            let path = copy.join(name);
            if fs::read(&path).ok().as_ref() == Some(content) {
                continue;
            }
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, content)?;
        }
        Self::build(copy)
    }

    fn build(root: PathBuf) -> io::Result<Self> {
        let begin = Instant::now();
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let mut command = Command::new(cargo);
        // What this test was told of its own package would have crates built anew that look at it.
        let own =
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "OUT_DIR"];
        for (variable, _) in std::env::vars().filter(|(name, _)| own.iter().any(|own| name.starts_with(own)))
        {
            command.env_remove(variable);
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        command.current_dir(&root).env("CARGO_TARGET_DIR", target);
        // For the whole workspace, as the tests are built: third-party crates are there already.
        command.args(["test", "--workspace", "--no-run", "--locked", "--offline"]);
        command.args([
            "--test",
            "simulation",
            "--test",
            "units",
            "--message-format",
            "json-render-diagnostics",
        ]);
        let output = command.stderr(std::process::Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(io::Error::other("the copy with the planted bugs does not build"));
        }
        let lines = output.stdout.split(|byte| *byte == b'\n');
        let programs = lines.filter_map(|line| {
            let message: Value = serde_json::from_slice(line).ok()?;
            let program = message.get("executable")?.as_str()?;
            Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(program)))
        });
        Ok(Self { root, programs: programs.collect(), seconds: begin.elapsed().as_secs_f64() })
    }

    /// The program of a target.
    pub fn program(&self, target: &str) -> &Path {
        &self.programs[target]
    }
}
