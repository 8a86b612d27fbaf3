//! Whether mourners see Program: four witnesses, any one of which can say no. Pure.

use super::observed::{Observed, Seen};
use super::sight::Sight;
use crate::api::names::PROGRAM_IDENTITY;
use crate::api::spec::{LatencyMode, Via};
use crate::api::{MemorialStreamSpec, MemorialStreamStatus, Reason};
use crate::providers::livekit::{Egress, EgressStatus, Participant};
use crate::providers::mux::{LatencyMode as StreamLatency, LiveStreamStatus};
use crate::service::pod::{PodSeen, in_use};
use memorialstream_compositor_protocol::CompositorStatus;

/// What a witness says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// As far as it can see, mourners see Program.
    For,
    /// They do not, for this reason.
    Against(Reason, String),
    /// It may be so no longer: who alone could tell does not answer.
    Unsure(String),
    /// It cannot see.
    Silent,
}

impl Testimony {
    /// It says no.
    pub fn is_against(&self) -> bool {
        matches!(self, Self::Against(..))
    }
}

/// The four witnesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnesses {
    /// A mourner's player.
    pub viewer: Testimony,
    /// Mux.
    pub mux: Testimony,
    /// Who sends Program to Mux.
    pub sender: Testimony,
    /// The compositor.
    pub program: Testimony,
}

impl Witnesses {
    /// Hears all four.
    pub fn hear(status: &MemorialStreamStatus, via: Via, observed: &Observed) -> Self {
        Self {
            viewer: viewer(observed),
            mux: mux(observed),
            sender: sender(status, via, observed),
            program: program(via, observed),
        }
    }

    /// Mux or a mourner's player says that nothing comes from a sender of ours.
    pub fn nothing_arrives(&self) -> bool {
        self.mux.is_against() || matches!(&self.viewer, Testimony::Against(Reason::PlaylistStalled, _))
    }
}

/// Mux plays a slate of its own through the reconnect window of low latency streams
/// (mux.com/docs/guides/handle-live-stream-disconnects).
pub fn slate_may_play(spec: &MemorialStreamSpec, observed: &Observed) -> bool {
    match &observed.stream {
        Seen::Known(Some(stream)) => stream.latency_mode != StreamLatency::Standard,
        _ => {
            let asked = spec.mux.as_ref().and_then(|mux| mux.latency_mode);
            asked.unwrap_or_default() != LatencyMode::Standard
        }
    }
}

fn viewer(observed: &Observed) -> Testimony {
    if matches!(&observed.stream, Seen::Known(Some(stream)) if stream.public_playback_id().is_none()) {
        return Testimony::Against(
            Reason::NotWatchable,
            "the live stream has no public playback id: mourners cannot watch; add one at Mux".into(),
        );
    }
    match &observed.sight {
        Sight::NotLooked | Sight::Unknown(_) => Testimony::Silent,
        Sight::Grows => Testimony::For,
        Sight::Still(_) => Testimony::Against(
            Reason::PlaylistStalled,
            "nothing is added to the playlist any more: mourners' players have stopped".into(),
        ),
        Sight::Refused(status) => Testimony::Against(
            Reason::NotWatchable,
            format!(
                "the playback address answers {status}: mourners cannot watch; look at the playback ids at Mux"
            ),
        ),
    }
}

fn mux(observed: &Observed) -> Testimony {
    match (&observed.stream, observed.mux_connected) {
        (Seen::Known(Some(stream)), connected) if stream.status == LiveStreamStatus::Active => {
            match connected {
                Some(false) => {
                    Testimony::Against(Reason::Reconnecting, "Mux says that no sender is connected".into())
                }
                Some(true) | None => Testimony::For,
            }
        }
        (Seen::Known(_), _) => Testimony::Against(Reason::Starting, "nothing reaches Mux yet".into()),
        (Seen::NotAsked | Seen::Failed(_), _) => Testimony::Silent,
    }
}

fn sender(status: &MemorialStreamStatus, via: Via, observed: &Observed) -> Testimony {
    let against = |message: &str| Testimony::Against(Reason::SenderLost, message.into());
    let own = || match &observed.compositor {
        Some(Ok(compositor)) if compositor.sender.is_taken() => Testimony::For,
        Some(Ok(_)) => against("the compositor's sender is not connected to Mux"),
        Some(Err(_)) | None => Testimony::Silent,
    };
    match via {
        Via::Compositor => own(),
        Via::LiveKit => {
            let Some(id) = status.egress.as_ref().and_then(|egress| egress.id.as_ref()) else {
                // Another way out was chosen, and is not taken yet, or a pause holds it up.
                return if own() == Testimony::For { Testimony::For } else { against("no egress runs") };
            };
            let Seen::Known(egresses) = &observed.egresses else { return Testimony::Silent };
            let Some(egress) = egresses.iter().find(|egress| egress.id == *id) else {
                return against("LiveKit does not know the egress any more");
            };
            if !is_connected(egress) {
                against("the egress is not connected to Mux")
            } else if has_left(egress, observed) {
                against("the worker of the egress is gone")
            } else if worker_misses(egress, observed) >= MISSES_OF_THE_DEAD
                && !sends_all_the_same(egress, observed)
            {
                Testimony::Unsure("the worker of the egress does not answer".into())
            } else {
                Testimony::For
            }
        }
    }
}

