//! Whether an object is at rest, and whether its status tells all, by what it says. Pure.

use crate::api::conditions::{ConditionType, find};
use crate::api::spec::State;
use crate::api::{MemorialStream, MemorialStreamStatus, Reason};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// An object has its stream within moments, or within minutes beside hundreds of others.
const NEW: SignedDuration = SignedDuration::from_mins(10);

/// Whether nothing runs, as is wanted, and the stream was seen to be disabled since the spec changed last.
pub fn is_at_rest(object: &MemorialStream, state: State) -> bool {
    object.metadata.deletion_timestamp.is_none()
        && matches!(state, State::Idle | State::Ended)
        && object.status.as_ref().is_some_and(|status| status.state == Some(state))
        && mux_stream_is(object, Reason::Disabled)
}

/// Whether a live stream may exist where status names none: status was lost, or is of before, as where a cluster was
/// restored. What is new has none.
pub(super) fn may_have_forgotten_its_stream(object: &MemorialStream, now: Timestamp) -> bool {
    let made = object.metadata.creation_timestamp.as_ref();
    made.is_some_and(|made| now.duration_since(made.0) > NEW)
}

/// Whether people were told to add a playback id at Mux.
pub(super) fn lacks_playback_id(status: &MemorialStreamStatus) -> bool {
    find(&status.conditions, ConditionType::MuxStreamReady)
        .is_some_and(|ready| ready.reason == Reason::PlaybackIdMissing.as_str())
}

/// Whether the stream was seen to be so since the spec changed last.
pub(super) fn mux_stream_is(object: &MemorialStream, reason: Reason) -> bool {
    object.status.as_ref().is_some_and(|status| {
        let ready = find(&status.conditions, ConditionType::MuxStreamReady);
        status.observed_generation == object.metadata.generation
            && ready.is_some_and(|ready| ready.status == "True" && ready.reason == reason.as_str())
    })
}
