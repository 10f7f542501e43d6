//! `Filesystem` on loop devices.

use std::fs;
use std::path::Path;

use had::agent::builtin::filesystem::Filesystem;
use had::agent::builtin::filesystem::arguments::MountArguments;
use had::agent::builtin::filesystem::mountinfo::{Mount, MountTable};
use had::agent::builtin::filesystem::validate::find_misplaced;
use had::agent::{Agent, AgentError, Status};

use crate::common::{Disk, Log, Place, alone, filesystem, folder, limits, path, sh, within};

pub fn mounted(point: &Path) -> Option<Mount> {
    MountTable::read().unwrap().top(point).cloned()
}

/// Starts it twice and stops it twice, with a monitor after each.
async fn through_the_contract(agent: &Filesystem, point: &Path, what: &str) {
    assert_eq!(
        agent.monitor(&limits()).await,
        Ok(Status::Stopped),
        "{what}"
    );
    agent.stop(&limits()).await.unwrap();
    for _ in 0..2 {
        agent
            .start(&limits())
            .await
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(mounted(point).is_some(), "{what}");
        assert_eq!(
            agent.monitor(&limits()).await,
            Ok(Status::Running),
            "{what}"
        );
    }
    for _ in 0..2 {
        agent
            .stop(&limits())
            .await
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(mounted(point), None, "{what}");
        assert_eq!(
            agent.monitor(&limits()).await,
            Ok(Status::Stopped),
            "{what}"
        );
    }
}

#[test]
fn whatever_can_be_mounted_goes_through_the_contract() {
    alone(async {
        let folder = folder();
        let point = folder.path().join("a name with blanks\tand\\more");
        let source = folder.path().join("source");
        fs::create_dir(&point).unwrap();
        fs::create_dir(&source).unwrap();
        let label = format!("had{}", std::process::id());
        let disk = Disk::new(&folder, "db", 32, &format!("mkfs.ext4 -q -F -L {label}"));
        let old = Disk::new(&folder, "old", 8, "mkfs.ext2 -q -F");
        let uuid = sh(&format!(
            "blkid -p -o value -s UUID {}",
            disk.device.display()
        ));
        let loose = folder.path().join("loose.img");
        fs::copy(&old.image, &loose).unwrap();
        let p = path(&point);
        let device = path(&disk.device);
        let (by_label, by_uuid) = (format!("LABEL={label}"), format!("UUID={}", uuid.trim()));
        let words: [&[&str]; 9] = [
            &[device, p],
            &[device, p, "ext4", "noatime"],
            &[device, p, "ext4", "ro"],
            &[&by_label, p, "ext4"],
            &[&by_uuid, p],
            &[path(&old.device), p],
            &[path(&loose), p, "ext2", "loop"],
            &[path(&source), p, "none", "bind"],
            &["scratch", p, "tmpfs", "size=1m"],
        ];
        for word in words {
            through_the_contract(&filesystem(word), &point, &word.join("::")).await;
        }
    });
}

#[test]
fn options_arrive_and_the_next_daemon_finds_the_mount() {
    alone(async {
        let place = Place::ext4();
        let make = || place.with_options("noatime,nodev");
        make().start(&limits()).await.unwrap();
        let mount = mounted(&place.point).unwrap();
        assert!(mount.options.contains("noatime") && mount.options.contains("nodev"));
        assert_eq!(make().monitor(&limits()).await, Ok(Status::Running));
        assert!(!place.point.join(".had-probe").exists());
        make().stop(&limits()).await.unwrap();
    });
}

#[test]
fn what_stands_in_the_way_of_a_mount_is_named_and_left_alone() {
    alone(async {
        let folder = folder();
        let (ours, other) = (Disk::ext4(&folder, "ours"), Disk::ext4(&folder, "other"));
        let (point, elsewhere) = (folder.path().join("m"), folder.path().join("n"));
        let agent = filesystem(&[path(&ours.device), path(&point), "ext4"]);
        let missing = agent.start(&limits()).await.unwrap_err().to_string();
        assert!(missing.contains("mkdir -p"), "{missing}");
        fs::create_dir(&point).unwrap();
        fs::create_dir(&elsewhere).unwrap();

        sh(&format!(
            "mount {} {}",
            other.device.display(),
            point.display()
        ));
        let error = agent.start(&limits()).await.unwrap_err().to_string();
        let wanted = format!(
            "something else is mounted on {}: {} (ext4)",
            point.display(),
            other.device.display()
        );
        assert!(error.contains(&wanted), "{error}");
        assert_eq!(agent.monitor(&limits()).await, Ok(Status::Stopped));
        agent.stop(&limits()).await.unwrap();
        assert!(
            mounted(&point).is_some(),
            "the other's mount is not ours to end"
        );
        sh(&format!("umount {}", point.display()));

        sh(&format!(
            "mount {} {}",
            ours.device.display(),
            elsewhere.display()
        ));
        for error in [
            agent.start(&limits()).await,
            agent.monitor(&limits()).await.map(drop),
        ] {
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains(&format!("is mounted, but on {}", elsewhere.display())),
                "{error}"
            );
        }
        let error = agent.stop(&limits()).await.unwrap_err().to_string();
        assert!(error.contains("had did not do that"), "{error}");
        assert!(mounted(&elsewhere).is_some(), "somebody else's mount");
        let words = [path(&ours.device), path(&point)].map(str::to_owned);
        let noted = find_misplaced(&MountArguments::parse(&words).unwrap()).unwrap();
        assert!(noted.message.contains("had did not do that"));
        sh(&format!("umount {}", elsewhere.display()));

        agent.start(&limits()).await.unwrap();
        sh(&format!(
            "mount {} {}",
            other.device.display(),
            point.display()
        ));
        let error = agent.monitor(&limits()).await.unwrap_err().to_string();
        assert!(error.contains("is covered by another mount"), "{error}");
        agent.stop(&limits()).await.unwrap();
        assert_eq!(mounted(&point), None);
    });
}

