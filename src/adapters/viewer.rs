//! What mourners see, over HTTP.

use crate::providers::{Interruption, bounded_body, http_client};
use crate::world::{Playlist, Viewer, ViewerError};
use async_trait::async_trait;
use reqwest::{Client, Url};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const TIMEOUT: Duration = Duration::from_secs(3);
/// A playlist is a few kilobytes; whoever sends more is no Mux.
const LONGEST: usize = 256 * 1024;
/// A service whose playlist nobody looked at for so long is over, and forgotten.
const REMEMBERED: Duration = Duration::from_secs(60);

/// A player that reads playlists and no media.
#[derive(Debug)]
pub struct HttpViewer {
    client: Client,
    /// Where each playback address led to, so that a look is one request.
    leads: Mutex<HashMap<String, Lead>>,
}

/// The media playlist that a playback address led to.
#[derive(Clone, Debug)]
struct Lead {
    media: Url,
    newest: String,
    /// Since when that is the newest part of it.
    since: Instant,
    looked_at: Instant,
    /// It has ended or stands still: the address leads to another one by now, or soon will.
    over: bool,
}

impl Lead {
    /// What is known after a look at `now`. `before`: what was known.
    fn after(before: Option<&Self>, media: Url, playlist: &Playlist, now: Instant) -> Self {
        let same = before.filter(|before| before.media == media && before.newest == playlist.newest);
        let since = same.map_or(now, |before| before.since);
        let over = playlist.ended || now.duration_since(since) > playlist.patience();
        Self { media, newest: playlist.newest.clone(), since, looked_at: now, over }
    }
}

impl HttpViewer {
    /// A player.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self { client: http_client()?, leads: Mutex::default() })
    }

    fn leads(&self) -> MutexGuard<'_, HashMap<String, Lead>> {
        self.leads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The media playlist there, and what it says of where this playback address leads.
    async fn look(&self, playback_url: &str, media: Url) -> Result<Playlist, ViewerError> {
        let playlist = self.read(media.clone()).await.and_then(|text| media_playlist(&text))?;
        let now = Instant::now();
        let mut leads = self.leads();
        let lead = Lead::after(leads.get(playback_url), media, &playlist, now);
        if leads.insert(playback_url.to_owned(), lead).is_none() {
            leads.retain(|_, lead| now.duration_since(lead.looked_at) < REMEMBERED);
        }
        Ok(playlist)
    }

    async fn read(&self, url: Url) -> Result<String, ViewerError> {
        let unknown = |interruption| {
            let why = match interruption {
                Interruption::TimedOut { .. } => "no answer in time",
                Interruption::TooLong { .. } => "it sends more than a playlist",
                _ => "the connection failed",
            };
            ViewerError::Unknown(why.into())
        };
        let sent = self.client.get(url).timeout(TIMEOUT).send().await;
        let mut answer = sent.map_err(|error| unknown(Interruption::from(&error)))?;
        match answer.status().as_u16() {
            200..300 => {}
            status @ 400..500 if status != 429 => return Err(ViewerError::Refused(status)),
            status => return Err(ViewerError::Unknown(format!("it answers {status}"))),
        }
        let body = bounded_body(&mut answer, LONGEST).await.map_err(unknown)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

#[async_trait]
impl Viewer for HttpViewer {
    async fn playlist(&self, playback_url: &str) -> Result<Playlist, ViewerError> {
        let address = Url::parse(playback_url)
            .map_err(|_| ViewerError::Unknown("the playback address is no URL".into()))?;
        let known = self.leads().get(playback_url).filter(|lead| !lead.over).map(|lead| lead.media.clone());
        if let Some(media) = known {
            if let Ok(playlist) = self.look(playback_url, media).await {
                return Ok(playlist);
            }
            self.leads().remove(playback_url);
        }
        let text = self.read(address.clone()).await?;
        let Some(variant) = first_variant(&text) else { return media_playlist(&text) };
        let media = address
            .join(variant)
            .ok()
            .filter(|media| may_follow(&address, media))
            .ok_or_else(|| ViewerError::Unknown("it leads to another host".into()))?;
        self.look(playback_url, media).await
    }
}

/// Only where the playback address itself points, or within Mux: a tenant's playlist must not send us elsewhere.
fn may_follow(from: &Url, to: &Url) -> bool {
    let within_mux = |url: &Url| {
        url.scheme() == "https"
            && url.host_str().is_some_and(|host| host == "mux.com" || host.ends_with(".mux.com"))
    };
    from.origin() == to.origin() || (within_mux(from) && within_mux(to))
}

/// The first variant of a multivariant playlist; none in a media playlist. Source: RFC 8216, 4.3.4.2.
fn first_variant(text: &str) -> Option<&str> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("#EXT-X-STREAM-INF"));
    lines.next()?;
    lines.map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What matters of a media playlist. Source: RFC 8216, 4.3.3.
