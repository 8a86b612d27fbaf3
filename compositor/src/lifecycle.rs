//! The pod around the compositor: it serves, also when its boot document is wrong or its identity was taken, and goes on
//! once the operator speaks to it.

use crate::boot::Boot;
use crate::compositor::{Compositor, Failure};
use crate::document::check;
use crate::links::camera::SourceOpener;
use crate::mark::Mark;
use crate::metrics::Takes;
use memorialstream_compositor_protocol::{
    CompositorStatus, ControlDocument, PROTOCOL_VERSION, ProgramApplied, PublisherStatus, Refusal,
    RefusalReason, SenderRequest, SenderStatus, Video,
};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// The pod.
pub struct Lifecycle {
    video: Video,
    opener: Arc<dyn SourceOpener>,
    mark: Mark,
    stage: watch::Sender<Stage>,
    /// Held while it goes from one stage to the next.
    turn: Mutex<()>,
}

/// What the pod is at.
#[derive(Clone)]
enum Stage {
    /// It composites.
    Running(Arc<Compositor>),
    /// It waits for a document, since what it was to boot from is wrong.
    BootFailed(String),
    /// It waits for a document, since another pod took its place in the room. Anything else would throw that one out,
    /// which would come back in turn, for ever.
    Silent(String),
}

impl Lifecycle {
    /// Starts what `boot` asks for, unless the mark in `scratch`, a folder that outlives the container, keeps it silent.
    pub fn start(boot: Boot, opener: Arc<dyn SourceOpener>, scratch: &Path) -> Self {
        let Boot { video, control, bearer_token: _ } = boot;
        let mark = Mark::in_folder(scratch);
        let stage = match (mark.read(), control) {
            (Some(reason), _) => {
                tracing::warn!(reason, "silent until the operator sends a document");
                Stage::Silent(reason)
            }
            (None, Err(error)) => boot_failed(error),
            (None, Ok(control)) => match Compositor::start(&video, control, opener.clone()) {
                Ok(compositor) => Stage::Running(Arc::new(compositor)),
                Err(error) => boot_failed(crate::redact::redact(&format!("{error:#}"))),
            },
        };
        Self { video, opener, mark, stage: watch::Sender::new(stage), turn: Mutex::new(()) }
    }

    /// Applies `document`, which arrived at `arrived`, and returns once its first frame is at the encoder. A pod that
    /// waits for a document starts with it.
    pub async fn apply(
        self: &Arc<Self>,
        document: ControlDocument,
        arrived: Instant,
    ) -> Result<ProgramApplied, Refusal> {
        let compositor = match self.stage() {
            Stage::Running(compositor) => compositor,
            Stage::BootFailed(_) | Stage::Silent(_) => {
                let (this, document) = (self.clone(), document.clone());
                // A request that is given up meanwhile must not undo this: a start may take longer than its patience.
                let begun = tokio::task::spawn_blocking(move || this.begin(document)).await;
                begun.unwrap_or_else(|_| {
                    Err(not_running("the mix could not be started; see the log".into()))
                })?
            }
        };
        compositor.apply(document, arrived).await
    }

    /// Switches the sender on or off.
    pub async fn send(&self, request: SenderRequest) -> Result<SenderStatus, Refusal> {
        match self.stage() {
            Stage::Running(compositor) => compositor.send(request).await,
            Stage::BootFailed(_) | Stage::Silent(_) if request.rtmp.is_none() => Ok(SenderStatus::default()),
            Stage::BootFailed(reason) | Stage::Silent(reason) => Err(not_running(format!(
                "nothing is composited that could be sent, send a document first: {reason}"
            ))),
        }
    }

    /// The pod as it is now.
    pub fn status(&self) -> CompositorStatus {
        let idle = CompositorStatus {
            protocol_version: PROTOCOL_VERSION,
            encoded_frames: Some(0),
            ..CompositorStatus::default()
        };
        match self.stage() {
            Stage::Running(compositor) => compositor.status(),
            Stage::BootFailed(error) => CompositorStatus { boot_error: Some(error), ..idle },
            Stage::Silent(reason) => CompositorStatus {
                publisher: PublisherStatus { connected: false, error: Some(reason), identity_taken: true },
                ..idle
            },
        }
    }

    /// Whether it should be left alone: starting it anew would be of no use.
    pub fn is_healthy(&self) -> bool {
        match self.stage() {
            Stage::Running(compositor) => compositor.is_healthy(),
            Stage::BootFailed(_) | Stage::Silent(_) => true,
        }
    }

