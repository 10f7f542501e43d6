//! The journal of a daemon that does not answer. A copy is opened, because opening the store writes to it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use had::control::api::HISTORY_MAX;
use had::model::journal::Entry;
use had::store::journal::{Journal, JournalPlace, JournalQuery};

/// A journal is not longer.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// The newest entries, oldest first. Blocks for as long as the disk does.
pub fn read(journal: &Path) -> Result<Vec<Entry>, String> {
    if !journal.is_dir() {
        return Err(format!("there is no {}", journal.display()));
    }
    let copy = Copy::of(journal).map_err(|e| format!("cannot copy {}: {e}", journal.display()))?;
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let place = JournalPlace::ProcessOf(program);
    let open = Journal::open(copy.0.clone(), place, |_| {}).map_err(|e| e.to_string())?;
    let query = JournalQuery {
        limit: HISTORY_MAX,
        ..JournalQuery::default()
    };
    let entries = open.last(query).blocking_recv();
    open.close(CLOSE_TIME);
    entries.map_err(|_| format!("cannot read {}", journal.display()))
}

/// A copy in a folder of its own, which goes with this value.
struct Copy(PathBuf);

impl Copy {
    fn of(journal: &Path) -> io::Result<Copy> {
        let name = format!("hactl-support-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Only a folder that was made here is removed.
        DirBuilder::new().mode(0o700).create(&path)?;
        let copy = Copy(path);
        copy_folder(journal, &copy.0, &mut 0)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What is left of it can be read by this user alone.
        fs::remove_dir_all(&self.0).ok();
    }
}

fn copy_folder(from: &Path, to: &Path, copied: &mut u64) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            DirBuilder::new().mode(0o700).create(&target)?;
            copy_folder(&entry.path(), &target, copied)?;
        } else if kind.is_file() {
            *copied += entry.metadata()?.len();
            if *copied > MAX_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_stays() {
        let journal = tempfile::tempdir().unwrap();
        fs::write(journal.path().join("db"), "entries").unwrap();
        let copy = Copy::of(journal.path()).unwrap();
        assert!(copy.0.join("db").exists());
        assert!(Copy::of(journal.path()).is_err());
        assert!(copy.0.join("db").exists());
        let path = copy.0.clone();
        drop(copy);
        assert!(!path.exists());
    }
}
