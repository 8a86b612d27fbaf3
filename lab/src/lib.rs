//! A real cluster and real providers on one machine, without Docker: for the demo and the end-to-end tests. Only Mux
//! is simulated, because it is a hosted service.

pub mod cameras;
mod checkout;
mod cluster;
mod description;
mod digest;
mod folders;
pub mod footage;
mod http;
pub mod images;
pub mod installation;
mod kubectl;
pub mod lab;
mod leftovers;
mod mux_admin;
pub mod mux_simulator;
mod parts;
mod ports;
mod preparation;
mod process;
mod progress;
mod secret;
mod services;
mod side_by_side;
pub mod viewer;

pub use cameras::{Camera, Show};
pub use checkout::{program as built_program, root as checkout};
pub use description::{DESCRIPTION_VARIABLE, LabDescription, LiveKit, Mux, attach};
pub use folders::{Cache, RunFolder};
pub use http::client as http_client;
pub use kubectl::Kubectl;
pub use leftovers::list as leftovers;
pub use memorialstream_mux_model::{
    Fault, FaultKind, Permissions, Policy, Rate, RateLimits, RequestCount, Settings as MuxSettings,
    StreamRecord, Timings, Unknowns,
};
pub use mux_admin::MuxAdmin;
pub use parts::{PAUSE_IMAGE, gitops_program};
pub use ports::Ports;
pub use preparation::prepare;
pub use process::{MARKER as PROCESS_MARKER, RunningProcess, Signal, send_signal, wait_until};
pub use secret::Secret;
pub use viewer::Viewer;
