//! The mix: one pipeline from the feeds and slates to encoded Program.

use super::clock::MixClock;
use super::format::{program_caps, sound_caps, variable_picture_caps};
use anyhow::{Context, bail};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_base as gst_base;
use memorialstream_compositor_protocol::Video;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a picture or sound may take to arrive and still be in time. It delays Program by as much, not a TAKE.
const ARRIVAL: gst::ClockTime = gst::ClockTime::from_mseconds(80);
/// A key frame at least this often.
const KEY_FRAME_SECONDS: u32 = 2;
/// What one core encodes with room to spare, pixels per second: 1280×720 at 30.
const PIXELS_OF_ONE_CORE: u64 = 1280 * 720 * 30;
/// Samples in one buffer of silence: 20 ms, as Opus has it.
const SILENCE_SAMPLES: i32 = 960;

/// The pipeline and the elements of it that others touch.
pub(super) struct Mix {
    pub(super) pipeline: gst::Pipeline,
    pub(super) compositor: gst_base::Aggregator,
    pub(super) mixer: gst::Element,
    pub(super) encoder: gst::Element,
    pub(super) video_sink: gst_app::AppSink,
    pub(super) audio_sink: gst_app::AppSink,
    pub(super) clock: MixClock,
    pub(super) video: Video,
    /// Counts inputs: they are named by it, since a camera may be called like anything, and comes and goes.
    inputs: AtomicU64,
}

impl Mix {
    /// Builds it; it does not run yet.
    pub(super) fn build(video: &Video) -> anyhow::Result<Self> {
        let pipeline = gst::Pipeline::with_name("mix");
        let compositor = aggregator("compositor")?;
        let mixer = aggregator("audiomixer")?;
        let encoder = encoder(video)?;
        let video_sink = sink("encoded-video");
        let audio_sink = sink("raw-audio");

        let picture = filter(&program_caps(video))?;
        // Where the encoder is too slow, frames are lost; Program never falls behind.
        let queue = gst::ElementFactory::make("queue")
            .property_from_str("leaky", "downstream")
            .property("max-size-buffers", 2_u32)
            .property("max-size-bytes", 0_u32)
            .property("max-size-time", 0_u64)
            .build()?;
        let encoded = filter(
            &gst::Caps::builder("video/x-h264")
                .field("profile", "constrained-baseline")
                .field("stream-format", "byte-stream")
                .field("alignment", "au")
                .build(),
        )?;
        let parser = gst::ElementFactory::make("h264parse").property("config-interval", -1_i32).build()?;
        let silence = gst::ElementFactory::make("audiotestsrc")
            .property_from_str("wave", "silence")
            .property("is-live", true)
            .property("samplesperbuffer", SILENCE_SAMPLES)
            .build()?;
        let silence_format = filter(&sound_caps())?;
        // It gives the silence room to wait in, without which the mixer could not wait for late sound.
        let silence_queue = gst::ElementFactory::make("queue").build()?;
        let sound = filter(&sound_caps())?;

        let program: [&gst::Element; 7] =
            [compositor.upcast_ref(), &picture, &queue, &encoder, &encoded, &parser, video_sink.upcast_ref()];
        let audio: [&gst::Element; 6] =
            [&silence, &silence_format, &silence_queue, &mixer, &sound, audio_sink.upcast_ref()];
        pipeline.add_many(program)?;
        pipeline.add_many(audio)?;
        gst::Element::link_many(program).context("Program's picture cannot be linked")?;
        gst::Element::link_many(audio).context("Program's sound cannot be linked")?;

        let clock = MixClock::start();
        clock.adopt(&pipeline);
        let compositor = compositor
            .downcast::<gst_base::Aggregator>()
            .map_err(|_| anyhow::anyhow!("this GStreamer's compositor is no aggregator"))?;
        let (video, inputs) = (video.clone(), AtomicU64::new(0));
        Ok(Self { pipeline, compositor, mixer, encoder, video_sink, audio_sink, clock, video, inputs })
    }

    /// How long a camera may stand still on air.
    pub(super) fn stall_hold(&self) -> Duration {
        Duration::from_millis(self.video.stall_hold_milliseconds.into())
    }

    /// A new input for pictures: its source, and its pad on the compositor, invisible as yet.
    pub(super) fn add_video(&self) -> anyhow::Result<(gst_app::AppSrc, gst::Pad)> {
        let source = source(&self.next_name(), &variable_picture_caps(&self.video));
        source.set_max_buffers(8);
        let pad = self.connect(&source, self.compositor.upcast_ref())?;
        pad.set_property("alpha", 0.0_f64);
        Ok((source, pad))
    }

    /// A new input for sound: its source, and its pad on the mixer, muted as yet.
    pub(super) fn add_audio(&self) -> anyhow::Result<(gst_app::AppSrc, gst::Pad)> {
        let source = source(&self.next_name(), &sound_caps());
        source.set_max_time(gst::ClockTime::SECOND);
        let pad = self.connect(&source, &self.mixer)?;
        pad.set_property("mute", true);
        Ok((source, pad))
    }

