//! Nodes and the kubelet: from a pod that was created to a container that is ready, and to one that is gone.

use crate::cluster::{Key, pod_key, time};
use crate::compositor::{Boot, Compositor};
use crate::land::Land;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodStatus,
};
use memorialstream_compositor_protocol::BOOT_FILE;
use memorialstream_operator::service::pod::UID_LABEL;
use std::collections::BTreeMap;

/// Milliseconds after which the kubelet renews a mounted copy of a Secret.
const MOUNT_LAGS: u64 = 60_000;

/// The nodes, and what runs on them.
#[derive(Default)]
pub struct Kubelet {
    /// By pod. One that was deleted by force may still run on a node that is lost.
    pub containers: BTreeMap<Key, Compositor>,
    /// No node takes a pod.
    pub full: bool,
    /// The node is lost: what runs there runs on or not, and nobody hears of it.
    pub lost: bool,
    /// Pods take so much longer to start.
    pub slow: u64,
    /// What the kubelet complains of instead of starting a container.
    pub complaint: Option<&'static str>,
    addresses: u64,
    /// The version of the protocol that new pods speak.
    pub protocol: u32,
}

impl Land {
    /// The API server took a pod.
    pub fn admit_pod(&mut self, mut pod: Pod) {
        pod.metadata.uid = Some(format!("pod-{}", self.next_serial()));
        pod.metadata.creation_timestamp = Some(time(self.time()));
        pod.status = Some(PodStatus { phase: Some("Pending".into()), ..PodStatus::default() });
        let key = pod_key(&pod);
        let now = self.now;
        self.cluster.store_pod(now, pod);
        let wait = 100 + self.kubelet.slow + self.luck(&key, 400);
        self.after(wait, move |land| land.schedule_pod(&key));
    }

    /// Luck that belongs to one thing alone.
    fn luck(&self, key: &Key, most: u64) -> u64 {
        crate::dice::mix(crate::dice::hash(key.1.as_bytes(), self.seed)) % most
    }

    pub fn change_pod(&mut self, key: &Key, change: impl FnOnce(&mut Pod)) {
        let Some(pod) = self.cluster.pods.get(key) else { return };
        let mut next = pod.as_ref().clone();
        change(&mut next);
        let now = self.now;
        self.cluster.store_pod(now, next);
    }

    fn schedule_pod(&mut self, key: &Key) {
        let Some(pod) = self.cluster.pods.get(key) else { return };
        if pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        if self.kubelet.full || self.kubelet.lost {
            self.change_pod(key, |pod| {
                let condition = PodCondition {
                    type_: "PodScheduled".into(),
                    status: "False".into(),
                    reason: Some("Unschedulable".into()),
                    message: Some("0/1 nodes are available".into()),
                    ..PodCondition::default()
                };
                pod.status.get_or_insert_default().conditions = Some(vec![condition]);
            });
            let key = key.clone();
            return self.after(2_000, move |land| land.schedule_pod(&key));
        }
        if let Some(complaint) = self.kubelet.complaint {
            self.complain(key, complaint);
            let key = key.clone();
            return self.after(5_000, move |land| land.schedule_pod(&key));
        }
        let key = key.clone();
        let wait = 300 + self.luck(&key, 900);
        self.after(wait, move |land| land.start_container(&key, true));
    }

    fn complain(&mut self, key: &Key, reason: &str) {
        self.change_pod(key, |pod| {
            let waiting =
                ContainerStateWaiting { reason: Some(reason.into()), message: Some("simulated".into()) };
            let container = ContainerStatus {
                name: "compositor".into(),
                state: Some(ContainerState { waiting: Some(waiting), ..ContainerState::default() }),
                ..ContainerStatus::default()
            };
            let status = pod.status.get_or_insert_default();
            status.conditions = None;
            status.container_statuses = Some(vec![container]);
        });
    }

