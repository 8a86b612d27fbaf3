//! What came of each mutant, written down at once: a run that was stopped goes on where it was.

use crate::bugs::Check;
use crate::copy::digest;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
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
    digest: u64,
    file: Mutex<File>,
    /// Of these sources, by name.
    pub known: BTreeMap<String, Verdict>,
    /// Of the sources that were tried before, and of these.
    pub last: BTreeMap<String, Verdict>,
}

impl Results {
    pub fn open() -> io::Result<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("mutants.tsv");
        let digest = digest()?;
        let (mut known, mut last) = (BTreeMap::new(), BTreeMap::new());
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for line in text.lines() {
            let [of, word, by, name] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
            let Some(verdict) = Verdict::read(word, by) else { continue };
            if of == format!("{digest:016x}") {
                known.insert(name.to_owned(), verdict.clone());
            }
            last.insert(name.to_owned(), verdict);
        }
        let file = Mutex::new(OpenOptions::new().create(true).append(true).open(&path)?);
        Ok(Self { path, digest, file, known, last })
    }

    pub fn write(&self, name: &str, verdict: &Verdict) -> io::Result<()> {
        let line = format!("{:016x}\t{verdict}\t{name}\n", self.digest);
        self.file.lock().unwrap().write_all(line.as_bytes())
    }
}
