//! What begins, with whose credentials, and what comes of a beginning that fails half-way.

use crate::faults::{Fault, Party, Site};
use crate::land::Land;
use crate::operator::SYSTEM;
use crate::run::{JANE, LIVEKIT, Stage, TOKEN_B, jane, simulate, well};
use memorialstream_operator::api::Reason;
use memorialstream_operator::api::conditions::{ConditionType, find};
use memorialstream_operator::api::spec::{State, Via};

fn says(stage: &Stage, kind: ConditionType) -> String {
    let conditions = stage.status().conditions;
    find(&conditions, kind).map(|found| found.reason.clone()).unwrap_or_default()
}

/// The copy that status names is of others: were the Secret mended, nobody could get at what was made.
#[test]
fn nothing_is_begun_with_credentials_of_which_no_copy_is_kept() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_jane(State::Live, Via::Compositor);
        stage.land().pause(JANE, true);
        stage.pass_time(10_000).await;
        let until = stage.land().now + 200_000;
        stage.land().faults.silent.insert(Party::LiveKit, until);
        // Its last word is taken for some time.
        stage.pass_time(60_000).await;
        let other = ("tenant".to_owned(), "own".to_owned());
        let data = stage.land().cluster.secrets[&other].data.clone();
        stage.land().change_secret(SYSTEM, |secret| {
            for name in ["MUX_TOKEN_ID", "MUX_TOKEN_SECRET"] {
                secret.insert(name.into(), data[name].clone());
            }
        });
        // What it read before is not taken for granted any more.
        stage.pass_time(20_000).await;
        stage.land().pause(JANE, false);
        stage.pass_time(25_000).await;
        assert_eq!(stage.land().coverage.actions.get("CreateStream"), None);
        stage.land().heal();
        stage.reaches(State::Live, 60_000).await.expect("on air");
        stage
    }));
}

/// Whose they are by now nobody can say: what is made with them may stand in another account than all that follows.
#[test]
fn nothing_is_begun_with_credentials_that_the_secret_does_not_hold_any_more() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_jane(State::Standby, Via::LiveKit);
        stage.land().pause(JANE, true);
        stage.pass_time(10_000).await;
        stage.land().lose_secret(SYSTEM);
        stage.pass_time(20_000).await;
        stage.land().pause(JANE, false);
        stage.pass_time(30_000).await;
        assert_eq!(says(&stage, ConditionType::CredentialsValid), Reason::SecretNotFound.as_str());
        assert_eq!(stage.land().coverage.actions.get("CreateStream"), None);
        assert_eq!(stage.land().coverage.actions.get("CreateRoom"), None);
        stage.land().heal();
        stage.reaches(State::Standby, 60_000).await.expect("Standby");
        stage
    }));
}

/// Somebody deletes the stream while a Secret names another account for a moment, and the answer to the write of the next
/// one's record is lost.
#[test]
fn a_create_that_was_noted_and_not_sent_binds_to_no_account() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        let place = |(namespace, name): (&str, &str)| (namespace.to_owned(), name.to_owned());
        let own = stage.land().cluster.secrets[&place(SYSTEM)].data.clone();
        let other = stage.land().cluster.secrets[&place(("tenant", "own"))].data.clone();
        stage.make_jane(State::Standby, Via::LiveKit);
        stage.reaches(State::Standby, 60_000).await.expect("Standby");
        let account = |land: &mut Land| land.cluster.status(&jane()).mux.and_then(|mux| mux.environment_id);
        let before = account(&mut stage.land());
        stage.land().change_secret(SYSTEM, |secret| *secret = other);
        stage.land().faults.always = Some((Site::CreateStream, Fault::TooMany));
        stage.land().somebody_deletes_the_stream(JANE);
        stage.until(120_000, |land| account(land) != before).await.expect("the other account is used");
        stage.land().faults.always = Some((Site::WriteStatus, Fault::HangAfter));
        let noted =
            |land: &mut Land| land.cluster.status(&jane()).mux.is_some_and(|mux| mux.creating.is_some());
        stage.until(60_000, noted).await.expect("its record");
        stage.land().change_secret(SYSTEM, |secret| *secret = own);
        stage.pass_time(20_000).await;
        stage.land().faults.always = None;
        stage.until(60_000, |land| land.streams(JANE) == 1).await.expect("a stream");
        assert_eq!(stage.land().mux[TOKEN_B].model.streams().len(), 0);
        stage
    }));
}

