//! One test's turn on the lab: a namespace with credentials for an environment of Mux of its own, and an operator.

use super::operator::Operator;
use super::service::Service;
use super::turn::{Turn, shared_operator};
use super::wait::{eventually, holds};
use super::{client, install_definition, lab, namespace, prometheus};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use memorialstream_lab::installation::{self, Installed};
use memorialstream_lab::{Kubectl, LabDescription, MuxAdmin, StreamRecord};
use memorialstream_operator::api::MemorialStream;
use memorialstream_operator::api::names::{marker, room_name};
use memorialstream_operator::api::spec::Via;
use memorialstream_operator::providers::Secret as Hidden;
use memorialstream_operator::providers::livekit::{Egress, LiveKitApi, LiveKitClient, LiveKitCredentials};
use memorialstream_operator::service::pod::UID_LABEL;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The Secret with credentials in each namespace.
pub const PROVIDERS: &str = "providers";

static INSTALLED: LazyLock<Installed> =
    LazyLock::new(|| installation::prepare(&lab()).expect("install images and chart"));

/// A test's turn.
pub struct Stage {
    /// The lab, with this test's environment of Mux.
    pub lab: LabDescription,
    /// The cluster's administrator.
    pub client: Client,
    /// The switches of this test's environment of Mux.
    pub mux: MuxAdmin,
    /// LiveKit, past the operator.
    pub livekit: LiveKitClient,
    /// This test's namespace.
    pub namespace: String,
    /// Of a test that runs alone.
    operator: Option<Operator>,
    image: String,
    turn: Turn,
}

impl Stage {
    /// Waits for a place beside others; one operator serves them all. What the test does there must not reach them.
    pub async fn enter(prefix: &str) -> Self {
        Self::on(Turn::beside().await, prefix, None).await
    }

    /// Waits until nobody else runs, clears what a failed test left, and starts an operator.
    pub async fn alone(prefix: &str) -> Self {
        Self::alone_with_image(prefix, None).await
    }

    /// The same with another compositor image than the one that was built.
    pub async fn alone_with_image(prefix: &str, image: Option<&str>) -> Self {
        let stage = Self::on(Turn::alone().await, prefix, image).await;
        stage.clear().await;
        stage
    }

    async fn on(turn: Turn, prefix: &str, image: Option<&str>) -> Self {
        let client = client().await;
        let installed = tokio::task::spawn_blocking(|| &*INSTALLED).await.expect("the installation");
        let image = image.map_or_else(|| installed.compositor_image.clone(), str::to_owned);
        let (mux_access, mux) = MuxAdmin::new_environment(&lab()).await.expect("an environment of Mux");
        let lab = LabDescription { mux: mux_access, ..lab() };
        let livekit = LiveKitClient::new(&livekit_credentials(&lab)).expect("a client of LiveKit");
        let namespace = namespace(&client, prefix).await;
        let mut stage = Self { lab, client, mux, livekit, namespace, operator: None, image, turn };
        stage.write_credentials(stage.credentials()).await;
        if stage.turn.is_alone() {
            stage.start_operator();
        } else {
            shared_operator().get_or_insert_with(|| stage.new_operator());
        }
        stage
    }

    fn new_operator(&self) -> Operator {
        Operator::start(&self.lab, &INSTALLED.operator_kubeconfig, &self.image)
    }

    /// Puts the CRD back as it is in this tree, deletes every MemorialStream, and waits until they are gone.
    async fn clear(&self) {
        install_definition(&self.client).await;
        let kubectl = Kubectl::new(&self.lab);
        let delete = ["delete", "mstream", "--all", "--all-namespaces", "--wait=false"];
        kubectl.run(&delete).expect("delete what is left");
        let api: Api<MemorialStream> = Api::all(self.client.clone());
        eventually("nothing is left of other tests", async || {
            let left = api.list_metadata(&ListParams::default()).await.expect("list").items;
            let names: Vec<_> = left.iter().map(|left| left.metadata.name.clone()).collect();
            holds(names.is_empty(), || format!("{names:?}"))
        })
        .await;
    }