    /// How long TAKEs took.
    pub fn takes(&self) -> Takes {
        match self.stage() {
            Stage::Running(compositor) => compositor.takes(),
            Stage::BootFailed(_) | Stage::Silent(_) => Takes::default(),
        }
    }

    /// Waits until the process has to end, and tells why.
    pub async fn failed(self: &Arc<Self>) -> String {
        let mut stages = self.stage.subscribe();
        loop {
            let stage = stages.borrow_and_update().clone();
            let failure = async {
                match stage {
                    Stage::Running(compositor) => compositor.failed().await,
                    Stage::BootFailed(_) | Stage::Silent(_) => std::future::pending().await,
                }
            };
            let reason = tokio::select! {
                failure = failure => match failure {
                    Failure::Mix(fault) => return format!("the mix failed: {fault}"),
                    Failure::IdentityTaken(reason) => reason,
                },
                // It cannot fail while `self` holds the sender.
                _ = stages.changed() => continue,
            };
            let (this, said) = (self.clone(), reason.clone());
            match tokio::task::spawn_blocking(move || this.fall_silent(said)).await {
                Ok(Ok(())) => return format!("Program cannot be published any more: {reason}"),
                // Without the mark the next container would join again, so this one stays, and is silent.
                Ok(Err(error)) => {
                    tracing::error!(error = format!("{error:#}"), "no mark of the silence is left")
                }
                Err(error) => tracing::error!(%error, "the compositor may not have stopped"),
            }
        }
    }

    /// Stops everything. It blocks for [`STOP`](crate::compositor::STOP) at most.
    pub fn stop(&self) {
        if let Stage::Running(compositor) = self.stage() {
            compositor.stop();
        }
    }

    /// The identity was taken: nothing is published or sent from now on, not by the next container either, until the
    /// operator sends a document. It fails if the next container will not know.
    fn fall_silent(&self, reason: String) -> anyhow::Result<()> {
        let _turn = self.turn();
        let marked = self.mark.set(&reason);
        if let Stage::Running(compositor) = self.stage.send_replace(Stage::Silent(reason)) {
            compositor.stop();
        }
        marked
    }

    /// Starts with the operator's `document`.
    fn begin(&self, document: ControlDocument) -> Result<Arc<Compositor>, Refusal> {
        let _turn = self.turn();
        if let Stage::Running(compositor) = self.stage() {
            return Ok(compositor);
        }
        check(&document)?;
        let compositor = Compositor::start(&self.video, document, self.opener.clone())
            .map_err(|error| not_running(crate::redact::redact(&format!("{error:#}"))))?;
        let compositor = Arc::new(compositor);
        if let Err(error) = self.mark.clear() {
            tracing::warn!(error = format!("{error:#}"), "the next container will be silent again");
        }
        tracing::info!("the compositor runs with the operator's document");
        self.stage.send_replace(Stage::Running(compositor.clone()));
        Ok(compositor)
    }

    fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn boot_failed(error: String) -> Stage {
    tracing::error!(error, "its boot document is wrong; it waits for the operator to send another one");
    Stage::BootFailed(error)
}

fn not_running(message: String) -> Refusal {
    Refusal { reason: RefusalReason::PipelineNotRunning, message }
}

/// Pods for tests.
#[cfg(test)]
pub(crate) mod fixture {
    use super::*;
    use crate::document::fixture::document;
    use crate::engine::Feed;
    use crate::links::camera::OpenSource;
    use memorialstream_compositor_protocol::{Camera, Room, Secret};
    use std::path::PathBuf;

    /// Cameras that send nothing.
    struct Absent;

    impl OpenSource for Absent {
        fn renew(&self, _: &Camera, _: &Room) {}
    }

    impl SourceOpener for Absent {
        fn open(&self, _: &Camera, _: &Room, _: Feed) -> anyhow::Result<Box<dyn OpenSource>> {
            Ok(Box::new(Absent))
        }
    }

    /// A folder for one test.
    pub(crate) struct Scratch(pub(crate) PathBuf);

