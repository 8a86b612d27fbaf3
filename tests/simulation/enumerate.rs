//! Every single fault at every call of every transition.

use crate::coverage::Coverage;
use crate::faults::{Fault, Party, Site};
use crate::land::Land;
use crate::run::{JANE, LIVEKIT, Outcome, Stage, cores, jane, say, simulate};
use memorialstream_operator::api::spec::{Limits, MuxSettings, State, Via};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

/// A transition: what it begins from, and what people or the world do then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transition {
    Create,
    GoLive,
    Take,
    /// A setting of the stream changes.
    Retune,
    /// The compositor's pod is gone.
    PodDies,
    /// What sends to Mux dies.
    SenderDies,
    End,
    Delete,
    /// Deleted while Mux is silent, and then abandoned.
    Abandon,
    /// Off air again, and ready to go on.
    StandDown,
    /// After its end, the next session.
    NextSession,
    /// `limits.liveMinutes` is over.
    LimitStrikes,
    /// Somebody gives the stream another key.
    KeyIsReset,
    /// Somebody deletes the stream.
    StreamIsDeleted,
    /// A tool takes away what a person said, just after it was said.
    WordIsTaken,
}

const VIAS: [Via; 2] = [Via::LiveKit, Via::Compositor];

impl Transition {
    pub const ALL: [Self; 15] = [
        Self::Create,
        Self::GoLive,
        Self::Take,
        Self::Retune,
        Self::PodDies,
        Self::SenderDies,
        Self::End,
        Self::Delete,
        Self::Abandon,
        Self::StandDown,
        Self::NextSession,
        Self::LimitStrikes,
        Self::KeyIsReset,
        Self::StreamIsDeleted,
        Self::WordIsTaken,
    ];

    async fn prepare(self, stage: &mut Stage, via: Via) {
        let from = match self {
            Self::Create => return,
            Self::GoLive => State::Idle,
            _ => State::Live,
        };
        stage.make_jane(from, via);
        if self == Self::LimitStrikes {
            let limits = Limits { live_minutes: Some(5), standby_minutes: None };
            stage.land().say(JANE, |spec| spec.limits = Some(limits));
        }
        stage.reaches(from, 120_000).await.expect("where it begins");
        if self == Self::LimitStrikes {
            // Nearly five minutes go by at once.
            stage.land().clock_step += 280_000;
            let left = 16_000_u64.saturating_sub(stage.land().now);
            stage.pass_time(left).await;
        }
        if self == Self::NextSession {
            stage.land().ask(JANE, State::Ended);
            stage.reaches(State::Ended, 60_000).await.expect("its first end");
        }
        if self == Self::Abandon {
            stage.land().faults.silent.insert(Party::Mux, u64::MAX);
            stage.land().discard(JANE);
            stage.pass_time(90_000).await;
        }
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
            Self::Retune => {
                stage.land().say(JANE, |spec| {
                    spec.mux =
                        Some(MuxSettings { reconnect_window_seconds: Some(240), ..MuxSettings::default() });
                });
                let updated = |land: &mut Land| land.coverage.actions.contains_key("UpdateStream");
                stage.until(30_000, updated).await;
                stage.pass_time(2_000).await;
            }
            Self::PodDies => {
                let pods = stage.land().pods_of(JANE);
                pods.iter().for_each(|pod| stage.land().kill_pod(pod));
                stage.pass_time(10_000).await;
                stage.reaches(State::Live, 60_000).await;
            }
            Self::SenderDies => {
                match via {
                    Via::LiveKit => stage.land().kill_worker(LIVEKIT, 0),
                    Via::Compositor => stage.land().cut_all_senders(),
                }
                stage.pass_time(12_000).await;
                stage.reaches(State::Live, 60_000).await;
            }
            Self::End => {
                stage.land().ask(JANE, State::Ended);
                stage.reaches(State::Ended, 60_000).await;
            }
            Self::Delete => {
                stage.land().discard(JANE);
                stage.until(60_000, |land| !land.cluster.objects.contains_key(&jane())).await;
            }
            Self::StandDown => {
                stage.land().ask(JANE, State::Standby);
                stage.reaches(State::Standby, 60_000).await;
            }
            Self::NextSession => {
                stage.land().say(JANE, |spec| {
                    spec.session = Some(2);
                    spec.state = Some(State::Live);
                });
                stage.reaches(State::Live, 60_000).await;
            }
            Self::LimitStrikes => drop(stage.reaches(State::Ended, 60_000).await),
            Self::KeyIsReset => {
                stage.land().somebody_resets_the_key(JANE);
                stage.pass_time(12_000).await;
                stage.reaches(State::Live, 60_000).await;
            }
            Self::StreamIsDeleted => {
                stage.land().somebody_deletes_the_stream(JANE);
                stage.pass_time(12_000).await;
                stage.reaches(State::Live, 60_000).await;
            }
            Self::WordIsTaken => {
                let asked_at = stage.land().now;
                stage.land().ask(JANE, State::Ended);
                stage.pass_time(1_000).await;
                // Where no operator runs, nobody hears it.
                let up_since = stage.land().watch.up_since;
                if up_since.is_some_and(|since| since < asked_at) {
                    stage.land().strip(JANE, |spec| spec.state = None);
                }
                stage.reaches(State::Ended, 60_000).await;
            }
            Self::Abandon => {
                stage.land().abandon(&jane());
                stage.until(60_000, |land| !land.cluster.objects.contains_key(&jane())).await;
            }
        }
    }
}

