//! An object that the operator's types cannot read, as one that an older CRD took in, costs only itself.

use crate::support::stage::PROVIDERS;
use crate::support::{Stage, client, eventually, holds, install_definition, manifest, resource, spec};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use memorialstream_operator::api::spec::{State, Via};
use serde_json::{Value, json};

/// `session` is no number: no version of the operator ever wrote that, and none can read it.
fn unreadable() -> Value {
    json!({"session": "the first", "title": "what-logs-must-not-hold"})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_costs_only_itself() {
    let mut stage = Stage::alone("unreadable").await;
    let (before, after) = (stage.service("a-before"), stage.service("z-after"));
    before.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Live"}))).await;
    before.reaches(State::Live).await;
    let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), &stage.namespace, &resource());
    store_without_validation(&stage.client, &api).await;
    // Seen by a watch that is under way.
    is_told(&stage, &api).await;
    after.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Live"}))).await;
    after.reaches(State::Live).await;

    // Seen by a list, between the two others.
    stage.kill_operator();
    stage.start_operator();
    for service in [&before, &after] {
        service.ask(State::Ended).await;
        service.reaches(State::Ended).await;
        service.patch(json!({"state": "Live", "session": 2})).await;
        service.reaches(State::Live).await;
        service.delete().await;
        service.is_gone().await;
    }
    is_told(&stage, &api).await;
    assert!(!stage.operator_log().contains("what-logs-must-not-hold"), "the log repeats the object");

    // Once it is mended it is as good as any. The rules compare the session with the earlier one, and cannot where that is
    // no number: it is taken away first.
    let mended = json!({"spec": {"session": null, "credentialsSecretRef": {"name": PROVIDERS}}});
    api.patch("m-unreadable", &PatchParams::default(), &Patch::Merge(mended)).await.expect("mend it");
    let service = stage.service("m-unreadable");
    service.reaches(State::Idle).await;
    service.delete().await;
    service.is_gone().await;
}

/// A warning and a condition, by name.
async fn is_told(stage: &Stage, api: &Api<DynamicObject>) {
    eventually("it is told that the object cannot be read", async || {
        let object = api.get("m-unreadable").await.map_err(|error| error.to_string())?;
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let told = conditions.iter().any(|condition| {
            condition["type"] == "Stalled"
                && condition["status"] == "True"
                && condition["reason"] == "Unreadable"
        });
        holds(told, || object.data.to_string())
    })
    .await;
    eventually("an Event tells it", async || {
        let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
        let field = ListParams::default().fields("involvedObject.name=m-unreadable");
        let found = events.list(&field).await.map_err(|error| error.to_string())?.items;
        holds(found.iter().any(|event| event.reason.as_deref() == Some("Unreadable")), || {
            format!("{found:?}")
        })
    })
    .await;
}

/// Takes the CRD's schema away for as long as one object needs to get in.
async fn store_without_validation(client: &Client, api: &Api<DynamicObject>) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let patch =
        json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": anything}]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch).expect("a patch"));
    definitions
        .patch("memorialstreams.tributestream.com", &PatchParams::default(), &patch)
        .await
        .expect("take the schema away");
    let stored = async || {
        let answer = api.create(&PostParams::default(), &manifest("m-unreadable", unreadable())).await;
        holds(answer.is_ok(), || format!("{answer:?}"))
    };
    eventually("an object is stored that the schema does not allow", stored).await;
    install_definition(&self::client().await).await;
    eventually("the schema is back", async || {
        let answer = api.create(&PostParams::default(), &manifest("refused", unreadable())).await;
        match answer {
            Err(kube::Error::Api(refused)) if refused.code == 422 => Ok(()),
            answer => {
                let _gone = api.delete("refused", &DeleteParams::default()).await;
                Err(format!("{answer:?}"))
            }
        }
    })
    .await;
}
