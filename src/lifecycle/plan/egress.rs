//! LiveKit's egress: started, found again after any doubt, declared lost when its worker is gone, stopped in the end.

use super::{Action, Pass};
use crate::api::names::PROGRAM_IDENTITY;
use crate::api::spec::State;
use crate::api::status::{CreateIntent, EgressStatus};
use crate::lifecycle::backoff::{Effect, Part};
use crate::lifecycle::in_flight::StartSeen;
use crate::lifecycle::observed::{Created, Seen};
use crate::lifecycle::witnesses::{
    MISSES_BEYOND_DOUBT, Testimony, has_left, is_connected, slate_may_play, worker_is_gone, worker_misses,
};
use crate::providers::livekit::{Egress, EgressStatus as LiveKitStatus, redact};
use crate::service::desired::broadcast_under_way;
use crate::service::stream_key::fingerprint_of_redacted;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;

/// How many egresses that were given up are remembered beside those that LiveKit lists: a lost one stays there for a day.
const MOST_LOST: usize = 20;

/// A start that has no answer by then is looked for in the list: the answer may be lost, which is known only after 90 s.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// For so long after its start the absence of an egress from its room says nothing: it joins within a second, and who is
/// there may have been asked just before. While LiveKit hangs an answer serves for 30 s more. Nothing is lost by that: a
/// dead worker is listed for 20 s after its death, and is found sooner by asking it.
const JOINS_WITHIN: Duration = Duration::from_secs(35);

