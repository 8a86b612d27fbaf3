//! What wakes a lane.

use super::desired::{Desired, broadcast_under_way, desired};
use super::said::with_held_words;
use crate::api::MemorialStream;
use crate::api::spec::State;
use k8s_openapi::jiff::Timestamp;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Whom a change of an object wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakes {
    /// People ask for something else.
    BothLanes,
    /// What the life-cycle lane noted lets Program run, or ends it.
    FastLane,
    /// Status is the lanes' own writing.
    Nobody,
}

/// Whom it wakes that `before` has become `object`.
pub fn wakes(before: Option<&MemorialStream>, object: &MemorialStream, now: Timestamp) -> Wakes {
    let Some(before) = before.filter(|before| asked(before) == asked(object)) else {
        return Wakes::BothLanes;
    };
    // A list tells of each object again.
    if before.status == object.status {
        return Wakes::Nobody;
    }
    let runs = |object| {
        let whole = with_held_words(object);
        runs_program(&whole, &desired(&whole, now))
    };
    if runs(before) == runs(object) { Wakes::Nobody } else { Wakes::FastLane }
}

/// Whether a Program is wanted, or still sent.
pub fn runs_program(object: &MemorialStream, desired: &Desired) -> bool {
    matches!(desired.state, State::Live | State::Standby)
        || object.status.as_ref().is_some_and(broadcast_under_way)
}

fn asked(object: &MemorialStream) -> u64 {
    let metadata = &object.metadata;
    let mut hasher = DefaultHasher::new();
    metadata.uid.hash(&mut hasher);
    metadata.generation.hash(&mut hasher);
    metadata.annotations.hash(&mut hasher);
    metadata.finalizers.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::Said;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::ToSpan;

    #[test]
    fn status_wakes_nobody_unless_it_decides_whether_program_runs() {
        let now = Timestamp::UNIX_EPOCH;
        let object = MemorialStream::new("jane", Default::default());
        assert_eq!(wakes(None, &object, now), Wakes::BothLanes);
        assert_eq!(wakes(Some(&object), &object, now), Wakes::Nobody);
        let mut asks = object.clone();
        asks.metadata.generation = Some(2);
        assert_eq!(wakes(Some(&object), &asks, now), Wakes::BothLanes);
        // A tool took the state away before it was written down.
        let mut held = object.clone();
        let said = Said { state: Some(State::Live), session: Some(2) };
        held.status.get_or_insert_default().said = Some(said);
        assert_eq!(wakes(Some(&object), &held, now), Wakes::FastLane);
        let mut told = held.clone();
        told.status.get_or_insert_default().message = Some("all is well".into());
        assert_eq!(wakes(Some(&held), &told, now), Wakes::Nobody);
        // A clock that jumped made a limit strike, and a new session begins.
        let mut struck = held.clone();
        let long_ago = now.saturating_sub(13.hours()).unwrap_or(now);
        struck.status.get_or_insert_default().live_since = Some(Time(long_ago));
        assert_eq!(wakes(Some(&struck), &held, now), Wakes::FastLane);
    }
}