    /// What belongs into the Secret with credentials.
    pub fn credentials(&self) -> BTreeMap<&'static str, String> {
        installation::credentials(&self.lab)
    }

    /// Writes the Secret with credentials of this test's namespace.
    pub async fn write_credentials(&self, data: BTreeMap<&'static str, String>) {
        self.write_credentials_in(&self.namespace, data).await;
    }

    /// The same in another namespace.
    pub async fn write_credentials_in(&self, namespace: &str, data: BTreeMap<&'static str, String>) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret: Secret = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": PROVIDERS}, "stringData": data,
        }))
        .expect("a Secret");
        // A key that is left out goes: the Secret is written whole.
        if api.get_opt(PROVIDERS).await.expect("read the Secret").is_some() {
            api.delete(PROVIDERS, &DeleteParams::default()).await.expect("delete the Secret");
        }
        api.patch(PROVIDERS, &PatchParams::apply("tests").force(), &Patch::Apply(&secret))
            .await
            .expect("write the Secret");
    }

    /// A service of this test's namespace; it is not applied yet.
    pub fn service(&self, name: &str) -> Service {
        Service::new(&self.client, &self.namespace, name)
    }

    /// Kills the operator of a test that runs alone.
    pub fn kill_operator(&mut self) {
        self.operator.as_mut().expect("the test runs alone").kill();
    }

    /// Starts an operator after one was killed.
    pub fn start_operator(&mut self) {
        self.operator = Some(self.new_operator());
    }

    /// Stops one of the lab's processes, as an outage would.
    pub async fn stop_process(&self, name: &str) {
        let name = name.to_owned();
        self.with_lab(move |lab| lab.stop_process(&name)).await;
    }

    /// Starts it again, and waits until it is ready.
    pub async fn start_process(&self, name: &str) {
        let name = name.to_owned();
        self.with_lab(move |lab| lab.start_process(&name)).await;
    }

    async fn with_lab(&self, act: impl FnOnce(&LabDescription) -> anyhow::Result<()> + Send + 'static) {
        let lab = self.lab.clone();
        let done = tokio::task::spawn_blocking(move || act(&lab)).await;
        done.expect("the thread").expect("the lab's process");
    }

    /// Requests that the API server has counted for these resources, by verb and resource.
    pub async fn api_requests(&self, resources: &[&str]) -> BTreeMap<String, f64> {
        let request = http::Request::get("/metrics").body(Vec::new()).expect("a request");
        let text = self.client.request_text(request).await.expect("the API server's metrics");
        prometheus::sums(&text, "apiserver_request_total", |labels| {
            let resource = labels.get("resource").filter(|resource| resources.contains(*resource))?;
            Some(format!("{} {resource}", labels.get("verb")?))
        })
    }

    /// The process of the operator of a test that runs alone.
    pub fn operator_pid(&self) -> u32 {
        self.operator.as_ref().expect("the test runs alone").pid()
    }

    /// All that the operator of a test that runs alone has logged since it was started last.
    pub fn operator_log(&self) -> String {
        self.operator.as_ref().expect("the test runs alone").log()
    }

    /// Every Mux live stream that was ever made for a service, deleted ones too.
    pub async fn streams_ever_made(&self, service: &Service) -> Vec<StreamRecord> {
        let uid = service.get().await.metadata.uid.expect("a uid");
        self.streams_of_uid(&uid).await
    }

    /// The same by UID, for a service that may be gone.
    pub async fn streams_of_uid(&self, uid: &str) -> Vec<StreamRecord> {
        let cluster = self.cluster_id().await;
        let wanted = marker(&cluster, uid);
        let all = self.mux.streams().await.expect("the simulator's streams");
        all.into_iter().filter(|stream| stream.passthrough.as_deref() == Some(wanted.as_str())).collect()
    }

    /// What names this cluster in markers.
    pub async fn cluster_id(&self) -> String {
        let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client.clone());
        api.get("kube-system").await.expect("kube-system").metadata.uid.expect("a uid")
    }

    /// Active egresses in rooms of a service.
    pub async fn active_egresses(&self, uid: &str) -> Vec<Egress> {
        let prefix = room_name(uid, 0).trim_end_matches('0').to_owned();
        let all = self.livekit.egresses(None, true).await.expect("list egresses");
        all.into_iter().filter(|egress| egress.room_name.starts_with(&prefix)).collect()
    }

    /// Rooms of a service.
    pub async fn rooms(&self, uid: &str) -> Vec<String> {
        let prefix = room_name(uid, 0).trim_end_matches('0').to_owned();
        let all = self.livekit.rooms().await.expect("list rooms");
        all.into_iter().map(|room| room.name).filter(|name| name.starts_with(&prefix)).collect()
    }

    /// Compositor pods of a service.
    pub async fn pods(&self, uid: &str) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let selector = ListParams::default().labels(&format!("{UID_LABEL}={uid}"));
        api.list(&selector).await.expect("list pods").items
    }

    /// Nothing that is paid for is left of a service that was deleted.
    pub async fn assert_nothing_is_left(&self, uid: &str) {
        let alive: Vec<_> =
            self.streams_of_uid(uid).await.into_iter().filter(|stream| !stream.deleted).collect();
        assert!(alive.is_empty(), "Mux live streams are left: {alive:?}");
        assert!(self.rooms(uid).await.is_empty(), "rooms are left");
        assert!(self.active_egresses(uid).await.is_empty(), "egresses are left");
        assert!(self.pods(uid).await.is_empty(), "pods are left");
    }

    /// The senders that can be tried here: LiveKit's egress service is not on every machine.
    pub fn vias(&self) -> Vec<Via> {
        match self.lab.egress {
            Some(_) => vec![Via::Compositor, Via::LiveKit],
            None => {
                eprintln!("no egress service runs (LIVEKIT_EGRESS_BIN): only via Compositor is tried");
                vec![Via::Compositor]
            }
        }
    }
}

impl Drop for Stage {
    /// A failed test costs those beside it nothing more. Whoever runs alone clears what is left.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if let Some(operator) = shared_operator().as_ref().filter(|_| !self.turn.is_alone()) {
            operator.tell_of(&self.namespace);
        }
        let arguments = ["delete", "mstream", "--all", "--wait=false", "--namespace", &self.namespace];
        if let Err(error) = Kubectl::new(&self.lab).run(&arguments) {
            eprintln!("objects of {} are left: {error:#}", self.namespace);
        }
    }
}

fn livekit_credentials(lab: &LabDescription) -> LiveKitCredentials {
    LiveKitCredentials {
        url: lab.livekit.url.clone(),
        api_key: lab.livekit.api_key.clone(),
        api_secret: Hidden::new(lab.livekit.api_secret.reveal()),
    }
}

/// A spec with a small picture, with `more` merged over it.
pub fn spec(via: Via, cameras: &[&str], more: Value) -> Value {
    let cameras: Vec<Value> = cameras.iter().map(|name| json!({"name": name})).collect();
    let mut spec = json!({
        "credentialsSecretRef": {"name": PROVIDERS},
        "cameras": cameras,
        "egress": {"via": via},
        "mux": {"reconnectWindowSeconds": 60},
        "video": {"width": 640, "height": 360, "framesPerSecond": 15, "bitrateKbps": 800},
        "compositor": {"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}},
    });
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    spec
}
