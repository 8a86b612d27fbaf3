//! The sender to Mux: started once all before it runs, found again after any doubt, stopped before anything else
//! ends.

use super::{Action, Pass};
use crate::api::spec::{State, Via};
use crate::api::status::{CreateIntent, EgressStatus};
use crate::lifecycle::backoff::{Effect, held};
use crate::lifecycle::in_flight::StartSeen;
use crate::lifecycle::observed::Seen;
use crate::providers::ErrorClass;
use crate::providers::livekit::{Egress, EgressStatus as LiveKitStatus};
use crate::providers::mux::LiveStreamStatus;
use crate::service::desired::{self, broadcast_under_way};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use memorialstream_compositor_protocol::SenderState;
use std::time::Duration;

/// Whether LiveKit still works for this egress.
pub(crate) fn runs(egress: &Egress) -> bool {
    matches!(egress.status, LiveKitStatus::Starting | LiveKitStatus::Active | LiveKitStatus::Ending)
}

/// How LiveKit calls it.
pub(crate) fn status_word(status: &LiveKitStatus) -> &'static str {
    match status {
        LiveKitStatus::Starting => "Starting",
        LiveKitStatus::Active => "Active",
        LiveKitStatus::Ending => "Ending",
        LiveKitStatus::Complete => "Complete",
        LiveKitStatus::Failed => "Failed",
        LiveKitStatus::Aborted => "Aborted",
        LiveKitStatus::LimitReached => "LimitReached",
    }
}

