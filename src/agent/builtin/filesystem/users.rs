//! Who uses a mount: every process with an open file, working directory, root, program or mapped file in it.
//!
//! A file belongs to a mount by the mount's number, which the kernel tells for every descriptor without asking the file
//! system; never by its path, which means something else in a chroot, a bind mount or after a removal. Where the whole
//! file system is ours, its number counts too: that finds users in mount namespaces of their own and users of a mount
//! that was detached.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{fstat, major, minor};
use nix::unistd::{Uid, User as Account};

use super::mountinfo::{Device, Table};

/// In the flags of a process: it lives in the kernel, and no signal reaches it.
const KERNEL_THREAD: u64 = 0x0020_0000;
/// How many files of a process are named.
const NAMED: usize = 3;

/// What is to be let go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The numbers of the mounts.
    pub mounts: HashSet<u64>,
    /// The numbers of the file systems of these mounts, as `/proc/PID/maps` shows them.
    pub devices: HashSet<Device>,
    /// Of those, the one that is ours as a whole.
    pub whole: Option<Device>,
    /// All mounts that this process sees: a file in one of them that is not wanted is not meant.
    pub known: HashSet<u64>,
}

impl Target {
    /// These mounts out of the table.
    pub fn new(table: &Table, mounts: HashSet<u64>, whole: Option<Device>) -> Target {
        let of = table.0.iter().filter(|m| mounts.contains(&m.id));
        Target {
            devices: of.map(|m| m.device).chain(whole).collect(),
            known: table.0.iter().map(|m| m.id).collect(),
            mounts,
            whole,
        }
    }

    /// Whether an open file is in it. The file was opened by its name only (`O_PATH`), so nothing is asked of its
    /// file system.
    fn has(&self, file: &File) -> bool {
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

/// A process that uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub pid: i32,
    /// The name of its program.
    pub command: String,
    /// Whose it is.
    pub owner: String,
    /// With what: each what and where.
    pub uses: Vec<String>,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let User {
            pid,
            command,
            owner,
            uses,
        } = self;
        let shown = uses.get(..NAMED).unwrap_or(uses).join(", ");
        let more = uses.len().saturating_sub(NAMED);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        write!(f, "{command} (pid {pid}, user {owner}: {shown}{more})")
    }
}

/// All users but ourselves, the first process, and what lives in the kernel. Threads that do not share the files of
/// their process are rare, so they are asked only where nothing else was found.
pub fn all(target: &Target) -> Vec<User> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
    let pids: Vec<i32> = pids.filter(|pid| *pid > 1 && *pid != own).collect();
    let look = |threads| {
        pids.iter()
            .filter_map(move |pid| found(*pid, target, threads))
    };
    let users: Vec<User> = look(false).collect();
    if users.is_empty() {
        look(true).collect()
    } else {
        users
    }
}

/// What this process itself has open there. It is never signalled.
pub fn ourselves(target: &Target) -> Option<User> {
    of(i32::try_from(std::process::id()).ok()?, target)
}

/// One process, if it is a user.
pub fn of(pid: i32, target: &Target) -> Option<User> {
    found(pid, target, true)
}

fn found(pid: i32, target: &Target, threads: bool) -> Option<User> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let (command, flags) = stat(&fs::read(folder.join("stat")).ok()?)?;
    if flags & KERNEL_THREAD != 0 {
        return None;
    }
    let mut uses = of_task(&folder, target);
    if uses.is_empty() && threads {
        // Of a process whose first thread has ended, too, it is only the others who have any.
        let tasks = fs::read_dir(folder.join("task")).ok()?.flatten();
        let others = tasks.filter(|t| t.file_name().to_str() != Some(&pid.to_string()));
        uses = others.flat_map(|t| of_task(&t.path(), target)).collect();
    }
    uses.extend(mapped(&folder, target));
    (!uses.is_empty()).then(|| User {
        pid,
        command,
        owner: owner(&folder),
        uses,
    })
}

