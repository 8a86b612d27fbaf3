//! The engine without LiveKit: coloured cameras in, pixels at the encoder's input out.

#[cfg(test)]
mod support;

use memorialstream_compositor_protocol::{DocumentKey, RefusalReason, SlateText, SourceState};
use std::time::Duration;
use support::{
    BLUE, Colour, Ear, GREEN, Monitor, RED, SIZE, apply, assert_hardly_any_is_missing, colours, document,
    eventually, near, shows, shows_slate, start, take, video,
};

#[test]
fn a_take_is_one_whole_frame_and_is_acknowledged_with_it() {
    let (engine, opened) = start(document(1, &["red", "green"], |_| {}));
    let monitor = Monitor::of(&engine);
    let _cameras = colours(opened);
    monitor.wait_for("the slate", |seen| seen.bright > 50);
    for generation in 2..40 {
        let (name, colour) = if generation % 2 == 0 { ("red", RED) } else { ("green", GREEN) };
        let before = monitor.frames().len();
        let (_, arrived) = apply(&engine, take(generation, &["red", "green"], name, &[]));
        assert_eq!(*arrived.composition.shown, shows(name));
        monitor.frame_of(&arrived);
        for seen in &monitor.frames()[before..] {
            if seen.presentation >= arrived.presentation.nseconds() {
                assert!(seen.is(colour), "generation {generation}: {seen:?}");
            } else {
                assert!(!seen.is(colour), "shown before it was acknowledged: {seen:?}");
            }
        }
    }
    assert_hardly_any_is_missing(&monitor.frames());
}

#[test]
fn a_stalled_camera_gives_way_to_fallback_then_slate_and_comes_back() {
    let (engine, opened) = start(document(1, &["red", "green"], |_| {}));
    let monitor = Monitor::of(&engine);
    let cameras = colours(opened);
    apply(&engine, take(2, &["red", "green"], "red", &["green"]));
    monitor.wait_for("red", |seen| seen.is(RED));

    let from = monitor.frames().len();
    cameras[0].stall(true);
    monitor.wait_for("the fallback", |seen| seen.is(GREEN));
    let stalled = engine.sources().remove(0);
    assert_eq!(stalled.state, SourceState::Stalled);
    let hold = u64::from(video().stall_hold_milliseconds);
    assert!(stalled.input_age_milliseconds.is_some_and(|age| age >= hold), "it was held on air: {stalled:?}");
    let frames = monitor.frames();
    assert!(frames[from..].iter().all(|seen| seen.is(RED) || seen.is(GREEN)), "neither black nor slate");

    cameras[1].stall(true);
    monitor.wait_for("the slate", |seen| seen.bright > 50 && !seen.is(GREEN));
    let newest = engine.frames().1.unwrap();
    assert_eq!(*newest.composition.shown, shows_slate(SlateText::Interrupted));
    assert_eq!(
        newest.composition.key,
        DocumentKey { generation: 2, revision: 0 },
        "the document is the same"
    );

    cameras[0].stall(false);
    monitor.wait_for("red again", |seen| seen.is(RED));
    assert_eq!(engine.sources()[0].state, SourceState::Live);
}

#[test]
fn a_camera_that_left_is_absent_and_its_last_picture_is_gone() {
    let (engine, opened) = start(take(1, &["red"], "red", &[]));
    let monitor = Monitor::of(&engine);
    let cameras = colours(opened);
    monitor.wait_for("red", |seen| seen.is(RED));
    drop(cameras);
    monitor.wait_for("the slate", |seen| !seen.is(RED));
    let source = engine.sources().remove(0);
    assert_eq!(source.state, SourceState::Absent);
    assert!(source.input_age_milliseconds.is_some_and(|age| age > 0));
}

#[test]
fn a_refused_document_leaves_the_picture_as_it_was() {
    let (engine, opened) = start(take(5, &["red"], "red", &[]));
    let monitor = Monitor::of(&engine);
    let _cameras = colours(opened);
    monitor.wait_for("red", |seen| seen.is(RED));
    for (document, reason) in [
        (take(4, &["red"], "red", &[]), RefusalReason::Outdated),
        (take(6, &["red"], "stranger", &[]), RefusalReason::UnknownCamera),
        (
            document(6, &["red"], |document| document.program.sources = vec!["red".into(); 2]),
            RefusalReason::TooManySources,
        ),
    ] {
        assert_eq!(engine.want(document).err().map(|refusal| refusal.reason), Some(reason));
    }
    assert!(monitor.wait_for("a frame", |_| true).is(RED));
    assert_eq!(engine.document().generation, 5);
}

#[test]
fn cameras_come_and_go_while_program_runs() {
    let (engine, opened) = start(take(1, &["red"], "red", &[]));
    let monitor = Monitor::of(&engine);
    let _red = colours(opened);
    monitor.wait_for("red", |seen| seen.is(RED));
    let from = monitor.frames().len();
    for round in 0..10 {
        let (mut opened, _) = apply(&engine, take(2 + round * 2, &["red", "extra"], "red", &[]));
        let extra = Colour::start(opened.remove(0).feed, BLUE, SIZE, true);
        eventually("the new camera sends", || extra.pictures() > 2);
        let (opened, _) = apply(&engine, take(3 + round * 2, &["red"], "red", &[]));
        assert!(opened.is_empty());
        assert_eq!(engine.sources().len(), 1);
    }
    let frames = monitor.frames();
    assert!(frames[from..].iter().all(|seen| seen.is(RED)), "Program flickered");
    assert_hardly_any_is_missing(&frames);
}

