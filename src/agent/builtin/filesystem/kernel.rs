//! Finds what keeps a file system busy without being a process. It cannot be signalled, so each is named together with the
//! command that ends it.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::mountinfo::{Device, MountTable};
use crate::sys::process::{ProcessStat, all_pids};

/// Everything that keeps one of these mount points, or the file system with this number, busy.
pub fn holders(points: &[PathBuf], whole: Option<Device>) -> Vec<String> {
    let inside = |path: &Path| points.iter().any(|point| path.starts_with(point));
    let mut found = swap_files(&inside);
    found.extend(loop_devices(&inside));
    found.extend(exports(&inside));
    if let Some(device) = whole {
        found.extend(other_namespaces(device));
    }
    found
}

fn swap_files(inside: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let text = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let paths = text.lines().skip(1).filter_map(|l| l.split(' ').next());
    let ours = paths.filter(|path| inside(Path::new(path)));
    ours.map(|path| format!("swap file {path} (swapoff {path})"))
        .collect()
}

fn loop_devices(inside: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let held = devices.filter_map(|device| {
        let name = device.file_name().into_string().ok()?;
        let file = fs::read_to_string(device.path().join("loop/backing_file")).ok()?;
        let file = file.trim_end().to_owned();
        inside(Path::new(&file))
            .then(|| format!("loop device /dev/{name} on {file} (losetup -d /dev/{name})"))
    });
    held.collect()
}

/// Directories that the kernel's NFS server exports.
fn exports(inside: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let text = fs::read_to_string("/proc/fs/nfsd/exports").unwrap_or_default();
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    let paths = lines.filter_map(|l| l.split_whitespace().next());
    let ours = paths.filter(|path| inside(Path::new(path)));
    ours.map(|path| format!("NFS export {path} (exportfs -u '*:{path}')"))
        .collect()
}

/// One process of each other mount namespace that has the file system.
fn other_namespaces(device: Device) -> Vec<String> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let mut seen: HashSet<PathBuf> = namespace("thread-self").into_iter().collect();
    let mut found = Vec::new();
    for pid in all_pids() {
        if !namespace(&pid.to_string()).is_some_and(|n| seen.insert(n)) {
            continue;
        }
        let bytes = fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let mounts = MountTable::parse(&bytes).unwrap_or_default().0;
        for mount in mounts.iter().filter(|m| m.device == device) {
            let command = ProcessStat::read(pid).map_or_else(String::new, |stat| stat.name);
            let point = mount.point.display();
            found.push(format!(
                "the mount namespace of {command} (pid {pid}), where it is mounted on {point} (nsenter -t {pid} -m umount {point})"
            ));
        }
    }
    found
}

/// Whether something uses the device exclusively, as a mount does. A device that cannot be opened for another reason (DRBD
/// refuses while it is Secondary) is not in use.
pub fn is_held(device: &Path) -> bool {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_EXCL | libc::O_NONBLOCK);
    matches!(options.open(device), Err(e) if e.kind() == io::ErrorKind::ResourceBusy)
}
