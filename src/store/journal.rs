//! The journal of decisions: what `hactl why` and `hactl history` show.
//!
//! It is for people. Nothing is decided by it, so it may be slow, full, damaged or absent, and none of that
//! may reach the daemon: all is done by a thread of its own behind a queue that drops when it is full.
//! On disk it is a sled store; where that cannot be had, the newest entries stay in memory.

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
use disk::{Disk, OpenError};

/// Messages that may wait for the thread; a burst of all groups of a large cluster fits.
const QUEUE: usize = 512;
/// Entries on disk. sled holds nearly all of a small store in memory, whatever its cache is set to:
/// 10,000 entries cost 6 MiB, 2,000 cost 1 MiB.
const ON_DISK: usize = 2000;
/// Entries in memory, where there is no disk; about half a MiB.
const IN_MEMORY: usize = 1000;

/// The way to the journal's thread.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// At most so many, the newest.
    pub limit: usize,
    /// Only those about this group.
    pub group: Option<GroupName>,
    /// Only those written until then, in milliseconds since 1970.
    pub until_ms: Option<u64>,
}

impl Query {
    fn wants(&self, entry: &Entry) -> bool {
        self.group.is_none() || self.group == entry.group
    }

    fn in_time(&self, entry: &Entry) -> bool {
        self.until_ms.is_none_or(|until| entry.at_ms <= until)
    }
}

#[derive(Debug)]
enum Message {
    Append(Box<Entry>),
    Last(Query, oneshot::Sender<Vec<Entry>>),
    Close(SyncSender<()>),
}

impl Journal {
    /// Opens the journal in that folder. Returns at once; the thread opens the store and tells through
    /// `say` what an administrator should know: a store set aside, a disk that is full.
    /// An error means that there can be no thread.
    pub fn open(folder: PathBuf, say: impl Fn(String) + Send + 'static) -> std::io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let keeper = move || Keeper::new(&folder, Box::new(say)).run(&messages);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(keeper)?;
        Ok(Journal {
            queue,
            dropped: Arc::default(),
        })
    }

    /// Adds an entry. Never waits: when the queue is full, the entry is dropped and counted.
    pub fn append(&self, entry: Entry) {
        if self
            .queue
            .try_send(Message::Append(Box::new(entry)))
            .is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many entries were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The newest entries that fit, oldest first. The channel closes without an answer when the thread
    /// is too far behind; a disk that hangs keeps it open, so wait with a deadline.
    pub fn last(&self, query: Query) -> oneshot::Receiver<Vec<Entry>> {
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(Message::Last(query, reply)) {
            // The reply is dropped with the message, and that is the answer.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => answer,
        }
    }

    /// Brings what is queued to the disk and ends the thread; waits at most so long. False when it took longer.
    pub fn close(&self, within: Duration) -> bool {
        let (done, ended) = sync_channel(1);
        self.queue.try_send(Message::Close(done)).is_ok() && ended.recv_timeout(within).is_ok()
    }
}

/// What the thread holds.
struct Keeper {
    shelf: Shelf,
    say: Box<dyn Fn(String) + Send>,
}

enum Shelf {
    Disk(Disk),
    Memory(VecDeque<Entry>),
}

impl Keeper {
    fn new(folder: &std::path::Path, say: Box<dyn Fn(String) + Send>) -> Keeper {
        let shelf = match open_disk(folder, &*say) {
            Ok(disk) => Shelf::Disk(disk),
            Err(why) => {
                say(format!(
                    "the journal in {} cannot be used ({why}): history is kept in memory only, until the daemon ends",
                    folder.display()
                ));
                Shelf::Memory(VecDeque::new())
            }
        };
        Keeper { shelf, say }
    }

    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            match message {
                Message::Append(entry) => self.append(*entry),
                Message::Last(query, reply) => {
                    if reply.send(self.last(&query)).is_err() {
                        tracing::debug!("nobody waits for the journal's answer any more");
                    }
                }
                Message::Close(done) => {
                    self.close();
                    if done.send(()).is_err() {
                        tracing::debug!("nobody waits for the journal's end any more");
                    }
                    return;
                }
            }
        }
    }

    fn append(&mut self, entry: Entry) {
        if let Shelf::Disk(disk) = &mut self.shelf {
            match disk.append(&entry) {
                Ok(()) => return,
                Err(why) => self.give_up_disk(&why),
            }
        }
        if let Shelf::Memory(entries) = &mut self.shelf {
            if entries.len() >= IN_MEMORY {
                entries.pop_front();
            }
            entries.push_back(entry);
        }
    }

    fn last(&mut self, query: &Query) -> Vec<Entry> {
        if let Shelf::Disk(disk) = &self.shelf {
            match disk.last(query) {
                Ok(found) => return found,
                Err(why) => self.give_up_disk(&why),
            }
        }
        match &self.shelf {
            Shelf::Memory(entries) => newest(entries.iter().rev().cloned(), query),
            Shelf::Disk(_) => Vec::new(),
        }
    }

    /// Goes on in memory with what the disk can still tell.
    fn give_up_disk(&mut self, why: &str) {
        (self.say)(format!(
            "the journal failed ({why}): history is kept in memory only, until the daemon is restarted"
        ));
        let everything = Query {
            limit: IN_MEMORY,
            ..Query::default()
        };
        let known = match &self.shelf {
            Shelf::Disk(disk) => disk.last(&everything).unwrap_or_default(),
            Shelf::Memory(_) => Vec::new(),
        };
        let failed = std::mem::replace(&mut self.shelf, Shelf::Memory(known.into()));
        // That it failed has been said.
        Keeper::close_shelf(failed).ok();
    }

    fn close(self) {
        if let Err(why) = Keeper::close_shelf(self.shelf) {
            (self.say)(format!("the journal's newest entries may be lost ({why})"));
        }
    }

    fn close_shelf(shelf: Shelf) -> Result<(), String> {
        match shelf {
            Shelf::Disk(disk) => disk.close(),
            Shelf::Memory(_) => Ok(()),
        }
    }
}

/// Of entries that come newest first, those that fit, oldest first.
fn newest(entries: impl Iterator<Item = Entry>, query: &Query) -> Vec<Entry> {
    let mut found: Vec<Entry> = entries
        .filter(|entry| query.wants(entry) && query.in_time(entry))
        .take(query.limit)
        .collect();
    found.reverse();
    found
}

/// Opens the store; one that is damaged is set aside and a new one begun.
fn open_disk(folder: &std::path::Path, say: &dyn Fn(String)) -> Result<Disk, String> {
    let why = match Disk::open(folder) {
        Ok(disk) => {
            if disk.lost > 0 {
                let (lost, folder) = (disk.lost, folder.display());
                say(format!(
                    "the journal in {folder} was damaged: {lost} of its entries are lost"
                ));
            }
            return Ok(disk);
        }
        Err(OpenError::Unusable(why)) => return Err(why),
        Err(OpenError::Damaged(why)) => why,
    };
    let aside = super::set_aside(folder)
        .map_err(|error| format!("it is damaged: {why}; and cannot be set aside: {error}"))?;
    say(format!(
        "the journal in {} is damaged ({why}); it is now {}, and a new one is begun",
        folder.display(),
        aside.display()
    ));
    Disk::open(folder).map_err(|error| match error {
        OpenError::Unusable(why) | OpenError::Damaged(why) => why,
    })
}

#[cfg(test)]
mod tests;
