//! Credentials that are rotated, wrong or gone, namespaces that go away, and deletions that a person lets go.

use crate::director::spec;
use crate::faults::{Fault, Party, Site};
use crate::land::Land;
use crate::operator::SYSTEM;
use crate::run::{JANE, LIVEKIT, Stage, jane, operators_account, simulate, well};
use memorialstream_operator::api::Reason;
use memorialstream_operator::api::conditions::{ConditionType, find};
use memorialstream_operator::api::spec::{State, Via};

/// Of the tenant of `make_tenant`.
const TESS: &str = "uid-3";

async fn live(stage: &mut Stage) {
    stage.land().log.kept = true;
    stage.make_jane(State::Live, Via::LiveKit);
    stage.reaches(State::Live, 120_000).await.expect("Live");
    stage.pass_time(5_000).await;
}

/// What `CredentialsValid` says of Jane: its reason and message.
fn valid(stage: &Stage) -> (String, String, String) {
    let status = stage.status();
    let condition =
        find(&status.conditions, ConditionType::CredentialsValid).expect("CredentialsValid").clone();
    (condition.status, condition.reason, condition.message)
}

async fn nothing_is_left(stage: &mut Stage, uid: &str) {
    let gone = |land: &mut Land| land.cluster.object(uid).is_none();
    stage.until(240_000, gone).await.expect("released");
    stage.pass_time(1_000).await;
    let land = stage.land();
    assert_eq!((land.streams(uid), land.senders(uid)), (0, 0));
    assert!(land.livekit.values().all(|server| !server.rooms.keys().any(|name| name.contains(uid))));
    let copies = land.cluster.secrets.keys().filter(|key| key.1.starts_with("credentials-in-use")).count();
    assert_eq!(copies, 0, "the copy of the credentials goes with the last object");
}

impl Land {
    /// LiveKit gets another key, and the operator's Secret names it.
    fn rotate_livekit_key(&mut self, key: &str, secret: &str) {
        let server = self.livekit.get_mut(LIVEKIT).unwrap();
        (server.api_key, server.api_secret) = (key.to_owned(), secret.to_owned());
        let pairs = [("LIVEKIT_API_KEY", key), ("LIVEKIT_API_SECRET", secret)];
        self.change_secret(SYSTEM, |data| {
            data.extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
        });
    }

    /// Somebody deletes a namespace: Secrets go first.
    fn delete_namespace(&mut self, namespace: &str) {
        self.cluster.terminating.insert(namespace.to_owned());
        self.cluster.secrets.retain(|key, _| key.0 != namespace);
        let within: Vec<String> = self
            .director
            .said
            .iter()
            .filter(|(_, said)| said.key.0 == namespace)
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in within {
            self.discard(&uid);
        }
    }
}

/// One key after another is rotated to one that a provider refuses.
#[test]
fn wrong_credentials_are_set_aside_and_what_is_live_goes_on_and_ends_with_those_that_worked() {
    for (key, provider) in [
        ("LIVEKIT_API_SECRET", "LiveKit"),
        ("LIVEKIT_API_KEY", "LiveKit"),
        ("MUX_TOKEN_SECRET", "Mux"),
        ("MUX_TOKEN_ID", "Mux"),
    ] {
        for restarts in [false, true] {
            well(&simulate(7, |mut stage| async move {
                live(&mut stage).await;
                stage.land().change_secret(SYSTEM, |data| {
                    data.insert(key.into(), "wrong-one-of-more-than-32-characters-in-all".into());
                });
                stage.pass_time(25_000).await;
                if restarts {
                    stage.crash();
                    stage.pass_time(20_000).await;
                }
                let (truth, reason, message) = valid(&stage);
                assert_eq!((&*truth, &*reason), ("False", Reason::CredentialsRefused.as_str()), "{message}");
                assert!(
                    message.contains("Secret system/providers") && message.contains(provider),
                    "{message}"
                );
                assert!(message.contains("go on being used"), "{message}");
                assert_eq!(stage.land().senders(JANE), 1, "{key}");
                stage.land().discard(JANE);
                nothing_is_left(&mut stage, JANE).await;
                stage
            }));
        }
    }
}

