//! What takes too long for every change: `make soak`. Each part stops at the first violation, says how it is played back,
//! and can go on from where it was.

use crate::enumerate::{Run, Transition, calls, with_faults};
use crate::faults::{Fault, Site};
use crate::random::{many, number};
use crate::run::cores;
use memorialstream_operator::api::spec::Via;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often it says how far it is.
const TELLS: Duration = Duration::from_secs(10);

fn bound() -> Duration {
    Duration::from_secs(number("SOAK_SECONDS", 30 * 86_400))
}

/// `SOAK_SCHEDULES` (1,000,000) of them from seed `SEED` (1) on, for `SOAK_SECONDS` at most.
#[test]
#[ignore = "make soak"]
fn a_million_random_schedules_break_nothing() {
    let (first, most) = (number("SEED", 1), number("SOAK_SCHEDULES", 1_000_000));
    let (begin, told) = (Instant::now(), Mutex::new(Instant::now()));
    let sum = many(first, bound(), most, |sum| {
        let mut told = told.lock().unwrap();
        if told.elapsed() > TELLS {
            *told = Instant::now();
            let rate = sum.schedules as f64 / begin.elapsed().as_secs_f64();
            // Some that began earlier may not be over.
            let seed = (first + sum.schedules).saturating_sub(16).max(first);
            println!("{} of {most} schedules, {rate:.1} a second; SEED={seed} goes on", sum.schedules);
        }
        sum.wrong.is_empty()
    });
    sum.print(begin.elapsed());
    assert!(sum.wrong.is_empty(), "{:#?}", sum.wrong);
}

/// Both faults of a pair, the second at a call after the first one's. What the second strikes may be another call than in a
/// world where nothing fails.
struct Pairs {
    transition: Transition,
    via: Via,
    faults: Vec<(u64, Site, Fault)>,
    /// How many pairs there are in all transitions before this one.
    before: usize,
}

impl Pairs {
    fn all() -> (Vec<Self>, usize) {
        let mut before = 0;
        let mut all = Vec::new();
        for via in [Via::LiveKit, Via::Compositor] {
            for transition in Transition::ALL {
                let (first, sites) = calls(transition, via);
                let faults: Vec<_> = (first..)
                    .zip(sites)
                    .flat_map(|(point, site)| {
                        site.faults().into_iter().map(move |fault| (point, site, fault))
                    })
                    .collect();
                let count = faults.len() * faults.len();
                all.push(Self { transition, via, faults, before });
                before += count;
            }
        }
        (all, before)
    }

    /// The pair of this number; none where the second fault does not come after the first.
    fn pair(&self, number: usize) -> Option<(Run, Run)> {
        let count = self.faults.len();
        let run = |(point, site, fault): (u64, Site, Fault)| Run {
            transition: self.transition,
            via: self.via,
            point,
            site,
            fault,
        };
        let (one, other) = (run(self.faults[number / count]), run(self.faults[number % count]));
        (one.point < other.point).then_some((one, other))
    }
}

/// From pair `SOAK_PAIR` (0) on, each `SOAK_STRIDE`th (1), for `SOAK_SECONDS` at most.
#[test]
#[ignore = "make soak"]
fn every_pair_of_faults_is_survived() {
    let _all = cores();
    let (pairs, all) = Pairs::all();
    let stride = usize::try_from(number("SOAK_STRIDE", 1)).unwrap();
    let from = usize::try_from(number("SOAK_PAIR", 0)).unwrap();
    let (next, tried) = (AtomicUsize::new(from), AtomicUsize::new(0));
    let (begin, told) = (Instant::now(), Mutex::new(Instant::now()));
    let wrong: Mutex<Option<String>> = Mutex::default();
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            threads.spawn(|| {
                while begin.elapsed() < bound() && wrong.lock().unwrap().is_none() {
                    let number = next.fetch_add(stride, Ordering::Relaxed);
                    if number >= all {
                        break;
                    }
                    let among = pairs.iter().rfind(|pairs| pairs.before <= number).unwrap();
                    let Some((one, other)) = among.pair(number - among.before) else { continue };
                    let faults = [(one.point, one.fault), (other.point, other.fault)];
                    let outcome = with_faults(one.transition, one.via, &faults, false);
                    tried.fetch_add(1, Ordering::Relaxed);
                    if let Some(violation) = outcome.violations.first() {
                        let Run { transition, via, point, fault, site } = one;
                        wrong.lock().unwrap().get_or_insert(format!(
                            "pair {number}: {fault:?} at {site:?}, {:?} at {:?}: {violation:#?}\nPOINT={transition:?},{via:?},{point},{fault:?},{},{:?}",
                            other.fault, other.site, other.point, other.fault
                        ));
                    }
                    let mut told = told.lock().unwrap();
                    if told.elapsed() > TELLS {
                        *told = Instant::now();
                        let tried = tried.load(Ordering::Relaxed);
                        let rate = tried as f64 / begin.elapsed().as_secs_f64();
                        println!("{tried} pairs, {rate:.1} a second; SOAK_PAIR={number} of {all} goes on");
                    }
                }
            });
        }
    });
    let tried = tried.into_inner();
    let rate = tried as f64 / begin.elapsed().as_secs_f64();
    println!("{tried} pairs of faults, {rate:.1} a second");
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
}
