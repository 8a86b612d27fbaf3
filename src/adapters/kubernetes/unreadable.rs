//! Tells people of objects that the operator cannot read.

use super::bounded;
use super::stored::Unreadable;
use crate::api::conditions::{ConditionType, Statement, Truth};
use crate::api::names::UNREADABLE_MANAGER;
use crate::api::{MemorialStream, Reason};
use futures::{Stream, StreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use serde_json::json;
use std::collections::HashMap;

/// Tells of each unreadable object once for each reason and spec, as they come, one after the other.
pub async fn report(client: Client, unreadable: impl Stream<Item = Unreadable>) {
    let reporter = Reporter { controller: "memorialstream-operator".into(), instance: None };
    let recorder = Recorder::new(client.clone(), reporter);
    let mut told: HashMap<String, (Option<i64>, String)> = HashMap::new();
    let mut unreadable = std::pin::pin!(unreadable);
    while let Some(unreadable) = unreadable.next().await {
        let uid = unreadable.metadata.uid.clone().unwrap_or_default();
        // It may have been corrected meanwhile, and is as bad as before.
        let news = (unreadable.metadata.generation, unreadable.reason.clone());
        if told.get(&uid) != Some(&news) && tell(&client, &recorder, &unreadable).await {
            told.insert(uid, news);
        }
    }
}

/// Whether its status tells of it now.
async fn tell(client: &Client, recorder: &Recorder, unreadable: &Unreadable) -> bool {
    let name = unreadable.metadata.name.as_deref().unwrap_or_default();
    let namespace = unreadable.metadata.namespace.as_deref().unwrap_or_default();
    let (reason, message) = (Reason::Unreadable, unreadable.message());
    tracing::error!(namespace, name, message, "an object cannot be read");
    let event = Event {
        type_: EventType::Warning,
        reason: reason.as_str().into(),
        note: Some(message.clone()),
        action: "Read".into(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &unreadable.reference()).await {
        tracing::warn!(%error, namespace, name, "an Event was not taken");
    }
    // By a manager of its own: the lanes' part of the status stays as it is.
    let statements = [
        Statement::new(ConditionType::Stalled, true, reason, message.clone()),
        Statement::new(ConditionType::Ready, false, reason, message.clone()),
        // What was said last may not be so any more, and nobody looks.
        Statement::new(ConditionType::OnAir, Truth::Unknown, reason, message),
    ];
    let (generation, now) = (unreadable.metadata.generation, Timestamp::now());
    let conditions = statements.map(|statement| statement.into_condition(&[], generation, now));
    let patch = json!({
        "apiVersion": MemorialStream::api_version(&()),
        "kind": MemorialStream::kind(&()),
        "metadata": {"name": name, "namespace": namespace},
        "status": {"conditions": conditions},
    });
    let resource = ApiResource::erase::<MemorialStream>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let parameters = PatchParams::apply(UNREADABLE_MANAGER).force();
    let written = bounded(api.patch_status(name, &parameters, &Patch::Apply(patch))).await;
    if let Err(error) = &written {
        tracing::warn!(%error, namespace, name, "its status was not written");
    }
    written.is_ok()
}