#[test]
fn rotated_credentials_that_work_take_the_place_of_the_old_ones() {
    well(&simulate(7, |mut stage| async move {
        live(&mut stage).await;
        let before = stage.status().credentials_copy;
        stage.land().rotate_livekit_key("key-after", "another-secret-of-more-than-32-characters");
        stage.pass_time(60_000).await;
        assert_eq!(valid(&stage).1, Reason::Accepted.as_str());
        assert_eq!(stage.status().credentials_copy, before, "the newer takes the older's place");
        // Now only the copy knows them.
        stage.land().lose_secret(SYSTEM);
        stage.crash();
        stage.pass_time(20_000).await;
        assert_eq!(valid(&stage).1, Reason::SecretNotFound.as_str());
        stage.land().discard(JANE);
        nothing_is_left(&mut stage, JANE).await;
        stage
    }));
}

/// The operator starts anew while an object cannot be read: nothing else names the copy then.
#[test]
fn the_copy_of_an_object_that_cannot_be_read_outlives_a_restart() {
    well(&simulate(7, |mut stage| async move {
        live(&mut stage).await;
        stage.land().spoil(JANE, 20_000);
        stage.crash();
        stage.pass_time(15_000).await;
        stage.land().lose_secret(SYSTEM);
        stage.pass_time(20_000).await;
        assert_eq!(valid(&stage).1, Reason::SecretNotFound.as_str());
        stage.land().discard(JANE);
        nothing_is_left(&mut stage, JANE).await;
        stage
    }));
}

/// A pass whose status is not taken has kept a copy, of an account of LiveKit that is not the one before: the next pass
/// names it, before a room is opened there. Which write it is that fails is tried one after the other.
#[test]
fn a_room_is_opened_by_credentials_whose_copy_status_names() {
    let faults = [Fault::SecondWriter, Fault::Lost];
    for (call, fault) in (0..40).flat_map(|call| faults.map(|fault| (call, fault))) {
        well(&simulate(7, |mut stage| async move {
            stage.land().log.kept = true;
            stage.make_jane(State::Idle, Via::LiveKit);
            stage.reaches(State::Idle, 60_000).await.expect("Idle");
            stage.pass_time(20_000).await;
            let theirs = stage.land().cluster.secrets[&("tenant".to_owned(), "own".to_owned())].data.clone();
            stage.land().change_secret(SYSTEM, |data| {
                let livekit = theirs.iter().filter(|(name, _)| name.starts_with("LIVEKIT"));
                data.extend(livekit.map(|(name, value)| (name.clone(), value.clone())));
                data.insert("MUX_TOKEN_SECRET".into(), "wrong-one-of-more-than-32-characters-in-all".into());
            });
            stage.land().ask(JANE, State::Standby);
            // A process that has read nothing yet.
            stage.crash();
            let point = stage.land().faults.point + call;
            stage.land().faults.at(point, fault);
            stage.pass_time(20_000).await;
            // It cannot be read, and no process remembers it.
            stage.crash();
            stage.land().heal();
            stage.land().discard(JANE);
            nothing_is_left(&mut stage, JANE).await;
            stage
        }));
    }
}

/// That a token is Mux's says nothing of the address beside it: what is on air stays there, and the next broadcast goes
/// where the Secret says.
#[test]
fn an_address_that_changes_takes_nobody_off_air() {
    for via in [Via::LiveKit, Via::Compositor] {
        well(&simulate(7, |mut stage| async move {
            stage.land().log.kept = true;
            stage.make_jane(State::Live, via);
            // Another service of the same Secret, for which nothing has to wait.
            let john = ("default".to_owned(), "john".to_owned());
            stage.land().make(&john, "uid-2", spec(Some(State::Idle), via), operators_account(), None);
            stage.reaches(State::Live, 120_000).await.expect("Live");
            stage.pass_time(5_000).await;
            let before = stage.status().egress.expect("a sender").destination;
            stage.land().change_secret(SYSTEM, |data| {
                data.insert("MUX_RTMP_URL".into(), "rtmps://global-live.mux.com:443/ap".into());
            });
            for restarts in [false, true] {
                if restarts {
                    stage.crash();
                }
                stage.pass_time(60_000).await;
                let status = stage.status();
                assert_eq!(status.egress.as_ref().map(|egress| egress.attempt), Some(1), "{via:?}");
                let told = |kind| find(&status.conditions, kind).expect("said").clone();
                assert_eq!(told(ConditionType::OnAir).status, "True");
                let ready = told(ConditionType::Ready);
                assert!(ready.message.contains("MUX_RTMP_URL"), "{}", ready.message);
            }
            stage.land().say(JANE, |spec| spec.session = Some(2));
            stage.land().ask(JANE, State::Idle);
            stage.reaches(State::Idle, 60_000).await.expect("Idle");
            stage.land().ask(JANE, State::Live);
            stage.pass_time(60_000).await;
            let after = stage.status().egress.expect("a sender").destination;
            if via == Via::LiveKit {
                assert_ne!(after, before, "the next broadcast goes where the Secret says");
            }
            stage.land().discard("uid-2");
            stage.until(60_000, |land| land.cluster.object("uid-2").is_none()).await.expect("released");
            stage.land().discard(JANE);
            nothing_is_left(&mut stage, JANE).await;
            stage
        }));
    }
}

