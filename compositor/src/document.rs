//! Which control documents are taken: a pure decision.

use memorialstream_compositor_protocol::{ControlDocument, Refusal, RefusalReason, SenderRequest};
use std::collections::HashSet;

/// How a document relates to the one that is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It replaces the applied one.
    Newer,
    /// It is the applied one again; nothing changes.
    Same,
}

/// Orders `next` after `applied`, or refuses it as outdated.
pub fn order(applied: Option<&ControlDocument>, next: &ControlDocument) -> Result<Order, Refusal> {
    let Some(applied) = applied.map(ControlDocument::key) else { return Ok(Order::Newer) };
    match next.key().cmp(&applied) {
        std::cmp::Ordering::Greater => Ok(Order::Newer),
        std::cmp::Ordering::Equal => Ok(Order::Same),
        std::cmp::Ordering::Less => Err(Refusal {
            reason: RefusalReason::Outdated,
            message: format!(
                "generation {} revision {} came after generation {} revision {} was applied; send a newer one",
                next.generation, next.revision, applied.generation, applied.revision
            ),
        }),
    }
}

/// Refuses `next` where `newest`, the newest request that had a revision, overtook it. One without a revision is taken
/// in whatever order it comes.
pub fn order_of_sender(newest: Option<&SenderRequest>, next: &SenderRequest) -> Result<(), Refusal> {
    let Some(newest) = newest.filter(|_| next.revision > 0) else { return Ok(()) };
    let why = match next.revision.cmp(&newest.revision) {
        std::cmp::Ordering::Greater => return Ok(()),
        std::cmp::Ordering::Equal if next.rtmp == newest.rtmp => return Ok(()),
        std::cmp::Ordering::Equal => "with another destination was taken",
        std::cmp::Ordering::Less => "was taken",
    };
    Err(refusal(
        RefusalReason::Outdated,
        format!(
            "the sender's revision {} came after revision {} {why}; send a newer one",
            next.revision, newest.revision
        ),
    ))
}

/// Refuses a document that could not be shown.
pub fn check(document: &ControlDocument) -> Result<(), Refusal> {
    let mut names = HashSet::new();
    for camera in &document.cameras {
        if [&camera.name, &camera.identity].into_iter().any(|text| text.is_empty() || has_control(text)) {
            return Err(refusal(
                RefusalReason::Malformed,
                format!("camera {:?} needs a name and an identity without control characters", camera.name),
            ));
        }
        if !names.insert(camera.name.as_str()) {
            return Err(refusal(
                RefusalReason::Malformed,
                format!("camera {} is declared twice", camera.name),
            ));
        }
    }
    let capacity = document.program.layout.capacity();
    let wanted = document.program.sources.len();
    if wanted > capacity {
        return Err(refusal(
            RefusalReason::TooManySources,
            format!(
                "layout {:?} shows {capacity} source(s), and {wanted} are asked for",
                document.program.layout
            ),
        ));
    }
    let mut asked = document.program.sources.iter().chain(&document.program.fallback);
    match asked.find(|name| !names.contains(name.as_str())) {
        Some(unknown) => Err(refusal(
            RefusalReason::UnknownCamera,
            format!("{unknown} is no declared camera; declare it first, or TAKE another one"),
        )),
        None => Ok(()),
    }
}

/// Refuses a destination that no RTMP sender reaches. The URL stays out of the refusal: it might hold a key.
pub fn check_sender(request: &SenderRequest) -> Result<(), Refusal> {
    let is_rtmp = |url: &str| {
        let host = url.strip_prefix("rtmp://").or_else(|| url.strip_prefix("rtmps://"));
        host.and_then(|rest| rest.split_once('/'))
            .is_some_and(|(host, app)| !host.is_empty() && !app.is_empty())
    };
    match &request.rtmp {
        Some(destination) if !is_rtmp(&destination.url) => Err(refusal(
            RefusalReason::Malformed,
            "the sender's url has to be rtmp://host[:port]/app or rtmps://host[:port]/app".into(),
        )),
        Some(destination) if destination.stream_key.reveal().is_empty() => {
            Err(refusal(RefusalReason::Malformed, "the sender's streamKey is empty".into()))
        }
        Some(_) | None => Ok(()),
    }
}

/// GStreamer's names and properties, and those of threads, take no NUL; nobody needs the others.
fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn refusal(reason: RefusalReason, message: String) -> Refusal {
    Refusal { reason, message }
}

/// Documents for tests.
#[cfg(test)]
pub(crate) mod fixture {
    use memorialstream_compositor_protocol::{
        Audio, Camera, ControlDocument, Layout, PROTOCOL_VERSION, Program, Room, Secret, Slate, SlateText,
    };

