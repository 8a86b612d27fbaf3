//! The demo: a memorial service taken live on real parts, told step by step. Every kubectl command is printed as people
//! type it.

mod broadcast;
mod ending;
mod service;
mod telling;

use anyhow::Result;
use clap::{Parser, Subcommand};
use memorialstream_lab::LabDescription;
use std::process::ExitCode;
use telling::Telling;

#[derive(Parser)]
#[command(name = "memorialstream-demo", version, about = "Takes a memorial service live on this machine")]
struct CommandLine {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Start everything and go live; it stays up.
    Up {
        /// Run to the end instead, and check that nothing is left behind.
        #[arg(long, env = "DEMO_ONCE", value_parser = clap::builder::FalseyValueParser::new())]
        once: bool,
    },
    /// End everything that runs, and check that nothing is left behind.
    Down,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut telling = Telling::begin();
    let result = match CommandLine::parse().command {
        Subcommands::Up { once: false } => up(&mut telling).await,
        Subcommands::Up { once: true } => once(&mut telling).await,
        Subcommands::Down => ending::down(&mut telling).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telling.failed(&error);
            ExitCode::FAILURE
        }
    }
}

/// Goes live and stays so. After a failure everything is left as it is, to be looked at.
async fn up(telling: &mut Telling) -> Result<()> {
    let lab = broadcast::start_lab(telling)?;
    let live = broadcast::go_live(telling, &lab).await.inspect_err(|_| {
        telling.explain(&lab);
        telling.say("Everything still runs; `make demo-down` ends it.");
    })?;
    telling.how_to_go_on(&lab, &live.playback_url);
    Ok(())
}

/// Goes live, ends the service, deletes it, and stops the lab however that went.
async fn once(telling: &mut Telling) -> Result<()> {
    let lab = broadcast::start_lab(telling)?;
    let result = from_live_to_nothing(telling, &lab).await.inspect_err(|_| telling.explain(&lab));
    let stopped = ending::stop_lab(telling);
    result?;
    stopped?;
    telling.summary();
    Ok(())
}

async fn from_live_to_nothing(telling: &mut Telling, lab: &LabDescription) -> Result<()> {
    let live = broadcast::go_live(telling, lab).await?;
    ending::end(telling, lab, live).await?;
    ending::delete(telling, lab)?;
    ending::nothing_is_left(telling, lab).await
}
