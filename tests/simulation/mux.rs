//! Mux, as the operator reaches it: its model behind a transport; and the encoders that send to it.

use crate::cluster::Key;
use crate::faults::{Fault, Site};
use crate::invariants::Invariant;
use crate::land::Land;
use crate::process::{Broken, Process};
use async_trait::async_trait;
use memorialstream_mux_model as model;
use memorialstream_operator::providers::Interruption;
use memorialstream_operator::providers::mux::{Answer, Call, Transport};
use model::{Effect, Method, Model, PublishRefusal, Request, Seeded, Settings};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// After so much media mourners may see something, in milliseconds.
const FIRST_SEGMENT: u64 = 5_000;

/// Where Mux answers.
pub const HOST: &str = "api.mux.com";

/// An environment, and the encoders that are connected to it.
pub struct MuxEnvironment {
    pub model: Model,
    pub connections: BTreeMap<String, Connection>,
}

/// An encoder's connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub source: Source,
    /// Whose object it sends for.
    pub uid: String,
    media: u64,
    /// When Program last came through.
    pub program_at: Option<u64>,
}

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Pod(Key),
    Egress(String, String),
}

impl MuxEnvironment {
    pub fn new(land: &Land, token_id: &str, token_secret: &str, settings: Settings) -> Self {
        let credentials =
            model::Credentials { token_id: token_id.into(), token_secret: model::Secret::new(token_secret) };
        let ids = Seeded::new(crate::dice::hash(token_id.as_bytes(), land.seed));
        Self {
            model: Model::new(settings, credentials, land.time(), Box::new(ids)),
            connections: BTreeMap::new(),
        }
    }
}

/// What one process of the operator sends its requests through.
pub struct Wire(pub Arc<Process>);

fn site(method: &str, path: &[&str]) -> Site {
    match (method, path) {
        (_, ["system", ..]) => Site::Whoami,
        ("POST", _) => Site::CreateStream,
        ("GET", ["video", "v1", "live-streams", _]) => Site::GetStream,
        ("GET", _) => Site::ListStreams,
        ("PATCH", _) => Site::UpdateStream,
        ("DELETE", _) => Site::DeleteStream,
        (_, [.., "enable"]) => Site::EnableStream,
        (_, [.., "disable"]) => Site::DisableStream,
        _ => Site::CompleteStream,
    }
}

fn action(site: Site) -> Option<&'static str> {
    Some(match site {
        Site::CreateStream => "CreateStream",
        Site::UpdateStream => "UpdateStream",
        Site::DeleteStream => "DeleteStream",
        Site::EnableStream => "EnableStream",
        Site::DisableStream => "DisableStream",
        Site::CompleteStream => "CompleteStream",
        _ => return None,
    })
}

#[async_trait]
impl Transport for Wire {
    async fn exchange(&self, call: Call) -> Result<Answer, Interruption> {
        let path: Vec<&str> = call.url.path().trim_matches('/').split('/').collect();
        let site = site(call.method.as_str(), &path);
        let token = call.credentials.token_id.clone();
        let host = call.url.host_str().map(str::to_owned);
        let answer = self.0.through(site, &token, call.timeout, |land| {
            land.mux_secret_leaves(&call);
            if call.url.host_str() != Some(HOST) {
                return None;
            }
            if let Some(action) = action(site) {
                land.coverage.action(action);
                land.note(|| format!("{action} {}", path.get(3).unwrap_or(&"")));
            }
            Some(land.ask_mux(site, &call, &path))
        });
        match answer.await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Interruption::NotReached { host, cause: "Connection refused".into() }),
            Err(Broken::TimedOut) => Err(Interruption::TimedOut { host }),
            Err(Broken::Failed(Fault::TooMany)) => {
                let body = br#"{"errors":["Too many requests, retry later."]}"#.to_vec();
                Ok(Answer {
                    status: 429,
                    retry_after: Some(Duration::from_secs(2)),
                    remaining: None,
                    request_id: None,
                    body,
                })
            }
            Err(Broken::Failed(Fault::ServerError | Fault::ServerErrorAfter)) => {
                let body =
                    br#"{"error":{"type":"internal_error","messages":["Internal server error"]}}"#.to_vec();
                Ok(Answer { status: 503, retry_after: None, remaining: None, request_id: None, body })
            }
            Err(Broken::Failed(Fault::Refused)) => {
                let body = br#"{"error":{"type":"invalid_parameters","messages":["no"]}}"#.to_vec();
                Ok(Answer { status: 400, retry_after: None, remaining: None, request_id: None, body })
            }
            Err(Broken::Failed(Fault::ReplyLost)) => Err(Interruption::BrokeOff { host }),
            Err(Broken::Failed(Fault::Empty)) => Ok(Answer { status: 200, ..Answer::default() }),
            Err(Broken::Failed(Fault::Endless)) => Err(Interruption::TooLong { host }),
            Err(Broken::Failed(Fault::Lie)) => {
                Ok(Answer { status: 200, body: br#"{"data":[]}"#.to_vec(), ..Answer::default() })
            }
            Err(Broken::Failed(_)) => {
                Err(Interruption::NotReached { host, cause: "Connection refused".into() })
            }
        }
    }
}