    /// Takes an input out while the mix runs.
    pub(super) fn remove(&self, source: &gst_app::AppSrc, pad: &gst::Pad) -> anyhow::Result<()> {
        let name = source.name();
        // Locked first, so that a state change of the pipeline cannot start it again meanwhile.
        source.set_locked_state(true);
        source.set_state(gst::State::Null).with_context(|| format!("{name} does not stop"))?;
        self.pipeline.remove(source).with_context(|| format!("{name} cannot be removed"))?;
        if let Some(aggregator) = pad.parent_element() {
            aggregator.release_request_pad(pad);
        }
        Ok(())
    }

    fn next_name(&self) -> String {
        format!("input-{}", self.inputs.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds `source` and links it to a new pad. What fails leaves nothing behind.
    fn connect(&self, source: &gst_app::AppSrc, aggregator: &gst::Element) -> anyhow::Result<gst::Pad> {
        self.pipeline.add(source)?;
        let Some(pad) = aggregator.request_pad_simple("sink_%u") else {
            self.pipeline.remove(source)?;
            bail!("no further input is possible");
        };
        let connected = link(source, &pad);
        if connected.is_err() {
            self.remove(source, &pad)?;
        }
        connected.map(|()| pad)
    }
}

impl Drop for Mix {
    fn drop(&mut self) {
        if let Err(error) = self.pipeline.set_state(gst::State::Null) {
            tracing::warn!(%error, "the mix does not stop");
        }
    }
}

fn link(source: &gst_app::AppSrc, pad: &gst::Pad) -> anyhow::Result<()> {
    let output = source.static_pad("src").context("a source has no pad")?;
    output.link(pad).context("an input cannot be linked")?;
    source.sync_state_with_parent().context("an input does not start")
}

/// A live aggregator that never waits for an input which is late, new or silent.
fn aggregator(factory: &str) -> anyhow::Result<gst::Element> {
    let builder = gst::ElementFactory::make(factory)
        .name(factory)
        .property("force-live", true)
        .property("ignore-inactive-pads", true)
        .property("min-upstream-latency", ARRIVAL.nseconds())
        .property_from_str("start-time-selection", "zero");
    let builder = match factory {
        "compositor" => builder.property("emit-signals", true).property_from_str("background", "black"),
        _ => builder.property("output-buffer-duration", 20_000_000_u64),
    };
    builder.build().with_context(|| format!("GStreamer has no working {factory}"))
}

fn encoder(video: &Video) -> anyhow::Result<gst::Element> {
    gst::ElementFactory::make("x264enc")
        .name("encoder")
        .property_from_str("tune", "zerolatency")
        .property_from_str("speed-preset", "superfast")
        .property("bitrate", video.bitrate_kbps)
        .property("vbv-buf-capacity", 1_000_u32)
        .property("key-int-max", KEY_FRAME_SECONDS * video.frames_per_second)
        .property("bframes", 0_u32)
        .property("byte-stream", true)
        .property("threads", encoder_threads(video))
        .build()
        .context("GStreamer has no working x264enc")
}

/// One thread makes one slice of a picture, which is the least that a receiver can get wrong. Only what one core cannot
/// encode in time gets as many as x264 likes, which is what 0 stands for.
fn encoder_threads(video: &Video) -> u32 {
    let pixels = u64::from(video.width) * u64::from(video.height) * u64::from(video.frames_per_second);
    if pixels <= PIXELS_OF_ONE_CORE { 1 } else { 0 }
}

fn filter(caps: &gst::Caps) -> anyhow::Result<gst::Element> {
    Ok(gst::ElementFactory::make("capsfilter").property("caps", caps).build()?)
}

/// A live source that forgets its oldest buffer rather than to hold up whoever fills it.
fn source(name: &str, caps: &gst::Caps) -> gst_app::AppSrc {
    let source = gst_app::AppSrc::builder()
        .name(name)
        .caps(caps)
        .format(gst::Format::Time)
        .is_live(true)
        .max_bytes(0)
        .leaky_type(gst_app::AppLeakyType::Downstream)
        .build();
    // Its buffers may wait, or the aggregators would think that they cannot.
    source.set_latency(gst::ClockTime::ZERO, gst::ClockTime::SECOND);
    source
}

fn sink(name: &str) -> gst_app::AppSink {
    gst_app::AppSink::builder().name(name).sync(false).max_buffers(0).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_cannot_be_connected_leaves_nothing_behind() {
        crate::initialize().unwrap();
        let video = Video {
            width: 320,
            height: 180,
            frames_per_second: 15,
            bitrate_kbps: 500,
            stall_hold_milliseconds: 500,
        };
        let mix = Mix::build(&video).unwrap();
        let counts = || (mix.pipeline.children().len(), mix.compositor.sink_pads().len());
        let before = counts();
        let unlucky = source("input-x", &sound_caps());
        mix.connect(&unlucky, &mix.encoder).unwrap_err();
        assert_eq!(counts(), before, "an encoder takes no second input");
        let (elsewhere, mixer) = (gst::Bin::new(), aggregator("audiomixer").unwrap());
        elsewhere.add(&mixer).unwrap();
        mix.connect(&unlucky, &mixer).unwrap_err();
        assert_eq!((counts(), mixer.sink_pads().len()), (before, 0), "it is no part of this mix");
        let (source, pad) = mix.add_video().unwrap();
        assert_eq!(counts(), (before.0 + 1, before.1 + 1));
        mix.remove(&source, &pad).unwrap();
        assert_eq!(counts(), before);
    }
}