impl Pass<'_> {
    /// Makes sure that status names our egress: the one that a start answered with, or one found in our room.
    pub(super) fn identify_egress(&mut self) {
        let Some(mut egress) = self.status.egress.clone() else { return };
        match &self.observed.start {
            StartSeen::InFlight => {}
            StartSeen::Finished(Ok(started)) => {
                egress.id = Some(started.id.clone());
                egress.status = Some(status_word(&started.status).into());
                egress.starting = None;
            }
            StartSeen::Finished(Err(error)) => {
                egress.error = Some(error.message.clone());
                if error.class != ErrorClass::InDoubt {
                    egress.starting = None;
                }
            }
            StartSeen::None => {}
        }
        if self.observed.start != StartSeen::InFlight {
            self.find_egress(&mut egress);
        }
        self.note_egress(&mut egress);
        self.status.egress = Some(egress);
    }

    fn find_egress(&mut self, egress: &mut EgressStatus) {
        let (Some(intent), None) = (egress.starting.clone(), &egress.id) else { return };
        let Seen::Known(seen) = &self.observed.egresses else { return };
        let found = seen
            .iter()
            .filter(|seen| runs(seen) && !egress.lost.contains(&seen.id))
            .min_by_key(|seen| seen.started_at);
        if let Some(found) = found {
            self.event("EgressAdopted", format!("found egress {} again", found.id));
            egress.id = Some(found.id.clone());
            egress.starting = None;
        } else {
            let grace = self.timings.egress_grace;
            egress.starting = self.after_absence(intent, grace);
        }
    }

    fn note_egress(&mut self, egress: &mut EgressStatus) {
        let (Some(id), Seen::Known(seen)) = (egress.id.clone(), &self.observed.egresses) else { return };
        match seen.iter().find(|seen| seen.id == id) {
            Some(found) => {
                egress.status = Some(status_word(&found.status).into());
                if !found.error.is_empty() {
                    egress.error = Some(found.error.clone());
                }
                if !runs(found) {
                    if self.desired.state == State::Live {
                        self.warn(
                            "EgressEnded",
                            format!("egress {id} is {}; a new one starts", status_word(&found.status)),
                        );
                    }
                    egress.id = None;
                }
            }
            // An answer that names a start may be younger than the list.
            None if matches!(self.observed.start, StartSeen::Finished(Ok(_))) => {}
            None => {
                egress.lost.push(id);
                egress.id = None;
            }
        }
    }

    /// Egresses in our rooms that are not ours to keep.
    fn surplus_egresses(&self) -> Vec<String> {
        let kept = self.status.egress.clone().unwrap_or_default();
        if kept.starting.is_some() || self.observed.start == StartSeen::InFlight {
            return Vec::new();
        }
        let seen = self.observed.egresses.known().into_iter().flatten();
        seen.filter(|seen| matches!(seen.status, LiveKitStatus::Starting | LiveKitStatus::Active))
            .filter(|seen| kept.id.as_ref() != Some(&seen.id) && !kept.lost.contains(&seen.id))
            .map(|seen| seen.id.clone())
            .collect()
    }

    /// Starts the sender, and starts it again when it ended without being asked to.
    pub(super) fn run_sender(&mut self) {
        for surplus in self.surplus_egresses() {
            self.act(Action::StopEgress(surplus));
        }
        self.status.ending_since = None;
        if self.complete_earlier_broadcast() {
            return;
        }
        match self.via() {
            Via::LiveKit => self.run_egress(),
            Via::Compositor => self.run_compositor_sender(),
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

    fn via(&self) -> Via {
        desired::via(&self.object.spec, &self.status)
    }

    fn run_egress(&mut self) {
        let egress =
            self.status.egress.clone().filter(|_| broadcast_under_way(&self.status)).unwrap_or_default();
        if egress.starting.is_some() || self.observed.start == StartSeen::InFlight {
            return;
        }
        if let Some(id) = egress.id {
            let since = egress.started_at.as_ref().map_or(Duration::ZERO, |since| self.elapsed(since));
            let ending = egress.status.as_deref() == Some(status_word(&LiveKitStatus::Ending));
            if since > self.timings.connect && !ending && !self.mux_is_active() {
                self.warn(
                    "EgressStuck",
                    format!("egress {id} does not reach Mux; it is stopped and started again"),
                );
                self.act(Action::StopEgress(id));
            }
            return;
        }
        let Seen::Known(seen) = &self.observed.egresses else { return };
        let Some(room) = self.status.room.as_ref().and_then(|room| room.name.clone()) else { return };
        if seen.iter().any(|seen| runs(seen) && !egress.lost.contains(&seen.id)) || !self.may_start() {
            return;
        }
        self.note_start(Via::LiveKit);
        if let Some(egress) = self.status.egress.as_mut() {
            egress.starting = Some(CreateIntent { since: Time(self.now), absent_since: None });
        }
        self.actions.push(Action::StartEgress { room });
    }

    fn run_compositor_sender(&mut self) {
        let Some(Ok(status)) = &self.observed.compositor else { return };
        let word = status.sender.state.as_str().to_owned();
        let (state, error) = (status.sender.state, status.sender.error.clone());
        if state == SenderState::Off {
            if self.may_start() {
                self.note_start(Via::Compositor);
                self.actions.push(Action::StartSender);
            }
        } else if let Some(egress) = self.status.egress.as_mut() {
            egress.status = Some(word);
            egress.error = error;
        }
    }

    fn note_start(&mut self, via: Via) {
        let now = Time(self.now);
        let mut egress = self.status.egress.clone().unwrap_or_default();
        if !broadcast_under_way(&self.status) {
            egress = EgressStatus { lost: egress.lost, ..EgressStatus::default() };
            self.status.started_at = Some(now.clone());
            self.status.ended_at = None;
        }
        egress.via = Some(via);
        egress.attempt += 1;
        egress.started_at = Some(now);
        egress.status = None;
        self.status.egress = Some(egress);
    }

    /// The stream takes ingest, nothing failed just now, and attempts keep their distance.
    fn may_start(&self) -> bool {
        let Seen::Known(Some(stream)) = &self.observed.stream else { return false };
        let open = match stream.status {
            LiveStreamStatus::Idle => true,
            // In the reconnect window: the same broadcast goes on.
            LiveStreamStatus::Active => broadcast_under_way(&self.status),
            _ => false,
        };
        let egress = self.status.egress.as_ref().filter(|_| broadcast_under_way(&self.status));
        let rested = egress
            .and_then(|egress| egress.started_at.as_ref().map(|since| (egress.attempt, since)))
            .is_none_or(|(attempt, since)| {
                let distance = Duration::from_secs(1 << attempt.clamp(0, 5));
                self.elapsed(since) >= distance
            });
        open && rested && !held(&self.observed.backoffs, Effect::Sender, self.now)
    }

    pub(crate) fn mux_is_active(&self) -> bool {
        matches!(&self.observed.stream, Seen::Known(Some(stream)) if stream.status == LiveStreamStatus::Active)
    }

    /// Stops every sender of ours. True once none runs; a stop that hangs is given up after a bounded time.
    pub(super) fn stop_sender(&mut self) -> bool {
        let under_way = broadcast_under_way(&self.status);
        let seen_running: Vec<String> = self
            .observed
            .egresses
            .known()
            .into_iter()
            .flatten()
            .filter(|seen| runs(seen) && self.identity.owns_room(&seen.room_name))
            .map(|seen| seen.id.clone())
            .collect();
        let lost = self.status.egress.as_ref().map(|egress| egress.lost.clone()).unwrap_or_default();
        let mut running: Vec<String> = seen_running.into_iter().filter(|id| !lost.contains(id)).collect();
        // The list may be older than the answer to a start.
        let named = self.status.egress.as_ref().and_then(|egress| egress.id.clone());
        if let Some(id) = named.filter(|id| !running.contains(id)) {
            running.push(id);
        }
        let own = self.own_sender_runs();
        let doubt = self.observed.start == StartSeen::InFlight
            || self.status.egress.as_ref().is_some_and(|egress| egress.starting.is_some());
        if !under_way && running.is_empty() && !own && !doubt {
            self.status.ending_since = None;
            return true;
        }
        let since = self.status.ending_since.get_or_insert(Time(self.now)).clone();
        if self.waits_for_farewell(&since) {
            return false;
        }
        for id in &running {
            let ending = self
                .observed
                .egresses
                .known()
                .into_iter()
                .flatten()
                .any(|seen| &seen.id == id && seen.status == LiveKitStatus::Ending);
            if !ending {
                self.act(Action::StopEgress(id.clone()));
            }
        }
        if own {
            self.act(Action::StopSender);
        }
        let answered = self.observed.egresses.known().is_some() || self.via() == Via::Compositor;
        let stopped = running.is_empty() && !own && !doubt && answered;
        let overdue = self.elapsed(&since) > self.timings.farewell + self.timings.stop;
        if stopped || (overdue && !doubt) {
            self.note_stop(&running);
            return true;
        }
        // Refusing ingest cuts an encoder off, whatever its controller does.
        overdue
    }

    fn note_stop(&mut self, given_up: &[String]) {
        self.status.ended_at = Some(Time(self.now));
        self.status.ending_since = None;
        if let Some(egress) = self.status.egress.as_mut() {
            egress.id = None;
            egress.starting = None;
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

    fn waits_for_farewell(&self, since: &Time) -> bool {
        desired::says_farewell(&self.desired, &self.status)
            && self.elapsed(since) < self.timings.farewell
            && self.mux_is_active()
            && self.program_runs()
    }

    fn own_sender_runs(&self) -> bool {
        matches!(&self.observed.compositor, Some(Ok(status)) if status.sender.state != SenderState::Off)
    }
}
