//! Small changes of what decides, as cargo-mutants finds them, one at a time: a test must see each of them, or
//! docs/mutants.md say why none does.

mod listed;
mod places;
mod plant;
mod results;
mod trials;

use self::listed::Mutant;
use self::plant::plant;
use self::results::{Results, Verdict};
use self::trials::Trials;
use crate::copy::root;
use crate::run::on_every_core;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// `MUTANTS=…` tries those alone whose name contains it, `MUTANTS=survived` those that none saw when they were tried last.
#[test]
#[ignore = "takes minutes: make mutants"]
fn every_mutant_is_caught_or_told_of() {
    let results = Results::open().unwrap();
    let mutants = listed::all().unwrap();
    println!(
        "{} mutants are listed; what comes of them is written to {}",
        mutants.len(),
        results.path.display()
    );
    let chosen = chosen(&mutants, &results);
    assert!(!chosen.is_empty(), "no mutant of that name");

    let mut absent = BTreeMap::new();
    for (number, mutant) in mutants.iter().enumerate() {
        if let Some(Verdict::Absent(why)) = results.known(mutant) {
            absent.insert(number, why);
        }
    }
    let copy = plant(&mutants, &mut absent).unwrap();
    println!("built in {:.0} s, without {} of them", copy.seconds, absent.len());
    for (number, why) in absent {
        results.write(&mutants[number], Verdict::Absent(why)).unwrap();
    }
    let begin = Instant::now();
    let trials = Trials::of(&copy).unwrap();
    println!("{} tests pass without a mutant, in {:.0} s", trials.count(), begin.elapsed().as_secs_f64());

    let tried = AtomicUsize::new(0);
    let verdicts = on_every_core(chosen.len(), |index| {
        let (number, mutant) = chosen[index];
        let verdict = results.known(mutant).unwrap_or_else(|| {
            let verdict = Verdict::of(trials.caught_by(&copy, number));
            results.write(mutant, verdict.clone()).unwrap();
            verdict
        });
        let nowhere = if trials.reach(number) { "" } else { "no test comes there" };
        let tried = tried.fetch_add(1, Ordering::Relaxed) + 1;
        let told = verdict.to_string().replace('\t', " ");
        println!(
            "{tried}/{} {}: {told}{}",
            chosen.len(),
            mutant.name,
            if verdict == Verdict::Survived { nowhere } else { "" }
        );
        verdict
    });

    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for ((_, mutant), verdict) in chosen.iter().zip(&verdicts) {
        *counts.entry((&mutant.file, verdict.kind())).or_default() += 1;
    }
    for ((file, kind), count) in counts {
        println!("{file}: {count} {kind}");
    }
    // As they stand in a table of Markdown.
    let told_of = fs::read_to_string(root().join("docs/mutants.md")).unwrap().replace("\\|", "|");
    let untold: Vec<&str> = chosen
        .iter()
        .zip(&verdicts)
        .filter(|(_, verdict)| **verdict == Verdict::Survived)
        .map(|((_, mutant), _)| mutant.name.as_str())
        .filter(|name| !told_of.contains(&format!("`{name}`")))
        .collect();
    assert!(untold.is_empty(), "{} that no test sees:\n{}", untold.len(), untold.join("\n"));
}

/// Those that are asked for, with their numbers.
fn chosen<'a>(mutants: &'a [Mutant], results: &Results) -> Vec<(usize, &'a Mutant)> {
    let only = std::env::var("MUTANTS").unwrap_or_default();
    let is_chosen = |mutant: &Mutant| match only.as_str() {
        "survived" => results.last(mutant) == Some(&Verdict::Survived),
        part => mutant.name.contains(part),
    };
    mutants.iter().enumerate().filter(|(_, mutant)| is_chosen(mutant)).collect()
}
