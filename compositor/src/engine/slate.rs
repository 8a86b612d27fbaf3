//! The slate: what Program shows when no camera is. Its three texts are drawn once per change.

use super::format::variable_picture_caps;
use super::mix::Mix;
use anyhow::{Context, bail};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use memorialstream_compositor_protocol::{Slate, SlateText, Video};
use std::time::Duration;

/// Dark slate grey, as ARGB.
const BACKGROUND: u32 = 0xff14_181d;
/// Warm white, as ARGB.
const INK: u32 = 0xffec_e8e1;
/// How long drawing one text may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// From this length on the text is set smaller.
const LONG_TEXT: usize = 80;

const TEXTS: [SlateText; 3] = [SlateText::Before, SlateText::Interrupted, SlateText::Ended];

/// One compositor input for each of the three texts, so that changing between them is a mere cut.
pub(super) struct Slates {
    inputs: [Input; 3],
}

struct Input {
    source: gst_app::AppSrc,
    pad: gst::Pad,
    text: Option<String>,
    /// Counts drawings; a frame bears the number of its drawing as offset, so that it can be told when it is staged.
    drawing: u64,
}

/// The three texts, drawn.
pub(super) struct Drawings([Option<(String, gst::Buffer)>; 3]);

impl Slates {
    /// Adds the inputs to `mix`; they show nothing yet.
    pub(super) fn attach(mix: &Mix) -> anyhow::Result<Self> {
        let input = || -> anyhow::Result<Input> {
            let (source, pad) = mix.add_video()?;
            pad.set_property("zorder", 0_u32);
            Ok(Input { source, pad, text: None, drawing: 0 })
        };
        Ok(Self { inputs: [input()?, input()?, input()?] })
    }

    /// The texts as they stand now, for [`draw`].
    pub(super) fn texts(&self) -> [Option<String>; 3] {
        self.inputs.each_ref().map(|input| input.text.clone())
    }

    /// Puts drawings where they are shown from. `now` is running time.
    pub(super) fn replace(&mut self, drawings: Drawings, now: gst::ClockTime) -> anyhow::Result<()> {
        for (input, drawing) in self.inputs.iter_mut().zip(drawings.0) {
            let Some((text, mut buffer)) = drawing else { continue };
            let drawing = input.drawing + 1;
            let frame = buffer.make_mut();
            // In the past, so that it is staged for the very next frame of Program.
            frame.set_pts(now.saturating_sub(gst::ClockTime::SECOND));
            frame.set_dts(gst::ClockTime::NONE);
            frame.set_duration(gst::ClockTime::NONE);
            frame.set_offset(drawing);
            input.source.push_buffer(buffer).context("the slate's input takes no frame")?;
            input.text = Some(text);
            input.drawing = drawing;
        }
        Ok(())
    }

    /// The pad that shows `text`, and the number of the drawing it has to have.
    pub(super) fn wanted(&self, text: SlateText) -> (&gst::Pad, u64) {
        let input = &self.inputs[position(text)];
        (&input.pad, input.drawing)
    }

    /// Each text's pad.
    pub(super) fn pads(&self) -> impl Iterator<Item = (SlateText, &gst::Pad)> {
        TEXTS.into_iter().zip(self.inputs.iter().map(|input| &input.pad))
    }
}

/// Draws those of the slate's texts that differ from `drawn`.
pub(super) fn draw(slate: &Slate, drawn: &[Option<String>; 3], video: &Video) -> anyhow::Result<Drawings> {
    let mut drawings = Drawings([const { None }; 3]);
    for (place, text) in [&slate.before, &slate.interrupted, &slate.ended].into_iter().enumerate() {
        if drawn[place].as_ref() != Some(text) {
            drawings.0[place] = Some((text.clone(), draw_text(text, video)?));
        }
    }
    Ok(drawings)
}

fn position(text: SlateText) -> usize {
    match text {
        SlateText::Before => 0,
        SlateText::Interrupted => 1,
        SlateText::Ended => 2,
    }
}

