//! What can be asked of Mux.

use super::answer::Answer;
use super::credentials::MuxCredentials;
use super::http::{Http, Request};
use super::limiter::RateLimiter;
use super::queue::Priority;
use super::transport::Transport;
use super::types::{
    Asset, Environment, ListedStream, LiveStream, LiveStreamStatus, LiveStreamUpdate, NewLiveStream,
};
use crate::providers::transport::Repeat;
use crate::providers::{ErrorClass, Provider, ProviderError, Result};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

const WHOAMI: [&str; 3] = ["system", "v1", "whoami"];
const LIVE_STREAMS: [&str; 3] = ["video", "v1", "live-streams"];
const ASSETS: [&str; 3] = ["video", "v1", "assets"];
/// Mux's largest page of live streams (docs.mux.com, "List live streams").
const PAGE: usize = 100;
/// A list that has more pages than this is not read to its end: no environment holds 100,000 live streams.
const MOST_PAGES: u32 = 1_000;
/// Bytes of a whole list.
const LONGEST_LIST: usize = 64 * 1024 * 1024;

/// Which page is the last. Mux promises no full pages, and its own SDK reads on until one is empty.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastPage {
    /// One that is empty: whoever concludes that something is not there has read all there is.
    Empty,
    /// One that is not full, for one request less where it is asked all the time.
    Short,
}

/// What stands in a list. An environment holds other products' things too, and what is new to us there must not hide ours.
#[derive(Deserialize)]
#[serde(untagged)]
enum Item<T> {
    Readable(T),
    Unreadable(Value),
}

/// A client of one Mux environment. Cheap to clone. It sends each request once and never repeats one.
///
/// # Errors
/// Every method's error is classed: [`ErrorClass::InDoubt`] only where something may have been created. Mux answers
/// 404 also when a token lacks a permission, so each 404 is looked into; `NotFound` means that the thing is gone.
#[derive(Clone)]
pub struct MuxClient {
    http: Http,
    creates: Priority,
    looks: Priority,
    stops: Priority,
}

