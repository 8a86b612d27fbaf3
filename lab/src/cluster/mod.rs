//! A real Kubernetes cluster of one node, without Docker or an init system.

pub mod control_plane;
pub mod identities;
pub mod network;
pub mod node;

/// The node's name.
pub const NODE: &str = "lab";
