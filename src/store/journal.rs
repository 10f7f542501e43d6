//! The journal of decisions, which `hactl why` and `hactl history` show.
//!
//! It is for people; no decision depends on it. A slow, full, damaged or missing disk must not affect the daemon, so a thread
//! of its own writes the journal, behind a queue that drops entries when it is full. On disk it is a sled store; without a
//! usable disk, the newest entries stay in memory.

mod disk;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::model::GroupName;
use crate::model::journal::Entry;
use crate::text::count;
use disk::{JournalDisk, JournalOpenError};

/// Messages that may wait for the thread: more than a burst of all groups of a large cluster.
const QUEUE_DEPTH: usize = 512;
/// Entries on disk. sled keeps nearly all of a small store in memory, whatever its cache size: 10,000 entries cost 6 MiB, 2,000
/// cost 1 MiB.
const MAX_ENTRIES_ON_DISK: usize = 2000;
/// Entries in memory without a disk; about half a MiB.
const MAX_ENTRIES_IN_MEMORY: usize = 1000;

/// The queue to the journal's thread.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: SyncSender<JournalMessage>,
    dropped: Arc<AtomicU64>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalQuery {
    /// How many at most; the newest are returned.
    pub limit: usize,
    /// Only those about this group.
    pub group: Option<GroupName>,
    /// Only those written up to this time, in milliseconds since 1970.
    pub until_ms: Option<u64>,
}

impl JournalQuery {
    fn wants(&self, entry: &Entry) -> bool {
        self.group.is_none() || self.group == entry.group
    }

    fn in_time(&self, entry: &Entry) -> bool {
        self.until_ms.is_none_or(|until| entry.at_ms <= until)
    }
}

#[derive(Debug)]
enum JournalMessage {
    Append(Box<Entry>),
    Last(JournalQuery, oneshot::Sender<Vec<Entry>>),
    Close(SyncSender<()>),
}

impl Journal {
    /// Opens the journal in a folder. Returns at once; the thread opens the store and passes problems to `log`. An error
    /// means that the thread cannot be started.
    pub fn open(folder: PathBuf, log: impl Fn(String) + Send + 'static) -> std::io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE_DEPTH);
        let body = move || JournalThread::new(&folder, Box::new(log)).run(&messages);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(body)?;
        Ok(Journal {
            queue,
            dropped: Arc::default(),
        })
    }

    /// Adds an entry. Never waits: when the queue is full, the entry is dropped and counted.
    pub fn append(&self, entry: Entry) {
        if self
            .queue
            .try_send(JournalMessage::Append(Box::new(entry)))
            .is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of dropped entries.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The newest entries that match, oldest first. The channel closes without an answer when the queue is full. A disk that
    /// hangs keeps it open, so wait with a deadline.
    pub fn last(&self, query: JournalQuery) -> oneshot::Receiver<Vec<Entry>> {
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(JournalMessage::Last(query, reply)) {
            // On an error the reply channel is dropped with the message, which closes it.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => answer,
        }
    }

    /// Writes what is queued to the disk and ends the thread. False when that took longer than `within`.
    pub fn close(&self, within: Duration) -> bool {
        let (done, ended) = sync_channel(1);
        self.queue.try_send(JournalMessage::Close(done)).is_ok()
            && ended.recv_timeout(within).is_ok()
    }
}

/// The thread that owns the entries.
struct JournalThread {
    entries: JournalEntries,
    log: Box<dyn Fn(String) + Send>,
}

enum JournalEntries {
    Disk(JournalDisk),
    Memory(VecDeque<Entry>),
}

impl JournalThread {
    fn new(folder: &std::path::Path, log: Box<dyn Fn(String) + Send>) -> JournalThread {
        let entries = match open_disk(folder, &*log) {
            Ok(disk) => JournalEntries::Disk(disk),
            Err(why) => {
                log(format!(
                    "cannot use the journal in {} ({why}); the history is in memory only and is lost when the daemon ends",
                    folder.display()
                ));
                JournalEntries::Memory(VecDeque::new())
            }
        };
        JournalThread { entries, log }
    }

