//! The operator in the lab's cluster: its images, its chart and its credentials.

mod credentials;
mod image;
mod layer;

pub use credentials::{credentials, operator_kubeconfig, write_credentials};
pub use image::{compositor_image, operator_image};

use crate::checkout;
use crate::description::LabDescription;
use crate::kubectl::{Kubectl, output_of};
use crate::progress::Step;
use anyhow::{Context, Result};
use serde_json::json;
use std::fs::File;
use std::path::PathBuf;

/// The operator's namespace.
pub const NAMESPACE: &str = "memorialstream-system";
/// The chart's release, and with it the name of Deployment, ServiceAccount and ClusterRole.
pub const RELEASE: &str = "memorialstream";
/// Where the demo makes its service: the namespace of the lab's kubeconfig. Others opt in by [`SECRETS_ROLE`].
const SERVICES_NAMESPACE: &str = "default";
/// The ClusterRole with which a namespace lets the operator use its Secrets.
pub const SECRETS_ROLE: &str = "memorialstream-namespace-secrets";
/// The Secret for every MemorialStream that names none.
pub const CREDENTIALS_SECRET: &str = "memorialstream-credentials";

/// What an operator outside the cluster needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The compositor's image on the node.
    pub compositor_image: String,
    /// Acts as the chart's service account, with the chart's rights.
    pub operator_kubeconfig: PathBuf,
}

/// Everything but the operator itself: compositor image, CRD, service account, rights and credentials. For tests, whose
/// operator runs on the host. A second call finds all of it done.
///
/// # Errors
/// When an image cannot be built or the chart cannot be installed.
pub fn prepare(lab: &LabDescription) -> Result<Installed> {
    let compositor_image = compositor_image(lab)?;
    install_chart(lab, None, &compositor_image)?;
    let operator_kubeconfig = operator_kubeconfig(lab)?;
    Ok(Installed { compositor_image, operator_kubeconfig })
}

/// Installs the chart, or upgrades it, together with the namespace and the credentials of this lab. With an image the
/// operator runs in the cluster, and this returns when it is ready; without, there are 0 replicas.
///
/// # Errors
/// When helm fails, with its words.
pub fn install_chart(
    lab: &LabDescription,
    operator_image: Option<&str>,
    compositor_image: &str,
) -> Result<()> {
    let _one_at_a_time = lock(lab, "chart")?;
    let step = Step::begin(format!("chart {RELEASE} installed"));
    let kubectl = Kubectl::new(lab);
    kubectl.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))?;
    write_credentials(lab, NAMESPACE, CREDENTIALS_SECRET)?;
    let (compositor, compositor_tag) = repository_and_tag(compositor_image)?;
    let mut settings = vec![
        format!("replicas={}", u8::from(operator_image.is_some())),
        format!("compositor.image.repository={compositor}"),
        format!("compositor.image.tag={compositor_tag}"),
        "compositor.image.pullPolicy=Never".to_owned(),
        "image.pullPolicy=Never".to_owned(),
        format!("credentialsSecret={CREDENTIALS_SECRET}"),
        format!("secretNamespaces={{{SERVICES_NAMESPACE}}}"),
    ];
    if let Some(image) = operator_image {
        let (repository, tag) = repository_and_tag(image)?;
        settings.push(format!("image.repository={repository}"));
        settings.push(format!("image.tag={tag}"));
    }
    let mut helm = kubectl.command("helm");
    helm.args(["upgrade", "--install", RELEASE]).arg(checkout::root().join("charts/memorialstream-operator"));
    helm.args(["--namespace", NAMESPACE, "--wait", "--timeout", "120s"]);
    for setting in settings {
        // A tag may consist of digits only.
        helm.arg("--set-string").arg(setting);
    }
    output_of(&mut helm).context("install the chart")?;
    step.done();
    Ok(())
}

fn repository_and_tag(image: &str) -> Result<(&str, &str)> {
    image.rsplit_once(':').with_context(|| format!("the image {image} has no tag"))
}

/// Held while `what` is installed; tests may ask at the same time.
fn lock(lab: &LabDescription, what: &str) -> Result<File> {
    let path = lab.folder.join(format!("{what}.lock"));
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}
