//! One operator: both lanes on the caches of one process, run as kube's controller runs them.

use crate::cluster::{Change, Key, key_of, owner};
use crate::land::Universe;
use crate::livekit_api::Project;
use crate::mux::Wire;
use crate::process::Process;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use memorialstream_operator::adapters::livekit::LiveKit;
use memorialstream_operator::adapters::mux::Mux;
use memorialstream_operator::api::MemorialStream;
use memorialstream_operator::lifecycle;
use memorialstream_operator::lifecycle::context::Memories;
use memorialstream_operator::lifecycle::heard::Heard;
use memorialstream_operator::lifecycle::let_go::LetGo;
use memorialstream_operator::lifecycle::outlived::{is_let_go, keep_ending};
use memorialstream_operator::lifecycle::plan::Timings;
use memorialstream_operator::lifecycle::slugs::Slugs;
use memorialstream_operator::program;
use memorialstream_operator::service::credentials::{AllowedEndpoints, CredentialsInUse, DefaultSecret};
use memorialstream_operator::service::pod::PodTemplate;
use memorialstream_operator::service::trigger::{Wakes, wakes};
use memorialstream_operator::world::{KubernetesError, World};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc as channel};
use tokio::task::JoinHandle;

/// As in `run`.
const CONCURRENCY: usize = 32;
/// The operator's own namespace, and its Secret there.
pub const SYSTEM: (&str, &str) = ("system", "providers");
/// Names the cluster in markers.
pub const CLUSTER: &str = "cluster-1";

/// A running operator.
pub struct Operator {
    pub process: Arc<Process>,
    life_cycle: channel::UnboundedSender<Key>,
    tasks: Vec<JoinHandle<()>>,
}

/// Which lane.
#[derive(Clone)]
enum Lane {
    LifeCycle(Arc<lifecycle::Context>),
    Program(Arc<program::Context>),
}

tokio::task_local! {
    /// The UID of the object whose pass this is.
    pub static PASS_OF: String;
}

type Pass = BoxFuture<'static, (Key, Result<Action, KubernetesError>)>;

impl Operator {
    /// Starts one: its memory is empty.
    pub fn start(universe: &Arc<Universe>, id: u32) -> Self {
        let process = Process::new(universe, id);
        let world = World {
            clock: process.clone(),
            objects: process.clone(),
            secrets: process.clone(),
            pods: process.clone(),
            mux: Arc::new(Mux::new(Arc::new(Wire(process.clone())))),
            livekit: Arc::new(LiveKit::new({
                let process = process.clone();
                move |credentials| {
                    Ok(Arc::new(Project { process: process.clone(), credentials: credentials.clone() }))
                }
            })),
            viewer: process.clone(),
            compositor: process.clone(),
        };
        let default_secret = DefaultSecret {
            namespace: SYSTEM.0.into(),
            name: SYSTEM.1.into(),
            allowed_endpoints: AllowedEndpoints::parse("*.mux.com,livekit.example,livekit-b.example")
                .unwrap(),
        };
        let in_use = CredentialsInUse::new(default_secret.clone());
        let (wake, woken) = mpsc::unbounded();
        let (gone, outlived) = mpsc::unbounded();
        let heard = Heard::default();
        let context = Arc::new(lifecycle::Context {
            world: world.clone(),
            cluster_id: CLUSTER.into(),
            default_secret: default_secret.clone(),
            in_use: in_use.clone(),
            pod_template: PodTemplate { image: "compositor:1".into(), image_pull_policy: "Never".into() },
            timings: Timings::default(),
            wake,
            memories: Memories::default(),
            slugs: Slugs::default(),
            heard: heard.clone(),
            let_go: LetGo::default(),
        });
        let life_cycle = Lane::LifeCycle(Arc::clone(&context));
        let fast = Lane::Program(Arc::new(program::Context {
            world,
            default_secret,
            in_use,
            memories: program::Memories::default(),
        }));
        let (to_life_cycle, for_life_cycle) = channel::unbounded_channel();
        let (to_fast, for_fast) = channel::unbounded_channel();
        let waking = to_life_cycle.clone();
        let news = Arc::new(Notify::new());
        universe.land().cluster.watchers.push(Arc::clone(&news));
        let tasks = vec![
            tokio::spawn(watch(process.clone(), heard, news, woken, gone, to_life_cycle, to_fast)),
            tokio::spawn(run(process.clone(), life_cycle, for_life_cycle)),
            tokio::spawn(run(process.clone(), fast, for_fast)),
            tokio::spawn(async move {
                // As in `run`, once the caches are filled.
                tokio::time::sleep(Duration::from_millis(50)).await;
                tokio::join!(
                    lifecycle::keep_sweeping(&context),
                    lifecycle::wake_on_rotation(&context),
                    keep_ending(&context, outlived)
                );
            }),
        ];
        Self { process, life_cycle: waking, tasks }
    }

