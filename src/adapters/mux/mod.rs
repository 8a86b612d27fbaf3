//! Mux as the lanes see it: one client per set of credentials; rate limit and answers serve all objects of an environment.

mod environment;
mod markers;
#[cfg(test)]
mod tests;

use super::deeds::Deeds;
use super::kept::Kept;
use super::pulse::Pulse;
use super::question::Question;
use crate::providers::mux::{
    Answer, Call, Environment, LiveStream, LiveStreamStatus, LiveStreamUpdate, MuxClient, MuxCredentials,
    NewLiveStream, Priority, RateLimiter, RateLimits, Transport,
};
use crate::providers::{Cause, ErrorClass, Interruption, Provider, ProviderError};
use crate::world::{self, SpareLook};
use async_trait::async_trait;
use environment::MuxEnvironment;
use markers::Markers;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long it is taken for granted that a token is good. Whose it is never changes.
const ENVIRONMENT_FRESHNESS: Duration = Duration::from_secs(300);
/// Who makes or changes something and would wait longer for its turn comes again later: it holds a slot of the lane
/// meanwhile.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);

/// A stream that is said to be missing is asked for once more after so long.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// One token.
struct Account {
    /// Asks whose the token is; nothing else is asked before that is known.
    probe: MuxClient,
    pulse: Arc<Pulse>,
    environment: Question<Environment>,
    joined: Mutex<Option<Arc<Joined>>>,
}

/// One token, in its environment.
struct Joined {
    environment_id: String,
    environment: Arc<MuxEnvironment>,
    client: MuxClient,
    pulse: Arc<Pulse>,
    active: Question<Vec<LiveStream>>,
    markers: Question<Markers>,
    changes: Deeds<()>,
    creates: Deeds<LiveStream>,
}

/// Mux, with whatever credentials the lanes bring.
pub struct Mux {
    transport: Arc<dyn Transport>,
    accounts: Kept<AccountKey, Account>,
    /// By base URL and environment: what an endpoint says of itself concerns nobody else.
    environments: Kept<(String, String), MuxEnvironment>,
}

/// Base URL, token, its secret.
type AccountKey = (String, String, String);

impl Mux {
    /// Mux, reached by `transport`.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, accounts: Kept::default(), environments: Kept::default() }
    }

    fn account(&self, credentials: &MuxCredentials) -> Result<Arc<Account>, ProviderError> {
        let MuxCredentials { base_url, token_id, token_secret } = credentials;
        let key = (base_url.clone(), token_id.clone(), token_secret.reveal().to_owned());
        self.accounts.get(&key, || {
            let pulse = Arc::new(Pulse::default());
            let watched = Watched { transport: Arc::clone(&self.transport), pulse: Arc::clone(&pulse) };
            let limiter = Arc::new(RateLimiter::new(RateLimits::default()));
            let probe = MuxClient::new(credentials.clone(), limiter, Arc::new(watched))?;
            Ok(Account {
                probe: probe.with_turn_timeout(TURN_TIMEOUT).with_looks(Priority::Start),
                pulse,
                environment: Question::new(Provider::Mux, "whoami"),
                joined: Mutex::default(),
            })
        })
    }

    /// Whose token it is. Once that was told, only Mux's own word takes it back.
    async fn whose(&self, account: &Account) -> Result<Environment, ProviderError> {
        let client = account.joined().map_or_else(|| account.probe.clone(), |joined| joined.client.clone());
        let ask = async move { client.with_looks(Priority::Start).whoami().await };
        match account.environment.get(&account.pulse, ENVIRONMENT_FRESHNESS, ask).await {
            Ok(told) => Ok(told.answer.as_ref().clone()),
            Err(error) if error.class == ErrorClass::Credentials => Err(error),
            Err(error) => account.environment.last().map(|last| last.answer.as_ref().clone()).ok_or(error),
        }
    }

    async fn joined(&self, credentials: &MuxCredentials) -> Result<Arc<Joined>, ProviderError> {
        let account = self.account(credentials)?;
        let Environment { environment_id, .. } = self.whose(&account).await?;
        if let Some(joined) = account.joined().filter(|joined| joined.environment_id == environment_id) {
            return Ok(joined);
        }
        let key = (credentials.base_url.clone(), environment_id.clone());
        // The first token of an environment brings its limiter along, with what was taken from it already.
        let first = || Ok::<_, Infallible>(MuxEnvironment::new(account.probe.limiter()));
        let environment = self.environments.get(&key, first).unwrap_or_else(|never| match never {});
        let joined = Arc::new(Joined {
            environment_id,
            client: account.probe.clone().with_limiter(Arc::clone(&environment.limiter)),
            pulse: Arc::clone(&account.pulse),
            active: Question::sharing(Provider::Mux, "live_streams_with_status", environment.active.clone()),
            markers: Question::sharing(Provider::Mux, "live_streams", environment.markers.clone()),
            changes: Deeds::repeatable(Provider::Mux),
            creates: Deeds::creates(Provider::Mux),
            environment,
        });
        *account.joined.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&joined));
        Ok(joined)
    }
}

