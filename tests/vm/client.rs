//! A client on this side, which writes rows through the address, one transaction each, and remembers every commit that
//! was acknowledged to it.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::command::until_so;
use crate::files::ADDRESS;

/// A question that has no answer by then never gets one: its server is gone.
const GIVE_UP: &str = "15";
const PAUSE: Duration = Duration::from_millis(100);

/// Writes until it is asked to stop.
pub struct Client {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    thread: JoinHandle<Record>,
}

/// What it remembers.
pub struct Record {
    /// The rows whose commit was acknowledged, each with the time of that.
    pub committed: Vec<(u64, Instant)>,
    /// How many were not.
    pub failed: usize,
    /// The number for whoever writes next.
    pub next: u64,
}

impl Client {
    /// Begins with the row of this number.
    pub fn start(first: u64) -> Client {
        let stop = Arc::new(AtomicBool::new(false));
        let committed = Arc::new(AtomicU64::new(0));
        let thread = {
            let (stop, committed) = (Arc::clone(&stop), Arc::clone(&committed));
            std::thread::spawn(move || write(first, &stop, &committed))
        };
        Client {
            stop,
            committed,
            thread,
        }
    }

    /// Waits until it has written some more rows.
    pub fn until_written(&self, more: u64) {
        let wanted = self.committed.load(Ordering::Relaxed) + more;
        until_so("rows are written through the address", || {
            self.committed.load(Ordering::Relaxed) >= wanted
        });
    }

    /// Ends it.
    pub fn stop(self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A row whose commit was not acknowledged may be there or not; its number is not used again.
fn write(first: u64, stop: &AtomicBool, count: &AtomicU64) -> Record {
    let mut record = Record {
        committed: Vec::new(),
        failed: 0,
        next: first,
    };
    while !stop.load(Ordering::Relaxed) {
        let number = record.next;
        record.next += 1;
        let done = sql(&format!("insert into shop.orders values ({number})"));
        if done.status.success() {
            record.committed.push((number, Instant::now()));
            count.fetch_add(1, Ordering::Relaxed);
        } else {
            record.failed += 1;
            std::thread::sleep(PAUSE);
        }
    }
    record
}

/// Asks the server behind the address.
pub fn sql(query: &str) -> Output {
    Command::new("timeout")
        .args(["-s", "KILL", GIVE_UP, "mariadb", "--no-defaults"])
        .args(["--host", ADDRESS, "--user", "shop", "--connect-timeout=5"])
        .args(["--skip-column-names", "--execute", query])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What it answers, once it does.
pub fn answer(query: &str) -> String {
    let mut text = String::new();
    until_so(&format!("an answer to {query}"), || {
        let output = sql(query);
        text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success()
    });
    text
}

impl Record {
    /// Every row whose commit was acknowledged must be there.
    pub fn nothing_is_lost(&self) {
        assert!(!self.committed.is_empty(), "no row was written");
        let rows = answer("select n from shop.orders");
        let rows: std::collections::BTreeSet<u64> =
            rows.lines().map(|l| l.parse().unwrap()).collect();
        let written = self.committed.iter().map(|(number, _)| *number);
        let lost: Vec<u64> = written.filter(|n| !rows.contains(n)).collect();
        assert!(lost.is_empty(), "committed rows are lost: {lost:?}");
    }

    /// The longest time without a commit.
    pub fn longest_gap(&self) -> Duration {
        let times = self.committed.iter().map(|(_, at)| *at);
        let gaps = times.clone().zip(times.skip(1)).map(|(a, b)| b - a);
        gaps.max().unwrap_or_default()
    }
}
