//! Small changes of what decides, as cargo-mutants finds them, one at a time: a test must see each of them, or
//! docs/mutants.md say why none does.

mod listed;
mod places;
mod plant;
mod results;
mod trials;

use self::plant::{Absent, plant};
use self::results::{Results, Verdict};
use self::trials::Trials;
use crate::copy::root;
use crate::run::on_every_core;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Names in a table of Markdown the mutants of which nobody needs to see anything.
fn are_told_of() -> String {
    std::fs::read_to_string(root().join("docs/mutants.md")).unwrap().replace("\\|", "|")
}

/// `MUTANTS=…` tries those alone whose name contains it, `MUTANTS=survived` those that none saw when they were tried last.
#[test]
#[ignore = "takes an hour: make mutants"]
fn every_mutant_is_caught_or_told_of() {
    let only = std::env::var("MUTANTS").unwrap_or_default();
    let results = Results::open().unwrap();
    let mutants = listed::all().unwrap();
    println!(
        "{} mutants are listed; what comes of them is written to {}",
        mutants.len(),
        results.path.display()
    );

    let mut absent = Absent::new();
    for (number, mutant) in mutants.iter().enumerate() {
        if let Some(Verdict::Absent(why)) = results.known.get(&mutant.name) {
            absent.insert(number, why.clone());
        }
    }
    let copy = plant(&mutants, &mut absent).unwrap();
    println!("built in {:.0} s, without {} of them", copy.seconds, absent.len());
    let begin = Instant::now();
    let trials = Trials::of(&copy).unwrap();
    println!("{} tests pass without a mutant, in {:.0} s", trials.count(), begin.elapsed().as_secs_f64());

    let chosen = |name: &str| match only.as_str() {
        "survived" => results.last.get(name) == Some(&Verdict::Survived),
        part => name.contains(part),
    };
    let chosen: Vec<(usize, &listed::Mutant)> =
        mutants.iter().enumerate().filter(|(_, mutant)| chosen(&mutant.name)).collect();
    assert!(!chosen.is_empty(), "no mutant of that name");
    let tried = AtomicUsize::new(0);
    let verdicts = on_every_core(chosen.len(), |index| {
        let (number, mutant) = chosen[index];
        let known = results.known.get(&mutant.name);
        let verdict = match (absent.get(&number), known) {
            (_, Some(known)) => known.clone(),
            (Some(why), None) => Verdict::Absent(why.clone()),
            (None, None) => Verdict::of(trials.caught_by(&copy, number)),
        };
        if known.is_none() {
            results.write(&mutant.name, &verdict).unwrap();
        }
        let reached = if trials.reach(number) { "" } else { " (no test comes there)" };
        let tried = tried.fetch_add(1, Ordering::Relaxed) + 1;
        println!(
            "{tried}/{} {}: {}{reached}",
            chosen.len(),
            mutant.name,
            verdict.to_string().replace('\t', " ")
        );
        verdict
    });

    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let (told_of, mut untold) = (are_told_of(), Vec::new());
    for ((_, mutant), verdict) in chosen.iter().zip(&verdicts) {
        let kind = match verdict {
            Verdict::Absent(_) => "not planted",
            Verdict::CaughtByUnit(_) => "caught by unit tests",
            Verdict::CaughtBySimulation(_) => "caught by the simulation",
            Verdict::Survived => "survived",
        };
        *counts.entry((mutant.file.as_str(), kind)).or_default() += 1;
        if *verdict == Verdict::Survived && !told_of.contains(&format!("`{}`", mutant.name)) {
            untold.push(mutant.name.as_str());
        }
    }
    for ((file, kind), count) in counts {
        println!("{file}: {count} {kind}");
    }
    assert!(untold.is_empty(), "{} that no test sees:\n{}", untold.len(), untold.join("\n"));
}
