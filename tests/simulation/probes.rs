//! One run for each finding: what a bad day was like, and which invariant must see it.

use crate::coverage::Coverage;
use crate::director::{Account, spec};
use crate::environment::WatchTrouble;
use crate::faults::{Fault, Party, Site};
use crate::invariants::{Invariant, Violation};
use crate::operator::SYSTEM;
use crate::run::{JANE, LIVEKIT, Outcome, Stage, TOKEN, cores, jane, operators_account, simulate};
use k8s_openapi::jiff::SignedDuration;
use memorialstream_operator::api::spec::{Limits, MuxSettings, Schedule, State, Via};
use std::collections::BTreeMap;
use std::sync::OnceLock;

async fn live(stage: &mut Stage, via: Via) {
    stage.make_jane(State::Live, via);
    stage.reaches(State::Live, 120_000).await.expect("Live");
    stage.pass_time(5_000).await;
}

/// What has to end, ends: long enough for every bound.
async fn end(stage: &mut Stage) {
    stage.land().ask(JANE, State::Ended);
    stage.pass_time(240_000).await;
}

async fn worker_dies(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    stage.land().kill_worker(LIVEKIT, 0);
    stage.pass_time(150_000).await;
}

async fn pods_without_bound(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    let pod = stage.land().pods_of(JANE)[0].clone();
    stage.land().kill_pod(&pod);
    stage.pass_time(500).await;
    stage.process().unwrap().trouble(false, WatchTrouble::Still(60_000));
    let pods = stage.land().pods_of(JANE);
    for pod in pods {
        stage.land().kill_pod(&pod);
    }
    stage.make_other(State::Idle);
    stage.land().touch(&jane());
    stage.pass_time(61_000).await;
}

async fn pods_of_a_cache_that_stands_still(stage: &mut Stage) {
    stage.make_jane(State::Idle, Via::LiveKit);
    stage.reaches(State::Idle, 60_000).await.expect("Idle");
    stage.process().unwrap().trouble(false, WatchTrouble::Still(60_000));
    stage.land().ask(JANE, State::Standby);
    stage.pass_time(61_000).await;
}

async fn impostor(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    stage.land().impostor(JANE, "evil");
    stage.pass_time(30_000).await;
}

async fn key_is_reset(stage: &mut Stage) {
    live(stage, Via::Compositor).await;
    stage.land().somebody_resets_the_key(JANE);
    stage.land().cut_all_senders();
    stage.pass_time(150_000).await;
}

async fn given_up_egress(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    let until = stage.land().now + 110_000;
    stage.land().faults.silent.insert(Party::LiveKit, until);
    stage.land().ask(JANE, State::Standby);
    stage.pass_time(240_000).await;
}

async fn program_leaves_the_room(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    stage.land().program_leaves(JANE, 90_000);
    stage.pass_time(60_000).await;
}

async fn credentials_are_rotated_wrongly(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    stage.land().change_secret(SYSTEM, |data| {
        data.insert("MUX_TOKEN_SECRET".into(), "wrong-secret".into());
        data.insert("LIVEKIT_API_SECRET".into(), "wrong-secret-of-more-than-32-characters".into());
    });
    stage.pass_time(20_000).await;
    end(stage).await;
}

async fn node_is_lost_for_good(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    stage.land().lose_node(true);
    stage.pass_time(60_000).await;
    end(stage).await;
}

async fn refused_start_whose_answer_is_lost(stage: &mut Stage) {
    stage.make_jane(State::Standby, Via::LiveKit);
    stage.reaches(State::Standby, 60_000).await.expect("Standby");
    let workers = std::mem::take(&mut stage.land().livekit.get_mut(LIVEKIT).unwrap().workers);
    stage.land().ask(JANE, State::Live);
    let started = |land: &mut crate::land::Land| land.coverage.actions.contains_key("StartEgress");
    stage.until(30_000, started).await.expect("a start");
    stage.land().faults.second_writer = true;
    stage.pass_time(12_000).await;
    stage.land().faults.second_writer = false;
    stage.land().livekit.get_mut(LIVEKIT).unwrap().workers = workers;
    stage.pass_time(150_000).await;
}

