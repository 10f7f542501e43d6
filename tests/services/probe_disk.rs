//! The probe `disk` with real file systems.

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use had::model::health::{DiskProbe, FreeSpace, Probe};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tokio::time::timeout;

use crate::common::{Place, alone, folder, path, sh};
use crate::probes::{active, run};

fn disk(path: &Path, free: FreeSpace) -> Probe {
    let path = path.to_owned();
    Probe::Disk(DiskProbe { path, free })
}

#[test]
fn a_disk_that_fills_up_or_becomes_read_only_fails() {
    alone(async {
        let place = Place::ext4();
        let point = path(&place.point);
        let probe = disk(&place.point, FreeSpace::Mebibytes(8));
        let half = disk(&place.point, FreeSpace::Percent(50));
        sh(&format!("mount {} {point}", path(&place.disk.device)));
        let well = run(&probe).await.unwrap();
        assert!(well.contains(" MiB ("), "{well}");
        run(&half).await.unwrap();
        // What is left is less than what is reserved for root, who wrote this.
        sh(&format!("head -c 22M /dev/zero >{point}/full"));
        let full = run(&probe).await.unwrap_err();
        assert!(full.ends_with("free, wanted 8M"), "{full}");
        run(&half).await.unwrap_err();
        fs::remove_file(place.point.join("full")).unwrap();
        run(&probe).await.unwrap();
        sh(&format!("mount -o remount,ro {point}"));
        let read_only = format!("the file system of {point} is read-only");
        assert_eq!(run(&probe).await, Err(read_only));
        sh(&format!("umount {point}"));
    });
}

#[test]
fn a_file_system_that_hangs_hangs_nothing_else() {
    alone(async {
        let folder = folder();
        // A file system whose server never answers.
        let server = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let server = server.unwrap();
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            server.as_raw_fd()
        );
        let (point, none) = (folder.path(), MsFlags::empty());
        mount(
            Some("hung"),
            point,
            Some("fuse"),
            none,
            Some(options.as_str()),
        )
        .unwrap();
        let probe = active(&disk(point, FreeSpace::Mebibytes(1)));
        let limits = crate::common::limits();
        let mut hung = Box::pin(probe.run(&limits));
        // This thread goes on: its only runtime keeps its deadlines.
        let early = timeout(Duration::from_millis(200), &mut hung).await;
        assert!(early.is_err(), "{early:?}");
        let other = disk(Path::new("/"), FreeSpace::Mebibytes(1));
        run(&other).await.unwrap();
        // The server dies.
        drop(server);
        let dead = hung.await.unwrap_err();
        assert!(dead.starts_with(path(point)), "{dead}");
        umount2(point, MntFlags::MNT_DETACH).unwrap();
    });
}
