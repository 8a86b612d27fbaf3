//! The failure and race cases of Mux and LiveKit, one test each: what people see in status, and what becomes of all that is
//! paid. `docs/failure-modes.md` is their table.

mod livekit;
mod mux;
mod rooms;
mod table;

use crate::faults::{Fault, Site};
use crate::invariants::Invariant;
use crate::land::{Land, Universe};
use crate::run::{JANE, LIVEKIT, Outcome, Stage, TOKEN, jane, simulate};
use memorialstream_mux_model::{Credentials, Method, RateLimits, Request, Secret, Settings, StreamRecord};
use memorialstream_operator::api::Reason;
use memorialstream_operator::api::conditions::{ConditionType, Truth, find};
use memorialstream_operator::api::spec::{State, Via};
use memorialstream_operator::providers::livekit::EgressStatus;
use std::sync::Arc;

const BOTH: [Via; 2] = [Via::LiveKit, Via::Compositor];

/// What happened, when a case fails half-way.
struct Shown(Arc<Universe>);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A failed assertion may have held the land.
            let lines = std::panic::catch_unwind(|| std::mem::take(&mut self.0.land().log.lines));
            println!("{}", lines.unwrap_or_default().join("\n"));
        }
    }
}

/// A run in which every invariant holds but those that the case itself breaks.
fn case_that_breaks<F: Future<Output = Stage>>(
    broken: &[Invariant],
    body: impl FnOnce(Stage) -> F,
) -> Outcome {
    let outcome = simulate(1, |stage| {
        let shown = Shown(Arc::clone(&stage.universe));
        stage.land().log.kept = true;
        let body = body(stage);
        async move {
            let stage = body.await;
            drop(shown);
            stage
        }
    });
    let wrong: Vec<_> = outcome.violations.iter().filter(|one| !broken.contains(&one.invariant)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", outcome.lines.join("\n"));
    outcome
}

fn case<F: Future<Output = Stage>>(body: impl FnOnce(Stage) -> F) -> Outcome {
    case_that_breaks(&[], body)
}

async fn reached(stage: &mut Stage, state: State, most: u64) -> u64 {
    let took = stage.reaches(state, most).await;
    let status = stage.status();
    took.unwrap_or_else(|| {
        panic!("{state:?} within {most} ms: {:?} {:#?}", status.message, status.conditions)
    })
}

async fn live(stage: &mut Stage, via: Via) {
    stage.make_jane(State::Live, via);
    reached(stage, State::Live, 120_000).await;
    stage.pass_time(5_000).await;
}

/// Waits until a condition of Jane's says this.
async fn told(stage: &mut Stage, most: u64, kind: ConditionType, truth: Truth, reason: Reason, words: &str) {
    let says = |land: &mut Land| {
        let conditions = land.cluster.status(&jane()).conditions;
        find(&conditions, kind).is_some_and(|found| {
            found.status == truth.as_str() && found.reason == reason.as_str() && found.message.contains(words)
        })
    };
    let came = stage.until(most, says).await;
    let status = stage.status();
    assert!(
        came.is_some(),
        "{kind:?} {truth:?} {reason:?} {words:?} within {most} ms; it says {:#?}",
        status.conditions
    );
}

/// Waits until all that runs and may cost something is so many: streams, rooms, pods, senders.
async fn there_are(stage: &mut Stage, most: u64, wanted: (usize, usize, usize, usize)) {
    let came = stage.until(most, |land| count(land) == wanted).await;
    let found = counted(stage);
    assert!(came.is_some(), "{wanted:?} streams, rooms, pods, senders within {most} ms; there are {found:?}");
}

fn counted(stage: &Stage) -> (usize, usize, usize, usize) {
    count(&stage.land())
}

fn count(land: &Land) -> (usize, usize, usize, usize) {
    (land.streams(JANE), land.livekit[LIVEKIT].rooms.len(), land.pods_of(JANE).len(), land.senders(JANE))
}

fn is_not_on_air(land: &mut Land) -> bool {
    let conditions = land.cluster.status(&jane()).conditions;
    find(&conditions, ConditionType::OnAir).is_some_and(|found| found.status == "False")
}

fn is_gone(land: &mut Land) -> bool {
    !land.cluster.objects.contains_key(&jane())
}

/// How often an action was done.
fn done(stage: &Stage, action: &str) -> u64 {
    stage.land().coverage.actions.get(action).copied().unwrap_or(0)
}

/// How often a call was sent.
fn called(land: &Land, site: Site) -> u64 {
    land.faults.called.get(&site).copied().unwrap_or(0)
}

fn calls(stage: &Stage, site: Site) -> u64 {
    called(&stage.land(), site)
}

/// How many Events of this reason there were.
fn events(stage: &Stage, reason: &str) -> u64 {
    stage.land().cluster.told.get(&(jane(), reason.to_owned())).copied().unwrap_or(0)
}

/// Every stream that was ever made for Jane.
fn streams_ever(stage: &Stage) -> Vec<StreamRecord> {
    let marker = format!("memorialstream/{}/{JANE}", crate::operator::CLUSTER);
    let all = stage.land().mux[TOKEN].model.streams();
    all.into_iter().filter(|stream| stream.passthrough.as_deref() == Some(&*marker)).collect()
}

/// The one stream of Jane's that exists.
fn stream(stage: &Stage) -> StreamRecord {
    let all: Vec<_> = streams_ever(stage).into_iter().filter(|stream| !stream.deleted).collect();
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].clone()
}

fn egress_id(stage: &Stage) -> String {
    stage.status().egress.and_then(|egress| egress.id).expect("an egress")
}

/// The egresses that a worker runs.
fn running(land: &Land) -> Vec<String> {
    let egresses = land.livekit[LIVEKIT].egresses.iter();
    let runs =
        |status| matches!(status, EgressStatus::Starting | EgressStatus::Active | EgressStatus::Ending);
    egresses
        .filter(|(_, record)| record.runs() && record.uid.is_some() && runs(record.status))
        .map(|(id, _)| id.clone())
        .collect()
}

fn egresses(stage: &Stage) -> Vec<String> {
    running(&stage.land())
}

/// The next call of this kind fails so, and no other.
fn strike(land: &mut Land, site: Site, fault: Fault) {
    land.faults.always = Some((site, fault));
    let before = called(land, site);
    look_closely(land, move |land| {
        let struck = called(land, site) > before;
        if struck {
            land.faults.always = None;
        }
        !struck
    });
}

/// Looks each millisecond, for as long as that says so.
fn look_closely(land: &mut Land, mut look: impl FnMut(&mut Land) -> bool + Send + 'static) {
    land.after(1, move |land| {
        if look(land) {
            look_closely(land, look);
        }
    });
}

/// Somebody with a token of their own changes something at Mux.
fn somebody_asks_mux(land: &mut Land, method: Method, path: &str) {
    let now = land.time();
    let token_secret = Secret::new(land.director.mux_secrets[TOKEN].clone());
    let credentials = Credentials { token_id: TOKEN.into(), token_secret };
    if let Some(environment) = land.mux.get_mut(TOKEN) {
        let settings = environment.model.settings().clone();
        let unlimited = Settings { rate_limits: RateLimits::UNLIMITED, ..settings.clone() };
        environment.model.set_settings(unlimited);
        environment.model.request(now, &Request::new(method, path.to_owned(), credentials));
        environment.model.set_settings(settings);
    }
    land.settle_mux(TOKEN);
}
