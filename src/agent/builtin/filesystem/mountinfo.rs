//! What is mounted: the lines of `/proc/PID/mountinfo`.
//!
//! Nothing here accesses a mounted file system, so one that hangs does not block.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Major and minor number of a file system, as the kernel's tables show it.
pub type Device = (u64, u64);

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its id, unique on this machine.
    pub id: u64,
    /// The id of the mount that contains its mount point.
    pub parent: u64,
    /// The device number of the file system; for most that of the block device.
    pub device: Device,
    /// The directory of the file system that is mounted; `/` unless it is a bind mount or a subvolume.
    pub root: PathBuf,
    /// The mount point.
    pub point: PathBuf,
    /// Its own options.
    pub options: String,
    /// Its type.
    pub kind: String,
    /// The device, `host:/path`, or any word.
    pub source: OsString,
    /// The options of the file system, common to all its mounts.
    pub super_options: String,
}

impl Mount {
    /// Whether this mount or its file system is read-only.
    pub fn read_only(&self) -> bool {
        let mut all = self.options.split(',').chain(self.super_options.split(','));
        all.any(|o| o == "ro")
    }
}

/// The mounts that this process sees, in the kernel's order.
#[derive(Clone, Debug, Default)]
pub struct MountTable(pub Vec<Mount>);

impl MountTable {
    /// Reads the current table.
    pub fn read() -> Result<Self, String> {
        let path = "/proc/thread-self/mountinfo";
        let bytes = fs::read(path).map_err(|e| format!("cannot read {path}: {e}"))?;
        MountTable::parse(&bytes).map_err(|e| format!("cannot parse {path}: {e}"))
    }

    /// A line that cannot be parsed is an error: an overlooked mount would count as unmounted.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let lines = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        let mounts = lines.map(|line| {
            parse_mount(line)
                .ok_or_else(|| format!("`{}`", String::from_utf8_lossy(line).trim_end()))
        });
        mounts.collect::<Result<_, _>>().map(MountTable)
    }

    /// The topmost mount at a mount point.
    pub fn top(&self, point: &Path) -> Option<&Mount> {
        let here: Vec<&Mount> = self.0.iter().filter(|m| m.point == point).collect();
        let covered = |m: &Mount| here.iter().any(|other| other.parent == m.id);
        here.iter().rev().find(|m| !covered(m)).copied()
    }

    /// The mount that contains a path.
    pub fn containing(&self, path: &Path) -> Option<&Mount> {
        path.ancestors().find_map(|point| self.top(point))
    }

    /// These mounts and all mounts inside them, in the order in which they can be unmounted.
    pub fn with_all_below(&self, ids: &HashSet<u64>) -> Vec<Mount> {
        let mut wanted = ids.clone();
        loop {
            let more = self.0.iter().filter(|m| wanted.contains(&m.parent));
            let more: HashSet<u64> = more.map(|m| m.id).collect();
            if more.is_subset(&wanted) {
                break;
            }
            wanted.extend(more);
        }
        let mut left: Vec<&Mount> = self.0.iter().filter(|m| wanted.contains(&m.id)).collect();
        let mut sorted = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let parents: HashSet<u64> = left.iter().map(|m| m.parent).collect();
            let (inner, leaves): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|m| parents.contains(&m.id));
            if leaves.is_empty() {
                break; // a cycle, which does not occur
            }
            sorted.extend(leaves.into_iter().rev().cloned());
            left = inner;
        }
        sorted
    }
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue`, see proc(5). Fields may be
/// empty, so single blanks separate them.
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = device(fields.next()?)?;
    let root = unescaped(fields.next()?);
    let point = unescaped(fields.next()?);
    let options = text(fields.next()?);
    // Propagation: none, or several fields.
    fields.find(|f| *f == b"-")?;
    Some(Mount {
        id,
        parent,
        device,
        root: root.into(),
        point: point.into(),
        options,
        kind: text(fields.next()?),
        source: unescaped(fields.next()?),
        super_options: text(fields.next()?),
    })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn device(field: &[u8]) -> Option<Device> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn text(field: &[u8]) -> String {
    unescaped(field).to_string_lossy().into_owned()
}

/// Decodes blanks, tabs, line ends, backslashes and `#`, which are written as `\040` and the like.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let escape = (*first == b'\\').then(|| octal(after)).flatten();
        let (byte, after) = escape.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    OsString::from_vec(bytes)
}

