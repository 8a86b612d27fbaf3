//! Bad input and faults: what is wrong is said, nothing is duplicated, and all is well again once it is mended.

use crate::support::other_environment::{ENVIRONMENT, OtherEnvironment};
use crate::support::stage::PROVIDERS;
use crate::support::{Stage, eventually, holds, is, message, spec};
use k8s_openapi::api::core::v1::{ResourceQuota, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use memorialstream_lab::Fault;
use memorialstream_operator::api::MemorialStreamStatus;
use memorialstream_operator::api::conditions::ConditionType as Kind;
use memorialstream_operator::api::spec::{State, Via};
use serde_json::json;

/// Refused credentials are told in the provider's words, without a storm of requests; what worked before goes on being used,
/// and nothing is recreated.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_and_nothing_is_recreated() {
    let stage = Stage::enter("credentials").await;
    let service = stage.service("credentials");
    service.apply(spec(Via::Compositor, &["lectern"], json!({}))).await;
    let idle = service.reaches(State::Idle).await;
    let good = stage.credentials();
    for (key, words) in
        [("MUX_TOKEN_SECRET", "Unauthorized request"), ("LIVEKIT_API_SECRET", "key or secret is wrong")]
    {
        let mut wrong = good.clone();
        wrong.insert(key, "not-the-secret-of-this-account-at-all".into());
        stage.write_credentials(wrong).await;
        let refused = service.says(Kind::CredentialsValid, "False", Some("CredentialsRefused")).await;
        let told = message(&refused, Kind::CredentialsValid);
        assert!(told.contains(words) && told.contains(&stage.namespace), "{key}: {told}");
        assert!(refused.message.as_deref() == Some(told.as_str()), "{refused:?}");
        stage.mux.reset_counters().await.expect("reset");
        service.ask(State::Standby).await;
        service.until("Standby", |status| status.state == Some(State::Standby)).await;
        service.annotate("tributestream.com/reconcile-requested-at", Some(key)).await;
        // Whoever storms makes hundreds of requests in the time that a mended Secret takes to be read again.
        stage.write_credentials(good.clone()).await;
        service.says(Kind::CredentialsValid, "True", None).await;
        let counters = stage.mux.counters().await.expect("counters");
        let refusals: u64 =
            counters.iter().filter(|count| count.status == 401).map(|count| count.count).sum();
        assert!(refusals < 12, "{refusals} refused requests: {counters:?}");
        service.reaches(State::Standby).await;
        service.ask(State::Idle).await;
        let back = service.reaches(State::Idle).await;
        assert_eq!(back.mux.map(|mux| mux.stream_id), idle.mux.clone().map(|mux| mux.stream_id));
    }
    assert_eq!(stage.streams_ever_made(&service).await.len(), 1, "nothing was recreated");
    service.delete().await;
    service.is_gone().await;
}

/// A missing Secret and a missing key are named.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_and_a_missing_key_are_named() {
    let stage = Stage::enter("secret").await;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    secrets.delete(PROVIDERS, &DeleteParams::default()).await.expect("delete the Secret");
    let service = stage.service("secretless");
    service.apply(spec(Via::Compositor, &["lectern"], json!({}))).await;
    let missing = service.says(Kind::CredentialsValid, "False", Some("SecretNotFound")).await;
    let place = format!("{}/{PROVIDERS}", stage.namespace);
    assert!(message(&missing, Kind::CredentialsValid).contains(&place), "{missing:?}");
    let mut incomplete = stage.credentials();
    incomplete.remove("LIVEKIT_API_KEY");
    stage.write_credentials(incomplete).await;
    let missing = service.says(Kind::CredentialsValid, "False", Some("SecretKeyMissing")).await;
    assert!(message(&missing, Kind::CredentialsValid).contains("has no LIVEKIT_API_KEY"), "{missing:?}");
    assert!(is(&missing, Kind::Stalled, "True", Some("SecretKeyMissing")));
    stage.write_credentials(stage.credentials()).await;
    service.reaches(State::Idle).await;
    service.delete().await;
    service.is_gone().await;
}

