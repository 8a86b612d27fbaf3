//! A process's number together with its start time, so that a reused number is not taken for it.

use super::proc::ProcessStat;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// Which process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PidFile {
    /// The process's number.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
}

impl PidFile {
    /// The file's entry for a process that runs now.
    ///
    /// # Errors
    /// When no such process runs.
    pub fn of(pid: i32) -> Result<PidFile> {
        let stat = ProcessStat::read(pid).with_context(|| format!("process {pid} is gone"))?;
        Ok(PidFile { pid, start_ticks: stat.start_ticks })
    }

    /// Reads a file back. `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read or says something else.
    pub fn read(path: &Path) -> Result<Option<PidFile>> {
        match fs::read_to_string(path) {
            Ok(text) => PidFile::parse(&text).with_context(|| path.display().to_string()).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Whether that very process still runs.
    pub fn is_alive(&self) -> bool {
        let stat = ProcessStat::read(self.pid);
        stat.is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_zombie())
    }

    /// The file's text: `PID START_TICKS`.
    pub fn render(&self) -> String {
        format!("{} {}\n", self.pid, self.start_ticks)
    }

    /// Parses what `render` wrote.
    ///
    /// # Errors
    /// When the text is not two numbers.
    pub fn parse(text: &str) -> Result<PidFile> {
        let mut words = text.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(pid), Some(start_ticks), None) => Ok(PidFile {
                pid: pid.parse().with_context(|| format!("{pid:?} is no process number"))?,
                start_ticks: start_ticks
                    .parse()
                    .with_context(|| format!("{start_ticks:?} is no start time"))?,
            }),
            _ => bail!("expected a process number and a start time, found {text:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let file = PidFile { pid: 4711, start_ticks: 987_654_321 };
        assert_eq!(PidFile::parse(&file.render()).expect("parse"), file);
    }

    #[test]
    fn this_process_is_alive_and_its_number_with_another_start_is_not() {
        let own =
            PidFile::of(i32::try_from(std::process::id()).expect("a process number")).expect("this process");
        assert!(own.is_alive());
        assert!(!PidFile { start_ticks: own.start_ticks + 1, ..own }.is_alive());
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "4711", "4711 x", "4711 1 2", "-"] {
            assert!(PidFile::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
