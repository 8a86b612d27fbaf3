//! kubectl as the lab's administrator.

use crate::description::LabDescription;
use crate::folders::RunFolder;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

/// kubectl with the lab's kubeconfig and programs.
#[derive(Clone, Debug)]
pub struct Kubectl {
    lab: LabDescription,
}

impl Kubectl {
    /// kubectl for a lab that is up.
    pub fn new(lab: &LabDescription) -> Kubectl {
        Kubectl { lab: lab.clone() }
    }

    /// A command that acts on the lab's cluster, such as `kubectl` or `helm`; it is looked up on the lab's PATH.
    pub fn command(&self, program: &str) -> Command {
        let folder = RunFolder::new(&self.lab.folder);
        let mut command = Command::new(program);
        command
            .env("PATH", folder.search_path())
            .env("KUBECONFIG", &self.lab.kubeconfig)
            .stdin(Stdio::null());
        command
    }

    /// Runs kubectl and returns what it prints.
    ///
    /// # Errors
    /// With kubectl's own words when it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        output_of(self.command("kubectl").args(arguments))
    }

    /// Applies a document server-side. It reaches kubectl by a pipe: neither the argument list nor an annotation
    /// repeats it.
    ///
    /// # Errors
    /// With kubectl's own words when it fails.
    pub fn apply(&self, document: &Value) -> Result<()> {
        let mut child = self
            .command("kubectl")
            .args(["apply", "--server-side", "--force-conflicts", "--filename", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("run kubectl")?;
        let mut stdin = child.stdin.take().context("kubectl takes a document")?;
        stdin.write_all(document.to_string().as_bytes()).context("hand kubectl a document")?;
        drop(stdin);
        let output = child.wait_with_output().context("wait for kubectl")?;
        if !output.status.success() {
            bail!("kubectl apply: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// With the end of what it wrote to standard error when it fails.
pub fn output_of(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        bail!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
