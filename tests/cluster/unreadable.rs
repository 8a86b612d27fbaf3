//! What the operator's types cannot read, and a status that an older CRD does not know: each costs only itself.

use crate::support::stage::PROVIDERS;
use crate::support::{
    Stage, client, delete_namespace, eventually, holds, install_definition, manifest, namespace, resource,
    spec,
};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use memorialstream_operator::api::spec::{State, Via};
use memorialstream_operator::service::pod::UID_LABEL;
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

/// A tenant's pod with our label, in which stands a time that no client of ours can read. The API server takes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_be_read_costs_only_itself() {
    let mut stage = Stage::alone("poisoned").await;
    let tenant = namespace(&stage.client, "poisoner").await;
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &tenant);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "poisoned", "labels": {UID_LABEL: "x"}},
        "spec": {"containers": [{"name": "x", "image": "nowhere.invalid/x"}], "nodeSelector": {"no": "node"}},
    }))
    .expect("a pod");
    pods.create(&PostParams::default(), &pod).await.expect("create the pod");
    let fields = json!({"f:metadata": {"f:labels": {format!("f:{UID_LABEL}"): {}}}});
    let managed = json!({
        "manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": "9999-12-31T23:59:59Z", "fieldsV1": fields,
    });
    let patch = Patch::Merge(json!({"metadata": {"managedFields": [managed]}}));
    let answer = pods.patch("poisoned", &PatchParams::default(), &patch).await;
    assert!(matches!(answer, Err(kube::Error::SerdeError(_))), "it is taken, and cannot be read: {answer:?}");
    stage.kill_operator();
    stage.start_operator();
    let service = stage.service("beside");
    service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Standby"}))).await;
    service.reaches(State::Standby).await;
    service.take(Some("lectern")).await;
    let generation = service.get().await.metadata.generation;
    service
        .until("the TAKE is at the compositor", |status| {
            status.program.as_ref().is_some_and(|program| program.observed_generation == generation)
        })
        .await;
    service.delete().await;
    service.is_gone().await;
    delete_namespace(&tenant).await;
}

/// The operator was upgraded, and the CRD was not: it lacks a field of status, with which an end begins. What is to end ends;
/// that is told once the CRD is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_definition_of_before_holds_up_no_end() {
    let stage = Stage::alone("definition").await;
    let service = stage.service("ending");
    service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Live"}))).await;
    service.reaches(State::Live).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    let definitions: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    let field = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/endingSince";
    let patch = serde_json::from_value(json!([{"op": "remove", "path": field}])).expect("a patch");
    definitions
        .patch("memorialstreams.tributestream.com", &PatchParams::default(), &Patch::Json::<()>(patch))
        .await
        .expect("take a field away");
    service.ask(State::Ended).await;
    eventually("nothing reaches Mux, and no pod is left", async || {
        let stream = stage.streams_of_uid(&uid).await.remove(0);
        let pods = stage.pods(&uid).await.len();
        holds((stream.encoders, stream.status.as_str(), pods) == (0, "disabled", 0), || {
            format!("{} encoders, {}, {pods} pods", stream.encoders, stream.status)
        })
    })
    .await;
    let log = stage.operator_log();
    assert!(log.contains("field not declared in schema"), "the API server refused no status:\n{log}");
    install_definition(&stage.client).await;
    service.reaches(State::Ended).await;
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
