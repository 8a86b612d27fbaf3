//! Random schedules: people, the world and calls go wrong at random, from one seed.

use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::director::{Account, spec};
use crate::environment::WatchTrouble;
use crate::faults::{Fault, Party, Site};
use crate::invariants::{Invariant, Violation};
use crate::land::Land;
use crate::operator::SYSTEM;
use crate::run::{
    JANE, LIVEKIT, LIVEKIT_B, Outcome, Stage, TOKEN, TOKEN_B, cores, jane, operators_account, say, simulate,
};
use k8s_openapi::jiff::SignedDuration;
use memorialstream_compositor_protocol::RefusalReason;
use memorialstream_mux_model::{Settings, Unknowns};
use memorialstream_operator::api::spec::{
    DeletionPolicy, LatencyMode, Limits, MuxSettings, Schedule, Slate, State, StreamDeletion, Via, Video,
};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const STATES: [State; 4] = [State::Idle, State::Standby, State::Live, State::Ended];
const PARTIES: [Party; 5] = [Party::Kubernetes, Party::Mux, Party::LiveKit, Party::Pod, Party::Viewer];

const COMPLAINTS: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CrashLoopBackOff",
    "RunContainerError",
];

const REFUSALS: [RefusalReason; 3] =
    [RefusalReason::Malformed, RefusalReason::UnknownCamera, RefusalReason::PipelineNotRunning];

/// One schedule.
pub fn schedule(seed: u64, kept: bool) -> Outcome {
    let passes = Mutex::new(0);
    let outcome = simulate(seed, |mut stage| async {
        stage.land().log.kept = kept;
        let mut dice = Dice::new(seed ^ 0x5ced);
        let uids = begin(&stage, &mut dice);
        let bad_day = dice.below(4) > 0;
        for _ in 0..dice.between(4, 10) {
            let uid = *dice.pick(&uids);
            if bad_day && dice.chance(450) {
                environment(&stage, uid, &mut dice);
            } else {
                person(&mut stage.land(), uid, &mut dice);
            }
            let rates: &[u64] = if bad_day { &[0, 0, 0, 10, 60, 200] } else { &[0] };
            stage.land().faults.rate = *dice.pick(rates);
            stage.land().faults.crashes = bad_day;
            let wait = *dice.pick(&[300, 1_500, 4_000, 9_000, 15_000, 25_000]);
            stage.pass_time(wait).await;
        }
        if dice.chance(400) {
            for uid in &uids {
                stage.land().discard(uid);
            }
        }
        stage.land().faults.rate = if dice.chance(300) { 200 } else { 0 };
        let quiet = [(16, crate::bounds::QUIET_PASSES), (8, 8)];
        let quiet = quiet.iter().find(|(nth, _)| seed.is_multiple_of(*nth)).map_or(0, |(_, passes)| *passes);
        *passes.lock().unwrap() = stage.settle(quiet).await;
        stage
    });
    Outcome { passes: passes.into_inner().unwrap(), ..outcome }
}

fn begin(stage: &Stage, dice: &mut Dice) -> Vec<&'static str> {
    let mut land = stage.land();
    let via = *dice.pick(&[Via::LiveKit, Via::Compositor]);
    let mut first = spec(Some(*dice.pick(&STATES)), via);
    if dice.chance(300) {
        first.limits = Some(Limits { live_minutes: Some(5), standby_minutes: Some(5) });
    }
    if dice.chance(200) {
        first.mux = Some(MuxSettings {
            reconnect_window_seconds: Some(*dice.pick(&[0, 5, 120])),
            latency_mode: Some(*dice.pick(&[LatencyMode::Standard, LatencyMode::Reduced])),
            ..MuxSettings::default()
        });
    }
    if dice.chance(150) {
        first.deletion_policy = Some(DeletionPolicy { stream: Some(StreamDeletion::Retain) });
    }
    land.make(&jane(), JANE, first, operators_account(), None);
    if let Some(said) = land.director.said.get_mut(JANE) {
        said.rejoins = u32::try_from(dice.below(3)).unwrap();
        said.devices = dice.chance(900);
    }
    if dice.chance(500) {
        land.make_foreign_streams(TOKEN, 3);
    }
    if dice.chance(200) {
        land.lists_lag(TOKEN, 20);
    }
    if dice.chance(100) {
        land.kubelet.slow = 20_000;
    }
    for server in land.livekit.values_mut() {
        server.ending = *dice.pick(&[300, 800, 3_000, 8_000]);
    }
    let unknowns = Unknowns {
        slate_after_silence: *dice.pick(&[None, None, Some(5.0)]),
        new_key_drops_encoder: dice.chance(500),
        second_encoder_is_refused: dice.chance(500),
    };
    for environment in land.mux.values_mut() {
        let settings = environment.model.settings().clone();
        environment.model.set_settings(Settings { unknowns, ..settings });
    }
    let mut uids = vec![JANE];
    if dice.chance(250) {
        let key = ("default".to_owned(), "john".to_owned());
        let mut second = spec(Some(*dice.pick(&STATES)), via);
        if dice.chance(100) {
            second.slug = Some("jane".into());
        }
        land.make(&key, "uid-2", second, operators_account(), None);
        uids.push("uid-2");
    }
    if dice.chance(150) {
        let key = ("tenant".to_owned(), "tess".to_owned());
        let account = Account { token_id: TOKEN_B.into(), livekit_url: LIVEKIT_B.into() };
        land.make(&key, "uid-3", spec(Some(*dice.pick(&STATES)), via), account, Some("own"));
        uids.push("uid-3");
    }
    uids
}

