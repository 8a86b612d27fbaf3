//! The REST API.

use crate::answer::{Answer, Delivery, Refusal};
use crate::body::{self, LiveStreamUpdate, StreamSettings};
use crate::fault::FaultKind;
use crate::ids;
use crate::list;
use crate::model::{Model, Owner, Recordings};
use crate::operation::Operation;
use crate::record::{RequestCount, StreamRecord};
use crate::request::{Method, Request};
use crate::stream::{LiveStream, PlaybackId, Status};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

impl Model {
    /// Answers a request, and does what it asks.
    pub fn request(&mut self, now: Timestamp, request: &Request) -> Answer {
        self.advance(now);
        let found = Operation::find(request.method, &request.path);
        let mut answer = match &found {
            Some((operation, ids)) => self.answer(*operation, ids, request),
            None => Refusal::NotFound.into(),
        };
        answer.headers.push(("x-request-id", ids::uuid(self.ids.as_mut())));
        self.count(request.method, found.map(|(operation, _)| operation), &answer);
        answer
    }

    /// Somebody does the same at Mux's dashboard: without credentials, limits and faults, and it is not counted.
    pub fn at_dashboard(&mut self, now: Timestamp, method: Method, path: &str, body: &[u8]) -> Answer {
        self.advance(now);
        let request = Request {
            method,
            path: path.to_owned(),
            query: Vec::new(),
            credentials: None,
            body: body.to_vec(),
        };
        let done = match Operation::find(method, path) {
            Some((operation, ids)) => self.perform(operation, &ids, &request),
            None => Err(Refusal::NotFound),
        };
        done.unwrap_or_else(Answer::from)
    }

    /// Refusals come in the order in which a provider's front door gives them: reachable, authenticated, within limits.
    fn answer(&mut self, operation: Operation, ids: &[String], request: &Request) -> Answer {
        let delay = self.slowed(operation);
        let fault = self
            .state
            .faults
            .iter()
            .position(|fault| !matches!(fault.kind, FaultKind::Slow { .. }) && fault.strikes(operation));
        let kind = fault.map(|index| self.state.faults[index].kind);
        let known = request.credentials.as_ref() == Some(&self.state.credentials);
        let (answer, struck) = match kind {
            Some(FaultKind::Outage) => (sent(Refusal::Failed(503).into(), Delivery::Closed), true),
            Some(FaultKind::Hang { committed: false }) => {
                (sent(Refusal::Failed(503).into(), Delivery::Hangs), true)
            }
            Some(FaultKind::WrongContent { status, committed: false }) => {
                (sent(Answer::new(status, None), Delivery::Page), true)
            }
            _ if !known => (Refusal::Unauthorized.into(), false),
            Some(FaultKind::TooManyRequests { retry_after }) => {
                let mut answer = Answer::from(Refusal::TooManyRequests);
                answer.headers.extend(retry_after.map(|wait| ("retry-after", wait.to_string())));
                (answer, true)
            }
            Some(FaultKind::ServerError { status, committed: false }) => {
                (Refusal::Failed(status).into(), true)
            }
            kind => {
                let done = self.limited(operation, ids, request);
                // A fault is not used up by what was refused anyway.
                match kind.filter(|_| done.is_success()).and_then(|kind| spoilt(&done, kind)) {
                    Some(spoilt) => (spoilt, true),
                    None => (done, false),
                }
            }
        };
        if struck {
            self.use_up(fault);
        }
        Answer { delay, ..answer }
    }

    /// How long the answer is held back by faults.
    fn slowed(&mut self, operation: Operation) -> Duration {
        let slow = self
            .state
            .faults
            .iter()
            .position(|fault| matches!(fault.kind, FaultKind::Slow { .. }) && fault.strikes(operation));
        let Some(FaultKind::Slow { milliseconds }) = slow.map(|index| self.state.faults[index].kind) else {
            return Duration::ZERO;
        };
        self.use_up(slow);
        Duration::from_millis(milliseconds.into())
    }

    fn use_up(&mut self, fault: Option<usize>) {
        let Some(index) = fault else { return };
        let times = &mut self.state.faults[index].times;
        *times = times.map(|times| times.saturating_sub(1));
        if *times == Some(0) {
            self.state.faults.remove(index);
        }
    }