/// One fault at one call of a transition.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub transition: Transition,
    pub via: Via,
    pub point: u64,
    pub site: Site,
    pub fault: Fault,
}

/// Which calls there are when nothing fails: the number of the first, and the sites.
pub fn calls(transition: Transition, via: Via) -> (u64, Vec<Site>) {
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

/// Plays a transition with these faults at these calls, until the world is as the manifest says.
pub fn with_faults(transition: Transition, via: Via, faults: &[(u64, Fault)], kept: bool) -> Outcome {
    let passes = Mutex::new(0);
    let outcome = simulate(1, |mut stage| async {
        stage.land().log.kept = kept;
        transition.prepare(&mut stage, via).await;
        for (point, fault) in faults {
            stage.land().faults.at(*point, *fault);
        }
        transition.act(&mut stage, via).await;
        // Whether it then keeps still is looked at after every twelfth: that takes the longest.
        let quiet = if faults.iter().all(|(point, _)| point.is_multiple_of(12)) { 12 } else { 0 };
        *passes.lock().unwrap() = stage.settle(quiet).await;
        stage
    });
    Outcome { passes: passes.into_inner().unwrap(), ..outcome }
}

/// Every so many of the faults is tried; all of them, unless somebody is in a hurry.
fn stride() -> usize {
    std::env::var("ENUMERATE_STRIDE").ok().map_or(1, |text| text.parse().expect("a number"))
}

/// `ENUMERATE_ONLY=Create,LiveKit,CreateStream,ReplyLost` tries that fault alone, at each such call of that transition;
/// `ENUMERATE_ONLY=Create,` the transition alone.
fn is_chosen(name: &str) -> bool {
    std::env::var("ENUMERATE_ONLY").map_or(true, |only| only.starts_with(name) || name.starts_with(&only))
}

/// Whether nothing is left out.
pub fn is_complete() -> bool {
    stride() == 1 && std::env::var_os("ENUMERATE_ONLY").is_none()
}

/// What came of all runs.
#[derive(Default)]
pub struct Enumerated {
    pub coverage: Coverage,
    /// Calls of each transition.
    calls: BTreeMap<(Transition, String), usize>,
    /// Runs by transition and kind of fault.
    runs: BTreeMap<(Transition, String), BTreeMap<Fault, usize>>,
    largest: (u64, String),
    /// How often which invariant was broken where.
    broken: BTreeMap<String, usize>,
    wrong: Vec<String>,
    tried: usize,
    seconds: u64,
}

impl Enumerated {
    fn add(&mut self, run: &Run, outcome: &Outcome) {
        let Run { transition, via, point, site, fault } = *run;
        let kinds = self.runs.entry((transition, format!("{via:?}"))).or_default();
        *kinds.entry(fault).or_default() += 1;
        self.coverage.add(&outcome.coverage);
        let place = format!("{transition:?} via {via:?}: {fault:?} at {site:?}");
        if outcome.passes > self.largest.0 {
            self.largest = (outcome.passes, format!("{place}, point {point}"));
        }
        for violation in &outcome.violations {
            *self.broken.entry(format!("{:?}: {place}", violation.invariant)).or_default() += 1;
        }
        for violation in &outcome.violations {
            let told = format!("{place}, point {point}: {violation}");
            println!("{told}");
            self.wrong.push(told);
        }
        self.tried += 1;
        if self.tried.is_multiple_of(1000) {
            println!("{} single faults tried", self.tried);
        }
    }
}

/// All of them, on every core; once for all tests that want to know.
pub fn enumerated() -> &'static Enumerated {
    static ENUMERATED: OnceLock<Enumerated> = OnceLock::new();
    ENUMERATED.get_or_init(|| {
        let _all = cores();
        let begin = Instant::now();
        let mut sum = Enumerated::default();
        let mut runs = Vec::new();
        for via in VIAS {
            for transition in
                Transition::ALL.into_iter().filter(|one| is_chosen(&format!("{one:?},{via:?},")))
            {
                let (first, sites) = calls(transition, via);
                sum.calls.insert((transition, format!("{via:?}")), sites.len());
                for (point, site) in (first..).zip(sites) {
                    let faults = site.faults().into_iter();
                    runs.extend(faults.map(|fault| Run { transition, via, point, site, fault }));
                }
            }
        }
        let chosen = |run: &Run| {
            let Run { transition, via, site, fault, .. } = run;
            is_chosen(&format!("{transition:?},{via:?},{site:?},{fault:?}"))
        };
        let runs: Vec<Run> = runs.into_iter().filter(chosen).step_by(stride()).collect();
        println!("{} single faults are tried", runs.len());
        let (next, sum) = (AtomicUsize::new(0), Mutex::new(sum));
        std::thread::scope(|threads| {
            for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
                threads.spawn(|| {
                    while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let outcome = with_faults(run.transition, run.via, &[(run.point, run.fault)], false);
                        sum.lock().unwrap().add(run, &outcome);
                    }
                });
            }
        });
        let mut sum = sum.into_inner().unwrap();
        sum.wrong.sort();
        sum.seconds = begin.elapsed().as_secs();
        sum
    })
}

