//! Devices that publish into a service's room as a phone would: processes of the lab, so that its end is theirs.

use crate::checkout;
use crate::description::LabDescription;
use crate::folders::{make_private_folder, write_private};
use crate::installation::NAMESPACE;
use crate::kubectl::{Kubectl, output_of};
use crate::process::{Ready, Signal, Specification, send_signal};
use crate::viewer::PatternColour;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

const COMPOSITOR: &str = "memorialstream-compositor";
const CAMERA: &str = "memorialstream-camera";
/// How long it may take until the compositor sees a device.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a device shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// A colour with a moving white ball, 640×360 at 15 frames per second, and a tone.
    Pattern {
        /// Fills the picture.
        colour: PatternColour,
        /// Whether the tone is published.
        sound: bool,
    },
    /// A file that is played over and over.
    Footage {
        /// H.264 without B-frames, or VP8.
        file: PathBuf,
        /// Whether its sound is published.
        sound: bool,
    },
}

/// A device that was started. It is stopped when this is dropped, unless it was [detached](Camera::detach).
#[derive(Debug)]
pub struct Camera {
    lab: LabDescription,
    process: Specification,
    detached: bool,
}

impl Camera {
    /// Starts a device for a declared camera of the MemorialStream `namespace`/`object`. Its join token comes from the
    /// program `operator`, as it does for people. The object has to exist; its room has not.
    ///
    /// # Errors
    /// When the object declares no such camera, or its device runs already.
    pub fn start(
        lab: &LabDescription,
        operator: &Path,
        namespace: &str,
        object: &str,
        camera: &str,
        show: &Show,
    ) -> Result<Camera> {
        let join = Join::of(lab, operator, namespace, object, camera)?;
        let name = format!("camera-{namespace}-{object}-{camera}");
        let folder = lab.folder.join("cameras");
        make_private_folder(&folder)?;
        let token = folder.join(format!("{name}.token"));
        write_private(&token, join.token)?;
        let mut arguments =
            vec!["--url".to_owned(), join.url, "--token-file".to_owned(), token.display().to_string()];
        let (what, sound) = match show {
            Show::Pattern { colour, sound } => (["--pattern".to_owned(), colour.name().to_owned()], *sound),
            Show::Footage { file, sound } => (["--file".to_owned(), file.display().to_string()], *sound),
        };
        arguments.extend(what);
        if !sound {
            arguments.push("--without-audio".to_owned());
        }
        let program = checkout::program(COMPOSITOR, CAMERA)?.display().to_string();
        let seen = seen_by_compositor(lab, namespace, object, camera);
        let process = Specification::new(&name, program, arguments, seen);
        lab.table().start(&process)?;
        Ok(Camera { lab: lab.clone(), process, detached: false })
    }

    /// Waits until the compositor sees it. The service has to be in Standby or Live.
    ///
    /// # Errors
    /// With the end of its log, when it ended or is not seen within a minute.
    pub fn wait_live(&self) -> Result<()> {
        self.lab.table().wait_ready(&self.process, TIMEOUT)
    }

    /// Ends it: it leaves the room. One that ended by itself is no error.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&self) -> Result<()> {
        self.lab.table().stop(&self.process.name)
    }

    /// Leaves it running until the lab ends.
    pub fn detach(mut self) {
        self.detached = true;
    }

    /// It stays in the room and sends nothing, as a phone in a pocket.
    ///
    /// # Errors
    /// When it does not run any more.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::User1)
    }

    /// After a freeze it sends again.
    ///
    /// # Errors
    /// When it does not run any more.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::User2)
    }

    /// Its process number.
    ///
    /// # Errors
    /// When it does not run any more.
    pub fn pid(&self) -> Result<i32> {
        let name = &self.process.name;
        let running = self.lab.table().running(name)?;
        let running =
            running.with_context(|| format!("{name} ended; see {}", self.lab.logs.join(name).display()))?;
        Ok(running.pid)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        send_signal(self.pid()?, signal)
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        if !self.detached
            && let Err(error) = self.stop()
        {
            eprintln!("lab  {}: {error:#}", self.process.name);
        }
    }
}

/// What `memorialstream-operator token` prints.
#[derive(PartialEq, Eq)]
struct Join {
    url: String,
    token: String,
}

impl Join {
    fn of(
        lab: &LabDescription,
        operator: &Path,
        namespace: &str,
        object: &str,
        camera: &str,
    ) -> Result<Join> {
        let mut command = Kubectl::new(lab).command(&operator.display().to_string());
        command.args(["token", "--camera", camera, object, "--namespace", namespace]);
        let printed = output_of(command.args(["--operator-namespace", NAMESPACE]))?;
        Join::parse(&printed).context("memorialstream-operator token prints LIVEKIT_URL and LIVEKIT_TOKEN")
    }

    fn parse(printed: &str) -> Option<Join> {
        let value = |key: &str| printed.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        Some(Join { url: value("LIVEKIT_URL=")?, token: value("LIVEKIT_TOKEN=")? })
    }
}

/// The object's status says that the camera sends.
fn seen_by_compositor(lab: &LabDescription, namespace: &str, object: &str, camera: &str) -> Ready {
    let state = format!("jsonpath={{.status.compositor.sources[?(@.name==\"{camera}\")].state}}");
    let arguments = ["get", "memorialstream", object, "--namespace", namespace, "--output", &state];
    Ready::Kubectl {
        kubeconfig: lab.kubeconfig.clone(),
        arguments: arguments.map(str::to_owned).to_vec(),
        prints: "Live".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_is_read_from_what_the_operator_prints() {
        let join = Join::parse("LIVEKIT_URL=ws://198.18.0.1:7880\nLIVEKIT_TOKEN=a.b.c\n").expect("a join");
        assert_eq!((join.url.as_str(), join.token.as_str()), ("ws://198.18.0.1:7880", "a.b.c"));
        assert!(Join::parse("LIVEKIT_URL=ws://198.18.0.1:7880\n").is_none());
    }
}