    fn run(mut self, messages: &Receiver<JournalMessage>) {
        while let Ok(message) = messages.recv() {
            match message {
                JournalMessage::Append(entry) => self.append(*entry),
                JournalMessage::Last(query, reply) => {
                    if reply.send(self.last(&query)).is_err() {
                        tracing::debug!("the client of a journal query is gone");
                    }
                }
                JournalMessage::Close(done) => {
                    self.close();
                    if done.send(()).is_err() {
                        tracing::debug!("nobody waits for the journal to close");
                    }
                    return;
                }
            }
        }
    }

    fn append(&mut self, entry: Entry) {
        if let JournalEntries::Disk(disk) = &mut self.entries {
            match disk.append(&entry) {
                Ok(()) => return,
                Err(why) => self.continue_in_memory(&why),
            }
        }
        if let JournalEntries::Memory(entries) = &mut self.entries {
            if entries.len() >= MAX_ENTRIES_IN_MEMORY {
                entries.pop_front();
            }
            entries.push_back(entry);
        }
    }

    fn last(&mut self, query: &JournalQuery) -> Vec<Entry> {
        if let JournalEntries::Disk(disk) = &self.entries {
            match disk.last(query) {
                Ok(found) => return found,
                Err(why) => self.continue_in_memory(&why),
            }
        }
        match &self.entries {
            JournalEntries::Memory(entries) => {
                newest_matching(entries.iter().rev().cloned(), query)
            }
            JournalEntries::Disk(_) => Vec::new(),
        }
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
        let known = match &self.entries {
            JournalEntries::Disk(disk) => disk.last(&everything).unwrap_or_default(),
            JournalEntries::Memory(_) => Vec::new(),
        };
        let failed = std::mem::replace(&mut self.entries, JournalEntries::Memory(known.into()));
        // The failure is already logged.
        JournalThread::close_entries(failed).ok();
    }

    fn close(self) {
        if let Err(why) = JournalThread::close_entries(self.entries) {
            (self.log)(format!(
                "the newest entries of the journal may be lost ({why})"
            ));
        }
    }

    fn close_entries(entries: JournalEntries) -> Result<(), String> {
        match entries {
            JournalEntries::Disk(disk) => disk.close(),
            JournalEntries::Memory(_) => Ok(()),
        }
    }
}

/// From entries in the order newest first, those that match, oldest first.
fn newest_matching(entries: impl Iterator<Item = Entry>, query: &JournalQuery) -> Vec<Entry> {
    let mut found: Vec<Entry> = entries
        .filter(|entry| query.wants(entry) && query.in_time(entry))
        .take(query.limit)
        .collect();
    found.reverse();
    found
}

/// Opens the store. A damaged one is renamed, and a new one is made.
fn open_disk(folder: &std::path::Path, log: &dyn Fn(String)) -> Result<JournalDisk, String> {
    let why = match JournalDisk::open(folder) {
        Ok(disk) => {
            if disk.lost > 0 {
                let (lost, folder) = (disk.lost, folder.display());
                log(format!(
                    "the journal in {folder} was damaged: {} could not be read and are dropped",
                    count(usize::try_from(lost).unwrap_or(usize::MAX), "entry")
                ));
            }
            return Ok(disk);
        }
        Err(JournalOpenError::Unusable(why)) => return Err(why),
        Err(JournalOpenError::Damaged(why)) => why,
    };
    let aside = super::set_aside(folder)
        .map_err(|error| format!("it is damaged: {why}; and it cannot be renamed: {error}"))?;
    log(format!(
        "the journal in {} is damaged ({why}); it was renamed to {}, and a new one is started",
        folder.display(),
        aside.display()
    ));
    JournalDisk::open(folder).map_err(|error| match error {
        JournalOpenError::Unusable(why) | JournalOpenError::Damaged(why) => why,
    })
}

#[cfg(test)]
mod tests;
