//! Mux and LiveKit as the lanes see them: one client per account, and lists that serve all objects of an account.

use crate::providers::ProviderError;
use crate::providers::livekit::{Egress, LivekitClient, LivekitCredentials, LivekitRoom, ProgramEgress};
use crate::providers::mux::{
    Environment, LiveStream, LiveStreamUpdate, MuxClient, MuxCredentials, NewLiveStream, RateLimiter,
    RateLimits,
};
use crate::world::{LiveKit, Mux};
use async_trait::async_trait;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long it is taken for granted whose credentials these are.
const ENVIRONMENT_FRESHNESS: Duration = Duration::from_secs(300);

/// How long a room lives that nobody joined yet: longer than any Standby may last.
const EMPTY_TIMEOUT_SECONDS: u32 = 24 * 3600;
/// How long a room lives after the last one left: a compositor that restarts must find it again.
const DEPARTURE_TIMEOUT_SECONDS: u32 = 24 * 3600;

/// An answer that serves everybody until it is too old for the one who asks.
struct Shared<T>(tokio::sync::Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(tokio::sync::Mutex::new(None))
    }
}

impl<T> Shared<T> {
    /// The answer, asked for anew when it is older than `freshness`. Who asks meanwhile waits for the same answer.
    async fn get(
        &self,
        freshness: Duration,
        ask: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<Arc<T>, ProviderError> {
        let asked_at = Instant::now();
        let mut slot = self.0.lock().await;
        if let Some((at, answer)) = slot.as_ref()
            && (*at >= asked_at || at.elapsed() < freshness)
        {
            return Ok(Arc::clone(answer));
        }
        let begun = Instant::now();
        let answer = Arc::new(ask.await?);
        *slot = Some((begun, Arc::clone(&answer)));
        Ok(answer)
    }

    async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

/// One of something per account.
struct PerAccount<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for PerAccount<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Hash + Eq + Clone, V> PerAccount<K, V> {
    fn get(&self, key: &K, make: impl FnOnce() -> Result<V, ProviderError>) -> Result<Arc<V>, ProviderError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(key) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(make()?);
        all.insert(key.clone(), Arc::clone(&made));
        Ok(made)
    }
}

struct MuxAccount {
    client: MuxClient,
    environment: Shared<Environment>,
    streams: Shared<Vec<LiveStream>>,
}

/// Every Mux account in use.
#[derive(Default)]
pub struct MuxAccounts(PerAccount<MuxCredentials, MuxAccount>);

impl MuxAccounts {
    fn account(&self, credentials: &MuxCredentials) -> Result<Arc<MuxAccount>, ProviderError> {
        self.0.get(credentials, || {
            Ok(MuxAccount {
                client: MuxClient::new(
                    credentials.clone(),
                    Arc::new(RateLimiter::new(RateLimits::default())),
                )?,
                environment: Shared::default(),
                streams: Shared::default(),
            })
        })
    }
}

#[async_trait]
impl Mux for MuxAccounts {
    async fn environment(&self, account: &MuxCredentials) -> Result<Environment, ProviderError> {
        let account = self.account(account)?;
        let answer = account.environment.get(ENVIRONMENT_FRESHNESS, account.client.whoami()).await?;
        Ok(answer.as_ref().clone())
    }