    impl Scratch {
        pub(crate) fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("memorialstream-pod-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    /// A pod that boots from `control`, or from the slate.
    pub(crate) fn pod(scratch: &Scratch, control: Result<ControlDocument, String>) -> Arc<Lifecycle> {
        crate::initialize().unwrap();
        let video = Video {
            width: 320,
            height: 180,
            frames_per_second: 15,
            bitrate_kbps: 500,
            stall_hold_milliseconds: 500,
        };
        let boot = Boot { video, control, bearer_token: Secret::new("bearer") };
        Arc::new(Lifecycle::start(boot, Arc::new(Absent), &scratch.0))
    }

    /// A document that shows the slate.
    pub(crate) fn slate(generation: u64) -> ControlDocument {
        document(generation, 0, &["a"], |_| {})
    }

    /// Sends `document` until it is applied, since a busy machine may not show it in time, and waits until Program
    /// comes out of the encoder.
    pub(crate) async fn apply(pod: &Arc<Lifecycle>, document: ControlDocument) -> ProgramApplied {
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        let applied = loop {
            match pod.apply(document.clone(), Instant::now()).await {
                Ok(applied) => break applied,
                Err(refusal) => assert!(Instant::now() < deadline, "{refusal:?}"),
            }
        };
        while !pod.status().program_advances() {
            assert!(Instant::now() < deadline, "{:?}", pod.status());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        applied
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::{Scratch, apply, pod, slate};
    use super::*;
    use memorialstream_compositor_protocol::{RtmpDestination, Secret};

    fn on() -> SenderRequest {
        let rtmp = RtmpDestination { url: "rtmp://127.0.0.1:9/app".into(), stream_key: Secret::new("key") };
        SenderRequest { revision: 1, rtmp: Some(rtmp) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pod_whose_boot_document_is_wrong_says_so_and_boots_from_a_good_one() {
        let scratch = Scratch::new("boot");
        let unreadable = Err("control cannot be read".to_string());
        let mut impossible = slate(1);
        impossible.program.sources = vec!["stranger".into()];
        for (control, expected) in [(unreadable, "cannot be read"), (Ok(impossible.clone()), "stranger")] {
            let pod = pod(&scratch, control);
            let status = pod.status();
            assert!(status.boot_error.is_some_and(|error| error.contains(expected)));
            assert!(pod.is_healthy() && !pod.status().program_advances());
            assert!(pod.send(on()).await.is_err(), "there is nothing to send");
            assert_eq!(pod.send(SenderRequest::default()).await, Ok(SenderStatus::default()));

            let refusal = pod.apply(impossible.clone(), Instant::now()).await.unwrap_err();
            assert_eq!(refusal.reason, RefusalReason::UnknownCamera, "the next wrong one is refused");
            assert!(pod.status().boot_error.is_some());
            assert_eq!(apply(&pod, slate(2)).await.applied_generation, 2);
            let status = pod.status();
            assert!(status.boot_error.is_none(), "{status:?}");
            assert!(status.encoded_frames.is_some_and(|frames| frames > 0));
            assert_eq!(apply(&pod, slate(3)).await.applied_generation, 3, "it goes on as any other");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pod_whose_identity_was_taken_is_silent_until_the_operator_speaks() {
        let scratch = Scratch::new("silent");
        let first = pod(&scratch, Ok(slate(1)));
        assert!(!first.status().publisher.identity_taken);
        assert!(first.send(on()).await.is_ok());
        first.fall_silent("another participant joined as the same identity".into()).unwrap();
        let is_silent = |pod: &Lifecycle| {
            let status = pod.status();
            assert!(status.publisher.error.is_some_and(|error| error.contains("same identity")));
            assert_eq!((status.publisher.connected, status.frames, status.sender.attempts), (false, 0, 0));
            status.publisher.identity_taken && pod.is_healthy()
        };
        assert!(is_silent(&first));
        // The kubelet starts the container anew, and again.
        for _ in 0..2 {
            let next = pod(&scratch, Ok(slate(1)));
            assert!(is_silent(&next));
            assert!(next.send(on()).await.is_err());
        }
        let next = pod(&scratch, Err("wrong besides".into()));
        assert!(is_silent(&next));
        apply(&next, slate(1)).await;
        assert!(!next.status().publisher.identity_taken);
        let after = pod(&scratch, Ok(slate(1)));
        assert!(!after.status().publisher.identity_taken, "the mark is gone");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pod_that_cannot_leave_a_mark_stays_and_is_silent() {
        let scratch = Scratch::new("no-mark");
        let pod = pod(&scratch, Ok(slate(1)));
        std::fs::remove_dir_all(&scratch.0).unwrap();
        let error = pod.fall_silent("taken".into()).unwrap_err();
        assert!(error.to_string().contains("cannot be written"), "{error}");
        assert!(pod.status().publisher.identity_taken);
        apply(&pod, slate(2)).await;
        assert!(!pod.status().publisher.identity_taken);
    }
}