#[test]
fn a_camera_may_be_called_like_anything_and_be_removed_and_added_again_at_once() {
    let longest = "a".repeat(63);
    let nearly = format!("{}-", &longest[..62]);
    let names = [
        "slate-before",
        "slate-interrupted",
        "slate-ended",
        "program",
        "mix",
        "compositor",
        "audiomixer",
        "encoder",
        "encoded-video",
        "raw-audio",
        "input-0",
        "input-1",
        "video-a",
        "a",
        "a-b",
        "a--b",
        "ab",
        &longest,
        &nearly,
        "capsfilter0",
        "queue0",
        "sink_0",
        "camera-a",
        "publisher",
        "sender",
    ];
    let (engine, _) = start(document(1, &names[..9], |_| {}));
    let mut generation = 1;
    for names in names.chunks(9) {
        // Nothing waits for a frame between these: inputs that are on their way out are still there.
        for declared in [names, &[], names, &names[..1], names] {
            generation += 1;
            let (_, opened) = engine.want(document(generation, declared, |_| {})).unwrap();
            assert!(opened.iter().all(|opened| declared.contains(&opened.camera.name.as_str())));
            assert_eq!(engine.sources().len(), declared.len());
        }
    }
    apply(&engine, document(generation + 1, &[], |_| {}));
    let monitor = Monitor::of(&engine);
    let (opened, _) = apply(&engine, take(generation + 2, &["slate-before"], "slate-before", &[]));
    let _cameras = colours(opened);
    monitor.wait_for("the camera", |seen| seen.is(RED));
    assert!(engine.fault(Duration::from_millis(1)).is_none());
}

#[test]
fn a_removed_camera_that_is_shown_is_gone_with_the_document() {
    let (engine, opened) = start(take(1, &["red", "green"], "red", &[]));
    let monitor = Monitor::of(&engine);
    let _cameras = colours(opened);
    monitor.wait_for("red", |seen| seen.is(RED));
    let (_, arrived) = apply(&engine, take(2, &["green"], "green", &[]));
    assert_eq!(*arrived.composition.shown, shows("green"));
    assert!(monitor.wait_for("a frame", |_| true).is(GREEN));
}

#[test]
fn a_portrait_camera_is_shown_whole_between_black_bars_and_may_rotate() {
    let (engine, mut opened) = start(take(1, &["phone"], "phone", &[]));
    let monitor = Monitor::of(&engine);
    let feed = opened.remove(0).feed;
    let upright = Colour::start(feed.clone(), RED, (180, 320), false);
    monitor.wait_for("red between bars", |seen| seen.is(RED) && near(seen.left_edge, 0));
    drop(upright);
    let _sideways = Colour::start(feed, RED, (640, 360), false);
    monitor.wait_for("red all over", |seen| seen.is(RED) && near(seen.left_edge, RED));
    assert!(!engine.sources()[0].has_audio, "a camera without sound is as good as any other");
}

#[test]
fn the_slate_changes_its_text_with_the_document() {
    let (engine, _) = start(document(1, &[], |document| document.slate.before = "Soon".into()));
    let monitor = Monitor::of(&engine);
    let short = monitor.wait_for("the slate", |seen| seen.bright > 20).bright;
    let (_, arrived) = apply(
        &engine,
        document(2, &[], |document| {
            document.slate.before = "The service will begin at eleven".into();
        }),
    );
    let first = monitor.frame_of(&arrived);
    assert!(
        first.bright > short * 2,
        "the acknowledged frame has the new text: {} after {short}",
        first.bright
    );
    assert_eq!(*arrived.composition.shown, shows_slate(SlateText::Before));
    let (_, arrived) = apply(&engine, document(3, &[], |document| document.slate.text = SlateText::Ended));
    assert_eq!(*arrived.composition.shown, shows_slate(SlateText::Ended));
}

#[test]
fn sound_follows_program_and_the_slate_is_silent() {
    let (engine, opened) = start(document(1, &["red", "green"], |_| {}));
    let ear = Ear::of(&engine);
    let mut opened = opened.into_iter();
    let _loud = Colour::start(opened.next().unwrap().feed, RED, SIZE, true);
    let _mute = Colour::start(opened.next().unwrap().feed, GREEN, SIZE, false);
    eventually("the cameras send", || {
        engine.sources().iter().all(|source| source.state == SourceState::Live)
    });
    eventually("sound arrives", || engine.sources()[0].has_audio);
    let is =
        |loud: bool| move |loudness: f64| if loud { (0.2..0.5).contains(&loudness) } else { loudness == 0.0 };
    let cameras = ["red", "green"];
    assert!(is(false)(ear.loudness()), "the slate is silent");
    apply(&engine, take(2, &cameras, "red", &[]));
    eventually("the camera is heard", || is(true)(ear.loudness()));
    apply(&engine, take(3, &cameras, "green", &[]));
    eventually("a camera without sound is silent", || is(false)(ear.loudness()));
    let mut without = take(4, &cameras, "red", &[]);
    without.audio.enabled = false;
    let (_, arrived) = apply(&engine, without);
    assert_eq!(*arrived.composition.shown, shows("red"));
    assert!((0..50).all(|_| ear.loudness() == 0.0), "sound is off");
    assert!(engine.fault(Duration::from_millis(1)).is_none());
}
