//! What begins, with whose credentials, and what comes of a beginning that fails half-way.

use crate::land::Land;
use crate::operator::SYSTEM;
use crate::run::{JANE, LIVEKIT, Outcome, Stage, jane, simulate};
use memorialstream_operator::api::Reason;
use memorialstream_operator::api::conditions::{ConditionType, find};
use memorialstream_operator::api::spec::{State, Via};

fn well(outcome: &Outcome) {
    assert!(outcome.violations.is_empty(), "{:#?}\n{}", outcome.violations, outcome.lines.join("\n"));
}

fn says(stage: &Stage, kind: ConditionType) -> String {
    let conditions = stage.status().conditions;
    find(&conditions, kind).map(|found| found.reason.clone()).unwrap_or_default()
}

/// The stream exists in an environment that its Secret does not lead to any more.
#[test]
fn what_was_begun_while_livekit_was_silent_goes_on_with_its_own_credentials() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        let until = stage.land().now + 40_000;
        stage.land().faults.silent.insert(crate::faults::Party::LiveKit, until);
        stage.make_jane(State::Idle, Via::Compositor);
        let made = |land: &mut Land| land.streams(JANE) == 1;
        stage.until(20_000, made).await.expect("a stream");
        stage.pass_time(5_000).await;
        let other = ("tenant".to_owned(), "own".to_owned());
        let data = stage.land().cluster.secrets[&other].data.clone();
        stage.land().change_secret(SYSTEM, |secret| {
            for name in ["MUX_TOKEN_ID", "MUX_TOKEN_SECRET"] {
                secret.insert(name.into(), data[name].clone());
            }
        });
        stage.pass_time(30_000).await;
        stage.land().ask(JANE, State::Live);
        let seen = |land: &mut Land| land.sight(&jane()) == crate::viewer::Sight::Program;
        stage.until(60_000, seen).await.expect("on air");
        assert_eq!(says(&stage, ConditionType::CredentialsValid), Reason::EnvironmentChanged.as_str());
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
