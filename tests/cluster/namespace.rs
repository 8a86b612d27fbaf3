//! What is made must be ended, although the namespace with its Secrets is gone, or a provider is.

use crate::support::{Stage, eventually, holds, spec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use memorialstream_lab::installation::NAMESPACE;
use memorialstream_operator::api::names::{ABANDON, CREDENTIALS_COPY_LABEL};
use memorialstream_operator::api::spec::{State, Via};
use serde_json::json;

/// Whoever deletes a namespace takes Secrets and RoleBinding away first; here from an operator that starts only then.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_deleted_while_live_ends_everything() {
    let mut stage = Stage::alone("doomed").await;
    for (number, via) in stage.vias().into_iter().enumerate() {
        if number > 0 {
            drop(stage);
            stage = Stage::alone("doomed").await;
        }
        let service = stage.service("doomed");
        service.apply(spec(via, &["lectern"], json!({"state": "Live"}))).await;
        service.reaches(State::Live).await;
        let uid = service.get().await.metadata.uid.expect("a uid");
        let copy = service.status().await.credentials_copy.expect("a copy of the credentials");
        stage.kill_operator();
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        namespaces.delete(&stage.namespace, &DeleteParams::default()).await.expect("delete the namespace");
        let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
        let bindings: Api<RoleBinding> = Api::namespaced(stage.client.clone(), &stage.namespace);
        eventually("Secrets and RoleBinding are gone", async || {
            let secrets = secrets.list(&ListParams::default()).await.expect("list").items.len();
            let bindings = bindings.list(&ListParams::default()).await.expect("list").items.len();
            holds(secrets + bindings == 0, || format!("{secrets} Secrets, {bindings} RoleBindings"))
        })
        .await;
        assert!(!stage.streams_of_uid(&uid).await[0].deleted, "nobody is there to end it");
        stage.start_operator();
        service.is_gone().await;
        stage.assert_nothing_is_left(&uid).await;
        eventually("the namespace is gone", async || {
            let left = namespaces.get_opt(&stage.namespace).await.expect("read");
            holds(left.is_none(), || format!("{left:?}"))
        })
        .await;
        let copies: Api<Secret> = Api::namespaced(stage.client.clone(), NAMESPACE);
        eventually("the copy of the credentials is gone", async || {
            let left =
                copies.list(&ListParams::default().labels(CREDENTIALS_COPY_LABEL)).await.expect("list");
            let names: Vec<_> = left.items.into_iter().filter_map(|secret| secret.metadata.name).collect();
            holds(!names.contains(&copy), || format!("{names:?}"))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_abandon_what_mux_does_not_let_end_and_a_record_names_it() {
    let stage = Stage::alone("abandoned").await;
    let service = stage.service("abandoned");
    service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Standby"}))).await;
    service.reaches(State::Standby).await;
    let object = service.get().await;
    let uid = object.metadata.uid.clone().expect("a uid");
    let stream = service.status().await.mux.and_then(|mux| mux.stream_id).expect("a live stream");
    stage.stop_process("mux-simulator").await;
    service.delete().await;
    eventually("what can be ended is", async || {
        let left = (stage.rooms(&uid).await.len(), stage.pods(&uid).await.len());
        holds(left == (0, 0), || format!("{left:?} rooms and pods"))
    })
    .await;
    assert_eq!(
        service.get().await.metadata.uid.as_deref(),
        Some(&*uid),
        "nobody said that it may be abandoned"
    );
    service.annotate(ABANDON, Some("true")).await;
    service.is_gone().await;
    let records: Api<ConfigMap> = Api::namespaced(stage.client.clone(), NAMESPACE);
    let record = records.get(&format!("abandoned-{uid}")).await.expect("the record");
    let data = record.data.expect("data");
    assert_eq!(data["muxLiveStream"], stream);
    assert_eq!(data["memorialStream"], format!("{}/abandoned", stage.namespace));
    assert!(data["hindrance"].contains("Mux"), "{data:?}");
    stage.start_process("mux-simulator").await;
}
