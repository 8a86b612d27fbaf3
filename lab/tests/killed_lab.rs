//! A lab that was killed, with a pod in it, leaves nothing once the next one starts or `down` was called.
//!
//! One lab runs per machine, so this runs by itself: `make test` calls it when the others' lab is down.

use anyhow::{Result, ensure};
use memorialstream_lab::lab::{self, Part};
use memorialstream_lab::{
    Kubectl, LabDescription, PAUSE_IMAGE, RunFolder, Signal, leftovers, send_signal, wait_until,
};
use serde_json::json;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
#[ignore = "starts and kills labs of its own: make test runs it by itself"]
fn a_killed_lab_leaves_nothing() -> Result<()> {
    let killed = kill_everything().and_then(|()| {
        let left = leftovers(&RunFolder::fixed())?;
        for kind in ["process ", "mount ", "network device ", "chain "] {
            ensure!(left.iter().any(|line| line.starts_with(kind)), "the kill left no {kind}: {left:#?}");
        }
        // What a container runs outlives everything that knew of it.
        ensure!(left.iter().any(|line| line.ends_with(": /pause ")), "no container was left: {left:#?}");
        // The next lab starts in spite of it, and a lab that is killed early is swept too.
        kill(&lab::up(&[Part::Livekit])?)
    });
    let stopped = lab::down();
    killed?;
    stopped?;
    let left = leftovers(&RunFolder::fixed())?;
    ensure!(left.is_empty(), "the sweep left: {left:#?}");
    Ok(())
}

/// A cluster with a running pod; then every process of the lab dies at once.
fn kill_everything() -> Result<()> {
    let lab = lab::up(&[Part::ControlPlane, Part::Node])?;
    let kubectl = Kubectl::new(&lab);
    kubectl.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "left", "namespace": "default"},
        "spec": {"containers": [{"name": "pause", "image": PAUSE_IMAGE, "imagePullPolicy": "Never"}]},
    }))?;
    kubectl.run(&["wait", "pod/left", "--for=condition=Ready", "--timeout=60s"])?;
    kill(&lab)
}

fn kill(lab: &LabDescription) -> Result<()> {
    let processes = lab.processes()?;
    ensure!(!processes.is_empty(), "the lab has no processes");
    for process in processes {
        send_signal(process.pid, Signal::Kill)?;
    }
    // The kernel takes a moment to take a large process apart.
    let dead = wait_until(TIMEOUT, || Ok(lab.processes()?.is_empty()))?;
    ensure!(dead, "these do not die: {:?}", lab.processes()?);
    Ok(())
}
