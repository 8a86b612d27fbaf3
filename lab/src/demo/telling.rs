//! What the demo prints: numbered steps with their times, and every command with its answer.

use crate::service::{NAMESPACE, SERVICE};
use anyhow::{Context, Result, bail};
use memorialstream_lab::{Kubectl, LabDescription, installation};
use std::time::{Duration, Instant};

const INDENT: &str = "   ";

/// The demo's voice on standard output.
pub struct Telling {
    began: Instant,
    number: usize,
    under_way: Option<(String, Instant)>,
    done: Vec<(String, Duration)>,
}

impl Telling {
    /// Begins to tell.
    pub fn begin() -> Telling {
        Telling { began: Instant::now(), number: 0, under_way: None, done: Vec::new() }
    }

    /// Begins a step.
    pub fn step(&mut self, title: impl Into<String>) {
        let title = title.into();
        self.number += 1;
        println!("\n{:2}. {title}", self.number);
        self.under_way = Some((title, Instant::now()));
    }

    /// Ends the step that is under way, with its time.
    pub fn done(&mut self) {
        if let Some((title, began)) = self.under_way.take() {
            println!("{INDENT} ✓ {:.1} s", began.elapsed().as_secs_f64());
            self.done.push((title, began.elapsed()));
        }
    }

    /// Something to know.
    pub fn say(&self, line: impl AsRef<str>) {
        println!("{INDENT} {}", line.as_ref());
    }

    /// Runs kubectl, shown with its answer as if typed. Only what may be shown goes here.
    pub fn kubectl(&self, lab: &LabDescription, arguments: &[&str]) -> Result<String> {
        self.shown(lab, &typed("kubectl", arguments))
    }

    /// The same for a whole command line with a pipe.
    pub fn shown(&self, lab: &LabDescription, line: &str) -> Result<String> {
        println!("{INDENT} $ {line}");
        let mut shell = Kubectl::new(lab).command("sh");
        let output = shell.args(["-c", line]).output().context("run sh")?;
        let (answer, error) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for text in answer.lines().chain(error.lines()) {
            println!("{INDENT} {text}");
        }
        if !output.status.success() {
            bail!("`{line}` failed: {}", error.trim());
        }
        Ok(answer.into_owned())
    }

    /// After a failure: what the object says, and where the logs are.
    pub fn explain(&self, lab: &LabDescription) {
        println!();
        let described = self.shown(lab, "kubectl describe mstream --all-namespaces");
        let pods = self.shown(lab, "kubectl get pods --all-namespaces -o wide");
        for failed in [described.err(), pods.err(), keep_pod_logs(lab).err()].into_iter().flatten() {
            self.say(format!("({failed:#})"));
        }
        self.say(format!("Logs: {}", lab.logs.display()));
    }

    /// The last words of a demo that failed.
    pub fn failed(&mut self, error: &anyhow::Error) {
        let during = match &self.under_way {
            Some((title, _)) => format!(" in step {}, “{title}”", self.number),
            None => String::new(),
        };
        println!("\nThe demo failed after {:.1} s{during}:\n{error:#}", self.began.elapsed().as_secs_f64());
    }

    /// The last words of a demo that ran to its end.
    pub fn summary(&self) {
        println!("\nWhat each step took");
        for (title, took) in &self.done {
            println!("{INDENT} {title:<68} {:>6.1} s", took.as_secs_f64());
        }
        println!("{INDENT} {:<68} {:>6.1} s", "in all", self.began.elapsed().as_secs_f64());
    }

    /// The last words of a demo that stays up.
    pub fn how_to_go_on(&self, lab: &LabDescription, playback_url: &str) {
        self.summary();
        let patch = |what: &str, spec: &str| {
            println!("{INDENT} {:<16} {}", what, patch_line(spec));
        };
        println!("\nThe service is on air. Watch it with any HLS player:\n{INDENT} {playback_url}");
        println!("\nGo on");
        println!("{INDENT} {:<16} export KUBECONFIG={}", "in this shell", lab.kubeconfig.display());
        if lab.bin.join("kubectl").exists() {
            println!("{INDENT} {:<16} export PATH={}:$PATH", "", lab.bin.display());
        }
        patch("TAKE", r#"{"spec":{"program":{"sources":["family"]}}}"#);
        patch("the slate", r#"{"spec":{"program":{"sources":[]}}}"#);
        println!("{INDENT} {:<16} kubectl get mstream {SERVICE} -o wide", "status");
        println!("{INDENT} {:<16} kubectl describe mstream {SERVICE}", "");
        patch("end", r#"{"spec":{"state":"Ended"}}"#);
        println!(
            "{INDENT} {:<16} kubectl logs --namespace {} deployment/{}",
            "logs",
            installation::NAMESPACE,
            installation::RELEASE
        );
        println!("{INDENT} {:<16} {}", "", lab.logs.display());
        println!("{INDENT} {:<16} make demo-down", "all over");
    }
}

/// How the director changes the spec.
pub fn patch_line(spec: &str) -> String {
    typed("kubectl", &["patch", "mstream", SERVICE, "--type", "merge", "-p", spec])
}

/// The logs of the operator and of compositor pods, kept beside the lab's own: they outlive the pods.
pub fn keep_pod_logs(lab: &LabDescription) -> Result<()> {
    let pods = [
        ("operator", installation::NAMESPACE, "app.kubernetes.io/name=memorialstream-operator"),
        ("compositor", NAMESPACE, "app.kubernetes.io/name=memorialstream-compositor"),
    ];
    for (name, namespace, selector) in pods {
        let arguments = ["logs", "--namespace", namespace, "--selector", selector, "--tail=-1"];
        let logs = Kubectl::new(lab).run(&arguments)?;
        let path = lab.logs.join(format!("{name}.log"));
        std::fs::write(&path, logs).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// A command as people type it: quoted where a shell needs it.
fn typed(program: &str, arguments: &[&str]) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_=./,:@%+".contains(character);
    let quoted = arguments.iter().map(|argument| match argument.chars().all(plain) {
        true => (*argument).to_owned(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    });
    std::iter::once(program.to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_touch_is_quoted() {
        assert_eq!(
            patch_line(r#"{"spec":{"state":"Live"}}"#),
            r#"kubectl patch mstream jane-doe --type merge -p '{"spec":{"state":"Live"}}'"#
        );
        assert_eq!(typed("kubectl", &["get", "it's"]), r"kubectl get 'it'\''s'");
    }
}
