//! Each process that a service stands on dies while it is Live, one after the other: whether status tells the truth all the
//! time, and how long it takes until mourners see Program again.

use super::Stage;
use crate::support::service::Service;
use crate::support::{compositor_process, eventually, holds, is, send, spec};
use memorialstream_lab::viewer::Viewer;
use memorialstream_operator::api::MemorialStreamStatus;
use memorialstream_operator::api::conditions::{ConditionType as Kind, find};
use memorialstream_operator::api::spec::{State, Via};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What it knows would die with it, as nothing at Mux does: it stands still instead.
const MUX: &str = "mux-simulator";
/// How long a process is missing that nobody starts again by himself.
const MISSING: Duration = Duration::from_secs(30);
/// How long it may take until all is as it was.
const TIMEOUT: Duration = Duration::from_secs(240);
/// For so long on air, with a playlist that grows, it is over.
const STEADY: Duration = Duration::from_secs(15);
const LOOKS_EVERY: Duration = Duration::from_millis(500);
/// A playlist of the lab grows every 2 s. The operator needs some looks until it knows that it does not.
const BELIEVES: Duration = Duration::from_secs(20);

/// `VIA=LiveKit`: that way alone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "kills for half an hour: make bench"]
async fn each_process_that_dies_is_told_and_survived() {
    let mut stage = Stage::alone("each-process").await;
    println!("\n### Each process dies once while Live\n");
    println!(
        "| via | what dies | nothing new was seen for | on air was said meanwhile for | last reason | all well after |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut wrong = Vec::new();
    let only = std::env::var("VIA").ok();
    let is_asked_for = |via: &Via| only.as_ref().is_none_or(|only| *only == format!("{via:?}"));
    for via in stage.vias().into_iter().filter(is_asked_for) {
        let service = stage.service(&format!("each-{via:?}").to_lowercase());
        let more = json!({"state": "Live", "mux": {"reconnectWindowSeconds": 600}});
        service.apply(spec(via, &["lectern"], more)).await;
        let live = service.reaches(State::Live).await;
        let uid = service.get().await.metadata.uid.expect("a uid");
        let viewer = Viewer::new(&live.playback_url.expect("a URL")).expect("a viewer");
        let all = stage.lab.processes().expect("the lab's processes");
        let ours = ["operator", "compositor"].map(str::to_owned);
        for name in all.into_iter().map(|one| one.name).chain(ours) {
            let mut account = Account::new(&service, &viewer);
            kill(&mut stage, &name, &uid).await;
            let began = Instant::now();
            while began.elapsed() < MISSING {
                account.look().await;
            }
            start_the_missing(&stage).await;
            // What starts may take others with it: pods go with their containerd.
            account.well_since = None;
            let well = account.is_well(began).await;
            let words = format!("{via:?} | {name}");
            account.print(&words, well);
            if account.lied > BELIEVES || well.is_none() {
                wrong.push(words);
            }
            one_of_each(&stage, &uid, via).await;
        }
        service.delete().await;
        service.is_gone().await;
        stage.assert_nothing_is_left(&uid).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The operator and the compositor are started again by whoever runs them; the lab's processes by [`start_the_missing`].
async fn kill(stage: &mut Stage, name: &str, uid: &str) {
    match name {
        "operator" => {
            stage.kill_operator();
            stage.start_operator();
        }
        "compositor" => send("KILL", compositor_process(&stage.pods(uid).await[0])),
        MUX => send("STOP", pid(stage, name)),
        _ => send("KILL", pid(stage, name)),
    }
}

fn pid(stage: &Stage, name: &str) -> u32 {
    let all = stage.lab.processes().expect("the lab's processes");
    let found = all.iter().find(|process| process.name == name).expect("it runs");
    found.pid.try_into().expect("a process number")
}

/// What was killed, and what went with it.
async fn start_the_missing(stage: &Stage) {
    send("CONT", pid(stage, MUX));
    let running = |stage: &Stage| -> BTreeSet<String> {
        stage.lab.processes().expect("the lab's processes").into_iter().map(|one| one.name).collect()
    };
    let all = stage.lab.process_names().expect("the lab's processes");
    for name in all.iter().filter(|name| !running(stage).contains(*name)) {
        stage.stop_process(name).await;
        stage.start_process(name).await;
    }
}

/// One stream, one sender, one recording, one pod: nothing was doubled, nothing is left.
async fn one_of_each(stage: &Stage, uid: &str, via: Via) {
    eventually("one of each", async || {
        let streams = stage.streams_of_uid(uid).await;
        let encoders: usize = streams.iter().map(|stream| stream.encoders).sum();
        let assets: usize = streams.iter().map(|stream| stream.assets).sum();
        let seen = (streams.len(), encoders, assets, stage.pods(uid).await.len());
        holds(seen == (1, 1, 1, 1), || format!("{via:?}: streams, senders, recordings, pods: {seen:?}"))
    })
    .await;
}

/// What mourners saw and what status said meanwhile.
struct Account<'a> {
    service: &'a Service,
    viewer: &'a Viewer,
    newest: Option<u64>,
    grew: Instant,
    /// Since when it is on air without a break and the playlist never stood longer than it may.
    well_since: Option<Instant>,
    /// When that was last not so.
    unwell: Option<Instant>,
    /// The longest time without anything new.
    still: Duration,
    /// The longest such time while status said that it is on air.
    lied: Duration,
    reason: String,
}

impl<'a> Account<'a> {
    fn new(service: &'a Service, viewer: &'a Viewer) -> Self {
        let (still, lied) = (Duration::ZERO, Duration::ZERO);
        let reason = "—".to_owned();
        let grew = Instant::now();
        Self { service, viewer, newest: None, grew, well_since: None, unwell: None, still, lied, reason }
    }

    async fn look(&mut self) {
        tokio::time::sleep(LOOKS_EVERY).await;
        let newest = tokio::time::timeout(LOOKS_EVERY, self.viewer.newest_segment_number()).await;
        if let Ok(Ok(newest)) = newest
            && self.newest.is_none_or(|before| newest > before)
        {
            (self.newest, self.grew) = (Some(newest), Instant::now());
        }
        let still = self.grew.elapsed();
        self.still = self.still.max(still);
        // Who cannot ask the API server is told nothing.
        let object = tokio::time::timeout(LOOKS_EVERY, self.service.api().get(&self.service.name)).await;
        let Ok(Ok(object)) = object else { return self.is_unwell() };
        let status: MemorialStreamStatus = object.status.unwrap_or_default();
        if is(&status, Kind::OnAir, "True", None) {
            self.lied = self.lied.max(still);
            match still < STEADY / 2 && is(&status, Kind::Ready, "True", None) {
                true => self.well_since = self.well_since.or_else(|| Some(Instant::now())),
                false => self.is_unwell(),
            }
        } else {
            self.is_unwell();
            if let Some(on_air) = find(&status.conditions, Kind::OnAir) {
                self.reason = format!("{} {}", on_air.status, on_air.reason);
            }
        }
    }

    fn is_unwell(&mut self) {
        (self.well_since, self.unwell) = (None, Some(Instant::now()));
    }

    /// Waits until all is well, and says how long after `began` it was not for the last time.
    async fn is_well(&mut self, began: Instant) -> Option<Duration> {
        while began.elapsed() < MISSING + TIMEOUT {
            self.look().await;
            if self.well_since.is_some_and(|since| since.elapsed() > STEADY) {
                let last = self.unwell.map_or(Duration::ZERO, |last| last.saturating_duration_since(began));
                return Some(last);
            }
        }
        None
    }

    fn print(&self, words: &str, well: Option<Duration>) {
        let well = well.map_or("never".to_owned(), |well| format!("{:.0} s", well.as_secs_f64()));
        let [still, lied] = [self.still, self.lied].map(|time| time.as_secs_f64());
        println!("| {words} | {still:.1} s | {lied:.1} s | {} | {well} |", self.reason);
    }
}
