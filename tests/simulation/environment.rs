//! What happens to the world by itself, or by others.

use crate::cluster::{Key, time};
use crate::land::Land;
use crate::mux::MuxEnvironment;
use crate::process::Process;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use memorialstream_mux_model::{Credentials, Method, RateLimits, Request, Secret, Settings};
use memorialstream_operator::api::names::PROGRAM_IDENTITY;
use memorialstream_operator::providers::livekit::EgressStatus;
use memorialstream_operator::service::pod::{INCARNATION_LABEL, UID_LABEL};
use std::collections::BTreeMap;

impl Land {
    pub fn admin(&mut self, token: &str, method: Method, path: String, body: &str) {
        let now = self.time();
        let Some(secret) = self.director.mux_secrets.get(token).cloned() else { return };
        let Some(environment) = self.mux.get_mut(token) else { return };
        let credentials = Credentials { token_id: token.into(), token_secret: Secret::new(secret) };
        without_limits(environment, |environment| {
            let mut request = Request::new(method, path, credentials);
            request.body = body.as_bytes().to_vec();
            environment.model.request(now, &request);
        });
        self.settle_mux(token);
    }

    /// The stream that status names, if it exists.
    pub fn stream_of(&self, uid: &str) -> Option<(String, String)> {
        let said = self.director.said.get(uid)?;
        let id = self.cluster.status(&said.key).mux?.stream_id?;
        Some((said.account.token_id.clone(), id))
    }

    pub fn somebody_deletes_the_stream(&mut self, uid: &str) {
        let Some((token, id)) = self.stream_of(uid) else { return };
        self.note(|| "somebody deletes the stream".into());
        self.admin(&token, Method::Delete, format!("/video/v1/live-streams/{id}"), "");
    }

    pub fn somebody_disables_the_stream(&mut self, uid: &str) {
        let Some((token, id)) = self.stream_of(uid) else { return };
        self.note(|| "somebody disables the stream".into());
        self.admin(&token, Method::Put, format!("/video/v1/live-streams/{id}/disable"), "");
    }

    pub fn somebody_resets_the_key(&mut self, uid: &str) {
        let Some((token, id)) = self.stream_of(uid) else { return };
        self.note(|| "somebody resets the stream key".into());
        self.admin(&token, Method::Post, format!("/video/v1/live-streams/{id}/reset-stream-key"), "");
    }

