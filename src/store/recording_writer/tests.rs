use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc::{Receiver, channel};

use nix::mount::MsFlags;

use super::recording_files::RETRY_AFTER;
use super::*;
use crate::model::cluster::Timing;
use crate::model::{GroupName, LinkName, NodeName};
use crate::replay::player::{ReplayEvent, ReplayPlayer};
use crate::store::recording_reader::RecordingReader;
use crate::store::test_disk::{on_tmpfs, remount};

const MB: u64 = 1024 * 1024;

fn cluster(groups: usize) -> Cluster {
    let second = Duration::from_secs(1);
    let me = NodeName::new("alice");
    let group = |n: usize| crate::model::cluster::GroupSpec {
        name: GroupName::new(&format!("group-with-a-usual-name-{n}")),
        preferred: me.clone(),
        steps: vec![],
    };
    Cluster {
        links: vec![LinkName::new("eth0")],
        groups: (0..groups).map(group).collect(),
        ..Cluster::new(
            &["alice", "bob"].map(NodeName::new),
            Timing::usual(second, second * 10),
        )
    }
}

/// An engine that is recorded as in the heartbeat thread.
struct RecordedEngine {
    feed: RecordingFeed,
    engine: Engine,
    now: Time,
}

impl RecordedEngine {
    fn new(mut feed: RecordingFeed, groups: usize) -> RecordedEngine {
        let now = Time(1_000_000_000);
        let kept = PersistentState::default();
        feed.record_start(now, &cluster(groups), &kept);
        let (engine, first) = Engine::new(cluster(groups), kept, now);
        feed.record_actions(&first);
        RecordedEngine { feed, engine, now }
    }

    fn handle(&mut self, event: Event) {
        self.now = self.now + Duration::from_millis(100);
        self.feed
            .record_event(self.now, &event, false, &self.engine);
        let actions = self.engine.handle(self.now, event);
        self.feed.record_actions(&actions);
    }

    fn handle_many(&mut self, count: usize) {
        for n in 0..count {
            self.handle(if n % 2 == 0 {
                Event::DeadlineReached
            } else {
                Event::Carrier {
                    link: LinkName::new("eth0"),
                    up: n % 4 == 1,
                }
            });
        }
    }
}

/// The queue by hand, without a thread.
struct Bed {
    files: RecordingFiles,
    messages: Receiver<RecordingMessage>,
    said: Receiver<(Level, String)>,
    now: Instant,
}

impl Bed {
    fn new(folder: &Path, size: u64) -> (Bed, RecordingFeed) {
        let (queue, messages) = sync_channel(QUEUE_DEPTH);
        let state_wanted = Arc::new(AtomicBool::new(false));
        let (say, said) = channel();
        let say = move |level, text| say.send((level, text)).unwrap();
        let files = RecordingFiles::new(folder, size, Arc::clone(&state_wanted), Box::new(say));
        let feed = RecordingFeed {
            queue,
            state_wanted,
            lost: true,
            started_at: Time(77),
            next_number: 0,
            digest: ActionDigest::default(),
        };
        let now = Instant::now();
        let bed = Bed {
            files,
            messages,
            said,
            now,
        };
        (bed, feed)
    }

    /// Writes what has been told.
    fn write(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            match message {
                RecordingMessage::RecordingStart(begin) => self.files.write_state(&begin, self.now),
                RecordingMessage::Event(input) => self.files.write_event(input),
            }
        }
        self.files.flush_if_due(self.now, true);
    }

    fn said(&self) -> Vec<String> {
        self.said.try_iter().map(|(_, text)| text).collect()
    }
}

fn on_disk(folder: &Path) -> u64 {
    let len = |path: &PathBuf| fs::metadata(path).map_or(0, |m| m.len());
    recording_paths(folder).iter().map(len).sum()
}

/// What a replay of the folder sees, but for inputs and orders; and how many inputs.
fn replayed(folder: &Path) -> (Vec<ReplayEvent>, usize) {
    let recording = RecordingReader::open(folder).unwrap();
    let mut player = ReplayPlayer::default();
    let (mut odd, mut inputs) = (Vec::new(), 0);
    for (_, seen) in recording.items().flat_map(|item| player.play(item)) {
        match seen {
            ReplayEvent::Input(_) => inputs += 1,
            ReplayEvent::Ordered(_) => {}
            seen => odd.push(seen),
        }
    }
    (odd, inputs)
}

fn begins(seen: &ReplayEvent) -> bool {
    matches!(seen, ReplayEvent::Began { .. })
}

#[test]
fn what_is_told_can_be_replayed_and_only_the_owner_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let (said, saying) = channel();
    let say = move |level, text| said.send((level, text)).unwrap();
    let (recorder, feed) = RecordingWriter::open(folder.path(), MB, say).unwrap();
    let mut recorded = RecordedEngine::new(feed, 2);
    recorded.handle_many(500);
    drop(recorded);
    assert!(recorder.close(Duration::from_secs(60)));
    let (odd, inputs) = replayed(folder.path());
    assert!(odd.len() == 1 && begins(&odd[0]), "{odd:?}");
    assert_eq!(inputs, 500);
    let mode = fs::metadata(folder.path().join("recording")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    assert_eq!(saying.try_iter().count(), 0);
}

#[test]
fn both_files_together_never_take_more_than_was_granted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut bed, feed) = Bed::new(folder.path(), MB);
    let mut recorded = RecordedEngine::new(feed, 2);
    let mut most = 0;
    for _ in 0..600 {
        recorded.handle_many(100);
        bed.write();
        most = most.max(on_disk(folder.path()));
        assert!(most <= MB, "{most}");
    }
    assert!(most > MB / 2, "it did turn: {most}");
    let (odd, inputs) = replayed(folder.path());
    assert_eq!(
        odd,
        [ReplayEvent::Missing(None)],
        "nothing is missing between the files"
    );
    assert!(inputs > 1000);
}

