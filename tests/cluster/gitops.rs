//! What GitOps tools do to fields that Git does not have: the facts that `docs/gitops.md` states and the operator's rule
//! answers, asked of the tools' own libraries. The operator has no part in it: the object names a Secret that there is not.

use crate::support::gitops::{GitOps, Kstatus, Tool, kstatus_of};
use crate::support::{Turn, client, delete_namespace, lab, namespace};
use memorialstream_lab::Kubectl;
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;

const TOOLS: [Tool; 3] = [Tool::Flux, Tool::ArgoCd, Tool::ArgoCdServerSide];

/// What Git has: nothing of the director's.
fn in_git() -> Value {
    manifest(json!({
        "credentialsSecretRef": {"name": "nobody-made-it"},
        "cameras": [{"name": "lectern"}, {"name": "wide"}], "slate": {"before": "soon"},
    }))
}

fn manifest(spec: Value) -> Value {
    json!({
        "apiVersion": "tributestream.com/v1alpha1", "kind": "MemorialStream", "metadata": {"name": "jane-doe"},
        "spec": spec,
    })
}

/// What the director says.
fn words() -> Value {
    json!({"state": "Standby", "program": {"sources": ["lectern"]}})
}

/// How the director says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `kubectl patch`.
    Patch,
    /// `kubectl patch --field-manager=director`.
    PatchAsDirector,
    /// `kubectl apply` of the whole manifest.
    Apply,
    /// `kubectl apply --server-side --force-conflicts` of the whole manifest.
    ServerSideApply,
}

/// The director at a keyboard.
struct Director<'a> {
    kubectl: &'a Kubectl,
    namespace: &'a str,
}

