//! Good days.

use crate::invariants::told;
use crate::run::{JANE, Outcome, Stage, jane, simulate};
use memorialstream_operator::api::spec::{State, Via};

async fn a_good_day(mut stage: Stage, via: Via, kept: bool) -> Stage {
    stage.land().log.kept = kept;
    stage.make_jane(State::Idle, via);
    stage.reaches(State::Idle, 60_000).await.expect("Idle");
    stage.land().ask(JANE, State::Standby);
    stage.reaches(State::Standby, 60_000).await.expect("Standby");
    stage.land().ask(JANE, State::Live);
    stage.reaches(State::Live, 90_000).await.expect("Live");
    stage.land().take(JANE, "lectern");
    let taken = |land: &mut crate::land::Land| {
        land.cluster.status(&jane()).program.is_some_and(|program| program.sources == ["lectern"])
    };
    stage.until(10_000, taken).await.expect("the TAKE");
    stage.pass_time(30_000).await;
    stage.land().ask(JANE, State::Ended);
    stage.reaches(State::Ended, 90_000).await.expect("Ended");
    stage.land().discard(JANE);
    stage.until(120_000, |land| land.cluster.objects.is_empty()).await.expect("gone");
    stage
}

fn good_day(seed: u64, via: Via, kept: bool) -> Outcome {
    simulate(seed, |stage| a_good_day(stage, via, kept))
}

#[test]
fn a_service_goes_from_idle_to_live_to_its_deletion() {
    for via in [Via::LiveKit, Via::Compositor] {
        let outcome = good_day(1, via, true);
        assert!(
            outcome.violations.is_empty(),
            "{via:?}: {}\n{}",
            told(&outcome.violations),
            outcome.lines.join("\n")
        );
        println!("{via:?}: {} calls, {} s of virtual time", outcome.points, outcome.now / 1000);
    }
}

#[test]
fn the_same_seed_plays_the_same_day() {
    for via in [Via::LiveKit, Via::Compositor] {
        let (one, two) = (good_day(7, via, true), good_day(7, via, true));
        let differs = one.lines.iter().zip(&two.lines).find(|(one, two)| one != two);
        assert_eq!(differs, None);
        assert_eq!(one.hash, two.hash);
        assert_ne!(one.hash, good_day(8, via, true).hash);
    }
}

/// The farewell lasts five seconds, and times in status are whole seconds: it may be up to one shorter.
#[test]
fn a_sender_stops_as_soon_as_the_farewell_is_over() {
    for via in [Via::LiveKit, Via::Compositor] {
        for moment in [0, 300, 700, 1_100, 1_500, 1_900] {
            let outcome = simulate(1, |mut stage| async move {
                stage.make_jane(State::Live, via);
                stage.reaches(State::Live, 90_000).await.expect("Live");
                stage.pass_time(20_000 + moment).await;
                stage.land().ask(JANE, State::Ended);
                let took = stage.until(20_000, |land| land.senders(JANE) == 0).await.expect("stopped");
                assert!((4_000..=6_000).contains(&took), "{via:?}, asked after {moment} ms: {took} ms");
                stage
            });
            assert!(outcome.violations.is_empty(), "{}", told(&outcome.violations));
        }
    }
}
