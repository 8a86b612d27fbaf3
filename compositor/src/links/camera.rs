//! One camera of the room: it is received, decoded and brought to Program's size in a pipeline of its own.

use super::room::{ADMISSION, Access, Renewal, SERVER_DISCONNECTED, connection_state};
use super::supervisor::{Link, Supervisor, Verdict};
use crate::engine::Feed;
use crate::engine::format::{picture_caps, sound_caps};
use crate::gst_log::{Listener, video_codec};
use crate::outlet::key_unit_request;
use anyhow::Context;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstrswebrtc::signaller::Signallable;
use memorialstream_compositor_protocol::{Camera, Room, Video};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Jitter buffer, milliseconds: time enough for a lost packet to be sent again over a mobile network.
const JITTER: u32 = 150;
/// A key frame is asked for this often until the first picture came, and while the camera stands still.
const KEY_FRAME_PAUSE: Duration = Duration::from_millis(200);
const KEY_FRAME_PAUSE_WHEN_STALLED: Duration = Duration::from_secs(2);

/// Opens declared cameras.
pub trait SourceOpener: Send + Sync + 'static {
    /// Starts to fill `feed` with what `camera` sends in `room`.
    fn open(&self, camera: &Camera, room: &Room, feed: Feed) -> anyhow::Result<Box<dyn OpenSource>>;
}

/// An open camera. Dropping it closes it.
pub trait OpenSource: Send {
    /// The camera's token, or the room, may have changed.
    fn renew(&self, camera: &Camera, room: &Room);
}

/// Opens cameras of a LiveKit room.
pub struct RoomCameras {
    /// The size that pictures are brought to.
    pub video: Video,
}

impl SourceOpener for RoomCameras {
    fn open(&self, camera: &Camera, room: &Room, feed: Feed) -> anyhow::Result<Box<dyn OpenSource>> {
        let access = Access::new(&room.url, &room.name, &camera.token);
        let clock = feed.clock().clone();
        let link = CameraLink {
            identity: camera.identity.clone(),
            access: access.clone(),
            picture_caps: picture_caps(&self.video),
            feed,
            attempt: None,
        };
        Ok(Box::new(RoomCamera { access, supervisor: Supervisor::start(link, clock)? }))
    }
}

struct RoomCamera {
    access: Access,
    supervisor: Supervisor,
}

impl OpenSource for RoomCamera {
    fn renew(&self, camera: &Camera, room: &Room) {
        match self.access.renew(&room.url, &room.name, &camera.token) {
            Renewal::None => {}
            Renewal::Token => self.supervisor.hurry(),
            Renewal::Room => self.supervisor.rebuild(),
        }
    }
}

struct CameraLink {
    identity: String,
    access: Access,
    picture_caps: gst::Caps,
    feed: Feed,
    attempt: Option<Attempt>,
}

/// One connection to the room.
struct Attempt {
    signaller: Signallable,
    tracks: Arc<Tracks>,
    pictures_before: u64,
    key_frame_asked: Option<Instant>,
    _listener: Listener,
}

/// What became of the camera's tracks, told by the pipeline's own threads.
#[derive(Default)]
struct Tracks {
    /// The pad that gives the picture; key frames are asked for here.
    picture: Mutex<Option<gst::Pad>>,
    has_sound: AtomicBool,
    gone: AtomicBool,
}

impl Link for CameraLink {
    fn name(&self) -> String {
        format!("camera-{}", self.feed.name())
    }

    fn build(&mut self) -> anyhow::Result<gst::Pipeline> {
        let pipeline = gst::Pipeline::with_name(&self.name());
        let source = gst::ElementFactory::make("livekitwebrtcsrc").build().context("no livekitwebrtcsrc")?;
        let signaller = self.access.apply(&source);
        signaller.set_property("producer-peer-id", &self.identity);
        let listener = answer_in_its_codec(&source, &signaller, &self.identity);
        shorten_jitter_buffer(&signaller);
        repair_after_loss(&pipeline);
        pipeline.add(&source)?;
        let tracks = Arc::new(Tracks::default());
        self.take_tracks(&pipeline, &source, &tracks);
        let pictures_before = self.feed.pictures();
        self.attempt =
            Some(Attempt { signaller, tracks, pictures_before, key_frame_asked: None, _listener: listener });
        Ok(pipeline)
    }

