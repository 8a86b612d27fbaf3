//! What can be asked of Mux.

use super::answer::Answer;
use super::http::{Http, MuxCredentials, Request};
use super::limiter::{Priority, RateLimiter};
use super::transport::Transport;
use super::types::{Asset, Environment, LiveStream, LiveStreamStatus, LiveStreamUpdate, NewLiveStream};
use crate::providers::transport::Repeat;
use crate::providers::{ErrorClass, Provider, ProviderError, Result};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

const WHOAMI: [&str; 3] = ["system", "v1", "whoami"];
const LIVE_STREAMS: [&str; 3] = ["video", "v1", "live-streams"];
const ASSETS: [&str; 3] = ["video", "v1", "assets"];
/// Mux's largest page of live streams (docs.mux.com, "List live streams").
const PAGE: usize = 100;

/// A client of one Mux environment. Cheap to clone. It sends each request once and never repeats one.
///
/// # Errors
/// Every method's error is classed: [`ErrorClass::InDoubt`] only where something may have been created. Mux answers
/// 404 also when a token lacks a permission, so each 404 is looked into; `NotFound` means that the thing is gone.
#[derive(Clone)]
pub struct MuxClient {
    http: Http,
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
        Ok(Self { http: Http::new(credentials, limiter, transport)? })
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
            priority: Priority::Change,
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

    /// Every live stream of the environment, whoever made it.
    pub async fn live_streams(&self) -> Result<Vec<LiveStream>> {
        self.pages("live_streams", &LIVE_STREAMS, &[], |stream: &LiveStream| stream.id.clone()).await
    }

    /// Every live stream in this state.
    pub async fn live_streams_with_status(&self, status: &LiveStreamStatus) -> Result<Vec<LiveStream>> {
        let filter = [("status", status.as_str())];
        self.pages("live_streams_with_status", &LIVE_STREAMS, &filter, |stream: &LiveStream| {
            stream.id.clone()
        })
        .await
    }

    /// Changes settings, and returns the stream as it is then.
    pub async fn update_live_stream(&self, id: &str, update: &LiveStreamUpdate) -> Result<LiveStream> {
        let operation = "update_live_stream";
        let path = below(&LIVE_STREAMS, id);
        let body = Some(json!(update));
        let request = Request {
            operation,
            method: Method::PATCH,
            path: &path,
            query: &[],
            body,
            priority: Priority::Change,
        };
        self.change(id, &request).await?.data(operation, Repeat::Safe)
    }

    /// Ends the recording now, without waiting for the reconnect window. The sender stays connected for up to 60 s,
    /// and one that still sends then starts a new recording: stop it first.
    pub async fn complete_live_stream(&self, id: &str) -> Result<()> {
        self.put("complete_live_stream", id, "complete", Priority::Stop).await
    }

    /// Accepts ingest.
    pub async fn enable_live_stream(&self, id: &str) -> Result<()> {
        self.put("enable_live_stream", id, "enable", Priority::Change).await
    }

    /// Cuts the sender off, ends the recording and refuses ingest.
    pub async fn disable_live_stream(&self, id: &str) -> Result<()> {
        self.put("disable_live_stream", id, "disable", Priority::Stop).await
    }

    /// Deletes a live stream, cutting its sender off; its recordings stay. One that is gone already is success.
    pub async fn delete_live_stream(&self, id: &str) -> Result<()> {
        let path = below(&LIVE_STREAMS, id);
        match self.change(id, &delete("delete_live_stream", &path)).await {
            Err(error) if error.class == ErrorClass::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    /// The recordings of a live stream.
    pub async fn assets_of_live_stream(&self, id: &str) -> Result<Vec<Asset>> {
        let filter = [("live_stream_id", id)];
        self.pages("assets_of_live_stream", &ASSETS, &filter, |asset: &Asset| asset.id.clone()).await
    }

    /// Deletes a recording. One that is gone already is success.
    pub async fn delete_asset(&self, id: &str) -> Result<()> {
        let operation = "delete_asset";
        let path = below(&ASSETS, id);
        let error = match self.http.send(&delete(operation, &path)).await {
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
        let request =
            Request { operation, method: Method::GET, path, query, body: None, priority: Priority::Poll };
        self.http.send(&request).await?.data(operation, Repeat::Safe)
    }

    /// All pages, until one is not full or brings nothing new: requests are few. Pages shift when things come and go
    /// in between: what is seen twice counts once.
    async fn pages<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &[&str],
        filter: &[(&str, &str)],
        id: fn(&T) -> String,
    ) -> Result<Vec<T>> {
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        let limit = PAGE.to_string();
        for page in 1_u32.. {
            let page = page.to_string();
            let query = [filter, &[("limit", &limit), ("page", &page)]].concat();
            let items: Vec<T> = self.get(operation, path, &query).await.map_err(not_permitted)?;
            let (before, full) = (all.len(), items.len() >= PAGE);
            all.extend(items.into_iter().filter(|item| seen.insert(id(item))));
            if !full || all.len() == before {
                break;
            }
        }
        Ok(all)
    }

    async fn put(&self, operation: &'static str, id: &str, action: &str, priority: Priority) -> Result<()> {
        let [video, version, streams] = LIVE_STREAMS;
        let path = [video, version, streams, id, action];
        let request =
            Request { operation, method: Method::PUT, path: &path, query: &[], body: None, priority };
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

fn delete<'a>(operation: &'static str, path: &'a [&'a str]) -> Request<'a> {
    Request { operation, method: Method::DELETE, path, query: &[], body: None, priority: Priority::Stop }
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