async fn live_without_a_sender_has_a_limit(stage: &mut Stage) {
    stage.land().livekit.get_mut(LIVEKIT).unwrap().workers.clear();
    let mut spec = spec(Some(State::Live), Via::LiveKit);
    spec.limits = Some(Limits { live_minutes: Some(5), standby_minutes: None });
    stage.land().make(&jane(), JANE, spec, operators_account(), None);
    stage.pass_time(600_000).await;
}

async fn pause_and_idle(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    stage.land().pause(JANE, true);
    stage.land().ask(JANE, State::Idle);
    stage.pass_time(180_000).await;
}

async fn restart_without_the_secret(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    stage.land().lose_secret(SYSTEM);
    stage.pass_time(20_000).await;
    stage.crash();
    stage.pass_time(20_000).await;
    end(stage).await;
}

async fn sender_without_mux(stage: &mut Stage) {
    live(stage, Via::Compositor).await;
    let until = stage.land().now + 150_000;
    stage.land().faults.silent.insert(Party::Mux, until);
    stage.pass_time(5_000).await;
    let pod = stage.land().pods_of(JANE)[0].clone();
    stage.land().kill_pod(&pod);
    stage.pass_time(145_000).await;
}

async fn refused_update_holds_the_end(stage: &mut Stage) {
    let mut spec = spec(None, Via::LiveKit);
    let at = |seconds| {
        let time = stage.land().time().checked_add(SignedDuration::from_secs(seconds)).unwrap();
        Some(crate::cluster::time(time))
    };
    spec.schedule =
        Some(Schedule { live_at: at(0), end_at: at(75), overrun_minutes: Some(0), ..Schedule::default() });
    stage.land().make(&jane(), JANE, spec, operators_account(), None);
    stage.reaches(State::Live, 60_000).await.expect("Live");
    stage.land().faults.always = Some((Site::UpdateStream, Fault::Refused));
    stage.land().say(JANE, |spec| {
        spec.mux = Some(MuxSettings { reconnect_window_seconds: Some(240), ..MuxSettings::default() });
    });
    stage.pass_time(20_000).await;
    stage.land().faults.always = None;
    stage.pass_time(260_000).await;
}

async fn too_old_a_server(stage: &mut Stage) {
    stage.land().livekit.get_mut(LIVEKIT).unwrap().too_old = true;
    stage.make_jane(State::Live, Via::LiveKit);
    stage.pass_time(60_000).await;
    stage.land().say(JANE, |spec| {
        spec.egress.get_or_insert_default().via = Some(Via::Compositor);
    });
    stage.pass_time(150_000).await;
}

async fn a_blip_after_two_minutes(stage: &mut Stage) {
    let mut spec = spec(Some(State::Live), Via::LiveKit);
    spec.mux = Some(MuxSettings { reconnect_window_seconds: Some(3), ..MuxSettings::default() });
    stage.land().make(&jane(), JANE, spec, operators_account(), None);
    stage.reaches(State::Live, 120_000).await.expect("Live");
    stage.pass_time(120_000).await;
    stage.land().ingest_down = true;
    stage.land().cut_all_senders();
    stage.pass_time(20_000).await;
    stage.land().ingest_down = false;
    stage.pass_time(60_000).await;
}

async fn an_old_pod(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    for container in stage.land().kubelet.containers.values_mut() {
        container.protocol = 0;
    }
    stage.land().take(JANE, "lectern");
    stage.pass_time(90_000).await;
    let pod = stage.land().pods_of(JANE)[0].clone();
    stage.land().crash_container(&pod);
    stage.pass_time(120_000).await;
}

async fn secret_under_our_name(stage: &mut Stage) {
    stage.land().make_secret(("default", "jane-compositor"), &[("password", "somebody-else's")]);
    stage.make_jane(State::Standby, Via::LiveKit);
    stage.pass_time(60_000).await;
}

async fn tenants_endpoints(stage: &mut Stage) {
    stage.land().change_secret(("tenant", "own"), |data| {
        data.insert("MUX_BASE_URL".into(), "http://internal.example".into());
    });
    stage.make_tenant(State::Standby);
    stage.pass_time(30_000).await;
}

async fn somebody_records(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    stage.land().somebody_records(JANE);
    stage.pass_time(30_000).await;
    end(stage).await;
}

