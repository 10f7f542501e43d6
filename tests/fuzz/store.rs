//! What a disk gives back: the small file with its checksum wrong and right, the leases, and the journal's store.

use std::fs;
use std::path::Path;
use std::time::Duration;

use had::engine::{Engine, Event, PersistentState};
use had::model::Time;
use had::model::journal::Entry;
use had::sim::World;
use had::store::journal::{Journal, JournalPlace, JournalQuery};
use had::store::lease::LeaseFile;
use had::store::state_file::StateFile;

use crate::harness::Target;

const LONG: Duration = Duration::from_secs(60);
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

const WORDS: &[&str] = &[
    "\"generation\":",
    "\"terms\":",
    "\"ceilings\":",
    "\"leases\":",
    "\"standby\":[",
    "\"g1\"",
    "18446744073709551615",
    "-1",
    "1e400",
    "null",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\u0000",
    "had-kept 1 ",
    "\"uuid\":",
    "\n",
];

/// A daemon with this memory begins, and goes on for a while.
fn lives_with(kept: PersistentState) {
    let world = World::new(&["alice", "bob"]).group("g1", "alice", 1);
    let mut now = Time(5_000_000_000);
    let (mut engine, mut actions) = Engine::new(world.cluster.clone(), kept, now);
    for _ in 0..40 {
        assert!(actions.len() < 100, "{actions:#?}");
        now = engine.next_deadline().max(now + Duration::from_millis(1));
        actions = engine.handle(now, Event::DeadlineReached);
    }
    drop(engine.status(now));
}

#[test]
fn no_kept_file_does_harm() {
    let json = r#"{"uuid":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16],"kept":{"generation":1700000000,"ceilings":{"g1":1048576},"terms":{"g1":7},"leases":{},"standby":["g1"],"yielding":[],"maintenance":["g1"]}}"#;
    let parent = tempfile::tempdir().unwrap();
    let target = Target {
        name: "kept",
        runs: 150,
        examples: vec![json.into()],
        words: WORDS,
    };
    let before = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    target.fuzz(|bytes| {
        let sum = format!("had-kept 1 {:08x}\n", CRC.checksum(bytes));
        for whole in [bytes.to_vec(), [sum.as_bytes(), bytes].concat()] {
            let state = parent.path().join("state");
            fs::create_dir_all(&state).unwrap();
            fs::write(state.join("kept"), &whole).unwrap();
            let opened = StateFile::open(&state).unwrap();
            assert!(opened.kept.generation.0 >= before, "{:?}", opened.kept);
            for text in &opened.warnings {
                assert!(
                    text.len() < 1000 && !text.contains(char::is_control),
                    "{text:?}"
                );
            }
            opened.file.save(&opened.kept).unwrap();
            lives_with(opened.kept);
            fs::remove_dir_all(&state).unwrap();
        }
    });
}

#[test]
fn no_lease_file_does_harm() {
    let run = tempfile::tempdir().unwrap();
    let file = LeaseFile::new(run.path()).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let example = format!(
        r#"{{"boot":"{}","leases":{{"g1":1234567890123,"g2":18446744073709551615}}}}"#,
        boot.trim()
    );
    let target = Target {
        name: "lease",
        runs: 1000,
        examples: vec![example.into()],
        words: WORDS,
    };
    target.fuzz(|bytes| {
        fs::write(run.path().join("leases"), bytes).unwrap();
        let leases = file.load();
        lives_with(PersistentState {
            leases: leases.unwrap_or_default(),
            ..PersistentState::default()
        });
    });
}

fn entry(n: u64) -> Entry {
    use had::model::decision::{Because, Decision, What};
    Entry::new(n, Decision::node(What::Joined, Because::AllHeard))
}

/// The last entries; none where the thread gave no answer in time.
fn newest(journal: &Journal) -> Option<Vec<u64>> {
    let answer = journal.last(JournalQuery {
        limit: 3,
        ..JournalQuery::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let found = runtime
        .unwrap()
        .block_on(async { tokio::time::timeout(LONG, answer).await });
    Some(found.ok()?.ok()?.iter().map(|e| e.at_ms).collect())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(|e| e.unwrap().path()) {
        let there = to.join(file.file_name().unwrap());
        if file.is_dir() {
            copy(&file, &there);
        } else {
            fs::copy(&file, there).unwrap();
        }
    }
}

fn open(folder: &Path) -> Journal {
    Journal::open(folder.to_owned(), JournalPlace::ThisProcess, |_| {}).unwrap()
}

#[test]
fn no_journal_does_harm() {
    let parent = tempfile::tempdir().unwrap();
    let good = parent.path().join("good");
    let journal = open(&good);
    (0..200).for_each(|n| journal.append(entry(n)));
    assert_eq!(newest(&journal).unwrap(), [197, 198, 199]);
    assert!(journal.close(LONG));
    let example = fs::read(good.join("db")).unwrap();
    let target = Target {
        name: "journal",
        runs: 40,
        examples: vec![example],
        words: &[
            "had journal 1",
            "\0\0\0\0\0\0\0\0",
            "\u{7f}\u{7f}\u{7f}\u{7f}",
        ],
    };
    let mut count = 0;
    target.fuzz(|bytes| {
        count += 1;
        // sled's threads let go of a closed store a little later, so each has a folder of its own.
        let folder = parent.path().join(format!("journal{count}"));
        copy(&good, &folder);
        fs::write(folder.join("db"), bytes).unwrap();
        let journal = open(&folder);
        for n in 1000..1003 {
            journal.append(entry(n));
        }
        assert_eq!(newest(&journal).unwrap(), [1000, 1001, 1002]);
        assert!(journal.close(LONG));
        fs::remove_dir_all(&folder).ok();
    });
}
