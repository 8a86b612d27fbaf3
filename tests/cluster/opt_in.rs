//! What an installation allows its tenants: Secrets by opt-in, addresses by a list.

use crate::support::hostile::{Endpoint, Manner};
use crate::support::service::Service;
use crate::support::{Stage, is, message, namespace_without_opt_in, spec};
use memorialstream_lab::Kubectl;
use memorialstream_operator::api::conditions::ConditionType as Kind;
use memorialstream_operator::api::spec::{State, Via};
use serde_json::json;

/// The words that tell of the missing RoleBinding hold a command; it is carried out as it stands, and helps.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_opt_in_is_told_what_lets_the_operator_in() {
    let stage = Stage::enter("inviting").await;
    let namespace = namespace_without_opt_in(&stage.client, "uninvited").await;
    stage.write_credentials_in(&namespace, stage.credentials()).await;
    let service = Service::new(&stage.client, &namespace, "uninvited");
    service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Standby"}))).await;
    let told = service.says(Kind::CredentialsValid, "False", Some("Forbidden")).await;
    let words = message(&told, Kind::CredentialsValid);
    assert!(words.contains(&namespace) && is(&told, Kind::Ready, "False", None), "{told:?}");
    let uid = service.get().await.metadata.uid.expect("a uid");
    assert!(stage.streams_of_uid(&uid).await.is_empty() && stage.rooms(&uid).await.is_empty());

    let command = words.split_once("kubectl ").expect("the words hold a command").1;
    let arguments: Vec<&str> = command.split_whitespace().collect();
    Kubectl::new(&stage.lab).run(&arguments).expect("the command works as it stands");
    service.reaches(State::Standby).await;
    service.delete().await;
    service.is_gone().await;
    stage.assert_nothing_is_left(&uid).await;
}

/// An address outside of the installation's list is told, and never asked, though it leads to an address that is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_the_installation_does_not_allow_is_told_and_never_asked() {
    let stage = Stage::enter("endpoints").await;
    let endpoint = Endpoint::start(Manner::NotFound).await;
    let port = endpoint.address.port();
    for (key, scheme) in [
        ("MUX_BASE_URL", "http"),
        ("MUX_RTMP_URL", "rtmp"),
        ("MUX_PLAYBACK_BASE_URL", "http"),
        ("LIVEKIT_URL", "ws"),
    ] {
        let mut credentials = stage.credentials();
        credentials.insert(key, format!("{scheme}://localhost:{port}"));
        stage.write_credentials(credentials).await;
        let service = stage.service(&key.to_lowercase().replace('_', "-"));
        service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Standby"}))).await;
        let told = service
            .until("it tells the key and the host", |status| {
                let words = message(status, Kind::CredentialsValid);
                let all = [key, "localhost", "allowedEndpoints"].iter().all(|word| words.contains(word));
                is(status, Kind::CredentialsValid, "False", Some("EndpointNotAllowed")) && all
            })
            .await;
        assert!(is(&told, Kind::Ready, "False", None), "{told:?}");
        let uid = service.get().await.metadata.uid.expect("a uid");
        assert!(stage.streams_of_uid(&uid).await.is_empty() && stage.rooms(&uid).await.is_empty());
        service.delete().await;
        service.is_gone().await;
    }
    assert_eq!(endpoint.asked(), 0, "a refused address was asked");
}
