//! The whole compositor: the engine, its cameras, the publisher and the sender.

use crate::document::{Order, check_sender};
use crate::engine::{Engine, Opened, milliseconds};
use crate::links::camera::{OpenSource, SourceOpener};
use crate::links::publisher::{OnRoomDeleted, Publisher, Streams};
use crate::links::room::Access;
use crate::links::sender::{GOODBYE, Sender};
use crate::links::supervisor::TEARDOWN;
use crate::metrics::Takes;
use memorialstream_compositor_protocol::{
    CompositorStatus, ControlDocument, DocumentKey, PROTOCOL_VERSION, ProgramApplied, Refusal, RefusalReason,
    SenderRequest, SenderStatus, Shown, Video,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a document may take to be shown before its request is answered with a refusal.
const TAKE_TIMEOUT: Duration = Duration::from_millis(900);
/// How often the mix is looked after.
const ROUND: Duration = Duration::from_millis(200);
/// How long after its start the compositor counts as healthy without a frame.
const START: Duration = Duration::from_secs(15);

/// The running compositor.
pub struct Compositor {
    engine: Arc<Engine>,
    opener: Arc<dyn SourceOpener>,
    cameras: Mutex<Cameras>,
    publisher: Publisher,
    sender: Sender,
    takes: Mutex<Takes>,
    fault: watch::Receiver<Option<String>>,
    started: Instant,
}

/// The longest that [`Compositor::stop`] takes: an ingest that does not hear of the end, and a pipeline that hangs.
pub const STOP: Duration = Duration::from_millis(GOODBYE.mseconds()).saturating_add(TEARDOWN);

/// Why a compositor cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The mix failed, and how.
    Mix(String),
    /// Another participant joined the room as Program.
    IdentityTaken(String),
}

/// Open cameras by name, with the identity that each was opened for.
type Cameras = HashMap<String, (String, Box<dyn OpenSource>)>;

impl Compositor {
    /// Starts everything that `control` asks for. It fails when that could not be shown, or the mix itself cannot run.
    pub fn start(
        video: &Video,
        control: ControlDocument,
        opener: Arc<dyn SourceOpener>,
    ) -> anyhow::Result<Self> {
        let room = control.room.clone();
        let (engine, opened) = Engine::start(video, control)?;
        let engine = Arc::new(engine);
        let streams = Streams { video: engine.video(), audio: Some(engine.audio()) };
        let access = Access::new(&room.url, &room.name, &room.program_token);
        let publisher = Publisher::start(access, streams, engine.clock(), OnRoomDeleted::Rejoin)?;
        let sender = Sender::new(engine.video(), engine.audio(), engine.clock());
        let fault = look_after(&engine)?;
        let compositor = Self {
            engine,
            opener,
            cameras: Mutex::default(),
            publisher,
            sender,
            takes: Mutex::default(),
            fault,
            started: Instant::now(),
        };
        compositor.open(&mut compositor.cameras(), opened);
        Ok(compositor)
    }

    /// Applies `document`, which arrived at `arrived`, and returns once its first frame is at the encoder.
    pub async fn apply(
        self: &Arc<Self>,
        document: ControlDocument,
        arrived: Instant,
    ) -> Result<ProgramApplied, Refusal> {
        let key = document.key();
        let this = self.clone();
        // A request that is given up must not leave a document half applied, so this part runs to its end.
        let wanted = tokio::task::spawn_blocking(move || this.want(document)).await;
        let order =
            wanted.unwrap_or_else(|_| Err(not_running("the document could not be applied; see the log")))?;
        let first = tokio::time::timeout(TAKE_TIMEOUT, self.engine.shown(key)).await;
        let Ok(Some(first)) = first else {
            return Err(not_running("no frame with this document came out in time; Program stands still"));
        };
        let take = first.at.saturating_duration_since(arrived);
        if order == Order::Newer {
            lock(&self.takes).observe(take);
        }
        Ok(ProgramApplied {
            applied_generation: first.composition.key.generation,
            applied_revision: first.composition.key.revision,
            frame_presentation_nanoseconds: first.presentation.nseconds(),
            take_milliseconds: milliseconds(take),
            shown: (*first.composition.shown).clone(),
            sources: self.engine.sources(),
            unknown_fields: Vec::new(),
        })
    }

    /// Switches the sender on or off.
    pub async fn send(self: &Arc<Self>, request: SenderRequest) -> Result<SenderStatus, Refusal> {
        check_sender(&request)?;
        let this = self.clone();
        let switched = tokio::task::spawn_blocking(move || this.sender.request(&request)).await;
        switched.unwrap_or_else(|_| Err(not_running("the sender could not be switched; see the log")))
    }

