//! The tests of which one must fail for each mutant: which mutants each of them reaches, and in which order they are asked.

use crate::bugs::{self, Check};
use crate::copy::Copy;
use crate::run::{Ran, on_every_core, program, run};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

/// What takes long, or is about the simulation itself. The findings are tried one by one: those that catch a planted bug.
const LEFT_OUT: [&str; 8] = [
    "each_finding",
    "every_single_fault",
    "everything_that_can_happen",
    "nobody_waits",
    "played_back",
    "random_schedules",
    "the_same_seed",
    "what_goes_wrong_is_told",
];
/// Seconds of processor time, without a mutant.
const SOUND: u64 = 600;

/// A test.
pub struct Trial {
    check: Check,
    seconds: f64,
    /// The mutants whose code it runs; no other can make it fail.
    reaches: BTreeSet<usize>,
    /// How many it has caught.
    caught: AtomicUsize,
}

impl Trial {
    /// Runs it without a mutant, and sees what it reaches.
    fn sound(copy: &Copy, check: Check, number: usize) -> Result<Self, String> {
        let reached = copy.root.with_extension(format!("reached.{number}"));
        let ran = run(copy, check, &[("REACHED", reached.to_str().unwrap().to_owned())], SOUND);
        // There is none when nothing was reached.
        let text = fs::read_to_string(&reached).unwrap_or_default();
        let _ = fs::remove_file(&reached);
        let Ran::Passed { seconds } = ran else {
            return Err(format!("without a mutant {check:?} {ran}"));
        };
        let reaches = text.lines().map(|line| line.parse().unwrap()).collect();
        Ok(Self { check, seconds, reaches, caught: AtomicUsize::new(0) })
    }

    /// How soon it is asked: what has caught much in little time comes first.
    fn worth(&self) -> f64 {
        (self.caught.load(Ordering::Relaxed) + 1) as f64 / self.seconds.max(0.01)
    }

    fn catches(&self, copy: &Copy, number: usize) -> bool {
        let limit = 10 + 5 * self.seconds.ceil() as u64;
        let ran = run(copy, self.check, &[("PLANTED", number.to_string())], limit);
        let catches = !matches!(ran, Ran::Passed { .. });
        self.caught.fetch_add(usize::from(catches), Ordering::Relaxed);
        catches
    }
}

/// All of them; each must pass without a mutant.
pub struct Trials(Vec<Trial>);

impl Trials {
    pub fn of(copy: &Copy) -> io::Result<Self> {
        let catches = bugs::all().into_iter().map(|bug| bug.caught_by);
        let mut checks: BTreeSet<Check> =
            catches.filter(|check| matches!(check, Check::Finding(_))).collect();
        for (target, check) in [("units", Check::Unit as fn(_) -> _), ("simulation", Check::Test)] {
            let tests = tests(copy, target)?;
            let chosen = tests.into_iter().filter(|test| LEFT_OUT.iter().all(|word| !test.contains(word)));
            // For as long as this process.
            checks.extend(chosen.map(|test| check(Box::leak(test.into_boxed_str()))));
        }
        let checks: Vec<Check> = checks.into_iter().collect();
        let trials = on_every_core(checks.len(), |index| Trial::sound(copy, checks[index], index));
        trials.into_iter().collect::<Result<_, _>>().map(Self).map_err(io::Error::other)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether any test runs the code of that mutant.
    pub fn reach(&self, number: usize) -> bool {
        self.0.iter().any(|trial| trial.reaches.contains(&number))
    }

    /// What catches a mutant: a unit test, if any does.
    pub fn caught_by(&self, copy: &Copy, number: usize) -> Option<Check> {
        let mut trials: Vec<&Trial> = self.0.iter().filter(|trial| trial.reaches.contains(&number)).collect();
        let simulated = |trial: &Trial| !matches!(trial.check, Check::Unit(_));
        trials.sort_by(|one, other| {
            (simulated(one), other.worth()).partial_cmp(&(simulated(other), one.worth())).unwrap()
        });
        trials.into_iter().find(|trial| trial.catches(copy, number)).map(|trial| trial.check)
    }
}

/// The tests of a target that are not ignored.
fn tests(copy: &Copy, target: &str) -> io::Result<BTreeSet<String>> {
    let list = |arguments: &[&str]| -> io::Result<BTreeSet<String>> {
        let output = program(copy, target, SOUND).arg("--list").args(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    };
    Ok(&list(&[])? - &list(&["--ignored"])?)
}
