//! Whether a camera's pictures arrive, and whether it may be put on air: pure, time comes from outside.

use memorialstream_compositor_protocol::SourceState;
use std::time::Duration;

/// Sound older than this is no longer counted as arriving.
const SOUND_EXPIRES: Duration = Duration::from_secs(2);

/// What is known of one camera's pictures and sound. All times count from the start of the process.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    stall_hold: Duration,
    joined: bool,
    newest_picture: Option<Duration>,
    newest_sound: Option<Duration>,
    /// When pictures last came back after a gap longer than the stall hold.
    came_back: Option<Duration>,
}

impl Health {
    /// A camera that nobody saw yet. `stall_hold` is how long it may stand still.
    pub fn new(stall_hold: Duration) -> Self {
        Self { stall_hold, joined: false, newest_picture: None, newest_sound: None, came_back: None }
    }

    /// Its tracks appeared in the room.
    pub fn joined(&mut self) {
        self.joined = true;
    }

    /// Its tracks are gone.
    pub fn left(&mut self) {
        self.joined = false;
        self.newest_sound = None;
    }

    /// A picture arrived.
    pub fn picture(&mut self, now: Duration) {
        if self.newest_picture.is_some_and(|newest| now.saturating_sub(newest) > self.stall_hold) {
            self.came_back = Some(now);
        }
        self.newest_picture = Some(now);
    }

    /// Sound arrived.
    pub fn sound(&mut self, now: Duration) {
        self.newest_sound = Some(now);
    }

    /// Age of the newest picture.
    pub fn picture_age(&self, now: Duration) -> Option<Duration> {
        self.newest_picture.map(|newest| now.saturating_sub(newest))
    }

    /// Whether sound arrives.
    pub fn has_sound(&self, now: Duration) -> bool {
        self.newest_sound.is_some_and(|newest| now.saturating_sub(newest) <= SOUND_EXPIRES)
    }

    /// Whether pictures arrive.
    pub fn state(&self, now: Duration) -> SourceState {
        match (self.joined, self.is_fresh(now)) {
            (true, true) => SourceState::Live,
            (true, false) => SourceState::Stalled,
            (false, _) => SourceState::Absent,
        }
    }

    /// Whether it may be put on air: it is fresh, and after a stall it went on without a gap for two stall holds,
    /// so that a stuttering camera does not flicker between its picture and the slate.
    pub fn is_usable(&self, now: Duration) -> bool {
        let settled =
            self.came_back.is_none_or(|came_back| now.saturating_sub(came_back) >= self.stall_hold * 2);
        self.is_fresh(now) && settled
    }

    fn is_fresh(&self, now: Duration) -> bool {
        self.picture_age(now).is_some_and(|age| age <= self.stall_hold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn camera_with_pictures_at(times: &[u64]) -> Health {
        let mut health = Health::new(milliseconds(500));
        health.joined();
        times.iter().for_each(|time| health.picture(milliseconds(*time)));
        health
    }

    #[test]
    fn states() {
        let mut health = Health::new(milliseconds(500));
        assert_eq!(health.state(milliseconds(0)), SourceState::Absent);
        health.joined();
        assert_eq!(health.state(milliseconds(10)), SourceState::Stalled, "in the room, and no picture yet");
        health.picture(milliseconds(20));
        assert_eq!(health.state(milliseconds(520)), SourceState::Live);
        assert_eq!(health.state(milliseconds(521)), SourceState::Stalled);
        assert_eq!(health.picture_age(milliseconds(521)), Some(milliseconds(501)));
        health.left();
        assert_eq!(health.state(milliseconds(530)), SourceState::Absent);
    }

    #[test]
    fn the_first_picture_is_usable_at_once() {
        assert!(camera_with_pictures_at(&[100]).is_usable(milliseconds(100)));
    }

    #[test]
    fn it_is_held_for_the_stall_hold_and_no_longer() {
        let health = camera_with_pictures_at(&[100]);
        assert!(health.is_usable(milliseconds(600)));
        assert!(!health.is_usable(milliseconds(601)));
    }

    #[test]
    fn after_a_stall_it_must_go_on_without_a_gap() {
        let mut health = camera_with_pictures_at(&[100, 1_000]);
        assert!(!health.is_usable(milliseconds(1_000)));
        for time in (1_030..2_000).step_by(30) {
            health.picture(milliseconds(time));
        }
        assert!(!health.is_usable(milliseconds(1_999)));
        assert!(health.is_usable(milliseconds(2_000)));
    }

    #[test]
    fn a_stuttering_camera_does_not_flicker() {
        let mut health = camera_with_pictures_at(&[]);
        for step in 1..20 {
            let now = milliseconds(600 * step);
            health.picture(now);
            assert_eq!(health.is_usable(now), step == 1, "step {step}");
        }
    }

    #[test]
    fn sound_expires() {
        let mut health = Health::new(milliseconds(500));
        assert!(!health.has_sound(milliseconds(0)));
        health.sound(milliseconds(100));
        assert!(health.has_sound(milliseconds(2_100)));
        assert!(!health.has_sound(milliseconds(2_101)));
    }
}
