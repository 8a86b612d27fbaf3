//! Publishes one picture and one sound into a LiveKit room: Program, or what the `camera` binary plays.

use super::room::{ADMISSION, Access, PUBLISHED, Renewal, connection_state};
use super::supervisor::{Link, Supervisor, Verdict};
use crate::engine::MixClock;
use crate::gst_log::{Listener, identity_was_taken};
use crate::outlet::{Outlet, Taker};
use anyhow::Context;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_webrtc as gst_webrtc;
use gstrswebrtc::signaller::Signallable;
use memorialstream_compositor_protocol::{PublisherStatus, Room};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What is published.
pub struct Streams {
    /// Encoded pictures.
    pub video: Arc<Outlet>,
    /// Raw sound; without it no sound is published.
    pub audio: Option<Arc<Outlet>>,
}

/// Keeps the streams published. Dropping it takes them out of the room.
pub struct Publisher {
    access: Access,
    supervisor: Supervisor,
    status: Arc<Mutex<PublisherStatus>>,
    over: watch::Receiver<Option<String>>,
}

impl Publisher {
    /// Publishes `streams` in the room and as the identity that `access` names, on `clock`.
    pub fn start(access: Access, streams: Streams, clock: MixClock) -> anyhow::Result<Self> {
        let status = Arc::new(Mutex::new(PublisherStatus { connected: false, error: None }));
        let (over_sender, over) = watch::channel(None);
        let link = PublisherLink {
            access: access.clone(),
            streams,
            status: status.clone(),
            over: over_sender,
            attempt: None,
        };
        Ok(Self { access, supervisor: Supervisor::start(link, clock)?, status, over })
    }

    /// The token, or the room, may have changed. A new token alone interrupts nothing.
    pub fn renew(&self, room: &Room) {
        match self.access.renew(&room.url, &room.name, &room.program_token) {
            Renewal::None => {}
            Renewal::Token => self.supervisor.hurry(),
            Renewal::Room => self.supervisor.rebuild(),
        }
    }

    /// Whether it is published.
    pub fn status(&self) -> PublisherStatus {
        lock(&self.status).clone()
    }

    /// Waits until it can never be published again, which is when somebody else joined as the same identity.
    pub async fn over(&self) -> String {
        let mut over = self.over.clone();
        let reason = over.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match reason {
            Ok(Some(reason)) => reason,
            // The supervisor ended without such a reason: it was stopped, and there is nothing to tell.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Leaves the room and waits until that is done.
    pub fn leave(&self) {
        self.supervisor.wait();
    }
}

struct PublisherLink {
    access: Access,
    streams: Streams,
    status: Arc<Mutex<PublisherStatus>>,
    over: watch::Sender<Option<String>>,
    attempt: Option<Attempt>,
}

/// One connection to the room.
struct Attempt {
    signaller: Signallable,
    taken: Arc<AtomicBool>,
    _listener: Listener,
    peer: Arc<Mutex<Option<gst::Element>>>,
    _takers: Vec<Arc<Taker>>,
}

impl Link for PublisherLink {
    fn name(&self) -> String {
        "publisher".into()
    }

    fn build(&mut self) -> anyhow::Result<gst::Pipeline> {
        let pipeline = gst::Pipeline::with_name("publisher");
        let sink = gst::ElementFactory::make("livekitwebrtcsink")
            // The picture is encoded already, and its rate is ours: nothing may be scaled down behind our back.
            .property_from_str("enable-mitigation-modes", "none")
            .property_from_str("congestion-control", "disabled")
            .property("do-fec", false)
            .build()
            .context("no livekitwebrtcsink")?;
        let signaller = self.access.apply(&sink);
        let taken = Arc::new(AtomicBool::new(false));
        let told = taken.clone();
        let listener = Listener::new(signaller.upcast_ref(), move |message| {
            if identity_was_taken(message) {
                told.store(true, Ordering::Release);
            }
        });
        let peer = watch_peer(&signaller);
        pipeline.add(&sink)?;
        let outlets = [("video", Some(&self.streams.video)), ("audio", self.streams.audio.as_ref())];
        let mut takers = Vec::new();
        for (kind, outlet) in outlets {
            let Some(outlet) = outlet else { continue };
            let (source, taker) = outlet.subscribe(&format!("published-{kind}"));
            pipeline.add(&source)?;
            let output = source.static_pad("src").context("a source has no pad")?;
            let input = sink.request_pad_simple(&format!("{kind}_%u")).context("the sink takes no stream")?;
            output.link(&input)?;
            takers.push(taker);
        }
        self.attempt = Some(Attempt { signaller, taken, _listener: listener, peer, _takers: takers });
        Ok(pipeline)
    }

    fn check(&mut self, age: Duration) -> Verdict {
        let Some(attempt) = &self.attempt else { return Verdict::Broken("there is no connection".into()) };
        if attempt.taken.load(Ordering::Acquire) {
            return Verdict::Over("another participant joined as the same identity".into());
        }
        let peer = attempt.peer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let state =
            peer.map(|peer| peer.property::<gst_webrtc::WebRTCPeerConnectionState>("connection-state"));
        let published = connection_state(&attempt.signaller) == PUBLISHED;
        let connected = published && state == Some(gst_webrtc::WebRTCPeerConnectionState::Connected);
        let was_connected = std::mem::replace(&mut lock(&self.status).connected, connected);
        if connected && !was_connected {
            tracing::info!("published in the room");
            lock(&self.status).error = None;
        }
        match state {
            _ if connected => Verdict::Working,
            Some(gst_webrtc::WebRTCPeerConnectionState::Failed) => {
                Verdict::Broken("the media connection to LiveKit failed".into())
            }
            _ if age > ADMISSION && !was_connected => {
                Verdict::Broken(format!("no media connection to LiveKit within {} s", ADMISSION.as_secs()))
            }
            _ => Verdict::Starting,
        }
    }

    fn ended(&mut self, reason: Option<&str>) {
        let over = self.attempt.take().is_some_and(|attempt| attempt.taken.load(Ordering::Acquire));
        let mut status = lock(&self.status);
        status.connected = false;
        if let Some(reason) = reason {
            status.error = Some(reason.to_string());
            if over {
                self.over.send_replace(Some(reason.to_string()));
            }
        }
    }
}

/// Remembers the connection that carries the media, once there is one.
fn watch_peer(signaller: &Signallable) -> Arc<Mutex<Option<gst::Element>>> {
    let peer = Arc::new(Mutex::new(None));
    let found = peer.clone();
    signaller.connect("webrtcbin-ready", false, move |values| {
        if let Some(Ok(webrtcbin)) = values.get(2).map(|value| value.get::<gst::Element>()) {
            *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(webrtcbin);
        }
        None
    });
    peer
}

fn lock(status: &Mutex<PublisherStatus>) -> MutexGuard<'_, PublisherStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}
