//! What the kernel tells of processes.

use super::specification::Signal;
use anyhow::{Context, Result, bail};
use std::fs;

/// The fields of `/proc/PID/stat` (proc(5)) that the lab needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// The process's number.
    pub pid: i32,
    /// Its state; `Z` is dead but not yet collected by its parent.
    pub state: char,
    /// The number of its session's first process.
    pub session: i32,
    /// When it started, in clock ticks since the machine did.
    pub start_ticks: u64,
}

impl ProcessStat {
    /// Reads one process. `None` when it does not exist.
    pub fn read(pid: i32) -> Option<ProcessStat> {
        fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|text| ProcessStat::parse(&text))
    }

    /// Parses the file's one line. The command in brackets may itself hold spaces and brackets.
    fn parse(text: &str) -> Option<ProcessStat> {
        let (pid, rest) = text.split_once(" (")?;
        let (_command, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(ProcessStat {
            pid: pid.parse().ok()?,
            state: fields.first()?.chars().next()?,
            session: fields.get(3)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }

    /// Whether it is dead and only waits for its parent to notice.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Every process that runs now, without the dead ones that wait for their parents.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn processes() -> Result<Vec<ProcessStat>> {
    let entries = fs::read_dir("/proc").context("read /proc")?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.filter_map(ProcessStat::read).filter(|process| !process.is_zombie()).collect())
}

/// A process's arguments; empty when it is gone.
pub fn arguments_of(pid: i32) -> Vec<String> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_else(|_| Vec::new());
    text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Whether a process was started with the variable `name` set to `value`, or to anything.
pub fn environment_holds(pid: i32, name: &str, value: Option<&str>) -> bool {
    let text = fs::read(format!("/proc/{pid}/environ")).unwrap_or_else(|_| Vec::new());
    text.split(|byte| *byte == 0).any(|entry| {
        let entry = String::from_utf8_lossy(entry);
        entry
            .split_once('=')
            .is_some_and(|(key, held)| key == name && value.is_none_or(|value| value == held))
    })
}

/// Whether a process lives in a container whose files lie below `folder`: its root is a mount of something there.
pub fn is_contained_in(pid: i32, folder: &str) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_else(|_| String::new());
    root_lies_in(&text, folder)
}

/// The fifth field is where something is mounted; an overlay names its folders in the options.
fn root_lies_in(mounts: &str, folder: &str) -> bool {
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    root.is_some_and(|line| line.contains(&format!("{folder}/")))
}

/// Sends a signal. A process that is gone already is no error.
///
/// # Errors
/// When the kernel refuses.
pub fn send_signal(pid: i32, signal: Signal) -> Result<()> {
    let Some(process) = (pid > 1).then(|| rustix::process::Pid::from_raw(pid)).flatten() else {
        bail!("{pid} is no process to send a signal to");
    };
    match rustix::process::kill_process(process, signal.number()) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("send {signal:?} to process {pid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_brackets_and_spaces_is_parsed() {
        let fields = "S 1 4700 4700 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 9 10";
        let stat = ProcessStat::parse(&format!("4711 (nginx: (x) y) {fields}")).expect("parse");
        assert_eq!(stat, ProcessStat { pid: 4711, state: 'S', session: 4700, start_ticks: 123_456 });
    }

    #[test]
    fn a_container_is_known_by_its_root_and_the_host_is_not() {
        let overlay = "overlay overlay rw,lowerdir=/run-folder/containerd/root/snapshots/5/fs";
        let host = format!("1 0 254:0 / / rw - ext4 /dev/vda rw\n9 1 0:9 / /run-folder/x rw - {overlay}\n");
        let container =
            format!("253 212 0:109 / / ro,relatime - {overlay}\n254 253 0:111 / /proc rw - proc proc rw\n");
        assert!(root_lies_in(&container, "/run-folder"));
        assert!(!root_lies_in(&host, "/run-folder") && !root_lies_in(&container, "/run"));
    }

    #[test]
    fn no_signal_goes_to_every_process() {
        for pid in [-1, 0, 1] {
            assert!(send_signal(pid, Signal::Term).is_err(), "{pid} was taken");
        }
    }
}
