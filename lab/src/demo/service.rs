//! Which service the demo takes live.

/// What is applied.
pub const MANIFEST: &str = "examples/memorialstream.yaml";
/// The MemorialStream in it.
pub const SERVICE: &str = "jane-doe";
/// Where the demo applies it: the namespace of the lab's kubeconfig.
pub const NAMESPACE: &str = "default";
