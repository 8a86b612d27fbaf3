//! The lab's command line.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use memorialstream_lab::lab::{self, Part};
use memorialstream_lab::{
    Cache, DESCRIPTION_VARIABLE, LabDescription, RunFolder, attach, images, mux_simulator, prepare,
};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(version, about = "A real cluster, LiveKit and a stand-in for Mux on one machine")]
struct CommandLine {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Install and build what is missing.
    Prepare {
        /// A command to run beside it, as soon as Debian's packages are there, and its arguments.
        #[arg(last = true)]
        beside: Vec<String>,
    },
    /// Start a lab; it stays up.
    Up {
        /// Which parts; absent: all.
        #[arg(long, value_enum, value_delimiter = ',')]
        parts: Vec<Part>,
    },
    /// Stop the lab.
    Down,
    /// Start a lab, run a command with it, stop the lab.
    Exec {
        /// Which parts; absent: all.
        #[arg(long, value_enum, value_delimiter = ',')]
        parts: Vec<Part>,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// List the lab's processes.
    Status,
    /// Serve as Mux; the lab starts this by itself.
    #[command(hide = true)]
    MuxSimulator {
        /// Its configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Build an image and bring it to the node.
    Image {
        /// Its name.
        #[arg(long)]
        tag: String,
        /// How it is built.
        #[arg(long)]
        file: PathBuf,
        /// The folder that it is built from.
        context: PathBuf,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    carry_out(CommandLine::parse().command).await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn carry_out(command: Subcommands) -> Result<ExitCode> {
    match command {
        Subcommands::Prepare { beside } => {
            let beside = beside.split_first().map(|(program, arguments)| {
                let mut command = std::process::Command::new(program);
                command.args(arguments);
                command
            });
            prepare(&Cache::open()?, beside)?;
        }
        Subcommands::Up { parts } => {
            let lab = lab::up(&all_if_none(parts))?;
            eprintln!(
                "lab  up: export KUBECONFIG={}; logs in {}",
                lab.kubeconfig.display(),
                lab.logs.display()
            );
        }
        Subcommands::Down => lab::down()?,
        Subcommands::Exec { parts, command } => return exec(&all_if_none(parts), &command).await,
        Subcommands::Status => {
            for process in attach()?.processes()? {
                println!("{:<28} {}", process.name, process.pid);
            }
        }
        Subcommands::MuxSimulator { config } => mux_simulator::run(&config).await?,
        Subcommands::Image { tag, file, context } => images::build(&attach()?, &tag, &file, &context)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn all_if_none(parts: Vec<Part>) -> Vec<Part> {
    if parts.is_empty() { Part::ALL.to_vec() } else { parts }
}

/// Runs the command in a lab, and stops the lab however the command ends.
async fn exec(parts: &[Part], command: &[String]) -> Result<ExitCode> {
    let (mut interrupted, mut terminated) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let lab = lab::up(parts)?;
    let ended = tokio::select! {
        code = run(&lab, command) => code,
        _ = interrupted.recv() => Ok(130),
        _ = terminated.recv() => Ok(143),
    };
    lab::down()?;
    Ok(ExitCode::from(ended?))
}

async fn run(lab: &LabDescription, command: &[String]) -> Result<u8> {
    let (program, arguments) = command.split_first().context("name a command")?;
    let folder = RunFolder::new(&lab.folder);
    let status = Command::new(program)
        .args(arguments)
        .env(DESCRIPTION_VARIABLE, folder.description())
        .env("KUBECONFIG", &lab.kubeconfig)
        .env("PATH", folder.search_path())
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| format!("run {program}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
