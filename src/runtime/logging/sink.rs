//! A thread for each log target, behind a bounded queue. A disk, pipe or log daemon that hangs costs log lines and never
//! blocks the daemon. Lost lines are counted and reported on the targets that still work.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;

use super::target::{LogLine, LogTarget};

/// Lines that may wait for a target; a busy day of a cluster has fewer.
const QUEUE_DEPTH: usize = 1024;
/// Time to open a target before it counts as hanging.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// A log target and the queue to its thread.
pub struct LogSink {
    /// Its name in messages.
    pub name: String,
    pub level: LevelFilter,
    queue: SyncSender<Arc<LogLine>>,
    counts: Arc<LineCounts>,
}

#[derive(Default)]
struct LineCounts {
    waiting: AtomicU64,
    lost: AtomicU64,
    /// Lost lines that are not reported on the target itself yet.
    unreported: AtomicU64,
    full: AtomicBool,
}

impl LogSink {
    /// Starts the thread, which opens the target: even that may hang.
    ///
    /// # Errors
    /// A sentence. A target that hangs is kept, because it may recover.
    pub fn start(
        name: String,
        level: LevelFilter,
        open: impl FnOnce() -> io::Result<LogTarget> + Send + 'static,
    ) -> (Option<LogSink>, Option<String>) {
        let (queue, lines) = mpsc::sync_channel(QUEUE_DEPTH);
        let (ready, is_ready) = mpsc::sync_channel(1);
        let counts = Arc::new(LineCounts::default());
        let body = {
            let counts = Arc::clone(&counts);
            move || match open() {
                Ok(target) => {
                    // The caller may have stopped waiting.
                    drop(ready.send(Ok(())));
                    write_all(target, &lines, &counts);
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
        let problem = match is_ready.recv_timeout(OPEN_TIMEOUT) {
            Ok(Ok(())) => None,
            Ok(Err(e)) => return (None, Some(format!("cannot log to {name}: {e}"))),
            Err(_) => Some(format!(
                "cannot open {name} for the log: it hangs (a pipe that nobody reads, or a failed disk?)"
            )),
        };
        let sink = LogSink {
            name,
            level,
            queue,
            counts,
        };
        (Some(sink), problem)
    }

    /// Queues a line. True when it is the first to find the queue full.
    pub fn push(&self, line: &Arc<LogLine>) -> bool {
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(Arc::clone(line)).is_ok() {
            return false;
        }
        self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
        self.counts.add_lost();
        !self.counts.full.swap(true, Ordering::Relaxed)
    }

    /// The number of lost lines.
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, but not beyond `until`.
    pub fn flush(&self, until: Instant) {
        while self.counts.waiting.load(Ordering::Acquire) > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl LineCounts {
    fn add_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.unreported.fetch_add(1, Ordering::Relaxed);
    }
}

fn write_all(mut target: LogTarget, lines: &Receiver<Arc<LogLine>>, counts: &LineCounts) {
    while let Ok(line) = lines.recv() {
        // A full disk or a missing folder must not stop the daemon.
        let written = target.write(&line);
        let waiting = counts.waiting.fetch_sub(1, Ordering::Release);
        if written.is_err() {
            counts.add_lost();
        } else if waiting <= 1 {
            counts.full.store(false, Ordering::Relaxed);
            report_lost(&mut target, &line.when, counts);
        }
    }
}

/// Says on a target that works again how many lines are missing there.
fn report_lost(target: &mut LogTarget, when: &str, counts: &LineCounts) {
    let count = counts.unreported.swap(0, Ordering::Relaxed);
    if count == 0 {
        return;
    }
    let line = LogLine {
        level: Level::WARN,
        when: when.to_owned(),
        text: format!(
            "{count} log lines before this one were lost, because they could not be written here"
        ),
    };
    if target.write(&line).is_err() {
        counts.unreported.fetch_add(count, Ordering::Relaxed);
    }
}
