//! Questions and calls whose answer says nothing: a pod that may have been made, a player that cannot be asked.

use crate::director::spec;
use crate::environment::WatchTrouble;
use crate::faults::{Fault, Party, Site};
use crate::land::Land;
use crate::run::{JANE, LIVEKIT, Stage, jane, operators_account, simulate, well};
use memorialstream_operator::api::conditions::{ConditionType, find, is_true};
use memorialstream_operator::api::spec::{LatencyMode, MuxSettings, State, Via};

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
    let not_made = [Fault::Lost, Fault::ServerError, Fault::Hang, Fault::CrashBefore];
    for fault in made.into_iter().chain(not_made) {
        for cache_stands_still in [false, true] {
            let outcome = simulate(1, |mut stage| async move {
                stage.land().log.kept = true;
                stage.land().faults.always = Some((Site::CreatePod, fault));
                stage.make_jane(State::Standby, Via::LiveKit);
                let asked = |land: &mut Land| land.faults.called.contains_key(&Site::CreatePod);
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
            well(&outcome);
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
            well(&outcome);
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
    well(&outcome);
}

/// A cluster is restored as it was before: status knows of no stream, and families know the address of the one there is.
#[test]
fn a_stream_that_status_has_forgotten_is_found_before_another_is_made() {
    well(&simulate(1, |mut stage| async move {
        stage.make_jane(State::Idle, Via::LiveKit);
        stage.reaches(State::Idle, 60_000).await.expect("Idle");
        stage.pass_time(660_000).await;
        let before = stage.status();
        stage.land().change_object(&jane(), |object| object.status = None);
        stage.crash();
        stage.land().ask(JANE, State::Standby);
        stage.reaches(State::Standby, 120_000).await.expect("Standby");
        assert_eq!(stage.status().playback_url, before.playback_url);
        assert_eq!(stage.land().streams(JANE), 1);
        stage
    }));
}

/// A pass on an object of before knows of no start whose answer that could be, and must not be the last that hears it.
#[test]
fn the_answer_to_a_start_outlives_a_pass_whose_cache_lags() {
    well(&simulate(1, |mut stage| async move {
        stage.make_jane(State::Standby, Via::LiveKit);
        stage.reaches(State::Standby, 60_000).await.expect("Standby");
        stage.land().livekit.get_mut(LIVEKIT).unwrap().too_old = true;
        stage.process().unwrap().trouble(true, WatchTrouble::Lags(3_000));
        stage.land().ask(JANE, State::Live);
        for _ in 0..40 {
            stage.pass_time(1_000).await;
            let egress = find(&stage.status().conditions, ConditionType::EgressActive).cloned();
            assert!(egress.is_none_or(|egress| egress.reason != "Searching"), "it was answered");
        }
        stage.land().heal();
        stage.reaches(State::Live, 60_000).await.expect("Live");
        stage
    }));
}