    async fn streams(
        &self,
        account: &MuxCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LiveStream>>, ProviderError> {
        let account = self.account(account)?;
        account.streams.get(freshness, account.client.live_streams()).await
    }

    async fn stream(&self, account: &MuxCredentials, id: &str) -> Result<Option<LiveStream>, ProviderError> {
        self.account(account)?.client.live_stream(id).await
    }

    async fn create_stream(
        &self,
        account: &MuxCredentials,
        new: &NewLiveStream,
    ) -> Result<LiveStream, ProviderError> {
        self.account(account)?.client.create_live_stream(new).await
    }

    async fn update_stream(
        &self,
        account: &MuxCredentials,
        id: &str,
        update: &LiveStreamUpdate,
    ) -> Result<(), ProviderError> {
        let account = self.account(account)?;
        account.client.update_live_stream(id, update).await?;
        account.streams.forget().await;
        Ok(())
    }

    async fn enable_stream(&self, account: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let account = self.account(account)?;
        account.client.enable_live_stream(id).await?;
        account.streams.forget().await;
        Ok(())
    }

    async fn disable_stream(&self, account: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let account = self.account(account)?;
        account.client.disable_live_stream(id).await?;
        account.streams.forget().await;
        Ok(())
    }

    async fn complete_stream(&self, account: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let account = self.account(account)?;
        account.client.complete_live_stream(id).await?;
        account.streams.forget().await;
        Ok(())
    }

    async fn delete_stream(&self, account: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let account = self.account(account)?;
        account.client.delete_live_stream(id).await?;
        account.streams.forget().await;
        Ok(())
    }
}

struct LiveKitAccount {
    client: LivekitClient,
    rooms: Shared<Vec<LivekitRoom>>,
    egresses: Shared<Vec<Egress>>,
}

/// Every LiveKit project in use.
#[derive(Default)]
pub struct LiveKitAccounts(PerAccount<LivekitCredentials, LiveKitAccount>);

impl LiveKitAccounts {
    fn account(&self, credentials: &LivekitCredentials) -> Result<Arc<LiveKitAccount>, ProviderError> {
        self.0.get(credentials, || {
            Ok(LiveKitAccount {
                client: LivekitClient::new(credentials)?,
                rooms: Shared::default(),
                egresses: Shared::default(),
            })
        })
    }
}

#[async_trait]
impl LiveKit for LiveKitAccounts {
    async fn rooms(
        &self,
        account: &LivekitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LivekitRoom>>, ProviderError> {
        let account = self.account(account)?;
        account.rooms.get(freshness, account.client.rooms()).await
    }

    async fn active_egresses(
        &self,
        account: &LivekitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<Egress>>, ProviderError> {
        let account = self.account(account)?;
        account.egresses.get(freshness, account.client.egresses(None, true)).await
    }

    async fn egress(&self, account: &LivekitCredentials, id: &str) -> Result<Option<Egress>, ProviderError> {
        self.account(account)?.client.egress(id).await
    }

    async fn create_room(
        &self,
        account: &LivekitCredentials,
        name: &str,
        metadata: &str,
    ) -> Result<LivekitRoom, ProviderError> {
        let account = self.account(account)?;
        let room = account
            .client
            .create_room(name, metadata, EMPTY_TIMEOUT_SECONDS, DEPARTURE_TIMEOUT_SECONDS)
            .await?;
        account.rooms.forget().await;
        Ok(room)
    }

    async fn delete_room(&self, account: &LivekitCredentials, name: &str) -> Result<(), ProviderError> {
        let account = self.account(account)?;
        account.client.delete_room(name).await?;
        account.rooms.forget().await;
        Ok(())
    }

    async fn start_egress(
        &self,
        account: &LivekitCredentials,
        request: &ProgramEgress,
    ) -> Result<Egress, ProviderError> {
        let account = self.account(account)?;
        let egress = account.client.start_program_egress(request).await?;
        account.egresses.forget().await;
        Ok(egress)
    }

    async fn stop_egress(&self, account: &LivekitCredentials, id: &str) -> Result<(), ProviderError> {
        let account = self.account(account)?;
        account.client.stop_egress(id).await?;
        account.egresses.forget().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn one_answer_serves_everybody_until_it_is_too_old() {
        let shared = Shared::default();
        let asked = AtomicU32::new(0);
        let ask = || async { Ok(asked.fetch_add(1, Ordering::SeqCst)) };
        let hour = Duration::from_secs(3600);
        let answers =
            tokio::join!(shared.get(hour, ask()), shared.get(hour, ask()), shared.get(Duration::ZERO, ask()));
        assert_eq!(*answers.0.unwrap(), 0);
        assert_eq!(*answers.1.unwrap(), 0);
        assert_eq!(*answers.2.unwrap(), 1, "no freshness means asking anew");
        shared.forget().await;
        assert_eq!(*shared.get(hour, ask()).await.unwrap(), 2);
    }
}