/// What people do.
fn person(land: &mut Land, uid: &str, dice: &mut Dice) {
    match dice.below(20) {
        0..=5 => {
            let state = *dice.pick(&[State::Live, State::Live, State::Standby, State::Ended, State::Idle]);
            land.ask(uid, state);
        }
        6..=8 => land.take(uid, dice.pick::<&str>(&["lectern", "wide"])),
        9 => land.say(uid, |spec| spec.program.get_or_insert_default().sources = Some(Vec::new())),
        10 | 11 => {
            land.say(uid, |spec| {
                spec.session = Some(spec.session.unwrap_or(1) + 1);
                spec.state = Some(State::Live);
            });
        }
        12 => land.say(uid, |spec| {
            spec.slate = Some(Slate { before: Some("Soon".into()), ..Slate::default() });
        }),
        13 => land.say(uid, |spec| {
            spec.video = Some(Video { width: Some(640), height: Some(360), ..Video::default() })
        }),
        14 => {
            let via = *dice.pick(&[Via::LiveKit, Via::Compositor]);
            land.say(uid, |spec| spec.egress.get_or_insert_default().via = Some(via));
        }
        15 => {
            let paused = dice.chance(500);
            land.pause(uid, paused);
        }
        16 => {
            let now = land.time();
            let at = |seconds: u64| {
                let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap());
                Some(crate::cluster::time(now.checked_add(seconds).unwrap()))
            };
            let first = dice.between(1, 20);
            let schedule = Schedule {
                standby_at: at(first),
                live_at: at(first + 15),
                end_at: at(first + 90),
                overrun_minutes: Some(0),
            };
            land.say(uid, |spec| {
                spec.state = Some(State::Scheduled);
                spec.schedule = Some(schedule);
            });
        }
        17 => {
            let window = *dice.pick(&[5, 60, 240]);
            land.say(uid, |spec| spec.mux.get_or_insert_default().reconnect_window_seconds = Some(window));
        }
        18 if dice.chance(300) => land.discard(uid),
        _ => land.take(uid, "wide"),
    }
}

