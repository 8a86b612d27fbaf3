//! A mark that outlives the container: "the identity was taken, stay silent".

use anyhow::Context;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const FILE: &str = "memorialstream-identity-taken";
/// More than this is not read of it.
const LONGEST_REASON: usize = 1_000;

/// The mark, in a folder that lives as long as the pod.
#[derive(Clone, Debug)]
pub struct Mark {
    file: PathBuf,
}

impl Mark {
    /// The mark in `folder`, whether it is set or not.
    pub fn in_folder(folder: &Path) -> Self {
        Self { file: folder.join(FILE) }
    }

    /// Why it was set, if it is. One that is there and cannot be read counts as set.
    pub fn read(&self) -> Option<String> {
        match std::fs::read_to_string(&self.file) {
            Ok(reason) => Some(reason.chars().take(LONGEST_REASON).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(format!("{} cannot be read: {error}", self.file.display())),
        }
    }

    /// Sets it.
    pub fn set(&self, reason: &str) -> anyhow::Result<()> {
        std::fs::write(&self.file, reason)
            .with_context(|| format!("{} cannot be written", self.file.display()))
    }

    /// Takes it away, if it is there.
    pub fn clear(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} cannot be removed", self.file.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_from_set_to_clear() {
        let folder = std::env::temp_dir().join(format!("memorialstream-mark-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mark = Mark::in_folder(&folder);
        mark.clear().unwrap();
        assert_eq!(mark.read(), None);
        mark.set("taken").unwrap();
        assert_eq!(Mark::in_folder(&folder).read().as_deref(), Some("taken"));
        mark.clear().unwrap();
        assert_eq!(mark.read(), None);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(mark.set("taken").unwrap_err().to_string().contains("cannot be written"));
    }
}
