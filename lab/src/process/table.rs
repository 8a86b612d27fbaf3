//! The processes of the lab in a run folder: started, found again by anyone, stopped.

use super::pid_file::PidFile;
use super::proc::{processes, send_signal};
use super::ready::wait_until;
use super::specification::{Signal, Specification};
use crate::folders::{RunFolder, write_private};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A variable that every process of the lab and most of their children carry; its value is the run folder.
pub const MARKER: &str = "MEMORIALSTREAM_LAB_PROCESS_OF";

const LINES_OF_LOG_IN_AN_ERROR: usize = 12;

/// A process of the lab that runs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningProcess {
    /// Its name in the lab, such as `kube-apiserver`.
    pub name: String,
    /// Its process number.
    pub pid: i32,
}

/// The processes that were started in one run folder.
#[derive(Clone, Debug)]
pub struct Table {
    folder: RunFolder,
}

impl Table {
    /// The table of a run folder.
    pub fn new(folder: &RunFolder) -> Table {
        Table { folder: folder.clone() }
    }

    fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.folder.at("processes").join(format!("{name}.{extension}"))
    }

    /// Starts a process in a session of its own, with its output appended to its log. It outlives this one.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&self, process: &Specification) -> Result<()> {
        let name = &process.name;
        if let Some(running) = self.running(name)? {
            bail!("{name} runs already, as process {}", running.pid);
        }
        fs::create_dir_all(self.folder.at("processes"))?;
        fs::create_dir_all(self.folder.logs())?;
        write_private(&self.file(name, "json"), serde_json::to_vec_pretty(process)?)?;
        let path = self.log(name);
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("open {}", path.display()))?;
        // setsid(1) and nice(1) replace themselves, so the child's number is the process's own.
        let child = Command::new("setsid")
            .args(["nice", "-n", &process.niceness.to_string()])
            .arg(&process.program)
            .args(&process.arguments)
            .env("PATH", self.folder.search_path())
            .env(MARKER, self.folder.root())
            .envs(&process.environment)
            .current_dir(self.folder.root())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let file = PidFile::of(i32::try_from(child.id())?)?;
        write_private(&self.file(name, "pid"), file.render())
    }

    /// Waits until a started process is ready.
    ///
    /// # Errors
    /// With the end of its log, when it dies or is not ready in time.
    pub fn wait_ready(&self, process: &Specification, timeout: Duration) -> Result<()> {
        let name = &process.name;
        let search_path = self.folder.search_path();
        let ready = wait_until(timeout, || {
            if self.running(name)?.is_none() {
                bail!(
                    "{name} ended while starting; the end of {}:\n{}",
                    self.log(name).display(),
                    self.log_end(name)
                );
            }
            Ok(process.ready.holds(&search_path))
        })?;
        if !ready {
            let (log, end) = (self.log(name), self.log_end(name));
            bail!("{name} is not ready after {} s; the end of {}:\n{end}", timeout.as_secs(), log.display());
        }
        Ok(())
    }

    /// Starts a process again as it was first started, and waits until it is ready.
    ///
    /// # Errors
    /// When no such process was started in this lab, or it does not become ready.
    pub fn start_again(&self, name: &str, timeout: Duration) -> Result<()> {
        let process = self.specification(name)?;
        self.start(&process)?;
        self.wait_ready(&process, timeout)
    }

    /// Stops a process and everything in its session. One that does not run is no error.
    ///
    /// # Errors
    /// When no such process was started in this lab, or it cannot be stopped.
    pub fn stop(&self, name: &str) -> Result<()> {
        let stop = self.specification(name)?.stop;
        let path = self.file(name, "pid");
        let Some(file) = PidFile::read(&path)? else { return Ok(()) };
        if file.is_alive() {
            send_signal(file.pid, stop.signal)?;
            wait_until(Duration::from_secs(stop.timeout_seconds), || Ok(!file.is_alive()))?;
        }
        self.kill_session(file)?;
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
    }

    /// Kills what is left of a process's session, such as workers that outlived it.
    fn kill_session(&self, file: PidFile) -> Result<()> {
        let members = || -> Result<Vec<i32>> {
            let all = processes()?;
            // The kernel does not give the number away while the session has members; a later owner is a stranger.
            let stranger = all.iter().any(|one| one.pid == file.pid && one.start_ticks != file.start_ticks);
            let members = all.iter().filter(|one| !stranger && one.session == file.pid);
            Ok(members.map(|one| one.pid).collect())
        };
        for pid in members()? {
            send_signal(pid, Signal::Kill)?;
        }
        if !wait_until(Duration::from_secs(5), || Ok(members()?.is_empty()))? {
            bail!("processes {:?} do not end", members()?);
        }
        Ok(())
    }

    /// The process of that name, when it runs.
    ///
    /// # Errors
    /// When its pid file cannot be read.
    pub fn running(&self, name: &str) -> Result<Option<RunningProcess>> {
        let file = PidFile::read(&self.file(name, "pid"))?.filter(PidFile::is_alive);
        Ok(file.map(|file| RunningProcess { name: name.to_owned(), pid: file.pid }))
    }

    /// The names of all processes that were ever started in this lab.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let folder = self.folder.at("processes");
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
        let files = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> =
            files.filter_map(|file| file.strip_suffix(".json").map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// Those that run now.
    ///
    /// # Errors
    /// When the folder or a pid file cannot be read.
    pub fn all_running(&self) -> Result<Vec<RunningProcess>> {
        let found: Result<Vec<Option<RunningProcess>>> =
            self.names()?.iter().map(|name| self.running(name)).collect();
        Ok(found?.into_iter().flatten().collect())
    }

    fn specification(&self, name: &str) -> Result<Specification> {
        let path = self.file(name, "json");
        let text = fs::read(&path).with_context(|| {
            let known = self.names().map_or_else(|_| String::new(), |names| names.join(", "));
            format!("the lab started no {name:?}; it started: {known}")
        })?;
        serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.logs().join(format!("{name}.log"))
    }

    fn log_end(&self, name: &str) -> String {
        let text = fs::read(self.log(name)).unwrap_or_else(|_| Vec::new());
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES_OF_LOG_IN_AN_ERROR)..].join("\n")
    }
}
