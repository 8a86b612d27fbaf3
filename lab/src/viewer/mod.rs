//! What a mourner sees and hears: the newest segment of an HLS playlist, decoded.

mod decode;
mod picture;
mod playlist;

pub(crate) use decode::encode;
pub use decode::pictures_of_file;
#[cfg(test)]
pub(crate) use decode::{last_picture, loudness};
pub(crate) use picture::MUX_SLATE;
pub use picture::{Area, PatternColour, Picture};

use crate::http;
use anyhow::{Context, Result, bail};
use playlist::{MediaPlaylist, best_variant};
use reqwest::{StatusCode, Url};

/// A sine of this loudness (−50 dB of full scale) is well above silence and far below speech.
const AUDIBLE: f64 = 0.003;

/// Somebody who watches at a playback address. Each question is asked anew; nothing is buffered.
#[derive(Clone, Debug)]
pub struct Viewer {
    http: reqwest::Client,
    url: Url,
}

impl Viewer {
    /// A viewer at `playback_url`, a playlist of either kind.
    ///
    /// # Errors
    /// When that is no address.
    pub fn new(playback_url: &str) -> Result<Viewer> {
        let url = Url::parse(playback_url).with_context(|| format!("{playback_url:?} is no address"))?;
        Ok(Viewer { http: http::client()?, url })
    }

    /// The address that is watched.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The HTTP status of the playlist: 412 before the first broadcast, 200 while there is something to see.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn status(&self) -> Result<u16> {
        Ok(self.get(&self.url).await?.status().as_u16())
    }

    /// The number of the newest segment. It rises for as long as a broadcast goes on.
    ///
    /// # Errors
    /// When there is no playlist with at least one segment.
    pub async fn newest_segment_number(&self) -> Result<u64> {
        Ok(self.newest().await?.1.newest_number)
    }

    /// The text of the media playlist.
    ///
    /// # Errors
    /// When there is none.
    pub async fn media_playlist(&self) -> Result<String> {
        Ok(self.media().await?.1)
    }

    /// The newest picture, at `width` × `height`: the last frame of the newest segment.
    ///
    /// # Errors
    /// When there is no segment, or it holds no H.264 picture.
    pub async fn picture(&self, width: usize, height: usize) -> Result<Picture> {
        decode::last_picture(self.newest_segment().await?, width, height).await
    }

    /// How loud the newest segment is: the root mean square of its samples, where 1 is full scale. A segment without
    /// a sound track is 0.
    ///
    /// # Errors
    /// When there is no segment, or its sound is no AAC.
    pub async fn loudness(&self) -> Result<f64> {
        decode::loudness(self.newest_segment().await?).await
    }

    /// Whether anything can be heard in the newest segment.
    ///
    /// # Errors
    /// As [`Viewer::loudness`].
    pub async fn hears_sound(&self) -> Result<bool> {
        Ok(self.loudness().await? >= AUDIBLE)
    }

    async fn newest_segment(&self) -> Result<Vec<u8>> {
        let (base, playlist) = self.newest().await?;
        let url = base.join(&playlist.newest_address).context("the segment's address")?;
        let answer = self.get(&url).await?;
        let status = answer.status();
        if status != StatusCode::OK {
            bail!("{url} answers {status}");
        }
        Ok(answer.bytes().await.with_context(|| format!("read {url}"))?.to_vec())
    }

    /// The media playlist's own address, and its end.
    async fn newest(&self) -> Result<(Url, MediaPlaylist)> {
        let (base, text) = self.media().await?;
        let newest = MediaPlaylist::parse(&text).with_context(|| format!("the playlist {base}"))?;
        Ok((base, newest))
    }

    /// The media playlist's own address and its text; of several variants the best.
    async fn media(&self) -> Result<(Url, String)> {
        let (base, text) = self.playlist(&self.url).await?;
        match best_variant(&text) {
            Some(best) => self.playlist(&base.join(best).context("the variant's address")?).await,
            None => Ok((base, text)),
        }
    }

    async fn playlist(&self, url: &Url) -> Result<(Url, String)> {
        let answer = self.get(url).await?;
        let status = answer.status();
        // Redirects were followed; relative addresses are relative to where they led.
        let base = answer.url().clone();
        let text = answer.text().await.with_context(|| format!("read {url}"))?;
        if status != StatusCode::OK {
            bail!("{url} answers {status}: {}", text.trim());
        }
        Ok((base, text))
    }

    async fn get(&self, url: &Url) -> Result<reqwest::Response> {
        self.http.get(url.clone()).send().await.with_context(|| format!("get {url}"))
    }
}
