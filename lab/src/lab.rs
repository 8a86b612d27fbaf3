//! A lab from start to end: one per machine.

use crate::cluster::{control_plane, identities, network, node};
use crate::description::{LabDescription, LiveKit, Mux};
use crate::folders::{Cache, RunFolder, make_private_folder, write_private};
use crate::leftovers;
use crate::parts::{self, node_images};
use crate::ports::Ports;
use crate::preparation::prepare;
use crate::process::{Specification, Table};
use crate::progress::Step;
use crate::secret::Secret;
use crate::services::{livekit, mux, rtmp};
use crate::side_by_side::side_by_side;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(120);

/// The order in which processes are stopped: whoever needs another goes first.
const STOP_ORDER: [&str; 12] = [
    "egress",
    "nginx-rtmp",
    "mux-simulator",
    "livekit-server",
    "redis",
    "kubelet",
    "kube-proxy",
    "containerd",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
];

/// A group of processes that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Part {
    /// etcd, kube-apiserver, kube-controller-manager and kube-scheduler.
    ControlPlane,
    /// containerd, kubelet and kube-proxy.
    Node,
    /// redis and livekit-server.
    Livekit,
    /// LiveKit's egress service, when its program is found.
    Egress,
    /// The Mux simulator and its ingest, nginx-rtmp.
    Mux,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 5] = [Self::ControlPlane, Self::Node, Self::Livekit, Self::Egress, Self::Mux];
}

/// Starts a lab; its processes outlive this one.
///
/// # Errors
/// When one runs already, a part cannot be built, or a process does not become ready. What was started is stopped.
pub fn up(wanted: &[Part]) -> Result<LabDescription> {
    let folder = RunFolder::fixed();
    if let Some(process) = Table::new(&folder).all_running()?.first() {
        bail!(
            "a lab runs already in {} ({} is process {}); stop it with `memorialstream-lab down`",
            folder.root().display(),
            process.name,
            process.pid
        );
    }
    let cache = Cache::open()?;
    prepare(&cache, None)?;
    leftovers::remove(&folder)?;
    match start(&folder, &cache, wanted) {
        Ok(description) => Ok(description),
        Err(error) => {
            if let Err(second) = down() {
                eprintln!("lab  and stopping what was started failed too: {second:#}");
            }
            Err(error)
        }
    }
}

fn start(folder: &RunFolder, cache: &Cache, wanted: &[Part]) -> Result<LabDescription> {
    if folder.root().exists() {
        fs::remove_dir_all(folder.root()).with_context(|| format!("empty {}", folder.root().display()))?;
    }
    make_private_folder(folder.root())?;
    let ports = Ports::choose()?;
    let egress = egress_program().filter(|_| wanted.contains(&Part::Egress));
    parts::link_programs(cache, folder, egress.as_deref())?;
    network::create(folder)?;
    let description = describe(folder, ports, egress);
    let table = Table::new(folder);
    let ports = &description.ports;
    let is_wanted = |part| wanted.contains(&part);
    side_by_side(vec![
        Box::new(|| {
            if is_wanted(Part::ControlPlane) {
                start_api_server(folder, &table, ports)?;
            }
            side_by_side(vec![
                Box::new(|| {
                    if is_wanted(Part::ControlPlane) {
                        start_controllers(folder, &table, ports)
                    } else {
                        Ok(())
                    }
                }),
                Box::new(|| {
                    if is_wanted(Part::Node) { start_node(folder, cache, &table, ports) } else { Ok(()) }
                }),
            ])
        }),
        Box::new(|| {
            if is_wanted(Part::Livekit) {
                start_livekit(folder, cache, &table, &description)?;
            }
            if is_wanted(Part::Mux) { start_mux(folder, &table, &description) } else { Ok(()) }
        }),
    ])?;
    write_private(&folder.description(), serde_json::to_vec_pretty(&description)?)?;
    Ok(description)
}

fn describe(folder: &RunFolder, ports: Ports, egress: Option<PathBuf>) -> LabDescription {
    let host = network::HOST_ADDRESS;
    let mux = format!("http://{host}:{}", ports.mux);
    LabDescription {
        kubeconfig: folder.kubeconfig(),
        folder: folder.root().to_owned(),
        logs: folder.logs(),
        bin: folder.bin(),
        livekit: LiveKit {
            url: format!("ws://{host}:{}", ports.livekit),
            api_key: "lab".to_owned(),
            api_secret: Secret::generate(),
        },
        egress,
        mux: Mux {
            playback_base_url: format!("{mux}/playback"),
            admin_url: format!("{mux}/simulator/v1"),
            url: mux,
            rtmp_url: format!("rtmp://{host}:{}/app", ports.rtmp),
            token_id: "lab".to_owned(),
            token_secret: Secret::generate(),
        },
        containerd_address: node::containerd_address(folder),
        ports,
        started_at: jiff::Timestamp::now().to_string(),
    }
}

