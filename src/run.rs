//! Runs both lanes as controllers on shared caches until the process is told to stop.

use crate::adapters::clock::SystemClock;
use crate::adapters::compositor::CompositorClient;
use crate::adapters::kubernetes::{
    KubernetesObjects, KubernetesPods, KubernetesSecrets, OptIn, RELIST, Stored, Told, cluster_id, keep,
    report,
};
use crate::adapters::livekit::LiveKit;
use crate::adapters::mux::Mux;
use crate::adapters::viewer::HttpViewer;
use crate::api::MemorialStream;
use crate::lifecycle;
use crate::lifecycle::context::Memories;
use crate::lifecycle::heard::Heard;
use crate::lifecycle::let_go::LetGo;
use crate::lifecycle::outlived::{is_let_go, keep_ending};
use crate::lifecycle::plan::Timings;
use crate::lifecycle::slugs::Slugs;
use crate::places::Places;
use crate::program;
use crate::providers::mux::HttpTransport;
use crate::service::credentials::{CredentialsInUse, DefaultSecret};
use crate::service::pod::{PodTemplate, UID_LABEL};
use crate::service::trigger::{Wakes, wakes};
use crate::watchdog::{Lane, Pulse, Watchdog};
use crate::world::{KubernetesError, World};
use anyhow::Context;
use futures::{FutureExt, StreamExt, channel::mpsc, future, stream};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How many objects a lane works on at once.
const CONCURRENCY: u16 = 48;
/// Of one namespace.
const OF_ONE_NAMESPACE: usize = 32;
/// Who waits in line for a place is woken; if that should fail, it comes again by itself.
const WAITS_AT_MOST: Duration = Duration::from_secs(60);
/// When a pass that failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What an installation decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Secret that is used when a MemorialStream names none.
    pub default_secret: DefaultSecret,
    /// How a namespace lets the operator use its Secrets.
    pub opt_in: OptIn,
    /// What compositor pods look like.
    pub pod_template: PodTemplate,
    /// Names the cluster in markers; absent: the UID of kube-system.
    pub cluster_id: Option<String>,
    /// How long the life-cycle lane waits for what.
    pub timings: Timings,
}