/// A Secret that vanishes or changes sides during a service is told, and holds up neither a TAKE nor the end: nothing
/// paid runs on because nobody can sign in.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_vanishes_holds_up_neither_a_take_nor_the_end() {
    let stage = Stage::enter("vanished").await;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    for via in stage.vias() {
        let service = stage.service(&format!("vanished-{via:?}").to_lowercase());
        service.apply(spec(via, &["lectern", "wide"], json!({"state": "Live"}))).await;
        service.reaches(State::Live).await;
        let uid = service.get().await.metadata.uid.expect("a uid");

        let mut elsewhere = stage.credentials();
        elsewhere.insert("LIVEKIT_URL", "ws://127.0.0.1:9".into());
        stage.write_credentials(elsewhere).await;
        let told = service.says(Kind::CredentialsValid, "False", Some("LiveKitChanged")).await;
        assert!(told.message.is_some_and(|message| message.contains("ws://127.0.0.1:9")));

        let other = OtherEnvironment::start().await;
        let mut elsewhere = stage.credentials();
        elsewhere.insert("MUX_BASE_URL", other.url.clone());
        stage.write_credentials(elsewhere).await;
        let told = service.says(Kind::CredentialsValid, "False", Some("EnvironmentChanged")).await;
        assert!(message(&told, Kind::CredentialsValid).contains(ENVIRONMENT), "{told:?}");

        secrets.delete(PROVIDERS, &DeleteParams::default()).await.expect("delete the Secret");
        let told = service.says(Kind::CredentialsValid, "False", Some("SecretNotFound")).await;
        let place = format!("{}/{PROVIDERS}", stage.namespace);
        assert!(message(&told, Kind::CredentialsValid).contains(&place), "{told:?}");
        assert!(other.asked().iter().all(|path| path == "/system/v1/whoami"), "{:?}", other.asked());
        assert!(is(&told, Kind::OnAir, "True", None), "{told:?}");
        service.take(Some("wide")).await;
        let taken = service.get().await.metadata.generation;
        let at_the_pod = |status: &MemorialStreamStatus| {
            status.program.as_ref().is_some_and(|program| program.observed_generation == taken)
        };
        service.until("the TAKE is at the pod", at_the_pod).await;

        service.ask(State::Ended).await;
        service.until("Ended", |status| status.state == Some(State::Ended)).await;
        assert!(
            stage.active_egresses(&uid).await.is_empty() && stage.rooms(&uid).await.is_empty(),
            "{via:?}"
        );
        let stream = &stage.streams_of_uid(&uid).await[0];
        assert_eq!((stream.status.as_str(), stream.encoders), ("disabled", 0), "{via:?}");
        service.delete().await;
        service.is_gone().await;
        stage.assert_nothing_is_left(&uid).await;
        stage.write_credentials(stage.credentials()).await;
    }
}

/// An operator that starts while the Secret names another LiveKit follows it nowhere: the room, its Program and its sender
/// stay what they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_operator_does_not_follow_a_secret_to_another_livekit() {
    let mut stage = Stage::alone("elsewhere").await;
    let via = *stage.vias().last().expect("a sender");
    let service = stage.service("staying");
    service.apply(spec(via, &["lectern", "wide"], json!({"state": "Live"}))).await;
    let live = service.reaches(State::Live).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    stage.kill_operator();
    let mut elsewhere = stage.credentials();
    elsewhere.insert("LIVEKIT_URL", "ws://127.0.0.1:9".into());
    stage.write_credentials(elsewhere).await;
    stage.start_operator();
    service.says(Kind::CredentialsValid, "False", Some("LiveKitChanged")).await;
    service.take(Some("wide")).await;
    let taken = service.get().await.metadata.generation;
    let at_the_pod = |status: &MemorialStreamStatus| {
        status.program.as_ref().is_some_and(|program| program.observed_generation == taken)
    };
    service.until("the TAKE is at the pod", at_the_pod).await;
    assert_eq!(service.status().await.room, live.room);
    stage.write_credentials(stage.credentials()).await;
    let back = service.reaches(State::Live).await;
    assert_eq!((back.room, back.egress.clone().map(|egress| egress.attempt)), (live.room, Some(1)));
    assert_eq!(stage.active_egresses(&uid).await.len(), usize::from(via == Via::LiveKit));
    assert_eq!(stage.streams_of_uid(&uid).await[0].assets, 1, "the broadcast was never interrupted");
    service.delete().await;
    service.is_gone().await;
    stage.assert_nothing_is_left(&uid).await;
}

