//! The bugs, as what they change in `src` and what must catch them.

mod findings;
mod hostile;
mod others;
mod rare;

use crate::copy::{Sources, with_switch};
use std::collections::BTreeMap;

/// Stands in a bug's new text for whether it is in force.
const IN_FORCE: &str = "PLANTED";

/// A bug.
#[derive(Clone, Debug)]
pub struct Bug {
    /// What it does, as a sentence.
    pub name: &'static str,
    /// The finding that it was, when it was one: their numbers are those of `tests/simulation/probes.rs`.
    pub finding: Option<u32>,
    /// File, the words there, and other words. The old ones stand there exactly once; they are an expression or whole
    /// statements, and so are the new ones, which then take their place. Where they are not, the new ones hold the old ones
    /// too, and `PLANTED` where it is asked whether the bug is in force.
    pub places: &'static [(&'static str, &'static str, &'static str)],
    /// What must catch it.
    pub caught_by: Check,
    /// What is said of it then.
    pub seen_as: &'static str,
}

/// What catches a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The bad day of that finding, in the simulation.
    Finding(u32),
    /// One kind of fault in one transition of the simulation: transition, way out, call and fault.
    Fault(&'static str),
    /// A test of the simulation.
    Test(&'static str),
    /// A unit test: of what the simulation has a model for.
    Unit(&'static str),
}

/// All of them.
pub fn all() -> Vec<Bug> {
    findings::ALL.iter().chain(others::ALL).chain(rare::ALL).chain(hostile::ALL).cloned().collect()
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
    if problems.is_empty() { Ok(with_switch(whole)) } else { Err(problems) }
}
