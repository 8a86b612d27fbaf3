//! Mux: its live stream, its limits, its word about a broadcast.

use super::*;
use crate::director::spec;
use crate::operator::SYSTEM;
use crate::run::{TOKEN_B, is_reached, operators_account};
use memorialstream_mux_model::{Operation, Permissions};
use memorialstream_operator::api::spec::{LatencyMode, MuxSettings};
use std::sync::Mutex;

const STREAM: ConditionType = ConditionType::MuxStreamReady;
const ON_AIR: ConditionType = ConditionType::OnAir;
const EGRESS: ConditionType = ConditionType::EgressActive;

/// Case 1.
#[test]
fn a_create_whose_answer_was_lost_is_searched_for_and_its_stream_adopted() {
    let made = [Fault::ReplyLost, Fault::ServerErrorAfter, Fault::HangAfter, Fault::CrashAfter];
    for fault in made {
        case(|mut stage| async move {
            // Nobody can find it at once.
            stage.land().lists_lag(TOKEN, 25);
            strike(&mut stage.land(), Site::CreateStream, fault);
            stage.make_jane(State::Idle, Via::LiveKit);
            let words =
                "the answer to the creation of the Mux live stream was lost; it is being searched for";
            told(&mut stage, 60_000, STREAM, Truth::False, Reason::Searching, words).await;
            reached(&mut stage, State::Idle, 60_000).await;
            assert_eq!((done(&stage, "CreateStream"), streams_ever(&stage).len()), (1, 1), "{fault:?}");
            assert_eq!(events(&stage, "MuxStreamAdopted"), 1, "{fault:?}");
            assert_eq!(stage.status().mux.unwrap().stream_id, Some(stream(&stage).id));
            stage
        });
    }
    // Nothing was made, and nobody knows: the second create waits until a search may find nothing.
    for fault in [Fault::ServerError, Fault::Hang, Fault::CrashBefore] {
        case(|mut stage| async move {
            strike(&mut stage.land(), Site::CreateStream, fault);
            stage.make_jane(State::Idle, Via::LiveKit);
            stage.pass_time(34_000).await;
            assert_eq!(calls(&stage, Site::CreateStream), 1, "{fault:?}");
            reached(&mut stage, State::Idle, 60_000).await;
            assert_eq!((calls(&stage, Site::CreateStream), streams_ever(&stage).len()), (2, 1));
            stage
        });
    }
}

/// Case 2. Streams come newest first: each that is deleted from the first page moves one of the second page to the first
/// after that was read.
#[test]
fn a_stream_is_absent_only_after_two_full_scans_however_late_lists_and_pages_are() {
    let listed = |land: &Land| land.mux[TOKEN].model.requests(Operation::ListLiveStreams);
    case(|mut stage| async move {
        let newest = |land: &Land| {
            let all = land.mux[TOKEN].model.streams();
            all.into_iter().rev().find(|stream| !stream.deleted).unwrap().id
        };
        let (mut pages, mut others) = (0, false);
        look_closely(&mut stage.land(), move |land| {
            if !others && land.streams(JANE) == 1 {
                land.make_foreign_streams(TOKEN, 100);
                others = true;
            }
            let before = std::mem::replace(&mut pages, listed(land));
            if before < pages && !pages.is_multiple_of(2) {
                somebody_asks_mux(land, Method::Delete, &format!("/video/v1/live-streams/{}", newest(land)));
            } else if before < pages {
                land.make_foreign_streams(TOKEN, 1);
            }
            let mux = land.cluster.status(&jane()).mux;
            let creating = mux.and_then(|mux| mux.creating);
            creating.is_none_or(|intent| intent.absent_since.is_none())
        });
        strike(&mut stage.land(), Site::CreateStream, Fault::ReplyLost);
        stage.make_jane(State::Idle, Via::LiveKit);
        let words = "it was not found once, and is searched for once more";
        told(&mut stage, 60_000, STREAM, Truth::False, Reason::Searching, words).await;
        reached(&mut stage, State::Idle, 60_000).await;
        assert_eq!((done(&stage, "CreateStream"), streams_ever(&stage).len()), (1, 1));
        stage
    });
    // Whose id is known is asked for by it, however late the list is.
    case(|mut stage| async move {
        stage.land().lists_lag(TOKEN, 300);
        stage.make_jane(State::Idle, Via::LiveKit);
        reached(&mut stage, State::Idle, 10_000).await;
        stage.land().ask(JANE, State::Standby);
        reached(&mut stage, State::Standby, 20_000).await;
        assert_eq!(streams_ever(&stage).len(), 1);
        stage
    });
}

