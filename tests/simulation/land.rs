//! Everything outside of the operator in one place, and time.

use crate::cluster::Cluster;
use crate::coverage::Coverage;
use crate::dice::{Dice, hash, mix};
use crate::director::Director;
use crate::faults::{Fault, Faults, Site};
use crate::invariants::Watch;
use crate::kubelet::Kubelet;
use crate::livekit::LiveKitServer;
use crate::mux::MuxEnvironment;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use memorialstream_operator::api::MemorialStream;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// When every simulation begins.
pub const BEGIN: i64 = 1_800_000_000;

type Due = Box<dyn FnOnce(&mut Land) + Send>;

/// Everything outside of the operator.
pub struct Land {
    /// Milliseconds since the beginning.
    pub now: u64,
    pub seed: u64,
    /// By how many milliseconds the operator's wall clock is wrong.
    pub clock_step: i64,
    pub dice: Dice,
    pub faults: Faults,
    pub cluster: Cluster,
    pub kubelet: Kubelet,
    /// By URL.
    pub livekit: BTreeMap<String, LiveKitServer>,
    /// By token id.
    pub mux: BTreeMap<String, MuxEnvironment>,
    pub director: Director,
    pub watch: Watch,
    pub coverage: Coverage,
    pub log: Log,
    /// Mux's ingest takes nobody.
    pub ingest_down: bool,
    /// Operators that died and were not started again.
    pub crashed: Vec<u32>,
    timers: BTreeMap<(u64, u64), Due>,
    serial: u64,
    calls: BTreeMap<String, u64>,
}

impl Land {
    fn new(seed: u64) -> Self {
        Self {
            now: 0,
            seed,
            clock_step: 0,
            dice: Dice::new(seed),
            faults: Faults::new(seed),
            cluster: Cluster::default(),
            kubelet: Kubelet::default(),
            livekit: BTreeMap::new(),
            mux: BTreeMap::new(),
            director: Director::default(),
            watch: Watch::default(),
            coverage: Coverage::default(),
            log: Log::default(),
            ingest_down: false,
            crashed: Vec::new(),
            timers: BTreeMap::new(),
            serial: 0,
            calls: BTreeMap::new(),
        }
    }

    /// The time as it really is.
    pub fn time(&self) -> Timestamp {
        let elapsed = SignedDuration::from_millis(i64::try_from(self.now).unwrap());
        Timestamp::from_second(BEGIN).unwrap().checked_add(elapsed).unwrap()
    }

    /// The time as the operator's wall clock shows it.
    pub fn wall_clock(&self) -> Timestamp {
        self.time().checked_add(SignedDuration::from_millis(self.clock_step)).unwrap()
    }

    /// Does something later.
    pub fn after(&mut self, milliseconds: u64, due: impl FnOnce(&mut Self) + Send + 'static) {
        self.serial += 1;
        self.timers.insert((self.now + milliseconds, self.serial), Box::new(due));
    }

    pub fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// The operator's wall clock is set, by so many milliseconds.
    pub fn step_clock(&mut self, by: i64) {
        let before = self.wall_clock();
        self.clock_step += by;
        if by <= 0 {
            return;
        }
        self.watch.clock_jumped_at = Some(self.now);
        let just_deleted = |object: &MemorialStream| {
            let room = object.status.as_ref().and_then(|status| status.room.as_ref());
            let at = room.and_then(|room| room.deleted_at.as_ref());
            at.is_some_and(|at| before.duration_since(at.0) < SignedDuration::from_secs(15))
        };
        // For the operator the time in which devices come back is over.
        if self.cluster.objects.values().any(|object| just_deleted(object)) {
            self.watch.rooms_denied_at = Some(self.now);
        }
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        self.log.note(now, what);
    }

    fn advance(&mut self, now: u64) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            self.now = self.now.max(entry.key().0);
            let due = entry.remove();
            due(self);
        }
        self.now = self.now.max(now);
    }

    /// What happens to a call, and how long it takes. Calls of one object do not change the luck of another's.
    pub fn call(&mut self, site: Site, key: &str) -> (Option<Fault>, u64) {
        let nth = match self.calls.get_mut(key) {
            Some(nth) => {
                *nth += 1;
                *nth
            }
            None => {
                self.calls.insert(key.to_owned(), 0);
                0
            }
        };
        let luck = mix(hash(key.as_bytes(), self.seed) ^ mix(nth));
        let now = self.now;
        let fault = self.faults.strike(site, key, now);
        if let Some(fault) = fault {
            if site == Site::ListRooms && fault == Fault::Empty {
                self.watch.rooms_denied_at = Some(now);
            }
            if matches!(site, Site::ListEgresses | Site::GetEgress) && fault == Fault::Empty {
                self.watch.egresses_denied_at = Some(now);
            }
            // Nobody knows then whether it was started, or made, and it is looked for as if it was.
            if matches!(site, Site::StartEgress | Site::CreateStream)
                && !matches!(fault, Fault::Lost | Fault::TooMany)
            {
                self.watch.doubt_at = Some(now);
            }
            self.note(|| format!("{fault:?} at {site:?} {key}"));
        }
        (fault, 1 + luck % site.slowest())
    }
}

impl Site {
    /// Milliseconds.
    pub fn slowest(self) -> u64 {
        match self.party() {
            crate::faults::Party::Kubernetes => 6,
            crate::faults::Party::Pod => 4,
            crate::faults::Party::Mux | crate::faults::Party::LiveKit | crate::faults::Party::Viewer => 40,
        }
    }
}

/// What happened, as far as somebody wants to read it.
#[derive(Debug, Default)]
pub struct Log {
    pub kept: bool,
    pub lines: Vec<String>,
}

impl Log {
    pub fn note(&mut self, now: u64, what: impl FnOnce() -> String) {
        if self.kept {
            self.lines.push(format!("{:>9.3} {}", now as f64 / 1000.0, what()));
        }
    }

    pub fn hash(&self) -> u64 {
        self.lines.iter().fold(0xcbf2_9ce4_8422_2325, |all, line| hash(line.as_bytes(), all))
    }
}

/// The land, and the clock that runs through it.
pub struct Universe {
    begin: Instant,
    land: Mutex<Land>,
}

impl Universe {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { begin: Instant::now(), land: Mutex::new(Land::new(seed)) })
    }

    /// The land as it is now.
    pub fn land(&self) -> MutexGuard<'_, Land> {
        let mut land = self.land.lock().unwrap();
        let now = u64::try_from(self.begin.elapsed().as_millis()).unwrap();
        land.advance(now);
        land
    }

    pub fn instant(&self, now: u64) -> Instant {
        self.begin + Duration::from_millis(now)
    }
}
