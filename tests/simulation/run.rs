//! A stage: the land, one operator on it, and time that passes step by step.

use crate::bounds;
use crate::cluster::Key;
use crate::coverage::Coverage;
use crate::director::{Account, spec};
use crate::invariants::{Invariant, Violation};
use crate::land::{Land, Universe};
use crate::livekit::LiveKitServer;
use crate::mux::MuxEnvironment;
use crate::operator::{Operator, SYSTEM};
use memorialstream_mux_model::Settings;
use memorialstream_operator::api::MemorialStreamStatus;
use memorialstream_operator::api::conditions::{ConditionType, find, is_true};
use memorialstream_operator::api::spec::{State, Via};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The operator's own accounts.
pub const LIVEKIT: &str = "wss://livekit.example";
pub const TOKEN: &str = "token-a";
/// A tenant's.
pub const LIVEKIT_B: &str = "wss://livekit-b.example";
pub const TOKEN_B: &str = "token-b";

/// What only a person can mend.
const TERMINAL: [&str; 3] = ["EnvironmentChanged", "LiveKitChanged", "SlugTaken"];

pub struct Stage {
    pub universe: Arc<Universe>,
    operator: Option<Operator>,
    processes: u32,
    restart_at: u64,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub coverage: Coverage,
    pub hash: u64,
    pub lines: Vec<String>,
    pub points: u64,
    /// Passes until all was stable.
    pub passes: u64,
    pub now: u64,
}

/// Nothing was violated.
pub fn well(outcome: &Outcome) {
    assert!(outcome.violations.is_empty(), "{:#?}\n{}", outcome.violations, outcome.lines.join("\n"));
}

/// Runs one simulation on a runtime of its own, whose time is the simulation's.
pub fn simulate<F: Future<Output = Stage>>(seed: u64, body: impl FnOnce(Stage) -> F) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let stage = body(Stage::new(seed)).await;
        let mut land = stage.land();
        land.coverage.struck = land.faults.struck.clone();
        land.coverage.called = land.faults.called.clone();
        Outcome {
            violations: land.watch.violations.clone(),
            coverage: land.coverage.clone(),
            hash: land.log.hash(),
            lines: std::mem::take(&mut land.log.lines),
            points: land.faults.point,
            passes: 0,
            now: land.now,
        }
    })
}

/// Whoever keeps every core busy does so alone.
pub fn cores() -> MutexGuard<'static, ()> {
    static CORES: Mutex<()> = Mutex::new(());
    CORES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says how much was tried, though a test that passes is not heard.
pub fn say(line: impl std::fmt::Display) {
    let mut everybody = std::io::stderr().lock();
    std::io::Write::write_fmt(&mut everybody, format_args!("simulation: {line}\n"))
        .expect("somebody listens");
}

/// The object that most runs are about.
pub fn jane() -> Key {
    ("default".to_owned(), "jane".to_owned())
}

pub const JANE: &str = "uid-1";

pub fn operators_account() -> Account {
    Account { token_id: TOKEN.into(), livekit_url: LIVEKIT.into() }
}