impl Land {
    fn ask_mux(&mut self, site: Site, call: &Call, path: &[&str]) -> Answer {
        self.mux_is_asked(site, call, path);
        let now = self.time();
        let refused = Answer {
            remaining: None,
            status: 401,
            retry_after: None,
            request_id: None,
            body: br#"{"error":{"type":"unauthorized","messages":["Unauthorized request"]}}"#.to_vec(),
        };
        let Some(environment) = self.mux.get_mut(&call.credentials.token_id) else { return refused };
        let method = match call.method.as_str() {
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            _ => Method::Get,
        };
        let request = Request {
            method,
            path: call.url.path().to_owned(),
            query: call
                .url
                .query_pairs()
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
            credentials: Some(model::Credentials {
                token_id: call.credentials.token_id.clone(),
                token_secret: model::Secret::new(call.credentials.token_secret.reveal()),
            }),
            body: call.body.as_ref().map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default(),
        };
        let answer = environment.model.request(now, &request);
        let token = call.credentials.token_id.clone();
        self.settle_mux(&token);
        let body = answer.body.as_ref().map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        if answer.status == 429 {
            // A process that is new does not know what the one before has used up.
            if self.crashed.is_empty() {
                self.violated(Invariant::TooMany, &token, "Mux takes no more requests");
            }
        }
        Answer { status: answer.status, retry_after: None, remaining: None, request_id: None, body }
    }

    /// Encoders that Mux cut off hear of it.
    pub fn settle_mux(&mut self, token: &str) {
        let Some(environment) = self.mux.get_mut(token) else { return };
        for Effect::DropEncoder { connection } in environment.model.take_effects() {
            let Some(environment) = self.mux.get_mut(token) else { return };
            let Some(dropped) = environment.connections.remove(&connection) else { continue };
            self.note(|| format!("Mux drops {connection}"));
            match dropped.source {
                Source::Pod(pod) => self.own_sender_is_cut_off(&pod),
                Source::Egress(url, id) => self.egress_is_cut_off(&url, &id),
            }
        }
    }

    /// An encoder connects with a key.
    pub fn publish(&mut self, key: &str, name: &str, uid: &str) -> Result<(), String> {
        if self.ingest_down {
            return Err("connection refused".into());
        }
        let (now, tokens) = (self.time(), self.mux.keys().cloned().collect::<Vec<_>>());
        for token in tokens {
            let Some(environment) = self.mux.get_mut(&token) else { continue };
            match environment.model.publish(now, key, name) {
                Err(PublishRefusal::UnknownKey) => continue,
                Err(refusal) => return Err(format!("{refusal:?}")),
                Ok(()) => {}
            }
            let source = self.source(name);
            let connection = Connection { source, uid: uid.to_owned(), media: 0, program_at: None };
            if let Some(environment) = self.mux.get_mut(&token) {
                environment.connections.insert(name.to_owned(), connection);
            }
            self.note(|| format!("{name} is connected to Mux"));
            self.check_feed(uid);
            self.settle_mux(&token);
            return Ok(());
        }
        Err("UnknownKey".into())
    }

