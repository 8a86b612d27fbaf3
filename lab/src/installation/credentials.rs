//! With what the operator reaches the providers and the API server.

use super::{NAMESPACE, RELEASE};
use crate::description::LabDescription;
use crate::folders::write_private;
use crate::kubectl::Kubectl;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// How long an operator outside the cluster can act; a pod's token is renewed by the kubelet.
const TOKEN_LIFE: &str = "4h";

/// What stands in a Secret with credentials, for the providers of this lab.
pub fn credentials(lab: &LabDescription) -> BTreeMap<&'static str, String> {
    let (livekit, mux) = (&lab.livekit, &lab.mux);
    BTreeMap::from([
        ("LIVEKIT_URL", livekit.url.clone()),
        ("LIVEKIT_API_KEY", livekit.api_key.clone()),
        ("LIVEKIT_API_SECRET", livekit.api_secret.reveal().to_owned()),
        ("MUX_TOKEN_ID", mux.token_id.clone()),
        ("MUX_TOKEN_SECRET", mux.token_secret.reveal().to_owned()),
        ("MUX_BASE_URL", mux.url.clone()),
        ("MUX_RTMP_URL", mux.rtmp_url.clone()),
        ("MUX_PLAYBACK_BASE_URL", mux.playback_base_url.clone()),
    ])
}

/// Writes such a Secret.
///
/// # Errors
/// When the API server refuses it.
pub fn write_credentials(lab: &LabDescription, namespace: &str, name: &str) -> Result<()> {
    Kubectl::new(lab).apply(&json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": credentials(lab),
    }))
}

/// A kubeconfig that acts as the chart's service account for a few hours. Only root can read it.
///
/// # Errors
/// When the chart is not installed, or the file cannot be written.
pub fn operator_kubeconfig(lab: &LabDescription) -> Result<PathBuf> {
    let arguments = ["create", "token", RELEASE, "--namespace", NAMESPACE, "--duration", TOKEN_LIFE];
    let token = Kubectl::new(lab).run(&arguments).context("make a token of the chart's service account")?;
    let administrator = fs::read(&lab.kubeconfig)
        .with_context(|| format!("read the kubeconfig {}", lab.kubeconfig.display()))?;
    let administrator: Value = serde_json::from_slice(&administrator).context("the lab's kubeconfig")?;
    let path = lab.folder.join("operator.kubeconfig");
    write_private(&path, with_token(&administrator, token.trim()).to_string())?;
    Ok(path)
}

/// The same cluster, as somebody else.
fn with_token(kubeconfig: &Value, token: &str) -> Value {
    let mut other = kubeconfig.clone();
    other["users"] = json!([{"name": RELEASE, "user": {"token": token}}]);
    other["contexts"] = json!([{"name": "lab", "context": {"cluster": "lab", "user": RELEASE}}]);
    other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_identity_keeps_the_cluster_and_nothing_of_the_administrator() {
        let administrator = json!({
            "clusters": [{"name": "lab", "cluster": {"server": "https://198.18.0.1:1"}}],
            "current-context": "lab",
            "users": [{"name": "admin", "user": {"token": "hidden"}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        });
        let other = with_token(&administrator, "t0k");
        assert_eq!(other["clusters"], administrator["clusters"]);
        assert_eq!(other["users"], json!([{"name": "memorialstream", "user": {"token": "t0k"}}]));
        assert!(!other.to_string().contains("admin") && !other.to_string().contains("hidden"));
    }
}
