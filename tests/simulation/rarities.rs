//! What random schedules came across once in hundreds: each told as a story of its own, so that it is tried every time.

use crate::cluster::Key;
use crate::director::spec;
use crate::faults::{Fault, Party, Site};
use crate::land::Land;
use crate::livekit::Who;
use crate::operator::SYSTEM;
use crate::run::{JANE, LIVEKIT, LIVEKIT_B, Stage, TOKEN, TOKEN_B, jane, operators_account, simulate, well};
use k8s_openapi::jiff::SignedDuration;
use memorialstream_operator::api::conditions::{ConditionType, find, is_true};
use memorialstream_operator::api::spec::{Schedule, State, Via};

async fn live(stage: &mut Stage, via: Via) {
    stage.land().log.kept = true;
    stage.make_jane(State::Live, via);
    stage.reaches(State::Live, 60_000).await.expect("Live");
    stage.pass_time(10_000).await;
}

async fn standby(stage: &mut Stage) {
    stage.land().log.kept = true;
    stage.make_jane(State::Standby, Via::LiveKit);
    stage.reaches(State::Standby, 60_000).await.expect("Standby");
}

fn on_air(land: &mut Land) -> (String, String, String) {
    let conditions = land.cluster.status(&jane()).conditions;
    let found = find(&conditions, ConditionType::OnAir).expect("OnAir");
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

fn pod(stage: &Stage) -> Key {
    stage.land().pods_of(JANE)[0].clone()
}

/// Mux's lists may be half a minute old, and the playlist is quiet between two segments: the worker itself is asked.
#[test]
fn a_dead_worker_is_noticed_within_ten_seconds_though_mux_says_nothing() {
    for quiet in (0..5_000).step_by(250) {
        well(&simulate(1, |mut stage| async move {
            stage.land().lists_lag(TOKEN, 30);
            live(&mut stage, Via::LiveKit).await;
            // By now the lists show that it is active.
            stage.pass_time(40_000 + quiet).await;
            stage.land().kill_worker(LIVEKIT, 0);
            let noticed = stage.until(10_000, |land| on_air(land).0 != "True").await;
            assert!(noticed.is_some(), "{:?}", on_air(&mut stage.land()));
            let back = |land: &mut Land| on_air(land).0 == "True";
            stage.until(60_000, back).await.expect("another worker sends");
            stage
        }));
    }
}

/// The picture goes on, or stands still: only the compositor could tell.
#[test]
fn with_a_compositor_that_does_not_answer_it_is_unknown_what_mourners_see() {
    for via in [Via::LiveKit, Via::Compositor] {
        well(&simulate(1, |mut stage| async move {
            live(&mut stage, via).await;
            let pod = pod(&stage);
            let until = stage.land().now + 40_000;
            stage.land().kubelet.containers.get_mut(&pod).unwrap().hung_until = until;
            let unknown = |land: &mut Land| on_air(land).0 == "Unknown";
            stage.until(10_000, unknown).await.expect("Unknown");
            let (_, reason, message) = on_air(&mut stage.land());
            assert_eq!(reason, "NotAnswering");
            assert!(message.contains("whether mourners see Program"), "{message}");
            stage.until(60_000, |land| on_air(land).0 == "True").await.expect("OnAir");
            assert_eq!(stage.land().coverage.actions.get("StopEgress"), None, "the sender is left alone");
            stage
        }));
    }
}

/// Then nothing was sent: no search for an egress that nobody started, which would take 100 s.
#[test]
fn a_record_of_a_start_whose_answer_was_lost_costs_no_search() {
    for fault in [Fault::ReplyLost, Fault::ServerErrorAfter, Fault::HangAfter] {
        well(&simulate(1, |mut stage| async move {
            standby(&mut stage).await;
            stage.land().faults.always = Some((Site::WriteStatus, fault));
            stage.land().ask(JANE, State::Live);
            let noted = |land: &mut Land| {
                let egress = land.cluster.status(&jane()).egress;
                egress.is_some_and(|egress| egress.starting.is_some())
            };
            stage.until(60_000, noted).await.expect("the start is noted");
            stage.land().faults.always = None;
            assert!(stage.reaches(State::Live, 45_000).await.is_some(), "{fault:?}");
            assert_eq!(stage.land().coverage.actions["StartEgress"], 1);
            stage
        }));
    }
}

#[test]
fn a_start_in_doubt_is_found_again_though_the_stream_key_changed_meanwhile() {
    well(&simulate(1, |mut stage| async move {
        standby(&mut stage).await;
        stage.land().faults.always = Some((Site::StartEgress, Fault::CrashAfter));
        stage.land().ask(JANE, State::Live);
        let sends = |land: &mut Land| land.mux.values().any(|mux| !mux.connections.is_empty());
        stage.until(30_000, sends).await.expect("it sends, and nobody knows");
        stage.land().faults.always = None;
        stage.land().somebody_resets_the_key(JANE);
        // Not first after 100 s: what sends with the old key is ours, and gives way to one with the new.
        let live = stage.reaches(State::Live, 60_000).await;
        assert!(live.is_some(), "{}", stage.land().log.lines.join("\n"));
        stage.pass_time(20_000).await;
        assert_eq!(stage.land().senders(JANE), 1);
        stage
    }));
}

#[test]
fn a_stream_that_is_found_again_for_a_service_at_rest_is_disabled_at_once() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_jane(State::Idle, Via::LiveKit);
        stage.reaches(State::Idle, 30_000).await.expect("Idle");
        // By the time that a list shows it, what failed is forgotten.
        stage.land().lists_lag(TOKEN, 30);
        stage.land().somebody_deletes_the_stream(JANE);
        stage.land().faults.always = Some((Site::CreateStream, Fault::ReplyLost));
        let made = |land: &mut Land| land.faults.called.get(&Site::CreateStream) == Some(&2);
        stage.until(1_300_000, made).await.expect("another one is made");
        stage.land().faults.always = None;
        let found =
            |land: &mut Land| land.cluster.status(&jane()).mux.is_some_and(|mux| mux.stream_id.is_some());
        stage.until(120_000, found).await.expect("it is found");
        let disabled = |land: &mut Land| land.unsettled().is_empty();
        stage.until(5_000, disabled).await.expect("it refuses ingest");
        stage
    }));
}