    fn source(&self, connection: &str) -> Source {
        let name = connection.split('#').next().unwrap_or_default();
        let egress = self.livekit.iter().find(|(_, server)| server.egresses.contains_key(name));
        match egress {
            Some((url, _)) => Source::Egress(url.clone(), name.to_owned()),
            None => {
                let pod = self.kubelet.containers.keys().find(|pod| pod.1 == name);
                Source::Pod(pod.cloned().unwrap_or_default())
            }
        }
    }

    /// An encoder goes.
    pub fn hang_up(&mut self, connection: &str) {
        let now = self.time();
        for environment in self.mux.values_mut() {
            if environment.connections.remove(connection).is_some() {
                environment.model.unpublish(now, connection);
            }
        }
    }

    /// Everybody's network to Mux breaks for a moment.
    pub fn cut_all_senders(&mut self) {
        let tokens: Vec<String> = self.mux.keys().cloned().collect();
        for token in tokens {
            let now = self.time();
            let Some(environment) = self.mux.get_mut(&token) else { continue };
            for (name, connection) in std::mem::take(&mut environment.connections) {
                if let Some(environment) = self.mux.get_mut(&token) {
                    environment.model.unpublish(now, &name);
                }
                match connection.source {
                    Source::Pod(pod) => self.own_sender_is_cut_off(&pod),
                    Source::Egress(url, id) => self.egress_is_cut_off(&url, &id),
                }
            }
        }
    }

    /// Encoders send what has come since the last time.
    pub fn pump(&mut self, milliseconds: u64) {
        let (now, at) = (self.now, self.time());
        let tokens: Vec<String> = self
            .mux
            .iter()
            .filter(|(_, one)| !one.connections.is_empty())
            .map(|(token, _)| token.clone())
            .collect();
        for token in tokens {
            let names: Vec<String> = self.mux[&token].connections.keys().cloned().collect();
            for name in names {
                let source = self.mux[&token].connections[&name].source.clone();
                let (sends, program) = self.what_flows(&source);
                let Some(environment) = self.mux.get_mut(&token) else { continue };
                let Some(connection) = environment.connections.get_mut(&name) else { continue };
                if program {
                    connection.program_at = Some(now);
                }
                let mut seen = None;
                if sends {
                    let before = connection.media;
                    connection.media += milliseconds;
                    if before < FIRST_SEGMENT && connection.media >= FIRST_SEGMENT {
                        seen = Some(connection.uid.clone());
                    }
                    let total = Duration::from_millis(connection.media);
                    environment.model.media(at, &name, total);
                }
                if let Some(uid) = seen {
                    self.is_live(&uid);
                }
            }
            if let Some(environment) = self.mux.get_mut(&token) {
                environment.model.advance(at);
            }
            self.settle_mux(&token);
        }
    }

    /// Whether media flows from there, and whether Program is in it.
    fn what_flows(&self, source: &Source) -> (bool, bool) {
        match source {
            Source::Pod(pod) => {
                let flows = self
                    .kubelet
                    .containers
                    .get(pod)
                    .is_some_and(|one| one.running && one.frozen_since.is_none());
                (flows, flows)
            }
            Source::Egress(url, id) => {
                let Some(record) = self.livekit.get(url).and_then(|server| server.egresses.get(id)) else {
                    return (false, false);
                };
                let room = self.livekit[url].rooms.get(&record.room);
                let program = room.and_then(|room| match room.participants.get(&record.identity) {
                    Some(crate::livekit::Who::Program(pod)) => self.kubelet.containers.get(pod),
                    _ => None,
                });
                (record.runs(), program.is_some_and(|program| program.program_flows()))
            }
        }
    }
}