    fn check(&mut self, age: Duration) -> Verdict {
        let Some(attempt) = &mut self.attempt else {
            return Verdict::Broken("there is no connection".into());
        };
        if attempt.tracks.gone.load(Ordering::Acquire) {
            return Verdict::Broken("its tracks are gone".into());
        }
        if age > ADMISSION && connection_state(&attempt.signaller) == SERVER_DISCONNECTED {
            return Verdict::Broken(format!("LiveKit did not let it in within {} s", ADMISSION.as_secs()));
        }
        let has_picture = self.feed.pictures() > attempt.pictures_before;
        attempt.ask_for_key_frame(has_picture, self.feed.source().input_age_milliseconds);
        if has_picture { Verdict::Working } else { Verdict::Starting }
    }

    fn ended(&mut self, reason: Option<&str>) {
        self.attempt = None;
        self.feed.left();
        if let Some(reason) = reason {
            tracing::info!(camera = self.feed.name(), reason, "the camera's connection ended");
        }
    }
}

impl CameraLink {
    /// Every track that appears is taken: the first picture and the first sound to the mix, others to nowhere, since
    /// a track that is not linked would fail the whole source.
    fn take_tracks(&self, pipeline: &gst::Pipeline, source: &gst::Element, tracks: &Arc<Tracks>) {
        let weak = pipeline.downgrade();
        let (feed, picture_caps, taken) = (self.feed.clone(), self.picture_caps.clone(), tracks.clone());
        source.connect_pad_added(move |source, pad| {
            let Some(pipeline) = weak.upgrade() else { return };
            if let Err(error) = take_track(&pipeline, pad, &feed, &picture_caps, &taken) {
                let text = format!("the track {} cannot be taken: {error:#}", pad.name());
                gst::element_error!(source, gst::StreamError::Failed, ["{text}"]);
            }
        });
        let lost = tracks.clone();
        source.connect_pad_removed(move |_, pad| {
            if lost.picture().as_ref() == Some(pad) {
                lost.gone.store(true, Ordering::Release);
            }
        });
    }
}

impl Tracks {
    fn picture(&self) -> MutexGuard<'_, Option<gst::Pad>> {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// A decoder shows nothing before a key frame, and LiveKit sends one only when it is asked.
    fn ask_for_key_frame(&mut self, has_picture: bool, age_milliseconds: Option<u64>) {
        let stalled = age_milliseconds.is_none_or(|age| age > 1_000);
        let pause = if has_picture { KEY_FRAME_PAUSE_WHEN_STALLED } else { KEY_FRAME_PAUSE };
        if (has_picture && !stalled) || self.key_frame_asked.is_some_and(|asked| asked.elapsed() < pause) {
            return;
        }
        let pad = self.tracks.picture().clone();
        if let Some(pad) = pad {
            self.key_frame_asked = Some(Instant::now());
            if !pad.send_event(key_unit_request()) {
                tracing::trace!("a key frame cannot be asked for yet");
            }
        }
    }
}