    fn limited(&mut self, operation: Operation, ids: &[String], request: &Request) -> Answer {
        let (limits, permissions) = (self.state.settings.rate_limits, self.state.settings.permissions);
        let permitted = if operation.reads() { permissions.video_read } else { permissions.video_write };
        let state = &mut self.state;
        let draw = match operation.method() {
            Method::Post => state.post.draw(limits.post, state.now),
            _ => state.other.draw(limits.other, state.now),
        };
        let mut answer = match draw {
            Some(draw) if !draw.taken => Refusal::TooManyRequests.into(),
            _ if operation != Operation::Whoami && !permitted => Refusal::NotFound.into(),
            _ => self.perform(operation, ids, request).unwrap_or_else(Answer::from),
        };
        if let Some(draw) = draw {
            answer.headers.push(("x-ratelimit-limit", draw.limit.to_string()));
            answer.headers.push(("x-ratelimit-remaining", draw.remaining.to_string()));
        }
        answer
    }

    fn perform(
        &mut self,
        operation: Operation,
        ids: &[String],
        request: &Request,
    ) -> Result<Answer, Refusal> {
        if !ids.iter().all(|id| ids::is_well_formed(id)) {
            return Err(Refusal::invalid("Failed to parse ID"));
        }
        let (first, second) = (ids.first().map_or("", |id| id), ids.get(1).map_or("", |id| id));
        let done = || Ok(Answer::data(200, json!({})));
        match operation {
            Operation::Whoami => Ok(Answer::data(200, self.whoami())),
            Operation::CreateLiveStream => self.create(&request.body),
            Operation::ListLiveStreams => {
                self.state.forget();
                Ok(Answer::new(200, Some(list::live_streams(&self.state, request)?)))
            }
            Operation::GetLiveStream => {
                let stream = self.state.streams.get(first).ok_or(Refusal::NotFound)?;
                Ok(Answer::data(200, stream.render()))
            }
            Operation::UpdateLiveStream => self.update(first, &request.body),
            Operation::DeleteLiveStream => self.delete(first),
            Operation::CompleteLiveStream => {
                self.stream(first)?;
                self.complete(first);
                // Unknown: what Mux says when nothing is under way; here it is no error.
                done()
            }
            Operation::EnableLiveStream => {
                self.stream(first)?.enabled = true;
                done()
            }
            Operation::DisableLiveStream => {
                self.stream(first)?;
                self.disable(first);
                done()
            }
            Operation::ResetStreamKey => {
                let key = ids::stream_key(self.ids.as_mut());
                self.stream(first)?.key = key;
                let connected = self.stream(first)?.encoder.is_some();
                if connected && self.state.settings.unknowns.new_key_drops_encoder {
                    self.drop_encoder(first);
                    self.detach(first);
                }
                Ok(Answer::data(201, self.stream(first)?.render()))
            }
            Operation::CreatePlaybackId => {
                let policy = body::playback_policy(&request.body)?;
                let playback_id = PlaybackId::new(policy, self.ids.as_mut());
                self.stream(first)?.playback_ids.push(playback_id.clone());
                self.state.playback.insert(playback_id.id.clone(), Owner::Stream(first.to_owned()));
                Ok(Answer::data(201, json!(playback_id)))
            }
            Operation::GetPlaybackId => {
                let ids = &self.state.streams.get(first).ok_or(Refusal::NotFound)?.playback_ids;
                let found = ids.iter().find(|one| one.id == second).ok_or(Refusal::NotFound)?;
                Ok(Answer::data(200, json!(found)))
            }
            Operation::DeletePlaybackId => {
                let ids = &mut self.stream(first)?.playback_ids;
                let index = ids.iter().position(|one| one.id == second).ok_or(Refusal::NotFound)?;
                ids.remove(index);
                self.state.playback.remove(second);
                Ok(Answer::new(204, None))
            }
            Operation::FindPlaybackId => self.find_playback_id(first),
            Operation::ListAssets => Ok(Answer::new(200, Some(list::assets(&self.state, request)?))),
            Operation::GetAsset => {
                let asset = self.state.assets.get(first).ok_or(Refusal::NotFound)?;
                Ok(Answer::data(200, asset.render(self.state.now)))
            }
            Operation::DeleteAsset => self.delete_asset(first),
        }
    }

    /// A stream that is about to be changed.
    fn stream(&mut self, id: &str) -> Result<&mut LiveStream, Refusal> {
        self.state.change(id).ok_or(Refusal::NotFound)
    }

    fn whoami(&self) -> Value {
        let permissions = self.state.settings.permissions;
        let granted = [("video:read", permissions.video_read), ("video:write", permissions.video_write)];
        let granted: Vec<&str> = granted.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
        json!({
            "access_token_name": self.state.credentials.token_id,
            "environment_id": self.state.environment_id,
            "environment_name": "Lab",
            "environment_type": "development",
            "organization_id": self.state.organization_id,
            "organization_name": "Lab",
            "permissions": granted,
        })
    }

