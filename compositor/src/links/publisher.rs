//! Publishes one picture and one sound into a LiveKit room: Program, or what the `camera` binary plays.

use super::room::{ADMISSION, Access, PUBLISHED, Renewal, connection_state};
use super::supervisor::{Link, Supervisor, Verdict};
use crate::engine::MixClock;
use crate::gst_log::{Listener, leave_reason};
use crate::outlet::{Outlet, Taker};
use anyhow::Context;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_webrtc as gst_webrtc;
use gstrswebrtc::signaller::Signallable;
use memorialstream_compositor_protocol::{PublisherStatus, Room};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Largest RTP packet, bytes: it has to fit into a packet of the open internet.
const PACKET_SIZE: u32 = 1_200;

/// What is published.
pub struct Streams {
    /// Encoded pictures.
    pub video: Arc<Outlet>,
    /// Raw sound; without it no sound is published.
    pub audio: Option<Arc<Outlet>>,
}

/// What a publisher does when somebody deletes its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRoomDeleted {
    /// Leave for good, as LiveKit's own clients do: joining again would open the room once more.
    Leave,
    /// Join again: the operator makes the room anew.
    Rejoin,
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
    pub fn start(
        access: Access,
        streams: Streams,
        clock: MixClock,
        on_room_deleted: OnRoomDeleted,
    ) -> anyhow::Result<Self> {
        let status = Arc::new(Mutex::new(PublisherStatus::default()));
        let (over_sender, over) = watch::channel(None);
        let link = PublisherLink {
            access: access.clone(),
            streams,
            on_room_deleted,
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

    /// Waits until it can never be published again: somebody else joined as the same identity, or the room was deleted
    /// and that is the end.
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
    on_room_deleted: OnRoomDeleted,
    status: Arc<Mutex<PublisherStatus>>,
    over: watch::Sender<Option<String>>,
    attempt: Option<Attempt>,
}

/// One connection to the room.
struct Attempt {
    signaller: Signallable,
    /// Why it must not join again.
    over: Arc<OnceLock<&'static str>>,
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
        keep_pictures_whole(&sink);
        let signaller = self.access.apply(&sink);
        let over = Arc::new(OnceLock::new());
        let (told, on_room_deleted) = (over.clone(), self.on_room_deleted);
        let listener = Listener::new(signaller.upcast_ref(), move |message| {
            if let Some(reason) =
                leave_reason(message).and_then(|reason| final_reason(reason, on_room_deleted))
            {
                told.get_or_init(|| reason);
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
        self.attempt = Some(Attempt { signaller, over, _listener: listener, peer, _takers: takers });
        Ok(pipeline)
    }

    fn check(&mut self, age: Duration) -> Verdict {
        let Some(attempt) = &self.attempt else { return Verdict::Broken("there is no connection".into()) };
        if let Some(reason) = attempt.over.get() {
            return Verdict::Over((*reason).into());
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
        let over = self.attempt.take().is_some_and(|attempt| attempt.over.get().is_some());
        let mut status = lock(&self.status);
        status.connected = false;
        if let Some(reason) = reason {
            status.error = Some(reason.to_string());
            if over {
                status.identity_taken = true;
                self.over.send_replace(Some(reason.to_string()));
            }
        }
    }
}

/// What is said of a leave after which nothing is published any more.
fn final_reason(reason: &str, on_room_deleted: OnRoomDeleted) -> Option<&'static str> {
    match (reason, on_room_deleted) {
        ("DuplicateIdentity", _) => Some("another participant joined as the same identity"),
        ("RoomDeleted", OnRoomDeleted::Leave) => Some("the room was deleted: the service is over"),
        _ => None,
    }
}

/// By default the payloader repeats the parameter sets before each slice of a key frame. In the middle of a picture they
/// end it: a receiver then takes each slice for a picture of its own, and shows half of it. Those that the encoder's
/// parser puts before the whole picture are enough.
fn keep_pictures_whole(sink: &gst::Element) {
    sink.connect("payloader-setup", false, |values| {
        let payloader = values.get(3).and_then(|value| value.get::<gst::Element>().ok());
        let h264 = payloader
            .filter(|payloader| payloader.factory().is_some_and(|factory| factory.name() == "rtph264pay"));
        if let Some(payloader) = &h264 {
            payloader.set_property("mtu", PACKET_SIZE);
            payloader.set_property_from_str("aggregate-mode", "zero-latency");
            payloader.set_property("config-interval", 0_i32);
        }
        // True: nothing else sets it up.
        Some(h264.is_some().to_value())
    });
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

#[cfg(test)]
mod tests {
    use super::*;
    use gstreamer_app as gst_app;

    /// Pictures that a receiver makes of 30 pictures in two slices each, ten to a key frame.
    fn received(set_up: impl Fn(&gst::Element)) -> usize {
        let description = "videotestsrc num-buffers=30 pattern=ball ! video/x-raw,width=640,height=360 \
             ! x264enc tune=zerolatency sliced-threads=true threads=2 key-int-max=10 \
             ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au \
             ! rtph264pay name=payloader ! rtph264depay ! h264parse \
             ! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=sink sync=false";
        let pipeline = gst::parse::launch(description).unwrap().downcast::<gst::Pipeline>().unwrap();
        set_up(&pipeline.by_name("payloader").unwrap());
        let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let pictures = std::iter::from_fn(|| sink.pull_sample().ok()).count();
        pipeline.set_state(gst::State::Null).unwrap();
        pictures
    }

    #[test]
    fn pictures_in_slices_arrive_whole() {
        crate::initialize().unwrap();
        let sink = gst::ElementFactory::make("livekitwebrtcsink").build().unwrap();
        keep_pictures_whole(&sink);
        let set_up = |payloader: &gst::Element| {
            let is_set_up = sink.emit_by_name::<bool>("payloader-setup", &[&"peer", &"video_0", payloader]);
            assert!(is_set_up);
        };
        assert_eq!(received(set_up), 30);
    }

    #[test]
    fn a_camera_leaves_with_its_room_and_program_does_not() {
        use OnRoomDeleted::{Leave, Rejoin};
        for (reason, on_room_deleted, is_final) in [
            ("RoomDeleted", Leave, true),
            ("RoomDeleted", Rejoin, false),
            ("RoomClosed", Leave, false),
            ("DuplicateIdentity", Leave, true),
            ("DuplicateIdentity", Rejoin, true),
            ("ServerShutdown", Leave, false),
        ] {
            assert_eq!(
                final_reason(reason, on_room_deleted).is_some(),
                is_final,
                "{reason} {on_room_deleted:?}"
            );
        }
    }

    #[test]
    fn other_codecs_are_left_alone() {
        crate::initialize().unwrap();
        let sink = gst::ElementFactory::make("livekitwebrtcsink").build().unwrap();
        keep_pictures_whole(&sink);
        let payloader = gst::ElementFactory::make("rtpvp8pay").build().unwrap();
        sink.emit_by_name::<bool>("payloader-setup", &[&"peer", &"video_0", &payloader]);
        assert_eq!(payloader.property::<u32>("mtu"), PACKET_SIZE, "the sink's own set-up came after ours");
    }
}
