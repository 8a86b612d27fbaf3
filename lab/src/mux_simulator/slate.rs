//! Mux's own picture, which viewers see while it waits for an encoder to come back.

use crate::viewer::{MUX_SLATE, encode};
use anyhow::{Context, Result};
use std::time::Duration;

/// How long the one segment is that is shown again and again.
pub const SEGMENT: Duration = Duration::from_secs(1);
const FRAMES_PER_SECOND: u64 = 30;
const SAMPLES_PER_SECOND: u64 = 48_000;
/// What a frame of AAC holds.
const SAMPLES_PER_FRAME: u64 = 1_024;

/// Renders the segment: one colour, and silence.
///
/// # Errors
/// When GStreamer's tools fail.
pub async fn render() -> Result<Vec<u8>> {
    let [red, green, blue] = MUX_SLATE;
    let frames = SEGMENT.as_secs() * FRAMES_PER_SECOND;
    let sound = (SEGMENT.as_secs() * SAMPLES_PER_SECOND).div_ceil(SAMPLES_PER_FRAME);
    let pipeline = format!(
        "mpegtsmux name=mux ! fdsink fd=1 sync=false \
         videotestsrc num-buffers={frames} pattern=solid-color foreground-color=0xff{red:02x}{green:02x}{blue:02x} \
         ! video/x-raw,format=I420,width=640,height=360,framerate={FRAMES_PER_SECOND}/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={frames} \
         ! video/x-h264,profile=constrained-baseline ! mux. \
         audiotestsrc num-buffers={sound} wave=silence samplesperbuffer={SAMPLES_PER_FRAME} \
         ! audio/x-raw,rate={SAMPLES_PER_SECOND},channels=2 ! avenc_aac ! aacparse ! mux."
    );
    encode(&pipeline).await.context("render the slate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewer::{last_picture, loudness};

    #[tokio::test]
    async fn the_slate_can_be_watched() {
        let segment = render().await.expect("a segment");
        let picture = last_picture(segment.clone(), 80, 45).await.expect("a picture");
        assert!(picture.is_mux_slate(), "{picture:?}");
        assert!(loudness(segment).await.expect("a sound track") < 0.001);
    }
}
