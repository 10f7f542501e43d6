//! The journal's sled store, with every call guarded.
//!
//! Measured of sled 0.34: a damaged store may panic while it is opened, or open with rows missing and fail
//! only when it is read through; a full disk stops it opening. So a store counts as good when it
//! was opened *and* read through, all under `catch_unwind`, and every value carries its own checksum. Rows
//! that vanished without an error show as gaps in the numbers, or by the missing mark of a whole store.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{ON_DISK, Query, newest};
use crate::model::journal::Entry;

/// The first byte of each value; the next four are the CRC-32 of the JSON that follows.
const VERSION: u8 = 1;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
/// sled's page cache. Entries are written once and seldom read.
const CACHE: u64 = 256 * 1024;

/// Why there is no store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenError {
    /// What is there is damaged.
    Damaged(String),
    /// What is there may be good, but the system does not let us.
    Unusable(String),
}

/// Written when a store is made; its key comes after those of all entries.
const MARK: ([u8; 9], &[u8]) = ([0xff; 9], b"had journal 1");

/// The open store: entries by a number that grows.
pub(super) struct Disk {
    store: sled::Db,
    next: u64,
    entries: usize,
    /// How many entries were found missing or damaged at the opening, where sled itself found nothing.
    pub(super) lost: u64,
}

impl Disk {
    pub(super) fn open(folder: &Path) -> Result<Disk, OpenError> {
        refuse_when_locked(folder)?;
        match catch_unwind(|| open_and_read(folder)) {
            Ok(Ok(disk)) => Ok(disk),
            Ok(Err(error)) => Err(judge(&error)),
            Err(panic) => Err(OpenError::Damaged(panic_text(&*panic))),
        }
    }

    /// Adds an entry and removes the oldest where there are too many.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<(), String> {
        let value = encode(entry).map_err(|error| error.to_string())?;
        let key = self.next.to_be_bytes();
        let full = self.entries >= ON_DISK;
        guard(|| {
            self.store.insert(key, value)?;
            if full {
                self.store.pop_min()?;
            }
            Ok(())
        })?;
        self.next = self.next.saturating_add(1);
        self.entries += usize::from(!full);
        Ok(())
    }

    /// The newest entries that fit, oldest first.
    pub(super) fn last(&self, query: &Query) -> Result<Vec<Entry>, String> {
        guard(|| {
            let mut failure = None;
            let values = self
                .store
                .iter()
                .values()
                .rev()
                .map_while(|value| value.map_err(|error| failure = Some(error)).ok());
            let found = newest(values.filter_map(|value| decode(&value)), query);
            failure.map_or(Ok(found), Err)
        })
    }

    /// Closes the store, which flushes what is not on the disk yet.
    pub(super) fn close(self) -> Result<(), String> {
        guard(|| self.store.flush().map(drop))?;
        guard(|| {
            drop(self);
            Ok(())
        })
    }
}

/// sled reports a lock as some error; asked beforehand, it is told from damage.
fn refuse_when_locked(folder: &Path) -> Result<(), OpenError> {
    let Ok(file) = File::open(folder.join("db")) else {
        return Ok(());
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Err((_, Errno::EWOULDBLOCK)) => {
            let text = "another process has it open".to_owned();
            Err(OpenError::Unusable(text))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn open_and_read(folder: &Path) -> sled::Result<Disk> {
    let existed = folder.join("db").exists();
    let store = sled::Config::default()
        .path(folder)
        .mode(sled::Mode::LowSpace)
        .cache_capacity(CACHE)
        .open()?;
    let found = read_through(&store)?;
    if existed && !found.marked {
        let text = "nothing in it could be read".to_owned();
        return Err(sled::Error::ReportableBug(text));
    }
    if !found.marked {
        store.insert(MARK.0, MARK.1)?;
        store.flush()?;
    }
    Ok(Disk {
        store,
        next: found.next,
        entries: found.entries,
        lost: found.lost,
    })
}

#[derive(Default)]
struct Found {
    next: u64,
    entries: usize,
    lost: u64,
    marked: bool,
}

/// Reads every row, removes those that are of no use, and counts what is missing.
fn read_through(store: &sled::Db) -> sled::Result<Found> {
    let mut found = Found::default();
    for row in store.iter() {
        let (key, value) = row?;
        if *key == MARK.0 {
            found.marked = true;
        } else if let (Ok(key), Some(_)) = (<[u8; 8]>::try_from(&*key), decode(&value)) {
            let number = u64::from_be_bytes(key);
            if found.entries > 0 {
                found.lost += number.saturating_sub(found.next);
            }
            found.next = number.saturating_add(1);
            found.entries += 1;
        } else {
            store.remove(key)?;
        }
    }
    Ok(found)
}

/// Damage, or a system that refuses?
fn judge(error: &sled::Error) -> OpenError {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    match error {
        sled::Error::Io(io)
            if !matches!(
                io.kind(),
                InvalidData | InvalidInput | Other | UnexpectedEof
            ) =>
        {
            OpenError::Unusable(io.to_string())
        }
        sled::Error::ReportableBug(text) => OpenError::Damaged(text.clone()),
        damage => OpenError::Damaged(damage.to_string()),
    }
}

/// Calls sled; a panic of its own is an error.
fn guard<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(panic_text(&*panic)),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without words");
    let first = text.lines().next().unwrap_or_default();
    format!("sled panicked: {first}")
}

fn encode(entry: &Entry) -> serde_json::Result<Vec<u8>> {
    let json = serde_json::to_vec(entry)?;
    let mut value = vec![VERSION];
    value.extend(CRC.checksum(&json).to_be_bytes());
    value.extend(json);
    Ok(value)
}

fn decode(value: &[u8]) -> Option<Entry> {
    let (&[VERSION], rest) = value.split_first_chunk()? else {
        return None;
    };
    let (sum, json) = rest.split_first_chunk()?;
    if u32::from_be_bytes(*sum) != CRC.checksum(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}