    /// Streams of another product, in the same environment.
    pub fn make_foreign_streams(&mut self, token: &str, count: usize) {
        let now = self.time();
        let Some(secret) = self.director.mux_secrets.get(token).cloned() else { return };
        let Some(environment) = self.mux.get_mut(token) else { return };
        without_limits(environment, |environment| {
            for index in 0..count {
                let credentials =
                    Credentials { token_id: token.into(), token_secret: Secret::new(secret.clone()) };
                let mut request = Request::new(Method::Post, "/video/v1/live-streams", credentials);
                let body =
                    format!(r#"{{"passthrough":"another-product/{index}","playback_policies":["public"]}}"#);
                request.body = body.into_bytes();
                environment.model.request(now, &request);
            }
        });
    }

    pub fn somebody_makes_a_stream(&mut self, token: &str, passthrough: &str) -> Option<String> {
        let now = self.time();
        let secret = self.director.mux_secrets.get(token).cloned()?;
        let environment = self.mux.get_mut(token)?;
        let credentials = Credentials { token_id: token.into(), token_secret: Secret::new(secret) };
        let mut request = Request::new(Method::Post, "/video/v1/live-streams", credentials);
        request.body =
            format!(r#"{{"passthrough":"{passthrough}","playback_policies":["public"]}}"#).into_bytes();
        let answer = without_limits(environment, |environment| environment.model.request(now, &request));
        Some(answer.body?["data"]["stream_key"].as_str()?.to_owned())
    }

    pub fn lists_lag(&mut self, token: &str, seconds: u32) {
        let Some(environment) = self.mux.get_mut(token) else { return };
        let mut settings = environment.model.settings().clone();
        settings.list_lag_seconds = seconds;
        environment.model.set_settings(settings);
    }

    /// Somebody records what happens in our room.
    pub fn somebody_records(&mut self, uid: &str) {
        let Some(said) = self.director.said.get(uid) else { return };
        let url = said.account.livekit_url.clone();
        let Some(room) = self.cluster.status(&said.key).room.and_then(|room| room.name) else { return };
        let Some(server) = self.livekit.get_mut(&url) else { return };
        server.workers.push(None);
        self.note(|| "somebody else's egress starts in the room".into());
        self.start_egress(&url, &room, PROGRAM_IDENTITY, "rtmp://archive.example/app/another-key", None);
    }

    pub fn others_egresses_end(&mut self) {
        let others: Vec<(String, String)> = self
            .livekit
            .iter()
            .flat_map(|(url, server)| {
                let others =
                    server.egresses.iter().filter(|(_, record)| record.uid.is_none() && record.runs());
                others.map(move |(id, _)| (url.clone(), id.clone()))
            })
            .collect();
        for (url, id) in others {
            self.end_egress(&url, &id, EgressStatus::Complete, "");
        }
    }

    /// A pod of somebody else's that looks like ours.
    pub fn impostor(&mut self, uid: &str, namespace: &str) {
        let labels = BTreeMap::from([
            (UID_LABEL.to_owned(), uid.to_owned()),
            (INCARNATION_LABEL.to_owned(), "999".to_owned()),
        ]);
        let key: Key = (namespace.to_owned(), "impostor".to_owned());
        let pod = Pod {
            metadata: ObjectMeta {
                name: Some(key.1.clone()),
                namespace: Some(key.0.clone()),
                labels: Some(labels),
                creation_timestamp: Some(time(self.time())),
                ..ObjectMeta::default()
            },
            status: Some(PodStatus {
                phase: Some("Running".into()),
                pod_ip: Some("10.9.9.9".into()),
                container_statuses: Some(vec![ContainerStatus { ready: true, ..ContainerStatus::default() }]),
                ..PodStatus::default()
            }),
            ..Pod::default()
        };
        self.note(|| "an impostor's pod appears".into());
        let now = self.now;
        self.cluster.store_pod(now, pod);
        let container = crate::compositor::Compositor::new(
            key.clone(),
            "somebody-else".into(),
            "10.9.9.9".into(),
            0,
            BTreeMap::new(),
            None,
            now,
            1,
        );
        self.kubelet.containers.insert(key, container);
    }

    /// The pods of an object that are there.
    pub fn pods_of(&self, uid: &str) -> Vec<Key> {
        let ours = |pod: &Pod| crate::cluster::owner(pod).as_deref() == Some(uid);
        self.cluster.pods.iter().filter(|(_, pod)| ours(pod)).map(|(key, _)| key.clone()).collect()
    }

    /// A Secret changes, or vanishes.
    pub fn change_secret(&mut self, place: (&str, &str), change: impl FnOnce(&mut BTreeMap<String, String>)) {
        let key = (place.0.to_owned(), place.1.to_owned());
        if let Some(secret) = self.cluster.secrets.get_mut(&key) {
            change(&mut secret.data);
        }
        self.watch.secret_changed_at = Some(self.now);
        self.note(|| format!("Secret {} changes", place.1));
    }

    pub fn lose_secret(&mut self, place: (&str, &str)) {
        let place = (place.0.to_owned(), place.1.to_owned());
        if let Some(lost) = self.cluster.secrets.remove(&place) {
            self.director.lost_secrets.insert(place.clone(), lost);
        }
        self.note(|| format!("Secret {} is gone", place.1));
    }

    /// Program is cut off from its room for so long, although its frames go on.
    pub fn program_leaves(&mut self, uid: &str, milliseconds: u64) {
        self.watch.cut_off_until = self.watch.cut_off_until.max(self.now + milliseconds);
        for pod in self.pods_of(uid) {
            self.note(|| format!("{} is cut off from its room", pod.1));
            self.leave_as_program(&pod);
            self.after(milliseconds, move |land| land.join_as_program(&pod));
        }
    }
}

/// Others have their own high-priority tokens.
fn without_limits<T>(environment: &mut MuxEnvironment, act: impl FnOnce(&mut MuxEnvironment) -> T) -> T {
    let limits = environment.model.settings().rate_limits;
    let set = |environment: &mut MuxEnvironment, rate_limits| {
        let settings = environment.model.settings().clone();
        environment.model.set_settings(Settings { rate_limits, ..settings });
    };
    set(environment, RateLimits::UNLIMITED);
    let answer = act(environment);
    set(environment, limits);
    answer
}

/// What ails a process's watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchTrouble {
    Lags(u64),
    Still(u64),
    Drops(u32),
    Repeats(usize),
}

impl Process {
    pub fn trouble(&self, objects: bool, trouble: WatchTrouble) {
        let mut land = self.universe.land();
        let now = land.now;
        land.note(|| format!("the watch of {} {trouble:?}", if objects { "objects" } else { "pods" }));
        let mut caches = self.caches();
        let watch = if objects { &mut caches.watch_objects } else { &mut caches.watch_pods };
        let good = match trouble {
            WatchTrouble::Lags(lag) => {
                watch.lag = lag;
                now + lag
            }
            WatchTrouble::Still(time) => {
                watch.still_until = now + time;
                now + time
            }
            WatchTrouble::Drops(count) => {
                watch.drops += count;
                now + 60_000
            }
            WatchTrouble::Repeats(count) => {
                watch.repeats += count;
                now + 5_000
            }
        };
        land.watch.caches_good_since = land.watch.caches_good_since.max(good);
    }

    /// The watches are whole again.
    pub fn watches_are_good(&self) {
        let mut land = self.universe.land();
        let mut guard = self.caches();
        let caches = &mut *guard;
        let now = land.now;
        for watch in [&mut caches.watch_objects, &mut caches.watch_pods] {
            watch.lag = 0;
            watch.still_until = 0;
            watch.drops = 0;
            watch.repeats = 0;
            // What never arrived is listed now.
            watch.relist_at = watch.relist_at.and(Some(now));
        }
        land.watch.caches_good_since = now;
        for watcher in &land.cluster.watchers {
            watcher.notify_one();
        }
    }
}
