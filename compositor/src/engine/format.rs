//! The raw formats in which pictures and sound travel between pipelines.

use gstreamer as gst;
use memorialstream_compositor_protocol::Video;

/// Samples per second of Program's sound: Opus knows no other.
pub const AUDIO_RATE: i32 = 48_000;
/// Left and right.
pub const AUDIO_CHANNELS: i32 = 2;

/// A picture of Program's size. A camera's rate is its own; Program's is added by [`program_caps`].
pub fn picture_caps(video: &Video) -> gst::Caps {
    picture(video).build()
}

/// As [`picture_caps`], for frames that come when they come.
pub fn variable_picture_caps(video: &Video) -> gst::Caps {
    picture(video).field("framerate", gst::Fraction::new(0, 1)).build()
}

/// Program's own frames.
pub fn program_caps(video: &Video) -> gst::Caps {
    picture(video).field("framerate", gst::Fraction::new(pixels(video.frames_per_second), 1)).build()
}

/// Sound, interleaved 16-bit samples.
pub fn sound_caps() -> gst::Caps {
    gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", AUDIO_RATE)
        .field("channels", AUDIO_CHANNELS)
        .build()
}

fn picture(video: &Video) -> gst::caps::Builder<gst::caps::NoFeature> {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", pixels(video.width))
        .field("height", pixels(video.height))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .field("interlace-mode", "progressive")
        .field("colorimetry", "bt709")
        .field("chroma-site", "mpeg2")
}

fn pixels(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