/// Case 3.
#[test]
fn of_two_streams_with_our_marker_the_recorded_one_is_kept_else_the_oldest() {
    let marker = "memorialstream/cluster-1/uid-1";
    case_that_breaks(&[Invariant::OneStream], |mut stage| async move {
        stage.make_jane(State::Idle, Via::LiveKit);
        reached(&mut stage, State::Idle, 60_000).await;
        let ours = stream(&stage).id;
        let address = stage.status().playback_url;
        stage.land().somebody_makes_a_stream(TOKEN, marker);
        // Almost ours, and somebody else's.
        stage.land().somebody_makes_a_stream(TOKEN, "memorialstream/cluster-1/uid-10");
        stage.land().somebody_makes_a_stream(TOKEN, "memorialstream/cluster-2/uid-1");
        there_are(&mut stage, 1_800_000, (1, 0, 0, 0)).await;
        assert_eq!(stream(&stage).id, ours);
        // The list in which it was found is looked at for a while.
        stage.land().ask(JANE, State::Standby);
        reached(&mut stage, State::Standby, 60_000).await;
        stage.pass_time(120_000).await;
        assert_eq!((done(&stage, "DeleteStream"), stage.status().playback_url), (1, address));
        assert_eq!(events(&stage, "MuxStreamSurplus"), 1);
        let others = stage.land().mux[TOKEN].model.streams();
        assert_eq!(others.iter().filter(|stream| !stream.deleted).count(), 3);
        stage
    });
    // Were the other one fed, it would be noticed.
    let fed = case_that_breaks(&[Invariant::OneStream, Invariant::SurplusUsed], |mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        let key = stage.land().somebody_makes_a_stream(TOKEN, marker).expect("a stream");
        stage.land().publish(&key, "encoder#1", JANE).expect("it is taken");
        stage
    });
    assert!(fed.violations.iter().any(|one| one.invariant == Invariant::SurplusUsed));
    case_that_breaks(&[Invariant::OneStream], |mut stage| async move {
        strike(&mut stage.land(), Site::CreateStream, Fault::ReplyLost);
        stage.land().lists_lag(TOKEN, 10);
        stage.make_jane(State::Idle, Via::LiveKit);
        stage.until(20_000, |land| land.streams(JANE) == 1).await.expect("a stream");
        let oldest = stream(&stage).id;
        stage.pass_time(3_000).await;
        stage.land().somebody_makes_a_stream(TOKEN, marker);
        // Both are seen at once.
        stage.land().lists_lag(TOKEN, 0);
        reached(&mut stage, State::Idle, 60_000).await;
        there_are(&mut stage, 60_000, (1, 0, 0, 0)).await;
        assert_eq!((stream(&stage).id, done(&stage, "CreateStream")), (oldest, 1));
        stage
    });
}

/// Case 4.
#[test]
fn a_status_that_conflicts_after_a_create_loses_no_stream() {
    for crash in [false, true] {
        case(|mut stage| async move {
            stage.make_jane(State::Idle, Via::LiveKit);
            look_closely(&mut stage.land(), move |land| {
                let sent = called(land, Site::CreateStream) > 0;
                if sent {
                    let fault = if crash { Fault::CrashBefore } else { Fault::SecondWriter };
                    land.faults.always = Some((Site::WriteStatus, fault));
                }
                !sent
            });
            let made = |land: &mut Land| land.streams(JANE) == 1;
            stage.until(20_000, made).await.expect("a stream");
            stage.pass_time(10_000).await;
            assert_eq!(stage.status().mux.unwrap().stream_id, None, "its id is lost");
            stage.land().faults.always = None;
            reached(&mut stage, State::Idle, 60_000).await;
            assert_eq!((done(&stage, "CreateStream"), streams_ever(&stage).len()), (1, 1));
            assert_eq!(events(&stage, "MuxStreamAdopted"), 1);
            let order = stage.land().coverage.order.clone();
            assert_eq!(order[0], "AddFinalizer", "what is paid comes after it: {order:?}");
            stage
        });
    }
}

