//! What OnAir says against what mourners see, and what could be on air.

use crate::bounds;
use crate::cluster::Key;
use crate::faults::Party;
use crate::invariants::Invariant;
use crate::land::Land;
use crate::viewer::Sight;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use memorialstream_operator::api::Reason;
use memorialstream_operator::api::conditions::{ConditionType, find};
use memorialstream_operator::api::spec::{State, Via};
use memorialstream_operator::service::desired::broadcast_under_way;

impl Land {
    /// `fair`: Kubernetes; that, LiveKit and the pods; all.
    pub fn check_air(&mut self, uid: &str, key: &Key, wanted: State, fair: (bool, bool, bool)) {
        let (kubernetes, pods, all) = fair;
        let sight = self.sight(key);
        let status = self.cluster.objects.get(key).and_then(|object| object.status.as_ref());
        let on_air = status
            .and_then(|status| find(&status.conditions, ConditionType::OnAir))
            .map(|one| one.status.clone());
        let sees = sight == Sight::Program;
        let now = self.now;
        if sees {
            self.watch.milestones.entry((uid.to_owned(), "seen")).or_insert(now);
        }
        let lies = kubernetes && on_air.as_deref() == Some("True") && !sees;
        let words = if lies { format!("OnAir is True and mourners see {sight:?}") } else { String::new() };
        let answered =
            [Party::Mux, Party::LiveKit, Party::Viewer, Party::Pod].into_iter().all(|one| self.is_fair(one));
        let lag = self.mux.values().map(|one| one.model.settings().list_lag_seconds).max().unwrap_or(0);
        let lag = u64::from(lag) * 1000;
        // Where no player can look, Mux's list is what there is, however old, and each pass waits for the player.
        let blind = if self.is_fair(Party::Viewer) { 0 } else { lag + 5_000 };
        let bound = if answered { bounds::ON_AIR_LIES } else { bounds::ON_AIR_LIES_UNANSWERED + blind };
        self.lasts(Invariant::OnAirLies, &key.1, lies, bound, &words);
        let doubts = all && on_air.as_deref() == Some("False") && sees && wanted == State::Live;
        self.lasts(
            Invariant::OnAirDoubts,
            &key.1,
            doubts,
            bounds::ON_AIR_DOUBTS + lag,
            "OnAir is False and mourners see Program",
        );
        // For an egress nobody answers; until a dead worker would have left the room, it may be dead.
        let shadow = if self.livekit.values().any(|server| server.orphaned) { 45_000 } else { 0 };
        let unknown = on_air.as_deref().is_none_or(|said| said == "Unknown");
        let heard = all && unknown && sees && wanted == State::Live && self.can_be_on_air(uid);
        self.lasts(
            Invariant::OnAirUnknown,
            &key.1,
            heard,
            bounds::ON_AIR_DOUBTS + lag + shadow,
            "OnAir does not say that mourners see Program",
        );
        // What was on air already needs no answer of Mux's.
        let status = self.cluster.objects.get(key).and_then(|object| object.status.as_ref());
        let was_live = self.watch.milestones.contains_key(&(uid.to_owned(), "seen"))
            && status.is_some_and(broadcast_under_way);
        let no_doubt = self.watch.doubt_at.is_none_or(|at| now > at + 150_000);
        let possible = no_doubt
            && (all || pods && was_live)
            && (was_live || self.secret_is_whole(uid))
            && self.can_be_on_air(uid);
        let dark = possible && wanted == State::Live && !sees;
        self.lasts(Invariant::Dark, &key.1, dark, bounds::DARK, "nothing is on air that could be");
    }

    /// There is a worker, a node and so on.
    fn can_be_on_air(&self, uid: &str) -> bool {
        let said = &self.director.said[uid];
        let Some(object) = self.cluster.objects.get(&said.key) else { return false };
        // Another took it while this one could not be read.
        let status = object.status.as_ref();
        let stalled = status.and_then(|status| find(&status.conditions, ConditionType::Stalled));
        if stalled.is_some_and(|one| one.status == "True" && one.reason == Reason::SlugTaken.as_str()) {
            return false;
        }
        // It was bound to the account that a Secret named for a moment: only a person can mend that.
        let elsewhere = [Reason::EnvironmentChanged, Reason::LiveKitChanged].map(Reason::as_str);
        let says = |one: &Condition| one.status == "True" && elsewhere.contains(&&*one.reason);
        if stalled.is_some_and(says) && self.is_bound_elsewhere(uid) {
            return false;
        }
        let via = object.spec.egress.as_ref().and_then(|egress| egress.via).unwrap_or_default();
        let server = self.livekit.get(&said.account.livekit_url);
        let ours = |id: &String| server.is_some_and(|server| server.egresses[id].uid.as_deref() == Some(uid));
        let worker = server.is_some_and(|server| {
            !server.too_old
                && server.slow < 5_000
                && server.slow_until < self.now
                && server.workers.iter().any(|worker| worker.as_ref().is_none_or(ours))
        });
        let pod = !self.kubelet.lost
            && !self.kubelet.full
            && self.kubelet.complaint.is_none()
            && self.kubelet.slow < 5_000;
        let frozen = self
            .kubelet
            .containers
            .values()
            .any(|one| one.uid == uid && (one.frozen_since.is_some() || one.hung_until > self.now));
        let test = object.spec.mux.as_ref().and_then(|mux| mux.test).unwrap_or(false);
        // While a start may still come about, nothing else is started.
        let egress = status.and_then(|status| status.egress.as_ref());
        let starting = egress.is_some_and(|egress| egress.starting.is_some())
            && server.is_some_and(|server| server.slow_until >= self.now);
        let works = worker || via == Via::Compositor && !starting;
        let watchable = !self.watch.unwatchable.contains(uid);
        let slug = object.spec.slug.as_ref().filter(|slug| **slug != said.key.1);
        let theirs = (said.key.0.clone(), slug.cloned().unwrap_or_default());
        let has_its_slug = slug.is_none() || !self.cluster.objects.contains_key(&theirs);
        has_its_slug
            && pod
            && works
            && !frozen
            && self.watch.cut_off_until <= self.now
            && !said.paused
            && !test
            && watchable
            && self.secret_is_good(uid)
    }

    /// Its stream or its room was made, or was about to be, elsewhere than in its accounts.
    pub fn is_bound_elsewhere(&self, uid: &str) -> bool {
        let Some(status) = self.cluster.object(uid).and_then(|object| object.status.clone()) else {
            return false;
        };
        let account = &self.director.said[uid].account;
        let bound = status.mux.and_then(|mux| mux.environment_id);
        let own = self.mux.get(&account.token_id).map(|environment| environment.model.environment_id());
        let room = status.room.and_then(|room| room.url);
        bound.is_some_and(|bound| own != Some(&*bound)) || room.is_some_and(|url| url != account.livekit_url)
    }
}
