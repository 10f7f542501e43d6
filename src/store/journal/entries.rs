//! Where the entries of the journal are: on the disk, or in memory when there is no usable disk.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::disk::{JournalDisk, JournalOpenError};
use super::process::StoreProcess;
use super::{JournalPlace, JournalQuery, MAX_ENTRIES_IN_MEMORY, newest_matching};
use crate::model::journal::Entry;
use crate::store::set_aside;
use crate::text::count;

/// The entries, and how to open the store again.
pub(super) struct JournalEntries {
    folder: PathBuf,
    place: JournalPlace,
    log: Box<dyn Fn(String) + Send>,
    at: At,
}

enum At {
    /// In the store, which is open.
    Disk(Store),
    /// In the store, which is closed until it is needed.
    Rest,
    Memory(VecDeque<Entry>),
}

enum Store {
    Here(Box<JournalDisk>),
    There(StoreProcess),
}

impl JournalEntries {
    /// Opens the store. Without a usable one, entries stay in memory, which is logged.
    pub(super) fn open(
        folder: PathBuf,
        place: JournalPlace,
        log: Box<dyn Fn(String) + Send>,
    ) -> JournalEntries {
        let mut entries = JournalEntries {
            folder,
            place,
            log,
            at: At::Rest,
        };
        if let Err(why) = entries.open_store() {
            (entries.log)(format!(
                "cannot use the journal in {} ({why}); the history is in memory only and is lost when the daemon ends",
                entries.folder.display()
            ));
            entries.at = At::Memory(VecDeque::new());
        }
        entries
    }

    /// Adds entries. What fails is logged.
    pub(super) fn append(&mut self, new: Vec<Entry>) {
        if let Err(why) = self.append_to_store(&new) {
            self.continue_in_memory(&why);
        }
        if let At::Memory(entries) = &mut self.at {
            entries.extend(new);
            let most = entries.len().saturating_sub(MAX_ENTRIES_IN_MEMORY);
            entries.drain(..most);
        }
    }

    /// The newest entries that match, oldest first.
    pub(super) fn last(&mut self, query: &JournalQuery) -> Vec<Entry> {
        match self.last_of_store(query) {
            Ok(Some(found)) => return found,
            Ok(None) => {}
            Err(why) => self.continue_in_memory(&why),
        }
        match &self.at {
            At::Memory(entries) => newest_matching(entries.iter().rev().cloned(), query),
            At::Disk(_) | At::Rest => Vec::new(),
        }
    }

    /// Closes the store until it is needed again, when it is another process that has it open.
    pub(super) fn rest(&mut self) {
        if matches!(&self.at, At::Disk(Store::There(_))) {
            self.close_store();
        }
    }

    /// Writes all to the disk.
    pub(super) fn close(mut self) {
        self.close_store();
    }

    fn close_store(&mut self) {
        if let At::Disk(store) = std::mem::replace(&mut self.at, At::Rest)
            && let Err(why) = store.close()
        {
            (self.log)(format!(
                "the newest entries of the journal may be lost ({why})"
            ));
        }
    }

    /// Opens the store if it is closed. A damaged one is renamed, and a new one is made.
    fn open_store(&mut self) -> Result<(), String> {
        if !matches!(self.at, At::Rest) {
            return Ok(());
        }
        let store = match Store::open(&self.folder, &self.place) {
            Ok((store, lost)) => {
                self.log_lost(lost);
                store
            }
            Err(JournalOpenError::Damaged(why)) => self.replace_store(&why)?,
            Err(why) => return Err(why.to_string()),
        };
        self.at = At::Disk(store);
        Ok(())
    }

    fn log_lost(&self, lost: u64) {
        if lost > 0 {
            (self.log)(format!(
                "the journal in {} was damaged: {} could not be read and are dropped",
                self.folder.display(),
                count(usize::try_from(lost).unwrap_or(usize::MAX), "entry")
            ));
        }
    }

    fn replace_store(&self, damage: &str) -> Result<Store, String> {
        let aside = set_aside(&self.folder).map_err(|error| {
            format!("it is damaged: {damage}; and it cannot be renamed: {error}")
        })?;
        (self.log)(format!(
            "the journal in {} is damaged ({damage}); it was renamed to {}, and a new one is started",
            self.folder.display(),
            aside.display()
        ));
        match Store::open(&self.folder, &self.place) {
            Ok((store, _)) => Ok(store),
            Err(why) => Err(why.to_string()),
        }
    }

    fn append_to_store(&mut self, new: &[Entry]) -> Result<(), String> {
        self.open_store()?;
        let first = match &mut self.at {
            At::Disk(store) => store.append(new),
            At::Rest | At::Memory(_) => Ok(()),
        };
        // A process can be killed for reasons that have nothing to do with the disk.
        if first.is_err() && self.forget_ended_process() {
            self.open_store()?;
            if let At::Disk(store) = &mut self.at {
                return store.append(new);
            }
        }
        first
    }

    /// None when there is no store.
    fn last_of_store(&mut self, query: &JournalQuery) -> Result<Option<Vec<Entry>>, String> {
        self.open_store()?;
        let first = match &mut self.at {
            At::Disk(store) => store.last(query).map(Some),
            At::Rest | At::Memory(_) => Ok(None),
        };
        if first.is_err() && self.forget_ended_process() {
            self.open_store()?;
            if let At::Disk(store) = &mut self.at {
                return store.last(query).map(Some);
            }
        }
        first
    }

    fn forget_ended_process(&mut self) -> bool {
        let ended = matches!(&self.at, At::Disk(Store::There(process)) if process.has_ended());
        if ended {
            self.at = At::Rest;
        }
        ended
    }

    /// Continues in memory with the entries that can still be read from the disk.
    fn continue_in_memory(&mut self, why: &str) {
        (self.log)(format!(
            "writing the journal failed ({why}); the history is in memory only until the daemon is restarted"
        ));
        let everything = JournalQuery {
            limit: MAX_ENTRIES_IN_MEMORY,
            ..JournalQuery::default()
        };
        let known = match &mut self.at {
            At::Disk(store) => store.last(&everything).unwrap_or_default(),
            At::Rest | At::Memory(_) => Vec::new(),
        };
        let failed = std::mem::replace(&mut self.at, At::Memory(known.into()));
        if let At::Disk(store) = failed {
            // The failure is already logged.
            store.close().ok();
        }
    }
}

impl Store {
    /// The store, and how many of its entries were lost.
    fn open(folder: &Path, place: &JournalPlace) -> Result<(Store, u64), JournalOpenError> {
        match place {
            JournalPlace::ThisProcess => {
                let disk = JournalDisk::open(folder)?;
                let lost = disk.lost;
                Ok((Store::Here(Box::new(disk)), lost))
            }
            JournalPlace::ProcessOf(program) => {
                let (process, lost) = StoreProcess::start(program, folder)?;
                Ok((Store::There(process), lost))
            }
        }
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), String> {
        match self {
            Store::Here(disk) => disk.append(entries),
            Store::There(process) => process.append(entries),
        }
    }

    fn last(&mut self, query: &JournalQuery) -> Result<Vec<Entry>, String> {
        match self {
            Store::Here(disk) => disk.last(query),
            Store::There(process) => process.last(query),
        }
    }

    fn close(self) -> Result<(), String> {
        match self {
            Store::Here(disk) => disk.close(),
            Store::There(process) => process.close(),
        }
    }
}