impl Stage {
    fn new(seed: u64) -> Self {
        let universe = Universe::new(seed);
        {
            let mut land = universe.land();
            land.kubelet.protocol = memorialstream_compositor_protocol::PROTOCOL_VERSION;
            let credentials = |token: &str, livekit: &str| {
                [
                    ("LIVEKIT_URL", livekit.to_owned()),
                    ("LIVEKIT_API_KEY", format!("key-{token}")),
                    ("LIVEKIT_API_SECRET", format!("secret-of-livekit-for-{token}-0123456789")),
                    ("MUX_TOKEN_ID", token.to_owned()),
                    ("MUX_TOKEN_SECRET", format!("secret-of-mux-for-{token}")),
                ]
            };
            for (token, livekit, place) in [(TOKEN, LIVEKIT, SYSTEM), (TOKEN_B, LIVEKIT_B, ("tenant", "own"))]
            {
                let pairs = credentials(token, livekit);
                let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, &**value)).collect();
                land.make_secret(place, &pairs);
                land.director.mux_secrets.insert(token.to_owned(), pairs[4].1.to_owned());
                let server = LiveKitServer::new(pairs[1].1, pairs[2].1, 2);
                land.livekit.insert(livekit.to_owned(), server);
                let environment = MuxEnvironment::new(&land, token, pairs[4].1, Settings::default());
                land.mux.insert(token.to_owned(), environment);
            }
        }
        Self { universe, operator: None, processes: 0, restart_at: 0 }
    }

    pub fn land(&self) -> MutexGuard<'_, Land> {
        self.universe.land()
    }

    /// The process that is up.
    pub fn process(&self) -> Option<&Arc<crate::process::Process>> {
        self.operator.as_ref().map(|operator| &operator.process)
    }

    /// Makes Jane's service.
    pub fn make_jane(&self, state: State, via: Via) {
        self.land().make(&jane(), JANE, spec(Some(state), via), operators_account(), None);
    }

    pub fn status(&self) -> MemorialStreamStatus {
        self.land().cluster.status(&jane())
    }

    /// One step of time, in which everything goes on.
    pub async fn step(&mut self) {
        let now = self.land().now;
        let dead = self.operator.as_ref().is_some_and(|operator| !operator.process.is_alive());
        if dead && let Some(operator) = self.operator.take() {
            operator.abort();
            let mut land = self.land();
            land.watch.up_since = None;
            let wait = land.dice.between(500, 6_000);
            drop(land);
            self.restart_at = now + wait;
        }
        if self.operator.is_none() && now >= self.restart_at {
            self.processes += 1;
            self.operator = Some(Operator::start(&self.universe, self.processes));
            self.land().watch.up_since = Some(now);
        }
        tokio::time::sleep(Duration::from_millis(bounds::STEP)).await;
        let mut land = self.land();
        land.pump(bounds::STEP);
        land.check();
    }

    pub async fn pass_time(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds.div_ceil(bounds::STEP) {
            self.step().await;
        }
    }

    /// Waits for something; how long it took, or `None` when it did not come.
    pub async fn until(&mut self, most: u64, mut is_so: impl FnMut(&mut Land) -> bool) -> Option<u64> {
        let begin = self.land().now;
        loop {
            let now = self.land().now;
            if is_so(&mut self.land()) {
                return Some(now - begin);
            }
            if now - begin >= most {
                return None;
            }
            self.step().await;
        }
    }

    /// Waits until a state of Jane's is reached.
    pub async fn reaches(&mut self, state: State, most: u64) -> Option<u64> {
        self.until(most, |land| is_reached(land, &jane(), state)).await
    }

    /// Nothing more goes wrong; the world must become what the manifests say, and then nothing may move.
    pub async fn settle(&mut self, quiet: u64) -> u64 {
        self.land().heal();
        if quiet > 0 {
            self.land().forget_the_dead();
        }
        self.land().hold_the_specs();
        if let Some(process) = self.process() {
            process.watches_are_good();
        }
        let calm_from = self.land().now;
        let passes = |land: &Land| land.watch.passes.values().copied().max().unwrap_or(0);
        let mut before = self.land().watch.passes.clone();
        let mut spent = 0;
        // What status says of Secrets may be as old as they are taken for granted.
        self.pass_time(18_000).await;
        loop {
            let unsettled = self.land().unsettled();
            let Some((key, words)) = unsettled.first().cloned() else { break };
            // Whoever was settled meanwhile begins anew.
            let passes_now = self.land().watch.passes.clone();
            before.extend(
                passes_now.into_iter().filter(|(one, _)| unsettled.iter().all(|(key, _)| key != one)),
            );
            let count = |passes: &BTreeMap<Key, u64>| passes.get(&key).copied().unwrap_or(0);
            let of_it = count(&self.land().watch.passes) - count(&before);
            spent = spent.max(of_it);
            let late = self.land().now - calm_from > bounds::STABLE;
            if of_it > bounds::PASSES_UNTIL_STABLE || late {
                self.land().violated(Invariant::Unstable, &key.1, format!("after {of_it} passes: {words}"));
                return spent;
            }
            self.step().await;
        }
        // What failed last may still be written down, and that it is over, too; what is settled stays so.
        self.land().faults.rate = 0;
        let last = self.land().faults.last.values().copied().max().unwrap_or(0);
        self.pass_time(60_000).await;
        let calm = self.until(last + 140_000, |land| land.unsettled().is_empty()).await;
        if calm.is_none() {
            let (key, words) = self.land().unsettled().remove(0);
            self.land().violated(Invariant::Unstable, &key.1, format!("it was settled, and is not: {words}"));
        }
        if quiet == 0 {
            return spent;
        }
        let now = self.land().now;
        // And the stream of what is at rest is looked at after 7.5 to 12.5 minutes.
        self.pass_time((last + 140_000).saturating_sub(now).max(780_000)).await;
        let before = self.land().moves();
        let begin = passes(&self.land());
        let most = self.land().now + quiet * 6_500;
        while passes(&self.land()) - begin < quiet && !self.land().cluster.objects.is_empty() {
            if self.land().now > most {
                self.land().violated(
                    Invariant::Restless,
                    "all",
                    "there were not as many passes as were to be seen",
                );
                break;
            }
            if let Some(operator) = &self.operator {
                // What is at rest is looked at too rarely.
                let keys: Vec<Key> = self.land().cluster.objects.keys().cloned().collect();
                keys.into_iter().for_each(|key| operator.wake(key));
            }
            self.step().await;
            let after = self.land().moves();
            if after != before {
                let last = self.land().coverage.order.last().copied().unwrap_or_default();
                let words = format!("{before:?} became {after:?}, the last action: {last}");
                self.land().violated(Invariant::Restless, "all", words);
                break;
            }
        }
        spent
    }
}

