use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use nix::fcntl::{Flock, FlockArg};
use nix::mount::MsFlags;

use super::*;
use crate::model::NodeName;
use crate::model::decision::{Because, Decision, What};
use crate::store::test_disk::{on_tmpfs, remount};

/// Far more than anything here takes on the slowest machine; only a failure waits so long.
const LONG: Duration = Duration::from_secs(60);

fn entry(n: u64) -> Entry {
    let group = GroupName::new(if n.is_multiple_of(2) { "even" } else { "odd" });
    let because = Because::HeldBy(NodeName::new("alice"));
    Entry::new(n, Decision::group(&group, What::Stop, because))
}

/// An open journal, and what it said.
struct Bed {
    folder: PathBuf,
    journal: Journal,
    said: Arc<Mutex<Vec<String>>>,
}

impl Bed {
    fn open(folder: &Path) -> Bed {
        let said = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&said);
        let say = move |text| ears.lock().unwrap().push(text);
        Bed {
            folder: folder.to_owned(),
            journal: Journal::open(folder.to_owned(), JournalPlace::ThisProcess, say).unwrap(),
            said,
        }
    }

    /// With entries of that many first numbers.
    fn with(folder: &Path, entries: u64) -> Bed {
        let bed = Bed::open(folder);
        bed.append(0..entries);
        bed
    }

    fn append(&self, numbers: std::ops::Range<u64>) {
        for n in numbers {
            self.journal.append(entry(n));
            // The queue is shorter than some tests are long.
            if n.is_multiple_of(250) {
                self.numbers(&JournalQuery::default());
            }
        }
    }

    fn numbers(&self, query: &JournalQuery) -> Vec<u64> {
        let found = self.journal.last(query.clone()).blocking_recv().unwrap();
        found.iter().map(|entry| entry.at_ms).collect()
    }

    fn newest(&self, limit: usize) -> Vec<u64> {
        let group = None;
        self.numbers(&JournalQuery {
            limit,
            group,
            until_ms: None,
        })
    }

    fn said(&self) -> String {
        // An answer shows that the opening is over.
        self.newest(0);
        self.said.lock().unwrap().join("\n")
    }

    fn close(self) -> String {
        let said = self.said();
        assert!(self.journal.close(LONG));
        wait_for_lock(&self.folder);
        said
    }
}

/// sled's threads let go of a closed store a little later. In life the next daemon is another process.
fn wait_for_lock(folder: &Path) {
    let deadline = Instant::now() + LONG;
    let locked = || {
        let db = fs::File::open(folder.join("db")).ok()?;
        Flock::lock(db, FlockArg::LockExclusiveNonblock).err()
    };
    while locked().is_some() {
        assert!(Instant::now() < deadline, "the store stays locked");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The bytes of the store's one large file.
fn data(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("db")).unwrap()
}

#[test]
fn entries_come_back_in_order_and_outlive_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("journal");
    let bed = Bed::with(&folder, 20);
    assert_eq!(bed.newest(3), [17, 18, 19]);
    assert_eq!(bed.close(), "");
    let bed = Bed::open(&folder);
    bed.append(20..22);
    let odd = JournalQuery {
        limit: 3,
        group: Some(GroupName::new("odd")),
        until_ms: Some(20),
    };
    assert_eq!(bed.numbers(&odd), [15, 17, 19]);
    assert_eq!(bed.newest(100).len(), 22);
    let found = bed.journal.last(JournalQuery {
        limit: 1,
        ..JournalQuery::default()
    });
    assert_eq!(found.blocking_recv().unwrap(), [entry(21)]);
    assert_eq!(bed.close(), "");
}

#[test]
fn the_oldest_make_room() {
    let folder = tempfile::tempdir().unwrap();
    let most = MAX_ENTRIES_ON_DISK as u64;
    let bed = Bed::with(folder.path(), most + 5);
    let all = bed.newest(usize::MAX);
    assert_eq!(all.len(), MAX_ENTRIES_ON_DISK);
    assert_eq!((all.first(), all.last()), (Some(&5), Some(&(most + 4))));
    assert_eq!(bed.journal.dropped(), 0);
    bed.close();
    let bed = Bed::open(folder.path());
    bed.append(most + 5..most + 6);
    assert_eq!(bed.newest(usize::MAX).first(), Some(&6));
    bed.close();
}

#[test]
fn a_damaged_store_is_set_aside_and_a_new_one_begun() {
    let garbage: Vec<u8> = (0..100_000_u32)
        .map(|n| n.wrapping_mul(n).to_le_bytes()[1])
        .collect();
    for (n, damage) in [garbage.clone(), garbage[..5000].to_vec()]
        .into_iter()
        .enumerate()
    {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("journal");
        Bed::with(&folder, 3000).close();
        fs::write(folder.join("db"), damage).unwrap();

        let bed = Bed::open(&folder);
        bed.append(0..3);
        assert_eq!(bed.newest(10), [0, 1, 2], "damage {n}");
        let said = bed.close();
        assert!(said.contains("is damaged"), "damage {n}: {said}");
        assert!(said.contains("a new one is started"), "damage {n}: {said}");
        let aside = said
            .split("it was renamed to ")
            .nth(1)
            .unwrap()
            .split(',')
            .next();
        assert!(Path::new(aside.unwrap()).join("db").exists(), "{said}");

        let bed = Bed::open(&folder);
        assert_eq!(bed.newest(10), [0, 1, 2], "damage {n}, next start");
        assert_eq!(bed.close(), "");
    }
}

