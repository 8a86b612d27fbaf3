//! LiveKit's egress: starts whose answer is lost, workers that die, destinations that drop, and LiveKit's own words.

use super::*;
use crate::faults::Party;
use crate::livekit::Who;

const ON_AIR: ConditionType = ConditionType::OnAir;
const EGRESS: ConditionType = ConditionType::EgressActive;

/// Case 15.
#[test]
fn a_start_whose_answer_was_lost_is_found_again_and_never_repeated_blindly() {
    let started = [Fault::ReplyLost, Fault::ServerErrorAfter, Fault::HangAfter, Fault::CrashAfter];
    for fault in started {
        case(|mut stage| async move {
            strike(&mut stage.land(), Site::StartEgress, fault);
            stage.make_jane(State::Live, Via::LiveKit);
            stage.until(60_000, |land| land.senders(JANE) == 1).await.expect("an egress");
            // Somebody else's in the same room is not taken for it.
            stage.land().somebody_records(JANE);
            let words = "the sender to Mux is starting";
            if fault == Fault::HangAfter {
                told(&mut stage, 3_000, EGRESS, Truth::False, Reason::Starting, words).await;
            }
            // The answer that never comes is waited for by its call alone.
            reached(&mut stage, State::Live, 25_000).await;
            assert_eq!((done(&stage, "StartEgress"), events(&stage, "EgressAdopted")), (1, 1), "{fault:?}");
            assert_eq!(counted(&stage), (1, 1, 1, 1));
            assert_eq!(egresses(&stage), [egress_id(&stage)]);
            stage
        });
    }
    // Nothing was started, and nobody knows: LiveKit itself may go on trying for 75 s.
    case(|mut stage| async move {
        strike(&mut stage.land(), Site::StartEgress, Fault::ServerError);
        stage.make_jane(State::Live, Via::LiveKit);
        stage.until(60_000, |land| called(land, Site::StartEgress) == 1).await.expect("a start");
        stage.pass_time(95_000).await;
        assert_eq!(calls(&stage, Site::StartEgress), 1);
        let words = "the answer to the start of the egress was lost; it is being searched for";
        told(&mut stage, 1_000, EGRESS, Truth::False, Reason::Searching, words).await;
        reached(&mut stage, State::Live, 60_000).await;
        assert_eq!((calls(&stage, Site::StartEgress), counted(&stage)), (2, (1, 1, 1, 1)));
        stage
    });
    // Two of ours with one key: the one that status names stays.
    let broken = [Invariant::OneSender, Invariant::Impatient];
    case_that_breaks(&broken, |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let first = egress_id(&stage);
        let record = stage.land().livekit[LIVEKIT].egresses[&first].clone();
        let room = record.room.clone();
        let second = stage.land().start_egress(LIVEKIT, &room, &record.identity, &record.url, record.uid);
        let second = second.expect("a worker");
        stage.until(20_000, |land| !running(land).contains(&second)).await.expect("the younger is stopped");
        told(&mut stage, 60_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
        assert_eq!((egress_id(&stage), counted(&stage)), (first, (1, 1, 1, 1)));
        stage
    });
}

/// Case 16.
#[test]
fn an_egress_that_never_gets_beyond_starting_is_stopped_and_replaced() {
    case_that_breaks(&[Invariant::Dark], |mut stage| async move {
        stage.land().livekit.get_mut(LIVEKIT).unwrap().stalls = true;
        stage.make_jane(State::Live, Via::LiveKit);
        let words = "the sender starts once the Mux live stream, the room and the compositor are ready";
        told(&mut stage, 10_000, EGRESS, Truth::False, Reason::Waiting, words).await;
        let words = "the sender to Mux is starting";
        told(&mut stage, 20_000, EGRESS, Truth::False, Reason::Starting, words).await;
        let publishes = |land: &Land| {
            let room = &land.livekit[LIVEKIT].rooms["memorial-uid-1-0"];
            room.participants.values().any(|who| matches!(who, Who::Program(_)))
        };
        assert!(publishes(&stage.land()), "it is started once there is something to send");
        stage.pass_time(3_000).await;
        let stuck = egress_id(&stage);
        stage.pass_time(77_000).await;
        assert_eq!(done(&stage, "StopEgress"), 0, "it is given its time");
        stage.until(30_000, |land| land.coverage.actions.contains_key("StopEgress")).await.expect("a stop");
        assert_eq!(events(&stage, "EgressStuck"), 1);
        stage.land().livekit.get_mut(LIVEKIT).unwrap().stalls = false;
        // LiveKit answers no stop as long as the worker waits, and then the worker hears of it.
        stage.pass_time(10_000).await;
        let why = "Stop called before pipeline could start";
        stage.land().end_egress(LIVEKIT, &stuck, EgressStatus::Aborted, why);
        reached(&mut stage, State::Live, 90_000).await;
        assert_ne!(egress_id(&stage), stuck);
        assert_eq!((done(&stage, "StartEgress"), counted(&stage)), (2, (1, 1, 1, 1)));
        stage
    });
}