/// The Secret names another LiveKit as soon as the room is deleted, and a device opens the room again at the first one.
#[test]
fn a_room_that_comes_back_is_deleted_where_it_was_open() {
    well(&simulate(1, |mut stage| async move {
        standby(&mut stage).await;
        stage.land().director.said.get_mut(JANE).unwrap().rejoins = 1;
        let other = [
            ("LIVEKIT_URL", LIVEKIT_B.to_owned()),
            ("LIVEKIT_API_KEY", format!("key-{TOKEN_B}")),
            ("LIVEKIT_API_SECRET", format!("secret-of-livekit-for-{TOKEN_B}-0123456789")),
        ];
        stage.land().change_secret(SYSTEM, |data| {
            data.extend(other.map(|(name, value)| (name.to_owned(), value)));
        });
        // What it said before is in use for some seconds.
        stage.pass_time(20_000).await;
        stage.land().discard(JANE);
        let gone = |land: &mut Land| land.cluster.object(JANE).is_none();
        stage.until(120_000, gone).await.expect("released");
        let open: Vec<String> = stage.land().livekit[LIVEKIT].rooms.keys().cloned().collect();
        assert_eq!(open, [] as [&str; 0], "nobody would close it");
        assert_eq!(stage.land().director.said[JANE].rejoins, 0, "a device did come back");
        stage
    }));
}