/// Runs until SIGTERM or SIGINT. What is paid for goes on: the next process takes it over. `watches` is for the two long
/// watches.
///
/// # Errors
/// The cluster cannot be reached at start, or a client cannot be set up.
pub async fn run(client: Client, watches: Client, settings: Settings) -> anyhow::Result<()> {
    let (streams, stream_writer) = reflector::store::<MemorialStream>();
    let (pods, pod_writer) = reflector::store::<Pod>();

    let (changed, changes) = watch::channel(());
    let cluster_id = match settings.cluster_id {
        Some(cluster_id) => cluster_id,
        None => cluster_id(&client)
            .await
            .context("read the UID of the namespace kube-system; give --cluster-id if that is not allowed")?,
    };
    let transport = HttpTransport::new().context("set up the client of Mux")?;
    let objects = KubernetesObjects::new(client.clone(), streams.clone(), changes);
    let world = World {
        clock: Arc::new(SystemClock),
        objects: Arc::new(objects.clone()),
        secrets: Arc::new(KubernetesSecrets::new(client.clone(), Some(settings.opt_in))),
        pods: Arc::new(KubernetesPods::new(client.clone(), pods.clone())),
        mux: Arc::new(Mux::new(Arc::new(transport))),
        livekit: Arc::new(LiveKit::over_http()),
        viewer: Arc::new(HttpViewer::new().map_err(|error| anyhow::anyhow!("set up the viewer: {error}"))?),
        compositor: Arc::new(CompositorClient::new().context("set up the client of compositor pods")?),
    };

    let [(life_cycle_lane, wake, life_cycle_woken), (fast_lane, _, fast_woken)] = ["life-cycle", "program"]
        .map(|name| {
            let (wake, woken) = mpsc::unbounded();
            (Arc::new(Lane::new(name, streams.clone(), wake.clone())), wake, woken)
        });
    let lanes = [Arc::clone(&life_cycle_lane), Arc::clone(&fast_lane)];
    let [life_cycle_places, fast_places] =
        lanes.clone().map(|lane| Places::new(OF_ONE_NAMESPACE, move |object| lane.wake_if_there(object)));
    let (unreadable, to_report) = mpsc::unbounded();
    let (gone, outlived) = mpsc::unbounded();
    let (stream_pulse, pod_pulse) = (Arc::new(Pulse::default()), Arc::new(Pulse::default()));
    Watchdog {
        lanes: lanes.to_vec(),
        watches: vec![
            ("MemorialStreams", Arc::clone(&stream_pulse), RELIST + RELIST),
            ("pods", Arc::clone(&pod_pulse), RELIST + RELIST),
        ],
    }
    .start();

    let heard = Heard::default();
    let (woken_by_streams, woken_fast, listening) = (lanes.clone(), Arc::clone(&fast_lane), heard.clone());
    let clock = Arc::clone(&world.clock);
    let end_what_outlives = move |object: Arc<MemorialStream>| {
        if gone.unbounded_send(object).is_err() {
            tracing::debug!("nobody ends what outlives its object any more");
        }
    };
    let tell_of_stream = move |told: Told<MemorialStream>| {
        changed.send_replace(());
        match told {
            Told::Changed { reference, before, now } => {
                listening.listen(&now);
                objects.note_readable(&now);
                // Somebody else's finalizer may hold it on.
                if let Some(before) = before.as_ref().filter(|before| is_let_go(before, &now)) {
                    end_what_outlives(Arc::clone(before));
                }
                match wakes(before.as_deref(), &now, clock.now()) {
                    Wakes::BothLanes => woken_by_streams.iter().for_each(|lane| lane.wake(&reference)),
                    Wakes::FastLane => woken_fast.wake(&reference),
                    Wakes::Nobody => {}
                }
            }
            Told::Gone(before) => {
                listening.forget(&before);
                end_what_outlives(before);
            }
            Told::Unreadable(object) => {
                objects.note_unreadable(&object);
                if unreadable.unbounded_send(*object).is_err() {
                    tracing::debug!("nobody tells of unreadable objects any more");
                }
            }
        }
    };
    let all_streams = Api::<Stored<MemorialStream>>::all(watches.clone());
    let watch_streams =
        keep(all_streams, watcher::Config::default(), stream_writer, &stream_pulse, tell_of_stream);
    let tell_of_pod = move |told: Told<Pod>| {
        let owner = match told {
            Told::Changed { now, .. } => owner(&now),
            Told::Gone(before) => owner(&before),
            Told::Unreadable(pod) => {
                let ObjectMeta { name, namespace, .. } = pod.metadata;
                tracing::warn!(
                    ?namespace,
                    ?name,
                    reason = pod.reason,
                    "a pod cannot be read, and is left alone"
                );
                None
            }
        };
        if let Some(owner) = owner {
            lanes.iter().for_each(|lane| lane.wake(&owner));
        }
    };
    let our_pods = watcher::Config::default().labels(UID_LABEL);
    let watch_pods = keep(Api::<Stored<Pod>>::all(watches), our_pods, pod_writer, &pod_pulse, tell_of_pod);
    let report = report(client, to_report);

    let in_use = CredentialsInUse::new(settings.default_secret.clone());
    let lane = lifecycle::Context {
        world: world.clone(),
        cluster_id: cluster_id.into(),
        default_secret: settings.default_secret.clone(),
        in_use: in_use.clone(),
        pod_template: settings.pod_template,
        timings: settings.timings,
        wake,
        memories: Memories::default(),
        slugs: Slugs::default(),
        heard,
        let_go: LetGo::default(),
    };
    let program_lane = program::Context {
        world,
        default_secret: settings.default_secret,
        in_use,
        memories: program::Memories::default(),
    };

    // A lane starts once both caches are filled: an empty cache of pods would look like a missing compositor.
    let filled = {
        let (streams, pods) = (streams.clone(), pods.clone());
        async move { (streams.wait_until_ready().await, pods.wait_until_ready().await) }.map(|_| ()).shared()
    };
    let beside = {
        let (filled, lane) = (filled.clone(), lane.clone());
        async move {
            filled.await;
            future::join3(
                lifecycle::keep_sweeping(&lane),
                lifecycle::wake_on_rotation(&lane),
                keep_ending(&lane, outlived),
            )
            .await;
        }
    };
    let life_cycle = {
        let filled = filled.clone();
        controller(streams.clone(), life_cycle_woken)
            .run(
                move |object, context: Arc<lifecycle::Context>| {
                    let (filled, lane) = (filled.clone(), Arc::clone(&life_cycle_lane));
                    let places = Arc::clone(&life_cycle_places);
                    async move {
                        filled.await;
                        pass(&lane, &places, &object, lifecycle::reconcile(&context, &object)).await
                    }
                },
                |object, error, _| retry("life-cycle", &object, error),
                Arc::new(lane),
            )
            .for_each(|_| future::ready(()))
    };
    let fast = controller(streams, fast_woken)
        .run(
            move |object, context: Arc<program::Context>| {
                let (filled, lane) = (filled.clone(), Arc::clone(&fast_lane));
                let places = Arc::clone(&fast_places);
                async move {
                    filled.await;
                    pass(&lane, &places, &object, program::reconcile(&context, &object)).await
                }
            },
            |object, error, _| retry("program", &object, error),
            Arc::new(program_lane),
        )
        .for_each(|_| future::ready(()));

    tracing::info!("running");
    tokio::select! {
        _ = future::join(life_cycle, fast) => tracing::info!("stopped"),
        () = watch_streams => anyhow::bail!("the watch of MemorialStreams ended"),
        () = watch_pods => anyhow::bail!("the watch of pods ended"),
        () = beside => anyhow::bail!("nobody looks after Secrets any more"),
        () = report => anyhow::bail!("nobody tells of unreadable objects any more"),
    }
    Ok(())
}

