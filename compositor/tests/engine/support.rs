//! What the compositor's tests share: documents, coloured cameras, and a view of Program.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use memorialstream_compositor::engine::{Arrived, Engine, Feed, Opened, format};
use memorialstream_compositor_protocol::{
    Audio, Camera, ControlDocument, Layout, PROTOCOL_VERSION, Program, Room, Secret, Shown, Slate, SlateText,
    Video,
};
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a test waits for what has to happen.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Colours of cameras, as RGB.
pub const RED: u32 = 0x00_c0_20_20;
/// See [`RED`].
pub const GREEN: u32 = 0x00_20_a0_20;
/// See [`RED`].
pub const BLUE: u32 = 0x00_20_20_c0;
/// Width and height of Program, and of most cameras.
pub const SIZE: (i32, i32) = (320, 180);

/// A running engine. Only one runs at a time, so that tests take no time from each other's frames.
pub struct Alone {
    engine: Engine,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Alone {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

/// Starts an engine once no other test has one.
pub fn start(document: ControlDocument) -> (Alone, Vec<Opened>) {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed while it had its turn has nothing to do with this one.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    memorialstream_compositor::initialize().unwrap();
    let (engine, opened) = Engine::start(&video(), document).unwrap();
    (Alone { engine, _turn: turn }, opened)
}

/// Feeds red, green and blue into what was opened, and waits until all of them send.
pub fn colours(opened: Vec<Opened>) -> Vec<Colour> {
    let colours = opened.into_iter().zip([RED, GREEN, BLUE]);
    let cameras: Vec<Colour> =
        colours.map(|(opened, colour)| Colour::start(opened.feed, colour, SIZE, true)).collect();
    cameras.iter().for_each(|camera| eventually("a camera sends", || camera.pictures() > 5));
    cameras
}

/// Applies `document`, and returns its new cameras and its first frame.
pub fn apply(engine: &Engine, document: ControlDocument) -> (Vec<Opened>, Arrived) {
    let key = document.key();
    let (_, opened) = engine.want(document).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let arrived = runtime.block_on(async { tokio::time::timeout(TIMEOUT, engine.shown(key)).await });
    engine.clear_away();
    (opened, arrived.expect("no frame shows the document").unwrap())
}

/// Program of the tests.
pub fn video() -> Video {
    Video {
        width: 320,
        height: 180,
        frames_per_second: 15,
        bitrate_kbps: 500,
        stall_hold_milliseconds: 1_000,
    }
}

/// A document that declares `cameras` and shows the slate, changed by `change`.
pub fn document(
    generation: u64,
    cameras: &[&str],
    change: impl FnOnce(&mut ControlDocument),
) -> ControlDocument {
    let camera = |name: &&str| Camera {
        name: name.to_string(),
        identity: format!("camera-{name}"),
        token: Secret::new("token"),
    };
    let mut document = ControlDocument {
        protocol_version: PROTOCOL_VERSION,
        generation,
        revision: 0,
        session: 1,
        // Nobody listens there: the room is unreachable, and Program must not care.
        room: Room {
            url: "ws://127.0.0.1:9".into(),
            name: "room".into(),
            program_token: Secret::new("token"),
        },
        cameras: cameras.iter().map(camera).collect(),
        program: Program { layout: Layout::Single, sources: Vec::new(), fallback: Vec::new() },
        slate: Slate {
            before: "Soon".into(),
            interrupted: "One moment please".into(),
            ended: "Thank you".into(),
            text: SlateText::Before,
        },
        audio: Audio { enabled: true },
    };
    change(&mut document);
    document
}

/// A document that puts `camera` on Program.
pub fn take(generation: u64, cameras: &[&str], camera: &str, fallback: &[&str]) -> ControlDocument {
    document(generation, cameras, |document| {
        document.program.sources = vec![camera.into()];
        document.program.fallback = fallback.iter().map(ToString::to_string).collect();
    })
}

/// What is shown when `camera` is.
pub fn shows(camera: &str) -> Shown {
    Shown { sources: vec![camera.into()], slate: None }
}

/// What is shown when the slate is.
pub fn shows_slate(text: SlateText) -> Shown {
    Shown { sources: Vec::new(), slate: Some(text) }
}

/// A camera that sends one colour and a tone.
pub struct Colour {
    pipeline: gst::Pipeline,
    valves: Vec<gst::Element>,
    feed: Feed,
}

impl Colour {
    /// Feeds `colour` (RGB) of `width` × `height` pixels, with sound or without.
    pub fn start(feed: Feed, colour: u32, (width, height): (i32, i32), with_sound: bool) -> Self {
        let pipeline = gst::Pipeline::new();
        let mut valves = Vec::new();
        let picture = format!(
            "videotestsrc is-live=true pattern=solid-color foreground-color={} \
             ! video/x-raw,width={width},height={height},framerate=30/1 ! valve name=valve \
             ! videoconvertscale add-borders=true ! appsink name=sink sync=false",
            0xff00_0000 | colour
        );
        let sound = "audiotestsrc is-live=true wave=sine volume=0.5 samplesperbuffer=960 ! valve name=valve \
             ! audioconvert ! appsink name=sink sync=false";
        let parts = [(picture.as_str(), format::picture_caps(&video())), (sound, format::sound_caps())];
        for (number, (description, caps)) in parts.into_iter().take(1 + usize::from(with_sound)).enumerate() {
            let bin = gst::parse::bin_from_description(description, false).unwrap();
            let sink = bin.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
            sink.set_caps(Some(&caps));
            let feed = feed.clone();
            let new_sample = move |sink: &gst_app::AppSink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                if number == 0 { feed.picture(&sample) } else { feed.sound(&sample) }
            };
            sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(new_sample).build());
            valves.push(bin.by_name("valve").unwrap());
            pipeline.add(&bin).unwrap();
        }
        feed.clock().adopt(&pipeline);
        feed.joined();
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, valves, feed }
    }

    /// Stops sending, without leaving.
    pub fn stall(&self, stalled: bool) {
        self.valves.iter().for_each(|valve| valve.set_property("drop", stalled));
    }

    /// How many pictures it sent.
    pub fn pictures(&self) -> u64 {
        self.feed.pictures()
    }
}

