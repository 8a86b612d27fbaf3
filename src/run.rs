//! Runs both lanes as controllers on shared caches until the process is told to stop.

use crate::adapters::clock::SystemClock;
use crate::adapters::compositor::CompositorClient;
use crate::adapters::kubernetes::{KubernetesObjects, KubernetesPods, KubernetesSecrets, cluster_id};
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
use crate::world::{KubernetesError, World};
use anyhow::Context;
use futures::{FutureExt, StreamExt, channel::mpsc, future};
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ReflectHandle};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How many objects a lane works on at once.
const CONCURRENCY: u16 = 32;
/// How many changes wait for a slow subscriber before the cache waits for it.
const BUFFER: usize = 256;

/// What an installation decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Secret that is used when a MemorialStream names none.
    pub default_secret: DefaultSecret,
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
    let (streams, stream_writer) = reflector::store_shared::<MemorialStream>(BUFFER);
    let (pods, pod_writer) = reflector::store_shared::<Pod>(BUFFER);
    let subscribe_streams = || stream_writer.subscribe().context("subscribe to MemorialStreams");
    let subscribe_pods = || pod_writer.subscribe().context("subscribe to pods");
    let (life_cycle, fast) =
        ((subscribe_streams()?, subscribe_pods()?), (subscribe_streams()?, subscribe_pods()?));

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
        secrets: Arc::new(KubernetesSecrets::new(client.clone())),
        pods: Arc::new(KubernetesPods::new(client.clone(), pods.clone())),
        mux: Arc::new(Mux::new(Arc::new(transport))),
        livekit: Arc::new(LiveKit::over_http()),
        viewer: Arc::new(HttpViewer::new().map_err(|error| anyhow::anyhow!("set up the viewer: {error}"))?),
        compositor: Arc::new(CompositorClient::new().context("set up the client of compositor pods")?),
    };

    let watch_streams = watcher(Api::<MemorialStream>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect_shared(stream_writer)
        .for_each(async |event| {
            changed.send_replace(());
            log_watch("MemorialStreams", event.err());
        });
    let watch_pods = watcher(Api::<Pod>::all(client), watcher::Config::default().labels(UID_LABEL))
        .default_backoff()
        .reflect_shared(pod_writer)
        .for_each(async |event| log_watch("pods", event.err()));

    let (wake, woken) = mpsc::unbounded();
    let in_use = CredentialsInUse::default();
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
    let life_cycle = controller(life_cycle, streams.clone())
        .reconcile_on(woken)
        .graceful_shutdown_on(stop())
        .run(
            move |object, context: Arc<lifecycle::Context>| {
                let filled = filled.clone();
                async move {
                    filled.await;
                    lifecycle::reconcile(&context, &object).await
                }
            },
            |object, error, _| retry("life-cycle", &object, error),
            Arc::new(lane),
        )
        .for_each(|_| future::ready(()));
    let fast =
        controller(fast, streams)
            .graceful_shutdown_on(stop())
            .run(
                |object, context: Arc<program::Context>| async move {
                    program::reconcile(&context, &object).await
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
    }
    Ok(())
}

fn controller(
    (streams, pods): (ReflectHandle<MemorialStream>, ReflectHandle<Pod>),
    store: reflector::Store<MemorialStream>,
) -> Controller<MemorialStream> {
    // Status is the lanes' own writing; only what people changed wakes them. What is remembered of objects that are
    // gone is a few bytes each.
    let mut seen = HashMap::new();
    let changes = streams.filter(move |object| {
        let asked = asked(object);
        future::ready(seen.insert(object.metadata.uid.clone(), asked) != Some(asked))
    });
    Controller::for_shared_stream(changes, store)
        .owns_shared_stream(pods)
        .with_config(Config::default().concurrency(CONCURRENCY))
}

fn retry(lane: &str, object: &MemorialStream, error: &KubernetesError) -> Action {
    match error {
        // The cache is behind: the newer object is on its way.
        KubernetesError::Conflict => Action::requeue(Duration::from_millis(100)),
        error => {
            tracing::warn!(lane, object = object.name_any(), namespace = object.namespace(), %error, "a pass failed");
            Action::requeue(Duration::from_secs(5))
        }
    }
}

fn log_watch(what: &str, error: Option<watcher::Error>) {
    if let Some(error) = error {
        tracing::warn!(what, %error, "the watch broke; it is taken up again");
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
