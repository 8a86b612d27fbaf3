//! What is seen of each call as it leaves the operator: whether it is allowed at all.

use crate::bounds;
use crate::cluster::Key;
use crate::director::uid_of_room;
use crate::faults::Site;
use crate::invariants::Invariant;
use crate::land::Land;
use crate::operator::{PASS_OF, SYSTEM};
use k8s_openapi::api::core::v1::Pod;
use memorialstream_compositor_protocol::{ControlDocument, RtmpDestination};
use memorialstream_operator::api::names::{ABANDON, CREDENTIALS_COPY_LABEL, FINALIZER};
use memorialstream_operator::api::spec::State;
use memorialstream_operator::api::{MemorialStream, MemorialStreamStatus};
use memorialstream_operator::providers::livekit::{LiveKitCredentials, ProgramEgress};
use memorialstream_operator::providers::mux::Call;
use memorialstream_operator::service::pod::{INCARNATION_LABEL, UID_LABEL};
use std::collections::BTreeMap;

impl Land {
    pub fn pass_begins(&mut self, life_cycle: bool, key: &Key) {
        if life_cycle {
            *self.watch.passes.entry(key.clone()).or_default() += 1;
        }
    }

    pub fn status_is_written(&mut self, stored: &MemorialStream, next: &MemorialStreamStatus) {
        let uid = stored.metadata.uid.clone().unwrap_or_default();
        let key = crate::cluster::key_of(stored);
        for condition in &next.conditions {
            if !self.coverage.reasons.contains(&condition.reason) {
                self.coverage.reasons.insert(condition.reason.clone());
            }
        }
        if let Some(ended) = next.ended_session {
            // The clock may have been set within this step.
            self.note_ends(&uid);
            let already = self.watch.ended_session(&uid).is_some_and(|before| before >= ended);
            if !already && !self.may_end(&uid, ended) {
                let words = format!("session {ended} is marked as ended, and nobody wanted that");
                self.violated(Invariant::EndedForNothing, &key.1, words);
            }
            self.watch.session_ended(&uid, ended, self.now);
        }
        let before = self.watch.ended_session(&uid);
        if before.is_some() && next.ended_session < before {
            self.violated(Invariant::EndedIsOver, &key.1, "status forgets that a session has ended");
        }
        if self.log.kept {
            let old = stored.status.clone().unwrap_or_default();
            let line = difference(&old, next);
            self.note(|| format!("status {} {line}", key.1));
        }
        if !self.watch.secrets.is_empty() {
            let text = serde_json::to_string(next).unwrap();
            self.text_leaves("status", &key, &text);
        }
    }

    pub fn finalizers_are_written(&mut self, stored: &MemorialStream, next: &MemorialStream) {
        let has = |object: &MemorialStream| {
            object.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
        };
        if !has(stored) || has(next) || stored.metadata.deletion_timestamp.is_none() {
            return;
        }
        let uid = stored.metadata.uid.clone().unwrap_or_default();
        let now = self.now;
        self.watch.milestones.insert((uid, "released"), now);
    }