impl Account {
    fn joined(&self) -> Option<Arc<Joined>> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Joined {
    async fn stream(
        &self,
        id: &str,
        freshness: Duration,
        priority: Priority,
    ) -> Result<Option<LiveStream>, ProviderError> {
        let stream = self.environment.stream(id);
        let (client, id) = (self.client.clone().with_looks(priority), id.to_owned());
        let ask = async move {
            if let Some(found) = client.live_stream(&id).await? {
                return Ok(Some(found));
            }
            // It is asked for because it was made: a new one, with another address for mourners, is not made on one word.
            tokio::time::sleep(ASKED_AGAIN).await;
            client.live_stream(&id).await
        };
        let answer = stream.question.get(&self.pulse, freshness, ask).await?.answer;
        Ok(answer.as_ref().clone())
    }

    /// A change of a stream, and what is known after it. A failure leaves in doubt how things stand, unless nothing was
    /// sent.
    async fn change(
        self: Arc<Self>,
        operation: &'static str,
        id: &str,
        what: String,
        change: impl Future<Output = Result<Change, ProviderError>> + Send + 'static,
    ) -> Result<(), ProviderError> {
        let (joined, owned_id) = (Arc::clone(&self), id.to_owned());
        let deed = async move {
            let environment = &joined.environment;
            let stream = environment.stream(&owned_id);
            match change.await {
                Ok(Change::Status(status)) => {
                    // One that was not on air stands in no list as active, however old that is.
                    if status != LiveStreamStatus::Idle && environment.may_be_seen(&owned_id) {
                        environment.note_rest(&owned_id);
                    }
                    environment.note_status(&owned_id, status);
                }
                Ok(Change::Whole(now)) => environment.note_settings(*now),
                Ok(Change::Completed) => {
                    environment.note_rest(&owned_id);
                    stream.question.outdate();
                }
                Ok(Change::Deleted) => {
                    environment.note_rest(&owned_id);
                    stream.question.set(None);
                }
                Err(error) => {
                    if !matches!(error.class, ErrorClass::RateLimited { .. }) {
                        stream.question.forget();
                    }
                    return Err(error);
                }
            }
            Ok(())
        };
        self.changes.run(&self.pulse, operation, &what, deed).await
    }
}

/// What follows from a change that Mux took.
enum Change {
    /// The stream is as it was, but for its status.
    Status(LiveStreamStatus),
    /// Mux said how the stream is now.
    Whole(Box<LiveStream>),
    /// Its recording ended; a sender that is still connected may begin another one.
    Completed,
    /// It is gone.
    Deleted,
}

#[async_trait]
impl world::Mux for Mux {
    async fn environment(&self, credentials: &MuxCredentials) -> Result<Environment, ProviderError> {
        let account = self.account(credentials)?;
        self.whose(&account).await
    }

