//! The compositor pod: a new name per incarnation, never replaced for mere drift during a broadcast.

use super::{Action, Pass};
use crate::lifecycle::backoff::{Effect, Part, held};
use crate::service::desired::broadcast_under_way;
use crate::service::pod::{self, PodSeen};

impl Pass<'_> {
    /// Makes sure of one compositor pod. True once it runs, publishes Program and its frames advance.
    pub(super) fn ready_compositor(&mut self) -> bool {
        for finished in self.observed.pods.iter().filter(|pod| pod.finished && !pod.deleting) {
            self.act(Action::DeletePod(finished.name.clone()));
        }
        let mut running: Vec<&PodSeen> = self.observed.pods.iter().filter(|pod| pod.runs()).collect();
        running.sort_by_key(|pod| pod.incarnation);
        let Some(newest) = running.pop() else {
            self.make_pod();
            return false;
        };
        for older in running {
            self.act(Action::DeletePod(older.name.clone()));
        }
        let compositor = self.status.compositor.get_or_insert_default();
        compositor.pod_name = Some(newest.name.clone());
        compositor.incarnation = compositor.incarnation.max(newest.incarnation);
        compositor.restarts = newest.restarts;
        let drifted = newest.settings != pod::settings_fingerprint(&self.object.spec);
        if drifted && !broadcast_under_way(&self.status) {
            self.act(Action::DeletePod(newest.name.clone()));
            return false;
        }
        newest.ready && self.program_runs()
    }

    /// Program is published and its frames advance.
    pub(super) fn program_runs(&self) -> bool {
        matches!(&self.observed.compositor, Some(Ok(status)) if status.publisher.connected && status.program_advances())
    }

    fn make_pod(&mut self) {
        if held(&self.observed.backoffs, Effect::making(Part::Pod)) {
            return;
        }
        let compositor = self.status.compositor.get_or_insert_default();
        let highest = self.observed.pods.iter().map(|pod| pod.incarnation).max().unwrap_or(0);
        compositor.incarnation = compositor.incarnation.max(highest) + 1;
        let incarnation = compositor.incarnation;
        let name = pod::pod_name(&self.identity.name, incarnation);
        self.actions.push(Action::CreatePod { name, incarnation });
    }

    /// Deletes every pod of ours. True once none is left, not even a terminating one: it would bring the room back.
    pub(super) fn remove_compositor(&mut self) -> bool {
        for pod in self.observed.pods.iter().filter(|pod| !pod.deleting) {
            self.act(Action::DeletePod(pod.name.clone()));
        }
        let gone = self.observed.pods.is_empty();
        if let Some(compositor) = self.status.compositor.as_mut().filter(|_| gone) {
            compositor.pod_name = None;
            compositor.restarts = 0;
            compositor.sources = Vec::new();
        }
        gone
    }
}
