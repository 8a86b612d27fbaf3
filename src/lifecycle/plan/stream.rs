//! The Mux live stream: found or created once, enabled while it is needed, at rest otherwise.

use super::{Action, Pass};
use crate::api::MemorialStreamSpec;
use crate::api::spec::{LatencyMode, State};
use crate::api::status::{CreateIntent, MuxStatus};
use crate::lifecycle::at_rest::may_have_forgotten_its_stream;
use crate::lifecycle::backoff::{Effect, Part, held};
use crate::lifecycle::observed::{Created, Observed, Seen};
use crate::providers::mux::{self, LiveStream, LiveStreamStatus, LiveStreamUpdate, NewLiveStream};
use crate::service::credentials::Access;
use crate::service::desired::{broadcast_under_way, session};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;

impl Pass<'_> {
    /// Makes sure that status names our stream: the one that it named, one found by marker, or a new one.
    pub(super) fn identify_stream(&mut self) {
        let mut mux = self.status.mux.clone().unwrap_or_default();
        if mux.stream_id.is_some() {
            match &self.observed.stream {
                Seen::Known(Some(stream)) => self.note_stream(&mut mux, stream),
                Seen::Known(None) => self.stream_was_deleted(&mut mux),
                Seen::NotAsked | Seen::Failed(_) => {}
            }
        }
        // Without one of its own, which of them is the surplus nobody knows.
        if mux.stream_id.is_some() {
            self.remove_surplus_streams(&mux);
        }
        if mux.stream_id.is_none() {
            self.find_stream(&mut mux);
        }
        self.status.mux = Some(mux);
    }

    fn find_stream(&mut self, mux: &mut MuxStatus) {
        if self.was_not_sent(Created::Stream) {
            mux.creating = None;
        }
        let Some(intent) = mux.creating.clone() else {
            // Without a copy of its credentials it could not be ended once their Secret is gone.
            let kept = self.observed.credentials_are_kept || self.observed.rooms.known().is_some();
            // The first is made in the account that the Secret names; one that is lost is replaced where it was.
            let account = self.observed.set_aside.is_none() || mux.lost_stream_id.is_some();
            let wanted = self.desired.state != State::Ended && self.observed.slug_holder.is_none();
            let needed = !self.deleting() && wanted && kept && account;
            if needed && may_have_forgotten_its_stream(self.object, self.now) {
                // Families know the address of the one that there may be. It was not searched for where status named one.
                let named =
                    self.object.status.as_ref().and_then(|status| status.mux.as_ref()?.stream_id.as_ref());
                if named.is_some() {
                    return;
                }
                let Some(marked) = self.observed.marked.known() else { return };
                let there = marked.iter().filter(|stream| Some(&stream.id) != mux.lost_stream_id.as_ref());
                if let Some(stream) = there.min_by_key(|stream| (stream.created_at, &stream.id)) {
                    return self.adopt_stream(mux, stream);
                }
            }
            if needed && !held(&self.observed.backoffs, Effect::making(Part::Stream)) {
                mux.creating = Some(CreateIntent { since: Time(self.now), absent_since: None });
                if let Access::Granted { environment, .. } = &self.observed.access {
                    mux.environment_id = Some(environment.environment_id.clone());
                }
                self.actions.push(Action::CreateStream(Box::new(self.new_stream())));
            }
            return;
        };
        let Some(marked) = self.observed.marked.known() else { return };
        // A list that lags shows what was deleted.
        let there = marked.iter().filter(|stream| Some(&stream.id) != mux.lost_stream_id.as_ref());
        if let Some(stream) = there.min_by_key(|stream| (stream.created_at, stream.id.clone())) {
            return self.adopt_stream(mux, stream);
        }
        let Observed { marked_age, creating_for, .. } = *self.observed;
        let grace = self.timings.stream_grace;
        // The wall clock may have jumped ahead, and nobody looks for a second stream while one is on air.
        mux.creating = match creating_for.saturating_sub(marked_age) < grace {
            true => Some(intent),
            false => self.after_absence(intent, grace, marked_age),
        };
    }

    fn adopt_stream(&mut self, mux: &mut MuxStatus, stream: &LiveStream) {
        self.event("MuxStreamAdopted", format!("found Mux live stream {} again", stream.id));
        self.note_stream(mux, stream);
        mux.creating = None;
        self.remove_surplus_streams(mux);
    }

    /// The create that status tells of was noted by a pass that ended there.
    pub(super) fn was_not_sent(&self, what: Created) -> bool {
        // As it stands there: a clock that went back changed its time in this pass.
        let status = self.object.status.as_ref();
        let intent = match what {
            Created::Stream => status.and_then(|status| status.mux.as_ref()?.creating.as_ref()),
            Created::Egress => status.and_then(|status| status.egress.as_ref()?.starting.as_ref()),
        };
        intent.is_some_and(|intent| self.observed.unsent.contains(&(what, intent.since.0.as_second())))
    }

    /// An intent lives on until two searches, both after the grace time and some time apart, found nothing. `age`: of the
    /// answer. While a provider hangs the last one is told on; it is no second one.
    pub(super) fn after_absence(
        &self,
        intent: CreateIntent,
        grace: Duration,
        age: Duration,
    ) -> Option<CreateIntent> {
        if self.elapsed(&intent.since).saturating_sub(age) < grace {
            return Some(intent);
        }
        match &intent.absent_since {
            None => Some(CreateIntent { absent_since: Some(Time(self.now)), ..intent }),
            Some(first) if self.elapsed(first) < self.timings.second_search.max(age) => Some(intent),
            Some(_) => None,
        }
    }

    fn note_stream(&mut self, mux: &mut MuxStatus, stream: &LiveStream) {
        if let Access::Granted { environment, playback_base_url, .. } = &self.observed.access {
            mux.environment_id = Some(environment.environment_id.clone());
            let url = stream
                .public_playback_id()
                .map(|playback| format!("{}/{}.m3u8", playback_base_url.trim_end_matches('/'), playback.id));
            if url.is_some() && url != self.status.playback_url {
                self.event("PlaybackUrl", format!("mourners watch at {}", url.clone().unwrap_or_default()));
                self.status.playback_url = url;
            }
        }
        mux.stream_id = Some(stream.id.clone());
        mux.playback_ids = stream.playback_ids.iter().map(|playback| playback.id.clone()).collect();
        mux.active_asset_id = stream.active_asset_id.clone();
    }

    fn stream_was_deleted(&mut self, mux: &mut MuxStatus) {
        if !self.deleting() {
            let message = "the Mux live stream was deleted by somebody else, or is another service's; a new one is made";
            self.warn("MuxStreamLost", message);
        }
        mux.lost_stream_id = mux.stream_id.take();
        mux.playback_ids = Vec::new();
        mux.active_asset_id = None;
        mux.creating = None;
        self.status.playback_url = None;
    }

    /// A second stream with our marker is never used; it goes, unless somebody is sending to it.
    fn remove_surplus_streams(&mut self, mux: &MuxStatus) {
        if held(&self.observed.backoffs, Effect::ending(Part::Stream)) {
            return;
        }
        for surplus in self.observed.marked.known().into_iter().flatten() {
            let id = &surplus.id;
            if mux.stream_id.as_ref() != Some(id) && surplus.status != LiveStreamStatus::Active {
                let message = format!("Mux live stream {id} is a second one for this object; it is deleted");
                self.warn("MuxStreamSurplus", message);
                self.actions.push(Action::DeleteStream(id.clone()));
            }
        }
    }

    /// Enables the stream and brings its settings in line. True once it accepts ingest.
    pub(super) fn ready_stream(&mut self) -> bool {
        let under_way = broadcast_under_way(&self.status);
        let stream = match &self.observed.stream {
            Seen::Known(Some(stream)) => stream,
            Seen::Known(None) => return false,
            // Mux does not answer: what was on air is kept there.
            Seen::NotAsked | Seen::Failed(_) => return under_way,
        };
        if self.ingest_is_shut() {
            if stream.status != LiveStreamStatus::Disabled {
                self.act(Action::DisableStream(stream.id.clone()));
            }
            return false;
        }
        match stream.status {
            LiveStreamStatus::Disabled if stream.test && under_way && self.desired.state == State::Live => {
                self.end_test_broadcast();
                return false;
            }
            LiveStreamStatus::Disabled => {
                self.act(Action::EnableStream(stream.id.clone()));
                return false;
            }
            _ => {}
        }
        let update = self.stream_drift(stream, under_way);
        match update == LiveStreamUpdate::default() {
            true => self.mended.push(Effect::making(Part::Settings)),
            false => self.act(Action::UpdateStream(stream.id.clone(), update)),
        }
        true
    }

    /// Mux disables a test stream after 5 minutes: that is its end, not something to repair.
    fn end_test_broadcast(&mut self) {
        self.status.ended_session = Some(session(&self.object.spec));
        self.warn(
            "TestStreamEnded",
            "Mux ends a test stream after 5 minutes; set spec.session higher to go live again",
        );
    }

    fn stream_drift(&self, stream: &LiveStream, under_way: bool) -> LiveStreamUpdate {
        let desired = self.new_stream();
        let idle = stream.status == LiveStreamStatus::Idle && !under_way;
        LiveStreamUpdate {
            latency_mode: (idle && stream.latency_mode != desired.latency_mode)
                .then_some(desired.latency_mode),
            reconnect_window_seconds: (stream.reconnect_window() != desired.reconnect_window_seconds)
                .then_some(desired.reconnect_window_seconds),
        }
    }

    /// Ends a recording that is still open and, unless Standby goes on, refuses ingest.
    pub(super) fn rest_stream(&mut self) {
        if self.desired.state != State::Standby || self.ingest_is_shut() {
            return self.shut_stream();
        }
        self.complete_stream();
    }

    /// Ends what is under way and refuses ingest.
    pub(super) fn shut_stream(&mut self) {
        self.complete_stream();
        let Seen::Known(Some(stream)) = &self.observed.stream else { return };
        if stream.status != LiveStreamStatus::Disabled {
            self.act(Action::DisableStream(stream.id.clone()));
        }
    }

    fn complete_stream(&mut self) {
        let Seen::Known(Some(stream)) = &self.observed.stream else { return };
        if stream.status == LiveStreamStatus::Active {
            self.act(Action::CompleteStream(stream.id.clone()));
        }
    }

    pub(super) fn stream_rests(&self) -> bool {
        matches!(&self.observed.stream, Seen::Known(Some(stream)) if stream.status == LiveStreamStatus::Disabled)
            || matches!(&self.observed.stream, Seen::Known(None))
    }

    fn new_stream(&self) -> NewLiveStream {
        let settings = self.object.spec.mux.clone().unwrap_or_default();
        let marker = self.identity.marker(&self.observed.cluster_id);
        NewLiveStream {
            passthrough: marker,
            latency_mode: latency_mode(&self.object.spec),
            reconnect_window_seconds: settings
                .reconnect_window_seconds
                .and_then(|seconds| u32::try_from(seconds).ok())
                .unwrap_or(120),
            test: settings.test.unwrap_or(false),
        }
    }
}

/// What the spec asks for, in Mux's words.
pub(crate) fn latency_mode(spec: &MemorialStreamSpec) -> mux::LatencyMode {
    match spec.mux.as_ref().and_then(|mux| mux.latency_mode).unwrap_or_default() {
        LatencyMode::Standard => mux::LatencyMode::Standard,
        LatencyMode::Reduced => mux::LatencyMode::Reduced,
        LatencyMode::Low => mux::LatencyMode::Low,
    }
}