pub fn is_reached(land: &Land, key: &Key, state: State) -> bool {
    let Some(object) = land.cluster.objects.get(key) else { return false };
    let status = object.status.clone().unwrap_or_default();
    status.state == Some(state)
        && status.observed_generation == object.metadata.generation
        && is_true(&status.conditions, ConditionType::Ready)
}

impl Land {
    /// Whatever was broken is whole again, and nothing more breaks than a call now and then.
    pub fn heal(&mut self) {
        self.faults.calm();
        self.cluster.secrets.extend(self.director.secrets.clone());
        self.watch.secret_changed_at = Some(self.now);
        if self.kubelet.lost {
            self.lose_node(false);
        }
        self.step_clock(-self.clock_step);
        self.ingest_down = false;
        self.kubelet.full = false;
        self.kubelet.complaint = None;
        self.kubelet.slow = 0;
        for container in self.kubelet.containers.values_mut() {
            container.hung_until = 0;
            container.frozen_since = None;
            container.refuses = None;
        }
        self.cluster.forbidden.clear();
        self.mend_all();
        for server in self.livekit.values_mut() {
            server.slow = 0;
            server.too_old = false;
            while server.workers.len() < 2 {
                server.workers.push(None);
            }
        }
        let uids: Vec<String> = self.director.said.keys().cloned().collect();
        for uid in uids {
            self.pause(&uid, false);
            self.somebody_adds_a_playback_id(&uid);
        }
        let impostor = ("evil".to_owned(), "impostor".to_owned());
        let now = self.now;
        self.kubelet.containers.remove(&impostor);
        self.cluster.remove_pod(now, &impostor);
        self.others_egresses_end();
        self.note(|| "everything is whole again".into());
    }

    /// Records whose worker is dead go on for a day, and are stopped in vain as long; here the day is over.
    fn forget_the_dead(&mut self) {
        self.livekit.values_mut().for_each(LiveKitServer::forget_the_dead);
    }

    /// From now on neither people nor the time change what is wanted.
    fn hold_the_specs(&mut self) {
        let uids: Vec<String> = self.director.said.keys().cloned().collect();
        for uid in uids {
            let wanted = self.wanted(&uid);
            self.say(&uid, |spec| {
                spec.state = Some(wanted);
                spec.schedule = None;
                spec.limits = None;
            });
        }
    }

    /// What moves: writes, Events, and calls that change something.
    fn moves(&self) -> (u64, u64, u64) {
        // Whether a worker is there is asked for as long as it sends.
        let actions = self.coverage.actions.iter().filter(|(name, _)| **name != "AskWorker");
        (self.cluster.writes, self.cluster.events, actions.map(|(_, count)| count).sum())
    }

