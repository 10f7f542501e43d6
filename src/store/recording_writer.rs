//! Records the inputs of the engine for `hactl replay` in two files, each at most half of the size that ha.cf allows. When
//! the newer one is full, it replaces the older one.
//!
//! The heartbeat thread never waits for the disk. It puts events into a bounded queue; when that is full they are dropped,
//! and the engine state that is recorded next says how many. The writing thread polls the queue, so that recording an event
//! never costs a system call. Nothing is fsynced: a power cut costs the last seconds. A full or failed disk is logged once
//! and tried again later.

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
use crate::replay::recording_format::{
    RECORDING_FORMAT, RecordedInput, RecordingStart, StartState,
};
use crate::sys::clock;
use recording_files::RecordingFiles;

/// Events that may wait for the disk: 20 s of two nodes at a keepalive of 10 ms.
const QUEUE_DEPTH: usize = 4096;
/// Time between two polls of the queue.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// The two files, older first.
pub fn recording_paths(folder: &Path) -> [PathBuf; 2] {
    [folder.join("recording.old"), folder.join("recording")]
}

enum RecordingMessage {
    RecordingStart(Box<RecordingStart>),
    Event(RecordedInput),
}

/// The heartbeat thread's end of the queue. Dropping it ends the recording.
#[derive(Debug)]
pub struct RecordingFeed {
    queue: SyncSender<RecordingMessage>,
    /// Whether the files need a state of the engine to go on from.
    state_wanted: Arc<AtomicBool>,
    /// Whether events were dropped since the last state.
    lost: bool,
    started_at: Time,
    next_number: u64,
    digest: ActionDigest,
}

impl RecordingFeed {
    /// Records the start of an engine, before it is made.
    pub fn record_start(&mut self, at: Time, cluster: &Cluster, kept: &PersistentState) {
        let start = Box::new((cluster.clone(), kept.clone()));
        self.record_state(at, cluster, StartState::Fresh(start));
    }

    /// Records an event, before the engine handles it. `more`: the engine decides only after the next one.
    pub fn record_event(&mut self, at: Time, event: &Event, more: bool, engine: &Engine) {
        if self.lost || self.state_wanted.load(Ordering::Relaxed) {
            let state = StartState::Running(Box::new(engine.clone()));
            self.record_state(at, engine.cluster(), state);
        }
        self.next_number = self.next_number.saturating_add(1);
        let message = RecordingMessage::Event(RecordedInput {
            at,
            event: event.clone(),
            more,
            digest: Some(self.digest),
        });
        self.lost = self.lost || self.queue.try_send(message).is_err();
    }

    /// Adds the orders of the engine to the digest that a replay compares.
    pub fn record_actions(&mut self, actions: &[Action]) {
        self.digest.add(actions);
    }

    fn record_state(&mut self, at: Time, cluster: &Cluster, state: StartState) {
        let begin = RecordingStart {
            format: RECORDING_FORMAT,
            had: env!("CARGO_PKG_VERSION").to_owned(),
            node: cluster.me.clone(),
            life: self.started_at,
            next: self.next_number,
            at,
            wall_ms: clock::wall_milliseconds(),
            digest: self.digest,
            state,
        };
        self.state_wanted.store(false, Ordering::Relaxed);
        self.lost = self
            .queue
            .try_send(RecordingMessage::RecordingStart(Box::new(begin)))
            .is_err();
    }
}

/// The thread that writes the recording.
#[derive(Debug)]
pub struct RecordingWriter {
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

impl RecordingWriter {
    /// Starts to record in a folder, with `size` bytes at most. Returns at once; problems are passed to `log`. An error means
    /// that the thread cannot be started.
    pub fn open(
        folder: &Path,
        size: u64,
        log: impl Fn(Level, String) + Send + 'static,
    ) -> std::io::Result<(RecordingWriter, RecordingFeed)> {
        let (queue, messages) = sync_channel(QUEUE_DEPTH);
        let state_wanted = Arc::new(AtomicBool::new(false));
        let files = RecordingFiles::new(folder, size, Arc::clone(&state_wanted), Box::new(log));
        let (done, ended) = sync_channel(1);
        let body = move || {
            run(files, &messages);
            // Perhaps nobody waits for it.
            done.try_send(()).ok();
        };
        let thread = thread::Builder::new()
            .name("recording".to_owned())
            .spawn(body)?;
        let feed = RecordingFeed {
            queue,
            state_wanted,
            // So that the recording begins with a state.
            lost: true,
            started_at: clock::now(),
            next_number: 0,
            digest: ActionDigest::default(),
        };
        Ok((RecordingWriter { thread, ended }, feed))
    }

    /// Waits until everything is written that was recorded before the feed was dropped. False when `within` was too short.
    pub fn close(self, within: Duration) -> bool {
        self.thread.thread().unpark();
        self.ended.recv_timeout(within).is_ok()
    }
}

fn run(mut files: RecordingFiles, messages: &Receiver<RecordingMessage>) {
    loop {
        let last = loop {
            match messages.try_recv() {
                Ok(RecordingMessage::RecordingStart(begin)) => {
                    files.write_state(&begin, Instant::now());
                }
                Ok(RecordingMessage::Event(input)) => files.write_event(input),
                Err(TryRecvError::Empty) => break false,
                Err(TryRecvError::Disconnected) => break true,
            }
        };
        files.flush_if_due(Instant::now(), last);
        if last {
            return;
        }
        thread::park_timeout(POLL_EVERY);
    }
}

#[cfg(test)]
mod tests;