/// Case 5.
#[test]
fn too_many_requests_are_told_and_met_with_patience_and_ends_go_first() {
    case(|mut stage| async move {
        stage.land().faults.always = Some((Site::CreateStream, Fault::TooMany));
        stage.make_jane(State::Idle, Via::LiveKit);
        let words = "Mux takes no more requests for now (429: Too many requests, retry later.)";
        told(&mut stage, 10_000, STREAM, Truth::False, Reason::RateLimited, words).await;
        stage.pass_time(60_000).await;
        let sent = calls(&stage, Site::CreateStream);
        assert!((5..=25).contains(&sent), "{sent} in a minute; Mux asked for 2 s each time");
        stage.land().faults.always = None;
        reached(&mut stage, State::Idle, 15_000).await;
        assert_eq!(streams_ever(&stage).len(), 1, "a 429 made nothing, and is simply repeated");
        stage
    });
    case(|mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        stage.land().faults.always = Some((Site::DisableStream, Fault::TooMany));
        stage.land().ask(JANE, State::Ended);
        let stopped = |land: &mut Land| land.senders(JANE) == 0;
        stage.until(12_000, stopped).await.expect("the sender does not wait for Mux");
        let asked = |land: &mut Land| land.faults.called.contains_key(&Site::DisableStream);
        stage.until(10_000, asked).await.expect("Mux is asked");
        stage.pass_time(500).await;
        let deleted = stage.land().coverage.actions.contains_key("DeletePod");
        assert!(deleted, "what else ends does so in the same pass");
        there_are(&mut stage, 30_000, (1, 0, 0, 0)).await;
        told(&mut stage, 10_000, STREAM, Truth::False, Reason::RateLimited, "Mux takes no more").await;
        assert_ne!(stage.status().state, Some(State::Ended), "the stream still takes ingest");
        stage.land().faults.always = None;
        reached(&mut stage, State::Ended, 20_000).await;
        assert_eq!(stream(&stage).status, "disabled");
        stage
    });
}

/// Case 6.
#[test]
fn refused_credentials_are_told_and_nothing_is_made_or_given_up() {
    let refused = "Mux refused the credentials (401: unauthorized: Unauthorized request)";
    let hidden = "Mux says 404, as it does when a token lacks a permission";
    for words in [refused, hidden] {
        case(|mut stage| async move {
            live(&mut stage, Via::LiveKit).await;
            let before = stage.status();
            let set = |land: &mut Land, good: bool| {
                let environment = land.mux.get_mut(TOKEN).unwrap();
                if words == refused {
                    let secret = if good { "secret-of-mux-for-token-a" } else { "another one" };
                    environment.model.set_token_secret(Secret::new(secret));
                } else {
                    let permissions = Permissions { video_read: good, video_write: good };
                    let settings = environment.model.settings().clone();
                    environment.model.set_settings(Settings { permissions, ..settings });
                }
            };
            set(&mut stage.land(), false);
            let credentials = ConditionType::CredentialsValid;
            // For five minutes it is taken for granted whose a token is.
            told(&mut stage, 400_000, credentials, Truth::False, Reason::CredentialsRefused, words).await;
            let stalled = ConditionType::Stalled;
            told(&mut stage, 1_000, stalled, Truth::True, Reason::CredentialsRefused, words).await;
            stage.pass_time(330_000).await;
            told(&mut stage, 1_000, credentials, Truth::False, Reason::CredentialsRefused, words).await;
            let now = stage.status();
            assert_eq!((now.mux, now.playback_url), (before.mux, before.playback_url), "it is not given up");
            assert_eq!((done(&stage, "CreateStream"), done(&stage, "DeleteStream")), (1, 0));
            assert_eq!(counted(&stage), (1, 1, 1, 1), "what is on air stays there");
            set(&mut stage.land(), true);
            told(&mut stage, 400_000, credentials, Truth::True, Reason::Accepted, "").await;
            reached(&mut stage, State::Live, 60_000).await;
            stage
        });
    }
    // A token of another environment sees none of our streams: they are not taken for gone.
    case(|mut stage| async move {
        stage.make_jane(State::Idle, Via::LiveKit);
        reached(&mut stage, State::Idle, 60_000).await;
        let before = stage.status().mux;
        stage.land().change_secret(SYSTEM, |data| {
            data.insert("MUX_TOKEN_ID".into(), TOKEN_B.into());
            data.insert("MUX_TOKEN_SECRET".into(), "secret-of-mux-for-token-b".into());
        });
        stage.land().ask(JANE, State::Standby);
        let words = "the credentials belong to Mux environment";
        let credentials = ConditionType::CredentialsValid;
        told(&mut stage, 60_000, credentials, Truth::False, Reason::EnvironmentChanged, words).await;
        stage.pass_time(60_000).await;
        assert_eq!(stage.status().mux.unwrap().stream_id, before.unwrap().stream_id);
        assert_eq!(done(&stage, "CreateStream"), 1);
        assert!(stage.land().mux[TOKEN_B].model.streams().is_empty());
        stage
    });
}

