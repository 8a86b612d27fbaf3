//! etcd, the API server, the controller manager and the scheduler.

use super::identities::{KUBELET_CLIENT_CERTIFICATE, KUBELET_CLIENT_KEY, kubeconfig_of};
use super::network::{HOST_ADDRESS, SERVICE_RANGE};
use crate::folders::RunFolder;
use crate::ports::Ports;
use crate::process::{Ready, Specification};
use anyhow::{Context, Result};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Where clients reach the API server, on the host and in pods; its certificate names this address.
pub fn server_url(ports: &Ports) -> String {
    format!("https://{HOST_ADDRESS}:{}", ports.api_server)
}

/// The cluster's store: Debian's etcd, on a file system in memory (see `store_in_memory`).
pub fn etcd(folder: &RunFolder, ports: &Ports) -> Specification {
    let client = format!("http://{}", loopback(ports.etcd));
    let peer = format!("http://{}", loopback(ports.etcd_peer));
    let arguments = vec![
        "--name=lab".to_owned(),
        format!("--data-dir={}", folder.text("etcd")),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=lab={peer}"),
        "--logger=zap".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    let ready = Ready::Http(loopback(ports.etcd), "/health".to_owned());
    Specification { niceness: 0, ..Specification::new("etcd", "etcd", arguments, ready) }
}

/// Gives etcd a folder in memory: Debian's cannot be told to leave out syncing to disk, and its content ends with the
/// lab anyway. What sweeps a lab unmounts it.
///
/// # Errors
/// When it cannot be mounted.
pub fn store_in_memory(folder: &RunFolder) -> Result<()> {
    let store = folder.at("etcd");
    fs::create_dir_all(&store).with_context(|| format!("make {}", store.display()))?;
    rustix::mount::mount("tmpfs", &store, "tmpfs", rustix::mount::MountFlags::empty(), Some(c"mode=0700"))
        .with_context(|| format!("mount {}", store.display()))
}

/// The API server. It makes its own certificate, valid for the host, the bridge and the service address.
pub fn api_server(folder: &RunFolder, ports: &Ports) -> Specification {
    let arguments = vec![
        format!("--etcd-servers=http://{}", loopback(ports.etcd)),
        format!("--secure-port={}", ports.api_server),
        "--bind-address=0.0.0.0".to_owned(),
        format!("--advertise-address={HOST_ADDRESS}"),
        format!("--cert-dir={}", folder.text("api-server")),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        format!("--token-auth-file={}", folder.text("tokens.csv")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", folder.text("service-account.key")),
        format!("--service-account-signing-key-file={}", folder.text("service-account.key")),
        format!("--kubelet-client-certificate={}", folder.text(KUBELET_CLIENT_CERTIFICATE)),
        format!("--kubelet-client-key={}", folder.text(KUBELET_CLIENT_KEY)),
        "--allow-privileged".to_owned(),
        // Else `kubectl logs` looks the node's name up in DNS.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--profiling=false".to_owned(),
    ];
    let ready = Ready::Kubectl {
        kubeconfig: folder.kubeconfig(),
        arguments: ["get", "--raw", "/readyz"].map(str::to_owned).to_vec(),
        prints: "ok".to_owned(),
    };
    // In a real cluster it has a machine of its own. A TAKE goes through it.
    Specification { niceness: 0, ..Specification::new("kube-apiserver", "kube-apiserver", arguments, ready) }
}

/// The controller manager; ready once it made the first service account, which every pod needs.
pub fn controller_manager(folder: &RunFolder, ports: &Ports) -> Specification {
    let name = "kube-controller-manager";
    let arguments = vec![
        format!("--kubeconfig={}", kubeconfig_of(folder, name).display()),
        "--use-service-account-credentials".to_owned(),
        format!("--service-account-private-key-file={}", folder.text("service-account.key")),
        format!("--root-ca-file={}", folder.text("api-server/apiserver.crt")),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", ports.controller_manager),
        format!("--cert-dir={}", folder.text("controller-manager")),
        format!("--flex-volume-plugin-dir={}", folder.text("volume-plugins")),
        "--leader-elect=false".to_owned(),
    ];
    let ready = Ready::Kubectl {
        kubeconfig: folder.kubeconfig(),
        arguments: ["get", "serviceaccount", "default", "--namespace=default", "--output=name"]
            .map(str::to_owned)
            .to_vec(),
        prints: "serviceaccount/default".to_owned(),
    };
    Specification::new(name, name, arguments, ready)
}

/// The scheduler.
pub fn scheduler(folder: &RunFolder, ports: &Ports) -> Specification {
    let name = "kube-scheduler";
    let arguments = vec![
        format!("--kubeconfig={}", kubeconfig_of(folder, name).display()),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", ports.scheduler),
        format!("--cert-dir={}", folder.text("scheduler")),
        "--leader-elect=false".to_owned(),
    ];
    Specification::new(name, name, arguments, Ready::Tcp(loopback(ports.scheduler)))
}