/// Secrets and RoleBindings go first; then the operator starts anew.
#[test]
fn a_namespace_that_is_deleted_while_live_ends_everything() {
    well(&simulate(7, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_tenant(State::Live);
        let live = |land: &mut Land| land.senders(TESS) == 1;
        stage.until(120_000, live).await.expect("Live");
        stage.pass_time(10_000).await;
        stage.land().delete_namespace("tenant");
        stage.crash();
        nothing_is_left(&mut stage, TESS).await;
        stage
    }));
}

#[test]
fn a_secret_that_changes_wakes_a_service_that_rests() {
    well(&simulate(7, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_jane(State::Idle, Via::LiveKit);
        stage.reaches(State::Idle, 60_000).await.expect("Idle");
        stage.pass_time(60_000).await;
        stage.land().change_secret(SYSTEM, |data| drop(data.remove("MUX_TOKEN_ID")));
        stage.pass_time(45_000).await;
        assert_eq!(valid(&stage).1, Reason::SecretKeyMissing.as_str());
        stage
    }));
}

/// Mux is silent for good.
#[test]
fn what_a_person_abandons_is_let_go_and_recorded() {
    well(&simulate(7, |mut stage| async move {
        live(&mut stage).await;
        stage.land().faults.silent.insert(Party::Mux, u64::MAX);
        stage.land().discard(JANE);
        stage.pass_time(300_000).await;
        assert!(stage.land().cluster.object(JANE).is_some(), "nobody said that it may be abandoned");
        assert_eq!(stage.land().senders(JANE), 0, "what can be ended is");
        stage.land().abandon(&jane());
        let gone = |land: &mut Land| land.cluster.object(JANE).is_none();
        stage.until(60_000, gone).await.expect("released");
        let land = stage.land();
        let record = &land.cluster.records[JANE];
        assert_eq!(record["memorialStream"], "default/jane");
        assert!(record["muxLiveStream"].len() > 10 && record["hindrance"].contains("Mux"), "{record:?}");
        assert!(!record.contains_key("liveKitRooms"), "LiveKit answers: its room is gone");
        drop(land);
        stage
    }));
}

/// Nobody would know any more what may run on.
#[test]
fn nothing_is_abandoned_before_its_record_is_kept() {
    well(&simulate(7, |mut stage| async move {
        live(&mut stage).await;
        stage.land().faults.silent.insert(Party::Mux, u64::MAX);
        stage.land().discard(JANE);
        stage.pass_time(120_000).await;
        stage.land().faults.always = Some((Site::KeepRecord, Fault::ServerError));
        stage.land().abandon(&jane());
        stage.pass_time(60_000).await;
        assert!(stage.land().cluster.object(JANE).is_some());
        stage.land().faults.always = None;
        let gone = |land: &mut Land| land.cluster.object(JANE).is_none();
        stage.until(60_000, gone).await.expect("released");
        assert!(stage.land().cluster.records.contains_key(JANE));
        stage
    }));
}

#[test]
fn abandon_gives_up_nothing_that_can_be_ended() {
    well(&simulate(7, |mut stage| async move {
        live(&mut stage).await;
        stage.land().abandon(&jane());
        stage.pass_time(20_000).await;
        assert_eq!(stage.land().senders(JANE), 1, "it is about deletions only");
        stage.land().discard(JANE);
        nothing_is_left(&mut stage, JANE).await;
        assert!(stage.land().cluster.records.is_empty());
        stage
    }));
}
