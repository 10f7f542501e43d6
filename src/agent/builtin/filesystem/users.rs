//! Finds the processes that use a mount: with an open file, working directory, root, program or mapped file in it.
//!
//! Files are matched by the id of their mount, which the kernel reports for every descriptor without accessing the file system.
//! Paths would be wrong in a chroot, in a bind mount or after a removal. If the whole file system belongs to the resource, its
//! device number counts too: this finds users in other mount namespaces, and users of a detached mount.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{fstat, major, minor};
use nix::unistd::{Uid, User as Account};

use super::mountinfo::{Device, MountTable};
use crate::sys::process::{ProcessStat, all_pids};

/// How many files of a process a text names.
const MAX_NAMED: usize = 3;

/// The mounts to be released.
#[derive(Clone, Debug)]
pub struct MountSet {
    /// Their ids.
    pub mounts: HashSet<u64>,
    /// The device numbers of their file systems, as `/proc/PID/maps` shows them.
    pub devices: HashSet<Device>,
    /// The one that belongs to the resource as a whole.
    pub whole: Option<Device>,
    /// The ids of all mounts that this process sees. A file in another of them is not a use of this set.
    pub known: HashSet<u64>,
}

impl MountSet {
    /// These mounts of the table.
    pub fn new(table: &MountTable, mounts: HashSet<u64>, whole: Option<Device>) -> MountSet {
        let of = table.0.iter().filter(|m| mounts.contains(&m.id));
        MountSet {
            devices: of.map(|m| m.device).chain(whole).collect(),
            known: table.0.iter().map(|m| m.id).collect(),
            mounts,
            whole,
        }
    }

    /// Whether a file is in one of the mounts. The file is opened with `O_PATH`, so its file system is not accessed.
    fn has_file(&self, file: &File) -> bool {
        let info = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
        self.has_mount(mount_of(Path::new(&info)), || {
            fstat(file).ok().map(|s| (major(s.st_dev), minor(s.st_dev)))
        })
    }

    fn has_mount(&self, mount: Option<u64>, device: impl FnOnce() -> Option<Device>) -> bool {
        match mount {
            Some(id) if self.mounts.contains(&id) => true,
            Some(id) if self.known.contains(&id) => false,
            _ => self.whole.is_some() && device() == self.whole,
        }
    }
}

/// A process that uses a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountUser {
    /// Its pid.
    pub pid: i32,
    /// The name of its program.
    pub command: String,
    /// The account that it runs under.
    pub owner: String,
    /// Its uses, such as `open file /srv/db/log`.
    pub uses: Vec<String>,
}

impl fmt::Display for MountUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MountUser {
            pid,
            command,
            owner,
            uses,
        } = self;
        let shown = uses.get(..MAX_NAMED).unwrap_or(uses).join(", ");
        let more = uses.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        write!(f, "{command} (pid {pid}, user {owner}: {shown}{more})")
    }
}

/// All processes that use the mounts, except this one, pid 1 and kernel threads. Threads with a file table of their own are
/// rare, so threads are searched only if no process is found.
pub fn find_users(target: &MountSet) -> Vec<MountUser> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let pids: Vec<i32> = all_pids().filter(|pid| *pid > 1 && *pid != own).collect();
    let search = |threads| {
        pids.iter()
            .filter_map(move |pid| inspect(*pid, target, threads))
    };
    let users: Vec<MountUser> = search(false).collect();
    if users.is_empty() {
        search(true).collect()
    } else {
        users
    }
}

/// This process, if it uses the mounts. It is never signalled.
pub fn own_use(target: &MountSet) -> Option<MountUser> {
    find_user(i32::try_from(std::process::id()).ok()?, target)
}

/// One process, if it uses the mounts.
pub fn find_user(pid: i32, target: &MountSet) -> Option<MountUser> {
    inspect(pid, target, true)
}

fn inspect(pid: i32, target: &MountSet, threads: bool) -> Option<MountUser> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let stat = ProcessStat::read(pid)?;
    if stat.is_kernel_thread() {
        return None;
    }
    let mut uses = uses_of_task(&folder, target);
    if uses.is_empty() && threads {
        // Also if the main thread has ended, other threads may have open files.
        let tasks = fs::read_dir(folder.join("task")).ok()?.flatten();
        let others = tasks.filter(|t| t.file_name().to_str() != Some(&pid.to_string()));
        uses = others
            .flat_map(|t| uses_of_task(&t.path(), target))
            .collect();
    }
    uses.extend(mapped_files(&folder, target));
    (!uses.is_empty()).then(|| MountUser {
        pid,
        command: stat.name,
        owner: owner(&folder),
        uses,
    })
}