/// Whose a pod says that it is.
fn owner(pod: &Pod) -> Option<ObjectRef<MemorialStream>> {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or(&[]);
    let controller = owners.iter().find(|owner| owner.controller == Some(true))?;
    ObjectRef::from_owner_ref(pod.metadata.namespace.as_deref(), controller, ())
}

/// A controller that is told by us which objects changed.
fn controller(
    store: reflector::Store<MemorialStream>,
    woken: mpsc::UnboundedReceiver<ObjectRef<MemorialStream>>,
) -> Controller<MemorialStream> {
    Controller::for_stream(stream::pending(), store)
        .reconcile_on(woken)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(stop())
}

/// One pass, with its progress told.
async fn pass(
    lane: &Lane,
    places: &Arc<Places>,
    object: &MemorialStream,
    reconcile: impl Future<Output = Result<Action, KubernetesError>>,
) -> Result<Action, KubernetesError> {
    let reference = ObjectRef::from_obj(object);
    lane.begins(&reference);
    let Some(_place) = places.take(&reference) else {
        lane.ends(&reference, Some(WAITS_AT_MOST));
        return Ok(Action::requeue(WAITS_AT_MOST));
    };
    let result = reconcile.await;
    // When the next one is due does not show in kube's answer: it is seen when it begins.
    lane.ends(&reference, result.is_err().then_some(AFTER_FAILURE));
    result
}

fn retry(lane: &str, object: &MemorialStream, error: &KubernetesError) -> Action {
    match error {
        // The cache is behind: the newer object is on its way.
        KubernetesError::Conflict => Action::requeue(Duration::from_millis(100)),
        error => {
            tracing::warn!(lane, object = object.name_any(), namespace = object.namespace(), %error, "a pass failed");
            Action::requeue(AFTER_FAILURE)
        }
    }
}

