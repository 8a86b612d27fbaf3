//! A camera for demos and tests: it publishes footage, or a test pattern, into a LiveKit room as a phone would.
//!
//! SIGUSR1 freezes it (it stays in the room and sends nothing), SIGUSR2 lets it go on.

use anyhow::{Context, bail, ensure};
use clap::{ArgGroup, Parser};
use memorialstream_compositor::engine::MixClock;
use memorialstream_compositor::footage::Footage;
use memorialstream_compositor::links::publisher::{OnRoomDeleted, Publisher, Streams};
use memorialstream_compositor::links::room::Access;
use memorialstream_compositor::outlet::Outlet;
use memorialstream_compositor::pattern::{Colour, Pattern, RunningPattern};
use memorialstream_compositor::redact::redact;
use memorialstream_compositor_protocol::Secret;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// What is logged unless `RUST_LOG` says otherwise: GStreamer's own log is full of false alarms, and what matters of
/// it is logged by whoever it concerns.
const QUIET: &str = "info,livekit_api=warn,gstreamer=off";

/// The environment variable that holds the token, unless a file does.
const TOKEN_VARIABLE: &str = "LIVEKIT_TOKEN";

/// Publishes footage, or a test pattern, into a LiveKit room as a phone would.
///
/// The token comes from the environment variable LIVEKIT_TOKEN, or from a file. SIGUSR1 freezes the camera,
/// SIGUSR2 lets it go on.
#[derive(Parser)]
#[command(name = "memorialstream-camera", version, group(ArgGroup::new("what").required(true).args(["file", "pattern"])))]
struct Arguments {
    /// LiveKit's WebSocket URL.
    #[arg(long)]
    url: String,
    /// A file with the LiveKit token in it.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Footage to play over and over: MP4, WebM or Matroska with H.264 (no B-frames) or VP8.
    #[arg(long)]
    file: Option<PathBuf>,
    /// A colour to show instead, with a moving white ball and a tone: a name such as red, or RRGGBB.
    #[arg(long)]
    pattern: Option<Colour>,
    /// Publish no sound.
    #[arg(long)]
    without_audio: bool,
    /// Width of the pattern, pixels.
    #[arg(long, default_value_t = 640)]
    width: u32,
    /// Height of the pattern, pixels.
    #[arg(long, default_value_t = 360)]
    height: u32,
    /// Frames per second of the pattern.
    #[arg(long, default_value_t = 15)]
    fps: u32,
    /// Pitch of the pattern's tone, Hertz.
    #[arg(long, default_value_t = 440)]
    tone: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| QUIET.into());
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = redact(&format!("{error:#}")), "stopped");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 1)]
async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut freeze = signal(SignalKind::user_defined1())?;
    let mut go_on = signal(SignalKind::user_defined2())?;
    let token = token(arguments)?;
    memorialstream_compositor::initialize()?;
    let clock = MixClock::start();
    let (streams, _pattern) = play(arguments, &clock)?;
    let (video, audio) = (streams.video.clone(), streams.audio.clone());
    let access = Access::new(&arguments.url, "", &token);
    let publisher = Publisher::start(access, streams, clock, OnRoomDeleted::Leave)?;
    let outlets = || audio.iter().chain([&video]);
    let over = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            reason = publisher.over() => break Some(reason),
            _ = freeze.recv() => {
                tracing::info!("frozen");
                outlets().for_each(|outlet| outlet.close(true));
            }
            _ = go_on.recv() => {
                tracing::info!("going on");
                outlets().for_each(|outlet| outlet.close(false));
            }
        }
    };
    tokio::task::spawn_blocking(move || publisher.leave()).await?;
    match over {
        Some(reason) => bail!(reason),
        None => Ok(()),
    }
}

/// Starts to play. The streams are what there is to publish, without sound where there is none.
fn play(arguments: &Arguments, clock: &MixClock) -> anyhow::Result<(Streams, Option<RunningPattern>)> {
    let video = Arc::new(Outlet::video());
    let sound = || Some(Arc::new(Outlet::audio()));
    if let Some(colour) = arguments.pattern {
        let pattern = Pattern {
            colour,
            width: arguments.width,
            height: arguments.height,
            frames_per_second: arguments.fps,
            tone: arguments.tone,
        };
        let audio = if arguments.without_audio { None } else { sound() };
        let running = pattern.play(video.clone(), audio.clone(), clock)?;
        return Ok((Streams { video, audio }, Some(running)));
    }
    let file = arguments.file.as_ref().context("neither --file nor --pattern is given")?;
    let footage = Footage::read(file, !arguments.without_audio)?;
    tracing::info!(file = %file.display(), seconds = footage.length().as_secs_f64(), "playing");
    // A stream that never comes would keep LiveKit from publishing the other one.
    let audio = if footage.has_sound() { sound() } else { None };
    let (pictures, played, clock) = (video.clone(), audio.clone(), clock.clone());
    std::thread::Builder::new().name("footage".into()).spawn(move || {
        if let Err(error) = footage.play(&pictures, played.as_deref(), &clock) {
            tracing::error!(error = format!("{error:#}"), "the footage cannot be played");
        }
    })?;
    Ok((Streams { video, audio }, None))
}

fn token(arguments: &Arguments) -> anyhow::Result<Secret> {
    let text = match &arguments.token_file {
        Some(file) => {
            std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?
        }
        None => std::env::var(TOKEN_VARIABLE)
            .with_context(|| format!("give the token in {TOKEN_VARIABLE}, or with --token-file"))?,
    };
    let text = text.trim();
    ensure!(!text.is_empty(), "the LiveKit token is empty");
    Ok(Secret::new(text))
}
