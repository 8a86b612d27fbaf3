//! One run of what must catch a bug.

use crate::bugs::Check;
use crate::copy::Copy;
use std::fmt;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The slowest check takes a tenth of that.
const LIMIT: Duration = Duration::from_secs(120);

/// What came of a run.
#[derive(Debug)]
pub enum Ran {
    Passed {
        seconds: f64,
    },
    /// An assertion failed; its words.
    Failed {
        seconds: f64,
        words: String,
    },
    /// It ended in another way, or ran nothing.
    Broke {
        words: String,
    },
    TimedOut,
}

impl Ran {
    /// An assertion failed that speaks of `seen_as`; only the line that does is kept.
    pub fn is_caught_as(&mut self, seen_as: &str) -> bool {
        let Self::Failed { words, .. } = self else { return false };
        let line = words.lines().find(|line| line.contains(seen_as)).map(|line| line.trim().to_owned());
        line.map(|line| *words = line).is_some()
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { seconds } => write!(formatter, "passes ({seconds:.1} s)"),
            Self::Failed { seconds, words } => write!(formatter, "{words} ({seconds:.1} s)"),
            Self::Broke { words } => write!(formatter, "broke: {words}"),
            Self::TimedOut => write!(formatter, "took longer than {} s", LIMIT.as_secs()),
        }
    }
}

fn command(copy: &Copy, check: Check) -> Command {
    let target = if matches!(check, Check::Unit(_)) { "units" } else { "simulation" };
    let mut command = Command::new(copy.program(target));
    for variable in ["FINDING", "ENUMERATE_ONLY", "ENUMERATE_STRIDE", "PLANTED", "SEED"] {
        command.env_remove(variable);
    }
    let test = match check {
        Check::Finding(number) => {
            command.env("FINDING", number.to_string());
            "probes::each_finding_is_found_until_it_is_mended"
        }
        Check::Fault(fault) => {
            command.env("ENUMERATE_ONLY", fault).env("ENUMERATE_STRIDE", "1");
            "enumerate::every_single_fault_at_every_call_of_every_transition_is_survived"
        }
        Check::Test(test) | Check::Unit(test) => test,
    };
    command.current_dir(&copy.root).args(["--exact", test]).env("RUST_BACKTRACE", "0");
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Runs a check, with or without a bug.
pub fn run(copy: &Copy, check: Check, bug: Option<usize>) -> Ran {
    let mut command = command(copy, check);
    if let Some(bug) = bug {
        command.env("PLANTED", bug.to_string());
    }
    let begin = Instant::now();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ran::Broke { words: error.to_string() },
    };
    let mut pipe = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begin.elapsed() > LIMIT => {
                child.kill().unwrap();
                child.wait().unwrap();
                return Ran::TimedOut;
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Ran::Broke { words: error.to_string() },
        }
    };
    let seconds = begin.elapsed().as_secs_f64();
    let text = reader.join().unwrap().unwrap();
    if status.success() && text.contains("\nrunning 1 test\n") {
        return Ran::Passed { seconds };
    }
    match failed(check, &text) {
        Some(words) if text.contains("test result: FAILED. 0 passed; 1 failed") => {
            Ran::Failed { seconds, words }
        }
        _ => Ran::Broke { words: format!("{status}: {}", text.lines().last().unwrap_or_default()) },
    }
}

/// The words of the first panic in a test: not of one in the operator, which is no assertion.
fn failed(check: Check, text: &str) -> Option<String> {
    let tests = if matches!(check, Check::Unit(_)) { "src/" } else { "tests/simulation/" };
    let panics = text.split(" panicked at ").skip(1);
    let words = panics.filter(|panic| panic.starts_with(tests)).find_map(|panic| panic.split_once(":\n"))?.1;
    let ends = ["\nnote: ", "\nthread '", "\nfailures:"];
    let end = ends.iter().filter_map(|end| words.find(end)).min().unwrap_or(words.len());
    Some(words[..end].to_owned())
}
