//! HLS playlists (RFC 8216), as far as a viewer of the newest segment needs them.

use anyhow::{Context, Result, bail};

/// A playlist of either kind. Addresses may be relative to the playlist's own.
#[derive(Debug, PartialEq, Eq)]
pub enum Playlist {
    /// A choice of qualities.
    Variants {
        /// The address of the one with the highest bandwidth.
        best: String,
    },
    /// A list of segments.
    Media(MediaPlaylist),
}

/// The end of a list of segments.
#[derive(Debug, PartialEq, Eq)]
pub struct MediaPlaylist {
    /// The address of the newest segment.
    pub newest_address: String,
    /// Its number: the playlist's media sequence number, counted on.
    pub newest_number: u64,
}

impl Playlist {
    /// Parses either kind.
    ///
    /// # Errors
    /// When the text is no playlist, or lists nothing.
    pub fn parse(text: &str) -> Result<Playlist> {
        if !text.starts_with("#EXTM3U") {
            bail!("does not begin with #EXTM3U");
        }
        let lines = || text.lines().map(str::trim);
        let addresses = || lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let variants = lines().filter_map(|line| line.strip_prefix("#EXT-X-STREAM-INF:"));
        let best = variants.zip(addresses()).max_by_key(|(attributes, _)| bandwidth(attributes));
        if let Some((_, best)) = best {
            return Ok(Playlist::Variants { best: best.to_owned() });
        }
        let first = lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")).unwrap_or("0");
        let first: u64 = first.parse().with_context(|| format!("{first:?} is no media sequence number"))?;
        let (index, newest) = addresses().enumerate().last().context("lists no segment yet")?;
        let newest_number = first + u64::try_from(index)?;
        Ok(Playlist::Media(MediaPlaylist { newest_address: newest.to_owned(), newest_number }))
    }
}

/// The attribute BANDWIDTH in bit/s; 0 when it is missing.
fn bandwidth(attributes: &str) -> u64 {
    attributes.split(',').find_map(|one| one.strip_prefix("BANDWIDTH=")?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_variant_is_taken() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100,RESOLUTION=1x1\nlow.m3u8\n\
                    #EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=1,BANDWIDTH=900\nhigh.m3u8\n";
        let best = "high.m3u8".to_owned();
        assert_eq!(Playlist::parse(text).expect("variants"), Playlist::Variants { best });
    }

    #[test]
    fn the_newest_segment_is_the_last_one() {
        let text = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:41\n#EXT-X-TARGETDURATION:2\n\
                    #EXTINF:1.000,\nx-41.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.000,\nx-42.ts\n";
        let newest = MediaPlaylist { newest_address: "x-42.ts".to_owned(), newest_number: 42 };
        assert_eq!(Playlist::parse(text).expect("segments"), Playlist::Media(newest));
    }

    #[test]
    fn what_shows_nothing_is_refused() {
        for (text, expected) in [
            ("<html>", "#EXTM3U"),
            ("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n", "no segment yet"),
            ("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:x\na.ts\n", "no media sequence"),
        ] {
            let error = format!("{:#}", Playlist::parse(text).expect_err(text));
            assert!(error.contains(expected), "{error}");
        }
    }
}
