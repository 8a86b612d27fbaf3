//! The compositor pod: never two in use, and never replaced for mere drift during a broadcast.
//!
//! The record comes first: status names the next pod before it is created, and only the pod of that name is used. The
//! cache may lag or stand still, so a recorded pod that it does not show is asked for past it:
//! - it is there: it is the one in use, or it is waited for until it is gone;
//! - it is not, and was never made for certain: it is created again under the same name, which the API server gives once;
//! - it is not, and was made, or the name is somebody else's: the next incarnation, with a new name and a new bearer token;
//! - nobody can say: nothing is made.
//!
//! A pod whose deletion hangs (its node is dead) is waited for no longer than [`PodSeen::hangs`] says. Should it run on,
//! it is fenced: the next incarnation has another bearer token, and takes its identity in the room.

use super::{Action, Pass};
use crate::lifecycle::backoff::{Effect, Part, held};
use crate::service::desired::broadcast_under_way;
use crate::service::pod::{self, PodSeen, RecordedPod};

impl Pass<'_> {
    /// Makes sure of one compositor pod. True once it runs, publishes Program and its frames advance.
    pub(super) fn ready_compositor(&mut self) -> bool {
        for finished in self.observed.pods.iter().filter(|pod| pod.finished && !pod.deleting) {
            self.act(Action::DeletePod(finished.name.clone()));
        }
        // One of a higher incarnation was recorded after what this pass knows of status.
        let recorded = self.status.compositor.as_ref().map_or(0, |compositor| compositor.incarnation);
        for stray in self.observed.pods.iter().filter(|pod| pod.stray && pod.runs()) {
            if stray.incarnation <= recorded {
                self.act(Action::DeletePod(stray.name.clone()));
            }
        }
        let Some(newest) = pod::in_use(&self.observed.pods) else {
            self.make_pod();
            return false;
        };
        let compositor = self.status.compositor.get_or_insert_default();
        compositor.made = true;
        compositor.restarts = newest.restarts;
        let drifted = newest.settings != pod::settings_fingerprint(&self.object.spec);
        // One that cannot run is on air for nobody: what was mended since counts at once.
        let cannot_run = !newest.ready && newest.complaint.is_some();
        let mended = cannot_run && (drifted || newest.image != self.observed.compositor_image);
        if mended || (drifted && !broadcast_under_way(&self.status)) {
            self.act(Action::DeletePod(newest.name.clone()));
            return false;
        }
        if self.observed.boots_wrong {
            self.act(Action::RenewBoot { incarnation: newest.incarnation });
        }
        newest.ready && self.program_runs()
    }

    /// Program is published and its frames advance.
    pub(super) fn program_runs(&self) -> bool {
        matches!(&self.observed.compositor, Some(Ok(status)) if status.publisher.connected && status.program_advances())
    }

    fn make_pod(&mut self) {
        let waits = |pod: &PodSeen| (pod.runs() && !pod.stray) || (pod.deleting && !pod.hangs(self.now));
        if self.observed.recorded_pod == RecordedPod::Unknown
            || self.observed.pods.iter().any(waits)
            || held(&self.observed.backoffs, Effect::making(Part::Pod))
        {
            return;
        }
        let compositor = self.status.compositor.get_or_insert_default();
        let again = compositor.pod_name.is_some()
            && !compositor.made
            && self.observed.recorded_pod == RecordedPod::Absent;
        if !again {
            let highest = self.observed.pods.iter().map(|pod| pod.incarnation).max().unwrap_or(0);
            compositor.incarnation = compositor.incarnation.max(highest).saturating_add(1);
            compositor.pod_name = Some(pod::pod_name(&self.identity.name, compositor.incarnation));
            compositor.made = false;
            compositor.restarts = 0;
        }
        let incarnation = compositor.incarnation;
        let name = pod::pod_name(&self.identity.name, incarnation);
        self.actions.push(Action::CreatePod { name, incarnation });
    }

    /// Deletes every pod of ours. True once none is left, not even a terminating one: it would bring the room back. One
    /// that hangs is left to the garbage collector.
    pub(super) fn remove_compositor(&mut self) -> bool {
        for pod in self.observed.pods.iter().filter(|pod| !pod.deleting) {
            self.act(Action::DeletePod(pod.name.clone()));
        }
        let gone = self.pods_are_gone();
        if let Some(compositor) = self.status.compositor.as_mut().filter(|_| gone) {
            compositor.pod_name = None;
            compositor.made = false;
            compositor.restarts = 0;
            compositor.sources = Vec::new();
        }
        gone
    }

    /// No pod of ours is left but such as hang.
    pub(super) fn pods_are_gone(&self) -> bool {
        self.observed.recorded_pod != RecordedPod::Unknown
            && self.observed.pods.iter().all(|pod| pod.hangs(self.now))
    }
}