fn take_track(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    feed: &Feed,
    picture_caps: &gst::Caps,
    tracks: &Arc<Tracks>,
) -> anyhow::Result<()> {
    let (description, caps) = if pad.name().starts_with("video") && tracks.picture().is_none() {
        // Phones rotate: the size changes in mid-stream, so every picture is fitted into Program's.
        (
            "queue leaky=downstream max-size-buffers=3 max-size-bytes=0 max-size-time=0 name=entry \
          ! videoconvertscale add-borders=true ! appsink name=sink sync=false",
            picture_caps.clone(),
        )
    } else if pad.name().starts_with("audio") && !tracks.has_sound.swap(true, Ordering::AcqRel) {
        (
            "queue leaky=downstream max-size-buffers=50 max-size-bytes=0 max-size-time=0 name=entry \
          ! audioconvert ! audioresample ! appsink name=sink sync=false",
            sound_caps(),
        )
    } else {
        (
            "queue leaky=downstream max-size-buffers=1 name=entry ! fakesink sync=false async=false",
            gst::Caps::new_any(),
        )
    };
    let bin = gst::parse::bin_from_description(description, false)?;
    let entry = bin.by_name("entry").and_then(|entry| entry.static_pad("sink")).context("no entry")?;
    if let Some(sink) = bin.by_name("sink").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok()) {
        sink.set_caps(Some(&caps));
        let is_picture = pad.name().starts_with("video");
        sink.set_callbacks(callbacks(is_picture, feed.clone(), tracks.clone()));
        if is_picture {
            *tracks.picture() = Some(pad.clone());
            feed.joined();
        }
    }
    let ghost = gst::GhostPad::builder_with_target(&entry)?.name("sink").build();
    bin.add_pad(&ghost)?;
    pipeline.add(&bin)?;
    bin.sync_state_with_parent()?;
    pad.link(&ghost)?;
    tracing::info!(camera = feed.name(), track = %pad.name(), "the camera publishes");
    Ok(())
}

fn callbacks(is_picture: bool, feed: Feed, tracks: Arc<Tracks>) -> gst_app::AppSinkCallbacks {
    let new_sample = move |sink: &gst_app::AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        if is_picture { feed.picture(&sample) } else { feed.sound(&sample) }
    };
    let eos = move |_: &gst_app::AppSink| {
        if is_picture {
            tracks.gone.store(true, Ordering::Release);
        }
    };
    gst_app::AppSinkCallbacks::builder().new_sample(new_sample).eos(eos).build()
}

/// LiveKit offers every codec that it knows, and webrtcbin answers with the first of them, whatever the camera sends.
/// So the answer is limited to the camera's codec as soon as LiveKit told it, which is before it offers anything.
fn answer_in_its_codec(source: &gst::Element, signaller: &Signallable, identity: &str) -> Listener {
    let (source, identity) = (source.downgrade(), identity.to_string());
    let known: Vec<String> = source.upgrade().map(|source| codecs(&source)).unwrap_or_default();
    Listener::new(signaller.upcast_ref(), move |message| {
        let Some(codec) =
            video_codec(message, &identity).filter(|codec| known.iter().any(|known| known == codec))
        else {
            return;
        };
        if let Some(source) = source.upgrade() {
            source.set_property("video-codecs", gst::Array::new([codec]));
        }
    })
}

/// The codecs that `source` can decode here.
fn codecs(source: &gst::Element) -> Vec<String> {
    let codecs = source.property::<gst::Array>("video-codecs");
    codecs.iter().filter_map(|codec| codec.get::<String>().ok()).collect()
}

/// The default of 200 ms is meant for two peers with the open internet between them; LiveKit is nearer.
fn shorten_jitter_buffer(signaller: &Signallable) {
    signaller.connect("webrtcbin-ready", false, |values| {
        if let Some(Ok(webrtcbin)) = values.get(2).map(|value| value.get::<gst::Element>()) {
            webrtcbin.set_property("latency", JITTER);
        }
        None
    });
}

/// After a loss the picture stands until the next key frame, which is asked for at once: a damaged picture is worse than
/// one that is held for a moment, and what lasts longer than the stall hold is replaced by the fallback or the slate.
fn repair_after_loss(pipeline: &gst::Pipeline) {
    let settings = [
        "request-keyframe",
        "wait-for-keyframe",
        "automatic-request-sync-points",
        "discard-corrupted-frames",
    ];
    pipeline.connect_deep_element_added(move |_, _, element| {
        for name in settings.into_iter().filter(|name| element.has_property(name)) {
            element.set_property(name, true);
        }
        // Decoding one camera needs less than one core, and of several threads libav conceals no loss.
        if element.has_property("max-threads") {
            element.set_property("max-threads", 1_i32);
        }
    });
}
