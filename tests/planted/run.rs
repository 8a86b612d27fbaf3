//! One run of what must catch a bug.

use crate::bugs::Check;
use crate::copy::Copy;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Seconds of processor time; the slowest check takes a tenth of that. A loop without end spends them.
pub const LIMIT: u64 = 120;
/// What stands still spends none of them. Counted in looks, for whoever stops this test stops its clock too.
const STANDS_STILL: Duration = Duration::from_secs(300);
const LOOKS_EVERY: Duration = Duration::from_millis(5);
/// Bytes: nothing that grows without end may take the machine with it.
const MEMORY: u64 = 8 << 30;
/// The signal of a process that spent its time.
const SIGXCPU: i32 = 24;

/// Runs `job` for each number below `count`, on every core.
pub fn on_every_core<T: Send>(count: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            threads.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let one = job(number);
                    done.lock().unwrap().insert(number, one);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

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
            Self::TimedOut => write!(formatter, "did not end in time"),
        }
    }
}

/// A program of the copy, which may take so many seconds of processor time.
pub fn program(copy: &Copy, target: &str, seconds: u64) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(format!("--cpu={seconds}:{}", seconds + 10)).arg(format!("--as={MEMORY}"));
    command.arg(copy.program(target)).current_dir(&copy.root).env("RUST_BACKTRACE", "0");
    for variable in ["FINDING", "ENUMERATE_ONLY", "ENUMERATE_STRIDE", "PLANTED", "REACHED", "SEED"] {
        command.env_remove(variable);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Runs a check with these variables, of which `PLANTED` names a bug.
pub fn run(copy: &Copy, check: Check, variables: &[(&str, String)], limit: u64) -> Ran {
    let target = if matches!(check, Check::Unit(_)) { "units" } else { "simulation" };
    let mut command = program(copy, target, limit);
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
    command.args(["--exact", test]).envs(variables.iter().cloned());
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
    let mut waited = Duration::ZERO;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if waited > STANDS_STILL => {
                child.kill().unwrap();
                child.wait().unwrap();
                return Ran::TimedOut;
            }
            Ok(None) => {
                std::thread::sleep(LOOKS_EVERY);
                waited += LOOKS_EVERY;
            }
            Err(error) => return Ran::Broke { words: error.to_string() },
        }
    };
    if status.signal() == Some(SIGXCPU) {
        return Ran::TimedOut;
    }
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