fn uses_of_task(folder: &Path, target: &MountSet) -> Vec<String> {
    let mut uses = Vec::new();
    let links = [
        ("cwd", "working directory"),
        ("root", "root directory"),
        ("exe", "program"),
    ];
    for (link, what) in links {
        let path = folder.join(link);
        if open_path(&path).is_some_and(|file| target.has_file(&file)) {
            uses.push(format!("{what} {}", shown(&path)));
        }
    }
    let open = fs::read_dir(folder.join("fdinfo")).into_iter().flatten();
    for entry in open.flatten() {
        let link = folder.join("fd").join(entry.file_name());
        let device = || {
            let stat = fstat(open_path(&link)?).ok()?;
            Some((major(stat.st_dev), minor(stat.st_dev)))
        };
        if target.has_mount(mount_of(&entry.path()), device) {
            uses.push(format!("open file {}", shown(&link)));
        }
    }
    uses
}

/// Mapped files, including programs and libraries. `maps` has only the number of the file system; if only a part of that
/// belongs to the mounts, the file itself is checked.
fn mapped_files(folder: &Path, target: &MountSet) -> Vec<String> {
    let maps = fs::read(folder.join("maps")).unwrap_or_default();
    let maps = String::from_utf8_lossy(&maps);
    let mut uses: Vec<String> = Vec::new();
    for line in maps.lines() {
        let Some((range, device, path)) = parse_mapping(line) else {
            continue;
        };
        let is_ours = target.devices.contains(&device)
            && (target.whole == Some(device)
                || open_path(&folder.join("map_files").join(range))
                    .is_some_and(|file| target.has_file(&file)));
        let text = format!("mapped file {path}");
        if is_ours && !uses.contains(&text) {
            uses.push(text);
        }
    }
    uses
}

/// `7f0-7f1 r-xp 00000000 fe:01 1234      /path`, numbers in hexadecimal.
fn parse_mapping(line: &str) -> Option<(&str, Device, &str)> {
    let mut fields = line.splitn(6, ' ');
    let range = fields.next()?;
    let (major, minor) = fields.nth(2)?.split_once(':')?;
    let device = (
        u64::from_str_radix(major, 16).ok()?,
        u64::from_str_radix(minor, 16).ok()?,
    );
    let path = fields.nth(1)?.trim_start();
    Some((range, device, path))
}

/// Opens a file with `O_PATH`, which does not access its file system.
fn open_path(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_PATH);
    options.open(path).ok()
}

/// The id of the mount in a file of `fdinfo`.
fn mount_of(info: &Path) -> Option<u64> {
    let text = fs::read_to_string(info).ok()?;
    let field = text.lines().find_map(|l| l.strip_prefix("mnt_id:"))?;
    field.trim().parse().ok()
}

fn shown(link: &Path) -> String {
    fs::read_link(link).map_or_else(|_| "?".to_owned(), |p| p.display().to_string())
}

fn owner(folder: &Path) -> String {
    let text = fs::read_to_string(folder.join("status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("Uid:"));
    let uid = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
    let Some(uid) = uid else {
        return "?".to_owned();
    };
    match Account::from_uid(Uid::from_raw(uid)) {
        Ok(Some(account)) => account.name,
        _ => uid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_taken_apart() {
        let line = "7f58-7f59 r--p 00001000 fe:1a 528414                     /a path/with blanks";
        let wanted = ("7f58-7f59", (0xfe, 0x1a), "/a path/with blanks");
        assert_eq!(parse_mapping(line), Some(wanted));
        let anonymous = "7ffc-7ffd rw-p 00000000 00:00 0                          [stack]";
        assert_eq!(
            parse_mapping(anonymous),
            Some(("7ffc-7ffd", (0, 0), "[stack]"))
        );
        assert_eq!(parse_mapping("nonsense"), None);
        assert_eq!(parse_mapping("7ffc-7ffd rw-p 00000000 00:00 0"), None);
    }

    #[test]
    fn of_many_files_the_first_are_named() {
        let user = MountUser {
            pid: 7,
            command: "mariadbd".into(),
            owner: "mysql".into(),
            uses: (1..=5).map(|n| format!("open file /db/{n}")).collect(),
        };
        assert_eq!(
            user.to_string(),
            "mariadbd (pid 7, user mysql: open file /db/1, open file /db/2, open file /db/3 and 2 more)"
        );
    }

    #[test]
    fn this_process_is_found_only_as_itself() {
        let table = MountTable::read().unwrap();
        let own = std::env::current_dir().unwrap();
        let mount = table.containing(&own).unwrap();
        let target = MountSet::new(&table, HashSet::from([mount.id]), None);
        let itself = own_use(&target).unwrap();
        assert!(
            itself
                .uses
                .iter()
                .any(|u| u.starts_with("working directory"))
        );
        assert!(
            find_users(&target)
                .iter()
                .all(|u| u.pid != itself.pid && u.pid != 1)
        );
    }
}