/// Somebody stores nonsense in one object; another one, with the same slug, is made meanwhile; then the first is mended.
#[test]
fn a_service_on_air_goes_on_and_ends_though_another_was_given_its_slug() {
    for delete in [false, true] {
        well(&simulate(1, |mut stage| async move {
            live(&mut stage, Via::LiveKit).await;
            stage.land().spoil(JANE, 20_000);
            stage.pass_time(2_000).await;
            let mut second = spec(Some(State::Standby), Via::LiveKit);
            second.slug = Some("jane".into());
            let john = ("default".to_owned(), "john".to_owned());
            stage.land().make(&john, "uid-2", second, operators_account(), None);
            stage.pass_time(30_000).await;
            assert!(is_true(&stage.status().conditions, ConditionType::OnAir), "{:?}", stage.status());
            assert_eq!(stage.land().senders(JANE), 1);
            if delete {
                stage.land().discard(JANE);
                let gone = |land: &mut Land| land.cluster.object(JANE).is_none();
                stage.until(60_000, gone).await.expect("it waits for nobody's slug");
            } else {
                stage.land().ask(JANE, State::Ended);
                let ended = |land: &mut Land| land.senders(JANE) == 0;
                stage.until(60_000, ended).await.expect("it ends");
                let closed = |land: &mut Land| {
                    land.pods_of(JANE).is_empty()
                        && land.livekit[LIVEKIT].rooms.keys().all(|room| !room.contains(JANE))
                };
                stage.until(60_000, closed).await.expect("nothing of it is left");
            }
            stage.land().discard("uid-2");
            stage.pass_time(60_000).await;
            stage
        }));
    }
}

#[test]
fn a_clock_that_goes_back_does_not_silence_the_fast_lane() {
    well(&simulate(1, |mut stage| async move {
        standby(&mut stage).await;
        stage.land().take(JANE, "wide");
        stage.pass_time(2_000).await;
        stage.land().clock_step -= 3_600_000;
        for camera in ["lectern", "wide"] {
            stage.land().take(JANE, camera);
            let told = |land: &mut Land| {
                let program = land.cluster.status(&jane()).program;
                program.is_some_and(|program| program.sources == [camera])
            };
            let told = stage.until(5_000, told).await;
            assert!(told.is_some(), "{camera}: {}", stage.land().log.lines.join("\n"));
        }
        stage
    }));
}

/// LiveKit says once that nobody is in the room, and mourners see Program.
#[test]
fn one_wrong_list_of_participants_replaces_no_egress() {
    well(&simulate(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        // It joined long ago.
        stage.pass_time(60_000).await;
        stage.land().faults.always = Some((Site::ListParticipants, Fault::Empty));
        stage.pass_time(8_000).await;
        stage.land().faults.always = None;
        stage.until(10_000, |land| on_air(land).0 == "True").await.expect("OnAir");
        stage.pass_time(30_000).await;
        assert_eq!(stage.land().coverage.actions["StartEgress"], 1);
        stage
    }));
}

/// LiveKit takes almost a minute to answer the start.
#[test]
fn an_egress_that_started_late_has_its_whole_time_to_reach_mux() {
    well(&simulate(1, |mut stage| async move {
        standby(&mut stage).await;
        stage.land().livekit.get_mut(LIVEKIT).unwrap().slow = 56_000;
        stage.land().ask(JANE, State::Live);
        stage.reaches(State::Live, 90_000).await.expect("Live");
        assert_eq!(stage.land().coverage.actions["StartEgress"], 1);
        stage
    }));
}

/// The compositor's sender was started, and not seen connected yet, when another way out is chosen, and a pause holds it up:
/// whoever sends is believed.
#[test]
fn who_sends_is_told_of_while_another_way_out_waits() {
    for mux_is_silent in [false, true] {
        well(&simulate(1, |mut stage| async move {
            stage.land().log.kept = true;
            stage.make_jane(State::Live, Via::Compositor);
            stage
                .until(60_000, |land| land.cluster.status(&jane()).started_at.is_some())
                .await
                .expect("started");
            assert_eq!(stage.status().egress.unwrap().status, None);
            stage.land().pause(JANE, true);
            stage.land().say(JANE, |spec| spec.egress.get_or_insert_default().via = Some(Via::LiveKit));
            if mux_is_silent {
                let until = stage.land().now + 90_000;
                stage.land().faults.silent.insert(Party::Mux, until);
                // Its last word is told on for some time.
                stage.pass_time(40_000).await;
            }
            stage.pass_time(20_000).await;
            let told = on_air(&mut stage.land());
            assert_ne!(told.0, "False", "mourners see Program: {told:?}");
            assert!(mux_is_silent || told.0 == "True", "mourners see Program: {told:?}");
            stage
        }));
    }
}