/// Case 7.
#[test]
fn a_stream_that_somebody_deleted_is_replaced_while_it_is_wanted_and_the_new_address_told() {
    for via in BOTH {
        case(|mut stage| async move {
            live(&mut stage, via).await;
            let (before, address) = (stream(&stage).id, stage.status().playback_url);
            stage.land().somebody_deletes_the_stream(JANE);
            told(&mut stage, 15_000, ON_AIR, Truth::False, Reason::Starting, "nothing reaches Mux yet").await;
            let again = |land: &mut Land| land.streams(JANE) == 1 && is_reached(land, &jane(), State::Live);
            stage.until(120_000, again).await.expect("Live on another stream");
            assert_eq!(events(&stage, "MuxStreamLost"), 1);
            assert_ne!(stream(&stage).id, before);
            assert_ne!(stage.status().playback_url, address);
            assert_eq!(events(&stage, "PlaybackUrl"), 2, "families must be told the new address");
            there_are(&mut stage, 60_000, (1, 1, 1, 1)).await;
            assert_eq!(stream(&stage).encoders, 1);
            stage
        });
    }
    case(|mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        stage.land().ask(JANE, State::Ended);
        reached(&mut stage, State::Ended, 60_000).await;
        stage.land().somebody_deletes_the_stream(JANE);
        stage.pass_time(1_300_000).await;
        assert_eq!(counted(&stage), (0, 0, 0, 0), "what is over needs no stream");
        let ready = ConditionType::Ready;
        told(&mut stage, 1_000, ready, Truth::True, Reason::Ended, "").await;
        stage
    });
}

