//! What came of each mutant, written down at once: a run that was stopped goes on where it was.

use super::listed::Mutant;
use crate::bugs::Check;
use crate::copy::digest;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What came of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Why it is not in the copy.
    Absent(String),
    /// By which test.
    CaughtByUnit(String),
    CaughtBySimulation(String),
    Survived,
}

impl Verdict {
    pub fn of(caught_by: Option<Check>) -> Self {
        match caught_by {
            Some(Check::Unit(test)) => Self::CaughtByUnit(test.to_owned()),
            Some(Check::Test(test)) => Self::CaughtBySimulation(test.to_owned()),
            Some(Check::Finding(number)) => Self::CaughtBySimulation(format!("finding {number}")),
            Some(Check::Fault(fault)) => Self::CaughtBySimulation(format!("fault {fault}")),
            None => Self::Survived,
        }
    }

    /// For counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Absent(_) => "not planted",
            Self::CaughtByUnit(_) => "caught by unit tests",
            Self::CaughtBySimulation(_) => "caught by the simulation",
            Self::Survived => "survived",
        }
    }

    fn read(word: &str, by: &str) -> Option<Self> {
        Some(match word {
            "absent" => Self::Absent(by.to_owned()),
            "unit" => Self::CaughtByUnit(by.to_owned()),
            "simulation" => Self::CaughtBySimulation(by.to_owned()),
            "survived" => Self::Survived,
            _ => return None,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(why) => write!(formatter, "absent\t{why}"),
            Self::CaughtByUnit(test) => write!(formatter, "unit\t{test}"),
            Self::CaughtBySimulation(test) => write!(formatter, "simulation\t{test}"),
            Self::Survived => write!(formatter, "survived\t"),
        }
    }
}

/// One line each: digest of the sources, verdict, what caught it, and the mutant's name.
pub struct Results {
    pub path: PathBuf,
    digest: String,
    file: File,
    /// Of these sources, by name.
    known: Mutex<BTreeMap<String, Verdict>>,
    /// When they were tried last, of whatever sources.
    last: BTreeMap<String, Verdict>,
}

impl Results {
    pub fn open() -> io::Result<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("mutants.tsv");
        let digest = format!("{:016x}", digest()?);
        let (mut known, mut last) = (BTreeMap::new(), BTreeMap::new());
        for line in fs::read_to_string(&path).unwrap_or_default().lines() {
            let [of, word, by, name] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
            let Some(verdict) = Verdict::read(word, by) else { continue };
            if of == digest {
                known.insert(name.to_owned(), verdict.clone());
            }
            last.insert(name.to_owned(), verdict);
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Self { path, digest, file, known: Mutex::new(known), last })
    }

    /// What came of it, of these sources.
    pub fn known(&self, mutant: &Mutant) -> Option<Verdict> {
        self.known.lock().unwrap().get(&mutant.name).cloned()
    }

    /// What came of it last.
    pub fn last(&self, mutant: &Mutant) -> Option<&Verdict> {
        self.last.get(&mutant.name)
    }

    /// Writes down what came of it, unless that is known.
    pub fn write(&self, mutant: &Mutant, verdict: Verdict) -> io::Result<()> {
        let mut known = self.known.lock().unwrap();
        if !known.contains_key(&mutant.name) {
            let line = format!("{}\t{verdict}\t{}\n", self.digest, mutant.name);
            (&self.file).write_all(line.as_bytes())?;
            known.insert(mutant.name.clone(), verdict);
        }
        Ok(())
    }
}