/// An image that the node cannot get is told in the kubelet's words.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_had_is_told() {
    let stage = Stage::alone_with_image("image", Some("localhost/no-such-compositor:1")).await;
    let service = stage.service("imageless");
    service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Standby"}))).await;
    let told = service.says(Kind::CompositorReady, "False", Some("ErrImageNeverPull")).await;
    assert!(message(&told, Kind::CompositorReady).contains("localhost/no-such-compositor:1"), "{told:?}");
    assert!(told.message.is_some_and(|message| message.contains("no-such-compositor")));
    service.delete().await;
    service.is_gone().await;
}

/// Without an egress worker the service waits, says so, and goes live once there is one.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_egress_worker_it_waits_for_capacity() {
    let stage = Stage::alone("capacity").await;
    if !stage.vias().contains(&Via::LiveKit) {
        return;
    }
    stage.stop_process("egress").await;
    let service = stage.service("waiting");
    service.apply(spec(Via::LiveKit, &["lectern"], json!({"state": "Live"}))).await;
    let told = service.says(Kind::EgressActive, "False", Some("WaitingForCapacity")).await;
    assert!(message(&told, Kind::EgressActive).contains("egress worker"), "{told:?}");
    stage.start_process("egress").await;
    let live = service.reaches(State::Live).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    assert_eq!(stage.active_egresses(&uid).await.len(), 1);
    assert!(live.egress.expect("egress").attempt > 1);
    service.delete().await;
    service.is_gone().await;
}

/// The older object keeps the slug; the younger one says who has it, and costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_slug_belongs_to_the_older_object() {
    let stage = Stage::enter("slug").await;
    let (older, younger) = (stage.service("older"), stage.service("younger"));
    older.apply(spec(Via::Compositor, &[], json!({"slug": "jane"}))).await;
    older.reaches(State::Idle).await;
    younger.apply(spec(Via::Compositor, &[], json!({"slug": "jane", "state": "Standby"}))).await;
    let taken = younger.says(Kind::Stalled, "True", Some("SlugTaken")).await;
    let holder = format!("{}/older", stage.namespace);
    assert!(message(&taken, Kind::Stalled).contains(&holder), "{taken:?}");
    let uid = younger.get().await.metadata.uid.expect("a uid");
    assert!(stage.streams_of_uid(&uid).await.is_empty() && stage.rooms(&uid).await.is_empty());
    assert!(is(&older.status().await, Kind::Ready, "True", None));
    older.delete().await;
    older.is_gone().await;
    younger.reaches(State::Standby).await;
    younger.delete().await;
    younger.is_gone().await;
}

/// Mux is down while a service goes live: it goes live when Mux is back, with one stream.
#[tokio::test(flavor = "multi_thread")]
async fn mux_down_during_go_live_converges_when_it_is_back() {
    let stage = Stage::enter("outage").await;
    for (name, fault) in [("refused", Fault::server_error()), ("cut-off", Fault::outage())] {
        let service = stage.service(name);
        stage.mux.set_fault(&fault).await.expect("set the fault");
        service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Live"}))).await;
        let told = service
            .until("it is told that Mux does not answer", |status| {
                is(status, Kind::CredentialsValid, "Unknown", Some("ProviderNotAnswering"))
                    || is(status, Kind::MuxStreamReady, "Unknown", None)
                    || is(status, Kind::MuxStreamReady, "False", Some("ProviderNotAnswering"))
            })
            .await;
        assert!(told.message.is_some(), "{told:?}");
        stage.mux.clear_faults().await.expect("clear");
        service.reaches(State::Live).await;
        assert_eq!(stage.streams_ever_made(&service).await.len(), 1, "{name}");
        service.delete().await;
        service.is_gone().await;
    }
}

