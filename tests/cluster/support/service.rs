//! One MemorialStream, as people handle it.

use super::wait::{TIMEOUT, eventually, holds};
use super::{manifest, resource};
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use memorialstream_operator::api::conditions::{ConditionType, find};
use memorialstream_operator::api::spec::State;
use memorialstream_operator::api::{MemorialStream, MemorialStreamStatus};
use serde_json::{Value, json};
use std::time::Instant;

/// The manager that a GitOps tool applies as.
const GITOPS: &str = "gitops";

/// A MemorialStream by name.
#[derive(Clone)]
pub struct Service {
    client: Client,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Service {
    /// The one of that name; it need not exist.
    pub fn new(client: &Client, namespace: &str, name: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The MemorialStreams of its namespace.
    pub fn api(&self) -> Api<MemorialStream> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies it server-side as a GitOps tool does.
    pub async fn apply(&self, spec: Value) {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource());
        let patch = Patch::Apply(manifest(&self.name, spec));
        // kubectl and GitOps tools force; what they leave out they never own.
        let parameters = PatchParams::apply(GITOPS).force();
        api.patch(&self.name, &parameters, &patch).await.expect("apply the manifest");
    }

    /// Patches the spec as a director does with `kubectl patch --type merge`.
    pub async fn patch(&self, spec: Value) {
        self.try_patch(spec).await.expect("patch the spec");
    }

    /// The same, and what the API server answers.
    pub async fn try_patch(&self, spec: Value) -> kube::Result<MemorialStream> {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.api().patch(&self.name, &PatchParams::default(), &patch).await
    }

    /// Asks for a state.
    pub async fn ask(&self, state: State) {
        self.patch(json!({"state": state})).await;
    }

    /// TAKEs a camera; none is the slate.
    pub async fn take(&self, camera: Option<&str>) {
        self.patch(json!({"program": {"sources": camera.into_iter().collect::<Vec<_>>()}})).await;
    }

    /// Sets or removes an annotation.
    pub async fn annotate(&self, key: &str, value: Option<&str>) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
        self.api().patch(&self.name, &PatchParams::default(), &patch).await.expect("annotate");
    }

    /// As it is now.
    pub async fn get(&self) -> MemorialStream {
        self.api().get(&self.name).await.expect("read the MemorialStream")
    }

    /// Its status now.
    pub async fn status(&self) -> MemorialStreamStatus {
        self.get().await.status.unwrap_or_default()
    }

    /// Waits until status is as wanted, and returns it. Looks often, so that short moments are seen.
    pub async fn until(
        &self,
        what: &str,
        mut wanted: impl FnMut(&MemorialStreamStatus) -> bool,
    ) -> MemorialStreamStatus {
        let began = Instant::now();
        loop {
            let status = self.status().await;
            if wanted(&status) {
                // Shown with a failing test, and with --nocapture.
                println!("{:6.1} s  {}: {what}", began.elapsed().as_secs_f64(), self.name);
                return status;
            }
            if began.elapsed() > TIMEOUT {
                let mut whole = self.get().await;
                whole.metadata.managed_fields = None;
                let whole = serde_json::to_string_pretty(&whole).expect("JSON");
                panic!(
                    "{}/{}: after {} s still not: {what}\n{whole}\nEvents: {:#?}",
                    self.namespace,
                    self.name,
                    TIMEOUT.as_secs(),
                    self.events().await
                );
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Waits for a state to be fully reached, for the generation that is in force.
    pub async fn reaches(&self, state: State) -> MemorialStreamStatus {
        let generation = self.get().await.metadata.generation;
        self.until(&format!("{state:?} reached"), |status| {
            status.state == Some(state)
                && status.observed_generation >= generation
                && is(status, ConditionType::Ready, "True", None)
        })
        .await
    }

    /// Waits for a condition, with a reason if one is named.
    pub async fn says(&self, kind: ConditionType, truth: &str, reason: Option<&str>) -> MemorialStreamStatus {
        self.until(&format!("{}={truth} {}", kind.as_str(), reason.unwrap_or("")), |status| {
            is(status, kind, truth, reason)
        })
        .await
    }

    /// Asks for its deletion.
    pub async fn delete(&self) {
        self.api().delete(&self.name, &DeleteParams::default()).await.expect("delete");
    }

    /// Waits until it is gone.
    pub async fn is_gone(&self) {
        eventually(&format!("{}/{} is gone", self.namespace, self.name), async || {
            let left = self.api().get_opt(&self.name).await.expect("read");
            holds(left.is_none(), || serde_json::to_string(&left.map(|left| left.status)).expect("JSON"))
        })
        .await;
    }

    /// The reasons and messages of its Events.
    pub async fn events(&self) -> Vec<(String, String)> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let field = format!("involvedObject.name={}", self.name);
        let events = api.list(&ListParams::default().fields(&field)).await.expect("list Events");
        let pair = |event: Event| (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        events.items.into_iter().map(pair).collect()
    }
}

/// Whether a condition stands there.
pub fn is(status: &MemorialStreamStatus, kind: ConditionType, truth: &str, reason: Option<&str>) -> bool {
    find(&status.conditions, kind).is_some_and(|condition| {
        condition.status == truth && reason.is_none_or(|reason| condition.reason == reason)
    })
}

/// What a condition says.
pub fn message(status: &MemorialStreamStatus, kind: ConditionType) -> String {
    find(&status.conditions, kind).map(|condition| condition.message.clone()).unwrap_or_default()
}
