//! The journal of decisions, which `hactl why` and `hactl history` show.
//!
//! It is for people; no decision depends on it. A slow, full, damaged or missing disk must not affect the daemon, so a thread
//! of its own writes the journal, behind a queue that drops entries when it is full. On disk it is a sled store; without a
//! usable disk, the newest entries stay in memory.
//!
//! sled starts seven threads that wake once a second for as long as a process lives. So the daemon leaves the store to a
//! process of its own ([`process`]), which ends when nothing was written for a while. At rest there are no threads, no
//! wake-ups and no writes.

mod disk;
mod entries;
pub mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::model::GroupName;
use crate::model::journal::Entry;
use entries::JournalEntries;

/// Messages that may wait for the thread: more than a burst of all groups of a large cluster.
const QUEUE_DEPTH: usize = 512;
/// Entries on disk. sled keeps nearly all of a small store in memory, whatever its cache size: 10,000 entries cost 6 MiB, 2,000
/// cost 1 MiB.
const MAX_ENTRIES_ON_DISK: usize = 2000;
/// Entries in memory without a disk; about half a MiB.
const MAX_ENTRIES_IN_MEMORY: usize = 1000;
/// Entries are written together, this long after the first of them: a failover is many entries within a moment, and the disk
/// shall have no part in it.
const WRITE_AFTER: Duration = Duration::from_millis(250);
/// More than these are written at once.
const MAX_WAITING: usize = 128;
/// The store is closed when it was not used for this long.
const CLOSE_AFTER: Duration = Duration::from_secs(10);

/// The queue to the journal's thread.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: SyncSender<JournalMessage>,
    dropped: Arc<AtomicU64>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Which process has the store open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalPlace {
    /// This one, for as long as it lives.
    ThisProcess,
    /// One that this program starts, and that calls [`process::serve_if_asked`].
    ProcessOf(PathBuf),
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
    pub fn open(
        folder: PathBuf,
        place: JournalPlace,
        log: impl Fn(String) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE_DEPTH);
        let body = move || JournalThread::new(folder, place, Box::new(log)).run(&messages);
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

/// From entries in the order newest first, those that match, oldest first.
fn newest_matching(entries: impl Iterator<Item = Entry>, query: &JournalQuery) -> Vec<Entry> {
    let mut found: Vec<Entry> = entries
        .filter(|entry| query.wants(entry) && query.in_time(entry))
        .take(query.limit)
        .collect();
    found.reverse();
    found
}

/// The thread that owns the entries.
struct JournalThread {
    entries: JournalEntries,
    /// Entries that are not written yet.
    waiting: Vec<Entry>,
    /// When something must be done without a message: to write what waits, or to close the store.
    wake_at: Option<Instant>,
}

impl JournalThread {
    fn new(folder: PathBuf, place: JournalPlace, log: Box<dyn Fn(String) + Send>) -> JournalThread {
        let mut thread = JournalThread {
            entries: JournalEntries::open(folder, place, log),
            waiting: Vec::new(),
            wake_at: None,
        };
        thread.close_later();
        thread
    }

    fn run(mut self, messages: &Receiver<JournalMessage>) {
        loop {
            match self.next_message(messages) {
                Ok(JournalMessage::Append(entry)) => self.append(*entry),
                Ok(JournalMessage::Last(query, reply)) => {
                    self.write();
                    let found = self.entries.last(&query);
                    self.close_later();
                    if reply.send(found).is_err() {
                        tracing::debug!("the client of a journal query is gone");
                    }
                }
                Ok(JournalMessage::Close(done)) => {
                    self.write();
                    self.entries.close();
                    if done.send(()).is_err() {
                        tracing::debug!("nobody waits for the journal to close");
                    }
                    return;
                }
                Err(RecvTimeoutError::Timeout) if self.waiting.is_empty() => {
                    self.wake_at = None;
                    self.entries.rest();
                }
                Err(RecvTimeoutError::Timeout) => self.write(),
                Err(RecvTimeoutError::Disconnected) => return self.write(),
            }
        }
    }

    fn next_message(
        &self,
        messages: &Receiver<JournalMessage>,
    ) -> Result<JournalMessage, RecvTimeoutError> {
        match self.wake_at {
            Some(at) => messages.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => messages.recv().map_err(RecvTimeoutError::from),
        }
    }

    fn append(&mut self, entry: Entry) {
        if self.waiting.is_empty() {
            self.wake_at = Some(Instant::now() + WRITE_AFTER);
        }
        self.waiting.push(entry);
        let due = self.wake_at.is_some_and(|at| at <= Instant::now());
        if due || self.waiting.len() >= MAX_WAITING {
            self.write();
        }
    }

    fn write(&mut self) {
        if !self.waiting.is_empty() {
            self.entries.append(std::mem::take(&mut self.waiting));
            self.close_later();
        }
    }

    fn close_later(&mut self) {
        self.wake_at = Some(Instant::now() + CLOSE_AFTER);
    }
}

#[cfg(test)]
mod tests;
