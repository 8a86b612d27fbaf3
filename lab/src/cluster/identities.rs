//! Who may speak to the API server, and the files by which they do.

use crate::cluster::NODE;
use crate::folders::{RunFolder, write_private};
use crate::parts::run;
use crate::secret::Secret;
use anyhow::{Context, Result};
use base64::Engine;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// With what the API server shows itself to the kubelet; in the run folder.
pub const KUBELET_CLIENT_CERTIFICATE: &str = "kubelet-client.crt";
/// Its key.
pub const KUBELET_CLIENT_KEY: &str = "kubelet-client.key";

/// A user of the API server, known by a token.
pub struct Identity {
    /// What the lab calls it.
    pub name: &'static str,
    user: String,
    group: Option<&'static str>,
    token: Secret,
}

/// One identity for each client, each with a fresh token.
pub fn identities() -> Vec<Identity> {
    let identity =
        |name, user: &str, group| Identity { name, user: user.to_owned(), group, token: Secret::generate() };
    vec![
        identity("admin", "admin", Some("system:masters")),
        identity("kube-controller-manager", "system:kube-controller-manager", None),
        identity("kube-scheduler", "system:kube-scheduler", None),
        identity("kubelet", &format!("system:node:{NODE}"), Some("system:nodes")),
        identity("kube-proxy", "system:kube-proxy", None),
    ]
}

/// Writes the API server's list of tokens.
///
/// # Errors
/// When the file cannot be written.
pub fn write_tokens(folder: &RunFolder, identities: &[Identity]) -> Result<()> {
    let lines: String = identities.iter().map(token_line).collect();
    write_private(&folder.at("tokens.csv"), lines)
}

fn token_line(identity: &Identity) -> String {
    let group = identity.group.map(|group| format!(",\"{group}\"")).unwrap_or_default();
    format!("{},{},{}{group}\n", identity.token.reveal(), identity.user, identity.name)
}

/// Makes the certificate by which the kubelet knows the API server, for `kubectl logs` and the like. It signs itself:
/// the kubelet trusts this one and no other.
///
/// # Errors
/// When openssl fails.
pub fn make_kubelet_client(folder: &RunFolder) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "30"]);
    openssl
        .args(["-subj", "/O=system:masters/CN=kube-apiserver", "-keyout"])
        .arg(folder.at(KUBELET_CLIENT_KEY));
    run(openssl.arg("-out").arg(folder.at(KUBELET_CLIENT_CERTIFICATE)))
}

/// The kubeconfig of one identity.
pub fn kubeconfig_of(folder: &RunFolder, name: &str) -> PathBuf {
    match name {
        "admin" => folder.kubeconfig(),
        other => folder.at(&format!("{other}.kubeconfig")),
    }
}

/// Writes a kubeconfig for each identity, trusting the certificate that the API server made for itself.
///
/// # Errors
/// When the certificate is not there or a file cannot be written.
pub fn write_kubeconfigs(folder: &RunFolder, server: &str, identities: &[Identity]) -> Result<()> {
    let certificate = folder.at("api-server/apiserver.crt");
    let certificate = fs::read(&certificate).with_context(|| format!("read {}", certificate.display()))?;
    for identity in identities {
        write_private(&kubeconfig_of(folder, identity.name), kubeconfig(server, &certificate, identity))?;
    }
    Ok(())
}

/// JSON, which is YAML as well.
fn kubeconfig(server: &str, certificate: &[u8], identity: &Identity) -> String {
    let authority = base64::engine::general_purpose::STANDARD.encode(certificate);
    let cluster = json!({"server": server, "certificate-authority-data": authority});
    let document = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": identity.name, "user": {"token": identity.token.reveal()}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": identity.name, "namespace": "default"}}],
    });
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Identity {
        Identity {
            name: "kubelet",
            user: "system:node:lab".into(),
            group: Some("system:nodes"),
            token: Secret::new("t0k"),
        }
    }

    #[test]
    fn a_token_line_has_token_user_uid_and_quoted_groups() {
        assert_eq!(token_line(&one()), "t0k,system:node:lab,kubelet,\"system:nodes\"\n");
        assert_eq!(token_line(&Identity { group: None, ..one() }), "t0k,system:node:lab,kubelet\n");
    }

    #[test]
    fn a_kubeconfig_carries_the_certificate_and_the_token() {
        let text = kubeconfig("https://127.0.0.1:1", b"certificate", &one());
        let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(document["clusters"][0]["cluster"]["certificate-authority-data"], "Y2VydGlmaWNhdGU=");
        assert_eq!(document["users"][0]["user"]["token"], "t0k");
        assert_eq!(document["contexts"][0]["name"], document["current-context"]);
    }
}
