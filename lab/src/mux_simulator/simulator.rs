//! The model with a clock, randomness and a memory.

use super::configuration::Configuration;
use super::nginx::Nginx;
use super::slate;
use crate::folders::write_private;
use anyhow::{Context, Result};
use axum::body::Bytes;
use jiff::Timestamp;
use memorialstream_mux_model::{Credentials, Effect, Ids, Model, Secret, Settings, State};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
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

/// What all requests share.
pub struct Simulator {
    model: Mutex<Model>,
    effects: UnboundedSender<Effect>,
    state_file: PathBuf,
    /// Where nginx writes HLS.
    pub hls_folder: PathBuf,
    /// The ingest.
    pub nginx: Nginx,
    slate: OnceCell<Bytes>,
}

impl Simulator {
    /// Goes on from the kept state, or begins with an empty environment.
    pub fn open(configuration: Configuration) -> Result<(Arc<Self>, UnboundedReceiver<Effect>)> {
        let model = match kept(&configuration.state_file)? {
            Some(state) => Model::resume(state, Box::new(RandomIds)),
            None => {
                let settings = Settings { timings: configuration.timings, ..Settings::default() };
                let credentials = Credentials {
                    token_id: configuration.token_id,
                    token_secret: Secret::new(configuration.token_secret.reveal()),
                };
                Model::new(settings, credentials, Timestamp::now(), Box::new(RandomIds))
            }
        };
        let (sender, receiver) = unbounded_channel();
        let simulator = Self {
            model: Mutex::new(model),
            effects: sender,
            nginx: Nginx::new(configuration.nginx_control)?,
            state_file: configuration.state_file,
            hls_folder: configuration.hls_folder,
            slate: OnceCell::new(),
        };
        Ok((Arc::new(simulator), receiver))
    }

    /// Looks at or changes the model at the present time; what follows for the ingest is sent on its way.
    pub fn with<T>(&self, act: impl FnOnce(&mut Model, Timestamp) -> T) -> T {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        model.advance(now);
        let result = act(&mut model, now);
        for effect in model.take_effects() {
            // Nobody listens only when the simulator ends.
            let _ended = self.effects.send(effect);
        }
        result
    }

    /// The segment with Mux's own picture. It is rendered once.
    pub async fn slate(&self) -> Result<Bytes> {
        self.slate.get_or_try_init(async || Ok(Bytes::from(slate::render().await?))).await.cloned()
    }

    /// Writes the state down.
    pub fn keep(&self) -> Result<()> {
        let state = self.with(|model, _| serde_json::to_vec(model.state()))?;
        write_private(&self.state_file, state)
    }
}

fn kept(path: &Path) -> Result<Option<State>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let state = serde_json::from_slice(&text);
    state.map(Some).with_context(|| format!("{} is of another version; remove it", path.display()))
}