    /// The objects that are not as their manifests say, and why.
    pub fn unsettled(&mut self) -> Vec<(Key, String)> {
        let all: Vec<(String, Key)> =
            self.director.said.iter().map(|(uid, said)| (uid.clone(), said.key.clone())).collect();
        all.into_iter().filter_map(|(uid, key)| self.differs(&uid, &key).map(|words| (key, words))).collect()
    }

    fn differs(&mut self, uid: &str, key: &Key) -> Option<String> {
        let wanted = self.wanted(uid);
        let prefix = format!("memorial-{uid}-");
        let rooms = self
            .livekit
            .values()
            .flat_map(|one| one.rooms.keys())
            .filter(|name| name.starts_with(&prefix))
            .count();
        let pods = self
            .cluster
            .pods
            .values()
            .filter(|pod| crate::cluster::owner(pod).as_deref() == Some(uid))
            .count();
        let (senders, streams) = (self.senders(uid), self.streams(uid));
        let said = &self.director.said[uid];
        let counted = format!("{streams} streams, {rooms} rooms, {pods} pods, {senders} senders");
        let Some(object) =
            self.cluster.objects.get(key).filter(|one| one.metadata.uid.as_deref() == Some(uid))
        else {
            let kept = usize::from(said.retains);
            // It was let go on LiveKit's word that there is no room: devices that are in it keep it open.
            let rooms = if self.watch.rooms_denied_at.is_some() { 0 } else { rooms };
            // What a person abandoned is named by its record.
            let named = self.cluster.records.get(uid).filter(|_| pods == 0).is_some_and(|record| {
                record.contains_key("muxPassthrough")
                    && (rooms == 0 || record.contains_key("liveKitRooms"))
                    && (senders == 0 || record.contains_key("liveKitEgresses"))
            });
            if named {
                return None;
            }
            return (!said.deleted || rooms + pods + senders > 0 || streams > kept)
                .then(|| format!("gone, and there are {counted}"));
        };
        if said.deleted {
            return Some(format!("it is not released; there are {counted}"));
        }
        let status = object.status.clone().unwrap_or_default();
        let runs = usize::from(matches!(wanted, State::Live | State::Standby));
        let sends = usize::from(wanted == State::Live);
        let stalled = find(&status.conditions, ConditionType::Stalled).filter(|one| one.status == "True");
        let without_slug = stalled.is_some_and(|one| one.reason == "SlugTaken");
        let elsewhere = self.is_bound_elsewhere(uid) || !self.secret_is_good(uid);
        if stalled.is_some_and(|one| TERMINAL.contains(&&*one.reason)) && (without_slug || elsewhere) {
            // What only a person can mend is no reason to let run what nobody wants, nor to send twice.
            let most = if without_slug { (0, 0, 0) } else { (runs, runs, sends) };
            let more = rooms > most.0 || pods > most.1 || senders > most.2 || streams > 1;
            return more.then(|| format!("stalled; {wanted:?} is wanted, and there are {counted}"));
        }
        // A stream that somebody deleted is not made again for what is over.
        let stream_is_right = streams == 1 || wanted == State::Ended && streams == 0;
        if !stream_is_right || (rooms, pods, senders) != (runs, runs, sends) {
            return Some(format!("{wanted:?} is wanted, and there are {counted}: {:?}", status.message));
        }
        if status.state != Some(wanted) || status.observed_generation != object.metadata.generation {
            return Some(format!(
                "{wanted:?} is wanted and status says {:?}: {:?}",
                status.state, status.message
            ));
        }
        let ready = find(&status.conditions, ConditionType::Ready)
            .map(|one| (one.status.clone(), one.reason.clone()));
        let stalled = is_true(&status.conditions, ConditionType::Stalled);
        if ready.as_ref().is_none_or(|(status, _)| status != "True") && !stalled {
            return Some(format!("{wanted:?} is there, and Ready says {ready:?}"));
        }
        (wanted == State::Live && self.sight(key) != crate::viewer::Sight::Program)
            .then(|| "mourners see no Program".to_owned())
    }
}
