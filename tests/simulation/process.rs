//! One operator process, as its calls leave it: each is numbered, takes its time, and may fail. When the process dies,
//! no call of its that is still under way ever returns.

use crate::cluster::Key;
use crate::cluster::cache::Caches;
use crate::faults::{Fault, Site};
use crate::land::{Land, Universe};
use memorialstream_operator::world::SecretData;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// A process of the operator.
pub struct Process {
    pub id: u32,
    pub universe: Arc<Universe>,
    alive: AtomicBool,
    caches: Mutex<Caches>,
    /// Told of each change of the caches.
    pub changes: watch::Sender<()>,
    /// Secrets that were read, and when.
    pub secrets: Mutex<BTreeMap<Key, (u64, SecretData)>>,
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Failed(Fault),
    TimedOut,
}

impl Process {
    pub fn new(universe: &Arc<Universe>, id: u32) -> Arc<Self> {
        Arc::new(Self {
            id,
            universe: Arc::clone(universe),
            alive: AtomicBool::new(true),
            caches: Mutex::default(),
            changes: watch::Sender::default(),
            secrets: Mutex::default(),
        })
    }

    pub fn caches(&self) -> MutexGuard<'_, Caches> {
        self.caches.lock().unwrap()
    }

    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// It dies.
    pub fn die(&self, land: &mut Land) {
        if self.alive.swap(false, Ordering::Relaxed) {
            let id = self.id;
            land.note(|| format!("operator {id} dies"));
            // Whether an egress was started, or a stream made, nobody may know then.
            let in_doubt =
                land.cluster.objects.values().filter_map(|object| object.status.as_ref()).any(|status| {
                    status.egress.as_ref().is_some_and(|egress| egress.starting.is_some())
                        || status.mux.as_ref().is_some_and(|mux| mux.creating.is_some())
                });
            if in_doubt {
                land.watch.doubt_at = Some(land.now);
            }
            land.crashed.push(id);
        }
    }

    async fn unless_dead(&self) {
        if !self.is_alive() {
            std::future::pending::<()>().await;
        }
    }

    fn commit_and_die<T>(&self, commit: impl FnOnce(&mut Land) -> T) {
        let mut land = self.universe.land();
        drop(commit(&mut land));
        self.die(&mut land);
    }

    /// One call: `commit` is what it does.
    pub async fn through<T: Send>(
        &self,
        site: Site,
        key: &str,
        timeout: Duration,
        commit: impl FnOnce(&mut Land) -> T + Send,
    ) -> Result<T, Broken> {
        self.unless_dead().await;
        let (fault, latency) = self.universe.land().call(site, key);
        if fault == Some(Fault::CrashBefore) {
            self.die(&mut self.universe.land());
        }
        self.unless_dead().await;
        tokio::time::sleep(Duration::from_millis(latency)).await;
        self.unless_dead().await;
        let answer = match fault {
            None => Ok(commit(&mut self.universe.land())),
            Some(Fault::SecondWriter) => {
                let mut land = self.universe.land();
                let named: Vec<Key> =
                    land.cluster.objects.keys().filter(|object| object.1 == key).cloned().collect();
                for object in named {
                    land.touch(&object);
                }
                Ok(commit(&mut land))
            }
            Some(
                fault @ (Fault::ReplyLost
                | Fault::ServerErrorAfter
                | Fault::Empty
                | Fault::Endless
                | Fault::Lie),
            ) => {
                drop(commit(&mut self.universe.land()));
                Err(Broken::Failed(fault))
            }
            Some(Fault::CrashAfter) => {
                self.commit_and_die(commit);
                Err(Broken::TimedOut)
            }
            Some(Fault::HangAfter) => {
                drop(commit(&mut self.universe.land()));
                tokio::time::sleep(timeout).await;
                Err(Broken::TimedOut)
            }
            Some(Fault::Hang | Fault::CrashBefore) => {
                tokio::time::sleep(timeout).await;
                Err(Broken::TimedOut)
            }
            Some(fault @ (Fault::Lost | Fault::ServerError | Fault::TooMany | Fault::Refused)) => {
                Err(Broken::Failed(fault))
            }
        };
        self.unless_dead().await;
        answer
    }
}