    async fn active_streams(
        &self,
        credentials: &MuxCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LiveStream>>, ProviderError> {
        let joined = self.joined(credentials).await?;
        // Whatever else waits, who is on air is looked at: it is one request for all.
        let client = joined.client.clone().with_looks(Priority::Start);
        let ask = async move { client.live_streams_with_status(&LiveStreamStatus::Active).await };
        let listed = joined.active.get(&joined.pulse, freshness, ask).await?;
        Ok(joined.environment.really_active(&listed))
    }

    fn age_of_active(&self, credentials: &MuxCredentials) -> Option<Duration> {
        let joined = self.account(credentials).ok()?.joined()?;
        Some(joined.active.last()?.came.elapsed())
    }

    fn age_of_markers(&self, credentials: &MuxCredentials) -> Option<Duration> {
        let joined = self.account(credentials).ok()?.joined()?;
        Some(joined.markers.last()?.asked.elapsed())
    }

    async fn marked_streams(
        &self,
        credentials: &MuxCredentials,
        marker: &str,
        freshness: Duration,
    ) -> Result<Vec<String>, ProviderError> {
        let joined = self.joined(credentials).await?;
        let client = joined.client.clone().with_looks(Priority::Create);
        let ask = async move { client.live_streams().await.map(Markers::new) };
        let markers = joined.markers.get(&joined.pulse, freshness, ask).await?.answer;
        Ok(markers.ids_of(marker))
    }

    async fn stream(
        &self,
        credentials: &MuxCredentials,
        id: &str,
        freshness: Duration,
    ) -> Result<Option<LiveStream>, ProviderError> {
        let joined = self.joined(credentials).await?;
        let priority = joined.environment.looks(&joined.environment.stream(id), freshness);
        joined.stream(id, freshness, priority).await
    }

    async fn spare_look(&self, credentials: &MuxCredentials, id: &str, freshness: Duration) -> SpareLook {
        let joined = match self.joined(credentials).await {
            Ok(joined) => joined,
            Err(error) => return SpareLook::Answered(Err(error)),
        };
        let fresh = joined.environment.is_known(id, freshness);
        if !fresh && !joined.environment.take_spare(freshness) {
            return SpareLook::NotNow;
        }
        match joined.stream(id, freshness, Priority::Look).await {
            Err(error) if error.cause == Some(Cause::NoAnswerYet) => SpareLook::Awaited,
            answer => SpareLook::Answered(answer),
        }
    }

    async fn create_stream(
        &self,
        credentials: &MuxCredentials,
        new: &NewLiveStream,
        awaited: bool,
    ) -> Result<LiveStream, ProviderError> {
        let joined = self.joined(credentials).await?;
        let (here, wanted) = (Arc::clone(&joined), new.clone());
        let priority = if awaited { Priority::Start } else { Priority::Create };
        let deed = async move {
            let made = here.client.clone().with_creates(priority).create_live_stream(&wanted).await?;
            here.environment.stream(&made.id).question.set(Some(made.clone()));
            Ok(made)
        };
        joined.creates.run(&joined.pulse, "create_live_stream", &new.passthrough, deed).await
    }

    async fn update_stream(
        &self,
        credentials: &MuxCredentials,
        id: &str,
        update: &LiveStreamUpdate,
    ) -> Result<(), ProviderError> {
        let joined = self.joined(credentials).await?;
        let (client, id, update) = (joined.client.clone(), id.to_owned(), *update);
        let (what, of) = (format!("{id} {update:?}"), id.clone());
        let change =
            async move { Ok(Change::Whole(Box::new(client.update_live_stream(&id, &update).await?))) };
        joined.change("update_live_stream", &of, what, change).await
    }

    async fn enable_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let joined = self.joined(credentials).await?;
        let (client, owned_id) = (joined.client.clone(), id.to_owned());
        let change = async move {
            client.enable_live_stream(&owned_id).await.map(|()| Change::Status(LiveStreamStatus::Idle))
        };
        joined.change("enable_live_stream", id, id.to_owned(), change).await
    }

    async fn disable_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let joined = self.joined(credentials).await?;
        let client = joined.client.clone().with_stops(joined.environment.stops(id));
        let owned_id = id.to_owned();
        let change = async move {
            client.disable_live_stream(&owned_id).await.map(|()| Change::Status(LiveStreamStatus::Disabled))
        };
        joined.change("disable_live_stream", id, id.to_owned(), change).await
    }

    async fn complete_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let joined = self.joined(credentials).await?;
        let (client, owned_id) = (joined.client.clone(), id.to_owned());
        let change = async move { client.complete_live_stream(&owned_id).await.map(|()| Change::Completed) };
        joined.change("complete_live_stream", id, id.to_owned(), change).await
    }

    async fn delete_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let joined = self.joined(credentials).await?;
        let client = joined.client.clone().with_stops(joined.environment.stops(id));
        let owned_id = id.to_owned();
        let change = async move { client.delete_live_stream(&owned_id).await.map(|()| Change::Deleted) };
        joined.change("delete_live_stream", id, id.to_owned(), change).await
    }
}

/// A transport that tells how quickly the account answers.
struct Watched {
    transport: Arc<dyn Transport>,
    pulse: Arc<Pulse>,
}

#[async_trait]
impl Transport for Watched {
    async fn exchange(&self, call: Call) -> Result<Answer, Interruption> {
        self.pulse.watch(self.transport.exchange(call)).await
    }
}