/// Mux was not seen to be active yet, but the compositor's sender is connected, when another way out is chosen: it waits for
/// the next broadcast, and takes nobody off air.
#[test]
fn a_sender_that_is_connected_is_not_changed_for_another() {
    well(&simulate(1, |mut stage| async move {
        stage.make_jane(State::Live, Via::Compositor);
        let connected = |land: &mut Land| {
            let egress = land.cluster.status(&jane()).egress;
            egress.is_some_and(|egress| egress.status.as_deref() == Some("Connected"))
        };
        stage.until(60_000, connected).await.expect("the sender is connected");
        assert_eq!(stage.status().live_session, None);
        stage.land().say(JANE, |spec| spec.egress.get_or_insert_default().via = Some(Via::LiveKit));
        stage.reaches(State::Live, 60_000).await.expect("Live");
        stage.pass_time(20_000).await;
        let stops = stage.land().coverage.actions.get("StopSender").copied();
        assert_eq!(stops, None, "a sender that is connected goes on");
        stage
    }));
}

/// Each look takes its whole time: an End comes and is taken away within one pass.
#[test]
fn a_word_that_a_tool_takes_away_during_a_pass_is_heard() {
    well(&simulate(1, |mut stage| async move {
        stage.make_jane(State::Live, Via::Compositor);
        stage.reaches(State::Live, 60_000).await.expect("Live");
        let until = stage.land().now + 25_000;
        stage.land().faults.silent.insert(Party::Mux, until);
        stage.land().faults.silent.insert(Party::LiveKit, until);
        let before = stage.land().watch.passes.clone();
        stage.until(30_000, |land| land.watch.passes != before).await.expect("a pass begins");
        stage.pass_time(500).await;
        stage.land().ask(JANE, State::Ended);
        stage.pass_time(500).await;
        stage.land().strip(JANE, |spec| spec.state = None);
        stage.reaches(State::Ended, 90_000).await.expect("Ended");
        stage
    }));
}

/// Nobody answers for the egress any more, and its handler goes on: mourners see Program, and an end still ends it.
#[test]
fn a_handler_that_outlives_its_worker_is_on_air_and_is_ended() {
    well(&simulate(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        stage.land().livekit.get_mut(LIVEKIT).unwrap().orphaned = true;
        stage.pass_time(15_000).await;
        assert_eq!(on_air(&mut stage.land()).0, "Unknown", "it may be dead");
        stage.pass_time(60_000).await;
        assert_eq!(on_air(&mut stage.land()).0, "True");
        assert_eq!(stage.land().coverage.actions["StartEgress"], 1, "nobody takes it off air");
        stage.land().ask(JANE, State::Ended);
        stage.reaches(State::Ended, 120_000).await.expect("Ended");
        stage
    }));
}

/// Whatever is done about it, the session goes on.
#[test]
fn a_stream_that_somebody_disables_ends_no_session() {
    well(&simulate(1, |mut stage| async move {
        live(&mut stage, Via::Compositor).await;
        stage.land().somebody_disables_the_stream(JANE);
        stage.pass_time(30_000).await;
        stage
    }));
}

/// Neither Mux nor a player tells anything any more: that all is well was true when they told.
#[test]
fn on_air_is_not_said_long_after_mux_and_the_player_fell_silent() {
    well(&simulate(1, |mut stage| async move {
        live(&mut stage, Via::Compositor).await;
        let silent = |stage: &Stage, party| {
            let until = stage.land().now + 40_000;
            stage.land().faults.silent.insert(party, until);
        };
        silent(&stage, Party::Viewer);
        stage.pass_time(20_000).await;
        assert_eq!(on_air(&mut stage.land()).0, "True", "Mux says so");
        silent(&stage, Party::Viewer);
        silent(&stage, Party::Mux);
        stage.pass_time(14_000).await;
        assert_eq!(on_air(&mut stage.land()).0, "Unknown");
        stage.pass_time(45_000).await;
        assert_eq!(on_air(&mut stage.land()).0, "True");
        stage
    }));
}

