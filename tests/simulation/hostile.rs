//! What whoever may make objects and pods in a namespace can do there.

use crate::cluster::{Key, time};
use crate::director::spec;
use crate::faults::{Party, Site};
use crate::land::Land;
use crate::run::{JANE, Stage, jane, operators_account, simulate, well};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use memorialstream_operator::api::Reason;
use memorialstream_operator::api::conditions::{ConditionType, find};
use memorialstream_operator::api::spec::{State, Via};
use memorialstream_operator::service::pod::{INCARNATION_LABEL, UID_LABEL};
use std::collections::BTreeMap;
use std::time::Duration;

const JOHN: &str = "uid-2";

fn john() -> Key {
    ("default".to_owned(), "john".to_owned())
}

impl Land {
    /// Somebody takes all finalizers away and deletes the object.
    fn take_finalizers(&mut self, uid: &str, key: &Key) {
        self.watch.stripped.insert(uid.to_owned());
        self.note(|| format!("the finalizers of {} are taken away", key.1));
        self.discard(uid);
        self.change_object(key, |object| object.metadata.finalizers = None);
        self.collect_garbage();
    }

    /// The pods of an object lose their controller.
    fn take_owners(&mut self, uid: &str) {
        self.note(|| format!("the pods of {uid} lose their owner"));
        for key in self.pods_of(uid) {
            let mut pod = self.cluster.pods[&key].as_ref().clone();
            pod.metadata.owner_references = None;
            self.cluster.store_pod(self.now, pod);
        }
    }

