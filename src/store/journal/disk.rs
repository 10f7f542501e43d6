//! The journal's sled store. Panics inside sled are caught.
//!
//! As measured with sled 0.34, a damaged store may panic when it is opened, or open with rows missing and fail only when it is
//! read. It cannot be opened on a full disk. So a store counts as good only after it was opened *and* read to its end, all
//! under `catch_unwind`, and every value has a checksum of its own. Rows that vanished without an error show as gaps in the
//! numbers; when all of them vanished, the mark is missing.

use std::fmt;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{JournalQuery, MAX_ENTRIES_ON_DISK, newest_matching};
use crate::model::journal::Entry;

/// The first byte of each value; the next four are the CRC-32 of the JSON that follows.
const VERSION: u8 = 1;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
/// sled's page cache. Entries are written once and seldom read.
const PAGE_CACHE_BYTES: u64 = 256 * 1024;

/// Why the store cannot be opened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum JournalOpenError {
    /// It is damaged.
    Damaged(String),
    /// It may be good, but the system does not let us open it.
    Unusable(String),
    /// Another process has it open.
    InUse,
}

impl fmt::Display for JournalOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalOpenError::Damaged(why) | JournalOpenError::Unusable(why) => f.write_str(why),
            JournalOpenError::InUse => f.write_str("another process has it open"),
        }
    }
}

/// Written when a store is made. Its key sorts after those of all entries.
const MARK: ([u8; 9], &[u8]) = ([0xff; 9], b"had journal 1");

/// The open store: entries by a number that grows.
pub(super) struct JournalDisk {
    store: sled::Db,
    next: u64,
    entries: usize,
    /// How many entries were missing or damaged when it was opened, without sled reporting an error.
    pub(super) lost: u64,
}

impl JournalDisk {
    pub(super) fn open(folder: &Path) -> Result<JournalDisk, JournalOpenError> {
        refuse_when_locked(folder)?;
        match catch_unwind(|| open_and_read(folder)) {
            Ok(Ok(disk)) => Ok(disk),
            Ok(Err(error)) => Err(open_error(&error)),
            Err(panic) => Err(JournalOpenError::Damaged(panic_text(&*panic))),
        }
    }

    /// Adds entries, removes the oldest when there are too many, and writes all to the disk.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            self.append_one(entry)?;
        }
        catch_panic(|| self.store.flush().map(drop))
    }

    fn append_one(&mut self, entry: &Entry) -> Result<(), String> {
        let value = encode(entry).map_err(|error| error.to_string())?;
        let key = self.next.to_be_bytes();
        let full = self.entries >= MAX_ENTRIES_ON_DISK;
        catch_panic(|| {
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

    /// The newest entries that match, oldest first.
    pub(super) fn last(&self, query: &JournalQuery) -> Result<Vec<Entry>, String> {
        catch_panic(|| {
            let mut failure = None;
            let values = self
                .store
                .iter()
                .values()
                .rev()
                .map_while(|value| value.map_err(|error| failure = Some(error)).ok());
            let found = newest_matching(values.filter_map(|value| decode(&value)), query);
            failure.map_or(Ok(found), Err)
        })
    }

    /// Writes everything to the disk and closes the store.
    pub(super) fn close(self) -> Result<(), String> {
        catch_panic(|| self.store.flush().map(drop))?;
        catch_panic(|| {
            drop(self);
            Ok(())
        })
    }
}

/// sled does not distinguish a locked store from a damaged one, so the lock is tried first.
fn refuse_when_locked(folder: &Path) -> Result<(), JournalOpenError> {
    let Ok(file) = File::open(folder.join("db")) else {
        return Ok(());
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Err((_, Errno::EWOULDBLOCK)) => Err(JournalOpenError::InUse),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn open_and_read(folder: &Path) -> sled::Result<JournalDisk> {
    let existed = folder.join("db").exists();
    let store = sled::Config::default()
        .path(folder)
        .mode(sled::Mode::LowSpace)
        .cache_capacity(PAGE_CACHE_BYTES)
        // It would wake twice a second and call fsync each time, also when nothing was written.
        .flush_every_ms(None)
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
    Ok(JournalDisk {
        store,
        next: found.next,
        entries: found.entries,
        lost: found.lost,
    })
}

#[derive(Default)]
struct StoreContent {
    next: u64,
    entries: usize,
    lost: u64,
    marked: bool,
}

/// Reads every row, removes unusable ones, and counts what is missing.
fn read_through(store: &sled::Db) -> sled::Result<StoreContent> {
    let mut found = StoreContent::default();
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

/// Tells damage from a refusal of the system.
fn open_error(error: &sled::Error) -> JournalOpenError {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    match error {
        sled::Error::Io(io)
            if !matches!(
                io.kind(),
                InvalidData | InvalidInput | Other | UnexpectedEof
            ) =>
        {
            JournalOpenError::Unusable(io.to_string())
        }
        sled::Error::ReportableBug(text) => JournalOpenError::Damaged(text.clone()),
        damage => JournalOpenError::Damaged(damage.to_string()),
    }
}

/// Calls sled; a panic in it becomes an error.
fn catch_panic<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
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
        .unwrap_or("no message");
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
