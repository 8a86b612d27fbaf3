//! The world, as far as the two lanes reach it. Time, chance and every effect come in through these traits, so that the
//! same code runs against real services and inside a deterministic simulation.

pub mod clock;
pub mod compositor;
pub mod livekit;
pub mod mux;
pub mod objects;
pub mod pods;
pub mod secrets;
pub mod viewer;

pub use clock::Clock;
pub use compositor::{Compositor, CompositorError, PodEndpoint};
pub use livekit::LiveKit;
pub use mux::{Mux, SpareLook};
pub use objects::{KubernetesError, Objects};
pub use pods::Pods;
pub use secrets::{SecretData, Secrets};
pub use viewer::{Playlist, Viewer, ViewerError};

use std::sync::Arc;

/// Everything that a lane may touch.
#[derive(Clone)]
pub struct World {
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// MemorialStreams and the Events about them.
    pub objects: Arc<dyn Objects>,
    /// Secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Pods.
    pub pods: Arc<dyn Pods>,
    /// Mux.
    pub mux: Arc<dyn Mux>,
    /// LiveKit.
    pub livekit: Arc<dyn LiveKit>,
    /// What mourners see.
    pub viewer: Arc<dyn Viewer>,
    /// Compositor pods, over HTTP.
    pub compositor: Arc<dyn Compositor>,
}
