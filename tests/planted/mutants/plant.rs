//! All mutants in one copy of the sources, each behind its number.

use super::listed::Mutant;
use super::places::{Edit, Places};
use crate::copy::{Copy, Refusal, Sources, sources, with_switch};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

/// How often what the compiler refuses is taken out. It tells of what is borrowed wrongly only once all types are right.
const ROUNDS: usize = 6;

/// Why mutants are not in the copy, by number.
pub type Absent = BTreeMap<usize, String>;

/// Where a mutant's own words stand in the copy, and all that it changed.
struct Stands {
    number: usize,
    own: Range<usize>,
    whole: Range<usize>,
}

/// Plants all that can be planted and builds. What `absent` names already is not tried; what cannot be planted and what the
/// compiler refuses is added to it.
pub fn plant(mutants: &[Mutant], absent: &mut Absent) -> io::Result<Copy> {
    let sources = sources()?;
    for _ in 0..ROUNDS {
        let (changed, stands) = planted(&sources, mutants, absent);
        let copy = Copy::make("mutants", with_switch(changed))?;
        if copy.refused.is_empty() {
            return Ok(copy);
        }
        for refusal in &copy.refused {
            let guilty = guilty(refusal, &stands);
            if guilty.is_empty() {
                return Err(io::Error::other(refusal.words.clone()));
            }
            let words = refusal.words.lines().next().unwrap_or_default();
            for number in guilty {
                absent.entry(number).or_insert_with(|| format!("does not compile: {words}"));
            }
        }
        println!("{} mutants are not planted", absent.len());
    }
    Err(io::Error::other("the compiler goes on refusing"))
}

/// The sources with the mutants in them, and by file where these stand.
fn planted(
    sources: &Sources,
    mutants: &[Mutant],
    absent: &mut Absent,
) -> (Sources, BTreeMap<String, Vec<Stands>>) {
    let (mut changed, mut stands) = (sources.clone(), BTreeMap::new());
    let files: BTreeSet<&String> = mutants.iter().map(|mutant| &mutant.file).collect();
    for file in files {
        let text = &sources[file];
        let places = Places::of(text).unwrap();
        let mut edits = Vec::new();
        for (number, mutant) in mutants.iter().enumerate().filter(|(_, mutant)| mutant.file == *file) {
            if absent.contains_key(&number) {
                continue;
            }
            match places.edit(mutant, number) {
                Ok(edit) => edits.push((number, edit)),
                Err(why) => {
                    absent.insert(number, format!("cannot be planted: {why}"));
                }
            }
        }
        let (text, all) = edited(text, edits);
        changed.insert(file.clone(), text);
        stands.insert(file.clone(), all);
    }
    (changed, stands)
}

/// The text with all edits, the wider ones around those within.
fn edited(text: &str, mut edits: Vec<(usize, Edit)>) -> (String, Vec<Stands>) {
    edits.sort_by_key(|(number, edit)| (edit.at.start, Reverse(edit.at.end), *number));
    let (mut out, mut at) = (String::new(), 0);
    let mut copy = |out: &mut String, to: usize| {
        out.push_str(&text[at..to]);
        at = to;
    };
    let (mut open, mut stands): (Vec<usize>, Vec<Stands>) = (Vec::new(), Vec::new());
    for index in 0..=edits.len() {
        let next = edits.get(index).map_or(usize::MAX, |(_, edit)| edit.at.start);
        while let Some(last) = open.pop_if(|last| edits[*last].1.at.end <= next) {
            let edit = &edits[last].1;
            copy(&mut out, edit.at.end);
            out.push_str(&edit.after);
            stands[last].whole.end = out.len();
        }
        copy(&mut out, next.min(text.len()));
        if let Some((number, edit)) = edits.get(index) {
            let own = out.len()..out.len() + edit.before.len();
            out.push_str(&edit.before);
            stands.push(Stands { number: *number, whole: own.clone(), own });
            open.push(index);
        }
    }
    (out, stands)
}

/// Of which mutants an error speaks: those in whose own words that stands, else the innermost around it.
fn guilty(refusal: &Refusal, stands: &BTreeMap<String, Vec<Stands>>) -> BTreeSet<usize> {
    let holds =
        |outer: &Range<usize>, inner: &Range<usize>| outer.start <= inner.start && inner.end <= outer.end;
    let named = refusal.places.iter().filter_map(|(file, at)| Some((stands.get(file)?, at)));
    let named: Vec<(&Stands, &Range<usize>)> =
        named.flat_map(|(all, at)| all.iter().map(move |one| (one, at))).collect();
    let own: BTreeSet<usize> =
        named.iter().filter(|(one, at)| holds(&one.own, at)).map(|(one, _)| one.number).collect();
    if !own.is_empty() {
        return own;
    }
    let around = named.iter().filter(|(one, at)| holds(&one.whole, at));
    around.min_by_key(|(one, _)| one.whole.len()).map(|(one, _)| one.number).into_iter().collect()
}