/// Draws one frame in a pipeline that lives only as long as that takes.
fn draw_text(text: &str, video: &Video) -> anyhow::Result<gst::Buffer> {
    let pipeline = gst::Pipeline::new();
    let background = gst::ElementFactory::make("videotestsrc")
        .property("num-buffers", 1_i32)
        .property_from_str("pattern", "solid-color")
        .property("foreground-color", BACKGROUND)
        .build()?;
    let canvas = gst::Caps::builder("video/x-raw")
        .field("format", "BGRA")
        .field("width", i32::try_from(video.width)?)
        .field("height", i32::try_from(video.height)?)
        .field("framerate", gst::Fraction::new(1, 1))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build();
    let canvas = gst::ElementFactory::make("capsfilter").property("caps", canvas).build()?;
    let overlay = gst::ElementFactory::make("textoverlay")
        .property("text", markup(text))
        .property("font-desc", font(text, video))
        .property("color", INK)
        .property("auto-resize", false)
        .property("draw-shadow", false)
        .property("draw-outline", false)
        .property("xpad", i32::try_from(video.width / 12)?)
        .property_from_str("wrap-mode", "wordchar")
        .property_from_str("line-alignment", "center")
        .property_from_str("halignment", "center")
        .property_from_str("valignment", "center")
        .build()?;
    let convert = gst::ElementFactory::make("videoconvertscale").build()?;
    let caps = {
        let mut caps = variable_picture_caps(video);
        caps.make_mut().set("framerate", gst::Fraction::new(1, 1));
        caps
    };
    let sink = gst_app::AppSink::builder().caps(&caps).sync(false).build();
    let chain: [&gst::Element; 5] = [&background, &canvas, &overlay, &convert, sink.upcast_ref()];
    pipeline.add_many(chain)?;
    gst::Element::link_many(chain)?;
    pipeline.set_state(gst::State::Playing).context("the slate cannot be drawn")?;
    let drawn = sink.try_pull_sample(gst::ClockTime::try_from(TIMEOUT)?);
    pipeline.set_state(gst::State::Null)?;
    match drawn.and_then(|sample| sample.buffer_owned()) {
        Some(buffer) => Ok(buffer),
        None => bail!("the slate's text was not drawn within {} s", TIMEOUT.as_secs()),
    }
}

/// Large enough to be read on a phone, and smaller where much has to be said.
fn font(text: &str, video: &Video) -> String {
    let lines = if text.chars().count() > LONG_TEXT { 17 } else { 13 };
    format!("DejaVu Serif {}px", (video.height / lines).max(12))
}

/// The text as Pango markup that means exactly this text.
fn markup(text: &str) -> String {
    let visible: String =
        text.chars().filter(|character| *character == '\n' || !character.is_control()).collect();
    gst::glib::markup_escape_text(&visible).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video() -> Video {
        Video {
            width: 640,
            height: 360,
            frames_per_second: 15,
            bitrate_kbps: 500,
            stall_hold_milliseconds: 500,
        }
    }

    /// Rows and columns of the luma plane that hold ink.
    fn inked(buffer: &gst::Buffer) -> (usize, usize, usize, usize) {
        let map = buffer.map_readable().unwrap();
        let mut bounds = (usize::MAX, 0, usize::MAX, 0);
        for (place, _) in map[..640 * 360].iter().enumerate().filter(|(_, luma)| **luma > 120) {
            let (row, column) = (place / 640, place % 640);
            bounds = (bounds.0.min(row), bounds.1.max(row), bounds.2.min(column), bounds.3.max(column));
        }
        bounds
    }

    #[test]
    fn text_stands_in_the_middle() {
        crate::initialize().unwrap();
        let (top, bottom, left, right) = inked(&draw_text("One moment please", &video()).unwrap());
        assert!((140..180).contains(&top) && (180..220).contains(&bottom), "rows {top}..{bottom}");
        assert!((left + right).abs_diff(640) < 16, "columns {left}..{right}");
    }

    #[test]
    fn long_text_wraps_and_stays_inside() {
        crate::initialize().unwrap();
        let text = "In loving memory & gratitude <together>. ".repeat(5);
        let (top, bottom, left, right) = inked(&draw_text(text.trim(), &video()).unwrap());
        assert!(bottom - top > 60, "several lines: rows {top}..{bottom}");
        assert!(top > 20 && bottom < 340, "rows {top}..{bottom}");
        assert!(left > 20 && right < 620, "columns {left}..{right}");
    }

    #[test]
    fn nothing_to_say_is_a_plain_slate() {
        crate::initialize().unwrap();
        assert_eq!(inked(&draw_text("", &video()).unwrap()), (usize::MAX, 0, usize::MAX, 0));
    }

    #[test]
    fn only_changed_texts_are_drawn() {
        crate::initialize().unwrap();
        let slate =
            Slate { before: "a".into(), interrupted: "b".into(), ended: "c".into(), text: SlateText::Before };
        let drawings = draw(&slate, &[Some("a".into()), None, Some("x".into())], &video()).unwrap();
        assert_eq!(drawings.0.each_ref().map(Option::is_some), [false, true, true]);
    }
}