impl MuxClient {
    /// A client. `limiter` must be shared by all clients of the same environment.
    ///
    /// # Errors
    /// The base URL is no http or https URL.
    pub fn new(
        credentials: MuxCredentials,
        limiter: Arc<RateLimiter>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self> {
        let http = Http::new(credentials, limiter, transport)?;
        Ok(Self { http, creates: Priority::Create, looks: Priority::Look, stops: Priority::Stop })
    }

    /// What holds it back.
    pub fn limiter(&self) -> Arc<RateLimiter> {
        Arc::clone(&self.http.limiter)
    }

    /// The same client held back by `limiter`.
    pub fn with_limiter(mut self, limiter: Arc<RateLimiter>) -> Self {
        self.http.limiter = limiter;
        self
    }

    /// The same client, whose requests that make or change something wait no longer than this for their turn.
    pub fn with_turn_timeout(mut self, timeout: Duration) -> Self {
        self.http.turn_timeout = timeout;
        self
    }

    /// The same client, whose creates go with this priority instead of [`Priority::Create`].
    pub fn with_creates(mut self, priority: Priority) -> Self {
        self.creates = priority;
        self
    }

    /// The same client, whose reads go with this priority instead of [`Priority::Look`].
    pub fn with_looks(mut self, priority: Priority) -> Self {
        self.looks = priority;
        self
    }

    /// The same client, whose ends and deletions go with this priority instead of [`Priority::Stop`]: what nobody
    /// watches can wait.
    pub fn with_stops(mut self, priority: Priority) -> Self {
        self.stops = priority;
        self
    }

    /// Whose credentials these are.
    pub async fn whoami(&self) -> Result<Environment> {
        self.get("whoami", &WHOAMI, &[]).await.map_err(not_permitted)
    }

    /// Creates a live stream, enabled and idle.
    pub async fn create_live_stream(&self, new: &NewLiveStream) -> Result<LiveStream> {
        let operation = "create_live_stream";
        let request = Request {
            operation,
            method: Method::POST,
            path: &LIVE_STREAMS,
            query: &[],
            body: Some(new.body()),
            priority: self.creates,
            who: Some(format!("{operation} {}", new.passthrough)),
        };
        let answer = self.http.send(&request).await.map_err(not_permitted)?;
        answer.data(operation, Repeat::Never)
    }

    /// One live stream. `None`: it does not exist, and the credentials may read live streams.
    pub async fn live_stream(&self, id: &str) -> Result<Option<LiveStream>> {
        let operation = "live_stream";
        match self.get(operation, &below(&LIVE_STREAMS, id), &[]).await {
            Err(error) if error.class == ErrorClass::NotFound => {
                // A token without the permission cannot list either.
                let _: Value =
                    self.get(operation, &LIVE_STREAMS, &[("limit", "1")]).await.map_err(not_permitted)?;
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Every live stream of the environment, whoever made it, as far as a search by marker needs it.
    pub async fn live_streams(&self) -> Result<Vec<ListedStream>> {
        let id = |stream: &ListedStream| stream.id.clone();
        self.pages("live_streams", &LIVE_STREAMS, &[], id, LastPage::Empty).await
    }

    /// Every live stream in this state.
    pub async fn live_streams_with_status(&self, status: &LiveStreamStatus) -> Result<Vec<LiveStream>> {
        let filter = [("status", status.as_str())];
        let id = |stream: &LiveStream| stream.id.clone();
        self.pages("live_streams_with_status", &LIVE_STREAMS, &filter, id, LastPage::Short).await
    }

    /// Changes settings, and returns the stream as it is then.
    pub async fn update_live_stream(&self, id: &str, update: &LiveStreamUpdate) -> Result<LiveStream> {
        let operation = "update_live_stream";
        let path = below(&LIVE_STREAMS, id);
        let request = Request {
            operation,
            method: Method::PATCH,
            path: &path,
            query: &[],
            body: Some(json!(update)),
            priority: Priority::Create,
            who: who(operation, id),
        };
        self.change(id, &request).await?.data(operation, Repeat::Safe)
    }

    /// Ends the recording now, without waiting for the reconnect window. The sender stays connected for up to 60 s,
    /// and one that still sends then starts a new recording: stop it first.
    pub async fn complete_live_stream(&self, id: &str) -> Result<()> {
        self.put("complete_live_stream", id, "complete", self.stops).await
    }

    /// Accepts ingest.
    pub async fn enable_live_stream(&self, id: &str) -> Result<()> {
        self.put("enable_live_stream", id, "enable", Priority::Start).await
    }

    /// Cuts the sender off, ends the recording and refuses ingest.
    pub async fn disable_live_stream(&self, id: &str) -> Result<()> {
        self.put("disable_live_stream", id, "disable", self.stops).await
    }

    /// Deletes a live stream, cutting its sender off; its recordings stay. One that is gone already is success.
    pub async fn delete_live_stream(&self, id: &str) -> Result<()> {
        let path = below(&LIVE_STREAMS, id);
        match self.change(id, &self.delete("delete_live_stream", &path, id)).await {
            Err(error) if error.class == ErrorClass::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    /// The recordings of a live stream.
    pub async fn assets_of_live_stream(&self, id: &str) -> Result<Vec<Asset>> {
        let filter = [("live_stream_id", id)];
        let id = |asset: &Asset| asset.id.clone();
        self.pages("assets_of_live_stream", &ASSETS, &filter, id, LastPage::Short).await
    }

    /// Deletes a recording. One that is gone already is success.
    pub async fn delete_asset(&self, id: &str) -> Result<()> {
        let operation = "delete_asset";
        let path = below(&ASSETS, id);
        let error = match self.http.send(&self.delete(operation, &path, id)).await {
            Err(error) if error.class == ErrorClass::NotFound => error,
            other => return other.map(drop),
        };
        match self.get::<Value>(operation, &path, &[]).await {
            Err(still) if still.class == ErrorClass::NotFound => {
                let _: Value =
                    self.get(operation, &ASSETS, &[("limit", "1")]).await.map_err(not_permitted)?;
                Ok(())
            }
            other => Err(other.map_or_else(|error| error, |_| not_permitted(error))),
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T> {
        self.read(operation, path, query).await?.data(operation, Repeat::Safe)
    }

    async fn read(&self, operation: &'static str, path: &[&str], query: &[(&str, &str)]) -> Result<Answer> {
        let request = Request {
            operation,
            method: Method::GET,
            path,
            query,
            body: None,
            priority: self.looks,
            who: None,
        };
        self.http.send(&request).await
    }

    /// All pages, until one is the last or brings nothing new. Pages shift when things come and go in between: what is seen
    /// twice counts once.
    async fn pages<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &[&str],
        filter: &[(&str, &str)],
        id: fn(&T) -> String,
        last: LastPage,
    ) -> Result<Vec<T>> {
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        let limit = PAGE.to_string();
        let (mut length, mut unreadable) = (0, 0);
        for page in 1..=MOST_PAGES {
            let page = page.to_string();
            let query = [filter, &[("limit", &limit), ("page", &page)]].concat();
            let answer = self.read(operation, path, &query).await.map_err(not_permitted)?;
            length += answer.body.len();
            if length > LONGEST_LIST {
                break;
            }
            let items: Vec<Item<T>> = answer.data(operation, Repeat::Safe)?;
            let (before, full) = (seen.len(), items.len() >= PAGE);
            for item in items {
                match item {
                    Item::Readable(item) if seen.insert(id(&item)) => all.push(item),
                    Item::Unreadable(item) if seen.insert(item.to_string()) => unreadable += 1,
                    Item::Readable(_) | Item::Unreadable(_) => {}
                }
            }
            if (full || last == LastPage::Empty) && seen.len() > before {
                continue;
            }
            if unreadable > 0 && all.is_empty() {
                let message = format!(
                    "none of the {unreadable} things in the list can be read as Mux's; check the base URL and any proxy"
                );
                return Err(ProviderError::new(Provider::Mux, operation, ErrorClass::Transient, message));
            }
            if unreadable > 0 {
                // What they hold is not told: it may be a stream key.
                tracing::debug!(operation, unreadable, "left out of the list, since it cannot be read");
            }
            return Ok(all);
        }
        let message = "the list is longer than any of Mux's; check the base URL and any proxy";
        Err(ProviderError::new(Provider::Mux, operation, ErrorClass::Credentials, message))
    }

    fn delete<'a>(&self, operation: &'static str, path: &'a [&'a str], id: &str) -> Request<'a> {
        let (method, who) = (Method::DELETE, who(operation, id));
        Request { operation, method, path, query: &[], body: None, priority: self.stops, who }
    }

    async fn put(&self, operation: &'static str, id: &str, action: &str, priority: Priority) -> Result<()> {
        let [video, version, streams] = LIVE_STREAMS;
        let path = [video, version, streams, id, action];
        let request = Request {
            operation,
            method: Method::PUT,
            path: &path,
            query: &[],
            body: None,
            priority,
            who: who(operation, id),
        };
        self.change(id, &request).await.map(drop)
    }

    /// A change of a live stream. A 404 is `NotFound` only if the stream is not there to be read either.
    async fn change(&self, id: &str, request: &Request<'_>) -> Result<Answer> {
        match self.http.send(request).await {
            Err(error) if error.class == ErrorClass::NotFound => match self.live_stream(id).await? {
                None => Err(error),
                Some(_) => Err(not_permitted(error)),
            },
            other => other,
        }
    }
}

fn below<'a>(collection: &[&'a str; 3], id: &'a str) -> [&'a str; 4] {
    let [service, version, name] = *collection;
    [service, version, name, id]
}

/// Names a change among all others.
fn who(operation: &str, id: &str) -> Option<String> {
    Some(format!("{operation} {id}"))
}

/// A 404 on something that must exist is a missing permission.
fn not_permitted(error: ProviderError) -> ProviderError {
    if error.class != ErrorClass::NotFound {
        return error;
    }
    let message =
        "Mux says 404, as it does when a token lacks a permission; give the token Mux Video read and write";
    ProviderError::new(Provider::Mux, error.operation, ErrorClass::Credentials, message)
}

#[cfg(test)]
mod tests {
    use super::super::limiter::RateLimits;
    use super::super::queue::Rate;
    use super::super::transport::Call;
    use super::*;
    use crate::providers::{Interruption, Secret};
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answers every page with 100 streams, new ones each time or always the same.
    struct FullPages {
        new_ones: bool,
        padding: usize,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl Transport for FullPages {
        async fn exchange(&self, _: Call) -> std::result::Result<Answer, Interruption> {
            let page = self.asked.fetch_add(1, Ordering::SeqCst);
            let first = if self.new_ones { page * PAGE } else { 0 };
            let streams: Vec<Value> = (first..first + PAGE)
                .map(|index| {
                    json!({
                        "id": format!("s{index}"), "created_at": "1", "status": "idle", "stream_key": "k",
                        "latency_mode": "low", "reconnect_window": 60, "passthrough": "x".repeat(self.padding),
                    })
                })
                .collect();
            let body = json!({"data": streams}).to_string().into_bytes();
            Ok(Answer { status: 200, body, ..Answer::default() })
        }
    }

    fn client(transport: Arc<dyn Transport>) -> MuxClient {
        let credentials = MuxCredentials {
            base_url: "http://mux".into(),
            token_id: "id".into(),
            token_secret: Secret::new("secret"),
        };
        let rate = Rate { burst: 1e6, per_second: 1e6 };
        let limiter = Arc::new(RateLimiter::new(RateLimits { post: rate, other: rate }));
        MuxClient::new(credentials, limiter, transport).unwrap()
    }

    async fn listed(new_ones: bool, padding: usize) -> (Result<usize>, usize) {
        let pages = Arc::new(FullPages { new_ones, padding, asked: AtomicUsize::new(0) });
        let client = client(Arc::clone(&pages) as Arc<dyn Transport>);
        let listed = client.live_streams().await.map(|streams| streams.len());
        (listed, pages.asked.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn a_list_without_end_is_given_up() {
        let (listed, asked) = listed(true, 0).await;
        let error = listed.unwrap_err();
        assert_eq!(error.class, ErrorClass::Credentials);
        assert!(error.message.contains("longer than any of Mux's"), "{error}");
        assert_eq!(asked, 1_000);
    }

    #[tokio::test]
    async fn a_list_that_fills_our_memory_is_given_up() {
        let (listed, asked) = listed(true, 50_000).await;
        assert!(listed.unwrap_err().message.contains("longer than any of Mux's"));
        assert!(asked <= 14, "{asked} pages of 5 MB");
    }

    #[tokio::test]
    async fn pages_that_bring_nothing_new_end_the_list() {
        assert_eq!(listed(false, 0).await, (Ok(100), 2));
    }

    /// The given things, a page at a time.
    struct Pages(Vec<Value>);

    #[async_trait]
    impl Transport for Pages {
        async fn exchange(&self, call: Call) -> std::result::Result<Answer, Interruption> {
            let page = call.url.query_pairs().find(|(name, _)| name == "page").unwrap().1;
            let page: usize = page.parse().unwrap();
            let items: Vec<&Value> = self.0.iter().skip((page - 1) * PAGE).take(PAGE).collect();
            let body = json!({"data": items}).to_string().into_bytes();
            Ok(Answer { status: 200, body, ..Answer::default() })
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_left_out_of_a_list_and_ends_it_nowhere() {
        let foreign = |number: usize| json!({"id": {"of": number}, "stream_key": "hidden-key"});
        let ours = json!({"id": "ours", "passthrough": "marker"});
        // A whole page and a half of things that are new to us, and ours behind them.
        let mut things: Vec<Value> = (0..3 * PAGE / 2).map(foreign).collect();
        things.push(ours);
        let listed = client(Arc::new(Pages(things))).live_streams().await.unwrap();
        assert_eq!(listed.iter().map(|stream| stream.id.as_str()).collect::<Vec<_>>(), ["ours"]);
        let error = client(Arc::new(Pages(vec![foreign(0)]))).live_streams().await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient);
        assert!(error.message.contains("can be read") && !error.message.contains("hidden"), "{error}");
        assert_eq!(client(Arc::new(Pages(Vec::new()))).live_streams().await, Ok(Vec::new()));
    }
}