/// Name and flags out of `/proc/PID/stat`. The name may have blanks and brackets.
fn stat(bytes: &[u8]) -> Option<(String, u64)> {
    let text = String::from_utf8_lossy(bytes);
    let (before, after) = text.rsplit_once(") ")?;
    let (_, name) = before.split_once('(')?;
    // state, ppid, pgrp, session, tty, tpgid, flags
    Some((name.to_owned(), after.split(' ').nth(6)?.parse().ok()?))
}

fn of_task(folder: &Path, target: &Target) -> Vec<String> {
    let mut uses = Vec::new();
    let links = [
        ("cwd", "working directory"),
        ("root", "root directory"),
        ("exe", "program"),
    ];
    for (link, what) in links {
        let path = folder.join(link);
        if by_name(&path).is_some_and(|file| target.has(&file)) {
            uses.push(format!("{what} {}", shown(&path)));
        }
    }
    let open = fs::read_dir(folder.join("fdinfo")).into_iter().flatten();
    for entry in open.flatten() {
        let link = folder.join("fd").join(entry.file_name());
        let device = || {
            let stat = fstat(by_name(&link)?).ok()?;
            Some((major(stat.st_dev), minor(stat.st_dev)))
        };
        if target.has_mount(mount_of(&entry.path()), device) {
            uses.push(format!("open file {}", shown(&link)));
        }
    }
    uses
}

/// Files in its memory, programs and libraries among them. `maps` names the file system; where only part of it is
/// ours, the file itself is looked at.
fn mapped(folder: &Path, target: &Target) -> Vec<String> {
    let maps = fs::read(folder.join("maps")).unwrap_or_default();
    let maps = String::from_utf8_lossy(&maps);
    let mut uses: Vec<String> = Vec::new();
    for line in maps.lines() {
        let Some((range, device, path)) = mapping(line) else {
            continue;
        };
        let is_ours = target.devices.contains(&device)
            && (target.whole == Some(device)
                || by_name(&folder.join("map_files").join(range))
                    .is_some_and(|file| target.has(&file)));
        let text = format!("mapped file {path}");
        if is_ours && !uses.contains(&text) {
            uses.push(text);
        }
    }
    uses
}

/// `7f0-7f1 r-xp 00000000 fe:01 1234      /path`, numbers in hexadecimal.
fn mapping(line: &str) -> Option<(&str, Device, &str)> {
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

/// Opened for nothing but to be looked at.
fn by_name(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_PATH);
    options.open(path).ok()
}

/// The mount in a file of `fdinfo`.
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
    fn the_name_of_a_process_may_hold_anything() {
        let line = b"42 (a) R 1 (b) S 1 42 42 0 -1 4194560 100 0";
        assert_eq!(stat(line), Some(("a) R 1 (b".to_owned(), 4_194_560)));
        let kernel = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0";
        assert_ne!(stat(kernel).unwrap().1 & KERNEL_THREAD, 0);
        assert_eq!(stat(b"42 (x"), None);
    }

    #[test]
    fn a_line_of_maps_is_taken_apart() {
        let line = "7f58-7f59 r--p 00001000 fe:1a 528414                     /a path/with blanks";
        let wanted = ("7f58-7f59", (0xfe, 0x1a), "/a path/with blanks");
        assert_eq!(mapping(line), Some(wanted));
        let anonymous = "7ffc-7ffd rw-p 00000000 00:00 0                          [stack]";
        assert_eq!(mapping(anonymous), Some(("7ffc-7ffd", (0, 0), "[stack]")));
        assert_eq!(mapping("nonsense"), None);
        assert_eq!(mapping("7ffc-7ffd rw-p 00000000 00:00 0"), None);
    }

    #[test]
    fn of_many_files_the_first_are_named() {
        let user = User {
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
        let table = Table::read().unwrap();
        let own = std::env::current_dir().unwrap();
        let mount = table.holding(&own).unwrap();
        let target = Target::new(&table, HashSet::from([mount.id]), None);
        let itself = ourselves(&target).unwrap();
        assert!(
            itself
                .uses
                .iter()
                .any(|u| u.starts_with("working directory"))
        );
        assert!(
            all(&target)
                .iter()
                .all(|u| u.pid != itself.pid && u.pid != 1)
        );
    }
}