    /// Nothing is abandoned but what a person gave up.
    pub fn record_is_kept(&mut self, record: &BTreeMap<String, String>) {
        let uid = record.get("uid").cloned().unwrap_or_default();
        let abandoned = self.cluster.object(&uid).is_some_and(|object| {
            object.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ABANDON))
        });
        if !abandoned && !self.watch.stripped.contains(&uid) {
            self.violated(Invariant::Left, &uid, "what nobody gave up is abandoned");
        }
        let text = format!("{record:?}");
        self.text_leaves("a record", &(String::new(), uid), &text);
    }

    /// A text that people read.
    pub fn text_leaves(&mut self, what: &str, key: &Key, text: &str) {
        if self.watch.secrets.iter().any(|secret| text.contains(secret.as_str())) {
            self.violated(Invariant::Leak, &key.1, format!("{what} holds a secret"));
        }
    }

    pub fn secret_is_written(&mut self, key: &Key, owner: Option<&str>) {
        self.secret_has_its_place(key, owner);
        let Some(existing) = self.cluster.secrets.get(key) else { return };
        let copy = existing.owner.is_none() && existing.labels.contains(CREDENTIALS_COPY_LABEL);
        if !copy && (existing.owner.is_none() || existing.owner.as_deref() != owner) {
            self.violated(Invariant::Foreign, &key.1, "a Secret of somebody else's is written over");
        }
    }

    /// What belongs to an object is kept in its namespace, copies in the operator's own.
    fn secret_has_its_place(&mut self, key: &Key, owner: Option<&str>) {
        let place = match owner {
            Some(uid) => self.director.said.get(uid).map(|said| said.key.0.clone()),
            None => Some(SYSTEM.0.to_owned()),
        };
        if place.as_ref() != Some(&key.0) {
            self.violated(Invariant::Leak, &key.1, "a Secret is written where it does not belong");
        }
    }

    pub fn secret_is_deleted(&mut self, key: &Key) {
        let Some(existing) = self.cluster.secrets.get(key) else { return };
        if existing.owner.is_some() || !existing.labels.contains(CREDENTIALS_COPY_LABEL) || key.0 != SYSTEM.0
        {
            self.violated(Invariant::Foreign, &key.1, "a Secret of somebody else's is deleted");
        }
    }

    pub fn pod_is_created(&mut self, pod: &Pod) {
        let text = serde_json::to_string(pod).unwrap();
        self.text_leaves("a pod", &crate::cluster::pod_key(pod), &text);
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let uid = labels.get(UID_LABEL).cloned().unwrap_or_default();
        let incarnation: i64 = labels.get(INCARNATION_LABEL).and_then(|text| text.parse().ok()).unwrap_or(0);
        let Some(object) = self.cluster.object(&uid).cloned() else {
            return self.violated(Invariant::RecordFirst, &uid, "a pod is made for an object that is gone");
        };
        let key = crate::cluster::key_of(&object);
        let recorded = object.status.as_ref().and_then(|status| status.compositor.as_ref());
        let recorded = recorded.map_or(0, |compositor| compositor.incarnation);
        if recorded < incarnation {
            self.violated(
                Invariant::RecordFirst,
                &key.1,
                format!("pod {incarnation} is made, and status knows of {recorded}"),
            );
        }
    }

    pub fn pod_is_deleted(&mut self, key: &Key) {
        let Some(pod) = self.cluster.pods.get(key) else { return };
        // Whoever takes the owner from a pod does not change whose it is.
        let made_for = || self.kubelet.containers.get(key).map(|container| container.uid.clone());
        let uid = crate::cluster::owner(pod).or_else(made_for);
        let ours =
            uid.as_ref().and_then(|uid| self.director.said.get(uid)).is_some_and(|said| said.key.0 == key.0);
        if !ours || !is_of_this_pass(uid.as_deref()) {
            self.violated(Invariant::Foreign, &key.1, "a pod of somebody else's is deleted");
        }
    }

    /// A bearer token goes to an address.
    pub fn bearer_leaves(&mut self, ip: &str, bearer: &str) {
        let Some(container) = self.kubelet.containers.values().find(|container| container.ip == ip) else {
            return;
        };
        if bearer.is_empty() {
            return;
        }
        let ours = self.cluster.pods.get(&container.pod).and_then(|pod| crate::cluster::owner(pod));
        let said = ours.as_ref().and_then(|uid| self.director.said.get(uid));
        let belongs =
            said.is_some_and(|said| said.key.0 == container.pod.0) && ours.as_ref() == Some(&container.uid);
        let pod = container.pod.1.clone();
        if !belongs && self.cluster.pods.contains_key(&container.pod.clone()) {
            self.violated(Invariant::Leak, &pod, "a bearer token goes to a pod that is not its object's");
        }
    }

    pub fn document_leaves(&mut self, pod: &Key, document: &ControlDocument) {
        let uid = uid_of_room(&document.room.name).map(str::to_owned);
        let container = self.kubelet.containers.get(pod).map(|container| container.uid.clone());
        if uid != container {
            self.violated(Invariant::Leak, &pod.1, "a document goes to a pod of another object");
        }
    }

    pub fn take_is_applied(&mut self, pod: &Key) {
        let Some(uid) = self.kubelet.containers.get(pod).map(|container| container.uid.clone()) else {
            return;
        };
        let now = self.now;
        self.watch.milestones.insert((uid, "taken"), now);
    }

    /// The compositor is asked to send, or to stop.
    pub fn sender_is_asked(&mut self, pod: &Key, rtmp: Option<&RtmpDestination>) {
        let Some(rtmp) = rtmp else { return };
        let Some(uid) = self.kubelet.containers.get(pod).map(|container| container.uid.clone()) else {
            return;
        };
        self.key_leaves(&uid, rtmp.stream_key.reveal());
        self.sender_begins(&uid);
    }

    /// A stream key leaves for the sender of an object: it must be that of its own stream, or of one that is gone.
    fn key_leaves(&mut self, uid: &str, key: &str) {
        if !self.watch.secrets.iter().any(|known| known == key) {
            self.watch.secrets.push(key.to_owned());
        }
        let marker = format!("memorialstream/{}/{uid}", crate::operator::CLUSTER);
        let theirs = self.stream_with_key(key);
        if theirs.is_some_and(|passthrough| passthrough != marker) {
            self.violated(Invariant::Leak, uid, "the stream key of another stream leaves");
        }
    }

    fn stream_with_key(&self, key: &str) -> Option<String> {
        self.mux.values().find_map(|environment| {
            let streams = serde_json::to_value(environment.model.state()).ok()?;
            let streams = streams.get("streams")?.as_object()?.clone();
            let found = streams.values().find(|stream| stream["key"] == key)?;
            Some(found["settings"]["passthrough"].as_str().unwrap_or_default().to_owned())
        })
    }

    fn sender_begins(&mut self, uid: &str) {
        self.goes_live(uid);
        let Some(object) = self.cluster.object(uid).cloned() else {
            return self.violated(Invariant::RecordFirst, uid, "a sender starts for an object that is gone");
        };
        let key = crate::cluster::key_of(&object);
        // A tool may have taken it out of the spec.
        let session = self.director.said.get(uid).map_or(1, |said| said.session);
        let ended = self.watch.ended_session_before(uid, self.now, Site::StartEgress.slowest());
        if ended.is_some_and(|ended| ended >= session) {
            self.violated(
                Invariant::EndedIsOver,
                &key.1,
                format!("a sender starts in session {session}, which has ended"),
            );
        }
        let status = object.status.clone().unwrap_or_default();
        if status.started_at.is_none() || status.ended_at.is_some() {
            self.violated(Invariant::RecordFirst, &key.1, "a sender starts and no broadcast is recorded");
        }
    }

    /// Whose egress it is, when the operator starts it.
    pub fn egress_is_started(&mut self, request: &ProgramEgress, url: &str) -> Option<String> {
        let uid = uid_of_room(&request.room).map(str::to_owned)?;
        let key = request.rtmp_url.reveal().rsplit('/').next().unwrap_or_default().to_owned();
        self.key_leaves(&uid, &key);
        self.sender_begins(&uid);
        let said = self.director.said.get(&uid)?;
        let status = self.cluster.object(&uid).and_then(|object| object.status.clone()).unwrap_or_default();
        let room_is_there = status.room.is_some_and(|room| room.url.as_deref() == Some(url));
        let named = room_is_there || self.secret_named(&uid, "LIVEKIT_URL", url);
        if said.account.livekit_url != url && !named {
            self.violated(Invariant::Leak, &uid, "a stream key leaves for another LiveKit");
        }
        let recorded = status.egress;
        if recorded.is_none_or(|egress| egress.starting.is_none()) {
            self.violated(Invariant::RecordFirst, &uid, "an egress starts that no record names");
        }
        Some(uid)
    }

    /// Mux would let in who comes with this key.
    fn takes(&self, key: &str) -> bool {
        let now = self.time();
        self.mux.values().any(|environment| environment.model.clone().publish(now, key, "a trial").is_ok())
    }

    pub fn egress_is_stopped(&mut self, url: &str, id: &str) {
        let record = self.livekit.get(url).and_then(|server| server.egresses.get(id));
        let Some(record) = record else { return };
        // For the operator it has been dark for as long as its clock jumped.
        let jumped = self.watch.clock_jumped_at.is_some_and(|at| self.now < at + 60_000);
        let tries = record.runs()
            && !jumped
            && record.connection.is_none()
            // Of two that push each other out the surplus one is stopped.
            && self.is_in_use(url, id)
            && record.dropped_at.is_some_and(|at| self.now < at + 30_000)
            && self.takes(record.url.rsplit('/').next().unwrap_or_default());
        match record.uid.clone() {
            None => self.violated(Invariant::Foreign, id, "an egress of somebody else's is stopped"),
            Some(uid) if !is_of_this_pass(Some(&uid)) => {
                self.violated(Invariant::Foreign, id, "an egress of another object is stopped");
            }
            Some(uid) if tries && self.wanted(&uid) == State::Live => {
                self.violated(
                    Invariant::Impatient,
                    id,
                    "an egress is stopped that still tries to reach Mux again",
                );
            }
            Some(_) => {}
        }
    }

    pub fn room_is_created(&mut self, name: &str, _metadata: &str) {
        let uid = uid_of_room(name).unwrap_or_default().to_owned();
        let recorded = self.cluster.object(&uid).and_then(|object| object.status.clone()?.room?.name);
        if recorded.as_deref() != Some(name) {
            self.violated(Invariant::RecordFirst, &uid, "a room is made that no record names");
        }
        if self.watch.deleted_rooms.contains(name) {
            self.violated(Invariant::RoomReused, &uid, format!("room {name} was deleted and is made again"));
        }
    }

    pub fn room_is_deleted(&mut self, name: &str) {
        self.watch.deleted_rooms.insert(name.to_owned());
        let uid = uid_of_room(name);
        let known = uid.is_some_and(|uid| self.director.said.contains_key(uid));
        if !known || !is_of_this_pass(uid) {
            self.violated(Invariant::Foreign, name, "a room of somebody else's is deleted");
        }
    }

    pub fn livekit_secret_leaves(&mut self, url: &str, credentials: &LiveKitCredentials) {
        if self.livekit.contains_key(url) {
            return;
        }
        let belongs =
            self.livekit.values().find(|server| server.api_secret == credentials.api_secret.reveal());
        if belongs.is_some() {
            self.violated(Invariant::Leak, url, "LiveKit's secret leaves for a host that is not its own");
        }
    }

    pub fn mux_secret_leaves(&mut self, call: &Call) {
        let host = call.url.host_str().unwrap_or_default();
        if host != crate::mux::HOST {
            let host = host.to_owned();
            self.violated(
                Invariant::Leak,
                &host,
                "a request leaves for a host that the installation does not know",
            );
        }
    }

    /// What is asked of Mux.
    pub fn mux_is_asked(&mut self, site: Site, call: &Call, path: &[&str]) {
        let changes = matches!(
            site,
            Site::UpdateStream
                | Site::EnableStream
                | Site::DisableStream
                | Site::CompleteStream
                | Site::DeleteStream
        );
        let token = &call.credentials.token_id;
        if site == Site::CreateStream {
            let marker = call.body.as_ref().and_then(|body| body["passthrough"].as_str()).unwrap_or_default();
            let uid = marker.rsplit('/').next().unwrap_or_default().to_owned();
            let recorded = self.cluster.object(&uid).and_then(|object| object.status.clone()?.mux?.creating);
            if recorded.is_none() {
                self.violated(Invariant::RecordFirst, &uid, "a stream is made that no record names");
            }
            // Where lists know of it in time, a stream whose create was not answered is found, and no second one made.
            let environment = self.mux.get(token).map(|environment| &environment.model);
            let knows =
                environment.is_some_and(|model| model.settings().list_lag_seconds <= bounds::LIST_LAG);
            let made = environment.into_iter().flat_map(|model| model.streams());
            let made = made.filter(|one| !one.deleted && one.passthrough.as_deref() == Some(marker)).count();
            if knows && made > 0 {
                self.violated(Invariant::OneStream, &uid, format!("one more stream is made, beside {made}"));
            }
            let was_live = self.director.said.get(&uid).is_some_and(|said| said.was_live.is_some());
            if was_live && self.wanted(&uid) == State::Ended {
                self.violated(Invariant::NeedlessStream, &uid, "a stream is made for an object that is over");
            }
            let account = self.director.said.get(&uid).map(|said| said.account.token_id.clone());
            if account.as_deref() != Some(&**token) && !self.secret_named(&uid, "MUX_TOKEN_ID", token) {
                self.violated(Invariant::Foreign, &uid, "a stream is made in another account");
            }
        } else if changes {
            let id = path.get(3).copied().unwrap_or_default();
            let streams =
                self.mux.get(token).map(|environment| environment.model.streams()).unwrap_or_default();
            let stream = streams.iter().find(|stream| stream.id == id && !stream.deleted);
            let prefix = format!("memorialstream/{}/", crate::operator::CLUSTER);
            let ours = |passthrough: &Option<String>| {
                let uid = passthrough.as_deref().and_then(|text| text.strip_prefix(&prefix));
                uid.is_some_and(|uid| self.director.said.contains_key(uid)) && is_of_this_pass(uid)
            };
            if stream.is_some_and(|stream| !ours(&stream.passthrough)) {
                self.violated(Invariant::Foreign, id, "a stream of somebody else's is changed");
            }
        }
    }
}

