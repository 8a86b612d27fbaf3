//! Questions and calls whose answer says nothing: a pod that may have been made, a player that cannot be asked.

use crate::director::spec;
use crate::environment::WatchTrouble;
use crate::faults::{Fault, Party, Site};
use crate::land::Land;
use crate::run::{JANE, LIVEKIT, Outcome, Stage, jane, operators_account, simulate};
use memorialstream_operator::api::conditions::{ConditionType, find, is_true};
use memorialstream_operator::api::spec::{LatencyMode, MuxSettings, State, Via};

fn clean(outcome: &Outcome) {
    assert!(outcome.violations.is_empty(), "{:#?}\n{}", outcome.violations, outcome.lines.join("\n"));
}

fn on_air(land: &mut Land) -> bool {
    is_true(&land.cluster.status(&jane()).conditions, ConditionType::OnAir)
}

fn reason(stage: &Stage) -> String {
    let conditions = stage.status().conditions;
    find(&conditions, ConditionType::OnAir).map(|found| found.reason.clone()).unwrap_or_default()
}

#[test]
fn a_pod_whose_create_was_not_answered_keeps_its_name_and_its_token() {
    let made = [Fault::ReplyLost, Fault::ServerErrorAfter, Fault::HangAfter, Fault::CrashAfter];
    for fault in made {
        for cache_stands_still in [false, true] {
            let outcome = simulate(1, |mut stage| async move {
                stage.land().log.kept = true;
                stage.land().faults.always = Some((Site::CreatePod, fault));
                stage.make_jane(State::Standby, Via::LiveKit);
                let asked = |land: &mut Land| land.coverage.actions.contains_key("CreatePod");
                stage.until(60_000, asked).await.expect("a create");
                stage.land().faults.always = None;
                if cache_stands_still {
                    stage.process().unwrap().trouble(false, WatchTrouble::Still(20_000));
                }
                let reached = stage.reaches(State::Standby, 60_000).await;
                let status = stage.status();
                assert!(reached.is_some(), "{fault:?} {cache_stands_still}: {:?}", status.message);
                let compositor = status.compositor.unwrap();
                let named = (compositor.pod_name.as_deref(), compositor.incarnation, compositor.made);
                assert_eq!(named, (Some("jane-compositor-1"), 1, true), "{fault:?} {cache_stands_still}");
                let pods = stage.land().pods_of(JANE);
                assert_eq!(pods, [("default".to_owned(), "jane-compositor-1".to_owned())]);
                stage
            });
            clean(&outcome);
        }
    }
}

#[test]
fn a_player_that_cannot_be_asked_takes_nobody_off_air_and_hides_no_failure() {
    for fault in [Fault::Hang, Fault::ServerError, Fault::Lost] {
        for latency in [LatencyMode::Standard, LatencyMode::Low] {
            let outcome = simulate(1, |mut stage| async move {
                stage.land().log.kept = true;
                let mut spec = spec(Some(State::Live), Via::LiveKit);
                let mux = MuxSettings {
                    latency_mode: Some(latency),
                    reconnect_window_seconds: Some(120),
                    ..MuxSettings::default()
                };
                spec.mux = Some(mux);
                stage.land().make(&jane(), JANE, spec, operators_account(), None);
                stage.land().faults.always = Some((Site::ReadPlaylist, fault));
                // It is reached by the word of the other three.
                assert!(stage.reaches(State::Live, 60_000).await.is_some(), "{fault:?} {latency:?}");
                for _ in 0..120 {
                    stage.pass_time(500).await;
                    let says = on_air(&mut stage.land());
                    assert!(says, "{fault:?} {latency:?}: {}", reason(&stage));
                }
                // Mux plays a slate of its own with low latency, and the playlist grows.
                stage.land().kill_worker(LIVEKIT, 0);
                let told = stage.until(15_000, |land| !on_air(land)).await;
                assert!(told.is_some(), "{fault:?} {latency:?}");
                let back = stage.until(60_000, on_air).await;
                assert!(back.is_some(), "{fault:?} {latency:?}: {}", reason(&stage));
                stage
            });
            clean(&outcome);
        }
    }
}

/// Then a playlist that grows proves nothing: Mux may be playing a slate.
#[test]
fn without_mux_and_its_player_it_is_unknown_who_is_on_air() {
    let outcome = simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_jane(State::Live, Via::LiveKit);
        assert!(stage.reaches(State::Live, 60_000).await.is_some());
        stage.pass_time(5_000).await;
        let until = stage.land().now + 90_000;
        stage.land().faults.silent.insert(Party::Mux, until);
        stage.land().faults.silent.insert(Party::Viewer, until);
        let unknown = |land: &mut Land| {
            let conditions = land.cluster.status(&jane()).conditions;
            find(&conditions, ConditionType::OnAir)
                .is_some_and(|found| (&*found.status, &*found.reason) == ("Unknown", "ProviderNotAnswering"))
        };
        assert!(stage.until(60_000, unknown).await.is_some(), "{}", reason(&stage));
        assert_eq!(stage.land().senders(JANE), 1, "it is left alone");
        assert!(stage.until(120_000, on_air).await.is_some(), "{}", reason(&stage));
        assert_eq!(stage.land().coverage.actions["StartEgress"], 1);
        stage
    });
    clean(&outcome);
}