/// Case 17.
#[test]
fn an_egress_that_says_active_while_nothing_reaches_mux_is_not_on_air_and_is_replaced() {
    for from_the_start in [true, false] {
        case(|mut stage| async move {
            if from_the_start {
                stage.make_jane(State::Live, Via::LiveKit);
                let connected = |land: &mut Land| !land.mux[TOKEN].connections.is_empty();
                stage.until(60_000, connected).await.expect("an egress");
            } else {
                live(&mut stage, Via::LiveKit).await;
            }
            let wedged = egresses(&stage)[0].clone();
            let connection = stage.land().mux[TOKEN].connections.keys().next().cloned().unwrap();
            stage.land().hang_up(&connection);
            if from_the_start {
                stage.pass_time(30_000).await;
                assert_ne!(stage.status().state, Some(State::Live), "Mux decides what is live");
                let words = "Mux receives the sender and is not active yet";
                told(&mut stage, 1_000, ON_AIR, Truth::False, Reason::Connecting, words).await;
            } else {
                let words = "Mux says that no sender is connected";
                told(&mut stage, 10_000, ON_AIR, Truth::False, Reason::Reconnecting, words).await;
            }
            let stopped = |land: &mut Land| !running(land).contains(&wedged);
            stage.until(90_000, stopped).await.expect("it is stopped");
            assert_eq!(events(&stage, "EgressStuck"), 1);
            told(&mut stage, 60_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
            reached(&mut stage, State::Live, 1_000).await;
            assert_eq!((done(&stage, "StartEgress"), counted(&stage)), (2, (1, 1, 1, 1)));
            stage
        });
    }
}

/// Case 18.
#[test]
fn an_egress_whose_worker_died_is_given_up_for_ever_and_replaced() {
    for another_worker in [true, false] {
        case(|mut stage| async move {
            if !another_worker {
                stage.land().livekit.get_mut(LIVEKIT).unwrap().workers.truncate(1);
            }
            live(&mut stage, Via::LiveKit).await;
            let zombie = egress_id(&stage);
            stage.land().kill_worker(LIVEKIT, 0);
            let words = "Mux says that no sender is connected";
            told(&mut stage, 10_000, ON_AIR, Truth::False, Reason::Reconnecting, words).await;
            let lost = |land: &mut Land| land.cluster.told.contains_key(&(jane(), "EgressLost".into()));
            stage.until(20_000, lost).await.expect("it is given up");
            if another_worker {
                told(&mut stage, 3_000, EGRESS, Truth::False, Reason::Starting, "").await;
            } else {
                let words = "LiveKit has no egress worker that is free";
                told(&mut stage, 30_000, EGRESS, Truth::False, Reason::WaitingForCapacity, words).await;
                stage.pass_time(60_000).await;
                assert_eq!(stage.status().state, Some(State::Live), "the broadcast is not ended");
                stage.land().livekit.get_mut(LIVEKIT).unwrap().workers.push(None);
            }
            told(&mut stage, 60_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
            let egress = stage.status().egress.unwrap();
            assert_ne!(egress.id.as_ref(), Some(&zombie));
            assert_eq!(egress.lost, std::slice::from_ref(&zombie), "LiveKit says Active of it for ever");
            assert_eq!(counted(&stage), (1, 1, 1, 1));
            // A new process does not fall for it either.
            stage.crash();
            stage.pass_time(60_000).await;
            assert_eq!(egress_id(&stage), egress.id.unwrap());
            assert_eq!((events(&stage, "EgressAdopted"), events(&stage, "EgressLost")), (0, 1));
            told(&mut stage, 1_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
            stage
        });
    }
}

/// Case 19.
#[test]
fn program_that_leaves_and_comes_back_keeps_its_egress_and_a_source_that_closed_is_no_end() {
    case(|mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let egress = egress_id(&stage);
        stage.land().program_leaves(JANE, 15_000);
        let words = "Program is not published in the room, from where the egress takes it";
        told(&mut stage, 10_000, ON_AIR, Truth::False, Reason::NotPublishing, words).await;
        told(&mut stage, 40_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
        assert_eq!((egress_id(&stage), stream(&stage).assets), (egress, 1));
        assert_eq!(counted(&stage), (1, 1, 1, 1));
        stage
    });
    case(|mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let egress = egress_id(&stage);
        stage.land().end_egress(LIVEKIT, &egress, EgressStatus::Complete, "End reason: Source closed");
        let words = "the sender to Mux ended: End reason: Source closed";
        told(&mut stage, 10_000, EGRESS, Truth::False, Reason::Restarting, words).await;
        assert_eq!(stage.status().ended_session, None, "nobody asked for an end");
        told(&mut stage, 30_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
        assert_eq!((events(&stage, "EgressEnded"), done(&stage, "StartEgress")), (1, 2));
        assert_ne!(egress_id(&stage), egress);
        assert_eq!((stream(&stage).assets, counted(&stage)), (1, (1, 1, 1, 1)));
        stage
    });
}

/// Case 20.
#[test]
fn an_egress_that_lost_its_destination_is_left_to_itself_and_then_replaced_with_patience() {
    case(|mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let egress = egress_id(&stage);
        stage.land().ingest_down = true;
        stage.land().cut_all_senders();
        told(&mut stage, 10_000, EGRESS, Truth::False, Reason::SenderLost, "is not connected to Mux").await;
        stage.pass_time(14_000).await;
        assert_eq!((done(&stage, "StopEgress"), done(&stage, "StartEgress")), (0, 1), "it tries by itself");
        stage.land().ingest_down = false;
        told(&mut stage, 10_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
        assert_eq!((egress_id(&stage), stream(&stage).assets), (egress, 1));
        stage
    });
    case_that_breaks(&[Invariant::Dark], |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        stage.land().ingest_down = true;
        stage.land().cut_all_senders();
        let ended = |land: &mut Land| land.cluster.told.contains_key(&(jane(), "EgressEnded".into()));
        stage.until(50_000, ended).await.expect("it gives up after 30 s");
        let words = "the sender to Mux ended: connection refused";
        told(&mut stage, 10_000, EGRESS, Truth::False, Reason::Restarting, words).await;
        stage.pass_time(240_000).await;
        let starts = done(&stage, "StartEgress");
        assert!((4..=14).contains(&starts), "{starts} starts in five minutes");
        assert_eq!(stage.status().ended_session, None);
        stage.land().ingest_down = false;
        told(&mut stage, 60_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
        there_are(&mut stage, 10_000, (1, 1, 1, 1)).await;
        stage
    });
}

/// Case 21.
#[test]
fn without_a_worker_that_is_free_it_waits_and_says_what_would_help() {
    for quota in [false, true] {
        case(|mut stage| async move {
            let workers = std::mem::take(&mut stage.land().livekit.get_mut(LIVEKIT).unwrap().workers);
            if quota {
                stage.land().livekit.get_mut(LIVEKIT).unwrap().workers = workers.clone();
                stage.land().faults.always = Some((Site::StartEgress, Fault::TooMany));
            }
            stage.make_jane(State::Live, Via::LiveKit);
            let words = "worker that is free";
            told(&mut stage, 30_000, EGRESS, Truth::False, Reason::WaitingForCapacity, words).await;
            stage.pass_time(120_000).await;
            let starts = calls(&stage, Site::StartEgress);
            assert!((5..=35).contains(&starts), "{starts} starts in two minutes");
            told(&mut stage, 1_000, ConditionType::Stalled, Truth::False, Reason::Progressing, "").await;
            assert_eq!(counted(&stage), (1, 1, 1, 0), "the rehearsal goes on");
            stage.land().faults.always = None;
            stage.land().livekit.get_mut(LIVEKIT).unwrap().workers = workers;
            reached(&mut stage, State::Live, 40_000).await;
            assert_eq!(counted(&stage), (1, 1, 1, 1));
            stage
        });
    }
    // The other way out that operations.md names is one that is taken.
    case(|mut stage| async move {
        stage.land().livekit.get_mut(LIVEKIT).unwrap().workers.clear();
        stage.make_jane(State::Live, Via::LiveKit);
        stage.pass_time(40_000).await;
        stage.land().say(JANE, |spec| {
            spec.egress.get_or_insert_default().via = Some(Via::Compositor);
        });
        reached(&mut stage, State::Live, 60_000).await;
        assert_eq!(counted(&stage), (1, 1, 1, 1));
        stage
    });
}

/// Case 26: what comes of it. That it is told at all is for `livekits_own_words_are_told_from_those_of_others`.
#[test]
fn an_answer_that_is_not_livekits_is_told_as_one_and_nothing_is_made_or_given_up() {
    case(|mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let before = stage.status();
        let secret = |land: &mut Land, secret: &str| {
            land.livekit.get_mut(LIVEKIT).unwrap().api_secret = secret.to_owned();
        };
        let good = stage.land().livekit[LIVEKIT].api_secret.clone();
        secret(&mut stage.land(), "another-secret-of-more-than-32-characters");
        let kind = ConditionType::CredentialsValid;
        let words = "the answer is not LiveKit's API's";
        told(&mut stage, 30_000, kind, Truth::False, Reason::CredentialsRefused, words).await;
        told(&mut stage, 1_000, ConditionType::Stalled, Truth::True, Reason::CredentialsRefused, words).await;
        stage.pass_time(60_000).await;
        let rooms = (done(&stage, "CreateRoom"), done(&stage, "DeleteRoom"));
        assert_eq!((rooms, done(&stage, "StartEgress")), ((1, 0), 1));
        assert_eq!(counted(&stage), (1, 1, 1, 1), "what is on air stays there");
        let now = stage.status();
        assert_eq!((now.room, now.egress), (before.room, before.egress));
        secret(&mut stage.land(), &good);
        told(&mut stage, 60_000, kind, Truth::True, Reason::Accepted, "").await;
        reached(&mut stage, State::Live, 30_000).await;
        stage
    });
    // Without LiveKit nothing is begun, and a Live that was reached is not denied.
    case(|mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let until = stage.land().now + 120_000;
        stage.land().faults.silent.insert(Party::LiveKit, until);
        let kind = ConditionType::RoomReady;
        told(&mut stage, 40_000, kind, Truth::Unknown, Reason::ProviderNotAnswering, "LiveKit").await;
        stage.pass_time(60_000).await;
        assert_eq!(counted(&stage), (1, 1, 1, 1));
        assert_eq!(stage.status().state, Some(State::Live));
        stage.pass_time(60_000).await;
        reached(&mut stage, State::Live, 60_000).await;
        stage
    });
}

/// A quarter of a minute apart at most: an egress that runs on costs money.
#[test]
fn a_stop_that_livekit_refuses_is_tried_ever_more_rarely() {
    case(|mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        stage.land().faults.always = Some((Site::StopEgress, Fault::ServerError));
        stage.land().ask(JANE, State::Standby);
        stage.pass_time(40_000).await;
        let tried = calls(&stage, Site::StopEgress);
        assert!((4..=8).contains(&tried), "{tried} stops in 40 s");
        stage.land().faults.always = None;
        stage.pass_time(30_000).await;
        assert!(egresses(&stage).is_empty());
        stage
    });
}