/// Case 8.
#[test]
fn a_stream_that_somebody_disabled_is_enabled_again_and_a_test_streams_end_is_an_end() {
    for via in BOTH {
        case(|mut stage| async move {
            live(&mut stage, via).await;
            let starts = done(&stage, "StartEgress") + done(&stage, "StartSender");
            stage.land().somebody_disables_the_stream(JANE);
            stage.until(10_000, is_not_on_air).await.expect("it is told");
            let words = "the Mux live stream is being enabled";
            told(&mut stage, 1_000, STREAM, Truth::False, Reason::Enabling, words).await;
            assert_eq!(stage.status().state, Some(State::Live), "it is not an end");
            told(&mut stage, 90_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
            let again = done(&stage, "StartEgress") + done(&stage, "StartSender") - starts;
            assert!(again <= 2, "{again} starts");
            assert_eq!(done(&stage, "EnableStream"), 1);
            there_are(&mut stage, 10_000, (1, 1, 1, 1)).await;
            stage
        });
        case(|mut stage| async move {
            let mut spec = spec(Some(State::Live), via);
            spec.mux = Some(MuxSettings { test: Some(true), ..MuxSettings::default() });
            stage.land().make(&jane(), JANE, spec, operators_account(), None);
            reached(&mut stage, State::Live, 60_000).await;
            let words = "session 1 was Live and has ended; set spec.session to 2 to go live again";
            let ready = ConditionType::Ready;
            told(&mut stage, 400_000, ready, Truth::True, Reason::SessionEnded, words).await;
            assert_eq!(events(&stage, "TestStreamEnded"), 1);
            stage.pass_time(120_000).await;
            assert_eq!(done(&stage, "StartEgress") + done(&stage, "StartSender"), 1);
            assert_eq!((counted(&stage), stream(&stage).status), ((1, 0, 0, 0), "disabled".into()));
            stage
        });
    }
}

/// Case 9.
#[test]
fn a_key_that_somebody_reset_is_read_again_and_never_reset_by_us() {
    let resets = |stage: &Stage| stage.land().mux[TOKEN].model.requests(Operation::ResetStreamKey);
    let kept = |stage: &Stage| {
        let land = stage.land();
        let keys = land.cluster.secrets.iter().filter(|(key, _)| key.0 == "default");
        let mut keys = keys.filter_map(|(_, secret)| secret.data.get("stream-key").cloned());
        keys.next().expect("the kept key")
    };
    for via in BOTH {
        for cut in [false, true] {
            case(|mut stage| async move {
                live(&mut stage, via).await;
                let before = kept(&stage);
                stage.land().somebody_resets_the_key(JANE);
                if cut {
                    stage.land().cut_all_senders();
                    stage.until(10_000, is_not_on_air).await.expect("it is told");
                }
                let renewed =
                    |land: &mut Land| land.cluster.told.contains_key(&(jane(), "StreamKeyChanged".into()));
                stage.until(30_000, renewed).await.expect("the Event");
                stage.pass_time(5_000).await;
                told(&mut stage, 60_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
                there_are(&mut stage, 10_000, (1, 1, 1, 1)).await;
                assert_ne!(kept(&stage), before, "the Secret holds the new key");
                assert_eq!((resets(&stage), stream(&stage).encoders, stream(&stage).assets), (1, 1, 1));
                stage
            });
        }
    }
}

/// Case 10.
#[test]
fn an_end_completes_the_recording_only_once_the_sender_has_stopped() {
    for via in BOTH {
        let at_complete = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&at_complete);
        case(|mut stage| async move {
            live(&mut stage, via).await;
            look_closely(&mut stage.land(), move |land| {
                let completed = land.coverage.actions.contains_key("CompleteStream");
                if completed {
                    *seen.lock().unwrap() = Some((land.senders(JANE), land.mux[TOKEN].connections.len()));
                }
                !completed
            });
            stage.land().ask(JANE, State::Ended);
            let words = "the sender to Mux is being stopped";
            told(&mut stage, 10_000, EGRESS, Truth::False, Reason::Stopping, words).await;
            reached(&mut stage, State::Ended, 30_000).await;
            told(&mut stage, 1_000, ConditionType::Ready, Truth::True, Reason::Ended, "").await;
            // Whoever came back within the minute after `complete` would begin another recording.
            stage.pass_time(90_000).await;
            let stream = stream(&stage);
            assert_eq!((stream.assets, stream.live_assets, &*stream.status), (1, 0, "disabled"), "{via:?}");
            assert_eq!(counted(&stage), (1, 0, 0, 0));
            stage
        });
        assert_eq!(*at_complete.lock().unwrap(), Some((0, 0)), "{via:?}");
    }
}

/// Case 12.
#[test]
fn a_sender_that_is_back_within_the_window_goes_on_with_its_broadcast() {
    for via in BOTH {
        case(|mut stage| async move {
            stage.make_jane(State::Live, via);
            let words = "Mux receives the sender and is not active yet";
            told(&mut stage, 60_000, ON_AIR, Truth::False, Reason::Connecting, words).await;
            reached(&mut stage, State::Live, 60_000).await;
            stage.pass_time(5_000).await;
            let before = stage.status().egress.unwrap();
            stage.land().ingest_down = true;
            stage.land().cut_all_senders();
            let words = "; Mux ends the broadcast at ";
            told(&mut stage, 10_000, ON_AIR, Truth::False, Reason::Reconnecting, words).await;
            assert_eq!(stage.status().state, Some(State::Live), "it is not ended");
            stage.pass_time(8_000).await;
            stage.land().ingest_down = false;
            told(&mut stage, 40_000, ON_AIR, Truth::True, Reason::OnAir, "").await;
            let now = stage.status().egress.unwrap();
            assert_eq!((now.id, now.attempt), (before.id, before.attempt), "nobody interfered");
            assert_eq!((stream(&stage).assets, counted(&stage)), (1, (1, 1, 1, 1)));
            stage
        });
    }
}

/// Case 13.
#[test]
fn a_broadcast_that_goes_on_in_another_recording_is_the_same_service() {
    for via in BOTH {
        for completed in [false, true] {
            // Mux itself keeps an encoder waiting for a minute after `complete`.
            let broken: &[Invariant] = if completed { &[Invariant::Dark] } else { &[] };
            case_that_breaks(broken, |mut stage| async move {
                let mut spec = spec(Some(State::Live), via);
                spec.mux = Some(MuxSettings { reconnect_window_seconds: Some(5), ..MuxSettings::default() });
                stage.land().make(&jane(), JANE, spec, operators_account(), None);
                reached(&mut stage, State::Live, 60_000).await;
                let before = stage.status();
                let first = before.mux.clone().unwrap().active_asset_id;
                if completed {
                    let path = format!("/video/v1/live-streams/{}/complete", stream(&stage).id);
                    somebody_asks_mux(&mut stage.land(), Method::Put, &path);
                } else {
                    stage.land().ingest_down = true;
                    stage.land().cut_all_senders();
                    stage.pass_time(15_000).await;
                    stage.land().ingest_down = false;
                }
                let another = |land: &mut Land| {
                    let status = land.cluster.status(&jane());
                    let asset = status.mux.and_then(|mux| mux.active_asset_id);
                    asset.is_some() && asset != first && is_reached(land, &jane(), State::Live)
                };
                stage.until(240_000, another).await.expect("on air in another recording");
                let now = stage.status();
                assert_eq!((now.playback_url, now.ended_session), (before.playback_url, None));
                assert_eq!(stream(&stage).assets, 2);
                there_are(&mut stage, 10_000, (1, 1, 1, 1)).await;
                stage.land().ask(JANE, State::Ended);
                reached(&mut stage, State::Ended, 60_000).await;
                assert_eq!(stream(&stage).live_assets, 0);
                stage
            });
        }
    }
}

/// Case 14.
#[test]
fn a_latency_mode_that_is_asked_for_while_live_waits_and_says_so() {
    case(|mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        stage.land().say(JANE, |spec| {
            spec.mux.get_or_insert_default().latency_mode = Some(LatencyMode::Reduced);
        });
        let words = "changes of spec.mux.latencyMode wait until the broadcast is over";
        told(&mut stage, 15_000, ConditionType::Ready, Truth::True, Reason::Live, words).await;
        stage.pass_time(120_000).await;
        assert_eq!(calls(&stage, Site::UpdateStream), 0, "Mux would refuse it");
        assert_eq!(counted(&stage), (1, 1, 1, 1));
        stage.land().ask(JANE, State::Standby);
        reached(&mut stage, State::Standby, 60_000).await;
        let mode = |stage: &Stage| {
            let state = serde_json::to_value(stage.land().mux[TOKEN].model.state()).unwrap();
            state["streams"][stream(stage).id]["settings"]["latency_mode"].as_str().unwrap().to_owned()
        };
        stage.pass_time(40_000).await;
        assert_eq!((mode(&stage).as_str(), calls(&stage, Site::UpdateStream)), ("reduced", 1));
        told(&mut stage, 1_000, ConditionType::Ready, Truth::True, Reason::Standby, "").await;
        stage
    });
    // What Mux refuses for good is told, and not tried over and over.
    case(|mut stage| async move {
        live(&mut stage, Via::LiveKit).await;
        stage.land().faults.always = Some((Site::UpdateStream, Fault::Refused));
        stage.land().say(JANE, |spec| {
            spec.mux.get_or_insert_default().reconnect_window_seconds = Some(240);
        });
        let words = "Mux refused the request (400: ";
        told(&mut stage, 20_000, STREAM, Truth::False, Reason::Refused, words).await;
        stage.pass_time(120_000).await;
        assert_eq!(calls(&stage, Site::UpdateStream), 1);
        assert_eq!(counted(&stage), (1, 1, 1, 1), "it stays on air all the same");
        stage.land().faults.always = None;
        stage
    });
}