    /// A document that declares `cameras` and shows the slate, changed by `change`.
    pub(crate) fn document(
        generation: u64,
        revision: u64,
        cameras: &[&str],
        change: impl FnOnce(&mut ControlDocument),
    ) -> ControlDocument {
        let camera = |name: &&str| Camera {
            name: name.to_string(),
            identity: format!("camera-{name}"),
            token: Secret::new(format!("token-{name}")),
        };
        let mut document = ControlDocument {
            protocol_version: PROTOCOL_VERSION,
            generation,
            revision,
            session: 1,
            room: Room {
                url: "ws://127.0.0.1:1".into(),
                name: "room".into(),
                program_token: Secret::new("token"),
            },
            cameras: cameras.iter().map(camera).collect(),
            program: Program { layout: Layout::Single, sources: Vec::new(), fallback: Vec::new() },
            slate: Slate {
                before: "Before".into(),
                interrupted: "Interrupted".into(),
                ended: "Ended".into(),
                text: SlateText::Before,
            },
            audio: Audio { enabled: true },
        };
        change(&mut document);
        document
    }
}

#[cfg(test)]
mod tests {
    use super::{fixture::document, *};

    #[test]
    fn documents_are_ordered_by_generation_then_revision() {
        let applied = document(5, 3, &[], |_| {});
        for (generation, revision, expected) in [
            (5, 4, Some(Order::Newer)),
            (6, 0, Some(Order::Newer)),
            (5, 3, Some(Order::Same)),
            (5, 2, None),
            (4, 9, None),
        ] {
            let result = order(Some(&applied), &document(generation, revision, &[], |_| {}));
            match expected {
                Some(expected) => assert_eq!(result, Ok(expected), "({generation}, {revision})"),
                None => assert_eq!(
                    result.unwrap_err().reason,
                    RefusalReason::Outdated,
                    "({generation}, {revision})"
                ),
            }
        }
        assert_eq!(order(None, &applied), Ok(Order::Newer));
    }

    #[test]
    fn only_rtmp_is_sent_to() {
        use memorialstream_compositor_protocol::{RtmpDestination, Secret};
        for (url, key, is_good) in [
            ("rtmp://198.18.0.1:1935/app", "key", true),
            ("rtmps://ingest.example:443/app", "key", true),
            ("https://ingest.example/app", "key", false),
            ("rtmp://ingest.example", "key", false),
            ("rtmp:///app", "key", false),
            ("rtmp://ingest.example/app", "", false),
        ] {
            let rtmp = Some(RtmpDestination { url: url.into(), stream_key: Secret::new(key) });
            let request = SenderRequest { rtmp, ..SenderRequest::default() };
            assert_eq!(check_sender(&request).is_ok(), is_good, "{url} {key}");
        }
        assert_eq!(check_sender(&SenderRequest::default()), Ok(()));
    }

    #[test]
    fn a_request_to_the_sender_that_was_overtaken_is_refused() {
        use memorialstream_compositor_protocol::{RtmpDestination, Secret};
        let request = |revision, key: &str| {
            let rtmp = RtmpDestination { url: "rtmp://host/app".into(), stream_key: Secret::new(key) };
            SenderRequest { revision, rtmp: (!key.is_empty()).then_some(rtmp) }
        };
        let off = request(5, "");
        for (next, is_taken) in [
            (request(6, "a"), true),
            (request(5, ""), true),
            (request(5, "a"), false),
            (request(4, "a"), false),
            (request(4, ""), false),
            (request(0, "a"), true),
        ] {
            let result = order_of_sender(Some(&off), &next);
            assert_eq!(result.is_ok(), is_taken, "{next:?}");
            assert_eq!(order_of_sender(None, &next), Ok(()));
        }
        let refusal = order_of_sender(Some(&off), &request(4, "key-of-a-test")).unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::Outdated);
        assert!(!refusal.message.contains("key-of-a-test"));
    }

    #[test]
    fn what_cannot_be_shown_is_refused() {
        type Case = (&'static str, fn(&mut ControlDocument), Option<RefusalReason>);
        let cases: [Case; 9] = [
            ("the slate", |_| {}, None),
            ("a declared camera", |document| document.program.sources = vec!["a".into()], None),
            (
                "a stranger",
                |document| document.program.sources = vec!["x".into()],
                Some(RefusalReason::UnknownCamera),
            ),
            (
                "a strange fallback",
                |document| document.program.fallback = vec!["a".into(), "x".into()],
                Some(RefusalReason::UnknownCamera),
            ),
            (
                "two sources",
                |document| document.program.sources = vec!["a".into(), "b".into()],
                Some(RefusalReason::TooManySources),
            ),
            (
                "a camera without a name",
                |document| document.cameras[0].name.clear(),
                Some(RefusalReason::Malformed),
            ),
            (
                "a name with NUL",
                |document| document.cameras[0].name = "a\0".into(),
                Some(RefusalReason::Malformed),
            ),
            (
                "an identity with NUL",
                |document| document.cameras[0].identity = "\0".into(),
                Some(RefusalReason::Malformed),
            ),
            (
                "a camera twice",
                |document| document.cameras.push(document.cameras[0].clone()),
                Some(RefusalReason::Malformed),
            ),
        ];
        for (name, change, expected) in cases {
            let result = check(&document(1, 0, &["a", "b"], change));
            assert_eq!(result.err().map(|refusal| refusal.reason), expected, "{name}");
        }
    }
}
