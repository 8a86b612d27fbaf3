//! The board: what is wanted and what there is. For each frame of Program it sets every pad at once.

use super::feed::Feed;
use super::mix::Mix;
use super::slate::Slates;
use crate::program::{Picture, camera_was_shown, decide};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use memorialstream_compositor_protocol::{Camera, ControlDocument, DocumentKey, Shown, SlateText, Source};
use std::sync::Arc;
use std::time::Duration;

/// One frame of Program: which document it comes from and what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composition {
    /// The document that it shows.
    pub key: DocumentKey,
    /// What it shows.
    pub shown: Arc<Shown>,
    /// Whether a camera was shown in this session, up to this frame.
    pub camera_was_shown: bool,
}

/// One declared camera's inputs to the mix.
pub(super) struct Input {
    name: String,
    identity: String,
    pub(super) feed: Feed,
    video: (gst_app::AppSrc, gst::Pad),
    audio: (gst_app::AppSrc, gst::Pad),
    /// Whether a frame was composited without it since it was retired.
    hidden: bool,
}

impl Input {
    /// Adds inputs for `camera` to the running mix; it is neither seen nor heard yet.
    pub(super) fn attach(mix: &Mix, camera: &Camera) -> anyhow::Result<Self> {
        let video = mix.add_video()?;
        let audio = match mix.add_audio() {
            Ok(audio) => audio,
            Err(error) => {
                mix.remove(&video.0, &video.1)?;
                return Err(error);
            }
        };
        // A backstop: should the decision below ever fail, the pad itself lets go of an old picture.
        let hold = mix.stall_hold() * 4;
        video.1.set_property("max-last-buffer-repeat", u64::try_from(hold.as_nanos())?);
        let feed =
            Feed::new(&camera.name, video.0.clone(), audio.0.clone(), mix.clock.clone(), mix.stall_hold());
        Ok(Self {
            name: camera.name.clone(),
            identity: camera.identity.clone(),
            feed,
            video,
            audio,
            hidden: false,
        })
    }

    /// Takes the inputs out of the running mix.
    pub(super) fn detach(&self, mix: &Mix) -> anyhow::Result<()> {
        mix.remove(&self.video.0, &self.video.1)?;
        mix.remove(&self.audio.0, &self.audio.1)
    }

    /// Whether this is the input of `camera`, whatever its token is now.
    pub(super) fn is_of(&self, camera: &Camera) -> bool {
        self.name == camera.name && self.identity == camera.identity
    }
}

/// What is wanted, and the inputs there are.
pub(super) struct Board {
    document: Arc<ControlDocument>,
    camera_was_shown: bool,
    inputs: Vec<Input>,
    /// Inputs of cameras that are no longer declared, invisible, until they are taken out.
    retired: Vec<Input>,
    pub(super) slates: Slates,
    shown: Arc<Shown>,
    composed: DocumentKey,
}

impl Board {
    pub(super) fn new(document: ControlDocument, inputs: Vec<Input>, slates: Slates) -> Self {
        let camera_was_shown = camera_was_shown(false, None, &document);
        let shown = Arc::new(Shown { sources: Vec::new(), slate: None });
        Self {
            document: Arc::new(document),
            camera_was_shown,
            inputs,
            retired: Vec::new(),
            slates,
            shown,
            composed: DocumentKey::default(),
        }
    }

    /// The document that is wanted.
    pub(super) fn document(&self) -> Arc<ControlDocument> {
        self.document.clone()
    }

    /// Wants `document` from the next frame on. `added` are the inputs of cameras that had none.
    pub(super) fn want(&mut self, document: ControlDocument, added: Vec<Input>) {
        self.camera_was_shown = camera_was_shown(self.camera_was_shown, Some(&self.document), &document);
        self.inputs.extend(added);
        let declared = |input: &Input| document.cameras.iter().any(|camera| input.is_of(camera));
        let (kept, retired): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.inputs).into_iter().partition(declared);
        self.inputs = kept;
        self.retired.extend(retired);
        self.document = Arc::new(document);
    }

    /// The inputs that no frame shows any more.
    pub(super) fn take_retired(&mut self) -> Vec<Input> {
        let (hidden, waiting) = std::mem::take(&mut self.retired).into_iter().partition(|input| input.hidden);
        self.retired = waiting;
        hidden
    }

    /// Whether `camera` has its inputs.
    pub(super) fn has(&self, camera: &Camera) -> bool {
        self.inputs.iter().any(|input| input.is_of(camera))
    }

    /// Every declared camera, in the document's order.
    pub(super) fn sources(&self) -> Vec<Source> {
        let feed =
            |camera: &Camera| self.inputs.iter().find(|input| input.is_of(camera)).map(|input| &input.feed);
        self.document.cameras.iter().filter_map(feed).map(Feed::source).collect()
    }

    /// Decides what the frame that is about to be composited shows, and sets all pads for it.
    ///
    /// `staged` gives the offset of the buffer that a pad would show, if it has one.
    pub(super) fn compose(
        &mut self,
        now: Duration,
        staged: impl Fn(&gst::Pad) -> Option<u64>,
    ) -> Composition {
        let usable = |name: &str| {
            let input = self.inputs.iter().find(|input| input.name == name);
            input.is_some_and(|input| input.feed.is_usable(now) && staged(&input.video.1).is_some())
        };
        let picture = decide(&self.document, self.camera_was_shown, usable);
        if self.is_ready(&picture, staged) {
            self.show(&picture);
            self.composed = self.document.key();
        }
        Composition { key: self.composed, shown: self.shown.clone(), camera_was_shown: self.camera_was_shown }
    }

    /// A slate whose new text is still on its way is not shown: the picture stays for that moment.
    fn is_ready(&self, picture: &Picture, staged: impl Fn(&gst::Pad) -> Option<u64>) -> bool {
        picture.shown.slate.is_none_or(|text| {
            let (pad, drawing) = self.slates.wanted(text);
            staged(pad) == Some(drawing)
        })
    }

    fn show(&mut self, picture: &Picture) {
        for (text, pad) in self.slates.pads() {
            set_visible(pad, picture.shown.slate == Some(text));
        }
        for input in &self.inputs {
            set_visible(&input.video.1, picture.shown.sources.contains(&input.name));
            set_heard(&input.audio.1, picture.heard.as_ref() == Some(&input.name));
        }
        for input in &mut self.retired {
            set_visible(&input.video.1, false);
            set_heard(&input.audio.1, false);
            input.hidden = true;
        }
        self.camera_was_shown |= !picture.shown.sources.is_empty();
        if *self.shown != picture.shown {
            log(&picture.shown);
            self.shown = Arc::new(picture.shown.clone());
        }
    }
}

fn log(shown: &Shown) {
    match shown.slate {
        Some(SlateText::Before) => tracing::info!("Program shows the slate: before"),
        Some(SlateText::Interrupted) => tracing::info!("Program shows the slate: interrupted"),
        Some(SlateText::Ended) => tracing::info!("Program shows the slate: ended"),
        None => tracing::info!(cameras = shown.sources.join(", "), "Program shows"),
    }
}

fn set_visible(pad: &gst::Pad, visible: bool) {
    let alpha = if visible { 1.0_f64 } else { 0.0 };
    if pad.property::<f64>("alpha").to_bits() != alpha.to_bits() {
        pad.set_property("alpha", alpha);
    }
}

fn set_heard(pad: &gst::Pad, heard: bool) {
    if pad.property::<bool>("mute") == heard {
        pad.set_property("mute", !heard);
    }
}