/// At rest it is looked at every ten minutes, with patience for no more than some seconds. That it is gone Mux is asked
/// twice, and whether the credentials are good besides.
#[test]
fn a_lost_stream_is_made_anew_though_the_look_at_it_took_long() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_jane(State::Idle, Via::LiveKit);
        stage.reaches(State::Idle, 60_000).await.expect("Idle");
        stage.pass_time(30_000).await;
        stage.land().somebody_deletes_the_stream(JANE);
        stage.land().faults.always = Some((Site::ListStreams, Fault::Hang));
        let lists = |land: &mut Land| land.faults.called.get(&Site::ListStreams).copied();
        let before = lists(&mut stage.land());
        let hung = |land: &mut Land| lists(land) != before;
        stage.until(800_000, hung).await.expect("a look");
        stage.land().faults.always = None;
        let again = |land: &mut Land| land.streams(JANE) == 1;
        // The hung request is given up, and asked again of an account that was slow; then its answer is there.
        stage.until(150_000, again).await.expect("a new stream");
        stage
    }));
}

/// A CRD of before an upgrade, a policy, a full etcd.
#[test]
fn what_is_to_end_ends_though_no_status_is_taken() {
    for via in [Via::LiveKit, Via::Compositor] {
        well(&simulate(1, |mut stage| async move {
            live(&mut stage, via).await;
            stage.land().faults.always = Some((Site::WriteStatus, Fault::Refused));
            stage.land().ask(JANE, State::Ended);
            let ended = |land: &mut Land| land.senders(JANE) + land.pods_of(JANE).len() == 0;
            stage.until(60_000, ended).await.expect("nothing runs on");
            stage.pass_time(10_000).await;
            assert_eq!(stage.land().coverage.actions.get("DeleteRoom"), None, "its name cannot be given up");
            stage.land().faults.always = None;
            stage.reaches(State::Ended, 60_000).await.expect("and it is told");
            stage
        }));
        // The schedule ends a session, too, that was raised meanwhile.
        well(&simulate(1, |mut stage| async move {
            live(&mut stage, via).await;
            let end = stage.land().time().checked_add(SignedDuration::from_secs(30)).unwrap();
            stage.land().say(JANE, |spec| {
                let end_at = Some(crate::cluster::time(end));
                spec.schedule = Some(Schedule { end_at, overrun_minutes: Some(0), ..Schedule::default() });
            });
            stage.pass_time(5_000).await;
            stage.land().faults.always = Some((Site::WriteStatus, Fault::Refused));
            stage.land().say(JANE, |spec| spec.session = Some(2));
            let ended = |land: &mut Land| land.senders(JANE) + land.pods_of(JANE).len() == 0;
            stage.until(90_000, ended).await.expect("nothing runs on");
            stage.land().faults.always = None;
            stage.reaches(State::Ended, 60_000).await.expect("and it is told");
            stage
        }));
    }
}

/// LiveKit's answer is empty; the egress runs all the same.
#[test]
fn a_start_whose_answer_names_no_egress_is_searched_for() {
    well(&simulate(1, |mut stage| async move {
        standby(&mut stage).await;
        stage.land().faults.always = Some((Site::StartEgress, Fault::Empty));
        stage.land().ask(JANE, State::Live);
        let started = |land: &mut Land| land.senders(JANE) == 1;
        stage.until(20_000, started).await.expect("it runs");
        stage.land().faults.always = None;
        stage.reaches(State::Live, 60_000).await.expect("found, not started again");
        let egress = stage.land().cluster.status(&jane()).egress.expect("an egress");
        assert_eq!((egress.attempt, egress.lost), (1, Vec::new()));
        stage
    }));
}

