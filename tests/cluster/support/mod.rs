//! What the tests share: the running lab's API server, with the CRD installed.

pub mod gitops;
pub mod hostile;
pub mod operator;
pub mod other_environment;
pub mod prometheus;
pub mod secrets;
pub mod service;
pub mod stage;
pub mod turn;
pub mod wait;
pub mod watching;

pub use service::{is, message};
pub use stage::{Stage, spec};
pub use turn::Turn;
pub use wait::{eventually, holds};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use memorialstream_lab::LabDescription;
use memorialstream_lab::installation::{NAMESPACE, RELEASE, SECRETS_ROLE};
use memorialstream_operator::api::MemorialStream;
use memorialstream_operator::api::crd::custom_resource_definition;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::sync::Once;
use tokio::sync::OnceCell;

/// As whom compositor pods run.
const POD_USER: u32 = 65532;

/// The running lab. `make test` starts one for all tests.
pub fn lab() -> LabDescription {
    memorialstream_lab::attach().expect("a lab")
}

/// A client of the lab's API server; the CRD is installed and established.
pub async fn client() -> Client {
    static RING: Once = Once::new();
    RING.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .expect("no other TLS provider was installed");
    });
    let kubeconfig = Kubeconfig::read_from(lab().kubeconfig).expect("the lab's kubeconfig");
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("config");
    let client = Client::try_from(config).expect("client");
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED.get_or_init(|| install_definition(&client)).await;
    client
}

/// Installs the CRD as it is in this tree.
pub async fn install_definition(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = custom_resource_definition();
    let name = definition.metadata.name.clone().expect("the CRD has a name");
    api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&definition))
        .await
        .expect("install the CRD");
    let established = kube::runtime::conditions::is_crd_established();
    kube::runtime::wait::await_condition(api, &name, established).await.expect("the CRD is established");
}

/// A new namespace that begins with `prefix`, where the operator may use Secrets.
pub async fn namespace(client: &Client, prefix: &str) -> String {
    let name = namespace_without_opt_in(client, prefix).await;
    opt_in(client, &name).await;
    name
}

/// A new namespace as anybody makes one.
pub async fn namespace_without_opt_in(client: &Client, prefix: &str) -> String {
    let api: Api<Namespace> = Api::all(client.clone());
    let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let made = api.create(&PostParams::default(), &namespace).await.expect("make a namespace");
    made.metadata.name.expect("a namespace has a name")
}

/// Lets the operator use Secrets there, as its people would.
pub async fn opt_in(client: &Client, namespace: &str) {
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": SECRETS_ROLE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": SECRETS_ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}],
    }))
    .expect("a RoleBinding");
    let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &binding).await.expect("bind the role");
}

/// Deletes a namespace, without waiting for the end.
pub async fn delete_namespace(name: &str) {
    let api: Api<Namespace> = Api::all(client().await);
    api.delete(name, &DeleteParams::default()).await.expect("delete the namespace");
}

/// MemorialStreams, whatever is wrong with them.
pub fn resource() -> ApiResource {
    ApiResource::erase::<MemorialStream>(&())
}

/// A MemorialStream as people would send it, whatever is wrong with it.
pub fn manifest(name: &str, spec: Value) -> DynamicObject {
    let document = json!({
        "apiVersion": "tributestream.com/v1alpha1", "kind": "MemorialStream", "metadata": {"name": name}, "spec": spec,
    });
    serde_json::from_value(document).expect("a manifest is an object")
}

/// Sends a signal by its name to a process of the lab.
pub fn send(signal: &str, pid: u32) {
    let status =
        std::process::Command::new("kill").args(["-s", signal, &pid.to_string()]).status().expect("kill");
    assert!(status.success(), "SIG{signal} to {pid}");
}

/// The compositor of a pod, a process of the node.
pub fn compositor_process(pod: &Pod) -> u32 {
    let uid = pod.metadata.uid.as_deref().expect("a pod has a UID");
    let is_ours = |pid: &u32| {
        let owner = std::fs::metadata(format!("/proc/{pid}")).map(|process| process.uid()).ok();
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = words.split(|byte| *byte == 0).next().unwrap_or(&[]);
        // The kubelet's folder of the pod.
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        owner == Some(POD_USER) && program.ends_with(b"memorialstream-compositor") && mounts.contains(uid)
    };
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let mut found: Vec<u32> = processes
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .filter(is_ours)
        .collect();
    assert_eq!(found.len(), 1, "one compositor runs: {found:?}");
    found.remove(0)
}
