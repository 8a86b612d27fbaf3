//! A stand-in for Mux: its REST API, RTMP ingest through nginx, and HLS playback. The rules are those of
//! `memorialstream-mux-model`; here is what they touch.

mod admin;
mod configuration;
mod ingest;
mod nginx;
mod playback;
mod playlist;
mod rest;
mod server;
mod simulator;
mod slate;
mod spoilt;

pub use configuration::Configuration;

use anyhow::{Context, Result};
use simulator::Simulator;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serves until SIGTERM or SIGINT. What it remembers is kept in a file, so that it goes on where it was when it is
/// started again, as Mux does after an outage.
///
/// # Errors
/// When the configuration cannot be read, an address is taken, or the state cannot be kept.
pub async fn run(configuration: &Path) -> Result<()> {
    let configuration = Configuration::read(configuration)?;
    let bind =
        async |address| TcpListener::bind(address).await.with_context(|| format!("listen on {address}"));
    let api = bind(configuration.listen).await?;
    let callbacks = bind(configuration.callbacks).await?;
    let (simulator, effects) = Simulator::open(configuration)?;
    tokio::spawn(prepare_slate(simulator.clone()));
    let routes =
        admin::routes().merge(playback::routes()).fallback(rest::answer).with_state(simulator.clone());
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        () = server::serve(api, routes) => {}
        () = server::serve(callbacks, ingest::callbacks().with_state(simulator.clone())) => {}
        () = ingest::follow(&simulator, effects) => {}
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    simulator.keep()
}

/// Nobody waits for the slate when it is wanted.
async fn prepare_slate(simulator: Arc<Simulator>) {
    if let Err(error) = simulator.slate().await {
        eprintln!("there will be no slate: {error:#}");
    }
}