/// LiveKit's record says that it sends. The record of a worker that died says so for ever.
pub fn is_connected(egress: &Egress) -> bool {
    egress.status == EgressStatus::Active && egress.destination_connected
}

/// How many requests to a worker in a row must stay without an answer until it is taken for dead.
pub const MISSES_OF_THE_DEAD: u32 = 2;

/// How many, until it is replaced on that word where no player sees anything arrive.
pub const MISSES_BEYOND_DOUBT: u32 = 4;

/// How many, until who is listed in the room is no dead worker's shadow any more: each takes 3 s.
const MISSES_BEYOND_A_SHADOW: u32 = 10;

/// A worker's service may die while its handler, a process of its own, goes on: nobody answers for it, and mourners see
/// Program. Its place in the room outlasts a dead one's, and what it sends arrives.
fn sends_all_the_same(egress: &Egress, observed: &Observed) -> bool {
    worker_misses(egress, observed) >= MISSES_BEYOND_A_SHADOW
        && observed.participants.known().is_some()
        && !has_left(egress, observed)
        && viewer(observed) == Testimony::For
        && mux(observed) == Testimony::For
}

/// The worker of an egress that is said to run does not answer, or is not in the room any more. A healthy one answers
/// within 0.02 s (docs/livekit-facts.md).
pub fn worker_is_gone(egress: &Egress, observed: &Observed) -> bool {
    worker_misses(egress, observed) >= MISSES_OF_THE_DEAD || has_left(egress, observed)
}

/// LiveKit lists an egress as a participant from within 0.2 s after its start until some 20 s after its worker's death
/// (docs/livekit-facts.md). Of one that does not send yet nobody else could tell: there a list counts that shows Program.
pub fn has_left(egress: &Egress, observed: &Observed) -> bool {
    let shows = |all: &[Participant], identity: &str| all.iter().any(|one| one.identity == identity);
    observed.participants.known().is_some_and(|all| match egress.status {
        EgressStatus::Starting => !shows(all, &egress.id) && shows(all, PROGRAM_IDENTITY),
        EgressStatus::Active | EgressStatus::Ending => !shows(all, &egress.id),
        _ => false,
    })
}

/// How many requests to its worker in a row have stayed without an answer.
pub fn worker_misses(egress: &Egress, observed: &Observed) -> u32 {
    let ours = observed.worker.as_ref().filter(|worker| worker.id == egress.id);
    ours.map_or(0, |worker| worker.misses)
}

fn program(via: Via, observed: &Observed) -> Testimony {
    let against = |reason: Reason, message: &str| Testimony::Against(reason, message.into());
    let compositor: &CompositorStatus = match (&observed.compositor, in_use(&observed.pods)) {
        (Some(Ok(compositor)), _) => compositor,
        (_, Some(PodSeen { complaint: Some((reason, _)), name, .. })) => {
            return Testimony::Against(
                Reason::ProgramStalled,
                format!("pod {name} does not run ({reason}): Program is missing"),
            );
        }
        _ if via == Via::LiveKit && !is_in_room(observed) => {
            return against(Reason::NotPublishing, NOT_PUBLISHED);
        }
        (Some(Err(error)), _) => return Testimony::Unsure(error.to_string()),
        (None, Some(pod)) if pod.ready => {
            return Testimony::Unsure("the compositor could not be asked".into());
        }
        (None, _) => return against(Reason::ProgramStalled, "no compositor runs: Program is missing"),
    };
    if !compositor.program_advances() {
        return against(Reason::ProgramStalled, "Program stands still: mourners see a frozen picture");
    }
    let published = compositor.publisher.connected && is_in_room(observed);
    if via == Via::LiveKit && !published {
        return against(Reason::NotPublishing, NOT_PUBLISHED);
    }
    Testimony::For
}

const NOT_PUBLISHED: &str = "Program is not published in the room, from where the egress takes it";

/// Program's participant is in the room, as far as LiveKit says.
fn is_in_room(observed: &Observed) -> bool {
    observed
        .participants
        .known()
        .is_none_or(|all| all.iter().any(|participant| participant.identity == PROGRAM_IDENTITY))
}