/// The egress program: what `LIVEKIT_EGRESS_BIN` names, else `egress` on the PATH.
pub fn egress_program() -> Option<PathBuf> {
    let named = std::env::var_os("LIVEKIT_EGRESS_BIN").filter(|value| !value.is_empty()).map(PathBuf::from);
    named.or_else(|| parts::find_program("egress"))
}

fn bring_up(table: &Table, process: &Specification) -> Result<()> {
    let step = Step::begin(format!("{} ready", process.name));
    table.start(process)?;
    table.wait_ready(process, TIMEOUT)?;
    step.done();
    Ok(())
}

fn start_api_server(folder: &RunFolder, table: &Table, ports: &Ports) -> Result<()> {
    let identities = identities::identities();
    identities::write_tokens(folder, &identities)?;
    let key = folder.at("service-account.key");
    parts::run(Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048"))?;
    identities::make_kubelet_client(folder)?;
    control_plane::store_in_memory(folder)?;
    bring_up(table, &control_plane::etcd(folder, ports))?;
    let server = control_plane::api_server(folder, ports);
    let step = Step::begin("kube-apiserver ready");
    table.start(&server)?;
    // It makes its certificate first; clients need it to trust the server.
    let certificate = folder.at("api-server/apiserver.crt");
    if !crate::process::wait_until(TIMEOUT, || Ok(certificate.exists()))? {
        bail!("kube-apiserver made no certificate; see {}", folder.logs().display());
    }
    identities::write_kubeconfigs(folder, &control_plane::server_url(ports), &identities)?;
    table.wait_ready(&server, TIMEOUT)?;
    step.done();
    Ok(())
}

fn start_controllers(folder: &RunFolder, table: &Table, ports: &Ports) -> Result<()> {
    bring_up(table, &control_plane::controller_manager(folder, ports))?;
    bring_up(table, &control_plane::scheduler(folder, ports))
}

/// containerd starts with the images that pods stand on.
fn start_node(folder: &RunFolder, cache: &Cache, table: &Table, ports: &Ports) -> Result<()> {
    let step = Step::begin("images laid out for containerd");
    node_images::lay_out(cache, &node::containerd_root(folder))?;
    step.done();
    node::write_configuration(folder, ports)?;
    bring_up(table, &node::containerd(folder))?;
    bring_up(table, &node::kubelet(folder))?;
    bring_up(table, &node::kube_proxy(folder, ports))
}

fn start_livekit(folder: &RunFolder, cache: &Cache, table: &Table, lab: &LabDescription) -> Result<()> {
    livekit::write_configuration(folder, &lab.ports, &lab.livekit)?;
    bring_up(table, &livekit::redis(folder, &lab.ports))?;
    bring_up(table, &livekit::livekit(folder, &lab.ports))?;
    if lab.egress.is_some() {
        bring_up(table, &livekit::egress(folder, cache, &lab.ports))?;
    }
    Ok(())
}

fn start_mux(folder: &RunFolder, table: &Table, lab: &LabDescription) -> Result<()> {
    rtmp::write_configuration(folder, &lab.ports)?;
    mux::write_configuration(folder, &lab.ports, &lab.mux)?;
    bring_up(table, &mux::simulator(folder, &lab.ports)?)?;
    bring_up(table, &rtmp::nginx(folder, &lab.ports))
}

/// Stops the lab and removes everything of it but its logs.
///
/// # Errors
/// When something of it remains; it is named.
pub fn down() -> Result<()> {
    let folder = RunFolder::fixed();
    let table = Table::new(&folder);
    let known = table.names()?;
    let step = Step::begin("pods deleted");
    leftovers::delete_pods(&folder)?;
    step.done();
    let ordered = STOP_ORDER.iter().map(|name| (*name).to_owned()).filter(|name| known.contains(name));
    let others = known.iter().filter(|name| !STOP_ORDER.contains(&name.as_str())).cloned();
    for name in others.chain(ordered).collect::<Vec<_>>() {
        let step = Step::begin(format!("{name} stopped"));
        table.stop(&name)?;
        step.done();
    }
    let step = Step::begin("files and network removed");
    leftovers::remove(&folder)?;
    step.done();
    Ok(())
}
