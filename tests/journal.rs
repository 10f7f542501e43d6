//! The journal of the daemon, whose store is open in a process of its own.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use had::model::GroupName;
use had::model::NodeName;
use had::model::decision::{Because, Decision, What};
use had::model::journal::Entry;
use had::store::journal::{Journal, JournalPlace, JournalQuery};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Only a failure waits so long.
const LONG: Duration = Duration::from_secs(120);

struct Bed {
    journal: Journal,
    log: Arc<Mutex<Vec<String>>>,
}

impl Bed {
    fn open(folder: &Path) -> Bed {
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let place = JournalPlace::ProcessOf(env!("CARGO_BIN_EXE_had").into());
        let say = move |text| lines.lock().unwrap().push(text);
        Bed {
            journal: Journal::open(folder.to_owned(), place, say).unwrap(),
            log,
        }
    }

    fn append(&self, numbers: std::ops::Range<u64>) {
        for n in numbers {
            let because = Because::HeldBy(NodeName::new("alice"));
            let decision = Decision::group(&GroupName::new("web"), What::Stop, because);
            self.journal.append(Entry::new(n, decision));
        }
    }

    fn numbers(&self) -> Vec<u64> {
        let query = JournalQuery {
            limit: 1000,
            ..JournalQuery::default()
        };
        let found = self.journal.last(query).blocking_recv().unwrap();
        found.iter().map(|entry| entry.at_ms).collect()
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

/// The processes that have the store of that folder open.
fn processes(folder: &Path) -> Vec<Pid> {
    let serves = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').any(|word| Path::new(word) == folder)
    };
    let all = fs::read_dir("/proc").unwrap();
    let pids = all.filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(serves).map(Pid::from_raw).collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn at_rest_there_is_no_process_and_the_history_is_whole() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("journal");
    let bed = Bed::open(&folder);
    bed.append(0..3);
    assert_eq!(bed.numbers(), [0, 1, 2]);
    assert_eq!(processes(&folder).len(), 1);
    wait_until("no process at rest", || processes(&folder).is_empty());
    bed.append(3..5);
    assert_eq!(bed.numbers(), [0, 1, 2, 3, 4]);
    assert!(bed.journal.close(LONG));
    assert_eq!(bed.log(), "");
    assert!(processes(&folder).is_empty());
    let bed = Bed::open(&folder);
    assert_eq!(bed.numbers(), [0, 1, 2, 3, 4]);
}

#[test]
fn entries_are_written_without_a_question() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("journal");
    let bed = Bed::open(&folder);
    wait_until("open", || !processes(&folder).is_empty());
    bed.append(0..3);
    wait_until("closed", || processes(&folder).is_empty());
    // The daemon is killed now.
    std::mem::forget(bed);
    assert_eq!(Bed::open(&folder).numbers(), [0, 1, 2]);
}

#[test]
fn a_killed_process_costs_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("journal");
    let bed = Bed::open(&folder);
    bed.append(0..3);
    assert_eq!(bed.numbers(), [0, 1, 2]);
    for round in 1..3 {
        for process in processes(&folder) {
            kill(process, Signal::SIGKILL).unwrap();
        }
        bed.append(3 * round..3 * round + 3);
        assert_eq!(bed.numbers(), (0..3 * round + 3).collect::<Vec<_>>());
    }
    assert_eq!(bed.log(), "");
}

#[test]
fn the_next_daemon_waits_for_the_process_of_a_killed_one() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("journal");
    let first = Bed::open(&folder);
    first.append(0..3);
    assert_eq!(first.numbers(), [0, 1, 2]);
    let second = Bed::open(&folder);
    wait_until("both", || processes(&folder).len() == 2);
    assert!(first.journal.close(LONG));
    second.append(3..4);
    assert_eq!(second.numbers(), [0, 1, 2, 3]);
    assert_eq!(second.log(), "");
}
