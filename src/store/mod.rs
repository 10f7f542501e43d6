//! What outlives the process.
//!
//! * [`state_file`]: the small file on which ownership rests: generation, terms, standby. Fsynced before use.
//! * [`lease`]: when the right to each group ends, for the next life in this boot.
//! * [`journal`]: the decisions, for people. May be absent.
//! * [`recording_writer`]: what the engine is told, for a replay; [`recording_reader`] reads it. May be absent.

pub mod journal;
pub mod lease;
pub mod recording_reader;
pub mod recording_writer;
pub mod state_file;
#[cfg(test)]
mod test_disk;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::sys::local_time::LocalTime;

/// Whether a replaced file must survive the loss of power.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    Yes,
    No,
}

/// Replaces a file as a whole: a reader, or the next life, sees the old one or the new one.
fn replace(path: &Path, bytes: &[u8], durable: Durable) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    if durable == Durable::Yes {
        file.sync_all()?;
    }
    fs::rename(&beside, path)?;
    // The new name, too, must be on the disk before the content may be relied upon.
    if durable == Durable::Yes
        && let Some(folder) = path.parent()
    {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Renames what is damaged, so that an administrator can look at it, and says where it is now.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stamp = LocalTime::now().file_stamp();
    // Two within one second are told apart by a number.
    for n in 0..100 {
        let aside = path.with_file_name(if n == 0 {
            format!("{name}.damaged-{stamp}")
        } else {
            format!("{name}.damaged-{stamp}-{n}")
        });
        if !aside.exists() {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
