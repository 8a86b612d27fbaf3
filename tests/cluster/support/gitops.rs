//! GitOps tools, by their own libraries: runs the program that `tests/gitops` describes.

use memorialstream_lab::{Cache, LabDescription, Signal, gitops_program, send_signal};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;

/// A tool, and how it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// kustomize-controller.
    Flux,
    /// Argo CD as it comes: client-side apply.
    ArgoCd,
    /// Argo CD with `ServerSideApply=true`, which migrates client-side applies.
    ArgoCdServerSide,
}

impl Tool {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Flux => &["flux", "apply"],
            Self::ArgoCd => &["argocd", "apply"],
            Self::ArgoCdServerSide => &["argocd", "apply", "--server-side"],
        }
    }
}

/// What one sync did to the object.
#[derive(Debug)]
pub struct Sync {
    /// The tool's own word: `created`, `configured`, `unchanged`, `serverside-applied`.
    pub action: String,
    /// Paths of spec fields that are gone, such as `.spec.state`.
    pub removed: Vec<String>,
    /// Managers that lost spec fields in it.
    pub taken_from: Vec<String>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Sync {
    fn read(line: &str) -> Self {
        let document: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let texts = |list: &Value, key: fn(&Value) -> &Value| -> Vec<String> {
            let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
            entries.iter().filter_map(|entry| key(entry).as_str()).map(str::to_owned).collect()
        };
        Self {
            action: document["action"].as_str().unwrap_or_default().to_owned(),
            removed: texts(&document["removed"], |path| path),
            taken_from: texts(&document["taken"], |ownership| &ownership["manager"]),
            error: document["error"].as_str().map(str::to_owned),
        }
    }
}

/// What kstatus makes of an object.
#[derive(Debug, PartialEq, Eq)]
pub struct Kstatus {
    /// InProgress, Current, Failed, Terminating, NotFound or Unknown.
    pub status: String,
    /// Why.
    pub message: String,
}

/// The tools, in one namespace.
pub struct GitOps {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
}

impl GitOps {
    /// The tools act as the lab's administrator. The first call on a machine builds them.
    pub fn new(lab: &LabDescription, namespace: &str) -> Self {
        Self { program: built(), kubeconfig: lab.kubeconfig.clone(), namespace: namespace.to_owned() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--kubeconfig").arg(&self.kubeconfig);
        command.args(["--namespace", &self.namespace]);
        command
    }

    /// One sync of one object.
    pub fn sync(&self, tool: Tool, manifest: &Value) -> Sync {
        let output = run(self.command(tool.arguments()).args(["-f", "-"]), manifest);
        Sync::read(&stdout(&output))
    }

    /// Syncs one object every `every` (Go's notation) until it is stopped, for at most 20 minutes.
    pub fn keep_syncing(&self, tool: Tool, manifest: &Value, every: &str) -> Syncing {
        let mut command = self.command(tool.arguments());
        command.args(["-f", "-", "--every", every, "--for", "20m"]);
        let mut child = start(&mut command, manifest);
        let lines = BufReader::new(child.stdout.take().expect("its output is piped"));
        Syncing { child, lines }
    }

    /// What kstatus says about a MemorialStream of the namespace.
    pub fn kstatus(&self, name: &str) -> Kstatus {
        let output = self.command(&["kstatus"]).arg(name).output().expect("run gitops");
        parse(&output)
    }
}

/// What kstatus says about an object as the API server returns it; it needs no cluster.
pub fn kstatus_of(object: &Value) -> Kstatus {
    parse(&run(Command::new(built()).args(["kstatus", "-f", "-"]), object))
}

/// Syncs that go on by themselves. Dropped, they end.
pub struct Syncing {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Syncing {
    /// The next sync; waits for its end.
    pub fn next(&mut self) -> Sync {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("read a sync");
        assert_ne!(read, 0, "the syncs ended by themselves");
        Sync::read(&line)
    }

    /// Ends them, with the sync under way, and returns those that `next` did not.
    pub fn stop(mut self) -> Vec<Sync> {
        let pid = self.child.id().try_into().expect("a process number");
        send_signal(pid, Signal::Term).expect("end the syncs");
        let rest = self.lines.by_ref().lines();
        rest.map(|line| Sync::read(&line.expect("read a sync"))).collect()
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("reap gitops");
    }
}

/// One test builds, the others wait for it.
fn built() -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let cache = Cache::open().expect("the cache");
    gitops_program(&cache).expect("build tests/gitops")
}

fn start(command: &mut Command, document: &Value) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("run gitops");
    let mut stdin = child.stdin.take().expect("its input is piped");
    stdin.write_all(document.to_string().as_bytes()).expect("hand over a document");
    child
}

fn run(command: &mut Command, document: &Value) -> Output {
    start(command, document).wait_with_output().expect("wait for gitops")
}

fn stdout(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn parse(output: &Output) -> Kstatus {
    let text = stdout(output);
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let field = |name: &str| document[name].as_str().expect("kstatus says why").to_owned();
    Kstatus { status: field("status"), message: field("message") }
}