/// Whether it belongs to the object whose pass this is. What goes on beside a lane is nobody's pass.
fn is_of_this_pass(uid: Option<&str>) -> bool {
    PASS_OF.try_with(|of| uid == Some(of)).unwrap_or(true)
}

/// What changed in a status, in one line.
fn difference(before: &MemorialStreamStatus, next: &MemorialStreamStatus) -> String {
    let (before, next) = (serde_json::to_value(before).unwrap(), serde_json::to_value(next).unwrap());
    let empty = serde_json::Map::new();
    let fields = next.as_object().unwrap_or(&empty);
    let mut all = Vec::new();
    for (name, value) in fields.iter().filter(|(name, value)| before.get(*name) != Some(value)) {
        if name != "conditions" {
            all.push(format!("{name}={value}"));
            continue;
        }
        let old = before.get(name).and_then(|all| all.as_array()).cloned().unwrap_or_default();
        for condition in value.as_array().into_iter().flatten() {
            let same = old.iter().find(|one| one["type"] == condition["type"]);
            let differs = |field: &str| same.is_none_or(|one| one[field] != condition[field]);
            if differs("status") || differs("reason") || differs("message") {
                all.push(format!("{}={}/{}", condition["type"], condition["status"], condition["reason"]));
            }
        }
    }
    all.join(" ")
}