    /// The compositor as it is now.
    pub fn status(&self) -> CompositorStatus {
        let (frames, newest) = self.engine.frames();
        let nothing = Shown { sources: Vec::new(), slate: None };
        let (key, shown, camera_was_shown) =
            newest.as_ref().map_or((DocumentKey::default(), nothing, false), |newest| {
                let composition = &newest.composition;
                (composition.key, (*composition.shown).clone(), composition.camera_was_shown)
            });
        let (encoded_frames, newest_encoded) = self.engine.encoded();
        CompositorStatus {
            protocol_version: PROTOCOL_VERSION,
            boot_error: None,
            generation: key.generation,
            revision: key.revision,
            frames,
            frame_age_milliseconds: newest.map(|newest| milliseconds(newest.at.elapsed())),
            encoded_frames: Some(encoded_frames),
            encoded_frame_age_milliseconds: newest_encoded.map(|at| milliseconds(at.elapsed())),
            publisher: self.publisher.status(),
            sender: self.sender.status(),
            shown,
            camera_was_shown,
            sources: self.engine.sources(),
        }
    }

    /// Whether it should be left alone: Program advances, or it has only just started.
    pub fn is_healthy(&self) -> bool {
        self.started.elapsed() < START || self.status().program_advances()
    }

    /// How long TAKEs took.
    pub fn takes(&self) -> Takes {
        lock(&self.takes).clone()
    }

    /// The mix.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Waits until the compositor cannot go on, and tells why.
    pub async fn failed(&self) -> Failure {
        let mut fault = self.fault.clone();
        let broken = async {
            match fault.wait_for(Option::is_some).await.map(|fault| fault.clone()) {
                Ok(Some(fault)) => Failure::Mix(fault),
                Ok(None) | Err(_) => std::future::pending().await,
            }
        };
        // Program's publisher is over for no other reason.
        let taken = async { Failure::IdentityTaken(self.publisher.over().await) };
        tokio::select! { failure = broken => failure, failure = taken => failure }
    }

    /// Stops the sender, so that the ingest hears of the end, and leaves the room. It blocks for as long as the slower of
    /// the two takes, which is bounded: see [`STOP`].
    pub fn stop(&self) {
        std::thread::scope(|scope| {
            let leaving = std::thread::Builder::new().spawn_scoped(scope, || self.publisher.leave());
            self.sender.stop();
            if leaving.is_err() {
                self.publisher.leave();
            }
            self.cameras().clear();
        });
    }

    /// Wants `document`, opens cameras that are new, closes those that are gone, and renews the access of the others.
    fn want(&self, document: ControlDocument) -> Result<Order, Refusal> {
        let mut cameras = self.cameras();
        let (room, declared) = (document.room.clone(), document.cameras.clone());
        let (order, opened) = self.engine.want(document)?;
        if order == Order::Same {
            return Ok(order);
        }
        cameras.retain(|name, (identity, _)| {
            declared.iter().any(|camera| camera.name == *name && camera.identity == *identity)
        });
        for camera in &declared {
            if let Some((_, open)) = cameras.get(&camera.name) {
                open.renew(camera, &room);
            }
        }
        self.open(&mut cameras, opened);
        self.publisher.renew(&room);
        Ok(order)
    }

    fn open(&self, cameras: &mut Cameras, opened: Vec<Opened>) {
        let room = self.engine.document().room.clone();
        for Opened { camera, feed } in opened {
            match self.opener.open(&camera, &room, feed) {
                Ok(open) => {
                    cameras.insert(camera.name, (camera.identity, open));
                }
                Err(error) => {
                    tracing::error!(
                        camera = camera.name,
                        error = format!("{error:#}"),
                        "a camera cannot be opened"
                    );
                }
            }
        }
    }

    fn cameras(&self) -> MutexGuard<'_, Cameras> {
        lock(&self.cameras)
    }
}

/// Watches the mix for faults and clears away what it no longer needs.
fn look_after(engine: &Arc<Engine>) -> anyhow::Result<watch::Receiver<Option<String>>> {
    let (sender, fault) = watch::channel(None);
    let engine = Arc::downgrade(engine);
    std::thread::Builder::new().name("mix-watch".into()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            if let Some(fault) = engine.fault(ROUND) {
                sender.send_replace(Some(crate::redact::redact(&fault)));
                return;
            }
            engine.clear_away();
        }
    })?;
    Ok(fault)
}

fn not_running(message: &str) -> Refusal {
    Refusal { reason: RefusalReason::PipelineNotRunning, message: message.to_string() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_ends_well_within_the_kubelets_patience() {
        // 10 s of grace, of which the process takes 1 s to clean up and some to end.
        assert!(STOP + Duration::from_secs(1) < Duration::from_secs(9), "{STOP:?}");
    }
}
