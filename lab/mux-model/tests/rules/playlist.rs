//! What viewers see: the media of an encoder, Mux's own picture, or nothing new.

use crate::support::{Environment, at};
use memorialstream_mux_model::{MediaKind, MediaPlaylist, Method, Playback, PublishRefusal, Shown, Source};
use serde_json::{Value, json};
use std::time::Duration;

const SEGMENT: Duration = Duration::from_secs(5);

struct Watched {
    mux: Environment,
    stream: Value,
    viewer: String,
}

impl Watched {
    /// An active stream with 12 s of content.
    fn new(mut body: Value) -> Self {
        let mut mux = Environment::new();
        body["playback_policies"] = json!(["public"]);
        let stream = mux.create(body);
        let viewer = stream["playback_ids"][0]["id"].as_str().expect("a playback id").to_owned();
        mux.sends(&stream, "one", 12);
        Self { mux, stream, viewer }
    }

    fn playback(&mut self) -> Playback<MediaPlaylist> {
        self.mux.model.media_playlist(self.mux.now, &self.viewer)
    }

    fn playlist(&mut self) -> MediaPlaylist {
        match self.playback() {
            Playback::Plays(playlist) => playlist,
            other => panic!("{other:?}"),
        }
    }

    fn shown(&mut self) -> Shown {
        let now = self.mux.now;
        self.playback().shows(now, SEGMENT)
    }

    /// The number after the newest segment's.
    fn end(&mut self) -> u64 {
        let playlist = self.playlist();
        playlist.media_sequence + playlist.segments
    }

    fn recording_times(&mut self) -> Vec<(String, f64)> {
        let asset = self.mux.assets(&self.stream).remove(0);
        let times = asset["recording_times"].as_array().expect("a list").clone();
        let one = |time: &Value| {
            let kind = time["type"].as_str().expect("a type").to_owned();
            (kind, time["duration"].as_f64().expect("a number"))
        };
        times.iter().map(one).collect()
    }
}

#[test]
fn a_playlist_grows_with_an_encoders_media_and_shows_its_newest_part() {
    let mut watched = Watched::new(json!({}));
    let first = watched.playlist();
    assert_eq!((first.media_sequence, first.segments, first.target_duration), (0, 2, SEGMENT));
    assert_eq!((first.newest, first.ended), (Some(MediaKind::Content), false));
    assert_eq!(watched.mux.now.duration_since(first.newest_at).as_secs(), 2);
    for second in 13..=60 {
        watched.mux.pass(1);
        watched.mux.media("one", second);
        assert_eq!(watched.shown(), Shown::Content, "after {second} s");
        assert_eq!(watched.end(), second / 5);
    }
    let later = watched.playlist();
    assert_eq!((later.media_sequence, later.segments), (6, 6), "half a minute is listed");
}

#[test]
fn an_address_that_does_not_play_shows_nothing() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({"playback_policies": ["public", "signed"]}));
    let id = |index: usize| stream["playback_ids"][index]["id"].as_str().expect("a playback id");
    let mut at = |id: &str| {
        let playback = mux.model.media_playlist(mux.now, id);
        assert_eq!(playback.shows(mux.now, Duration::from_secs(3_600)), Shown::Nothing);
        playback.status()
    };
    assert_eq!((at(id(0)), at(id(1)), at("nobody")), (412, 403, 404));
}

#[test]
fn with_standard_latency_the_playlist_stands_still_in_the_window() {
    let mut watched = Watched::new(json!({"latency_mode": "standard"}));
    watched.mux.leaves("one");
    let left = watched.playlist();
    assert_eq!(left.segments, 3, "what fills no segment is not lost");
    for _ in 0..59 {
        watched.mux.pass(1);
        assert_eq!(watched.playlist(), left);
    }
    assert_eq!(watched.shown(), Shown::Nothing);
    watched.mux.pass(1);
    assert_eq!(watched.playback(), Playback::NotActive);
    assert_eq!(watched.recording_times(), [("content".to_owned(), 12.0)]);
}