    /// Somebody makes a pod of his own that says it is this object's.
    fn owned_pod(&mut self, uid: &str, key: &Key, incarnation: &str) {
        let labels = [(UID_LABEL, uid), (INCARNATION_LABEL, incarnation)];
        let owner = OwnerReference { uid: uid.into(), controller: Some(true), ..OwnerReference::default() };
        let pod = Pod {
            metadata: ObjectMeta {
                name: Some(format!("own-{}", key.1)),
                namespace: Some(key.0.clone()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                creation_timestamp: Some(time(self.time())),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        };
        let now = self.now;
        self.cluster.store_pod(now, pod);
    }
}

async fn live(stage: &mut Stage, via: Via) {
    stage.make_jane(State::Live, via);
    assert!(stage.reaches(State::Live, 120_000).await.is_some());
}

/// The recipe for what is stuck in Terminating, at the worst moment: what is paid for ends all the same.
#[test]
fn what_outlives_an_object_whose_finalizer_is_taken_away_is_ended() {
    for via in [Via::LiveKit, Via::Compositor] {
        well(&simulate(1, |mut stage| async move {
            live(&mut stage, via).await;
            stage.land().take_finalizers(JANE, &jane());
            assert!(stage.land().cluster.objects.is_empty(), "it is gone at once");
            stage.settle(0).await;
            let land = stage.land();
            assert_eq!((land.senders(JANE), land.streams(JANE)), (0, 0), "{via:?}");
            assert!(land.livekit.values().all(|server| server.rooms.is_empty()), "{via:?}");
            assert!(land.cluster.records.is_empty(), "nothing had to be given up");
            drop(land);
            stage
        }));
    }
}

/// In two steps, before the operator has put it back.
#[test]
fn what_outlives_an_object_whose_finalizer_went_before_it_is_ended() {
    for via in [Via::LiveKit, Via::Compositor] {
        well(&simulate(1, |mut stage| async move {
            live(&mut stage, via).await;
            stage.land().watch.stripped.insert(JANE.into());
            stage.land().change_object(&jane(), |object| object.metadata.finalizers = None);
            // The watch tells of it, and the pass that would put it back has looked at everything, and has not written.
            let until = stage.land().now + 30_000;
            stage.land().faults.silent.insert(Party::Kubernetes, until);
            tokio::time::sleep(Duration::from_millis(30)).await;
            stage.land().discard(JANE);
            stage.land().collect_garbage();
            assert!(stage.land().cluster.objects.is_empty(), "it is gone at once");
            stage.settle(0).await;
            let left = |land: &Land| (land.senders(JANE), land.streams(JANE));
            assert_eq!(left(&stage.land()), (0, 0), "{via:?}");
            stage
        }));
    }
}

/// Somebody else's finalizer, such as that of a foreground deletion, holds the object on when ours is taken away.
#[test]
fn an_object_that_others_hold_without_our_finalizer_is_ended() {
    well(&simulate(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        stage.land().watch.stripped.insert(JANE.into());
        stage.land().discard(JANE);
        let theirs = Some(vec!["example.com/theirs".to_owned()]);
        stage.land().change_object(&jane(), |object| object.metadata.finalizers = theirs);
        let ended = |land: &mut Land| land.senders(JANE) + land.streams(JANE) + land.pods_of(JANE).len() == 0;
        stage.until(60_000, ended).await.expect("nothing runs on");
        stage.land().change_object(&jane(), |object| object.metadata.finalizers = None);
        stage
    }));
}

/// What rests has a stream; one that the cache lets go of since it cannot be read keeps everything.
#[test]
fn only_what_is_gone_outlives_its_object() {
    well(&simulate(1, |mut stage| async move {
        stage.make_jane(State::Idle, Via::Compositor);
        stage.reaches(State::Idle, 60_000).await.expect("Idle");
        stage.pass_time(60_000).await;
        let now = stage.land().now;
        stage.land().cluster.spoil(now, &jane(), true);
        stage.pass_time(120_000).await;
        assert_eq!(stage.land().streams(JANE), 1);
        let now = stage.land().now;
        stage.land().cluster.spoil(now, &jane(), false);
        stage.pass_time(10_000).await;
        stage.land().take_finalizers(JANE, &jane());
        stage.until(60_000, |land| land.streams(JANE) == 0).await.expect("the stream goes");
        stage
    }));
}

/// A provider that does not answer for long: what is left is written down, as where a person abandons it.
#[test]
fn what_cannot_be_ended_without_its_object_is_written_down() {
    well(&simulate(1, |mut stage| async move {
        live(&mut stage, Via::Compositor).await;
        stage.land().faults.always = Some((Site::DeleteStream, crate::faults::Fault::ServerError));
        stage.land().take_finalizers(JANE, &jane());
        stage.until(1_200_000, |land| land.cluster.records.contains_key(JANE)).await.expect("a record");
        let named = stage.land().cluster.records[JANE].contains_key("muxPassthrough");
        assert!(named, "it names the stream");
        stage
    }));
}

/// `kubectl delete --cascade=orphan`: the garbage collector takes the owner from the pod before the service has ended.
#[test]
fn a_pod_that_lost_its_owner_goes_with_its_object() {
    for via in [Via::LiveKit, Via::Compositor] {
        well(&simulate(1, |mut stage| async move {
            live(&mut stage, via).await;
            stage.land().take_owners(JANE);
            stage.land().discard(JANE);
            stage.settle(0).await;
            let land = stage.land();
            assert_eq!((land.senders(JANE), land.cluster.pods.len()), (0, 0), "{via:?}");
            assert!(land.livekit.values().all(|server| server.rooms.is_empty()), "{via:?}");
            drop(land);
            stage
        }));
    }
}

/// Without a deletion: anybody could have made that pod, so another takes its place.
#[test]
fn a_pod_that_lost_its_owner_is_replaced() {
    well(&simulate(1, |mut stage| async move {
        live(&mut stage, Via::Compositor).await;
        stage.land().take_owners(JANE);
        stage.pass_time(60_000).await;
        let pods: Vec<Key> = stage.land().cluster.pods.keys().cloned().collect();
        assert_eq!(pods.iter().map(|key| &*key.1).collect::<Vec<_>>(), ["jane-compositor-2"]);
        stage.reaches(State::Live, 60_000).await.expect("Live again");
        stage
    }));
}

/// Whoever may write status, or restores it under another UID, may name there what is another's: it is left alone, live or
/// at rest, and the object gets its own.
#[test]
fn what_status_names_is_not_touched_unless_it_is_the_objects() {
    for state in [State::Idle, State::Standby, State::Live] {
        well(&simulate(1, |mut stage| async move {
            live(&mut stage, Via::LiveKit).await;
            stage.land().make(
                &john(),
                JOHN,
                spec(Some(State::Idle), Via::LiveKit),
                operators_account(),
                None,
            );
            // What is not new is searched for before another is made.
            stage.pass_time(660_000).await;
            let johns =
                stage.land().cluster.status(&john()).mux.and_then(|mux| mux.stream_id).expect("a stream");
            let janes = stage.status();
            stage.land().change_object(&john(), |object| {
                let status = object.status.get_or_insert_default();
                let (mux, room, egress) = (janes.mux.clone(), janes.room.clone(), janes.egress.clone());
                (status.mux, status.room, status.egress) = (mux, room, egress);
                (status.started_at, status.playback_url) =
                    (janes.started_at.clone(), janes.playback_url.clone());
            });
            stage.land().ask(JOHN, state);
            stage.pass_time(120_000).await;
            let status = stage.land().cluster.status(&john());
            let stream = status.mux.and_then(|mux| mux.stream_id);
            let own = stream.as_ref() == Some(&johns);
            assert!(own || state == State::Idle, "{state:?}: what rests looks only now and then");
            stage.land().discard(JOHN);
            let gone = |land: &mut Land| land.cluster.object(JOHN).is_none();
            stage.until(240_000, gone).await.expect("released");
            let left = |land: &Land| (land.senders(JANE), land.streams(JANE));
            assert_eq!(left(&stage.land()), (1, 1), "{state:?}");
            assert_eq!(stage.status().egress.map(|egress| egress.attempt), Some(1), "{state:?}");
            stage
        }));
    }
}

/// A stream that does not say whose it is may be another product's.
#[test]
fn a_stream_that_does_not_say_whose_it_is_is_left_alone_and_told() {
    well(&simulate(1, |mut stage| async move {
        stage.make_jane(State::Idle, Via::LiveKit);
        stage.reaches(State::Idle, 60_000).await.expect("Idle");
        stage.land().somebody_makes_a_stream(crate::run::TOKEN, "a product's own");
        let theirs = stage.land().mux[crate::run::TOKEN].model.streams();
        let theirs = theirs.iter().find(|stream| stream.passthrough.as_deref() == Some("a product's own"));
        let theirs = theirs.expect("it was made").id.clone();
        let ours = stage.status().mux.and_then(|mux| mux.stream_id);
        let name = |id: Option<String>| {
            move |object: &mut memorialstream_operator::api::MemorialStream| {
                object.status.get_or_insert_default().mux.get_or_insert_default().stream_id = id;
            }
        };
        stage.land().change_object(&jane(), name(Some(theirs.clone())));
        stage.land().ask(JANE, State::Standby);
        stage.pass_time(60_000).await;
        let status = stage.status();
        let ready = find(&status.conditions, ConditionType::MuxStreamReady).expect("MuxStreamReady").clone();
        assert!(
            ready.message.contains(&theirs) && ready.message.contains("passthrough"),
            "{}",
            ready.message
        );
        stage.land().change_object(&jane(), name(ours));
        stage.reaches(State::Standby, 120_000).await.expect("Standby");
        stage
    }));
}

/// Who has no slug gets none by a pod of his own.
#[test]
fn a_pod_of_somebodys_own_takes_no_slug() {
    well(&simulate(1, |mut stage| async move {
        live(&mut stage, Via::Compositor).await;
        let mut theirs = spec(Some(State::Live), Via::Compositor);
        theirs.slug = Some("jane".into());
        stage.land().make(&john(), JOHN, theirs, operators_account(), None);
        stage.pass_time(10_000).await;
        stage.land().owned_pod(JOHN, &john(), "1");
        stage.pass_time(60_000).await;
        let status = stage.land().cluster.status(&john());
        let stalled = find(&status.conditions, ConditionType::Stalled).expect("Stalled");
        assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", Reason::SlugTaken.as_str()));
        assert_eq!(stage.land().senders(JOHN), 0);
        let now = stage.land().now;
        stage.land().cluster.remove_pod(now, &("default".to_owned(), "own-john".to_owned()));
        stage.land().discard(JOHN);
        stage
    }));
}

/// A number that cannot be counted on from is none.
#[test]
fn a_pod_that_is_numbered_as_high_as_can_be_breaks_nothing() {
    well(&simulate(1, |mut stage| async move {
        stage.make_jane(State::Idle, Via::Compositor);
        stage.reaches(State::Idle, 60_000).await.expect("Idle");
        stage.land().owned_pod(JANE, &jane(), &i64::MAX.to_string());
        stage.land().ask(JANE, State::Live);
        stage.reaches(State::Live, 120_000).await.expect("Live");
        stage
    }));
}

/// Somebody else's finalizer holds what is deleted for as long as it likes; nobody is asked about it meanwhile.
#[test]
fn an_object_that_only_others_hold_costs_nothing() {
    well(&simulate(1, |mut stage| async move {
        live(&mut stage, Via::Compositor).await;
        stage.land().change_object(&jane(), |object| {
            object.metadata.finalizers.get_or_insert_default().push("example.com/theirs".into());
        });
        stage.land().discard(JANE);
        let ours = |land: &mut Land| {
            let object = land.cluster.objects.get(&jane()).cloned().expect("it is held");
            object.metadata.finalizers.clone().unwrap_or_default().len() == 1
        };
        stage.until(120_000, ours).await.expect("ours is gone");
        stage.pass_time(20_000).await;
        let calls = |land: &Land| -> BTreeMap<Site, u64> { land.faults.called.clone() };
        let before = calls(&stage.land());
        stage.pass_time(300_000).await;
        let after = calls(&stage.land());
        let asked = |all: &BTreeMap<Site, u64>, site| all.get(&site).copied().unwrap_or(0);
        for site in [Site::ListRooms, Site::GetStream, Site::ListEgresses, Site::WriteStatus] {
            assert_eq!(asked(&after, site), asked(&before, site), "{site:?}");
        }
        stage.land().change_object(&jane(), |object| object.metadata.finalizers = None);
        stage
    }));
}
