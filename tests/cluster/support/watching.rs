//! Whether something held all the time, or was ever so: every status that the API server tells of is looked at.

use super::service::{Service, is};
use futures::{StreamExt, pin_mut};
use kube::runtime::watcher::{self, Event, watcher};
use memorialstream_operator::api::MemorialStreamStatus;
use memorialstream_operator::api::conditions::{ConditionType, find};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// Watches one service until it is asked. Dropped, it ends.
pub struct Watching {
    task: JoinHandle<()>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    statuses: usize,
    wrong: Vec<String>,
}

impl Watching {
    /// Looks whether it is on air, beginning with how it is now.
    pub fn on_air(service: &Service) -> Self {
        Self::begin(service, |status| {
            let on_air = find(&status.conditions, ConditionType::OnAir);
            (!is(status, ConditionType::OnAir, "True", None)).then(|| format!("{on_air:?}"))
        })
    }

    /// Beginning with how it is now; `wrong` says what is wrong with a status.
    pub fn begin(
        service: &Service,
        wrong: impl Fn(&MemorialStreamStatus) -> Option<String> + Send + 'static,
    ) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (account, api) = (Arc::clone(&seen), service.api());
        let config = watcher::Config::default().fields(&format!("metadata.name={}", service.name));
        let task = tokio::spawn(async move {
            let events = watcher(api, config);
            pin_mut!(events);
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(object) | Event::InitApply(object)) = event else { continue };
                let status = object.status.unwrap_or_default();
                let mut seen = account.lock().expect("the account");
                seen.statuses += 1;
                seen.wrong.extend(wrong(&status));
            }
        });
        Self { task, seen }
    }

    /// What was wrong since the beginning, however shortly.
    pub fn found(&self) -> Vec<String> {
        self.seen.lock().expect("the account").wrong.clone()
    }

    /// Fails when something was wrong since the beginning. Returns how many statuses were looked at.
    pub fn assert_nothing_was_wrong(&self) -> usize {
        let seen = self.seen.lock().expect("the account");
        assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
        assert!(seen.statuses > 0, "somebody watched");
        seen.statuses
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}