fn media_playlist(text: &str) -> Result<Playlist, ViewerError> {
    if !text.trim_start().starts_with("#EXTM3U") {
        return Err(ViewerError::Unknown("it is no playlist".into()));
    }
    let value = |tag: &str| text.lines().find_map(|line| line.strip_prefix(tag)).map(str::trim);
    let target: u64 = value("#EXT-X-TARGETDURATION:").and_then(|seconds| seconds.parse().ok()).unwrap_or(6);
    let segment = text.lines().rev().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    // With low latency a segment grows part by part.
    let part = text.lines().rev().find(|line| line.starts_with("#EXT-X-PART:"));
    let sequence = value("#EXT-X-MEDIA-SEQUENCE:").unwrap_or("0");
    Ok(Playlist {
        newest: format!("{sequence} {} {}", segment.unwrap_or(""), part.unwrap_or("")),
        target_duration: Duration::from_secs(target.clamp(1, 30)),
        ended: text.lines().any(|line| line.trim() == "#EXT-X-ENDLIST"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const MEDIA: &str =
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:5,\na.ts\n#EXTINF:5,\nb.ts\n";

    #[test]
    fn a_playlist_that_gains_a_segment_or_a_part_has_changed() {
        let before = media_playlist(MEDIA).unwrap();
        assert_eq!((before.target_duration, before.ended), (Duration::from_secs(5), false));
        assert_eq!(media_playlist(MEDIA).unwrap(), before);
        for more in ["#EXTINF:5,\nc.ts\n", "#EXT-X-PART:DURATION=1,URI=\"c.1.ts\"\n"] {
            assert_ne!(media_playlist(&format!("{MEDIA}{more}")).unwrap().newest, before.newest);
        }
        assert!(media_playlist(&format!("{MEDIA}#EXT-X-ENDLIST\n")).unwrap().ended);
        assert!(matches!(media_playlist("<html>"), Err(ViewerError::Unknown(_))));
    }

    #[test]
    fn the_first_variant_is_followed_only_where_it_may() {
        let text =
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nhigh.m3u8\n";
        assert_eq!(first_variant(text), Some("low.m3u8"));
        assert_eq!(first_variant(MEDIA), None);
        let url = |text: &str| Url::parse(text).unwrap();
        let mux = url("https://stream.mux.com/P.m3u8");
        assert!(may_follow(&mux, &url("https://manifest.fastly.mux.com/x.m3u8")));
        assert!(
            !may_follow(&mux, &url("http://169.254.169.254/"))
                && !may_follow(&mux, &url("https://evilmux.com/"))
        );
        let own = url("http://127.0.0.1:9/P.m3u8");
        assert!(
            may_follow(&own, &url("http://127.0.0.1:9/P/0.m3u8"))
                && !may_follow(&own, &url("http://127.0.0.1:8/"))
        );
    }

    /// What stands at each path, and the paths that were asked for.
    #[derive(Clone, Default)]
    struct Site {
        texts: Arc<Mutex<HashMap<&'static str, String>>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Site {
        async fn start() -> (Self, String) {
            let site = Self::default();
            let answers = site.clone();
            let router = axum::Router::new().fallback(move |url: axum::http::Uri| {
                answers.asked.lock().unwrap().push(url.path().to_owned());
                let text = answers.texts.lock().unwrap().get(url.path()).cloned();
                std::future::ready(text.unwrap_or_default())
            });
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/P.m3u8", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, router).await });
            (site, url)
        }

        fn put(&self, path: &'static str, text: impl Into<String>) {
            self.texts.lock().unwrap().insert(path, text.into());
        }

        fn lead_to(&self, media: &str) {
            self.put("/P.m3u8", format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{media}\n"));
        }

        fn asked(&self) -> Vec<String> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }
    }

    #[tokio::test]
    async fn a_playlist_that_is_over_is_looked_for_again_at_the_address() {
        let (site, url) = Site::start().await;
        let viewer = HttpViewer::new().unwrap();
        site.lead_to("first");
        site.put("/first", MEDIA);
        site.put("/second", MEDIA.replace("b.ts", "c.ts"));
        let look = async || (viewer.playlist(&url).await.unwrap().ended, site.asked());
        assert_eq!(look().await.1, ["/P.m3u8", "/first"]);
        assert_eq!(look().await, (false, vec!["/first".into()]), "one request");
        site.put("/first", format!("{MEDIA}#EXT-X-ENDLIST\n"));
        assert_eq!(look().await, (true, vec!["/first".into()]));
        assert_eq!(look().await.1, ["/P.m3u8", "/first"], "it may lead elsewhere by now");
        site.lead_to("second");
        assert_eq!(look().await, (false, vec!["/P.m3u8".into(), "/second".into()]), "a new recording");
        assert_eq!(look().await.1, ["/second"]);
        // It stands still from here on.
        viewer.leads().get_mut(&url).unwrap().since -= Duration::from_secs(60);
        assert_eq!(look().await.1, ["/second"]);
        assert_eq!(look().await.1, ["/P.m3u8", "/second"]);
        site.put("/second", MEDIA.replace("b.ts", "d.ts"));
        assert_eq!(look().await.1, ["/P.m3u8", "/second"]);
        assert_eq!(look().await.1, ["/second"], "it grows again");
    }

    #[tokio::test]
    async fn what_nobody_looks_at_any_more_is_forgotten() {
        let (site, url) = Site::start().await;
        let viewer = HttpViewer::new().unwrap();
        site.lead_to("first");
        site.put("/first", MEDIA);
        viewer.playlist(&url).await.unwrap();
        let next = format!("{url}?next");
        viewer.playlist(&next).await.unwrap();
        assert_eq!(viewer.leads().len(), 2);
        viewer.leads().get_mut(&url).unwrap().looked_at -= REMEMBERED;
        viewer.playlist(&format!("{url}?third")).await.unwrap();
        assert!(viewer.leads().len() == 2 && !viewer.leads().contains_key(&url));
    }
}
