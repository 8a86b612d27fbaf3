//! The node: containerd, kubelet and kube-proxy.

use super::NODE;
use super::identities::{KUBELET_CLIENT_CERTIFICATE, kubeconfig_of};
use super::network::{HOST_ADDRESS, POD_RANGE, cni_configuration};
use crate::folders::{RunFolder, write_private};
use crate::parts::PAUSE_IMAGE;
use crate::ports::Ports;
use crate::process::{Ready, Specification};
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The socket of the node's containerd.
pub fn containerd_address(folder: &RunFolder) -> PathBuf {
    folder.at("containerd.sock")
}

/// Where containerd keeps images and containers.
pub fn containerd_root(folder: &RunFolder) -> PathBuf {
    folder.at("containerd/root")
}

/// Writes the configuration files of containerd, CNI and kubelet.
///
/// # Errors
/// When a file cannot be written.
pub fn write_configuration(folder: &RunFolder, ports: &Ports) -> Result<()> {
    let network = folder.at("cni/configuration");
    fs::create_dir_all(&network).with_context(|| format!("make {}", network.display()))?;
    write_private(&network.join("10-lab.conflist"), cni_configuration(folder))?;
    write_private(&folder.at("containerd.toml"), containerd_configuration(folder))?;
    write_private(&folder.at("kubelet.json"), kubelet_configuration(folder, ports))
}

fn containerd_configuration(folder: &RunFolder) -> String {
    // Lowering oom_score_adj needs a capability that a machine may withhold, and runc then fails without saying so.
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{network}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"#,
        root = containerd_root(folder).display(),
        state = folder.text("containerd/state"),
        socket = containerd_address(folder).display(),
        network = folder.text("cni/configuration"),
    )
}

fn kubelet_configuration(folder: &RunFolder, ports: &Ports) -> String {
    let document = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": HOST_ADDRESS,
        "port": ports.kubelet,
        "healthzPort": ports.kubelet_health,
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": folder.at(KUBELET_CLIENT_CERTIFICATE)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}", containerd_address(folder).display()),
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        // A filling disk must not delete the images that no registry can bring back.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
        "clusterDNS": [],
        "resolvConf": "",
        "staticPodPath": "",
        "volumePluginDir": folder.at("volume-plugins"),
        "podLogsDir": folder.at("pod-logs"),
        "syncFrequency": "10s",
        "fileCheckFrequency": "10s",
    });
    format!("{document:#}\n")
}

/// containerd.
pub fn containerd(folder: &RunFolder) -> Specification {
    let arguments = vec![format!("--config={}", folder.text("containerd.toml"))];
    let ready = Ready::Socket(containerd_address(folder));
    // Pods inherit it.
    Specification { niceness: 0, ..Specification::new("containerd", "containerd", arguments, ready) }
}

/// The kubelet; ready when the node is.
pub fn kubelet(folder: &RunFolder) -> Specification {
    let arguments = vec![
        format!("--config={}", folder.text("kubelet.json")),
        format!("--kubeconfig={}", kubeconfig_of(folder, "kubelet").display()),
        format!("--root-dir={}", folder.text("kubelet")),
        format!("--cert-dir={}", folder.text("kubelet-certificates")),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={HOST_ADDRESS}"),
    ];
    let ready = Ready::Kubectl {
        kubeconfig: folder.kubeconfig(),
        arguments: [
            "get",
            "node",
            NODE,
            "--output=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}",
        ]
        .map(str::to_owned)
        .to_vec(),
        prints: "True".to_owned(),
    };
    Specification::new("kubelet", "kubelet", arguments, ready)
}

/// kube-proxy, so that Service addresses work from pods.
pub fn kube_proxy(folder: &RunFolder, ports: &Ports) -> Specification {
    let loopback = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let health = loopback(ports.kube_proxy_health);
    let arguments = vec![
        format!("--kubeconfig={}", kubeconfig_of(folder, "kube-proxy").display()),
        "--proxy-mode=iptables".to_owned(),
        format!("--cluster-cidr={POD_RANGE}"),
        format!("--hostname-override={NODE}"),
        format!("--healthz-bind-address={health}"),
        format!("--metrics-bind-address={}", loopback(ports.kube_proxy_metrics)),
        // These sysctls may be read-only.
        "--conntrack-max-per-core=0".to_owned(),
        "--conntrack-tcp-timeout-established=0s".to_owned(),
        "--conntrack-tcp-timeout-close-wait=0s".to_owned(),
    ];
    Specification::new("kube-proxy", "kube-proxy", arguments, Ready::Http(health, "/healthz".to_owned()))
}
