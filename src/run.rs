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
use crate::lifecycle::plan::Timings;
use crate::lifecycle::slugs::Slugs;
use crate::program;
use crate::providers::mux::HttpTransport;
use crate::service::credentials::{CredentialsInUse, DefaultSecret};
use crate::service::pod::{PodTemplate, UID_LABEL};
use crate::service::trigger::asked;
use crate::watchdog::{Lane, Pulse, Watchdog};
use crate::world::{KubernetesError, World};
use anyhow::Context;
use futures::{FutureExt, StreamExt, channel::mpsc, future, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How many objects a lane works on at once.
const CONCURRENCY: u16 = 32;
/// After a pass the next one of the object comes at the latest after this long: the lanes never ask for a longer rest.
const LONGEST_REST: Duration = Duration::from_secs(3600);
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

/// Runs until SIGTERM or SIGINT. What is paid for goes on: the next process takes it over.
///
/// # Errors
/// The cluster cannot be reached at start, or a client cannot be set up.
pub async fn run(client: Client, settings: Settings) -> anyhow::Result<()> {
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
    let world = World {
        clock: Arc::new(SystemClock),
        objects: Arc::new(KubernetesObjects::new(client.clone(), streams.clone(), changes)),
        secrets: Arc::new(KubernetesSecrets::new(client.clone(), Some(settings.opt_in))),
        pods: Arc::new(KubernetesPods::new(client.clone(), pods.clone())),
        mux: Arc::new(Mux::new(Arc::new(transport))),
        livekit: Arc::new(LiveKit::over_http()),
        viewer: Arc::new(HttpViewer::new().map_err(|error| anyhow::anyhow!("set up the viewer: {error}"))?),
        compositor: Arc::new(CompositorClient::new().context("set up the client of compositor pods")?),
    };

    let [(life_cycle_waker, life_cycle_woken), (fast_waker, fast_woken)] =
        ["life-cycle", "program"].map(|name| {
            let (wake, woken) = mpsc::unbounded();
            (Waker { wake, lane: Arc::new(Lane::new(name, streams.clone())) }, woken)
        });
    let (life_cycle_lane, fast_lane) = (Arc::clone(&life_cycle_waker.lane), Arc::clone(&fast_waker.lane));
    let wake = life_cycle_waker.wake.clone();
    let wakers = [life_cycle_waker, fast_waker];
    let (unreadable, to_report) = mpsc::unbounded();
    let (stream_pulse, pod_pulse) = (Arc::new(Pulse::default()), Arc::new(Pulse::default()));
    Watchdog {
        lanes: vec![Arc::clone(&life_cycle_lane), Arc::clone(&fast_lane)],
        watches: vec![
            ("MemorialStreams", Arc::clone(&stream_pulse), RELIST + RELIST),
            ("pods", Arc::clone(&pod_pulse), RELIST + RELIST),
        ],
    }
    .start();

    let stream_wakers = wakers.clone();
    let mut asked_last = HashMap::new();
    let tell_of_stream = move |told: Told<MemorialStream>| {
        changed.send_replace(());
        match told {
            // Status is the lanes' own writing; only what people changed wakes them.
            Told::Changed(object) => {
                let asked = (object.metadata.uid.clone(), asked(&object));
                let reference = ObjectRef::from_obj(&object);
                if asked_last.insert(reference.clone(), asked.clone()) != Some(asked) {
                    stream_wakers.iter().for_each(|waker| waker.wake(&reference));
                }
            }
            Told::Gone(reference) => {
                asked_last.remove(&reference);
            }
            Told::Unreadable(object) => {
                if unreadable.unbounded_send(*object).is_err() {
                    tracing::debug!("nobody tells of unreadable objects any more");
                }
            }
        }
    };
    let all_streams = Api::<Stored>::all(client.clone());
    let watch_streams =
        keep(all_streams, watcher::Config::default(), stream_writer, &stream_pulse, tell_of_stream);
    let mut owners = HashMap::new();
    let tell_of_pod = move |told: Told<Pod>| {
        let owner = match told {
            Told::Changed(pod) => {
                let owner = owner(&pod);
                owners.insert(ObjectRef::from_obj(&pod), owner.clone());
                owner
            }
            Told::Gone(reference) => owners.remove(&reference).flatten(),
            Told::Unreadable(_) => None,
        };
        if let Some(owner) = owner {
            wakers.iter().for_each(|waker| waker.wake(&owner));
        }
    };
    let our_pods = watcher::Config::default().labels(UID_LABEL);
    let watch_pods = keep(Api::<Pod>::all(client.clone()), our_pods, pod_writer, &pod_pulse, tell_of_pod);
    let report = report(client, to_report);

    let in_use = CredentialsInUse::new(&settings.default_secret.namespace);
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
            future::join(lifecycle::keep_sweeping(&lane), lifecycle::wake_on_rotation(&lane)).await;
        }
    };
    let life_cycle = {
        let filled = filled.clone();
        controller(streams.clone(), life_cycle_woken)
            .run(
                move |object, context: Arc<lifecycle::Context>| {
                    let (filled, lane) = (filled.clone(), Arc::clone(&life_cycle_lane));
                    async move {
                        filled.await;
                        pass(&lane, &object, lifecycle::reconcile(&context, &object)).await
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
                async move {
                    filled.await;
                    pass(&lane, &object, program::reconcile(&context, &object)).await
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

/// Wakes objects in one lane.
#[derive(Clone)]
struct Waker {
    wake: mpsc::UnboundedSender<ObjectRef<MemorialStream>>,
    lane: Arc<Lane>,
}

impl Waker {
    fn wake(&self, object: &ObjectRef<MemorialStream>) {
        self.lane.woken(object);
        if self.wake.unbounded_send(object.clone()).is_err() {
            tracing::debug!("the controller is gone");
        }
    }
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
    object: &MemorialStream,
    reconcile: impl Future<Output = Result<Action, KubernetesError>>,
) -> Result<Action, KubernetesError> {
    let reference = ObjectRef::from_obj(object);
    lane.begins(&reference);
    let result = reconcile.await;
    let next = match &result {
        Ok(action) if *action == Action::await_change() => None,
        // How long until the next one does not show; it is seen when it begins.
        Ok(_) => Some(LONGEST_REST),
        Err(_) => Some(AFTER_FAILURE),
    };
    lane.ends(&reference, next);
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
