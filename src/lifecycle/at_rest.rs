//! Whether an object is at rest, by what its status says. Pure.

use crate::api::conditions::{ConditionType, find};
use crate::api::spec::State;
use crate::api::{MemorialStream, MemorialStreamStatus, Reason};

/// Whether nothing runs, as is wanted, and the stream was seen to be disabled since the spec changed last.
pub fn is_at_rest(object: &MemorialStream, state: State) -> bool {
    object.metadata.deletion_timestamp.is_none()
        && matches!(state, State::Idle | State::Ended)
        && object.status.as_ref().is_some_and(|status| status.state == Some(state))
        && mux_stream_is(object, Reason::Disabled)
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