#[test]
fn a_burst_that_is_too_much_for_a_small_ring_is_cut_and_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let (mut bed, feed) = Bed::new(folder.path(), 64 * 1024);
    let mut recorded = RecordedEngine::new(feed, 2);
    // More than the queue takes, and more than fits into a file.
    recorded.handle_many(QUEUE_DEPTH + 100);
    bed.write();
    recorded.handle_many(3);
    bed.write();
    assert!(on_disk(folder.path()) <= 64 * 1024);
    let (odd, _) = replayed(folder.path());
    let missing = |s: &&ReplayEvent| matches!(s, ReplayEvent::Missing(Some(n)) if *n > 100);
    assert_eq!(odd.iter().filter(missing).count(), 1, "{odd:?}");
    assert!(!odd.contains(&ReplayEvent::Differs));
}

#[test]
fn a_daemon_goes_on_where_the_last_one_ended_also_in_the_middle_of_a_line() {
    let folder = tempfile::tempdir().unwrap();
    for life in 0..3 {
        let (mut bed, mut feed) = Bed::new(folder.path(), MB);
        feed.started_at = Time(life);
        let mut recorded = RecordedEngine::new(feed, 2);
        recorded.handle_many(50);
        bed.write();
        let path = folder.path().join("recording");
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() - 5]).unwrap();
    }
    let (odd, inputs) = replayed(folder.path());
    assert_eq!(inputs, 3 * 49);
    assert_eq!(odd.iter().filter(|s| begins(s)).count(), 3);
    let cut =
        |s: &&ReplayEvent| matches!(s, ReplayEvent::Unreadable(why) if why.contains("recording:"));
    assert_eq!(odd.iter().filter(cut).count(), 3, "{odd:?}");
}

#[test]
fn a_size_that_was_lowered_holds_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut bed, feed) = Bed::new(folder.path(), 4 * MB);
    let mut recorded = RecordedEngine::new(feed, 2);
    for _ in 0..400 {
        recorded.handle_many(100);
        bed.write();
    }
    assert!(on_disk(folder.path()) > MB);
    let (mut bed, feed) = Bed::new(folder.path(), MB);
    let mut recorded = RecordedEngine::new(feed, 2);
    recorded.handle_many(100);
    bed.write();
    let left = on_disk(folder.path());
    assert!(left > 0 && left <= MB, "{left}");
    assert!(replayed(folder.path()).1 >= 100);
}

#[test]
fn a_state_that_is_too_large_is_refused_with_the_size_that_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut bed, feed) = Bed::new(folder.path(), MB);
    let mut recorded = RecordedEngine::new(feed, 9000);
    recorded.handle_many(10);
    bed.write();
    let said = bed.said();
    assert_eq!(said.len(), 1);
    assert!(
        said[0].contains("too small") && said[0].contains("at least "),
        "{said:?}"
    );
    let words = said[0].split_whitespace();
    let mut size = words.filter_map(|w| w.strip_suffix('M')?.parse::<u64>().ok());
    let (mut bed, feed) = Bed::new(folder.path(), size.next_back().unwrap() * MB);
    let mut recorded = RecordedEngine::new(feed, 9000);
    recorded.handle_many(10);
    bed.write();
    assert_eq!(bed.said(), [""; 0]);
    assert_eq!(replayed(folder.path()).1, 10);
}

#[test]
fn a_full_disk_is_told_once_and_tried_again() {
    on_tmpfs("size=200k", |folder| {
        let (mut bed, feed) = Bed::new(folder, 16 * MB);
        let mut recorded = RecordedEngine::new(feed, 2);
        for _ in 0..100 {
            recorded.handle_many(100);
            bed.write();
        }
        let said = bed.said();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].contains("No space left") && said[0].contains("continues without it"),
            "{said:?}"
        );
        let before = replayed(folder);
        assert!(
            before.1 > 100 && before.0.iter().all(begins),
            "whole lines: {before:?}"
        );

        remount(folder, MsFlags::empty(), "size=2m");
        recorded.handle_many(10);
        bed.write();
        assert_eq!(bed.said(), [""; 0], "not before its time");
        bed.now += RETRY_AFTER;
        bed.write();
        recorded.handle_many(10);
        bed.write();
        let said = bed.said();
        assert!(
            said.len() == 1 && said[0].contains("works again"),
            "{said:?}"
        );
        let after = replayed(folder);
        assert!(
            matches!(after.0[1], ReplayEvent::Missing(Some(_))),
            "{after:?}"
        );
        assert_eq!(after.1, before.1 + 10);
    });
}

#[test]
fn a_disk_that_is_read_only_or_no_folder_at_all_is_told_and_harms_nothing() {
    on_tmpfs("size=2m", |folder| {
        remount(folder, MsFlags::MS_RDONLY, "");
        let (mut bed, feed) = Bed::new(folder, MB);
        let mut recorded = RecordedEngine::new(feed, 2);
        recorded.handle_many(10);
        bed.write();
        recorded.handle_many(10);
        bed.write();
        let said = bed.said();
        assert!(said.len() == 1 && said[0].contains("Read-only"), "{said:?}");
        remount(folder, MsFlags::empty(), "");
        bed.now += RETRY_AFTER;
        bed.write();
        recorded.handle_many(10);
        bed.write();
        assert_eq!(replayed(folder).1, 10);
    });
    let (mut bed, feed) = Bed::new(Path::new("/proc/no/such/folder"), MB);
    RecordedEngine::new(feed, 2).handle_many(10);
    bed.write();
    assert_eq!(bed.said().len(), 1);
}