/// Whether LiveKit's record says that it works for this egress.
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
            StartSeen::InFlight | StartSeen::None => {}
            StartSeen::Finished(Ok(started)) => {
                egress.id = Some(started.id.clone());
                egress.status = Some(status_word(&started.status).into());
                egress.starting = None;
                // The answer may have taken long: it has its whole time to reach Mux.
                egress.started_at = Some(Time(self.now));
            }
            StartSeen::Finished(Err(error)) => {
                egress.error = Some(error.message.clone());
                if self.observed.start.failed() {
                    egress.starting = None;
                }
            }
        }
        if self.was_not_sent(Created::Egress) {
            egress.starting = None;
        }
        self.find_egress(&mut egress);
        self.note_egress(&mut egress);
        self.forget_lost(&mut egress);
        self.status.egress = Some(egress);
    }

    fn find_egress(&mut self, egress: &mut EgressStatus) {
        let (Some(intent), None) = (egress.starting.clone(), &egress.id) else { return };
        let in_flight = self.observed.start == StartSeen::InFlight;
        if in_flight && self.elapsed(&intent.since) < ANSWERS_WITHIN {
            return;
        }
        let Seen::Known(seen) = &self.observed.egresses else { return };
        let candidates = || seen.iter().filter(|seen| runs(seen) && !egress.lost.contains(&seen.id));
        let found = candidates().filter(|seen| self.is_ours(seen)).min_by_key(|seen| seen.started_at);
        let in_doubt =
            !self.has_no_stream_for_good() && candidates().any(|seen| self.belongs_to_us(seen).is_none());
        if let Some(found) = found {
            let id = found.id.clone();
            self.event("EgressAdopted", format!("found egress {id} again"));
            egress.id = Some(id);
            egress.starting = None;
            egress.started_at = Some(Time(self.now));
        } else if !in_flight && !in_doubt {
            let grace = self.timings.egress_grace;
            egress.starting = self.after_absence(intent, grace, self.observed.egresses_age);
        }
    }

    /// It is of another's room: whoever may write status may name any.
    fn is_elsewhere(&self, egress: &Egress) -> bool {
        !egress.room_name.is_empty() && !self.identity.owns_room(&egress.room_name)
    }

    /// It sends our Program from our present room, and to our stream: whoever else records in the room keeps doing so.
    fn is_ours(&self, egress: &Egress) -> bool {
        self.belongs_to_us(egress) == Some(true)
    }

    /// Absent where nobody knows yet: neither adopted nor stopped for that.
    fn belongs_to_us(&self, egress: &Egress) -> Option<bool> {
        if self.is_elsewhere(egress) {
            return Some(false);
        }
        let room = self.status.room.as_ref();
        let same_room = room.and_then(|room| room.name.as_ref()).is_none_or(|name| *name == egress.room_name)
            && room
                .and_then(|room| room.sid.as_ref())
                .is_none_or(|sid| egress.room_id.is_empty() || *sid == egress.room_id);
        let program = egress.identity.as_deref().is_none_or(|identity| identity == PROGRAM_IDENTITY);
        if !same_room || !program {
            return Some(false);
        }
        if self.sends_where_it_was_told(egress) { Some(true) } else { self.sends_to_us(egress) }
    }

    /// Nobody will ever know whether one sends to it: it ends with its room.
    fn has_no_stream_for_good(&self) -> bool {
        let mux = self.status.mux.as_ref();
        let is_gone = mux.is_none_or(|mux| mux.stream_id.is_none() && mux.creating.is_none());
        is_gone && self.desired.state == State::Ended
    }

    /// Its destination is the one that our last start named, though the key may have changed since.
    fn sends_where_it_was_told(&self, egress: &Egress) -> bool {
        let told = self.status.egress.as_ref().and_then(|egress| egress.destination.as_ref());
        told.is_some_and(|told| egress.redacted_urls.iter().any(|url| fingerprint_of_redacted(url) == *told))
    }

    /// Whether its destination is our stream with the present key; absent where that is not known.
    fn sends_to_us(&self, egress: &Egress) -> Option<bool> {
        if egress.redacted_urls.is_empty() {
            // A recording to a file never has one.
            return (egress.status != LiveKitStatus::Starting).then_some(false);
        }
        Some(egress.redacted_urls.contains(&redact(self.ingest()?.location().reveal())))
    }

    fn note_egress(&mut self, egress: &mut EgressStatus) {
        let (Some(id), Seen::Known(seen)) = (egress.id.clone(), &self.observed.egresses) else { return };
        match seen.iter().find(|seen| seen.id == id) {
            Some(found) if self.is_elsewhere(found) => {
                let message =
                    format!("egress {id}, which status names, is of another room; it is left alone");
                self.warn("EgressNotOurs", message);
                (egress.id, egress.status, egress.stopping_since) = (None, None, None);
            }
            Some(found) => {
                egress.status = Some(status_word(&found.status).into());
                if !found.error.is_empty() {
                    egress.error = Some(found.error.clone());
                } else if is_connected(found) {
                    egress.error = None;
                }
                if !runs(found) {
                    if self.desired.state == State::Live {
                        let word = status_word(&found.status);
                        self.warn("EgressEnded", format!("egress {id} is {word}; a new one starts"));
                    }
                    egress.id = None;
                    egress.stopping_since = None;
                } else if found.status == LiveKitStatus::Ending {
                    egress.stopping_since.get_or_insert(Time(self.now));
                }
            }
            // An answer that names a start may be younger than the list.
            None if matches!(self.observed.start, StartSeen::Finished(Ok(_))) => {}
            // LiveKit may have lost its memory while the worker goes on: a stop by its id reaches it all the same.
            None => {
                self.act(Action::StopSurplus(id.clone()));
                lose(egress, id);
            }
        }
    }

    /// What LiveKit says is over need not be remembered.
    fn forget_lost(&self, egress: &mut EgressStatus) {
        let Seen::Known(seen) = &self.observed.egresses else { return };
        egress.lost.retain(|id| seen.iter().find(|seen| seen.id == *id).is_none_or(runs));
        // What LiveKit lists would be taken for ours again.
        let mut surplus = egress.lost.len().saturating_sub(MOST_LOST);
        egress.lost.retain(|id| {
            let forgotten = surplus > 0 && seen.iter().all(|seen| seen.id != *id);
            surplus -= usize::from(forgotten);
            !forgotten
        });
    }

    /// Makes sure of one egress that reaches Mux.
    pub(super) fn run_egress(&mut self) {
        if self.start_is_open() {
            return;
        }
        let under_way = broadcast_under_way(&self.status);
        if let Some(id) =
            self.status.egress.as_ref().filter(|_| under_way).and_then(|egress| egress.id.clone())
            && !self.give_up_lost(&id)
        {
            self.repair_egress(id);
            return;
        }
        let Seen::Known(seen) = &self.observed.egresses else { return };
        let Some(room) = self.status.room.as_ref().and_then(|room| room.name.clone()) else { return };
        let lost = self.status.egress.as_ref().map(|egress| egress.lost.clone()).unwrap_or_default();
        let another = seen.iter().any(|seen| runs(seen) && self.is_ours(seen) && !lost.contains(&seen.id));
        if another || !self.may_start() {
            return;
        }
        self.note_start(crate::api::spec::Via::LiveKit);
        let destination =
            self.ingest().map(|ingest| fingerprint_of_redacted(&redact(ingest.location().reveal())));
        if let Some(egress) = self.status.egress.as_mut() {
            egress.starting = Some(CreateIntent { since: Time(self.now), absent_since: None });
            egress.destination = destination;
        }
        self.actions.push(Action::StartEgress { room });
    }

    /// A start is under way, or its answer is not known.
    pub(super) fn start_is_open(&self) -> bool {
        self.observed.start == StartSeen::InFlight
            || self.status.egress.as_ref().is_some_and(|egress| egress.starting.is_some())
    }

    /// A worker that died leaves its record Active, or Ending, for ever, and answers no stop. True once it is given up.
    fn give_up_lost(&mut self, id: &str) -> bool {
        let Some(record) =
            self.observed.egresses.known().and_then(|all| all.iter().find(|seen| seen.id == id))
        else {
            return false;
        };
        let egress = self.status.egress.as_ref();
        let stopping = egress.and_then(|egress| egress.stopping_since.as_ref());
        // A stop that was written down may never have been sent: it is, before anything is concluded from it.
        let tried = record.status == LiveKitStatus::Ending
            || self.observed.backoffs.contains_key(&Effect::ending(Part::Sender));
        let does_not_stop = tried && stopping.is_some_and(|since| self.elapsed(since) > self.timings.stop);
        // Neither one list that does not show it nor a LiveKit that answers nobody is proof: Mux or a player must say so
        // too, or nobody must see that anything arrives.
        let witnesses = self.witnesses();
        let silent = worker_misses(record, self.observed) >= MISSES_BEYOND_DOUBT;
        // A playlist that grows by Mux's slate shows nothing of ours: there LiveKit's list of who is in the room must say so.
        let slate = slate_may_play(&self.object.spec, self.observed) && has_left(record, self.observed);
        let unseen = silent && (slate || witnesses.viewer != Testimony::For);
        let gone = worker_is_gone(record, self.observed) && (unseen || witnesses.nothing_arrives());
        let gone = gone && !self.joins_just_now();
        if !gone && !does_not_stop {
            return false;
        }
        let why = if gone { "its worker is gone" } else { "it does not stop" };
        self.warn("EgressLost", format!("egress {id} is given up: {why}; a new one starts"));
        if let Some(egress) = self.status.egress.as_mut() {
            lose(egress, id.to_owned());
        }
        true
    }

    /// Who is in the room may have been asked before the egress joined it.
    fn joins_just_now(&self) -> bool {
        let started = self.status.egress.as_ref().and_then(|egress| egress.started_at.as_ref());
        started.is_some_and(|since| self.elapsed(since) < JOINS_WITHIN)
    }

    /// An egress that never reaches Mux, or sends with a key of before, is stopped; once it is over a new one starts.
    fn repair_egress(&mut self, id: String) {
        let Some(record) =
            self.observed.egresses.known().and_then(|all| all.iter().find(|seen| seen.id == id))
        else {
            return;
        };
        if record.status == LiveKitStatus::Ending || self.is_stopping() {
            return self.stop_egress(id);
        }
        if self.sends_to_us(record) == Some(false) {
            self.warn(
                "StreamKeyChanged",
                format!("egress {id} sends with a key of before; a new one starts"),
            );
            return self.stop_egress(id);
        }
        self.ask_worker(record);
        // LiveKit itself tries for 30 s to reach an ingest again that it had reached before.
        let bound = if is_connected(record) { self.timings.retry } else { self.timings.connect };
        // What Mux takes from a worker that answers is not stopped for a playlist that a cache between us and Mux kept.
        let witnesses = self.witnesses();
        let doubted = worker_misses(record, self.observed) > 0 || witnesses.mux != Testimony::For;
        let reaches_nobody = !is_connected(record) || doubted && witnesses.nothing_arrives();
        if self.dark_for().is_some_and(|dark| dark > bound) && reaches_nobody {
            self.warn(
                "EgressStuck",
                format!("egress {id} does not reach Mux; it is stopped and started again"),
            );
            self.stop_egress(id);
        }
    }

    /// Asks the worker of the egress that is on air.
    pub(super) fn ask_own_worker(&mut self) {
        let id = self.status.egress.as_ref().and_then(|egress| egress.id.as_ref());
        let egresses = self.observed.egresses.known();
        if let Some(record) = egresses.and_then(|all| all.iter().find(|seen| Some(&seen.id) == id)) {
            self.ask_worker(record);
        }
    }

    /// LiveKit's record goes on saying that it sends when its worker is dead.
    fn ask_worker(&mut self, record: &Egress) {
        let worker = self.observed.worker.as_ref().filter(|worker| worker.id == record.id);
        let due = worker.is_none_or(|worker| worker.due || worker.misses > 0);
        let asked = worker.is_some_and(|worker| worker.asked);
        if is_connected(record) && !asked && due {
            self.act(Action::AskWorker(record.id.clone()));
        }
    }

    fn is_stopping(&self) -> bool {
        self.status.egress.as_ref().is_some_and(|egress| egress.stopping_since.is_some())
    }

    /// Stops our egress, and notes since when it is being stopped.
    pub(super) fn stop_egress(&mut self, id: String) {
        let now = Time(self.now);
        if let Some(egress) = self.status.egress.as_mut().filter(|egress| egress.id.as_ref() == Some(&id)) {
            egress.stopping_since.get_or_insert(now);
        }
        let record = self.observed.egresses.known().and_then(|all| all.iter().find(|seen| seen.id == id));
        let ending = record.is_some_and(|seen| seen.status == LiveKitStatus::Ending);
        if let Some(record) = record {
            // What it does until then is told all the same.
            self.ask_worker(record);
        }
        if !ending && !self.observed.stops.contains(&id) {
            self.act(Action::StopEgress(id));
        }
    }

    /// Egresses of ours that status does not name: given up, or started by a lost answer. They are stopped for as long
    /// as LiveKit says that they run.
    pub(super) fn stop_surplus(&mut self) {
        // What a start in doubt may have brought about is looked for, not stopped; what was given up is known by its id.
        let in_doubt = self.start_is_open();
        let kept = self.status.egress.as_ref().and_then(|egress| egress.id.clone());
        let lost = self.status.egress.as_ref().map(|egress| egress.lost.clone()).unwrap_or_default();
        let surplus: Vec<String> = self
            .observed
            .egresses
            .known()
            .into_iter()
            .flatten()
            .filter(|seen| matches!(seen.status, LiveKitStatus::Starting | LiveKitStatus::Active))
            .filter(|seen| kept.as_ref() != Some(&seen.id) && !self.observed.stops.contains(&seen.id))
            .filter(|seen| !self.is_elsewhere(seen))
            .filter(|seen| lost.contains(&seen.id) || (!in_doubt && self.is_ours(seen)))
            .map(|seen| seen.id.clone())
            .collect();
        for id in surplus {
            self.act(Action::StopSurplus(id));
        }
    }

    /// The egresses of ours that may still send.
    pub(super) fn running_egresses(&self) -> Vec<String> {
        let lost = self.status.egress.as_ref().map(|egress| egress.lost.clone()).unwrap_or_default();
        let seen = self.observed.egresses.known().into_iter().flatten();
        let mut running: Vec<String> = seen
            .filter(|seen| runs(seen) && self.is_ours(seen) && !lost.contains(&seen.id))
            .map(|seen| seen.id.clone())
            .collect();
        // The list may be older than the answer to a start.
        let named = self.status.egress.as_ref().and_then(|egress| egress.id.clone());
        if let Some(id) = named.filter(|id| !running.contains(id)) {
            running.push(id);
        }
        running
    }

    /// For how long nothing has reached mourners although a sender of this broadcast runs; absent while they see Program.
    pub(super) fn dark_for(&self) -> Option<Duration> {
        let egress = self.status.egress.as_ref()?;
        let (since, started) = (egress.dark_since.as_ref()?, egress.started_at.as_ref());
        // A clock that went back left a time in the future: then the start alone counts.
        Some(match started {
            Some(started) if since.0 > self.now => self.elapsed(started),
            Some(started) => self.elapsed(since).min(self.elapsed(started)),
            None => self.elapsed(since),
        })
    }
}

/// Gives an egress up: it is never adopted again.
fn lose(egress: &mut EgressStatus, id: String) {
    egress.lost.push(id);
    egress.id = None;
    egress.stopping_since = None;
    egress.status = Some("Lost".into());
}
