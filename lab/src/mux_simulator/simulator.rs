//! The models with a clock, randomness and a memory.

use super::configuration::Configuration;
use super::nginx::Nginx;
use super::slate;
use crate::folders::write_private;
use anyhow::{Context, Result};
use axum::body::Bytes;
use jiff::Timestamp;
use memorialstream_mux_model::{Credentials, Effect, Ids, Model, Secret, Settings, State, Timings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Ids that nobody can guess.
struct RandomIds;

impl Ids for RandomIds {
    fn next(&mut self) -> u128 {
        rand::random()
    }

    fn boxed(&self) -> Box<dyn Ids> {
        Box::new(Self)
    }
}

/// Environments with streams, limits, faults and counters of their own.
struct Environments {
    /// The one that the simulator was started with.
    first: Model,
    /// The others, by the id of their access token.
    others: BTreeMap<String, Model>,
}

impl Environments {
    fn all(&mut self) -> impl Iterator<Item = &mut Model> {
        std::iter::once(&mut self.first).chain(self.others.values_mut())
    }
}

/// What is kept of them.
#[derive(Serialize, Deserialize)]
struct Kept {
    first: State,
    others: BTreeMap<String, State>,
}

/// What all requests share.
pub struct Simulator {
    environments: Mutex<Environments>,
    timings: Timings,
    effects: UnboundedSender<Effect>,
    state_file: PathBuf,
    /// Where nginx writes HLS.
    pub hls_folder: PathBuf,
    /// The ingest.
    pub nginx: Nginx,
    slate: OnceCell<Bytes>,
}

impl Simulator {
    /// Goes on from the kept state, or begins with one empty environment.
    pub fn open(configuration: Configuration) -> Result<(Arc<Self>, UnboundedReceiver<Effect>)> {
        let timings = configuration.timings;
        let environments = match kept(&configuration.state_file)? {
            Some(Kept { first, others }) => {
                let resume = |state| Model::resume(state, Box::new(RandomIds));
                let others = others.into_iter().map(|(token, state)| (token, resume(state)));
                Environments { first: resume(first), others: others.collect() }
            }
            None => {
                let token_secret = Secret::new(configuration.token_secret.reveal());
                let credentials = Credentials { token_id: configuration.token_id, token_secret };
                Environments { first: empty(timings, credentials), others: BTreeMap::new() }
            }
        };
        let (sender, receiver) = unbounded_channel();
        let simulator = Self {
            environments: Mutex::new(environments),
            timings,
            effects: sender,
            nginx: Nginx::new(configuration.nginx_control)?,
            state_file: configuration.state_file,
            hls_folder: configuration.hls_folder,
            slate: OnceCell::new(),
        };
        Ok((Arc::new(simulator), receiver))
    }

    /// Adds an empty environment with this one access token. Things take there what they took at the simulator's start.
    pub fn add(&self, credentials: Credentials) {
        let token = credentials.token_id.clone();
        self.lock().others.insert(token, empty(self.timings, credentials));
    }

    /// Looks at or changes the environment of an access token at the present time; what follows for the ingest is sent on
    /// its way. No token, and one that has no environment, is the first environment.
    pub fn with<T>(&self, token: Option<&str>, act: impl FnOnce(&mut Model, Timestamp) -> T) -> T {
        let mut environments = self.lock();
        let Environments { first, others } = &mut *environments;
        let model = token.and_then(|token| others.get_mut(token)).unwrap_or(first);
        self.act(model, act)
    }

    /// The same in each environment, until one of them gives an answer.
    pub fn find<T>(&self, mut act: impl FnMut(&mut Model, Timestamp) -> Option<T>) -> Option<T> {
        self.lock().all().find_map(|model| self.act(model, &mut act))
    }

    /// The same in each environment.
    pub fn each<T>(&self, mut act: impl FnMut(&mut Model, Timestamp) -> T) -> Vec<T> {
        self.lock().all().map(|model| self.act(model, &mut act)).collect()
    }

    fn act<T>(&self, model: &mut Model, act: impl FnOnce(&mut Model, Timestamp) -> T) -> T {
        let now = Timestamp::now();
        model.advance(now);
        let result = act(model, now);
        for effect in model.take_effects() {
            // Nobody listens only when the simulator ends.
            let _ended = self.effects.send(effect);
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Environments> {
        self.environments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment with Mux's own picture. It is rendered once.
    pub async fn slate(&self) -> Result<Bytes> {
        self.slate.get_or_try_init(async || Ok(Bytes::from(slate::render().await?))).await.cloned()
    }

    /// Writes the state down.
    pub fn keep(&self) -> Result<()> {
        self.each(|_, _| ());
        let environments = self.lock();
        let others = environments.others.iter();
        let others = others.map(|(token, model)| (token.clone(), model.state().clone())).collect();
        let kept = Kept { first: environments.first.state().clone(), others };
        drop(environments);
        let state = serde_json::to_vec(&kept)?;
        write_private(&self.state_file, state)
    }
}

fn empty(timings: Timings, credentials: Credentials) -> Model {
    let settings = Settings { timings, ..Settings::default() };
    Model::new(settings, credentials, Timestamp::now(), Box::new(RandomIds))
}

fn kept(path: &Path) -> Result<Option<Kept>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let state = serde_json::from_slice(&text);
    state.map(Some).with_context(|| format!("{} is of another version; remove it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use memorialstream_mux_model::{Fault, Method, Request};
    use std::net::{Ipv4Addr, SocketAddr};

    fn credentials(token: &str) -> Credentials {
        Credentials { token_id: token.to_owned(), token_secret: Secret::new("secret") }
    }

    fn create(simulator: &Simulator, token: &str) -> u16 {
        let request = Request::new(Method::Post, "/video/v1/live-streams", credentials(token));
        simulator.with(Some(token), |model, now| model.request(now, &request)).status
    }

    #[tokio::test]
    async fn environments_know_nothing_of_each_other_and_are_kept_together() {
        let folder = std::env::temp_dir().join(format!("mux-environments-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let configuration = Configuration {
            listen: nowhere,
            callbacks: nowhere,
            nginx_control: nowhere,
            hls_folder: folder.clone(),
            state_file: folder.join("state.json"),
            token_id: "first".into(),
            token_secret: crate::secret::Secret::new("secret"),
            timings: Timings::default(),
        };
        let (simulator, _effects) = Simulator::open(configuration.clone()).expect("a simulator");
        simulator.add(credentials("second"));
        simulator.with(Some("second"), |model, _| model.add_fault(Fault::server_error())).expect("a fault");
        assert_eq!([create(&simulator, "first"), create(&simulator, "second")], [201, 503]);
        assert_eq!(create(&simulator, "third"), 401, "who has no environment is refused by the first");
        simulator.with(Some("second"), |model, _| model.clear_faults());
        assert_eq!(create(&simulator, "second"), 201);
        simulator.keep().expect("keep the state");
        let (again, _effects) = Simulator::open(configuration).expect("the kept state");
        fs::remove_dir_all(&folder).expect("remove the folder");
        let streams = |token| again.with(Some(token), |model, _| model.streams());
        let [first, second] = ["first", "second"].map(streams);
        assert_eq!((first.len(), second.len()), (1, 1));
        assert_ne!(first[0].id, second[0].id);
        assert_eq!(again.each(|model, _| model.streams().len()), [1, 1]);
    }
}