fn octal(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = digits.split_at_checked(3)?;
    if !digits.iter().all(|d| matches!(d, b'0'..=b'7')) {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    Some((u8::from_str_radix(text, 8).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn table(lines: &[&str]) -> MountTable {
        MountTable::parse(lines.join("\n").as_bytes()).unwrap()
    }

    #[test]
    fn every_field_of_a_line_is_read() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue";
        let mount = table(&[line]).0.remove(0);
        assert_eq!((mount.id, mount.parent, mount.device), (36, 35, (98, 0)));
        assert_eq!(mount.root, Path::new("/mnt1"));
        assert_eq!(mount.point, Path::new("/mnt2"));
        assert_eq!(mount.kind, "ext3");
        assert_eq!(mount.source, "/dev/root");
        assert_eq!(mount.super_options, "rw,errors=continue");
        assert!(!mount.read_only());
    }

    #[test]
    fn names_that_were_chosen_to_hurt_are_read_back() {
        let cases = [
            (
                r"/a\040b\011c\012d\134e\043f",
                b"/a b\tc\nd\\e#f".as_slice(),
            ),
            (r"/x\", br"/x\"),
            (r"/x\04", br"/x\04"),
            (r"/x\999", br"/x\999"),
            (r"/x\777", br"/x\777"),
            ("/-", b"/-"),
            (r"/\040-\040", b"/ - "),
            ("/gone//deleted", b"/gone//deleted"),
        ];
        for (field, wanted) in cases {
            let line = format!("1 0 0:1 / {field} rw - tmpfs tmpfs rw");
            let mount = &table(&[&line]).0[0];
            assert_eq!(mount.point.as_os_str().as_bytes(), wanted, "{field}");
        }
        let bytes = b"1 0 0:1 / /\xff\xfe rw - tmpfs t rw\n";
        let mount = &MountTable::parse(bytes).unwrap().0[0];
        assert_eq!(mount.point.as_os_str().as_bytes(), b"/\xff\xfe");
    }

    #[test]
    fn an_empty_source_shifts_no_field() {
        let mount = &table(&["1 0 0:1 / /t rw - tmpfs  ro,size=4k"]).0[0];
        assert_eq!(mount.source, "");
        assert_eq!(mount.super_options, "ro,size=4k");
        assert!(mount.read_only());
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error_and_not_an_absent_mount() {
        for line in [
            "1 0 0:1 / /t rw tmpfs tmpfs rw",
            "x 0 0:1 / /t rw - tmpfs tmpfs rw",
            "1 0 0-1 / /t rw - tmpfs tmpfs rw",
            "1 0 0:1 / /t rw - tmpfs tmpfs",
            "1 99999999999999999999999 0:1 / /t rw - tmpfs tmpfs rw",
            "\r",
        ] {
            assert!(MountTable::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    const STACK: [&str; 7] = [
        "20 1 8:1 / / rw - ext4 /dev/sda1 rw",
        "30 20 8:17 / /srv rw - ext4 /dev/sdb1 rw",
        "31 30 0:50 / /srv/tmp rw - tmpfs t rw",
        "32 31 8:33 / /srv/tmp/deep rw - ext4 /dev/sdc1 rw",
        "33 20 8:17 /sub /bound rw - ext4 /dev/sdb1 rw",
        "34 30 8:49 / /srv rw - ext4 /dev/sdd1 rw",
        "40 20 8:65 / /srv2 rw - ext4 /dev/sde1 rw",
    ];

    #[test]
    fn of_stacked_mounts_the_uppermost_is_seen() {
        let table = table(&STACK);
        assert_eq!(table.top(Path::new("/srv")).unwrap().id, 34);
        assert_eq!(table.containing(Path::new("/srv2/x/y")).unwrap().id, 40);
        assert_eq!(table.containing(Path::new("/srv3")).unwrap().id, 20);
        assert!(table.top(Path::new("/srv/none")).is_none());
    }

    #[test]
    fn what_lies_on_top_comes_first_and_neighbours_are_left_alone() {
        let all = table(&STACK).with_all_below(&HashSet::from([30, 33]));
        let ids: Vec<u64> = all.iter().map(|m| m.id).collect();
        let place = |id| ids.iter().position(|i| *i == id).unwrap();
        assert_eq!(ids.len(), 5, "{ids:?}");
        assert!(place(32) < place(31) && place(31) < place(30) && place(34) < place(30));
        assert!(!ids.contains(&40) && !ids.contains(&20));
    }

    #[test]
    fn this_machines_own_table_is_understood() {
        let table = MountTable::read().unwrap();
        assert!(table.top(Path::new("/")).is_some());
    }
}