/// What the world does.
fn environment(stage: &Stage, uid: &str, dice: &mut Dice) {
    let mut land = stage.land();
    let pods = land.pods_of(uid);
    match dice.below(46) {
        0 | 1 => {
            land.kill_worker(LIVEKIT, 0);
            if dice.chance(700) {
                let wait = dice.between(1_000, 30_000);
                land.after(wait, |land| {
                    if let Some(server) = land.livekit.get_mut(LIVEKIT) {
                        server.workers.push(None);
                    }
                });
            }
        }
        2 | 3 => pods.iter().for_each(|pod| land.kill_pod(pod)),
        4 => pods.iter().for_each(|pod| land.terminate_pod(pod)),
        5 | 6 => pods.iter().for_each(|pod| land.crash_container(pod)),
        7 => {
            let until = land.now + dice.between(2_000, 60_000);
            for pod in &pods {
                if let Some(container) = land.kubelet.containers.get_mut(pod) {
                    container.hung_until = until;
                }
            }
        }
        8 => {
            let now = land.now;
            let wait = dice.between(3_000, 40_000);
            for pod in pods {
                if let Some(container) = land.kubelet.containers.get_mut(&pod) {
                    container.frozen_since = Some(now);
                }
                land.after(wait, move |land| {
                    if let Some(container) = land.kubelet.containers.get_mut(&pod) {
                        container.frozen_since = None;
                    }
                });
            }
        }
        9 => {
            land.lose_node(true);
            let wait = dice.between(10_000, 90_000);
            land.after(wait, |land| land.lose_node(false));
        }
        10 | 11 => land.cut_all_senders(),
        12..=14 => {
            let party = *dice.pick(&PARTIES);
            let longest = *dice.pick(&[60_000, 60_000, 180_000]);
            let until = land.now + dice.between(3_000, longest);
            land.note(|| format!("{party:?} is silent"));
            land.faults.silent.insert(party, until);
        }
        15 => {
            let steps = [-3_600_000, -90_000, 90_000, 3_600_000];
            land.step_clock(*dice.pick(&steps));
            land.note(|| "the operator's clock steps".into());
        }
        16 => {
            land.change_secret(SYSTEM, |data| {
                data.insert("MUX_TOKEN_SECRET".into(), "wrong".into());
            });
        }
        17 => land.lose_secret(SYSTEM),
        18 => land.somebody_deletes_the_stream(uid),
        19 => land.somebody_resets_the_key(uid),
        20 => land.somebody_disables_the_stream(uid),
        21 => land.somebody_records(uid),
        22 => {
            let wait = dice.between(2_000, 45_000);
            land.program_leaves(uid, wait);
        }
        23 => land.faults.second_writer = dice.chance(600),
        24 if dice.chance(300) => land.impostor(uid, "evil"),
        24 => {
            if let Some(server) = land.livekit.get_mut(LIVEKIT) {
                server.slow = dice.between(2_000, 80_000);
            }
        }
        25 | 26 => {
            land.kubelet.complaint = Some(*dice.pick(&COMPLAINTS));
            let wait = dice.between(5_000, 40_000);
            land.after(wait, |land| land.kubelet.complaint = None);
            pods.iter().for_each(|pod| land.kill_pod(pod));
        }
        27 => {
            land.kubelet.full = true;
            let wait = dice.between(5_000, 40_000);
            land.after(wait, |land| land.kubelet.full = false);
            pods.iter().for_each(|pod| land.kill_pod(pod));
        }
        28 => {
            let other = land.cluster.secrets.get(&("tenant".to_owned(), "own".to_owned())).cloned();
            let other = other.map(|secret| secret.data).unwrap_or_default();
            let names: &[&str] = if dice.chance(500) {
                &["MUX_TOKEN_ID", "MUX_TOKEN_SECRET"]
            } else {
                &["LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"]
            };
            land.change_secret(SYSTEM, |data| {
                data.extend(
                    names
                        .iter()
                        .filter_map(|name| other.get_key_value(*name))
                        .map(|(name, value)| (name.clone(), value.clone())),
                );
            });
        }
        29 => land.change_secret(SYSTEM, |data| drop(data.remove("LIVEKIT_API_KEY"))),
        30 => {
            if let Some(server) = land.livekit.get_mut(LIVEKIT) {
                server.too_old = true;
            }
        }
        31 => {
            let site =
                *dice.pick(&[Site::UpdateStream, Site::EnableStream, Site::CreateStream, Site::CreatePod]);
            land.faults.always = Some((site, Fault::Refused));
        }
        32 => land.faults.always = None,
        34 | 35 => {
            let wait = dice.between(2_000, 60_000);
            land.spoil(uid, wait);
        }
        36 => {
            let wait = dice.between(5_000, 60_000);
            land.forbid_secrets("tenant", wait);
        }
        37 => land.somebody_removes_the_playback_ids(uid),
        38 | 39 => {
            let again = u32::try_from(dice.below(4)).unwrap();
            land.somebody_takes_the_identity(uid, again);
        }
        40 => {
            land.somebody_spoils_the_boot_document(uid);
            pods.iter().for_each(|pod| land.crash_container(pod));
        }
        42 if land.was_heard(uid) => {
            let of = dice.below(3);
            land.strip(uid, |spec| match of {
                0 => spec.state = None,
                1 => spec.session = None,
                _ => spec.program = None,
            });
        }
        41 => {
            for pod in pods {
                if let Some(container) = land.kubelet.containers.get_mut(&pod) {
                    container.refuses = Some(*dice.pick(&REFUSALS));
                }
                let wait = dice.between(2_000, 30_000);
                land.after(wait, move |land| {
                    if let Some(container) = land.kubelet.containers.get_mut(&pod) {
                        container.refuses = None;
                    }
                });
            }
        }
        _ => {
            drop(land);
            let trouble = match dice.below(4) {
                0 => WatchTrouble::Lags(dice.between(500, 5_000)),
                1 => WatchTrouble::Still(dice.between(2_000, 40_000)),
                2 => WatchTrouble::Drops(1),
                _ => WatchTrouble::Repeats(2),
            };
            if let Some(process) = stage.process() {
                process.trouble(dice.chance(500), trouble);
            }
        }
    }
}