/// Whoever is silent is asked more and more rarely: up to half a minute lies between two questions.
#[test]
fn the_schedule_ends_a_service_in_time_though_mux_is_silent() {
    for seconds in (60..120).step_by(6) {
        well(&simulate(1, |mut stage| async move {
            stage.land().log.kept = true;
            let mut scheduled = spec(None, Via::LiveKit);
            let from_now = |seconds| {
                let time = stage.land().time().checked_add(SignedDuration::from_secs(seconds)).unwrap();
                Some(crate::cluster::time(time))
            };
            scheduled.schedule = Some(Schedule {
                standby_at: from_now(0),
                live_at: from_now(20),
                end_at: from_now(seconds),
                overrun_minutes: Some(0),
            });
            stage.land().make(&jane(), JANE, scheduled, operators_account(), None);
            stage.reaches(State::Standby, 30_000).await.expect("Standby");
            // A proxy, say, answers for Mux.
            stage.land().faults.always = Some((Site::GetStream, Fault::Endless));
            let left = u64::try_from(seconds).unwrap() * 1_000 - stage.land().now;
            stage.pass_time(left).await;
            let over = |land: &mut Land| land.pods_of(JANE).is_empty();
            stage.until(8_000, over).await.expect("no pod runs on");
            stage
        }));
    }
}

/// Whoever raises the session when `schedule.endAt` has come wants to go on.
#[test]
fn a_session_that_is_raised_after_its_end_is_live() {
    for via in [Via::LiveKit, Via::Compositor] {
        well(&simulate(1, |mut stage| async move {
            stage.land().log.kept = true;
            let mut first = spec(Some(State::Live), via);
            let end = stage.land().time().checked_add(SignedDuration::from_secs(40)).unwrap();
            first.schedule =
                Some(Schedule { end_at: Some(crate::cluster::time(end)), ..Schedule::default() });
            stage.land().make(&jane(), JANE, first, operators_account(), None);
            stage.reaches(State::Live, 30_000).await.expect("Live");
            // Cameras send: it overruns.
            stage.pass_time(40_000).await;
            stage.land().say(JANE, |spec| spec.session = Some(2));
            for server in stage.land().livekit.values_mut() {
                for room in server.rooms.values_mut() {
                    room.participants.retain(|_, who| *who != Who::Device);
                }
            }
            stage.pass_time(180_000).await;
            assert_eq!(stage.status().state, Some(State::Live));
            stage
        }));
    }
}

/// The pod still says that a camera was shown: in the session before.
#[test]
fn a_session_that_is_raised_while_no_operator_is_up_begins_with_its_first_slate() {
    well(&simulate(1, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        stage.land().take(JANE, "lectern");
        stage.pass_time(5_000).await;
        let shown =
            |stage: &Stage| stage.status().program.and_then(|program| program.camera_shown_in_session);
        assert_eq!(shown(&stage), Some(1));
        stage.crash();
        stage.land().say(JANE, |spec| {
            spec.session = Some(2);
            spec.program.get_or_insert_default().sources = Some(Vec::new());
        });
        stage.pass_time(30_000).await;
        assert_eq!(shown(&stage), Some(1), "none was shown in this one");
        stage
    }));
}

/// Somebody wrote nonsense over it, and the pod's container started anew: without a TAKE it would never boot again.
#[test]
fn what_a_pod_boots_from_is_written_anew_while_it_does_not_live() {
    well(&simulate(1, |mut stage| async move {
        standby(&mut stage).await;
        let pod = pod(&stage);
        stage.land().faults.always = Some((Site::PodProgram, Fault::Lost));
        stage.land().somebody_spoils_the_boot_document(JANE);
        stage.land().crash_container(&pod);
        let renewed = |land: &mut Land| land.coverage.actions.contains_key("RenewBoot");
        stage.until(40_000, renewed).await.expect("it is written anew");
        // The kubelet brings it to the node.
        stage.pass_time(90_000).await;
        stage.land().crash_container(&pod);
        let composites = |land: &mut Land| land.kubelet.containers[&pod].document.is_some();
        stage.until(40_000, composites).await.expect("it boots");
        stage.land().faults.always = None;
        stage.reaches(State::Standby, 60_000).await.expect("Standby");
        stage
    }));
}
