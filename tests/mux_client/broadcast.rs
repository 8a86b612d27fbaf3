//! A real encoder at the ingest, and a viewer.

use crate::support::{Encoder, Stage, eventually, new};
use memorialstream_lab::Viewer;
use memorialstream_operator::providers::ErrorClass;
use memorialstream_operator::providers::mux::{
    Asset, LatencyMode, LiveStream, LiveStreamStatus, LiveStreamUpdate, NewLiveStream,
};
use std::fs;
use std::path::Path;

impl Stage {
    fn viewer(&self, playback_id: &str) -> Viewer {
        let url = format!("{}/{playback_id}.m3u8", self.lab.mux.playback_base_url);
        Viewer::new(&url).expect("a viewer")
    }

    async fn is_active(&self, stream: &LiveStream) -> LiveStream {
        self.until("active", stream, |now| now.status == LiveStreamStatus::Active).await
    }

    async fn only_asset(&self, stream: &LiveStream) -> Asset {
        let mut assets = self.client.assets_of_live_stream(&stream.id).await.expect("assets");
        assert_eq!(assets.len(), 1, "{assets:?}");
        assets.remove(0)
    }

    async fn encoders(&self, stream: &LiveStream) -> usize {
        let all = self.admin.streams().await.expect("the simulator's streams");
        all.iter().filter(|one| one.id == stream.id).map(|one| one.encoders).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_leads_from_idle_to_active_and_complete_ends_it() {
    let stage = Stage::enter().await;
    let stream = stage.create("broadcast").await;
    let viewer = stage.viewer(&stream.playback_ids[0].id);
    assert_eq!(viewer.status().await.expect("an answer"), 412);

    let encoder = stage.encoder(&stream);
    let connected = stage.until("connected", &stream, |now| now.connected == Some(true)).await;
    let asset = connected.active_asset_id.expect("an asset from the connection on");
    let active = stage.is_active(&stream).await;
    assert_eq!(active.active_asset_id.as_ref(), Some(&asset));
    let filtered = stage.client.live_streams_with_status(&LiveStreamStatus::Active).await.expect("list");
    assert!(filtered.iter().any(|one| one.id == stream.id));
    assert_eq!(viewer.status().await.expect("an answer"), 200);
    let first = viewer.newest_segment_number().await.expect("a segment");
    eventually("the broadcast goes on", async || {
        let now = viewer.newest_segment_number().await.map_err(|error| format!("{error:#}"))?;
        if now > first { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    viewer.picture(320, 180).await.expect("a picture");
    let live = stage.only_asset(&stream).await;
    assert!(live.is_live && live.id == asset, "{live:?}");

    let change = LiveStreamUpdate { latency_mode: Some(LatencyMode::Low), ..LiveStreamUpdate::default() };
    let refused = stage.client.update_live_stream(&stream.id, &change).await.expect_err("it is active");
    assert_eq!(refused.class, ErrorClass::Terminal);

    drop(encoder);
    stage.until("disconnected", &stream, |now| now.connected.is_none()).await;
    assert_eq!(stage.get(&stream).await.status, LiveStreamStatus::Active, "the window is open");
    stage.client.complete_live_stream(&stream.id).await.expect("complete");
    assert_eq!(stage.get(&stream).await.status, LiveStreamStatus::Idle);
    assert_eq!(viewer.status().await.expect("an answer"), 412);

    let recorded = stage.only_asset(&stream).await;
    assert_eq!((recorded.is_live, recorded.status.as_str()), (false, "ready"));
    assert_eq!(recorded.passthrough, stream.passthrough);
    let recording = stage.viewer(&recorded.playback_ids[0].id);
    let playlist = playlist(&recording).await;
    assert!(playlist.contains("#EXT-X-MEDIA-SEQUENCE:0\n"), "{playlist}");
    assert!(playlist.ends_with("#EXT-X-ENDLIST\n"), "{playlist}");
    recording.picture(320, 180).await.expect("a picture of the recording");
    stage.client.delete_asset(&recorded.id).await.expect("delete the recording");
    assert_eq!(recording.status().await.expect("an answer"), 404);
    stage.leave(&[stream]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_comes_back_goes_on_with_its_recording() {
    let stage = Stage::enter().await;
    let stream = stage.create("reconnect").await;
    let first = stage.encoder(&stream);
    stage.is_active(&stream).await;
    drop(first);
    stage.until("disconnected", &stream, |now| now.connected.is_none()).await;
    let second = stage.encoder(&stream);
    stage.until("connected again", &stream, |now| now.connected == Some(true)).await;
    assert!(stage.only_asset(&stream).await.is_live);
    let viewer = stage.viewer(&stream.playback_ids[0].id);
    eventually("both parts can be watched", async || {
        let playlist = playlist(&viewer).await;
        if playlist.contains("#EXT-X-DISCONTINUITY\n") { Ok(()) } else { Err(playlist) }
    })
    .await;
    // A second encoder replaces one that is still connected.
    let third = stage.encoder(&stream);
    second.ends().await;
    stage.until("connected", &stream, |now| now.connected == Some(true)).await;
    assert_eq!(stage.encoders(&stream).await, 1);
    assert!(stage.only_asset(&stream).await.is_live);
    drop(third);
    stage.leave(&[stream]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_window_the_next_encoder_starts_a_new_recording() {
    let stage = Stage::enter().await;
    let wanted = NewLiveStream { reconnect_window_seconds: 0, ..new("no-window") };
    let stream = stage.client.create_live_stream(&wanted).await.expect("create");
    let encoder = stage.encoder(&stream);
    stage.is_active(&stream).await;
    drop(encoder);
    stage.until("idle", &stream, |now| now.status == LiveStreamStatus::Idle).await;
    let _encoder = stage.encoder(&stream);
    stage.is_active(&stream).await;
    let assets = stage.client.assets_of_live_stream(&stream.id).await.expect("assets");
    assert_eq!(assets.iter().filter(|asset| asset.is_live).count(), 1);
    assert_eq!(assets.len(), 2);
    stage.leave(&[stream]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_send_is_kept_out_or_cut_off() {
    let stage = Stage::enter().await;
    let stream = stage.create("refusal").await;
    Encoder::start(&format!("{}/00000000-0000-4000-8000-000000000000", stage.lab.mux.rtmp_url)).ends().await;

    stage.client.disable_live_stream(&stream.id).await.expect("disable");
    stage.encoder(&stream).ends().await;
    assert!(stage.client.assets_of_live_stream(&stream.id).await.expect("assets").is_empty());

    stage.client.enable_live_stream(&stream.id).await.expect("enable");
    let encoder = stage.encoder(&stream);
    stage.is_active(&stream).await;
    stage.client.disable_live_stream(&stream.id).await.expect("disable");
    encoder.ends().await;
    assert_eq!(stage.get(&stream).await.status, LiveStreamStatus::Disabled);
    assert!(!stage.only_asset(&stream).await.is_live);

    stage.client.enable_live_stream(&stream.id).await.expect("enable");
    let encoder = stage.encoder(&stream);
    stage.is_active(&stream).await;
    stage.client.delete_live_stream(&stream.id).await.expect("delete");
    encoder.ends().await;
    let assets = stage.client.assets_of_live_stream(&stream.id).await.expect("assets");
    assert_eq!(assets.iter().map(|asset| asset.is_live).collect::<Vec<_>>(), [false, false]);
    stage.encoder(&stream).ends().await;
    stage.leave(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_that_is_killed_has_no_encoders() {
    let stage = Stage::enter().await;
    let stream = stage.create("ingest").await;
    let encoder = stage.encoder(&stream);
    stage.is_active(&stream).await;
    stage.lab.stop_process("nginx-rtmp").expect("stop it");
    encoder.ends().await;
    stage.until("disconnected", &stream, |now| now.connected.is_none()).await;
    stage.lab.start_process("nginx-rtmp").expect("start it again");
    let _encoder = stage.encoder(&stream);
    stage.until("connected", &stream, |now| now.connected == Some(true)).await;
    assert!(stage.only_asset(&stream).await.is_live);
    stage.leave(&[stream]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_key_stands_in_no_log_and_no_file_name() {
    let stage = Stage::enter().await;
    let stream = stage.create("key").await;
    let encoder = stage.encoder(&stream);
    stage.is_active(&stream).await;
    stage.client.disable_live_stream(&stream.id).await.expect("disable");
    encoder.ends().await;
    stage.encoder(&stream).ends().await;
    let key = stream.stream_key.reveal();
    let mut seen = 0;
    for folder in [stage.lab.logs.clone(), stage.lab.folder.join("hls")] {
        for path in files(&folder) {
            assert!(!path.to_string_lossy().contains(key), "a file name holds the key");
            let content = fs::read(&path).expect("a file");
            assert!(!content.windows(key.len()).any(|part| part == key.as_bytes()), "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 2, "{seen} files were looked at");
    stage.leave(&[stream]).await;
}

async fn playlist(viewer: &Viewer) -> String {
    viewer.media_playlist().await.expect("a playlist")
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}
