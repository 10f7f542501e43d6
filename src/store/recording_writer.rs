//! Records what the engine is told, for `hactl replay`: two files, each at most half of the size that ha.cf grants.
//! When the newer is full it takes the place of the older.
//!
//! The heartbeat thread never waits for it. It hands events over a bounded queue; when that is full they are dropped,
//! and the state of the engine that follows them says how many. The thread at the other end looks into the queue by
//! itself, so that handing over never costs a call to the kernel. Nothing is fsynced: a power cut costs the last
//! seconds. A disk that is full or refuses is told once and tried again later.

mod recording_files;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::engine::ActionDigest;
use crate::engine::{Action, Engine, Event, PersistentState};
use crate::model::Time;
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::replay::recording_format::{RECORDING_FORMAT, RecordingStart, StartState};
use crate::sys::clock;
use recording_files::RecordingFiles;

/// Events that may wait: a disk may stand still for 20 s with two nodes at a keepalive of 10 ms.
const QUEUE: usize = 4096;
/// How often the thread looks into the queue.
const LOOK: Duration = Duration::from_millis(100);

/// The files, older first.
pub fn files(folder: &Path) -> [PathBuf; 2] {
    [folder.join("recording.old"), folder.join("recording")]
}

enum Message {
    RecordingStart(Box<RecordingStart>),
    Event(Time, Event, ActionDigest),
}

/// The heartbeat thread's end. When it is dropped, the recording ends.
#[derive(Debug)]
pub struct RecordingFeed {
    queue: SyncSender<Message>,
    /// The files need a state to go on from.
    wanted: Arc<AtomicBool>,
    /// Something was dropped since the last state.
    lost: bool,
    life: Time,
    next: u64,
    digest: ActionDigest,
}

impl RecordingFeed {
    /// The engine is about to be made of this.
    pub fn fresh(&mut self, at: Time, cluster: &Cluster, kept: &PersistentState) {
        let start = Box::new((cluster.clone(), kept.clone()));
        self.begin(at, cluster, StartState::Fresh(start));
    }

    /// The engine is about to be told this.
    pub fn tell(&mut self, at: Time, event: &Event, engine: &Engine) {
        if self.lost || self.wanted.load(Ordering::Relaxed) {
            let state = StartState::Running(Box::new(engine.clone()));
            self.begin(at, engine.cluster(), state);
        }
        self.next = self.next.saturating_add(1);
        let message = Message::Event(at, event.clone(), self.digest);
        self.lost = self.lost || self.queue.try_send(message).is_err();
    }

    /// The engine has ordered this.
    pub fn ordered(&mut self, actions: &[Action]) {
        self.digest.add(actions);
    }

    fn begin(&mut self, at: Time, cluster: &Cluster, state: StartState) {
        let begin = RecordingStart {
            format: RECORDING_FORMAT,
            had: env!("CARGO_PKG_VERSION").to_owned(),
            node: cluster.me.clone(),
            life: self.life,
            next: self.next,
            at,
            wall_ms: clock::wall_milliseconds(),
            digest: self.digest,
            state,
        };
        self.wanted.store(false, Ordering::Relaxed);
        self.lost = self
            .queue
            .try_send(Message::RecordingStart(Box::new(begin)))
            .is_err();
    }
}

/// The recording thread, seen from the slow half.
#[derive(Debug)]
pub struct RecordingWriter {
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

impl RecordingWriter {
    /// Begins to record in that folder, in so many bytes. Returns at once; what an administrator should know comes
    /// through `say`. An error means that there can be no thread.
    pub fn open(
        folder: &Path,
        size: u64,
        say: impl Fn(Level, String) + Send + 'static,
    ) -> std::io::Result<(RecordingWriter, RecordingFeed)> {
        let (queue, messages) = sync_channel(QUEUE);
        let wanted = Arc::new(AtomicBool::new(false));
        let files = RecordingFiles::new(folder, size, Arc::clone(&wanted), Box::new(say));
        let (done, ended) = sync_channel(1);
        let body = move || {
            run(files, &messages);
            // Nobody may wait for it.
            done.try_send(()).ok();
        };
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(body)?;
        let feed = RecordingFeed {
            queue,
            wanted,
            // Begins with a state.
            lost: true,
            life: clock::now(),
            next: 0,
            digest: ActionDigest::default(),
        };
        Ok((RecordingWriter { thread, ended }, feed))
    }

    /// Waits, at most so long, until all that was told before the feed was dropped is written. False when it took longer.
    pub fn close(self, within: Duration) -> bool {
        self.thread.thread().unpark();
        self.ended.recv_timeout(within).is_ok()
    }
}

fn run(mut files: RecordingFiles, messages: &Receiver<Message>) {
    loop {
        let last = loop {
            match messages.try_recv() {
                Ok(Message::RecordingStart(begin)) => files.begin(&begin, Instant::now()),
                Ok(Message::Event(at, event, digest)) => files.event(at, event, digest),
                Err(TryRecvError::Empty) => break false,
                Err(TryRecvError::Disconnected) => break true,
            }
        };
        files.rest(Instant::now(), last);
        if last {
            return;
        }
        thread::park_timeout(LOOK);
    }
}

#[cfg(test)]
mod tests;
