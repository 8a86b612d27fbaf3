//! A picture and what can be told from it.

use anyhow::{Result, ensure};
use std::fmt;
use std::ops::Range;

/// Two colours nearer than this (Euclidean, of 255 per channel) are the same after encoding; the palette's own
/// colours and the slate's are at least 131 apart, and Mux's slate is 92 from the nearest.
const SAME_COLOUR: f64 = 60.0;

/// The colour of the simulator's stand-in for the picture that Mux itself shows while it waits for an encoder.
pub const MUX_SLATE: [u8; 3] = [0xe0, 0x70, 0x00];

/// A colour of the camera binary's `--pattern`. A picture of one is that colour with a small white ball.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternColour {
    /// `red`
    Red,
    /// `green`
    Green,
    /// `blue`
    Blue,
    /// `yellow`
    Yellow,
    /// `magenta`
    Magenta,
    /// `cyan`
    Cyan,
    /// `grey`
    Grey,
}

impl PatternColour {
    /// The whole palette.
    pub const ALL: [Self; 7] =
        [Self::Red, Self::Green, Self::Blue, Self::Yellow, Self::Magenta, Self::Cyan, Self::Grey];

    /// What the camera binary calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Yellow => "yellow",
            Self::Magenta => "magenta",
            Self::Cyan => "cyan",
            Self::Grey => "grey",
        }
    }

    /// Its red, green and blue.
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Self::Red => [0xc0, 0x20, 0x20],
            Self::Green => [0x20, 0xa0, 0x20],
            Self::Blue => [0x20, 0x20, 0xc0],
            Self::Yellow => [0xc0, 0xc0, 0x20],
            Self::Magenta => [0xc0, 0x20, 0xc0],
            Self::Cyan => [0x20, 0xc0, 0xc0],
            Self::Grey => [0x80, 0x80, 0x80],
        }
    }
}

impl fmt::Display for PatternColour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A rectangle of a picture in hundredths of its width and height, so that it fits any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Left edge, 0–99.
    pub left: usize,
    /// Upper edge, 0–99.
    pub top: usize,
    /// Width, 1–100.
    pub width: usize,
    /// Height, 1–100.
    pub height: usize,
}

impl Area {
    /// The whole picture.
    pub const WHOLE: Self = Self { left: 0, top: 0, width: 100, height: 100 };
}

/// A picture in RGB.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    /// Row by row, three bytes a pixel, no padding.
    rgb: Vec<u8>,
}

impl Picture {
    /// A picture from rows of pixels, three bytes each.
    ///
    /// # Errors
    /// When it has no pixels or another number of them than its size says.
    pub fn new(width: usize, height: usize, rgb: Vec<u8>) -> Result<Picture> {
        ensure!(
            !rgb.is_empty() && rgb.len() == width * height * 3,
            "{} bytes are no picture of {width}×{height}",
            rgb.len()
        );
        Ok(Picture { width, height, rgb })
    }

    /// Its width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Its height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, row by row, three bytes each.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The mean colour of an area.
    pub fn mean(&self, area: Area) -> [u8; 3] {
        mean(self.pixels(area))
    }

    /// The colour of the palette that the picture is filled with, if it is: what most pixels of each channel are,
    /// so that a ball or a caption does not count.
    pub fn pattern(&self) -> Option<PatternColour> {
        self.pattern_in(Area::WHOLE)
    }

    /// The same for an area.
    pub fn pattern_in(&self, area: Area) -> Option<PatternColour> {
        let median = self.median(area);
        let nearest = PatternColour::ALL
            .into_iter()
            .min_by(|one, other| distance(one.rgb(), median).total_cmp(&distance(other.rgb(), median)))?;
        Some(nearest).filter(|nearest| distance(nearest.rgb(), median) < SAME_COLOUR)
    }

    /// Whether it is the one that Mux itself shows while it waits for an encoder.
    pub fn is_mux_slate(&self) -> bool {
        distance(MUX_SLATE, self.median(Area::WHOLE)) < SAME_COLOUR && self.pattern().is_none()
    }

    /// How much it differs from another picture of the same size: the mean difference of all values, 0–255. The same
    /// picture encoded twice is below 3; two scenes are above 20.
    ///
    /// # Errors
    /// When the sizes differ.
    pub fn difference(&self, other: &Picture) -> Result<f64> {
        ensure!(
            (self.width, self.height) == (other.width, other.height),
            "a picture of {}×{} cannot be compared with one of {}×{}",
            self.width,
            self.height,
            other.width,
            other.height
        );
        let sum: u64 =
            self.rgb.iter().zip(&other.rgb).map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
        Ok(sum as f64 / self.rgb.len() as f64)
    }

