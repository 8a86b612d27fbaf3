//! HLS playlists (RFC 8216), as far as a viewer of the newest segment needs them.

use anyhow::{Context, Result, bail};

/// With which the choice of qualities of a master playlist begins.
const VARIANT: &str = "#EXT-X-STREAM-INF:";

/// The end of a list of segments.
#[derive(Debug, PartialEq, Eq)]
pub struct MediaPlaylist {
    /// The address of the newest segment; it may be relative to the playlist's own.
    pub newest_address: String,
    /// Its number: the playlist's media sequence number, counted on.
    pub newest_number: u64,
}

impl MediaPlaylist {
    /// Parses a list of segments.
    ///
    /// # Errors
    /// When the text is none, or lists nothing.
    pub fn parse(text: &str) -> Result<MediaPlaylist> {
        if !text.starts_with("#EXTM3U") {
            bail!("does not begin with #EXTM3U");
        }
        if text.contains(VARIANT) {
            bail!("lists variants and no segments");
        }
        let first = lines(text).find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")).unwrap_or("0");
        let first: u64 = first.parse().with_context(|| format!("{first:?} is no media sequence number"))?;
        let (index, newest) = addresses(text).enumerate().last().context("lists no segment yet")?;
        let newest_number = first + u64::try_from(index)?;
        Ok(MediaPlaylist { newest_address: newest.to_owned(), newest_number })
    }
}

/// The address of the quality with the highest bandwidth, when the text is a choice of them: a master playlist.
pub fn best_variant(text: &str) -> Option<&str> {
    let variants = lines(text).filter_map(|line| line.strip_prefix(VARIANT));
    let best = variants.zip(addresses(text)).max_by_key(|(attributes, _)| bandwidth(attributes));
    best.map(|(_, address)| address)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim)
}

fn addresses(text: &str) -> impl Iterator<Item = &str> {
    lines(text).filter(|line| !line.is_empty() && !line.starts_with('#'))
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
        assert_eq!(best_variant(text), Some("high.m3u8"));
    }

    #[test]
    fn the_newest_segment_is_the_last_one() {
        let text = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:41\n#EXT-X-TARGETDURATION:2\n\
                    #EXTINF:1.000,\nx-41.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.000,\nx-42.ts\n";
        assert_eq!(best_variant(text), None);
        let newest = MediaPlaylist { newest_address: "x-42.ts".to_owned(), newest_number: 42 };
        assert_eq!(MediaPlaylist::parse(text).expect("segments"), newest);
    }

    #[test]
    fn what_shows_nothing_is_refused() {
        for (text, expected) in [
            ("<html>", "#EXTM3U"),
            ("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n", "no segment yet"),
            ("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:x\na.ts\n", "no media sequence"),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n", "no segments"),
        ] {
            let error = format!("{:#}", MediaPlaylist::parse(text).expect_err(text));
            assert!(error.contains(expected), "{error}");
        }
    }
}
