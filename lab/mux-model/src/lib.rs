//! The rules of Mux's live streams and recordings: what each request is answered with, and what an encoder's coming and
//! going does. Pure: no network, no clock, no randomness. Time is an argument and ids come from a source that is passed
//! in, so that the same seed plays the same events back.
//!
//! Facts are from Mux's documentation (mux.com/docs), its official SDKs and its recorded answers. Where those are silent
//! the choice that is made here stands in a comment that begins with "Unknown:".

mod answer;
mod api;
mod asset;
mod body;
mod broadcast;
mod bucket;
mod deadline;
mod fault;
mod history;
mod ids;
mod list;
mod model;
mod operation;
mod playback;
mod record;
mod request;
mod secret;
mod settings;
mod stream;
mod timeline;

pub use answer::{Answer, Delivery};
pub use body::{LatencyMode, Policy};
pub use broadcast::PublishRefusal;
pub use fault::{Fault, FaultKind, UnknownOperation};
pub use ids::{Ids, Seeded};
pub use model::{Effect, Model, State};
pub use operation::Operation;
pub use playback::{MediaPlaylist, Playback, Program, Shown};
pub use record::{RequestCount, StreamRecord};
pub use request::{Credentials, Method, Request};
pub use secret::Secret;
pub use settings::{Permissions, Rate, RateLimits, Settings, Timings, Unknowns};
pub use timeline::{MediaKind, Recording, Source};
