//! The copy of the workspace into which bugs are planted, all of them at once: each is in force only when the environment
//! variable `PLANTED` names it, so one build serves all. No switch stands in the product's own code.

use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{fs, io};

/// By path from the workspace's root.
pub type Sources = BTreeMap<String, String>;

/// What is not the workspace's own.
const LEFT_OUT: [&str; 4] = [".git", "target", "node_modules", "demo-pictures"];
/// The version of the workspace's packages.
const VERSION: &str = "0.1.0";

const SWITCH: &str = r#"
/// Whether the bug of that number is in force. Each that is asked for is written, once, into the file that `REACHED` names.
pub(crate) fn planted(number: usize) -> bool {
    use std::sync::{LazyLock, Mutex};
    static IN_FORCE: LazyLock<Option<usize>> = LazyLock::new(|| std::env::var("PLANTED").ok()?.parse().ok());
    static REACHED: LazyLock<Option<Mutex<(std::fs::File, std::collections::BTreeSet<usize>)>>> =
        LazyLock::new(|| {
            let file = std::fs::File::create(std::env::var_os("REACHED")?).unwrap();
            Some(Mutex::new((file, Default::default())))
        });
    if let Some(reached) = &*REACHED {
        let (file, before) = &mut *reached.lock().unwrap();
        if before.insert(number) {
            std::io::Write::write_all(file, format!("{number}\n").as_bytes()).unwrap();
        }
    }
    *IN_FORCE == Some(number)
}
"#;

/// Programs of the copy, by the name of their target.
pub struct Copy {
    pub root: PathBuf,
    programs: BTreeMap<String, PathBuf>,
    /// What the compiler does not take; then there are no programs.
    pub refused: Vec<Refusal>,
    /// What the build took.
    pub seconds: f64,
}

/// An error of the compiler.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Files and bytes of which it speaks.
    pub places: Vec<(String, Range<usize>)>,
    pub words: String,
}

impl Refusal {
    fn read(message: &Value) -> Option<Self> {
        let spans = message["spans"].as_array()?.iter();
        let byte = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let places = spans.filter_map(|span| {
            Some((span["file_name"].as_str()?.into(), byte(&span["byte_start"])?..byte(&span["byte_end"])?))
        });
        let is_error = message["level"] == "error";
        let refusal = Self { places: places.collect(), words: message["rendered"].as_str()?.to_owned() };
        // The last one only counts the others.
        (is_error && !refusal.places.is_empty()).then_some(refusal)
    }
}

pub fn root() -> &'static Path {
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

/// The sources with what is planted in them, and the switch.
pub fn with_switch(mut sources: Sources) -> Sources {
    if let Some(library) = sources.get_mut("src/lib.rs") {
        *library = format!("#![allow(warnings)]\n{library}{SWITCH}");
    }
    sources
}

/// Of what the programs of the copy are made.
pub fn digest() -> io::Result<u64> {
    let mut digest = DefaultHasher::new();
    let mut files = files(root())?;
    files.sort();
    for path in files {
        let name = name(root(), &path);
        let is_source = name.ends_with(".rs") || name.ends_with("Cargo.toml") || name == "Cargo.lock";
        if is_source && (!name.starts_with("tests/") || name.starts_with("tests/simulation/")) {
            (name, fs::read(path)?).hash(&mut digest);
        }
    }
    Ok(digest.finish())
}

fn replaced(text: &str, old: &str, new: &str) -> io::Result<String> {
    match text.matches(old).count() {
        1 => Ok(text.replace(old, new)),
        count => Err(io::Error::other(format!("stands {count} times in a manifest: {old}"))),
    }
}

/// The manifest without the program, which no bug needs, and with the unit tests as one more test.
fn manifest(text: &str, own_version: &str) -> io::Result<String> {
    let version = |version: &str| format!("[workspace.package]\nversion = \"{version}\"\n");
    let text = replaced(text, &version(VERSION), &version(own_version))?;
    let text = replaced(&text, "default-run = \"memorialstream-operator\"\n", "autobins = false\n")?;
    Ok(text + "\n[[test]]\nname = \"units\"\npath = \"src/lib.rs\"\n")
}

fn lock(text: &str, own_version: &str) -> String {
    let mut packages: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
    for package in &mut packages {
        if package.contains("name = \"memorialstream-") && !package.contains("\nsource = ") {
            let version = |version: &str| format!("\nversion = \"{version}\"\n");
            *package = package.replace(&version(VERSION), &version(own_version));
        }
    }
    packages.join("\n\n")
}

impl Copy {
    /// Copies what is needed, with these sources, and builds. Files that stand there already as they must are left alone,
    /// so that cargo builds no more than has changed.
    pub fn make(copy: &str, sources: Sources) -> io::Result<Self> {
        // With the original's version, cargo would take the one's artefacts for the other's.
        let version = format!("{VERSION}-{copy}");
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(copy);
        let mut wanted: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for path in files(root())? {
            wanted.insert(name(root(), &path), fs::read(&path)?);
        }
        wanted.extend(sources.into_iter().map(|(name, text)| (name, text.into_bytes())));
        wanted.remove("src/main.rs");
        let text = |name: &str| fs::read_to_string(root().join(name));
        wanted.insert("Cargo.toml".into(), manifest(&text("Cargo.toml")?, &version)?.into_bytes());
        wanted.insert("Cargo.lock".into(), lock(&text("Cargo.lock")?, &version).into_bytes());
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
        command.args(["--test", "simulation", "--test", "units", "--message-format", "json"]);
        let output = command.stderr(Stdio::inherit()).output()?;
        let (mut programs, mut refused) = (BTreeMap::new(), Vec::new());
        for line in output.stdout.split(|byte| *byte == b'\n') {
            let Ok(message) = serde_json::from_slice::<Value>(line) else { continue };
            // Each is told of the library and of its unit tests.
            refused.extend(Refusal::read(&message["message"]).filter(|new| !refused.contains(new)));
            if let (Some(target), Some(program)) =
                (message["target"]["name"].as_str(), message["executable"].as_str())
            {
                programs.insert(target.to_owned(), PathBuf::from(program));
            }
        }
        if !output.status.success() && refused.is_empty() {
            return Err(io::Error::other("the copy does not build"));
        }
        let seconds = begin.elapsed().as_secs_f64();
        Ok(Self { root, programs, refused, seconds })
    }

    /// The program of a target.
    pub fn program(&self, target: &str) -> &Path {
        &self.programs[target]
    }
}
