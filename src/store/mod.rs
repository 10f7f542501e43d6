//! What outlives the process.
//!
//! * [`state_file`]: what ownership depends on: generation, terms, standby. On the disk before it is used.
//! * [`lease`]: when the lease of each group ends, for the next daemon of this boot.
//! * [`life`]: the instance of each life of the daemon.
//! * [`journal`]: the decisions, for people. The daemon runs without it, too.
//! * [`move_file`]: when each group moved last, for people.
//! * [`recording_writer`]: the inputs of the engine, for a replay; [`recording_reader`] reads them. Optional.

pub mod journal;
pub mod lease;
pub mod life;
pub mod move_file;
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

/// Whether a replaced file must survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    Yes,
    No,
}

/// Replaces a file as a whole: a reader, and the next daemon, sees either the old or the new content.
fn replace_file(path: &Path, bytes: &[u8], durable: Durable) -> io::Result<()> {
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
    // The new name, too, must be on the disk before anything relies on the content.
    if durable == Durable::Yes
        && let Some(folder) = path.parent()
    {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Renames a damaged file so that an administrator can inspect it, and returns the new path.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stamp = LocalTime::now().file_stamp();
    // A number tells two within one second apart.
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
