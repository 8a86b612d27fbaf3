//! The switches and counters of the running lab's Mux simulator.

use crate::description::{LabDescription, Mux};
use crate::http;
use crate::secret::Secret;
use anyhow::{Context, Result, bail};
use memorialstream_mux_model::{Fault, Policy, RequestCount, Settings, StreamRecord};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A client of the simulator's own addresses, for one environment of it. They are no part of Mux.
#[derive(Clone, Debug)]
pub struct MuxAdmin {
    base: String,
    /// The access token of the environment that is meant; the first one's where it is absent.
    environment: Option<String>,
}

/// # Errors
/// Every method fails when the simulator does not answer or refuses; the error says what was asked.
impl MuxAdmin {
    /// A client for the first environment of the lab's simulator, to which `lab.mux` signs in.
    pub fn new(lab: &LabDescription) -> MuxAdmin {
        MuxAdmin { base: lab.mux.admin_url.clone(), environment: None }
    }

    /// Makes an environment in which nothing is yet, with streams, limits, faults and counters of its own, and returns
    /// how to sign in to it and its client.
    pub async fn new_environment(lab: &LabDescription) -> Result<(Mux, MuxAdmin)> {
        let (token_id, token_secret) = (Secret::generate().reveal().to_owned(), Secret::generate());
        let credentials = json!({"token_id": token_id, "token_secret": token_secret});
        Self::new(lab).send(Method::POST, "environments", Some(&credentials)).await?;
        let admin = MuxAdmin { environment: Some(token_id.clone()), ..Self::new(lab) };
        Ok((Mux { token_id, token_secret, ..lab.mux.clone() }, admin))
    }

    /// Every live stream that was ever made, deleted ones too, the oldest first. No stream keys are in it.
    pub async fn streams(&self) -> Result<Vec<StreamRecord>> {
        self.get("streams").await
    }

    /// How many requests to the REST API were answered how, since the last reset.
    pub async fn counters(&self) -> Result<Vec<RequestCount>> {
        self.get("requests").await
    }

    /// Sets all request counters to 0.
    pub async fn reset_counters(&self) -> Result<()> {
        self.send(Method::DELETE, "requests", None::<&()>).await.map(drop)
    }

    /// Adds a fault; those that are set already stay.
    pub async fn set_fault(&self, fault: &Fault) -> Result<()> {
        self.send(Method::POST, "faults", Some(fault)).await.map(drop)
    }

    /// The faults that can still strike.
    pub async fn faults(&self) -> Result<Vec<Fault>> {
        self.get("faults").await
    }

    /// Removes all faults. Settings stay as they are.
    pub async fn clear_faults(&self) -> Result<()> {
        self.send(Method::DELETE, "faults", None::<&()>).await.map(drop)
    }

    /// Rate limits, list lag, permissions and timings.
    pub async fn settings(&self) -> Result<Settings> {
        self.get("settings").await
    }

    /// Changes them from the next request on.
    pub async fn set_settings(&self, settings: &Settings) -> Result<()> {
        self.send(Method::PUT, "settings", Some(settings)).await.map(drop)
    }

    /// Gives the access token another secret and returns it. The old one, which the lab's description holds, is refused
    /// until [`MuxAdmin::set_token_secret`] brings it back.
    pub async fn rotate_token_secret(&self) -> Result<Secret> {
        let secret = Secret::generate();
        self.set_token_secret(&secret).await?;
        Ok(secret)
    }

    /// Gives the access token this secret.
    pub async fn set_token_secret(&self, secret: &Secret) -> Result<()> {
        self.send(Method::PUT, "token-secret", Some(secret)).await.map(drop)
    }

    /// Makes a live stream, as another product in the same environment does; `settings` as in Mux's API. Returns its id.
    /// Like all that follows it is done at the dashboard: it needs no credentials, meets no limit and no fault, and is
    /// not counted.
    pub async fn create_live_stream(&self, settings: &Value) -> Result<String> {
        self.made("dashboard/video/v1/live-streams", settings).await
    }

    /// Gives a live stream another key. The old one is refused from now on.
    pub async fn reset_stream_key(&self, stream: &str) -> Result<()> {
        self.send(Method::POST, &at(stream, "reset-stream-key"), None::<&()>).await.map(drop)
    }

    /// Gives a live stream another playback id and returns it.
    pub async fn create_playback_id(&self, stream: &str, policy: Policy) -> Result<String> {
        self.made(&at(stream, "playback-ids"), &json!({ "policy": policy })).await
    }

    /// Takes a playback id from a live stream.
    pub async fn delete_playback_id(&self, stream: &str, playback_id: &str) -> Result<()> {
        let what = at(stream, &format!("playback-ids/{playback_id}"));
        self.send(Method::DELETE, &what, None::<&()>).await.map(drop)
    }

    /// Cuts a live stream's encoder off and lets nobody in.
    pub async fn disable_live_stream(&self, stream: &str) -> Result<()> {
        self.send(Method::PUT, &at(stream, "disable"), None::<&()>).await.map(drop)
    }

    /// Lets encoders in again.
    pub async fn enable_live_stream(&self, stream: &str) -> Result<()> {
        self.send(Method::PUT, &at(stream, "enable"), None::<&()>).await.map(drop)
    }

    /// Ends a live stream's broadcast; the encoder stays connected for a while.
    pub async fn complete_live_stream(&self, stream: &str) -> Result<()> {
        self.send(Method::PUT, &at(stream, "complete"), None::<&()>).await.map(drop)
    }

    /// Deletes a live stream.
    pub async fn delete_live_stream(&self, stream: &str) -> Result<()> {
        let what = format!("dashboard/video/v1/live-streams/{stream}");
        self.send(Method::DELETE, &what, None::<&()>).await.map(drop)
    }

    /// Makes something and returns its id.
    async fn made(&self, what: &str, body: &Value) -> Result<String> {
        let answer = self.send(Method::POST, what, Some(body)).await?;
        let made: Value = answer.json().await.with_context(|| format!("read what was made: {what}"))?;
        let id = made.pointer("/data/id").and_then(Value::as_str);
        id.map(str::to_owned).with_context(|| format!("no id was made: {what}"))
    }

    async fn get<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        let answer = self.send(Method::GET, what, None::<&()>).await?;
        answer.json().await.with_context(|| format!("read {what} of the Mux simulator"))
    }

    async fn send<B: Serialize>(
        &self,
        method: Method,
        what: &str,
        body: Option<&B>,
    ) -> Result<reqwest::Response> {
        let url = format!("{}/{what}", self.base);
        let asked = format!("{method} {url}");
        let mut request = http::client()?.request(method, url);
        if let Some(environment) = &self.environment {
            request = request.query(&[("environment", environment)]);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("{asked}: is the lab's part `mux` up?"))?;
        let status = answer.status();
        if !status.is_success() {
            bail!("{asked} was answered with {status}: {}", answer.text().await.unwrap_or_default());
        }
        Ok(answer)
    }
}

/// Something of a live stream at the dashboard.
fn at(stream: &str, what: &str) -> String {
    format!("dashboard/video/v1/live-streams/{stream}/{what}")
}
