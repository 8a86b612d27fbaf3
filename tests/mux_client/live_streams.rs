//! Everything that the client can ask, when nothing goes wrong.

use crate::support::{Stage, client, new};
use memorialstream_lab::Permissions;
use memorialstream_operator::providers::ErrorClass;
use memorialstream_operator::providers::mux::{
    LatencyMode, LiveStreamStatus, LiveStreamUpdate, NewLiveStream,
};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_is_made_changed_and_deleted() {
    let stage = Stage::enter().await;
    let wanted =
        NewLiveStream { latency_mode: LatencyMode::Reduced, reconnect_window_seconds: 90, ..new("life") };
    let stream = stage.client.create_live_stream(&wanted).await.expect("create");
    assert_eq!(stream.status, LiveStreamStatus::Idle);
    assert_eq!(stream.passthrough.as_deref(), Some(wanted.passthrough.as_str()));
    assert_eq!((stream.latency_mode, stream.reconnect_window()), (LatencyMode::Reduced, 90));
    assert_eq!(stream.playback_ids.len(), 1);
    assert_eq!(stream.playback_ids[0].policy, "public");
    assert!(!stream.stream_key.reveal().is_empty());
    assert_eq!(stage.get(&stream).await, stream);

    let update =
        LiveStreamUpdate { latency_mode: Some(LatencyMode::Low), reconnect_window_seconds: Some(1_800) };
    let updated = stage.client.update_live_stream(&stream.id, &update).await.expect("update");
    assert_eq!((updated.latency_mode, updated.reconnect_window()), (LatencyMode::Low, 1_800));
    assert_eq!(updated.stream_key.reveal(), stream.stream_key.reveal());

    stage.client.disable_live_stream(&stream.id).await.expect("disable");
    assert_eq!(stage.get(&stream).await.status, LiveStreamStatus::Disabled);
    let disabled = stage.client.live_streams_with_status(&LiveStreamStatus::Disabled).await.expect("list");
    assert!(disabled.iter().any(|one| one.id == stream.id));
    stage.client.enable_live_stream(&stream.id).await.expect("enable");
    assert_eq!(stage.get(&stream).await.status, LiveStreamStatus::Idle);
    stage.client.complete_live_stream(&stream.id).await.expect("complete");
    assert!(stage.client.assets_of_live_stream(&stream.id).await.expect("assets").is_empty());

    stage.client.delete_live_stream(&stream.id).await.expect("delete");
    assert_eq!(stage.client.live_stream(&stream.id).await.expect("get"), None);
    stage.client.delete_live_stream(&stream.id).await.expect("delete it again");
    assert!(stage.made(&wanted).await[0].deleted);
    stage.leave(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_live_streams_than_a_page_holds_are_all_found() {
    let stage = Stage::enter().await;
    let mut made = Vec::new();
    for number in 0..103 {
        made.push(stage.create(&format!("page-{number}")).await);
    }
    let found = stage.client.live_streams().await.expect("list");
    let ids: BTreeSet<&str> = found.iter().map(|stream| stream.id.as_str()).collect();
    assert_eq!(ids.len(), found.len(), "none is told twice");
    let missing: Vec<&str> =
        made.iter().map(|stream| stream.id.as_str()).filter(|id| !ids.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let lists = stage.requests(|one| one.method == "GET").await;
    assert_eq!(lists, 3, "what is concluded to be absent was looked for up to an empty page");
    stage.leave(&made).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_classed_by_what_is_to_be_done() {
    let stage = Stage::enter().await;
    let malformed = stage.client.live_stream("not-an-id").await.expect_err("malformed");
    assert_eq!(malformed.class, ErrorClass::Terminal);
    assert!(malformed.message.contains("invalid_parameters: Failed to parse ID"), "{malformed}");
    let invalid = NewLiveStream { reconnect_window_seconds: 1_801, ..new("invalid") };
    let refused = stage.client.create_live_stream(&invalid).await.expect_err("invalid");
    assert_eq!(refused.class, ErrorClass::Terminal);
    assert!(refused.message.contains("reconnect_window"), "{refused}");
    assert!(stage.made(&invalid).await.is_empty());
    stage.leave(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_seen_is_told_from_what_is_not_there() {
    let stage = Stage::enter().await;
    let stream = stage.create("permission").await;
    let mut settings = stage.settings.clone();
    settings.permissions = Permissions { video_read: false, video_write: false };
    stage.admin.set_settings(&settings).await.expect("take the permissions away");
    let id = stream.id.as_str();
    let failures = [
        stage.client.live_stream(id).await.expect_err("get").class,
        stage.client.live_streams().await.expect_err("list").class,
        stage.client.delete_live_stream(id).await.expect_err("delete").class,
        stage.client.disable_live_stream(id).await.expect_err("disable").class,
        stage.client.create_live_stream(&new("no-permission")).await.expect_err("create").class,
    ];
    assert_eq!(failures, [ErrorClass::Credentials; 5]);
    let whoami = stage.client.whoami().await.expect("whoami needs no permission");
    settings.permissions = Permissions { video_read: true, video_write: false };
    stage.admin.set_settings(&settings).await.expect("give reading back");
    let error = stage.client.delete_live_stream(id).await.expect_err("delete");
    assert_eq!(error.class, ErrorClass::Credentials, "{error}");
    stage.admin.set_settings(&stage.settings).await.expect("give writing back");
    assert_eq!(stage.get(&stream).await.id, stream.id);
    assert_eq!(stage.client.whoami().await.expect("whoami"), whoami);
    stage.leave(&[stream]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_in_muxs_words() {
    let stage = Stage::enter().await;
    let stream = stage.create("credentials").await;
    let good = stage.lab.mux.token_secret.clone();
    let rotated = stage.admin.rotate_token_secret().await.expect("rotate");
    let error = stage.client.live_stream(&stream.id).await.expect_err("the old secret");
    assert_eq!(error.class, ErrorClass::Credentials);
    assert!(error.message.contains("unauthorized: Unauthorized request"), "{error}");
    let error = stage.client.delete_live_stream(&stream.id).await.expect_err("the old secret");
    assert_eq!(error.class, ErrorClass::Credentials);
    let renewed = client(&stage.lab, rotated.reveal());
    assert!(renewed.live_stream(&stream.id).await.expect("the new secret").is_some());
    stage.admin.set_token_secret(&good).await.expect("bring the old one back");
    assert_eq!(stage.requests(|one| one.status == 401).await, 2, "nothing was tried again");
    stage.leave(&[stream]).await;
}
