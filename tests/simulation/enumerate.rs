//! Every single fault at every call of every transition.

use crate::coverage::Coverage;
use crate::faults::{Fault, Site};
use crate::known;
use crate::run::{JANE, Outcome, Stage, jane, simulate};
use memorialstream_operator::api::spec::{State, Via};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A transition: what it begins from, and what people do then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transition {
    Create,
    GoLive,
    Take,
    End,
    Delete,
}

impl Transition {
    const ALL: [Self; 5] = [Self::Create, Self::GoLive, Self::Take, Self::End, Self::Delete];

    async fn prepare(self, stage: &mut Stage, via: Via) {
        let from = match self {
            Self::Create => return,
            Self::GoLive => State::Idle,
            Self::Take | Self::End | Self::Delete => State::Live,
        };
        stage.make_jane(from, via);
        stage.reaches(from, 120_000).await.expect("where it begins");
    }

    /// Returns once it is done, in a world where nothing fails; or after a while.
    async fn act(self, stage: &mut Stage, via: Via) {
        match self {
            Self::Create => {
                stage.make_jane(State::Idle, via);
                stage.reaches(State::Idle, 30_000).await;
            }
            Self::GoLive => {
                stage.land().ask(JANE, State::Live);
                stage.reaches(State::Live, 60_000).await;
            }
            Self::Take => {
                stage.land().take(JANE, "lectern");
                stage.pass_time(4_000).await;
            }
            Self::End => {
                stage.land().ask(JANE, State::Ended);
                stage.reaches(State::Ended, 60_000).await;
            }
            Self::Delete => {
                stage.land().discard(JANE);
                stage.until(60_000, |land| !land.cluster.objects.contains_key(&jane())).await;
            }
        }
    }
}

/// Which calls there are when nothing fails: the number of the first, and the sites.
fn calls(transition: Transition, via: Via) -> (u64, Vec<Site>) {
    let found = Mutex::new((0, Vec::new()));
    simulate(1, |mut stage| async {
        transition.prepare(&mut stage, via).await;
        let first = {
            let mut land = stage.land();
            land.faults.record = Some(Vec::new());
            land.faults.point
        };
        transition.act(&mut stage, via).await;
        *found.lock().unwrap() = (first, stage.land().faults.record.take().unwrap());
        stage
    });
    found.into_inner().unwrap()
}

fn with_fault(transition: Transition, via: Via, point: u64, fault: Fault, kept: bool) -> Outcome {
    let passes = Mutex::new(0);
    let outcome = simulate(1, |mut stage| async {
        stage.land().log.kept = kept;
        transition.prepare(&mut stage, via).await;
        stage.land().faults.at(point, fault);
        transition.act(&mut stage, via).await;
        // Whether it then keeps still is looked at after every sixth: that takes the longest.
        let quiet = if point.is_multiple_of(6) { 12 } else { 0 };
        *passes.lock().unwrap() = stage.settle(quiet).await;
        stage
    });
    Outcome { passes: passes.into_inner().unwrap(), ..outcome }
}

/// Every so many of the faults is tried: all of them take long in a debug build. `ENUMERATE_STRIDE=1` tries each.
fn stride() -> usize {
    std::env::var("ENUMERATE_STRIDE").ok().map_or(16, |text| text.parse().expect("a number"))
}

/// `ENUMERATE_ONLY=Create,LiveKit,CreateStream,ReplyLost` tries that fault alone, at each such call of that transition.
fn is_chosen(name: &str) -> bool {
    std::env::var("ENUMERATE_ONLY").map_or(true, |only| only.starts_with(name))
}

/// The runs of one transition, on as many threads as there are cores.
fn all(transition: Transition, via: Via) -> (usize, Vec<(u64, Site, Fault, Outcome)>) {
    let (first, sites) = calls(transition, via);
    let runs: Vec<(u64, Site, Fault)> = (first..)
        .zip(&sites)
        .flat_map(|(point, site)| site.faults().into_iter().map(move |fault| (point, *site, fault)))
        .filter(|(_, site, fault)| is_chosen(&format!("{transition:?},{via:?},{site:?},{fault:?}")))
        .step_by(stride())
        .collect();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            threads.spawn(|| {
                while let Some((point, site, fault)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = with_fault(transition, via, *point, *fault, false);
                    outcomes.lock().unwrap().push((*point, *site, *fault, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by_key(|(point, _, fault, _)| (*point, *fault));
    (sites.len(), outcomes)
}

#[test]
fn every_single_fault_at_every_call_of_every_transition_is_survived() {
    let mut coverage = Coverage::default();
    let (mut wrong, mut largest) = (Vec::new(), (0, String::new()));
    let mut by_kind: BTreeMap<String, usize> = BTreeMap::new();
    for via in [Via::LiveKit, Via::Compositor] {
        for transition in Transition::ALL.into_iter().filter(|one| is_chosen(&format!("{one:?},{via:?},"))) {
            let (points, outcomes) = all(transition, via);
            let place = format!("{transition:?} via {via:?}");
            println!("{place}: {points} calls, {} faults", outcomes.len());
            for (point, site, fault, outcome) in outcomes {
                coverage.add(&outcome.coverage);
                if outcome.passes > largest.0 {
                    largest = (outcome.passes, format!("{place}: {fault:?} at {site:?}, point {point}"));
                }
                for violation in known::enforced(&outcome.violations) {
                    wrong.push(format!("{place}: {fault:?} at {site:?}, point {point}: {violation}"));
                }
                for violation in &outcome.violations {
                    *by_kind
                        .entry(format!("{:?}: {place}: {fault:?} at {site:?}", violation.invariant))
                        .or_default() += 1;
                }
            }
        }
    }
    println!("largest B: {} passes, {}", largest.0, largest.1);
    for (kind, count) in by_kind {
        println!("{count:>5} {kind}");
    }
    assert!(
        wrong.is_empty(),
        "{} violations, the first:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

/// `POINT=GoLive,LiveKit,123,CrashAfter cargo test --test simulation one_fault -- --nocapture --ignored`
#[test]
#[ignore = "plays one fault back"]
fn one_fault() {
    let point = std::env::var("POINT").expect("POINT");
    let parts: Vec<&str> = point.split(',').collect();
    let transition =
        Transition::ALL.into_iter().find(|one| format!("{one:?}") == parts[0]).expect("a transition");
    let via = if parts[1] == "LiveKit" { Via::LiveKit } else { Via::Compositor };
    let point: u64 = parts[2].parse().expect("a point");
    let fault =
        Site::ALL.iter().flat_map(|site| site.faults()).find(|fault| format!("{fault:?}") == parts[3]);
    let outcome = with_fault(transition, via, point, fault.expect("a fault"), true);
    println!("{}", outcome.lines.join("\n"));
    println!("{:#?}", outcome.violations);
}
