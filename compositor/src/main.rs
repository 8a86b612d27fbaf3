//! The compositor's process: it boots from a mounted folder, serves the operator, and stops cleanly.

use anyhow::{Context, bail};
use clap::Parser;
use memorialstream_compositor::boot;
use memorialstream_compositor::compositor::STOP;
use memorialstream_compositor::control::{control_router, metrics_router};
use memorialstream_compositor::lifecycle::Lifecycle;
use memorialstream_compositor::links::camera::RoomCameras;
use memorialstream_compositor_protocol::{BOOT_FOLDER, CONTROL_PORT, METRICS_PORT, SCRATCH_FOLDER};
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Mixes a LiveKit room's cameras into one Program, publishes it into the room and sends it to Mux.
#[derive(Parser)]
#[command(name = "memorialstream-compositor", version)]
struct Arguments {
    /// The folder that holds boot.json and bearer-token.
    #[arg(long, env = "MEMORIALSTREAM_BOOT_FOLDER", default_value = BOOT_FOLDER)]
    boot_folder: PathBuf,
    /// A folder that outlives the container but not the pod. A mark in it keeps a pod silent whose identity was taken.
    #[arg(long, env = "MEMORIALSTREAM_SCRATCH_FOLDER", default_value = SCRATCH_FOLDER)]
    scratch_folder: PathBuf,
    /// Where /v1, /healthz and /readyz are served.
    #[arg(long, default_value_t = everywhere(CONTROL_PORT))]
    control_address: SocketAddr,
    /// Where /metrics is served.
    #[arg(long, default_value_t = everywhere(METRICS_PORT))]
    metrics_address: SocketAddr,
}

/// What is logged unless `RUST_LOG` says otherwise: GStreamer's own log is full of false alarms, and what matters of
/// it is logged by whoever it concerns.
const QUIET: &str = "info,livekit_api=warn,gstreamer=off";

/// How long stopping may take beyond what stopping the links takes. Together they end well before the kubelet's patience,
/// which is 10 s.
const CLEAN_UP: Duration = Duration::from_secs(1);

fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| QUIET.into());
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.context("no threads can be started").and_then(|runtime| {
        let result = runtime.block_on(run(arguments));
        // Whatever hangs is left behind.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(
                error = memorialstream_compositor::redact::redact(&format!("{error:#}")),
                "stopped"
            );
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
    let boot = boot::read(&arguments.boot_folder)?;
    memorialstream_compositor::initialize()?;
    let control = listen(arguments.control_address).await?;
    let metrics = listen(arguments.metrics_address).await?;
    let bearer_token = boot.bearer_token.clone();
    let opener = Arc::new(RoomCameras { video: boot.video.clone() });
    let scratch = arguments.scratch_folder;
    let pod = tokio::task::spawn_blocking(move || Lifecycle::start(boot, opener, &scratch)).await?;
    let pod = Arc::new(pod);
    tracing::info!(control = %arguments.control_address, metrics = %arguments.metrics_address, "the compositor serves");

    let control = axum::serve(control, control_router(pod.clone(), bearer_token));
    let metrics = axum::serve(metrics, metrics_router(pod.clone()));
    let failure = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = pod.failed() => Some(reason),
        result = control.into_future() => Some(format!("the control port failed: {result:?}")),
        result = metrics.into_future() => Some(format!("the metrics port failed: {result:?}")),
    };
    let stopping = tokio::task::spawn_blocking(move || {
        pod.stop();
        drop(pod);
    });
    match tokio::time::timeout(STOP + CLEAN_UP, stopping).await {
        Ok(stopped) => stopped?,
        Err(_) => tracing::error!("not everything stopped in time; it is left behind"),
    }
    match failure {
        Some(reason) => bail!(reason),
        None => {
            tracing::info!("stopped on request");
            Ok(())
        }
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{address} cannot be listened on"))
}