    fn create(&mut self, body: &[u8]) -> Result<Answer, Refusal> {
        let settings = StreamSettings::of_new(body)?;
        let (serial, now) = (self.state.next_serial(), self.state.now);
        let stream = LiveStream::new(settings, serial, now, self.ids.as_mut());
        let answer = Answer::data(201, stream.render());
        for playback_id in &stream.playback_ids {
            self.state.playback.insert(playback_id.id.clone(), Owner::Stream(stream.id.clone()));
        }
        self.state.remember(&stream.id);
        self.state.streams.insert(stream.id.clone(), stream);
        Ok(answer)
    }

    fn update(&mut self, id: &str, body: &[u8]) -> Result<Answer, Refusal> {
        let stream = self.stream(id)?;
        let update = LiveStreamUpdate::of(body, &stream.settings)?;
        // mux.com/docs/guides/reduce-live-stream-latency
        if update.latency_mode.is_some() && stream.status() != Status::Idle {
            return Err(Refusal::invalid("latency_mode can only be changed while the live stream is idle"));
        }
        update.apply(&mut stream.settings);
        Ok(Answer::data(200, stream.render()))
    }

    /// Recordings stay.
    fn delete(&mut self, id: &str) -> Result<Answer, Refusal> {
        let stream = self.state.streams.get(id).ok_or(Refusal::NotFound)?;
        let record = self.state.record(stream, Recordings::default());
        self.state.remember(id);
        self.end_broadcast(id);
        self.drop_encoder(id);
        for playback_id in &record.playback_ids {
            self.state.playback.remove(playback_id);
        }
        self.state.streams.remove(id);
        self.state.deleted.push(StreamRecord { deleted: true, encoders: 0, ..record });
        Ok(Answer::new(204, None))
    }

    fn delete_asset(&mut self, id: &str) -> Result<Answer, Refusal> {
        // Unknown: what becomes of a broadcast whose recording is deleted; here it is refused.
        if self.state.assets.get(id).ok_or(Refusal::NotFound)?.is_live {
            return Err(Refusal::invalid("The asset of a live stream that is under way cannot be deleted"));
        }
        self.expire(id);
        Ok(Answer::new(204, None))
    }

    fn find_playback_id(&self, id: &str) -> Result<Answer, Refusal> {
        let (owner, policy) = self.state.owner_of(id).ok_or(Refusal::NotFound)?;
        let (kind, owner) = match owner {
            Owner::Stream(id) => ("live_stream", id),
            Owner::Asset(id) => ("asset", id),
        };
        let object = json!({"type": kind, "id": owner});
        Ok(Answer::data(200, json!({"id": id, "policy": policy, "object": object})))
    }

    fn count(&mut self, method: Method, operation: Option<Operation>, answer: &Answer) {
        let status = if answer.delivered() { answer.status } else { 0 };
        let name = operation.map_or("unknown", Operation::name);
        let counts = &mut self.state.counts;
        let known = counts.iter_mut().find(|count| {
            count.operation == name && count.method == method.as_str() && count.status == status
        });
        if let Some(count) = known {
            count.count += 1;
            return;
        }
        counts.push(RequestCount {
            method: method.as_str().to_owned(),
            route: operation.map_or("unknown", Operation::path).to_owned(),
            operation: name.to_owned(),
            status,
            count: 1,
        });
    }
}

fn sent(answer: Answer, delivery: Delivery) -> Answer {
    Answer { delivery, ..answer }
}

/// What a fault makes of the answer to a request that was done; `None` when it does not strike it.
fn spoilt(done: &Answer, kind: FaultKind) -> Option<Answer> {
    let body = || done.body.as_ref().map(|_| done.clone());
    match kind {
        FaultKind::DropReply => Some(sent(done.clone(), Delivery::Closed)),
        FaultKind::Hang { .. } => Some(sent(done.clone(), Delivery::Hangs)),
        FaultKind::ServerError { status, .. } => Some(Refusal::Failed(status).into()),
        FaultKind::WrongContent { status, .. } => Some(sent(Answer::new(status, None), Delivery::Page)),
        FaultKind::TruncatedBody => Some(sent(body()?, Delivery::Truncated)),
        FaultKind::StalledBody => Some(sent(body()?, Delivery::Stalls)),
        FaultKind::LargeBody { bytes } => Some(sent(body()?, Delivery::Padded { bytes })),
        FaultKind::Outage | FaultKind::TooManyRequests { .. } | FaultKind::Slow { .. } => None,
    }
}
