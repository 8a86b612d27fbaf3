//! Which frame of Program reached the encoder, and from which document it comes.

use super::board::Composition;
use gstreamer as gst;
use memorialstream_compositor_protocol::DocumentKey;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// The newest frame of Program at the encoder.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// What it shows.
    pub composition: Composition,
    /// Its presentation time.
    pub presentation: gst::ClockTime,
    /// When it got there.
    pub at: Instant,
}

/// Matches frames at the encoder with what they were composed of.
pub(super) struct Progress {
    account: Mutex<Account>,
    /// The first frame at the encoder of each document.
    first: watch::Sender<Option<Arrived>>,
}

#[derive(Default)]
struct Account {
    composed: VecDeque<(gst::ClockTime, Composition)>,
    newest: Option<Arrived>,
    frames: u64,
    encoded: u64,
    newest_encoded: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { account: Mutex::default(), first: watch::Sender::new(None) }
    }

    /// The frame of time `presentation` is being composited.
    pub(super) fn composed(&self, presentation: gst::ClockTime, composition: Composition) {
        self.account().composed.push_back((presentation, composition));
    }

    /// The frame of time `presentation` reached the encoder. Frames before it that never did are forgotten.
    pub(super) fn reached_encoder(&self, presentation: gst::ClockTime) {
        let arrived = {
            let mut account = self.account();
            account.frames += 1;
            while account.composed.front().is_some_and(|(composed, _)| *composed < presentation) {
                account.composed.pop_front();
            }
            let Some((_, composition)) = account.composed.pop_front() else { return };
            let arrived = Arrived { composition, presentation, at: Instant::now() };
            account.newest = Some(arrived.clone());
            arrived
        };
        self.first.send_if_modified(|first| {
            let is_first = first.as_ref().is_none_or(|first| first.composition.key < arrived.composition.key);
            if is_first {
                *first = Some(arrived);
            }
            is_first
        });
    }

    /// A picture came out of the encoder.
    pub(super) fn left_encoder(&self) {
        let mut account = self.account();
        account.encoded += 1;
        account.newest_encoded = Some(Instant::now());
    }

    /// Pictures that came out of the encoder, and when the newest of them did.
    pub(super) fn encoded(&self) -> (u64, Option<Instant>) {
        let account = self.account();
        (account.encoded, account.newest_encoded)
    }

    /// Frames that reached the encoder, and the newest of them.
    pub(super) fn now(&self) -> (u64, Option<Arrived>) {
        let account = self.account();
        (account.frames, account.newest.clone())
    }

    /// Waits for the first frame of the document `key`, or of a newer one.
    pub(super) async fn first_of(&self, key: DocumentKey) -> Option<Arrived> {
        let mut first = self.first.subscribe();
        let reached =
            |first: &Option<Arrived>| first.as_ref().is_some_and(|first| first.composition.key >= key);
        // It cannot fail while `self` holds the sender.
        first.wait_for(reached).await.ok()?.clone()
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memorialstream_compositor_protocol::Shown;
    use std::sync::Arc;

    fn key(generation: u64) -> DocumentKey {
        DocumentKey { generation, revision: 0 }
    }

    fn composition(generation: u64) -> Composition {
        let shown = Arc::new(Shown { sources: vec![format!("camera-{generation}")], slate: None });
        Composition { key: key(generation), shown, camera_was_shown: true }
    }

    #[tokio::test]
    async fn the_first_frame_of_a_document_is_told_once_it_is_at_the_encoder() {
        let progress = Progress::new();
        let time = gst::ClockTime::from_mseconds;
        for (frame, generation) in [(0, 1), (33, 1), (66, 2), (100, 2)] {
            progress.composed(time(frame), composition(generation));
        }
        progress.reached_encoder(time(0));
        assert_eq!(progress.first_of(key(1)).await.unwrap().presentation, time(0));
        // The frame of 66 ms was lost on the way to the encoder: the next one is the first that shows document 2.
        progress.reached_encoder(time(33));
        progress.reached_encoder(time(100));
        let arrived = progress.first_of(key(2)).await.unwrap();
        assert_eq!((arrived.presentation, arrived.composition), (time(100), composition(2)));
        assert_eq!(progress.now().0, 3);
        assert_eq!(progress.now().1.unwrap().presentation, time(100));
    }
}