async fn somebody_records_what_is_deleted(stage: &mut Stage) {
    live(stage, Via::Compositor).await;
    stage.land().somebody_records(JANE);
    stage.pass_time(5_000).await;
    stage.land().discard(JANE);
    stage.pass_time(60_000).await;
}

async fn standby_before_the_room_is_gone(stage: &mut Stage) {
    stage.make_jane(State::Standby, Via::LiveKit);
    stage.reaches(State::Standby, 60_000).await.expect("Standby");
    stage.land().ask(JANE, State::Idle);
    let deleted = |land: &mut crate::land::Land| !land.watch.deleted_rooms.is_empty();
    stage.until(60_000, deleted).await.expect("the room is deleted");
    stage.land().ask(JANE, State::Standby);
    stage.pass_time(60_000).await;
}

async fn deleted_with_a_start_in_flight(stage: &mut Stage) {
    stage.make_jane(State::Standby, Via::LiveKit);
    stage.reaches(State::Standby, 60_000).await.expect("Standby");
    stage.land().livekit.get_mut(LIVEKIT).unwrap().slow = 78_000;
    stage.land().ask(JANE, State::Live);
    let started = |land: &mut crate::land::Land| land.coverage.actions.contains_key("StartEgress");
    stage.until(30_000, started).await.expect("a start");
    stage.land().discard(JANE);
    stage.pass_time(400_000).await;
}

async fn stream_of_a_service_that_is_over(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    end(stage).await;
    stage.land().somebody_deletes_the_stream(JANE);
    // What is at rest is looked at after ten minutes and more.
    stage.pass_time(1_500_000).await;
}

async fn clock_goes_back_after_a_failure(stage: &mut Stage) {
    let workers = std::mem::take(&mut stage.land().livekit.get_mut(LIVEKIT).unwrap().workers);
    stage.make_jane(State::Live, Via::LiveKit);
    let started = |land: &mut crate::land::Land| land.coverage.actions.contains_key("StartEgress");
    stage.until(60_000, started).await.expect("a start");
    stage.pass_time(9_000).await;
    stage.land().clock_step = -SignedDuration::from_mins(30).as_millis() as i64;
    stage.land().livekit.get_mut(LIVEKIT).unwrap().workers = workers;
    stage.pass_time(200_000).await;
}

async fn a_tool_strips_the_state(stage: &mut Stage) {
    live(stage, Via::LiveKit).await;
    stage.land().strip(JANE, |spec| spec.state = None);
    stage.pass_time(120_000).await;
}

/// A bad day by the number of its finding; 105 is the fifth of what was tried on a fresh machine.
macro_rules! probes {
    ($($number:literal $run:ident sees $($invariant:ident)|+;)+) => {
        fn probe(number: u32, seed: u64) -> Option<Outcome> {
            Some(match number {
                $($number => simulate(seed, |mut stage| async move {
                    stage.land().log.kept = true;
                    $run(&mut stage).await;
                    stage
                }),)+
                _ => return None,
            })
        }

        /// Number, name, and the invariants that may see it.
        const PROBES: &[(u32, &str, &[Invariant])] =
            &[$(($number, stringify!($run), &[$(Invariant::$invariant),+]),)+];
    };
}

probes! {
    1 worker_dies sees OnAirLies | Dark;
    2 pods_of_a_cache_that_stands_still sees OnePod;
    202 pods_without_bound sees OnePod;
    3 impostor sees Leak | Foreign;
    7 key_is_reset sees Dark;
    8 given_up_egress sees UnwantedSender;
    9 program_leaves_the_room sees OnAirLies;
    10 credentials_are_rotated_wrongly sees UnwantedSender | UnwantedRoom | OpenStream;
    11 node_is_lost_for_good sees UnwantedRoom;
    12 refused_start_whose_answer_is_lost sees Dark;
    13 live_without_a_sender_has_a_limit sees UnwantedPod | UnwantedRoom | EndIsLatched;
    213 pause_and_idle sees UnwantedSender | UnwantedPod;
    14 restart_without_the_secret sees UnwantedSender | UnwantedRoom | OpenStream;
    15 sender_without_mux sees Dark;
    16 refused_update_holds_the_end sees OpenStream;
    17 too_old_a_server sees Dark;
    18 a_blip_after_two_minutes sees Impatient;
    19 an_old_pod sees LateTake | Dark;
    20 secret_under_our_name sees Foreign;
    21 tenants_endpoints sees Leak;
    22 somebody_records sees Foreign;
    222 somebody_records_what_is_deleted sees Foreign;
    23 standby_before_the_room_is_gone sees RoomReused;
    24 deleted_with_a_start_in_flight sees UnwantedSender | UnwantedRoom | Left;
    25 stream_of_a_service_that_is_over sees NeedlessStream;
    225 clock_goes_back_after_a_failure sees Dark;
    105 a_tool_strips_the_state sees Dark | UnwantedSender;
}

