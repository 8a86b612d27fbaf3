//! A test pattern for the `camera` binary: one colour, a moving white ball, and a tone.

use crate::engine::MixClock;
use crate::engine::format::sound_caps;
use crate::outlet::{Outlet, key_unit_request};
use anyhow::{Context, bail};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::str::FromStr;
use std::sync::Arc;

/// A colour, as RGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub u32);

impl FromStr for Colour {
    type Err = anyhow::Error;

    /// Reads a name of the palette, or six hexadecimal digits.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let palette = [
            ("red", 0x00c0_2020),
            ("green", 0x0020_a020),
            ("blue", 0x0020_20c0),
            ("yellow", 0x00c0_c020),
            ("magenta", 0x00c0_20c0),
            ("cyan", 0x0020_c0c0),
            ("grey", 0x0080_8080),
        ];
        if let Some((_, value)) = palette.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*value));
        }
        match u32::from_str_radix(text, 16) {
            Ok(value) if text.len() == 6 => Ok(Self(value)),
            Ok(_) | Err(_) => {
                let names: Vec<&str> = palette.iter().map(|(name, _)| *name).collect();
                bail!("{text} is no colour; take one of {}, or six hexadecimal digits", names.join(", "))
            }
        }
    }
}

/// What the pattern looks and sounds like.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// Fills the picture.
    pub colour: Colour,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub frames_per_second: u32,
    /// Pitch of the tone, Hertz.
    pub tone: u32,
}

/// The running pattern; dropping it stops it.
pub struct RunningPattern {
    pipeline: gst::Pipeline,
}

impl Pattern {
    /// Plays into `video` (H.264) and `audio` (raw) until the result is dropped.
    pub fn play(
        self,
        video: Arc<Outlet>,
        audio: Option<Arc<Outlet>>,
        clock: &MixClock,
    ) -> anyhow::Result<RunningPattern> {
        let Self { colour, width, height, frames_per_second, tone } = self;
        let pipeline = gst::Pipeline::with_name("pattern");
        let picture = gst::parse::bin_from_description(
            &format!(
                "videotestsrc is-live=true pattern=ball foreground-color=0xffffffff background-color={} \
                 ! video/x-raw,format=I420,width={width},height={height},framerate={frames_per_second}/1 \
                 ! x264enc name=encoder tune=zerolatency speed-preset=ultrafast bitrate=600 key-int-max={} \
                 ! video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au \
                 ! h264parse config-interval=-1 ! appsink name=sink sync=false",
                0xff00_0000 | colour.0,
                2 * frames_per_second
            ),
            false,
        )?;
        let encoder = picture.by_name("encoder").and_then(|encoder| encoder.static_pad("src"));
        let encoder = encoder.context("the encoder has no output")?;
        video.on_key_frame_wanted(move || {
            if !encoder.send_event(key_unit_request()) {
                tracing::debug!("the encoder takes no request for a key frame now");
            }
        });
        drain(&picture, None, video)?;
        pipeline.add(&picture)?;
        if let Some(audio) = audio {
            let sound = gst::parse::bin_from_description(
                &format!(
                    "audiotestsrc is-live=true wave=sine freq={tone} volume=0.3 samplesperbuffer=960 \
                     ! audioconvert ! appsink name=sink sync=false"
                ),
                false,
            )?;
            drain(&sound, Some(&sound_caps()), audio)?;
            pipeline.add(&sound)?;
        }
        clock.adopt(&pipeline);
        pipeline.set_state(gst::State::Playing).context("the pattern does not start")?;
        Ok(RunningPattern { pipeline })
    }
}

impl Drop for RunningPattern {
    fn drop(&mut self) {
        if let Err(error) = self.pipeline.set_state(gst::State::Null) {
            tracing::warn!(%error, "the pattern does not stop");
        }
    }
}

fn drain(bin: &gst::Bin, caps: Option<&gst::Caps>, outlet: Arc<Outlet>) -> anyhow::Result<()> {
    let sink = bin.by_name("sink").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
    let sink = sink.context("the pattern has no output")?;
    sink.set_caps(caps);
    outlet.fill_from(&sink);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read() {
        assert_eq!("red".parse::<Colour>().unwrap(), Colour(0x00c0_2020));
        assert_eq!("12ab34".parse::<Colour>().unwrap(), Colour(0x0012_ab34));
        for bad in ["reddish", "12ab3", "12ab3g", ""] {
            let error = bad.parse::<Colour>().unwrap_err().to_string();
            assert!(error.contains("take one of red, green"), "{error}");
        }
    }
}
