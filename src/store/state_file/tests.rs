use super::*;
use crate::engine::MachineRecord;
use crate::model::hardware_address::HardwareAddress;
use crate::model::identity::Instance;
use crate::model::{GroupName, NodeName, Term, Time};
use crate::store::test_disk::{on_tmpfs, remount};
use nix::mount::MsFlags;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

const CLOCK: u64 = 1_700_000_000;

struct Bed {
    folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Bed {
        Bed {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("lib/had")
    }

    fn heartbeat(&self) -> PathBuf {
        self.folder.path().join("heartbeat")
    }

    fn open(&self) -> OpenedState {
        self.open_at(CLOCK)
    }

    fn open_at(&self, clock: u64) -> OpenedState {
        open_at(&self.state(), &self.heartbeat(), clock).unwrap()
    }
}

fn wishes() -> PersistentState {
    let group = GroupName::new("IPaddr::10.0.0.1");
    let machine = MachineRecord {
        addresses: vec![[10, 0, 0, 2].into()],
        unproved_address: Some([10, 0, 0, 9].into()),
        hardware: vec![HardwareAddress([2, 0, 0, 0, 0, 7])],
        may_run: [(group.clone(), Term(7))].into(),
        runs_former: true,
        instance: Some(Instance(u64::MAX)),
        former_of: Some(NodeName::new("alice")),
    };
    let voters = r#"{"current":{"nodes":["alice","bob"],"witnesses":[],"pings":["gw 10.0.0.254"],"quorum":"stop"},
        "former":[{"nodes":["alice"],"witnesses":[],"pings":[],"quorum":"off"}],"shown":["bob"],"forgotten":[]}"#;
    PersistentState {
        machines: [(NodeName::new("bob"), machine)].into(),
        voters: serde_json::from_str(voters).unwrap(),
        definitions: Some([(group.clone(), u64::MAX)].into()),
        deadtimes: BTreeMap::from([(NodeName::new("bob"), Duration::from_secs(30))]),
        generation: Generation(CLOCK),
        ceilings: [(group.clone(), Term(1 << 60))].into(),
        terms: [(group.clone(), Term(7))].into(),
        leases: BTreeMap::new(),
        standby: vec![group.clone()],
        yielding: vec![],
        maintenance: vec![group],
        identity: Identity::default(),
    }
}

#[test]
fn a_first_start_takes_the_clock_and_each_further_one_more() {
    let bed = Bed::new();
    let first = bed.open();
    assert_eq!(first.kept.generation, Generation(CLOCK));
    assert!(first.warnings.is_empty(), "{:?}", first.warnings);
    assert_ne!(first.uuid, [0; 16]);
    let uuid = first.uuid;
    drop(first);
    let second = bed.open();
    assert_eq!(second.kept.generation, Generation(CLOCK + 1));
    assert_eq!(second.uuid, uuid);
}

/// What `hbgenmethod time` promises; it holds for `file`, too.
#[test]
fn the_generation_follows_the_clock_and_never_falls_behind_the_last_one() {
    let bed = Bed::new();
    for (clock, wanted) in [
        (CLOCK, CLOCK),
        (CLOCK + 500, CLOCK + 500),
        (CLOCK - 500, CLOCK + 501),
        (CLOCK + 501, CLOCK + 502),
    ] {
        assert_eq!(bed.open_at(clock).kept.generation, Generation(wanted));
    }
}

#[test]
fn what_was_saved_comes_back_but_for_leases() {
    let bed = Bed::new();
    let opened = bed.open();
    let mut kept = wishes();
    kept.leases.insert(GroupName::new("x"), Time::NEVER);
    opened.file.save(&kept).unwrap();
    drop(opened);
    let back = bed.open().kept;
    assert_eq!(
        back,
        PersistentState {
            generation: Generation(CLOCK + 1),
            ..wishes()
        }
    );
}

#[test]
fn heartbeat_s_generation_and_identity_are_carried_on() {
    let bed = Bed::new();
    fs::create_dir(bed.heartbeat()).unwrap();
    let generation = bed.heartbeat().join("hb_generation");
    fs::write(&generation, "     1750000000\n").unwrap();
    fs::write(bed.heartbeat().join("hb_uuid"), [7; 16]).unwrap();
    let first = bed.open();
    assert_eq!(first.kept.generation, Generation(1_750_000_001));
    assert_eq!(first.uuid, [7; 16]);
    drop(first);
    // Went back to heartbeat for some starts, and came again.
    fs::write(&generation, "     1750000009\n").unwrap();
    assert_eq!(bed.open().kept.generation, Generation(1_750_000_010));
}