impl Drop for Colour {
    fn drop(&mut self) {
        self.feed.left();
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// One frame at the encoder's input: luma and chroma of its middle and of its left edge, and how many of its
/// pixels are bright (the slate's letters are).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    pub middle: (u8, u8, u8),
    pub left_edge: (u8, u8, u8),
    pub bright: usize,
    pub presentation: u64,
}

impl Seen {
    /// Whether the middle is `colour`, give or take what conversion costs.
    pub fn is(&self, colour: u32) -> bool {
        near(self.middle, colour)
    }
}

/// Whether a pixel is `colour`.
pub fn near(pixel: (u8, u8, u8), colour: u32) -> bool {
    let [_, red, green, blue] = colour.to_be_bytes().map(f64::from);
    // BT.709, limited range.
    let luma = 16.0 + (0.2126 * red + 0.7152 * green + 0.0722 * blue) * 219.0 / 255.0;
    let blue_difference = 128.0 + (-0.1146 * red - 0.3854 * green + 0.5 * blue) * 224.0 / 255.0;
    let red_difference = 128.0 + (0.5 * red - 0.4542 * green - 0.0458 * blue) * 224.0 / 255.0;
    let pairs = [(pixel.0, luma), (pixel.1, blue_difference), (pixel.2, red_difference)];
    pairs.iter().all(|(seen, expected)| (f64::from(*seen) - expected).abs() < 8.0)
}

/// Every frame that entered the encoder.
#[derive(Clone, Default)]
pub struct Monitor {
    frames: Arc<(Mutex<Vec<Seen>>, Condvar)>,
}

impl Monitor {
    /// Watches `engine`.
    pub fn of(engine: &Engine) -> Self {
        let monitor = Self::default();
        let frames = monitor.frames.clone();
        engine
            .observe_frames(move |buffer| {
                let seen = see(buffer);
                frames.0.lock().unwrap().push(seen);
                frames.1.notify_all();
            })
            .unwrap();
        monitor
    }