/// A quota that lets no pod in is told in the API server's words, though nothing of ours is wrong; once there is room, the pod
/// comes by itself, and at once for who asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_told_and_tried_again_by_itself_and_at_once_when_asked() {
    let stage = Stage::enter("quota").await;
    let service = stage.service("counted");
    service.apply(spec(Via::Compositor, &["lectern"], json!({}))).await;
    service.reaches(State::Idle).await;
    let quotas: Api<ResourceQuota> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let quota = json!({"metadata": {"name": "no-pods"}, "spec": {"hard": {"pods": "0"}}});
    let quota: ResourceQuota = serde_json::from_value(quota).expect("a quota");
    for asks in [false, true] {
        quotas.create(&PostParams::default(), &quota).await.expect("create the quota");
        eventually("the quota is in force", async || {
            let status = quotas.get("no-pods").await.expect("read the quota").status;
            holds(status.is_some_and(|status| status.hard.is_some()), || "it has no status".into())
        })
        .await;
        service.ask(State::Standby).await;
        let told = service.says(Kind::CompositorReady, "False", Some("KubernetesRefused")).await;
        assert!(message(&told, Kind::CompositorReady).contains("exceeded quota: no-pods"), "{told:?}");
        assert!(is(&told, Kind::Stalled, "False", None), "it is tried again: {told:?}");
        assert!(
            told.message.as_deref().is_some_and(|message| message.contains("exceeded quota")),
            "{told:?}"
        );
        quotas.delete("no-pods", &DeleteParams::default()).await.expect("delete the quota");
        if asks {
            service.annotate("tributestream.com/reconcile-requested-at", Some("now")).await;
        }
        service.reaches(State::Standby).await;
        service.ask(State::Idle).await;
        service.reaches(State::Idle).await;
    }
    service.delete().await;
    service.is_gone().await;
}

/// The pod answers only to its bearer token. Where somebody changed it, that is told; the lane that reached the pod before
/// still does, and writes down what the pod knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_bearer_token_is_refused_and_told() {
    let stage = Stage::enter("bearer").await;
    let service = stage.service("guarded");
    service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Standby"}))).await;
    service.reaches(State::Standby).await;
    let uid = service.get().await.metadata.uid.expect("a uid");
    let ip = stage.pods(&uid).await[0].status.clone().and_then(|status| status.pod_ip).expect("an address");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let control = memorialstream_compositor_protocol::CONTROL_PORT;
    for token in ["", "wrong"] {
        for path in ["status", "program", "sender"] {
            let url = format!("http://{ip}:{control}/v1/{path}");
            let request = if path == "status" { client.get(url) } else { client.put(url).body("{}") };
            let answer = request.bearer_auth(token).send().await.expect("an answer");
            assert_eq!(answer.status(), 401, "{path} with {token:?}");
        }
    }
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let token = memorialstream_compositor_protocol::BEARER_TOKEN_FILE;
    let patch = json!({"stringData": {token: "not-the-one-that-the-pod-knows"}});
    secrets
        .patch("guarded-compositor", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("change the bearer token");
    let told = service.says(Kind::CompositorReady, "False", Some("Unauthorized")).await;
    assert!(message(&told, Kind::CompositorReady).contains("bearer token"), "{told:?}");
    service.take(Some("lectern")).await;
    let generation = service.get().await.metadata.generation;
    service
        .until("the TAKE is at the compositor", |status| {
            status.program.as_ref().is_some_and(|program| program.observed_generation == generation)
        })
        .await;
    service.says(Kind::CompositorReady, "True", None).await;
    service.delete().await;
    service.is_gone().await;
    eventually("the pod is gone", async || {
        let pods = stage.pods(&uid).await;
        holds(pods.is_empty(), || format!("{} pods", pods.len()))
    })
    .await;
}