#[test]
fn whatever_damages_the_file_it_is_set_aside_and_said() {
    let bed = Bed::new();
    bed.open().file.save(&wishes()).unwrap();
    let path = bed.state().join("kept");
    let whole = fs::read(&path).unwrap();
    let mut damages: Vec<Vec<u8>> = (0..whole.len()).map(|n| whole[..n].to_vec()).collect();
    damages.extend((0..whole.len()).map(|n| {
        let mut bytes = whole.clone();
        bytes[n] ^= 0x10;
        bytes
    }));
    damages.push(vec![0xff; 5000]);
    for damage in damages {
        assert!(parse(&damage).is_err(), "{damage:?}");
    }
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let opened = bed.open();
    assert_eq!(opened.kept.generation, Generation(CLOCK));
    assert!(opened.kept.standby.is_empty());
    let warning = opened.warnings.join("\n");
    assert!(
        warning.contains("is damaged (its checksum is wrong); it was renamed to "),
        "{warning}"
    );
    let aside = warning
        .split("it was renamed to ")
        .nth(1)
        .unwrap()
        .split(". Starting")
        .next()
        .unwrap();
    assert_eq!(fs::read(aside).unwrap(), whole[..whole.len() / 2]);
}

#[test]
fn two_daemons_do_not_share_a_folder() {
    let bed = Bed::new();
    let first = bed.open();
    let refused = open_at(&bed.state(), &bed.heartbeat(), CLOCK).unwrap_err();
    assert!(
        refused.to_string().contains("in use by another had"),
        "{refused}"
    );
    drop(first);
    bed.open();
}

/// Before, any user could lock the folder, and the daemon did not start.
#[test]
fn other_users_cannot_lock_the_folder() {
    let bed = Bed::new();
    fs::create_dir_all(bed.state()).unwrap();
    fs::set_permissions(bed.state(), fs::Permissions::from_mode(0o755)).unwrap();
    let stranger = File::open(bed.state()).unwrap();
    let _held = Flock::lock(stranger, nix::fcntl::FlockArg::LockShared).unwrap();
    let opened = bed.open();
    assert_eq!(opened.warnings, Vec::<String>::new());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&bed.state()), 0o700);
    assert_eq!(mode(&bed.state().join("lock")), 0o600);
}

#[test]
fn a_folder_that_cannot_be_written_still_gives_a_growing_generation() {
    let bed = Bed::new();
    fs::write(bed.folder.path().join("lib"), "a file in the way").unwrap();
    let opened = bed.open();
    assert_eq!(opened.kept.generation, Generation(CLOCK));
    let warning = opened.warnings.join("\n");
    assert!(warning.contains("cannot use the state folder"), "{warning}");
    assert!(warning.contains("cannot write"), "{warning}");
    assert!(opened.file.save(&opened.kept).is_err());
}

#[test]
fn on_a_full_disk_what_was_kept_is_read_and_stays() {
    on_tmpfs("size=64k", |folder| {
        let start = |clock| open_at(folder, Path::new("/nonexistent"), clock).unwrap();
        start(CLOCK).file.save(&wishes()).unwrap();
        assert!(fs::write(folder.join("filler"), vec![1; 1 << 20]).is_err());
        let opened = start(CLOCK + 1000);
        assert_eq!(opened.kept.standby, wishes().standby);
        assert_eq!(opened.kept.generation, Generation(CLOCK + 1000));
        let warning = opened.warnings.join("\n");
        assert!(warning.contains("cannot replace"), "{warning}");
        assert!(warning.contains("No space left on device"), "{warning}");
        assert!(opened.file.save(&opened.kept).is_err());
        drop(opened);
        fs::remove_file(folder.join("filler")).unwrap();
        let opened = start(CLOCK + 2000);
        assert_eq!(opened.kept.generation, Generation(CLOCK + 2000));
        assert!(opened.warnings.is_empty(), "{:?}", opened.warnings);
    });
}

#[test]
fn on_a_read_only_disk_what_was_kept_is_read_and_a_second_daemon_refused() {
    on_tmpfs("size=64k", |folder| {
        let start = || open_at(folder, Path::new("/nonexistent"), CLOCK);
        start().unwrap().file.save(&wishes()).unwrap();
        remount(folder, MsFlags::MS_RDONLY, "size=64k");
        let opened = start().unwrap();
        assert_eq!(opened.kept.standby, wishes().standby);
        let warning = opened.warnings.join("\n");
        assert!(warning.contains("Read-only file system"), "{warning}");
        assert!(start().is_err());
    });
}