    /// All frames so far.
    pub fn frames(&self) -> Vec<Seen> {
        self.frames.0.lock().unwrap().clone()
    }

    /// The frame that shows what `arrived` acknowledges.
    pub fn frame_of(&self, arrived: &Arrived) -> Seen {
        let presentation = arrived.presentation.nseconds();
        let find = || self.frames().into_iter().find(|seen| seen.presentation == presentation);
        // The acknowledgement may be a moment ahead of this monitor, which looks at the same frame.
        eventually("the acknowledged frame is seen", || find().is_some());
        find().unwrap()
    }

    /// Waits for a frame, from now on, that satisfies `wanted`.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let deadline = Instant::now() + TIMEOUT;
        let mut frames = self.frames.0.lock().unwrap();
        let mut next = frames.len();
        loop {
            while let Some(seen) = frames.get(next) {
                if wanted(seen) {
                    return *seen;
                }
                next += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no frame shows {what}; the last is {:?}", frames.last());
            frames = self.frames.1.wait_timeout(frames, left).unwrap().0;
        }
    }
}

/// Where the machine is busy the encoder loses frames now and then. Were changes the cause, most frames would be missing.
pub fn assert_hardly_any_is_missing(frames: &[Seen]) {
    let interval = 1_000_000_000 / u64::from(video().frames_per_second);
    let gaps = frames.windows(2).map(|pair| pair[1].presentation - pair[0].presentation);
    let missing: u64 = gaps.map(|gap| ((gap + interval / 2) / interval).saturating_sub(1)).sum();
    assert!(missing < frames.len() as u64, "{missing} missing beside {} frames of Program", frames.len());
}

fn see(buffer: &gst::BufferRef) -> Seen {
    let (width, height) = (video().width as usize, video().height as usize);
    let map = buffer.map_readable().unwrap();
    let pixel = |column: usize, row: usize| {
        let chroma = width * height + (row / 2) * (width / 2) + column / 2;
        (map[row * width + column], map[chroma], map[chroma + width * height / 4])
    };
    Seen {
        middle: pixel(width / 2, height / 2),
        left_edge: pixel(2, height / 2),
        bright: map[..width * height].iter().filter(|luma| **luma > 150).count(),
        presentation: buffer.pts().unwrap().nseconds(),
    }
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Loudness of Program: the root mean square of one buffer of its sound, of full scale.
pub struct Ear {
    sink: gst_app::AppSink,
    pipeline: gst::Pipeline,
    _taker: Arc<memorialstream_compositor::outlet::Taker>,
}

impl Ear {
    /// Listens to `engine`.
    pub fn of(engine: &Engine) -> Self {
        let (source, taker) = engine.audio().subscribe("ear");
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(5).drop(true).build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([source.upcast_ref::<gst::Element>(), sink.upcast_ref()]).unwrap();
        source.link(&sink).unwrap();
        engine.clock().adopt(&pipeline);
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { sink, pipeline, _taker: taker }
    }

    /// Loudness of the next buffer.
    pub fn loudness(&self) -> f64 {
        let sample =
            self.sink.try_pull_sample(gst::ClockTime::from_seconds(10)).expect("Program has no sound");
        let map = sample.buffer().unwrap().map_readable().unwrap();
        let samples =
            map.chunks_exact(2).map(|bytes| f64::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32768.0);
        let (count, sum) =
            samples.fold((0.0, 0.0), |(count, sum), sample| (count + 1.0, sum + sample * sample));
        (sum / f64::max(count, 1.0)).sqrt()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}
