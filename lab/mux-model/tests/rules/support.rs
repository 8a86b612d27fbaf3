//! An environment with a clock that stands still until it is moved.

use jiff::{SignedDuration, Timestamp};
use memorialstream_mux_model::{
    Answer, Credentials, Effect, Method, Model, PublishRefusal, RateLimits, Request, Secret, Seeded, Settings,
};
use serde_json::Value;
use std::time::Duration;

pub const STREAMS: &str = "/video/v1/live-streams";
pub const ASSETS: &str = "/video/v1/assets";

pub struct Environment {
    pub model: Model,
    pub now: Timestamp,
    pub credentials: Credentials,
}

impl Environment {
    /// Without rate limits.
    pub fn new() -> Self {
        let settings = Settings { rate_limits: RateLimits::UNLIMITED, ..Settings::default() };
        Self::with(settings)
    }

    pub fn with(settings: Settings) -> Self {
        let now = Timestamp::from_second(1_763_942_400).expect("a time");
        let credentials = Credentials { token_id: "token".to_owned(), token_secret: Secret::new("secret") };
        let model = Model::new(settings, credentials.clone(), now, Box::new(Seeded::new(1)));
        Self { model, now, credentials }
    }

    pub fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.model.settings().clone();
        change(&mut settings);
        self.model.set_settings(settings);
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.model.advance(self.now);
    }

    pub fn send(&mut self, request: &Request) -> Answer {
        self.model.request(self.now, request)
    }

    pub fn call(&mut self, method: Method, path: &str, body: Value) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut request = Request::new(method, path, self.credentials.clone());
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        request.query = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if !body.is_null() {
            request.body = body.to_string().into_bytes();
        }
        self.send(&request)
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.call(Method::Get, path, Value::Null)
    }

    /// A new stream, as Mux shows it.
    pub fn create(&mut self, body: Value) -> Value {
        let answer = self.call(Method::Post, STREAMS, body);
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer.object()
    }

    /// A stream as it is now.
    pub fn stream(&mut self, stream: &Value) -> Value {
        let answer = self.get(&at(stream, ""));
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.object()
    }

    /// The recordings of a stream, the newest first.
    pub fn assets(&mut self, stream: &Value) -> Vec<Value> {
        let id = stream["id"].as_str().expect("an id");
        let answer = self.get(&format!("{ASSETS}?live_stream_id={id}&limit=100"));
        answer.object().as_array().expect("a list").clone()
    }

    pub fn put(&mut self, stream: &Value, action: &str) {
        let answer = self.call(Method::Put, &at(stream, action), Value::Null);
        assert_eq!(answer.status, 200, "{action}: {:?}", answer.body);
    }

    pub fn publish(&mut self, stream: &Value, connection: &str) -> Result<(), PublishRefusal> {
        let key = stream["stream_key"].as_str().expect("a key");
        self.model.publish(self.now, key, connection)
    }

    /// The connection's media has come so far.
    pub fn media(&mut self, connection: &str, seconds: u64) {
        self.model.media(self.now, connection, Duration::from_secs(seconds));
    }

    /// An encoder that has sent so much, in as much time.
    pub fn sends(&mut self, stream: &Value, connection: &str, seconds: u64) {
        self.publish(stream, connection).expect("let in");
        for second in 1..=seconds {
            self.pass(1);
            self.media(connection, second);
        }
    }

    pub fn leaves(&mut self, connection: &str) {
        self.model.unpublish(self.now, connection);
    }

    /// The connections that were cut off since this was last asked.
    pub fn dropped(&mut self) -> Vec<String> {
        let effects = self.model.take_effects().into_iter();
        effects.map(|Effect::DropEncoder { connection }| connection).collect()
    }
}

/// The address of something of a stream.
pub fn at(stream: &Value, what: &str) -> String {
    let id = stream["id"].as_str().expect("an id");
    if what.is_empty() { format!("{STREAMS}/{id}") } else { format!("{STREAMS}/{id}/{what}") }
}

/// The one message of an error.
pub fn words(answer: &Answer) -> String {
    let body = answer.body.as_ref().expect("a body");
    body["error"]["messages"][0].as_str().expect("a message").to_owned()
}
