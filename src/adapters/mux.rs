//! Mux as the lanes see it: one client per set of credentials, and lists that serve all objects of an environment.

use super::shared::{PerCredentials, Shared};
use crate::providers::ProviderError;
use crate::providers::mux::{
    Environment, LiveStream, LiveStreamUpdate, MuxClient, MuxCredentials, NewLiveStream, RateLimiter,
    RateLimits, Transport,
};
use crate::world;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// How long it is taken for granted whose credentials these are.
const ENVIRONMENT_FRESHNESS: Duration = Duration::from_secs(300);

struct Account {
    client: MuxClient,
    environment: Shared<Environment>,
    streams: Shared<Vec<LiveStream>>,
}

/// Mux, with whatever credentials the lanes bring.
pub struct Mux {
    transport: Arc<dyn Transport>,
    accounts: PerCredentials<MuxCredentials, Account>,
}

impl Mux {
    /// Mux, reached by `transport`.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, accounts: PerCredentials::default() }
    }

    fn account(&self, credentials: &MuxCredentials) -> Result<Arc<Account>, ProviderError> {
        self.accounts.get(credentials, || {
            let limiter = Arc::new(RateLimiter::new(RateLimits::default()));
            Ok(Account {
                client: MuxClient::new(credentials.clone(), limiter, Arc::clone(&self.transport))?,
                environment: Shared::default(),
                streams: Shared::default(),
            })
        })
    }
}

#[async_trait]
impl world::Mux for Mux {
    async fn environment(&self, credentials: &MuxCredentials) -> Result<Environment, ProviderError> {
        let account = self.account(credentials)?;
        let answer = account.environment.get(ENVIRONMENT_FRESHNESS, account.client.whoami()).await?;
        Ok(answer.as_ref().clone())
    }

    async fn streams(
        &self,
        credentials: &MuxCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LiveStream>>, ProviderError> {
        let account = self.account(credentials)?;
        account.streams.get(freshness, account.client.live_streams()).await
    }

    async fn stream(
        &self,
        credentials: &MuxCredentials,
        id: &str,
    ) -> Result<Option<LiveStream>, ProviderError> {
        self.account(credentials)?.client.live_stream(id).await
    }

    async fn create_stream(
        &self,
        credentials: &MuxCredentials,
        new: &NewLiveStream,
    ) -> Result<LiveStream, ProviderError> {
        self.account(credentials)?.client.create_live_stream(new).await
    }

    async fn update_stream(
        &self,
        credentials: &MuxCredentials,
        id: &str,
        update: &LiveStreamUpdate,
    ) -> Result<(), ProviderError> {
        let account = self.account(credentials)?;
        account.client.update_live_stream(id, update).await?;
        account.streams.forget().await;
        Ok(())
    }

    async fn enable_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let account = self.account(credentials)?;
        account.client.enable_live_stream(id).await?;
        account.streams.forget().await;
        Ok(())
    }

    async fn disable_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let account = self.account(credentials)?;
        account.client.disable_live_stream(id).await?;
        account.streams.forget().await;
        Ok(())
    }

    async fn complete_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let account = self.account(credentials)?;
        account.client.complete_live_stream(id).await?;
        account.streams.forget().await;
        Ok(())
    }

    async fn delete_stream(&self, credentials: &MuxCredentials, id: &str) -> Result<(), ProviderError> {
        let account = self.account(credentials)?;
        account.client.delete_live_stream(id).await?;
        account.streams.forget().await;
        Ok(())
    }
}
