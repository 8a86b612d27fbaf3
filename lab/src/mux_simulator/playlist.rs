//! nginx's HLS playlists, one for each encoder connection, and what viewers get instead of them.

use super::slate;
use anyhow::{Context, Result};
use memorialstream_mux_model::{Program, Source};
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// How much of a broadcast a live stream's own address shows.
const NEWEST: Duration = Duration::from_secs(30);
/// Segments are cut at key frames; rounding must not move one to the other side of a border.
const SLACK: Duration = Duration::from_millis(50);

/// A piece of what an encoder sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its file in the HLS folder.
    pub file: String,
    /// As nginx measured it.
    pub duration: Duration,
    /// The encoder's time jumped before it.
    pub jump: bool,
}

/// All that one connection brought. nginx keeps everything in its playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments(Vec<Segment>);

impl Segments {
    /// Reads what nginx has written so far; before the first segment there is no file.
    pub fn read(folder: &Path, connection: &str) -> Result<Segments> {
        let path = folder.join(format!("{connection}.m3u8"));
        match fs::read_to_string(&path) {
            Ok(text) => Segments::parse(&text).with_context(|| format!("read {}", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Segments::default()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn parse(text: &str) -> Result<Segments> {
        let (mut found, mut duration, mut jump) = (Vec::new(), None, false);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(number) = line.strip_prefix("#EXTINF:") {
                let seconds = number.split(',').next().unwrap_or(number);
                let seconds: f64 = seconds.parse().with_context(|| format!("{seconds:?} is no duration"))?;
                duration = Some(Duration::try_from_secs_f64(seconds)?);
            } else if line == "#EXT-X-DISCONTINUITY" {
                jump = true;
            } else if !line.starts_with('#') {
                let duration = duration.take().context("a segment without a duration")?;
                found.push(Segment { file: line.to_owned(), duration, jump: std::mem::take(&mut jump) });
            }
        }
        Ok(Segments(found))
    }

    /// How much there is.
    pub fn duration(&self) -> Duration {
        self.0.iter().map(|segment| segment.duration).sum()
    }

    /// Those that begin in `duration` from `from` on.
    fn part(self, from: Duration, duration: Duration) -> Vec<Segment> {
        let mut position = Duration::ZERO;
        let starts = self.0.into_iter().map(|segment| {
            let start = position;
            position += segment.duration;
            (start, segment)
        });
        let inside = |start: Duration| start + SLACK >= from && start + SLACK < from + duration;
        starts.filter(|(start, _)| inside(*start)).map(|(_, segment)| segment).collect()
    }
}

/// With which the names of slate segments begin. They are all the same file; the numbers tell them apart.
pub const SLATE_PREFIX: &str = "slate-";

/// The media playlist of a program for viewers; segments are addressed relative to it.
///
/// # Errors
/// When nginx's files cannot be read.
pub fn render(program: &Program, folder: &Path) -> Result<String> {
    let mut all: Vec<Segment> = Vec::new();
    for recording in &program.recordings {
        match &recording.source {
            Source::Encoder { connection, from } => {
                let mut part = Segments::read(folder, connection)?.part(*from, recording.duration);
                if let Some(first) = part.first_mut() {
                    first.jump = !all.is_empty();
                }
                all.append(&mut part);
            }
            Source::Slate => add_slate(&mut all, recording.duration),
        }
    }
    Ok(text(&all, program.newest_only, program.ended))
}

/// Time begins anew in each, because it is always the same one.
fn add_slate(all: &mut Vec<Segment>, duration: Duration) {
    for _ in 0..duration.as_nanos() / slate::SEGMENT.as_nanos() {
        let file = format!("{SLATE_PREFIX}{}.ts", all.len());
        all.push(Segment { file, duration: slate::SEGMENT, jump: true });
    }
}

fn text(all: &[Segment], newest_only: bool, ended: bool) -> String {
    let first = if newest_only { newest(all) } else { 0 };
    let longest = all.iter().map(|segment| segment.duration.as_secs_f64()).fold(1.0, f64::max);
    let jumps = all[..first].iter().filter(|segment| segment.jump).count();
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{:.0}\n#EXT-X-MEDIA-SEQUENCE:{first}\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:{jumps}\n",
        longest.ceil()
    );
    if !newest_only {
        let kind = if ended { "VOD" } else { "EVENT" };
        text.push_str(&format!("#EXT-X-PLAYLIST-TYPE:{kind}\n"));
    }
    for segment in &all[first..] {
        if segment.jump {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        // Writing to a String does not fail.
        let _written = writeln!(text, "#EXTINF:{:.3},\n{}", segment.duration.as_secs_f64(), segment.file);
    }
    if ended {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

/// The index from which on there is as much as a live stream's address shows.
fn newest(all: &[Segment]) -> usize {
    let mut shown = Duration::ZERO;
    let from_the_end = all.iter().enumerate().rev();
    let mut fits = from_the_end.take_while(|(_, segment)| {
        let fits = shown < NEWEST;
        shown += segment.duration;
        fits
    });
    fits.by_ref().last().map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NGINX: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-TARGETDURATION:2\n\
        #EXTINF:2.000,\nc-0.ts\n#EXTINF:1.967,\nc-1.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:2.033,\nc-2.ts\n";

    fn files(segments: &[Segment]) -> Vec<&str> {
        segments.iter().map(|segment| segment.file.as_str()).collect()
    }

    fn many(count: usize) -> Vec<Segment> {
        let one = |n| Segment { file: format!("c-{n}.ts"), duration: Duration::from_secs(4), jump: n == 2 };
        (0..count).map(one).collect()
    }

    #[test]
    fn nginxs_playlist_is_read() {
        let segments = Segments::parse(NGINX).expect("a playlist");
        assert_eq!(files(&segments.0), ["c-0.ts", "c-1.ts", "c-2.ts"]);
        assert_eq!(segments.duration(), Duration::from_secs(6));
        assert!(segments.0[2].jump && !segments.0[1].jump);
        assert!(Segments::parse("#EXTM3U\nc-0.ts\n").is_err());
    }

    #[test]
    fn a_recording_has_its_part_of_a_connection() {
        let part = |from: f64, duration: f64| {
            let segments = Segments::parse(NGINX).expect("a playlist");
            let of = |seconds| Duration::from_secs_f64(seconds);
            files(&segments.part(of(from), of(duration))).join(" ")
        };
        assert_eq!(part(0.0, 6.0), "c-0.ts c-1.ts c-2.ts");
        assert_eq!(part(0.0, 3.967), "c-0.ts c-1.ts");
        assert_eq!(part(3.967, 2.033), "c-2.ts");
        assert_eq!(part(0.0, 0.0), "");
    }

    #[test]
    fn a_live_stream_shows_its_newest_half_minute() {
        let shown = text(&many(20), true, false);
        assert!(shown.contains("#EXT-X-MEDIA-SEQUENCE:12\n"), "{shown}");
        assert!(shown.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"), "{shown}");
        assert_eq!(shown.matches("#EXTINF").count(), 8);
        assert!(shown.ends_with("#EXTINF:4.000,\nc-19.ts\n"), "{shown}");
    }

    #[test]
    fn a_slate_is_listed_like_any_other_segment() {
        let mut all = many(2);
        add_slate(&mut all, Duration::from_millis(2_900));
        let shown = text(&all, true, false);
        assert!(shown.contains("#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n"), "{shown}");
        let slate = |number| format!("#EXT-X-DISCONTINUITY\n#EXTINF:1.000,\nslate-{number}.ts\n");
        assert!(shown.ends_with(&(slate(2) + &slate(3))), "{shown}");
        add_slate(&mut all, Duration::from_secs(40));
        let shown = text(&all, true, false);
        assert!(shown.contains("#EXT-X-MEDIA-SEQUENCE:14\n#EXT-X-DISCONTINUITY-SEQUENCE:12\n"), "{shown}");
        assert!(shown.ends_with(&slate(43)), "{shown}");
    }

    #[test]
    fn a_recording_shows_all_and_its_end() {
        let shown = text(&many(20), false, true);
        assert!(shown.contains("#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n"), "{shown}");
        assert!(shown.contains("#EXT-X-DISCONTINUITY\n#EXTINF:4.000,\nc-2.ts\n"), "{shown}");
        assert_eq!(shown.matches("#EXTINF").count(), 20);
        assert!(shown.ends_with("#EXT-X-ENDLIST\n"), "{shown}");
    }
}