async fn stop() {
    let interrupt = tokio::signal::ctrl_c().map(|_| ());
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            future::select(Box::pin(interrupt), Box::pin(terminate.recv())).await;
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be watched");
            interrupt.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watchdog::LANE_BOUND;
    use kube::runtime::watcher::Event;
    use std::time::Instant;

    /// What a pass does in a test.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Passes {
        End,
        Hang,
    }

    /// A lane on kube's controller over one object, and each pass as it begins.
    struct Stage {
        lane: Arc<Lane>,
        /// Each pass as it begins: the object's namespace.
        begun: mpsc::UnboundedReceiver<String>,
        controller: tokio::task::JoinHandle<()>,
        dog: Watchdog,
        // The store lives as long as its writer.
        _writer: reflector::store::Writer<MemorialStream>,
    }

    impl Stage {
        fn new(passes: Passes) -> Self {
            let (store, mut writer) = reflector::store();
            let object = |name: &str, namespace: &str| {
                let mut object = MemorialStream::new(name, Default::default());
                object.metadata.namespace = Some(namespace.into());
                Event::InitApply(object)
            };
            let others = (0..OTHERS).map(|number| object(&number.to_string(), "slow"));
            [Event::Init, object("jane", "default")]
                .into_iter()
                .chain(others)
                .chain([Event::InitDone])
                .for_each(|event| writer.apply_watcher_event(&event));
            let (wake, woken) = mpsc::unbounded();
            let lane = Arc::new(Lane::new("life-cycle", store.clone(), wake));
            let (begins, begun) = mpsc::unbounded();
            let (watched, wakes) = (Arc::clone(&lane), Arc::clone(&lane));
            let places = Places::new(OF_ONE_NAMESPACE, move |object| wakes.wake_if_there(object));
            let reconcile = move |object: Arc<MemorialStream>, passes: Arc<Passes>| {
                let (lane, begins) = (Arc::clone(&watched), begins.clone());
                let places = Arc::clone(&places);
                async move {
                    let work = async {
                        begins.unbounded_send(object.namespace().unwrap()).unwrap();
                        if *passes == Passes::Hang || object.namespace().unwrap() != "default" {
                            future::pending::<()>().await;
                        }
                        Ok(Action::await_change())
                    };
                    pass(&lane, &places, &object, work).await
                }
            };
            let retry = |object: Arc<MemorialStream>, error: &KubernetesError, _: Arc<Passes>| {
                retry("life-cycle", &object, error)
            };
            let work = Controller::for_stream(stream::pending(), store)
                .reconcile_on(woken)
                .with_config(Config::default().concurrency(CONCURRENCY))
                .run(reconcile, retry, Arc::new(passes))
                .for_each(|_| future::ready(()));
            let dog = Watchdog { lanes: vec![Arc::clone(&lane)], watches: Vec::new() };
            Self { lane, begun, controller: tokio::spawn(work), dog, _writer: writer }
        }

        async fn begins(&mut self) -> String {
            let begun = tokio::time::timeout(Duration::from_secs(60), self.begun.next()).await;
            begun.expect("a pass begins").expect("the controller lives")
        }

        fn wake(&self) {
            self.lane.wake(&ObjectRef::new("jane").within("default"));
        }
    }

    /// Objects of the other namespace.
    const OTHERS: usize = 2 * CONCURRENCY as usize;

    #[tokio::test]
    async fn passes_that_hang_in_one_namespace_leave_places_to_the_others() {
        let mut stage = Stage::new(Passes::End);
        for number in 0..OTHERS {
            stage.lane.wake(&ObjectRef::new(&number.to_string()).within("slow"));
        }
        for _ in 0..OF_ONE_NAMESPACE {
            assert_eq!(stage.begins().await, "slow");
        }
        stage.wake();
        assert_eq!(stage.begins().await, "default");
        assert!(stage.begun.try_recv().is_err(), "who waits is not gone through again and again");
    }

    fn later(bounds: f64) -> Instant {
        Instant::now() + LANE_BOUND.mul_f64(bounds)
    }

    #[tokio::test]
    async fn a_pass_that_never_ends_is_noticed_within_the_bound() {
        let mut stage = Stage::new(Passes::Hang);
        stage.wake();
        stage.begins().await;
        assert_eq!(stage.dog.look(later(0.9)), None);
        let found = stage.dog.look(later(1.1)).expect("it is noticed");
        assert!(found.contains("life-cycle lane"), "{found}");
    }

    #[tokio::test]
    async fn a_lane_that_nobody_wakes_is_tried_out_and_lives() {
        let mut stage = Stage::new(Passes::End);
        assert_eq!(stage.dog.look(later(0.9)), None);
        assert!(stage.begun.try_recv().is_err(), "nothing is due, and it is not tried out yet");
        assert_eq!(stage.dog.look(later(1.1)), None);
        stage.begins().await;
        assert_eq!(stage.dog.look(later(0.9)), None);
    }

    #[tokio::test]
    async fn a_lane_that_nobody_wakes_any_more_is_noticed_within_twice_the_bound() {
        let mut stage = Stage::new(Passes::End);
        stage.wake();
        stage.begins().await;
        stage.controller.abort();
        assert!((&mut stage.controller).await.is_err());
        assert_eq!(stage.dog.look(later(1.1)), None, "it is tried out");
        assert_eq!(stage.dog.look(later(2.0)), None);
        let found = stage.dog.look(later(2.2)).expect("it is noticed");
        assert!(found.contains("life-cycle lane"), "{found}");
    }
}