#[test]
fn every_single_fault_at_every_call_of_every_transition_is_survived() {
    let Enumerated { calls, runs, largest, broken, wrong, seconds, .. } = enumerated();
    let mut kinds: BTreeMap<Fault, usize> = BTreeMap::new();
    for ((transition, via), found) in runs {
        let tried: usize = found.values().sum();
        let each: Vec<String> = found.iter().map(|(fault, count)| format!("{fault:?} {count}")).collect();
        let calls = calls[&(*transition, via.clone())];
        println!("{transition:?} via {via}: {calls} calls, {tried} faults: {}", each.join(", "));
        found.iter().for_each(|(fault, count)| *kinds.entry(*fault).or_default() += count);
    }
    let each: Vec<String> = kinds.iter().map(|(fault, count)| format!("{fault:?} {count}")).collect();
    let all: usize = kinds.values().sum();
    say(format_args!("{all} single faults in {seconds} s: {}", each.join(", ")));
    say(format_args!("largest B of them: {} passes, {}", largest.0, largest.1));
    for (kind, count) in broken {
        println!("{count:>5} {kind}");
    }
    assert!(
        wrong.is_empty(),
        "{} violations, the first:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
}

/// `POINT=GoLive,LiveKit,123,CrashAfter cargo test --test simulation one_fault -- --nocapture --ignored`. Several faults
/// go on with `,point,fault`.
#[test]
#[ignore = "plays one fault back"]
fn one_fault() {
    let point = std::env::var("POINT").expect("POINT");
    let parts: Vec<&str> = point.split(',').collect();
    let transition =
        Transition::ALL.into_iter().find(|one| format!("{one:?}") == parts[0]).expect("a transition");
    let via = if parts[1] == "LiveKit" { Via::LiveKit } else { Via::Compositor };
    let named = |name: &str| {
        let mut all = Site::ALL.iter().flat_map(|site| site.faults());
        all.find(|fault| format!("{fault:?}") == name).expect("a fault")
    };
    let faults: Vec<(u64, Fault)> =
        parts[2..].chunks(2).map(|pair| (pair[0].parse().expect("a point"), named(pair[1]))).collect();
    let outcome = with_faults(transition, via, &faults, true);
    println!("{}", outcome.lines.join("\n"));
    println!("{:#?}", outcome.violations);
}