/// What came of many schedules.
#[derive(Default)]
pub struct Sum {
    pub schedules: u64,
    pub coverage: Coverage,
    pub largest: (u64, u64),
    /// Milliseconds of virtual time, and calls.
    pub time: u64,
    pub calls: u64,
    /// Of every invariant that was broken, how.
    pub broken: BTreeMap<Invariant, Vec<Violation>>,
    pub wrong: Vec<Violation>,
}

impl Sum {
    pub fn print(&self, time: Duration) {
        let rate = self.schedules as f64 / time.as_secs_f64();
        let each = |all: u64| all / self.schedules.max(1);
        say(format_args!(
            "{} schedules, {rate:.1} a second; largest B: {} passes, seed {}; {} s of virtual time and {} calls each",
            self.schedules,
            self.largest.0,
            self.largest.1,
            each(self.time) / 1000,
            each(self.calls)
        ));
        for (invariant, all) in &self.broken {
            let seeds: Vec<String> = all.iter().map(|one| one.seed.to_string()).take(20).collect();
            println!("{:>6} {invariant:?}, by seeds {}", all.len(), seeds.join(", "));
            println!("       {}", all[0]);
        }
        let never = self.coverage.never();
        println!("{} never happened in them: {}", never.len(), never.join(", "));
    }
}

/// Schedules from `first` on, on every core, for that long and at most so many. `go_on` is asked after each, with what
/// came of all so far.
pub fn many(first: u64, time: Duration, most: u64, go_on: impl Fn(&Sum) -> bool + Sync) -> Sum {
    let _all = cores();
    let (next, sum, stop) = (AtomicU64::new(first), Mutex::new(Sum::default()), AtomicBool::new(false));
    let begin = Instant::now();
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            threads.spawn(|| {
                while begin.elapsed() < time && !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + most {
                        break;
                    }
                    let outcome = schedule(seed, false);
                    let mut sum = sum.lock().unwrap();
                    sum.schedules += 1;
                    sum.time += outcome.now;
                    sum.calls += outcome.points;
                    sum.coverage.add(&outcome.coverage);
                    sum.largest = sum.largest.max((outcome.passes, seed));
                    for violation in &outcome.violations {
                        sum.broken.entry(violation.invariant).or_default().push(violation.clone());
                    }
                    sum.wrong.extend(outcome.violations.iter().cloned());
                    stop.fetch_or(!go_on(&sum), Ordering::Relaxed);
                }
            });
        }
    });
    sum.into_inner().unwrap()
}

pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// For `SIMULATION_SECONDS` (20), or `SIMULATION_SCHEDULES` of them, from seed `SEED` on.
#[test]
fn random_schedules_break_nothing() {
    let most = number("SIMULATION_SCHEDULES", u64::MAX >> 1);
    let seconds = number("SIMULATION_SECONDS", if most > 1_000_000_000 { 20 } else { 86_400 });
    let begin = Instant::now();
    let sum = many(number("SEED", 1), Duration::from_secs(seconds), most, |_| true);
    sum.print(begin.elapsed());
    assert!(sum.wrong.is_empty(), "{} violations, the first: {:#?}", sum.wrong.len(), sum.wrong.first());
}

/// `SEED=… cargo test --test simulation replay -- --nocapture`; with `RUST_LOG=debug` the operator says what it does, too.
#[test]
fn replay() {
    let Ok(seed) = std::env::var("SEED") else { return };
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt::init();
    }
    let outcome = schedule(seed.parse().expect("SEED is a number"), true);
    println!("{}\nlog {:016x}", outcome.lines.join("\n"), outcome.hash);
    let wrong = outcome.violations;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_schedule_is_played_back_by_its_seed() {
    for seed in [5, 6, 7, 8] {
        let (one, two) = (schedule(seed, true), schedule(seed, true));
        let differs = one.lines.iter().zip(&two.lines).find(|(one, two)| one != two);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one.hash, two.hash);
    }
}