    /// The same picture with fewer pixels, each the mean of those that it stands for.
    ///
    /// # Errors
    /// When it has fewer pixels already.
    pub fn scaled_down(&self, width: usize, height: usize) -> Result<Picture> {
        ensure!(
            (1..=self.width).contains(&width) && (1..=self.height).contains(&height),
            "a picture of {}×{} cannot be scaled down to {width}×{height}",
            self.width,
            self.height
        );
        let part =
            |whole: usize, parts: usize, index: usize| whole * index / parts..whole * (index + 1) / parts;
        let mut rgb = Vec::with_capacity(width * height * 3);
        for row in 0..height {
            for column in 0..width {
                rgb.extend(mean(self.block(part(self.width, width, column), part(self.height, height, row))));
            }
        }
        Picture::new(width, height, rgb)
    }

    fn pixels(&self, area: Area) -> impl Iterator<Item = &[u8]> {
        let part = |whole: usize, from: usize, length: usize| {
            let first = (whole * from / 100).min(whole - 1);
            first..(whole * (from + length) / 100).clamp(first + 1, whole)
        };
        self.block(part(self.width, area.left, area.width), part(self.height, area.top, area.height))
    }

    fn block(&self, columns: Range<usize>, rows: Range<usize>) -> impl Iterator<Item = &[u8]> {
        rows.flat_map(move |row| {
            let start = row * self.width;
            self.rgb[(start + columns.start) * 3..(start + columns.end) * 3].chunks_exact(3)
        })
    }

    fn median(&self, area: Area) -> [u8; 3] {
        [0, 1, 2].map(|channel| {
            let mut values: Vec<u8> = self.pixels(area).map(|pixel| pixel[channel]).collect();
            let middle = values.len() / 2;
            *values.select_nth_unstable(middle).1
        })
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.mean(Area::WHOLE);
        write!(formatter, "picture of {}×{}, mean #{red:02x}{green:02x}{blue:02x}", self.width, self.height)?;
        match self.pattern() {
            Some(colour) => write!(formatter, ", {colour}"),
            None => Ok(()),
        }
    }
}

fn mean<'a>(pixels: impl Iterator<Item = &'a [u8]>) -> [u8; 3] {
    let (mut sum, mut count) = ([0_u64; 3], 0_u64);
    for pixel in pixels {
        for (total, value) in sum.iter_mut().zip(pixel) {
            *total += u64::from(*value);
        }
        count += 1;
    }
    sum.map(|total| u8::try_from(total / count.max(1)).unwrap_or(u8::MAX))
}

fn distance(one: [u8; 3], other: [u8; 3]) -> f64 {
    let squares = one.iter().zip(other).map(|(one, other)| f64::from(one.abs_diff(other)).powi(2));
    squares.sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(colour: [u8; 3]) -> Picture {
        Picture::new(20, 10, colour.repeat(200)).expect("a picture")
    }

    #[test]
    fn every_pattern_is_known_in_spite_of_ball_and_encoding() {
        for colour in PatternColour::ALL {
            let mut picture = filled(colour.rgb().map(|value| value.saturating_add(12)));
            picture.rgb[..150].fill(0xff);
            assert_eq!(picture.pattern(), Some(colour));
        }
    }

    #[test]
    fn the_slate_is_no_pattern() {
        assert_eq!(filled([0x14, 0x18, 0x1d]).pattern(), None);
        assert_eq!(filled([0, 0, 0]).pattern(), None);
        assert_eq!(filled([0xff, 0xff, 0xff]).pattern(), None);
    }

    #[test]
    fn muxs_slate_is_told_from_patterns_and_from_the_programs_slate() {
        let slate = filled(MUX_SLATE.map(|value| value.saturating_add(12)));
        assert!(slate.is_mux_slate() && slate.pattern().is_none());
        let others =
            PatternColour::ALL.map(PatternColour::rgb).into_iter().chain([[0x14, 0x18, 0x1d], [0; 3]]);
        for other in others {
            assert!(!filled(other).is_mux_slate(), "{other:?}");
        }
    }

    #[test]
    fn areas_are_told_apart() {
        let halves: Vec<u8> = (0..10)
            .flat_map(|_| [PatternColour::Red.rgb().repeat(10), PatternColour::Blue.rgb().repeat(10)])
            .flatten()
            .collect();
        let picture = Picture::new(20, 10, halves).expect("a picture");
        let half = |left| Area { left, top: 10, width: 50, height: 80 };
        assert_eq!(picture.pattern_in(half(0)), Some(PatternColour::Red));
        assert_eq!(picture.pattern_in(half(50)), Some(PatternColour::Blue));
        assert_eq!(picture.mean(Area::WHOLE), [0x70, 0x20, 0x70]);
        let small = picture.scaled_down(2, 1).expect("smaller");
        assert_eq!(small.rgb(), [PatternColour::Red.rgb(), PatternColour::Blue.rgb()].concat());
        assert!(small.scaled_down(3, 1).is_err());
    }

    #[test]
    fn difference_is_the_mean_of_all_values() {
        let difference = filled([10, 20, 30]).difference(&filled([13, 20, 24])).expect("same size");
        assert!((difference - 3.0).abs() < 1e-9);
        let small = Picture::new(1, 1, vec![0, 0, 0]).expect("a picture");
        assert!(filled([0, 0, 0]).difference(&small).is_err());
        assert!(Picture::new(2, 2, vec![0; 11]).is_err());
    }
}
