//! Every example is taken by the API server as it stands.

use crate::support::{self, Turn};
use kube::api::{Api, Patch, PatchParams};
use memorialstream_operator::api::MemorialStream;
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_taken() {
    let _turn = Turn::alone().await;
    let client = support::client().await;
    let namespace = support::namespace(&client, "examples").await;
    let api: Api<MemorialStream> = Api::namespaced(client, &namespace);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut taken = 0;
    for entry in fs::read_dir(folder).expect("the examples").flatten() {
        let path = entry.path();
        let text = fs::read_to_string(&path).expect("an example");
        let manifest: serde_json::Value = serde_yaml::from_str(&text).expect("YAML");
        let name = manifest["metadata"]["name"].as_str().expect("a name").to_owned();
        // The strict check refuses fields that the CRD does not know.
        let parameters = PatchParams {
            field_validation: Some(kube::api::ValidationDirective::Strict),
            ..PatchParams::apply("examples")
        };
        let object = api
            .patch(&name, &parameters, &Patch::Apply(&manifest))
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let spec = object.spec;
        assert!(
            spec.state.is_none() && spec.session.is_none() && spec.program.is_none(),
            "{}: state, session and program belong to the director",
            path.display()
        );
        taken += 1;
    }
    assert!(taken >= 3, "{taken} examples");
    support::delete_namespace(&namespace).await;
}