#[test]
fn muxs_slate_makes_the_playlist_grow_without_an_encoder() {
    for body in [
        json!({"latency_mode": "reduced", "reconnect_window": 60}),
        json!({"latency_mode": "low", "reconnect_window": 60}),
        json!({"use_slate_for_standard_latency": true}),
    ] {
        let mut watched = Watched::new(body.clone());
        watched.mux.leaves("one");
        assert_eq!(watched.mux.stream(&watched.stream)["status"], "active");
        assert_eq!(watched.end(), 3);
        for second in 1..60 {
            watched.mux.pass(1);
            assert_eq!(watched.end(), 3 + second / 5, "{body}");
            let expected = if second < 5 { Shown::Content } else { Shown::Slate };
            assert_eq!(watched.shown(), expected, "{body} after {second} s");
        }
        watched.mux.pass(1);
        assert_eq!(watched.playback(), Playback::NotActive);
        let times = [("content".to_owned(), 12.0), ("slate".to_owned(), 60.0)];
        assert_eq!(watched.recording_times(), times, "{body}");
    }
}

#[test]
fn a_slate_goes_on_until_media_comes_again() {
    let mut watched = Watched::new(json!({"latency_mode": "low", "reconnect_window": 60}));
    watched.mux.leaves("one");
    watched.mux.pass(7);
    watched.mux.publish(&watched.stream, "two").expect("let in");
    watched.mux.pass(10);
    assert_eq!(watched.shown(), Shown::Slate, "connected, but nothing has come");
    let end = watched.end();
    for second in 1..=5 {
        watched.mux.pass(1);
        watched.mux.media("two", second);
    }
    assert_eq!((watched.shown(), watched.end()), (Shown::Content, end + 1));
    let times = watched.recording_times();
    let expected = [("content", 12.0), ("slate", 18.0), ("content", 5.0)];
    assert_eq!(times, expected.map(|(kind, seconds)| (kind.to_owned(), seconds)));
    let Playback::Plays(program) = watched.mux.model.playback(&watched.viewer) else { panic!("it plays") };
    let from = Duration::ZERO;
    assert_eq!(program.recordings[2].source, Source::Encoder { connection: "two".to_owned(), from });
}

#[test]
fn the_window_decides_also_when_it_was_changed_meanwhile() {
    let mut watched = Watched::new(json!({"latency_mode": "low"}));
    let change = json!({"reconnect_window": 30});
    assert_eq!(watched.mux.call(Method::Patch, &at(&watched.stream, ""), change).status, 200);
    watched.mux.leaves("one");
    watched.mux.pass(29);
    assert_eq!(watched.shown(), Shown::Slate);
    watched.mux.pass(1);
    assert_eq!(watched.playback(), Playback::NotActive);
}

#[test]
fn an_encoder_that_falls_silent_may_be_hidden_by_the_slate() {
    for (after, expected) in [(None, Shown::Nothing), (Some(8.0), Shown::Slate)] {
        let mut watched = Watched::new(json!({"latency_mode": "low", "reconnect_window": 60}));
        watched.mux.change(|settings| settings.unknowns.slate_after_silence = after);
        watched.mux.pass(7);
        assert_eq!(watched.shown(), Shown::Nothing);
        watched.mux.pass(13);
        assert_eq!(watched.shown(), expected);
        assert_eq!(watched.mux.stream(&watched.stream)["connected"], true);
        watched.mux.media("one", 17);
        assert_eq!(watched.shown(), Shown::Content);
        watched.mux.pass(300);
        assert_eq!(watched.mux.dropped(), ["one"]);
        watched.mux.pass(20);
        assert_eq!(watched.shown(), Shown::Slate, "the window is open");
    }
}

#[test]
fn a_second_encoder_may_be_refused() {
    let mut watched = Watched::new(json!({}));
    watched.mux.change(|settings| settings.unknowns.second_encoder_is_refused = true);
    assert_eq!(watched.mux.publish(&watched.stream, "two"), Err(PublishRefusal::Occupied));
    watched.mux.leaves("one");
    watched.mux.publish(&watched.stream, "three").expect("let in");
}

#[test]
fn a_new_key_may_cut_off_who_came_with_the_old_one() {
    let mut watched = Watched::new(json!({}));
    let path = at(&watched.stream, "reset-stream-key");
    assert_eq!(watched.mux.call(Method::Post, &path, Value::Null).status, 201);
    assert!(watched.mux.dropped().is_empty());
    watched.mux.change(|settings| settings.unknowns.new_key_drops_encoder = true);
    assert_eq!(watched.mux.call(Method::Post, &path, Value::Null).status, 201);
    assert_eq!(watched.mux.dropped(), ["one"]);
    let stream = watched.mux.stream(&watched.stream);
    assert_eq!((&stream["status"], stream.get("connected")), (&json!("active"), None), "the window is open");
}
