//! What Program shows and whose sound it carries: a pure decision, made for every frame.

use memorialstream_compositor_protocol::{ControlDocument, Shown, SlateText};

/// What one frame of Program shows, and whose sound goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Cameras in the layout's order, or the slate.
    pub shown: Shown,
    /// The camera that is heard; nobody: silence.
    pub heard: Option<String>,
}

/// Decides what Program shows. `usable` says whether a camera can be put on air now.
///
/// The wanted sources come first, then the fallback in its order; where none is usable, the slate fills the
/// picture. [`SlateText::Ended`] says farewell: it fills the picture whatever the sources are.
pub fn decide(document: &ControlDocument, camera_was_shown: bool, usable: impl Fn(&str) -> bool) -> Picture {
    let ended = document.slate.text == SlateText::Ended;
    let mut sources: Vec<String> = Vec::new();
    // An empty `sources` asks for the slate, and a fallback stands in for a dead source only.
    if !ended && !document.program.sources.is_empty() {
        let candidates = document.program.sources.iter().chain(&document.program.fallback);
        for name in candidates.filter(|name| usable(name)) {
            if sources.len() < document.program.layout.capacity() && !sources.contains(name) {
                sources.push(name.clone());
            }
        }
    }
    let slate = sources.is_empty().then(|| slate_text(document.slate.text, camera_was_shown));
    let heard = if document.audio.enabled { sources.first().cloned() } else { None };
    Picture { shown: Shown { sources, slate }, heard }
}

/// The text that the slate shows: the operator's, except that `Before` is over once a camera was shown.
pub fn slate_text(asked: SlateText, camera_was_shown: bool) -> SlateText {
    match asked {
        SlateText::Before if camera_was_shown => SlateText::Interrupted,
        SlateText::Before | SlateText::Interrupted | SlateText::Ended => asked,
    }
}

/// Whether a camera was shown in this session, after `next` replaced `previous`.
///
/// A new session starts afresh; a restarted compositor learns it from the operator, whose text is `Interrupted`.
pub fn camera_was_shown(so_far: bool, previous: Option<&ControlDocument>, next: &ControlDocument) -> bool {
    let same_session = previous.is_some_and(|previous| previous.session == next.session);
    (so_far && same_session) || next.slate.text == SlateText::Interrupted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::fixture::document;

    fn shown(sources: &[&str], slate: Option<SlateText>) -> Shown {
        Shown { sources: sources.iter().map(ToString::to_string).collect(), slate }
    }

    #[test]
    fn what_is_shown() {
        use SlateText::{Before, Ended, Interrupted};
        // (asked sources, fallback, usable, asked text, camera was shown) → (shown, slate)
        type Case<'a> =
            (&'a [&'a str], &'a [&'a str], &'a [&'a str], SlateText, bool, &'a [&'a str], Option<SlateText>);
        let cases: &[Case] = &[
            (&["a"], &["b"], &["a", "b"], Before, false, &["a"], None),
            (&["a"], &["b", "c"], &["b", "c"], Before, true, &["b"], None),
            (&["a"], &["b", "c"], &["c"], Before, true, &["c"], None),
            (&["a"], &["a", "b"], &["a", "b"], Before, true, &["a"], None),
            (&["a"], &[], &[], Before, false, &[], Some(Before)),
            (&["a"], &["b"], &[], Before, true, &[], Some(Interrupted)),
            (&["a"], &["b"], &[], Interrupted, false, &[], Some(Interrupted)),
            (&[], &["b"], &["a", "b"], Before, false, &[], Some(Before)),
            (&[], &[], &["a", "b"], Before, true, &[], Some(Interrupted)),
            (&["a"], &["b"], &["a", "b"], Ended, true, &[], Some(Ended)),
        ];
        for (sources, fallback, usable, text, was_shown, cameras, slate) in cases {
            let document = document(1, 0, &["a", "b", "c"], |document| {
                document.program.sources = sources.iter().map(ToString::to_string).collect();
                document.program.fallback = fallback.iter().map(ToString::to_string).collect();
                document.slate.text = *text;
            });
            let picture = decide(&document, *was_shown, |name| usable.contains(&name));
            assert_eq!(picture.shown, shown(cameras, *slate), "{sources:?} {fallback:?} {usable:?} {text:?}");
        }
    }

    #[test]
    fn sound_follows_the_picture() {
        for (enabled, usable, heard) in [
            (true, vec!["a", "b"], Some("a")),
            (true, vec!["b"], Some("b")),
            (true, vec![], None),
            (false, vec!["a"], None),
        ] {
            let document = document(1, 0, &["a", "b"], |document| {
                document.program.sources = vec!["a".into()];
                document.program.fallback = vec!["b".into()];
                document.audio.enabled = enabled;
            });
            assert_eq!(decide(&document, false, |name| usable.contains(&name)).heard.as_deref(), heard);
        }
    }

    #[test]
    fn a_session_remembers_that_a_camera_was_shown() {
        let first = document(1, 0, &["a"], |_| {});
        let next_session = document(2, 0, &["a"], |document| document.session = 2);
        let told = document(1, 1, &["a"], |document| document.slate.text = SlateText::Interrupted);
        assert!(!camera_was_shown(false, None, &first));
        assert!(camera_was_shown(true, Some(&first), &first));
        assert!(!camera_was_shown(true, Some(&first), &next_session), "a new session starts afresh");
        assert!(camera_was_shown(false, None, &told), "a restarted compositor learns it from the operator");
    }
}