    /// Its container starts, for the first time or again: it reads the mounted copy of its Secret.
    fn start_container(&mut self, key: &Key, first: bool) {
        let Some(pod) = self.cluster.pods.get(key) else { return };
        let runs = first && self.kubelet.containers.get(key).is_some_and(|container| container.running);
        if pod.metadata.deletion_timestamp.is_some() || runs {
            return;
        }
        if self.kubelet.lost {
            // It was given to the node already: the kubelet starts it when it is back.
            if first {
                let key = key.clone();
                self.after(2_000, move |land| land.start_container(&key, true));
            }
            return;
        }
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let uid = labels.get(UID_LABEL).cloned().unwrap_or_default();
        let mounted = match self.kubelet.containers.get(key) {
            Some(before) if !first => before.mounted.clone(),
            _ => {
                let volume =
                    pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()?.first()?.secret.clone());
                let name = volume.and_then(|volume| volume.secret_name).unwrap_or_default();
                let Some(secret) = self.cluster.secrets.get(&(key.0.clone(), name)) else {
                    let key = key.clone();
                    return self.after(2_000, move |land| land.start_container(&key, true));
                };
                secret.data.clone()
            }
        };
        self.kubelet.addresses += 1;
        let (ip, restarts) = match self.kubelet.containers.get(key) {
            Some(before) if !first => (before.ip.clone(), before.restarts + 1),
            _ => (format!("10.0.{}.{}", self.kubelet.addresses / 250, self.kubelet.addresses % 250), 0),
        };
        let protocol = match self.kubelet.containers.get(key) {
            Some(before) if !first => before.protocol,
            _ => self.kubelet.protocol,
        };
        let boot = mounted.get(BOOT_FILE).and_then(|text| Boot::read(text, protocol));
        // A mark of the silence outlives the container.
        let silent = !first && self.kubelet.containers.get(key).is_some_and(|before| before.taken);
        let mut container =
            Compositor::new(key.clone(), uid, ip.clone(), restarts, mounted, boot, self.now, protocol);
        container.taken = silent;
        let publishes = container.document.is_some();
        self.kubelet.containers.insert(key.clone(), container);
        self.note(|| format!("container of {} runs, restart {restarts}", key.1));
        self.report(key, false);
        let (one, two) = (key.clone(), key.clone());
        if publishes {
            let wait = 200 + self.luck(key, 500);
            self.after(wait, move |land| land.join_as_program(&one));
            self.after(wait + 300, move |land| land.report(&two, true));
        } else if protocol == 0 {
            self.after(4_000, move |land| {
                land.complain(&one, "CrashLoopBackOff");
                land.stop_container(&one);
            });
        }
        if first {
            let key = key.clone();
            self.after(MOUNT_LAGS, move |land| land.renew_mount(&key));
        }
    }

    fn renew_mount(&mut self, key: &Key) {
        let Some(pod) = self.cluster.pods.get(key) else { return };
        let volume = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()?.first()?.secret.clone());
        let name = volume.and_then(|volume| volume.secret_name).unwrap_or_default();
        let data = self.cluster.secrets.get(&(key.0.clone(), name)).map(|secret| secret.data.clone());
        if let (Some(container), Some(data)) = (self.kubelet.containers.get_mut(key), data) {
            container.mounted = data;
        }
        let key = key.clone();
        self.after(MOUNT_LAGS, move |land| land.renew_mount(&key));
    }

    /// The kubelet says how the container stands.
    pub fn report(&mut self, key: &Key, ready: bool) {
        let Some(container) = self.kubelet.containers.get(key).filter(|_| !self.kubelet.lost) else { return };
        let (ip, restarts) = (container.ip.clone(), container.restarts);
        let ready = ready && container.running && container.document.is_some();
        self.change_pod(key, |pod| {
            let container = ContainerStatus {
                name: "compositor".into(),
                ready,
                restart_count: restarts,
                ..ContainerStatus::default()
            };
            pod.status = Some(PodStatus {
                phase: Some("Running".into()),
                pod_ip: Some(ip),
                container_statuses: Some(vec![container]),
                ..PodStatus::default()
            });
        });
    }

    pub fn stop_container(&mut self, key: &Key) {
        self.leave_as_program(key);
        self.stop_own_sender(key);
        if let Some(container) = self.kubelet.containers.get_mut(key) {
            container.running = false;
        }
    }

    /// Its container crashes, and the kubelet starts it again.
    pub fn crash_container(&mut self, key: &Key) {
        if !self.kubelet.containers.get(key).is_some_and(|container| container.running) {
            return;
        }
        self.note(|| format!("container of {} crashes", key.1));
        self.stop_container(key);
        self.report(key, false);
        let key = key.clone();
        self.after(1_000, move |land| land.start_container(&key, false));
    }

    /// Somebody deletes a pod: its container is told to stop, and then it goes.
    pub fn terminate_pod(&mut self, key: &Key) {
        let Some(pod) = self.cluster.pods.get(key) else { return };
        if pod.metadata.deletion_timestamp.is_none() {
            let at = time(self.time());
            self.change_pod(key, |pod| pod.metadata.deletion_timestamp = Some(at));
        }
        if self.kubelet.lost {
            return;
        }
        let wait = 400 + self.luck(key, 900);
        let key = key.clone();
        self.after(wait, move |land| land.pod_is_gone(&key));
    }

    fn pod_is_gone(&mut self, key: &Key) {
        if self.kubelet.lost {
            return;
        }
        self.stop_container(key);
        self.kubelet.containers.remove(key);
        let now = self.now;
        self.note(|| format!("pod {} is gone", key.1));
        self.cluster.remove_pod(now, key);
    }

    /// The pod and its container are gone at once: evicted, or deleted by force.
    pub fn kill_pod(&mut self, key: &Key) {
        self.note(|| format!("pod {} is killed", key.1));
        self.stop_container(key);
        self.kubelet.containers.remove(key);
        let now = self.now;
        self.cluster.remove_pod(now, key);
    }

    /// The node is cut off, and all that runs there stops without a word; or it comes back.
    pub fn lose_node(&mut self, lost: bool) {
        if self.kubelet.lost == lost {
            return;
        }
        self.kubelet.lost = lost;
        self.note(|| format!("node lost: {lost}"));
        let keys: Vec<Key> = self.cluster.pods.keys().cloned().collect();
        for key in keys {
            let deleting =
                self.cluster.pods.get(&key).is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
            if lost {
                self.stop_container(&key);
                let later = key.clone();
                // The taint not-ready is tolerated for 15 s.
                self.after(15_000 + 40_000, move |land| {
                    if land.kubelet.lost {
                        land.terminate_pod(&later);
                    }
                });
            } else if deleting {
                let key = key.clone();
                self.after(1_000, move |land| land.pod_is_gone(&key));
            } else if self.kubelet.containers.contains_key(&key) {
                let key = key.clone();
                self.after(1_000, move |land| land.start_container(&key, false));
            }
        }
    }
}