/// The list that the next pass has is older than the room.
#[test]
fn a_room_whose_creation_is_not_answered_is_closed_all_the_same() {
    well(&simulate(1, |mut stage| async move {
        stage.land().faults.always = Some((Site::CreateRoom, Fault::HangAfter));
        stage.make_jane(State::Standby, Via::LiveKit);
        let open = |land: &mut Land| !land.livekit[LIVEKIT].rooms.is_empty();
        stage.until(20_000, open).await.expect("a room");
        stage.land().ask(JANE, State::Idle);
        stage.until(30_000, |land| land.livekit[LIVEKIT].rooms.is_empty()).await.expect("it is closed");
        stage.land().faults.always = None;
        stage
    }));
}

/// LiveKit says Starting of it for ever, and nobody answers for it; it is not in the room.
#[test]
fn an_egress_whose_worker_dies_as_it_starts_is_given_up() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_jane(State::Standby, Via::LiveKit);
        stage.reaches(State::Standby, 60_000).await.expect("Standby");
        stage.land().ask(JANE, State::Live);
        let started = |land: &mut Land| !land.livekit[LIVEKIT].egresses.is_empty();
        stage.until(20_000, started).await.expect("a start");
        stage.land().kill_worker(LIVEKIT, 0);
        stage.reaches(State::Live, 60_000).await.expect("another worker sends");
        let egress = stage.status().egress.expect("an egress");
        assert_eq!((egress.attempt, egress.lost.len()), (2, 1));
        stage
    }));
}

/// The next one is noted within the same second, and the answer to the write of its record is lost.
#[test]
fn a_start_that_surely_failed_is_not_searched_for() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_jane(State::Standby, Via::LiveKit);
        stage.reaches(State::Standby, 60_000).await.expect("Standby");
        // The first start is noted as a second of the wall clock begins.
        let into_the_second = stage.land().now % 1_000;
        stage.pass_time(1_000 - into_the_second).await;
        stage.land().clock_step = 870;
        stage.land().faults.always = Some((Site::StartEgress, Fault::Lost));
        stage.land().ask(JANE, State::Live);
        let egress = |land: &mut Land| land.cluster.status(&jane()).egress;
        let failed = |land: &mut Land| egress(land).is_some_and(|egress| egress.error.is_some());
        stage.until(5_000, failed).await.expect("the first failed");
        let first = stage.status().egress.and_then(|egress| egress.started_at);
        stage.land().faults.always = Some((Site::WriteStatus, Fault::HangAfter));
        let noted = |land: &mut Land| egress(land).is_some_and(|egress| egress.attempt == 2);
        stage.until(5_000, noted).await.expect("the record of the second");
        assert_eq!(stage.status().egress.and_then(|egress| egress.started_at), first, "within a second");
        stage.land().faults.always = None;
        stage.reaches(State::Live, 45_000).await.expect("on air");
        stage
    }));
}

/// Mux refuses a setting for good, and somebody deletes the stream.
#[test]
fn a_setting_that_is_refused_does_not_hold_up_another_stream() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_jane(State::Live, Via::LiveKit);
        stage.reaches(State::Live, 60_000).await.expect("Live");
        stage.land().faults.always = Some((Site::UpdateStream, Fault::Refused));
        stage.land().say(JANE, |spec| {
            spec.mux.get_or_insert_default().reconnect_window_seconds = Some(240);
        });
        stage.pass_time(10_000).await;
        stage.land().somebody_deletes_the_stream(JANE);
        stage.until(60_000, |land| land.streams(JANE) == 1).await.expect("another stream");
        stage.land().faults.always = None;
        stage.reaches(State::Live, 90_000).await.expect("on air");
        stage
    }));
}

/// The answer to the write of its record was lost, and the record is set right with the clock.
#[test]
fn a_start_that_was_noted_and_not_sent_is_sent_though_the_clock_went_back() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        stage.land().step_clock(3_600_000);
        stage.make_jane(State::Standby, Via::LiveKit);
        stage.reaches(State::Standby, 60_000).await.expect("Standby");
        stage.land().faults.always = Some((Site::WriteStatus, Fault::HangAfter));
        stage.land().ask(JANE, State::Live);
        let noted = |land: &mut Land| {
            let egress = land.cluster.status(&jane()).egress;
            egress.is_some_and(|egress| egress.starting.is_some())
        };
        stage.until(60_000, noted).await.expect("its record");
        stage.pass_time(20_000).await;
        assert_eq!(stage.land().coverage.actions.get("StartEgress"), None);
        stage.land().faults.always = None;
        stage.land().step_clock(-3_600_000);
        let started = |land: &mut Land| land.coverage.actions.contains_key("StartEgress");
        stage.until(40_000, started).await.expect("a start");
        stage
    }));
}
