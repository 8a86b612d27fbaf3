//! The sender to Mux: started once all before it runs, stopped before anything else ends.

use super::{Action, Pass};
use crate::api::spec::{State, Via};
use crate::api::status::EgressStatus;
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::lifecycle::backoff::{Effect, Part, held};
use crate::lifecycle::observed::{Observed, Seen};
use crate::lifecycle::witnesses::Witnesses;
use crate::providers::mux::LiveStreamStatus;
use crate::service::desired::{self, broadcast_under_way, session};
use crate::service::pod;
use crate::service::stream_key::{KeptKey, fingerprint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use memorialstream_compositor_protocol::{RtmpDestination, SenderState};
use std::time::Duration;

/// An egress that was cut off tries for 30 s to connect again, and then gives up for good (egress
/// `pkg/pipeline/builder/stream.go`): after this long a sender that could not be stopped is surely silent.
const CUT_OFF_FOR: Duration = Duration::from_secs(40);

/// Where a sender sends: to the stream as Mux shows it, or, while Mux does not answer, as it was known last.
pub fn ingest(object: &MemorialStream, observed: &Observed) -> Option<RtmpDestination> {
    ingest_of(object.status.as_ref()?, observed)
}

fn ingest_of(status: &MemorialStreamStatus, observed: &Observed) -> Option<RtmpDestination> {
    let url = observed.credentials.as_ref()?.rtmp_url.clone();
    let stream_key = match &observed.stream {
        Seen::Known(stream) => stream.as_ref()?.stream_key.clone(),
        Seen::NotAsked | Seen::Failed(_) => {
            let id = status.mux.as_ref()?.stream_id.as_ref()?;
            observed.kept_key.as_ref().filter(|kept| kept.stream_id == *id)?.key.clone()
        }
    };
    Some(RtmpDestination { url, stream_key })
}

impl Pass<'_> {
    /// Starts the sender, and starts it again when it ended without being asked to.
    pub(super) fn run_sender(&mut self) {
        self.stop_surplus();
        self.status.ending_since = None;
        // It was taken for stopped, and was not: what it sends would belong to no broadcast.
        if self.own_sender_runs() && !broadcast_under_way(&self.status) {
            return self.stop_own_sender();
        }
        if self.complete_earlier_broadcast() {
            return;
        }
        match self.via() {
            Via::LiveKit if self.own_sender_runs() => self.stop_own_sender(),
            Via::LiveKit => self.run_egress(),
            Via::Compositor => {
                let running = self.running_egresses();
                if running.is_empty() && !self.start_is_open() {
                    self.run_own_sender();
                }
                for id in running {
                    self.stop_egress(id);
                }
            }
        }
    }

    /// A crash can come between a sender's end and Mux's `complete`. What is still open then would take the next sender
    /// for a reconnect; it is completed before one starts.
    fn complete_earlier_broadcast(&mut self) -> bool {
        let open = match &self.observed.stream {
            Seen::Known(Some(stream)) if stream.status == LiveStreamStatus::Active => Some(stream.id.clone()),
            _ => None,
        };
        let Some(id) = open.filter(|_| !broadcast_under_way(&self.status)) else { return false };
        self.act(Action::CompleteStream(id));
        true
    }

    pub(super) fn via(&self) -> Via {
        desired::via(&self.object.spec, &self.status)
    }

    pub(super) fn witnesses(&self) -> Witnesses {
        Witnesses::hear(&self.status, self.via(), self.observed)
    }

    pub(super) fn ingest(&self) -> Option<RtmpDestination> {
        ingest_of(&self.status, self.observed)
    }

    /// Keeps the key for when Mux does not answer.
    pub(super) fn keep_key(&mut self) {
        let Seen::Known(Some(stream)) = &self.observed.stream else { return };
        let key = KeptKey { stream_id: stream.id.clone(), key: stream.stream_key.clone() };
        if self.observed.kept_key.as_ref() != Some(&key) {
            self.act(Action::KeepStreamKey(key));
        }
    }

    fn run_own_sender(&mut self) {
        let Some(Ok(compositor)) = &self.observed.compositor else { return };
        let sender = &compositor.sender;
        let state = sender.state;
        if state == SenderState::Off {
            return self.start_own_sender();
        }
        let elsewhere = match (&sender.destination, self.ingest()) {
            (Some(destination), Some(ingest)) => *destination != fingerprint(&ingest),
            _ => false,
        };
        if elsewhere {
            self.warn(
                "StreamKeyChanged",
                "the compositor sends with a key of before; it is given the new one",
            );
            return self.start_own_sender();
        }
        let (word, error) = (state.as_str().to_owned(), sender.error.clone());
        if let Some(egress) = self.status.egress.as_mut() {
            egress.status = Some(word);
            egress.error = error;
        }
        let reaches_nobody = self.dark_for().is_some_and(|dark| dark > self.timings.connect);
        if reaches_nobody && !self.mux_is_active() && self.is_rested() {
            self.warn("SenderStuck", "the compositor's sender does not reach Mux; it is started again");
            self.start_own_sender();
        }
    }

    fn start_own_sender(&mut self) {
        if self.may_start() {
            self.note_start(Via::Compositor);
            let revision = self.next_revision(true);
            self.actions.push(Action::StartSender { revision });
        }
    }

    fn stop_own_sender(&mut self) {
        // The same stop again is the same request.
        let told =
            self.status.egress.as_ref().is_some_and(|egress| egress.revision % 2 == 0 && egress.revision > 0);
        let revision = if told { self.revision() } else { self.next_revision(false) };
        self.act(Action::StopSender { revision });
    }

    fn revision(&self) -> u64 {
        self.status.egress.as_ref().and_then(|egress| u64::try_from(egress.revision).ok()).unwrap_or(0)
    }

    /// Odd is a start, even a stop.
    fn next_revision(&mut self, starting: bool) -> u64 {
        let egress = self.status.egress.get_or_insert_default();
        egress.revision += if (egress.revision % 2 == 0) == starting { 1 } else { 2 };
        self.revision()
    }

    pub(super) fn note_start(&mut self, via: Via) {
        let now = Time(self.now);
        let before = self.status.egress.clone().unwrap_or_default();
        let mut egress = if broadcast_under_way(&self.status) {
            before
        } else {
            self.status.started_at = Some(now.clone());
            self.status.ended_at = None;
            Box::new(EgressStatus {
                lost: before.lost,
                revision: before.revision,
                session: Some(session(&self.object.spec)),
                ..EgressStatus::default()
            })
        };
        egress.via = Some(via);
        egress.attempt += 1;
        egress.started_at = Some(now);
        egress.status = None;
        egress.stopping_since = None;
        self.status.egress = Some(egress);
    }

    /// The stream takes ingest, nothing failed just now, and attempts keep their distance.
    pub(super) fn may_start(&self) -> bool {
        let under_way = broadcast_under_way(&self.status);
        let open = match &self.observed.stream {
            Seen::Known(Some(stream)) => match stream.status {
                LiveStreamStatus::Idle => true,
                // In the reconnect window: the same broadcast goes on.
                LiveStreamStatus::Active => under_way,
                _ => false,
            },
            Seen::Known(None) => false,
            // Mux does not answer: what was on air comes back without it.
            Seen::NotAsked | Seen::Failed(_) => under_way,
        };
        open && self.ingest().is_some()
            && self.is_rested()
            && !self.ingest_is_shut()
            && !held(&self.observed.backoffs, Effect::making(Part::Sender))
    }

    fn is_rested(&self) -> bool {
        let egress = self.status.egress.as_deref().filter(|_| broadcast_under_way(&self.status));
        // A start that was refused has a back-off of its own, and ends with it: a worker may be there any moment.
        let came_about = |egress: &&EgressStatus| egress.status.is_some() || egress.error.is_none();
        let before =
            egress.filter(came_about).and_then(|egress| Some((egress.attempt, egress.started_at.as_ref()?)));
        before.is_none_or(|(attempt, since)| {
            self.elapsed(since) >= Duration::from_secs(1 << attempt.clamp(0, 5))
        })
    }

    /// A sender was given up that may still send: until it has surely stopped, Mux refuses all ingest.
    pub(super) fn ingest_is_shut(&self) -> bool {
        let egress = self.status.egress.as_ref();
        egress.and_then(|egress| egress.given_up_at.as_ref()).is_some_and(|at| self.elapsed(at) < CUT_OFF_FOR)
    }

    pub(crate) fn mux_is_active(&self) -> bool {
        matches!(&self.observed.stream, Seen::Known(Some(stream)) if stream.status == LiveStreamStatus::Active)
    }

    /// Notes which session this broadcast belongs to, and whether it has reached Mux: from then on it is one that ends and
    /// does not come back. A session that is raised while an earlier one ends has not begun.
    pub(super) fn note_broadcast(&mut self) {
        if !broadcast_under_way(&self.status) {
            return;
        }
        let asked = session(&self.object.spec);
        let live = self.desired.state == State::Live;
        let Some(egress) = self.status.egress.as_mut() else { return };
        if live {
            egress.session = Some(asked);
        }
        let session = egress.session.unwrap_or(asked);
        if self.mux_is_active() {
            self.status.live_session = Some(session);
        }
    }

    /// Stops every sender of ours. True once none runs; a stop that hangs is given up after a bounded time.
    pub(super) fn stop_sender(&mut self) -> bool {
        self.stop_surplus();
        let under_way = broadcast_under_way(&self.status);
        let running = self.running_egresses();
        let own = self.own_sender_runs();
        let doubt = self.start_is_open();
        if !under_way && running.is_empty() && !own && !doubt {
            self.status.ending_since = None;
            return true;
        }
        let since = self.status.ending_since.get_or_insert(Time(self.now)).clone();
        if self.says_farewell() {
            let rest = self.timings.farewell.saturating_sub(self.elapsed(&since));
            if !rest.is_zero() {
                self.due = Some(rest);
                return false;
            }
        }
        for id in &running {
            self.stop_egress(id.clone());
        }
        if own {
            self.note_own_sender();
            self.stop_own_sender();
        }
        let answered = match self.via() {
            Via::LiveKit => self.observed.egresses.known().is_some(),
            // One that does not answer, or cannot be asked, may send.
            Via::Compositor => match &self.observed.compositor {
                Some(answer) => answer.is_ok(),
                None => pod::in_use(&self.observed.pods).is_none(),
            },
        };
        let stopped = running.is_empty() && !own && !doubt && answered;
        // Where LiveKit does not even answer, Mux is told the sooner to refuse what it sends.
        let bound = if answered { self.timings.stop } else { self.timings.stop / 3 };
        let just_began = self
            .status
            .egress
            .as_ref()
            .and_then(|egress| egress.stopping_since.as_ref())
            .is_some_and(|since| self.elapsed(since) <= bound);
        let overdue = self.elapsed(&since) > self.timings.farewell + bound && !just_began;
        if stopped || (overdue && !doubt) {
            self.note_stop(&running, own || !answered);
            return true;
        }
        // Refusing ingest cuts an encoder off, whatever its controller does.
        overdue
    }

    fn note_stop(&mut self, given_up: &[String], may_send: bool) {
        let now = Time(self.now);
        self.status.ended_at = Some(now.clone());
        self.status.ending_since = None;
        if let Some(egress) = self.status.egress.as_mut() {
            // Of a sender that came about mourners may have seen something, though we did not see it.
            let came_about = egress.session.filter(|_| egress.status.is_some() || may_send);
            self.status.live_session = came_about.or(self.status.live_session);
            if !given_up.is_empty() || may_send {
                egress.given_up_at = Some(now);
            }
            egress.id = None;
            egress.starting = None;
            egress.stopping_since = None;
            egress.lost.extend(given_up.iter().cloned());
            egress.status = Some(if given_up.is_empty() { "Complete" } else { "Lost" }.into());
        }
        for id in given_up {
            self.warn(
                "EgressLost",
                format!("egress {id} did not stop in time; Mux refuses its ingest from now on"),
            );
        }
    }

    fn says_farewell(&self) -> bool {
        desired::says_farewell(&self.desired, &self.status) && self.mux_is_active() && self.program_runs()
    }

    /// It came about, though no pass has seen that while it was wanted.
    fn note_own_sender(&mut self) {
        let Some(Ok(compositor)) = &self.observed.compositor else { return };
        if let Some(egress) = self.status.egress.as_mut() {
            egress.status.get_or_insert_with(|| compositor.sender.state.as_str().to_owned());
        }
    }

    fn own_sender_runs(&self) -> bool {
        matches!(&self.observed.compositor, Some(Ok(status)) if status.sender.state != SenderState::Off)
    }
}