fn found(outcome: &Outcome, invariants: &[Invariant]) -> Vec<Violation> {
    outcome.violations.iter().filter(|one| invariants.contains(&one.invariant)).cloned().collect()
}

/// What came of all probes.
#[derive(Default)]
pub struct Probed {
    pub coverage: Coverage,
    outcomes: BTreeMap<u32, Outcome>,
}

/// All of them; once for all tests that want to know.
pub fn probed() -> &'static Probed {
    static PROBED: OnceLock<Probed> = OnceLock::new();
    PROBED.get_or_init(|| {
        let _all = cores();
        let mut probed = Probed::default();
        for (number, ..) in PROBES {
            let outcome = probe(*number, 1).unwrap();
            probed.coverage.add(&outcome.coverage);
            probed.outcomes.insert(*number, outcome);
        }
        probed
    })
}

/// What was found on today's code is told; what is not known to be wrong fails. `FINDING=…` asks after one alone, by its
/// number.
#[test]
fn each_finding_is_found_until_it_is_mended() {
    let only = std::env::var("FINDING").ok().map(|text| text.parse::<u32>().expect("a number"));
    let mut wrong = Vec::new();
    for (number, name, invariants) in PROBES.iter().filter(|one| only.is_none_or(|only| only == one.0)) {
        let alone = only.and_then(|number| probe(number, 1));
        let outcome = alone.as_ref().unwrap_or_else(|| &probed().outcomes[number]);
        let seen = found(outcome, invariants);
        let others: Vec<_> =
            outcome.violations.iter().filter(|one| !invariants.contains(&one.invariant)).collect();
        match seen.first() {
            Some(one) => {
                println!(
                    "{number:>3} {name}: found, {:?} at {} s: {}",
                    one.invariant,
                    one.at / 1000,
                    one.words
                );
                wrong.push(format!("{number} {name}: {one}"));
            }
            None => println!("{number:>3} {name}: not there"),
        }
        for other in others {
            println!("      and {:?} at {} s: {}", other.invariant, other.at / 1000, other.words);
        }
        if std::env::var("SHOW").is_ok_and(|show| show == number.to_string()) {
            println!("{}", outcome.lines.join("\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

impl Stage {
    pub fn crash(&self) {
        if let Some(process) = self.process() {
            process.die(&mut self.land());
        }
    }

    /// Another service of the same account.
    pub fn make_other(&self, state: State) {
        let key = ("default".to_owned(), "john".to_owned());
        self.land().make(&key, "uid-2", spec(Some(state), Via::LiveKit), operators_account(), None);
    }

    /// A service of a tenant with credentials of its own.
    pub fn make_tenant(&self, state: State) {
        let key = ("tenant".to_owned(), "tess".to_owned());
        let account =
            Account { token_id: crate::run::TOKEN_B.into(), livekit_url: crate::run::LIVEKIT_B.into() };
        self.land().make(&key, "uid-3", spec(Some(state), Via::Compositor), account, Some("own"));
    }
}

#[test]
fn a_stream_of_another_product_is_left_alone() {
    let outcome = simulate(3, |mut stage| async move {
        stage.land().make_foreign_streams(TOKEN, 5);
        live(&mut stage, Via::Compositor).await;
        end(&mut stage).await;
        stage.land().discard(JANE);
        stage.pass_time(60_000).await;
        let foreign = stage.land().mux[TOKEN].model.streams();
        assert_eq!(foreign.iter().filter(|one| !one.deleted).count(), 5);
        stage
    });
    assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
}
