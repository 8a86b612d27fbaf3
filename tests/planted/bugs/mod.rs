//! The bugs, as what they change in `src` and what must catch them.

mod findings;
mod others;
mod rare;

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
    findings::ALL.iter().chain(others::ALL).chain(rare::ALL).cloned().collect()
}