#[test]
fn a_damaged_file_system_without_a_journal_is_mended_or_refused_never_forced() {
    alone(async {
        let folder = folder();
        let disk = Disk::new(&folder, "old", 8, "mkfs.ext2 -q -F");
        let point = folder.path().join("m");
        fs::create_dir(&point).unwrap();
        let device = disk.device.display();
        let agent = filesystem(&[path(&disk.device), path(&point), "ext2"]);
        let (log, guard) = Log::catch();
        // Only wrong counts, which fsck -p may repair.
        sh(&format!(
            "debugfs -w -R 'ssv free_blocks_count 7' {device} 2>&1; debugfs -w -R 'ssv state 0' {device} 2>&1"
        ));
        agent.start(&limits()).await.unwrap();
        agent.stop(&limits()).await.unwrap();
        assert!(
            log.text().contains("fsck repaired the file system"),
            "{}",
            log.text()
        );
        drop(guard);

        // The root directory is gone. A person has to decide about that.
        sh(&format!(
            "debugfs -w -R 'clri <2>' {device} 2>&1; debugfs -w -R 'ssv state 0' {device} 2>&1"
        ));
        let before = fs::read(&disk.image).unwrap();
        let error = agent.start(&limits()).await.unwrap_err().to_string();
        assert!(error.contains("fsck -p cannot repair by itself"), "{error}");
        assert_eq!(mounted(&point), None);
        assert!(before.len() == fs::read(&disk.image).unwrap().len());
    });
}

#[test]
fn a_disk_that_cannot_be_written_is_not_started_as_if_it_could() {
    alone(async {
        let place = Place::ext4();
        let device = place.disk.device.display();
        sh(&format!(
            "losetup -d {device}; losetup -r {device} {}",
            place.disk.image.display()
        ));
        let error = place.agent.start(&limits()).await.unwrap_err().to_string();
        assert!(error.contains("read-only"), "{error}");
        place.agent.stop(&limits()).await.unwrap();
        assert_eq!(mounted(&place.point), None);
        let asked = place.with_options("ro");
        asked.start(&limits()).await.unwrap();
        asked.stop(&limits()).await.unwrap();
    });
}

#[test]
fn a_mount_that_turned_read_only_is_not_well() {
    alone(async {
        let place = Place::ext4();
        let (agent, point) = (&place.agent, &place.point);
        agent.start(&limits()).await.unwrap();
        sh(&format!("mount -o remount,ro '{}'", point.display()));
        let error = agent.monitor(&limits()).await.unwrap_err().to_string();
        assert!(error.contains("mounted read-only"), "{error}");
        agent.stop(&limits()).await.unwrap();
    });
}

#[test]
fn a_full_file_system_is_well_and_that_it_is_full_is_said_once() {
    alone(async {
        let folder = folder();
        let point = folder.path().join("m");
        fs::create_dir(&point).unwrap();
        // ext4 always finds room for a little more.
        let agent = filesystem(&["scratch", path(&point), "tmpfs", "size=64k"]);
        agent.start(&limits()).await.unwrap();
        let (log, _guard) = Log::catch();
        sh(&format!(
            "cat /dev/zero 2>/dev/null >{}/big || true",
            point.display()
        ));
        for _ in 0..2 {
            assert_eq!(agent.monitor(&limits()).await, Ok(Status::Running));
        }
        let log = log.text();
        assert_eq!(
            log.matches("is full; it still counts as running").count(),
            1,
            "{log}"
        );
        agent.stop(&limits()).await.unwrap();
    });
}

#[test]
fn a_disk_that_hangs_holds_up_no_look_and_gathers_no_heap_of_them() {
    alone(async {
        let place = Place::ext4();
        let (agent, point) = (&place.agent, &place.point);
        agent.start(&limits()).await.unwrap();
        // Writers now hang inside the kernel, where no signal reaches them.
        sh(&format!("fsfreeze -f {}", point.display()));
        let first = agent.monitor(&within(1)).await;
        let second = agent.monitor(&limits()).await;
        let waiting = sh("ps -eo args | grep -c '[h]ad-probe' || true");
        sh(&format!("fsfreeze -u {}", point.display()));
        let AgentError::TimedOut(first) = first.unwrap_err() else {
            panic!()
        };
        assert!(first.contains("hangs inside the kernel"), "{first}");
        let AgentError::TimedOut(second) = second.unwrap_err() else {
            panic!()
        };
        assert!(second.contains("still hangs inside the kernel"), "{second}");
        assert!(waiting.trim().parse::<u32>().unwrap() <= 1, "{waiting}");
        let mut last = None;
        for _ in 0..1000 {
            last = Some(agent.monitor(&limits()).await);
            if last == Some(Ok(Status::Running)) {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(last, Some(Ok(Status::Running)));
        agent.stop(&limits()).await.unwrap();
    });
}
