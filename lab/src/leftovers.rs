//! What a lab may leave behind, and its removal: shims, mounts, network, rules and files.

use crate::cluster::network;
use crate::folders::RunFolder;
use crate::parts::run;
use crate::process::{self, Signal, wait_until};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where the egress service keeps temporary files, wherever it is told to run.
const EGRESS_FOLDER: &str = "/home/egress/tmp";
const TABLES: [&str; 3] = ["nat", "filter", "mangle"];
/// Chains of kube-proxy, the kubelet and CNI begin with these.
const CHAINS: [&str; 2] = ["KUBE-", "CNI-"];

/// Deletes Deployments and pods through the API server, so that the kubelet takes them down in order. An API server that does not
/// answer is no error: what its pods leave is removed afterwards.
///
/// # Errors
/// When kubectl cannot be run.
pub fn delete_pods(folder: &RunFolder) -> Result<()> {
    if !folder.kubeconfig().exists() {
        return Ok(());
    }
    // A Deployment would bring its pods back.
    for kind in ["deployments", "pods"] {
        Command::new("kubectl")
            .env("PATH", folder.search_path())
            .env("KUBECONFIG", folder.kubeconfig())
            .args(["delete", kind, "--all", "--all-namespaces", "--grace-period=1", "--timeout=20s"])
            .args(["--request-timeout=20s", "--ignore-not-found"])
            .stdin(Stdio::null())
            .output()
            .context("run kubectl")?;
    }
    Ok(())
}

/// Removes what a lab left, however it ended.
///
/// # Errors
/// When something remains; it is named.
pub fn remove(folder: &RunFolder) -> Result<()> {
    kill_processes(folder)?;
    unmount(folder)?;
    remove_namespaces()?;
    network::remove(folder)?;
    for table in TABLES {
        remove_chains(table)?;
    }
    remove_files(folder)?;
    let remaining = list(folder)?;
    if !remaining.is_empty() {
        bail!("the lab left something behind:\n  {}", remaining.join("\n  "));
    }
    Ok(())
}

/// What is there of a lab now, one line each.
///
/// # Errors
/// When it cannot be found out.
pub fn list(folder: &RunFolder) -> Result<Vec<String>> {
    let mut found: Vec<String> = processes_of(folder)?
        .into_iter()
        .map(|pid| format!("process {pid}: {}", process::arguments_of(pid).join(" ")))
        .collect();
    found.extend(mounts_under(folder.root())?.into_iter().map(|mount| format!("mount {mount}")));
    if network::exists() {
        found.push(format!("network device {}", network::BRIDGE));
    }
    for table in TABLES {
        found.extend(chains(table)?.into_iter().map(|chain| format!("chain {chain} of table {table}")));
    }
    if Path::new(EGRESS_FOLDER).exists() {
        found.push(format!("folder {EGRESS_FOLDER}"));
    }
    Ok(found)
}

/// Processes of the lab: those that carry its mark, containerd's shims, whose arguments name its socket, and what runs in
/// its containers, which outlive a shim that is killed.
fn processes_of(folder: &RunFolder) -> Result<Vec<i32>> {
    let root = folder.root().display().to_string();
    let own = i32::try_from(std::process::id())?;
    let ours = |pid: i32| {
        process::environment_holds(pid, process::MARKER, Some(&root))
            || process::arguments_of(pid).iter().any(|word| word.contains(&format!("{root}/")))
            || process::is_contained_in(pid, &root)
    };
    let all = process::processes()?;
    // Children of `exec` carry the folder in their PATH, not the mark, and this process may be one of them.
    Ok(all.into_iter().map(|stat| stat.pid).filter(|pid| *pid != own && ours(*pid)).collect())
}

fn kill_processes(folder: &RunFolder) -> Result<()> {
    for pid in processes_of(folder)? {
        process::send_signal(pid, Signal::Kill)?;
    }
    wait_until(Duration::from_secs(5), || Ok(processes_of(folder)?.is_empty()))?;
    Ok(())
}

/// Mount points at or below `root`, the deepest first.
fn mounts_under(root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    let mut below: Vec<String> =
        points.filter(|point| Path::new(point).starts_with(root)).map(str::to_owned).collect();
    below.sort_by_key(|point| std::cmp::Reverse(point.len()));
    Ok(below)
}

fn unmount(folder: &RunFolder) -> Result<()> {
    for point in mounts_under(folder.root())? {
        rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH)
            .with_context(|| format!("unmount {point}"))?;
    }
    Ok(())
}

/// Network namespaces of pods: containerd names them `cni-…`.
fn remove_namespaces() -> Result<()> {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("cni-") {
            run(Command::new("ip").args(["netns", "delete", &name]))?;
        }
    }
    Ok(())
}

fn iptables(table: &str) -> Command {
    let mut command = Command::new("iptables");
    command.args(["--wait", "--table", table]);
    command
}

fn rules(table: &str) -> Result<Vec<String>> {
    let output = iptables(table).arg("--list-rules").stdin(Stdio::null()).output();
    let output = output.context("run iptables")?;
    // A table that the kernel does not know holds nothing.
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn is_ours(word: &str) -> bool {
    CHAINS.iter().any(|prefix| word.starts_with(prefix))
}

fn chains(table: &str) -> Result<Vec<String>> {
    let rules = rules(table)?;
    let names = rules.iter().filter_map(|rule| rule.strip_prefix("-N "));
    Ok(names.filter(|name| is_ours(name)).map(str::to_owned).collect())
}

/// Rules that jump to our chains go first, then the chains' content, then the chains.
fn remove_chains(table: &str) -> Result<()> {
    let ours = chains(table)?;
    if ours.is_empty() {
        return Ok(());
    }
    let mut script = format!("*{table}\n");
    for rule in rules(table)? {
        let words: Vec<&str> = rule.split_whitespace().collect();
        if let ["-A", chain, rest @ ..] = words.as_slice()
            && !is_ours(chain)
            && rest.windows(2).any(|pair| matches!(pair, ["-j", target] if is_ours(target)))
        {
            script.push_str(&format!("-D {}\n", &rule[3..]));
        }
    }
    script.extend(ours.iter().map(|chain| format!("-F {chain}\n")));
    script.extend(ours.iter().map(|chain| format!("-X {chain}\n")));
    script.push_str("COMMIT\n");
    restore(&script)
}

fn restore(script: &str) -> Result<()> {
    use std::io::Write;
    let mut child = Command::new("iptables-restore")
        .args(["--wait", "--noflush"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run iptables-restore")?;
    child.stdin.take().context("iptables-restore takes rules")?.write_all(script.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("iptables-restore: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Everything but the logs, which people may want to read afterwards.
fn remove_files(folder: &RunFolder) -> Result<()> {
    for entry in fs::read_dir(folder.root()).into_iter().flatten().flatten() {
        let path = entry.path();
        if path == folder.logs() {
            continue;
        }
        let removed =
            if entry.file_type()?.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("remove {}", path.display()))?;
    }
    if Path::new(EGRESS_FOLDER).exists() {
        fs::remove_dir_all(EGRESS_FOLDER).with_context(|| format!("remove {EGRESS_FOLDER}"))?;
    }
    Ok(())
}