    /// Somebody asks for a pass of an object.
    pub fn wake(&self, key: Key) {
        drop(self.life_cycle.send(key));
    }

    /// Its memory is gone.
    pub fn abort(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Takes in what the watches tell, and wakes the lanes.
async fn watch(
    process: Arc<Process>,
    heard: Heard,
    news: Arc<Notify>,
    mut woken: mpsc::UnboundedReceiver<ObjectRef<MemorialStream>>,
    gone: mpsc::UnboundedSender<Arc<MemorialStream>>,
    life_cycle: channel::UnboundedSender<Key>,
    fast: channel::UnboundedSender<Key>,
) {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut last: BTreeMap<Key, Arc<MemorialStream>> = BTreeMap::new();
    // Who is told when a pod is gone: as in `run`.
    let mut owners: BTreeMap<Key, Option<String>> = BTreeMap::new();
    let first: Vec<Change> = {
        let land = process.universe.land();
        let mut caches = process.caches();
        caches.list(&land.cluster);
        caches
            .objects
            .iter()
            .map(|(key, object)| Change::Object(key.clone(), Some(Arc::clone(object))))
            .collect()
    };
    let mut arrived = first;
    loop {
        if !arrived.is_empty() {
            process.changes.send_replace(());
        }
        for change in arrived.drain(..) {
            match change {
                Change::Object(key, Some(object)) => {
                    heard.listen(&object);
                    let before = last.insert(key.clone(), Arc::clone(&object));
                    if let Some(before) = before.as_ref().filter(|before| is_let_go(before, &object)) {
                        drop(gone.unbounded_send(Arc::clone(before)));
                    }
                    let now = process.universe.land().wall_clock();
                    match wakes(before.as_deref(), &object, now) {
                        Wakes::BothLanes => drop((life_cycle.send(key.clone()), fast.send(key))),
                        Wakes::FastLane => drop(fast.send(key)),
                        Wakes::Nobody => {}
                    }
                }
                Change::Object(key, None) => {
                    if let Some(before) = last.remove(&key) {
                        drop(gone.unbounded_send(before));
                    }
                }
                Change::Pod(key, pod) => {
                    let uid = match pod {
                        Some(pod) => {
                            let owner = owner(&pod);
                            owners.insert(key.clone(), owner.clone());
                            owner
                        }
                        None => owners.remove(&key).flatten(),
                    };
                    let owned = process
                        .caches()
                        .objects
                        .values()
                        .find(|one| one.metadata.uid == uid && uid.is_some())
                        .map(|one| key_of(one));
                    if let Some(owned) = owned.filter(|owned| owned.0 == key.0) {
                        drop((life_cycle.send(owned.clone()), fast.send(owned)));
                    }
                }
            }
        }
        let next = {
            let mut land = process.universe.land();
            let mut caches = process.caches();
            let (changes, next) = caches.take_in(&land.cluster, land.now);
            land.watch.caches_good_since = land.watch.caches_good_since.max(caches.whole_at());
            arrived = changes;
            next
        };
        if !arrived.is_empty() {
            continue;
        }
        let next = process.universe.instant(next.unwrap_or(u64::MAX >> 24));
        tokio::select! {
            biased;
            reference = woken.next() => {
                if let Some(reference) = reference {
                    drop(life_cycle.send((reference.namespace.unwrap_or_default(), reference.name)));
                }
            }
            () = news.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// What is to be done when.
#[derive(Default)]
struct Queue {
    due: BTreeMap<Key, u64>,
    order: BTreeSet<(u64, Key)>,
}

impl Queue {
    /// The earlier of two times counts.
    fn put(&mut self, key: Key, at: u64) {
        if let Some(before) = self.due.get(&key).copied() {
            if before <= at {
                return;
            }
            self.order.remove(&(before, key.clone()));
        }
        self.order.insert((at, key.clone()));
        self.due.insert(key, at);
    }

    /// What is due and not held.
    fn take(&mut self, now: u64, held: &BTreeSet<Key>) -> Option<Key> {
        let found = self
            .order
            .iter()
            .take_while(|(at, _)| *at <= now)
            .find(|(_, key)| !held.contains(key))
            .cloned()?;
        self.order.remove(&found);
        self.due.remove(&found.1);
        Some(found.1)
    }

    fn next(&self, held: &BTreeSet<Key>) -> Option<u64> {
        self.order.iter().find(|(_, key)| !held.contains(key)).map(|(at, _)| *at)
    }
}

async fn run(process: Arc<Process>, lane: Lane, mut woken: channel::UnboundedReceiver<Key>) {
    let mut queue = Queue::default();
    let mut running: BTreeSet<Key> = BTreeSet::new();
    let mut passes: FuturesUnordered<Pass> = FuturesUnordered::new();
    loop {
        let now = process.universe.land().now;
        while running.len() < CONCURRENCY {
            let Some(key) = queue.take(now, &running) else { break };
            let Some(object) = process.caches().objects.get(&key).cloned() else { continue };
            process.universe.land().pass_begins(matches!(lane, Lane::LifeCycle(_)), &key);
            running.insert(key.clone());
            passes.push(pass(lane.clone(), key, object));
        }
        let next = if running.len() < CONCURRENCY { queue.next(&running) } else { None };
        let next = process.universe.instant(next.unwrap_or(u64::MAX >> 24));
        tokio::select! {
            biased;
            Some((key, result)) = passes.next(), if !passes.is_empty() => {
                running.remove(&key);
                let now = process.universe.land().now;
                let again = match result {
                    Ok(action) => requeue(&action),
                    Err(KubernetesError::Conflict) => Some(100),
                    Err(_) => Some(5_000),
                };
                if let Some(again) = again {
                    queue.put(key, now + again);
                }
            }
            key = woken.recv() => {
                let Some(key) = key else { return };
                queue.put(key, now);
            }
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

fn pass(lane: Lane, key: Key, object: Arc<MemorialStream>) -> Pass {
    let of = object.metadata.uid.clone().unwrap_or_default();
    let work = async move {
        let result = match lane {
            Lane::LifeCycle(context) => lifecycle::reconcile(&context, &object).await,
            Lane::Program(context) => program::reconcile(&context, &object).await,
        };
        (key, result)
    };
    PASS_OF.scope(of, work).boxed()
}

/// Milliseconds until the next pass. kube tells them to nobody but its controller, and in its `Debug`.
fn requeue(action: &Action) -> Option<u64> {
    let text = format!("{action:?}");
    let (_, text) = text.split_once("Some(")?;
    let text = text.split(')').next()?;
    let units = [("ms", 1.0), ("µs", 0.001), ("ns", 0.000_001), ("s", 1000.0)];
    let (number, unit) = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    let milliseconds = number.parse::<f64>().ok()? * unit;
    Some(milliseconds.ceil() as u64)
}
