//! What status says of one pass.

mod broadcast;
mod parts;
mod verdict;

use super::*;
use crate::api::names::PAUSED;
use crate::api::spec::{Camera, LatencyMode, Limits, MuxSettings, Schedule, Via, Video};
use crate::api::status::{CreateIntent, MuxStatus};
use crate::lifecycle::given::{Given, refusal, silence};
use crate::lifecycle::in_flight::{StartSeen, WorkerSeen};
use crate::lifecycle::observed::Seen;
use crate::lifecycle::sight::Sight;
use crate::providers::livekit::{EgressStatus as Word, LiveKitRoom};
use crate::providers::mux::LiveStreamStatus;
use crate::service::credentials::{Access, SetAside};
use crate::service::pod::RecordedPod;
use crate::world::CompositorError;
use memorialstream_compositor_protocol::{SenderState, SourceState};
use std::time::Duration;

type Change = fn(&mut Given);

/// After each change the condition has this truth and reason, and its message these words.
#[track_caller]
fn tells(given: fn() -> Given, kind: Kind, cases: &[(Change, &str, Reason, &str)]) {
    for (number, (change, truth, reason, words)) in cases.iter().enumerate() {
        let mut given = given();
        change(&mut given);
        let said = given.says(kind);
        let found = (said.status.as_str(), said.reason.as_str());
        assert_eq!(found, (*truth, reason.as_str()), "case {number}: {said:?}");
        assert!(said.message.contains(words), "case {number}: {said:?}");
        assert_eq!(said.message.is_empty(), words.is_empty(), "case {number}: {said:?}");
    }
}

fn live() -> Given {
    Given::live(Via::LiveKit)
}

fn live_by_pod() -> Given {
    Given::live(Via::Compositor)
}

fn set_aside() -> SetAside {
    SetAside { reason: Reason::SecretNotFound, message: "no Secret".into() }
}

fn idle_is_asked() -> Given {
    Given::standby().ask(State::Idle)
}
