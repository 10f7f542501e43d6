//! A thread for each place, behind a bounded queue: a disk, a pipe or a log daemon that hangs costs log lines, and
//! never the time of those who have something to say. What is lost is counted, and told where that still works.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;

use super::place::{Line, Place};

/// Lines that may wait for a place. A busy day of a cluster has fewer.
const DEPTH: usize = 1024;
/// How long a place may take to be opened before it counts as hanging.
const OPENS: Duration = Duration::from_secs(1);

/// The near end of a place.
pub struct Sink {
    /// For people.
    pub name: String,
    pub level: LevelFilter,
    queue: SyncSender<Arc<Line>>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    waiting: AtomicU64,
    lost: AtomicU64,
    /// Lost lines that the place itself has not been told of.
    untold: AtomicU64,
    full: AtomicBool,
}

impl Sink {
    /// Starts its thread, which opens the place: even that may hang.
    ///
    /// # Errors
    /// A sentence. A place that hangs is kept: it may come back.
    pub fn start(
        name: String,
        level: LevelFilter,
        open: impl FnOnce() -> io::Result<Place> + Send + 'static,
    ) -> (Option<Sink>, Option<String>) {
        let (queue, lines) = mpsc::sync_channel(DEPTH);
        let (ready, is_ready) = mpsc::sync_channel(1);
        let tally = Arc::new(Tally::default());
        let body = {
            let tally = Arc::clone(&tally);
            move || match open() {
                Ok(place) => {
                    // Who waited may have lost patience.
                    drop(ready.send(Ok(())));
                    write_all(place, &lines, &tally);
                }
                Err(e) => drop(ready.send(Err(e))),
            }
        };
        let started = std::thread::Builder::new()
            .name("log".into())
            .stack_size(128 * 1024)
            .spawn(body);
        if let Err(e) = started {
            return (None, Some(format!("cannot log to {name}: {e}")));
        }
        let trouble = match is_ready.recv_timeout(OPENS) {
            Ok(Ok(())) => None,
            Ok(Err(e)) => return (None, Some(format!("cannot log to {name}: {e}"))),
            Err(_) => Some(format!(
                "{name} cannot be opened for the log: it hangs (nobody reads it, or its disk is gone?)"
            )),
        };
        let sink = Sink {
            name,
            level,
            queue,
            tally,
        };
        (Some(sink), trouble)
    }

    /// Hands a line over. True when it is the first that finds the queue full.
    pub fn give(&self, line: &Arc<Line>) -> bool {
        self.tally.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(Arc::clone(line)).is_ok() {
            return false;
        }
        self.tally.waiting.fetch_sub(1, Ordering::Relaxed);
        self.tally.lost();
        !self.tally.full.swap(true, Ordering::Relaxed)
    }

    /// How many lines it has lost.
    pub fn lost(&self) -> u64 {
        self.tally.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, but no longer than that.
    pub fn flush(&self, until: Instant) {
        while self.tally.waiting.load(Ordering::Acquire) > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Tally {
    fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.untold.fetch_add(1, Ordering::Relaxed);
    }
}

fn write_all(mut place: Place, lines: &Receiver<Arc<Line>>, tally: &Tally) {
    while let Ok(line) = lines.recv() {
        // A full disk or a missing folder must not end the daemon.
        let written = place.write(&line);
        let waiting = tally.waiting.fetch_sub(1, Ordering::Release);
        if written.is_err() {
            tally.lost();
        } else if waiting <= 1 {
            tally.full.store(false, Ordering::Relaxed);
            tell_lost(&mut place, &line.when, tally);
        }
    }
}

/// The place took no lines for a while: its reader shall know that some are missing here.
fn tell_lost(place: &mut Place, when: &str, tally: &Tally) {
    let count = tally.untold.swap(0, Ordering::Relaxed);
    if count == 0 {
        return;
    }
    let line = Line {
        level: Level::WARN,
        when: when.to_owned(),
        text: format!(
            "the last {count} log lines before this one were lost: they could not be written here"
        ),
    };
    if place.write(&line).is_err() {
        tally.untold.fetch_add(count, Ordering::Relaxed);
    }
}