impl Director<'_> {
    fn say(&self, way: Way) {
        let mut whole = in_git();
        for (name, value) in words().as_object().expect("words are fields") {
            whole["spec"][name] = value.clone();
        }
        let patch = json!({"spec": words()}).to_string();
        let patching = ["patch", "mstream", "jane-doe", "--type=merge", "--patch", &patch];
        match way {
            Way::Patch => self.kubectl(&patching, None),
            Way::PatchAsDirector => {
                self.kubectl(&[&patching[..], &["--field-manager=director"]].concat(), None)
            }
            Way::Apply => self.kubectl(&["apply", "--filename=-"], Some(&whole)),
            Way::ServerSideApply => {
                self.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename=-"], Some(&whole))
            }
        };
    }

    fn spec(&self) -> Value {
        let text = self.kubectl(&["get", "mstream", "jane-doe", "--output=json"], None);
        let object: Value = serde_json::from_str(&text).expect("an object");
        object["spec"].clone()
    }

    fn kubectl(&self, arguments: &[&str], input: Option<&Value>) -> String {
        let mut command = self.kubectl.command("kubectl");
        command.args(["--namespace", self.namespace]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("run kubectl");
        let mut stdin = child.stdin.take().expect("its input is piped");
        stdin.write_all(input.map(Value::to_string).unwrap_or_default().as_bytes()).expect("hand it over");
        drop(stdin);
        let output = child.wait_with_output().expect("wait for kubectl");
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[tokio::test]
async fn each_tool_takes_away_what_the_table_in_the_docs_says_and_nothing_else() {
    let _turn = Turn::beside().await;
    let (client, lab) = (client().await, lab());
    let kubectl = Kubectl::new(&lab);
    for tool in TOOLS {
        for way in [Way::Patch, Way::PatchAsDirector, Way::Apply, Way::ServerSideApply] {
            let taken = match way {
                Way::Patch => tool == Tool::Flux,
                Way::PatchAsDirector => false,
                Way::Apply => true,
                Way::ServerSideApply => tool != Tool::ArgoCdServerSide,
            };
            let namespace = namespace(&client, "gitops").await;
            let tools = GitOps::new(&lab, &namespace);
            let director = Director { kubectl: &kubectl, namespace: &namespace };
            let first = tools.sync(tool, &in_git());
            assert_eq!(first.error, None, "{tool:?}, {way:?}");
            director.say(way);
            let sync = tools.sync(tool, &in_git());
            assert_eq!(sync.error, None, "{tool:?}, {way:?}");
            let expected: &[&str] = if taken { &[".spec.program.sources", ".spec.state"] } else { &[] };
            assert_eq!(sync.removed, expected, "{tool:?}, {way:?}: {sync:?}");
            assert_eq!(director.spec()["state"].is_null(), taken, "{tool:?}, {way:?}");
            assert_eq!(!sync.taken_from.is_empty(), taken, "{tool:?}, {way:?}: {sync:?}");
            delete_namespace(&namespace).await;
        }
    }
}

/// A pipeline that runs `kubectl apply --server-side` under its own name, or under kubectl's, on what was applied client-side
/// meanwhile: kubectl itself migrates that, and takes it away.
#[tokio::test]
async fn kubectl_apply_server_side_takes_away_what_the_table_in_the_docs_says() {
    let _turn = Turn::beside().await;
    let (client, lab) = (client().await, lab());
    let kubectl = Kubectl::new(&lab);
    for manager in ["pipeline", "kubectl"] {
        for way in [Way::Patch, Way::PatchAsDirector, Way::Apply, Way::ServerSideApply] {
            let taken = match way {
                Way::Patch | Way::PatchAsDirector => false,
                Way::Apply => true,
                Way::ServerSideApply => manager == "kubectl",
            };
            let namespace = namespace(&client, "pipeline").await;
            let director = Director { kubectl: &kubectl, namespace: &namespace };
            let field_manager = format!("--field-manager={manager}");
            let arguments = ["apply", "--server-side", "--force-conflicts", &field_manager, "--filename=-"];
            director.kubectl(&arguments, Some(&in_git()));
            director.say(way);
            director.kubectl(&arguments, Some(&in_git()));
            let spec = director.spec();
            assert_eq!(spec["state"].is_null(), taken, "{manager}, {way:?}: {spec}");
            assert_eq!(spec["program"]["sources"].is_null(), taken, "{manager}, {way:?}: {spec}");
            assert_eq!(spec["cameras"], in_git()["spec"]["cameras"], "{manager}, {way:?}: {spec}");
            delete_namespace(&namespace).await;
        }
    }
}

#[tokio::test]
async fn flux_takes_nothing_from_an_object_that_git_marks_merge_however_often_it_syncs() {
    let _turn = Turn::beside().await;
    let (client, lab) = (client().await, lab());
    let namespace = namespace(&client, "gitops").await;
    let kubectl = Kubectl::new(&lab);
    let director = Director { kubectl: &kubectl, namespace: &namespace };
    let tools = GitOps::new(&lab, &namespace);
    let mut merged = in_git();
    merged["metadata"]["annotations"] = json!({"kustomize.toolkit.fluxcd.io/ssa": "Merge"});
    let mut syncing = tools.keep_syncing(Tool::Flux, &merged, "100ms");
    assert_eq!(syncing.next().action, "created");
    for way in [Way::Patch, Way::Apply, Way::ServerSideApply] {
        director.say(way);
        // One may have begun before the director spoke; the next has not.
        for sync in [syncing.next(), syncing.next()] {
            assert_eq!((sync.error, sync.removed), (None, Vec::new()), "{way:?}");
        }
        assert_eq!(director.spec()["state"], "Standby", "{way:?}");
    }
    for sync in syncing.stop() {
        assert_eq!((sync.error, sync.removed), (None, Vec::new()));
    }
    assert_eq!(tools.kstatus("nobody").status, "NotFound");
    delete_namespace(&namespace).await;
}

/// The generation, the conditions, and what kstatus says of them and why.
type Row = (i64, &'static [(&'static str, &'static str)], &'static str, &'static str);

#[test]
fn kstatus_reads_our_conditions_as_the_table_in_the_docs_says() {
    let condition = |kind: &str, status: &str| {
        let message = format!("{kind} is {status}");
        json!({"type": kind, "status": status, "reason": "Reason", "message": message})
    };
    let object = |generation: i64, said: &[(&str, &str)]| {
        let conditions: Vec<Value> = said.iter().map(|(kind, status)| condition(kind, status)).collect();
        let mut object = manifest(json!({"state": "Live"}));
        object["metadata"]["generation"] = json!(generation);
        object["status"] = json!({"observedGeneration": 3, "conditions": conditions});
        object
    };
    let table: [Row; 8] = [
        (
            3,
            &[("Ready", "True"), ("Reconciling", "False"), ("Stalled", "False")],
            "Current",
            "Resource is Ready",
        ),
        (
            3,
            &[("Ready", "False"), ("Reconciling", "False"), ("Stalled", "False")],
            "InProgress",
            "Ready is False",
        ),
        (3, &[("Ready", "False"), ("Reconciling", "True")], "InProgress", "Reconciling is True"),
        (3, &[("Ready", "True"), ("Reconciling", "True")], "InProgress", "Reconciling is True"),
        (3, &[("Ready", "False"), ("Stalled", "True")], "Failed", "Stalled is True"),
        (3, &[("Ready", "True"), ("Stalled", "True")], "Failed", "Stalled is True"),
        // The first in the list wins: the two must never be True together.
        (3, &[("Reconciling", "True"), ("Stalled", "True")], "InProgress", "Reconciling is True"),
        (
            4,
            &[("Ready", "True")],
            "InProgress",
            "MemorialStream generation is 4, but latest observed generation is 3",
        ),
    ];
    for (generation, said, status, message) in table {
        let expected = Kstatus { status: status.to_owned(), message: message.to_owned() };
        assert_eq!(kstatus_of(&object(generation, said)), expected, "{generation} {said:?}");
    }
}