#[test]
fn a_truncated_store_never_ends_the_daemon_nor_hides_what_comes_after() {
    for part in 1..10 {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("journal");
        Bed::with(&folder, 1000).close();
        let whole = data(&folder);
        fs::write(folder.join("db"), &whole[..whole.len() * part / 10]).unwrap();
        let bed = Bed::open(&folder);
        bed.append(5000..5003);
        assert_eq!(bed.newest(3), [5000, 5001, 5002], "{part}: {}", bed.said());
        bed.close();
        let bed = Bed::open(&folder);
        assert_eq!(bed.newest(3), [5000, 5001, 5002], "{part}, next start");
        bed.close();
    }
}

#[test]
fn flipped_bits_never_end_the_daemon_nor_change_an_entry() {
    let parent = tempfile::tempdir().unwrap();
    let good = parent.path().join("good");
    Bed::with(&good, 500).close();
    let whole = data(&good);
    for n in 0..12 {
        let folder = parent.path().join(format!("journal{n}"));
        fs::create_dir_all(folder.join("blobs")).unwrap();
        fs::copy(good.join("conf"), folder.join("conf")).unwrap();
        let mut bytes = whole.clone();
        for k in 0..20 {
            let at = (n * 7919 + k * 104_729) % bytes.len();
            bytes[at] ^= 1 << (k % 8);
        }
        fs::write(folder.join("db"), bytes).unwrap();
        let bed = Bed::open(&folder);
        bed.append(900..901);
        let found = bed.journal.last(JournalQuery {
            limit: 1000,
            ..JournalQuery::default()
        });
        for found in found.blocking_recv().unwrap() {
            assert_eq!(found, entry(found.at_ms));
        }
        assert_eq!(bed.newest(1), [900], "{}", bed.said());
        bed.close();
    }
}

#[test]
fn a_value_of_another_kind_is_removed_and_said() {
    let folder = tempfile::tempdir().unwrap();
    Bed::with(folder.path(), 4).close();
    let store = sled::open(folder.path()).unwrap();
    store.insert(2_u64.to_be_bytes(), b"\x01nonsense").unwrap();
    store.insert(b"odd key", b"x").unwrap();
    drop(store);
    let bed = Bed::open(folder.path());
    assert_eq!(bed.newest(10), [0, 1, 3]);
    let said = bed.close();
    assert!(
        said.contains("was damaged: 1 entry could not be read"),
        "{said}"
    );
}

#[test]
fn a_store_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let first = Bed::with(folder.path(), 4);
    first.newest(1);
    let second = Bed::open(folder.path());
    second.append(7..9);
    assert_eq!(second.newest(10), [7, 8]);
    let said = second.said();
    assert!(said.contains("another process has it open"), "{said}");
    assert!(said.contains("in memory only"), "{said}");
    assert_eq!(first.newest(10), [0, 1, 2, 3]);
}

#[test]
fn memory_is_bounded_and_a_full_queue_drops_and_counts() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let bed = Bed::with(&file, 1500);
    let all = bed.newest(usize::MAX);
    assert_eq!(
        (all.len(), all.first()),
        (MAX_ENTRIES_IN_MEMORY, Some(&500))
    );
    assert!(bed.said().contains("in memory only"), "{}", bed.said());

    let (queue, _nobody_reads) = sync_channel(1);
    let stuck = Journal {
        queue,
        dropped: Arc::default(),
    };
    for n in 0..10 {
        stuck.append(entry(n));
    }
    assert_eq!(stuck.dropped(), 9);
    assert!(stuck.last(JournalQuery::default()).blocking_recv().is_err());
    assert!(!stuck.close(Duration::from_secs(1)));
}

#[test]
fn on_a_read_only_disk_the_daemon_runs_and_says_so() {
    on_tmpfs("size=8m", |folder| {
        let store = folder.join("journal");
        Bed::with(&store, 4).close();
        remount(folder, MsFlags::MS_RDONLY, "size=8m");
        let bed = Bed::open(&store);
        bed.append(7..9);
        assert_eq!(bed.newest(10), [7, 8]);
        let said = bed.close();
        assert!(said.contains("Read-only file system"), "{said}");
        remount(folder, MsFlags::empty(), "size=8m");
        let bed = Bed::open(&store);
        assert_eq!(bed.newest(10), [0, 1, 2, 3]);
        assert_eq!(bed.close(), "");
    });
}

#[test]
fn on_a_full_disk_the_daemon_runs_and_says_so() {
    on_tmpfs("size=8m", |folder| {
        let store = folder.join("journal");
        Bed::with(&store, 4).close();
        // Whatever room is left is taken.
        let filler = folder.join("filler");
        assert!(fs::write(&filler, vec![1; 16 << 20]).is_err());
        let bed = Bed::open(&store);
        bed.append(0..3000);
        assert_eq!(bed.newest(2), [2998, 2999]);
        let said = bed.close();
        assert!(said.contains("No space left on device"), "{said}");
        fs::remove_file(&filler).unwrap();
        let bed = Bed::open(&store);
        let kept = bed.newest(usize::MAX);
        assert!(kept.starts_with(&[0, 1, 2, 3]), "{kept:?} {}", bed.said());
        bed.close();
    });
}

#[test]
fn a_disk_that_fills_up_meanwhile_ends_in_memory() {
    on_tmpfs("size=2m", |folder| {
        let bed = Bed::with(&folder.join("journal"), 20_000);
        assert_eq!(bed.newest(2), [19_998, 19_999]);
        let said = bed.close();
        assert!(said.contains("the journal failed"), "{said}");
        assert_eq!(said.lines().count(), 1, "said once: {said}");
    });
}
