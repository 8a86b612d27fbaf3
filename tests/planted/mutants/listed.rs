//! What cargo-mutants would change: `.cargo/mutants.toml` says where.

use crate::copy::root;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};

/// A small change of the code.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// File and change, and the how manyth of its file that says so; without lines, which move.
    pub name: String,
    pub file: String,
    pub at: At,
    pub kind: Kind,
    /// What takes the place of what stands there.
    pub replacement: String,
}

/// Where it begins: line from 1 on, and character from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct At {
    pub line: usize,
    pub column: usize,
}

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Kind {
    /// A whole function.
    FnValue,
    BinaryOperator,
    /// It is left out.
    UnaryOperator,
    /// It is left out; a `_` takes over.
    MatchArm,
    MatchArmGuard,
    /// It is left out; the struct that is given as the base has it.
    StructField,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    file: String,
    span: Span,
    genre: Kind,
    replacement: String,
}

#[derive(Deserialize)]
struct Span {
    start: At,
}

/// All of them.
pub fn all() -> io::Result<Vec<Mutant>> {
    let mut command = Command::new("cargo-mutants");
    command.args(["mutants", "--list", "--json", "--package", "memorialstream-operator"]);
    let output = command.current_dir(root()).stderr(Stdio::inherit()).output()?;
    let listed: Vec<Listed> = serde_json::from_slice(&output.stdout)?;
    let mut alike: BTreeMap<String, usize> = BTreeMap::new();
    Ok(listed
        .into_iter()
        .map(|Listed { name, file, span, genre, replacement }| {
            let change = name.splitn(4, ':').last().unwrap_or_default().trim();
            let name = format!("{}: {change}", file.trim_start_matches("src/"));
            let count = alike.entry(name.clone()).or_default();
            *count += 1;
            let name = if *count > 1 { format!("{name} ({count})") } else { name };
            Mutant { name, file, at: span.start, kind: genre, replacement }
        })
        .collect())
}
