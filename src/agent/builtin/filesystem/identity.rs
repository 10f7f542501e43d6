//! Finds the mounts of a resource: compares its arguments with the table of mounts.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use super::arguments::{MountArguments, Source};
use super::mountinfo::{Device, Mount, MountTable};
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};

/// What the arguments mean on this machine now.
#[derive(Clone, Debug)]
pub struct MountIdentity {
    /// The mount point without symbolic links, as in the kernel's table.
    pub point: PathBuf,
    /// The number of the block device, if there is one.
    pub device: Option<Device>,
    /// Its path.
    pub path: Option<PathBuf>,
}

impl MountIdentity {
    /// Looks it up. A missing device is no error: then nothing of it is mounted.
    pub async fn find(args: &MountArguments, limits: &Limits) -> Result<Self, AgentError> {
        let path = match &args.source {
            Source::Device(path) => Some(path.clone()),
            Source::Tag(tag) => device_with_tag(tag, limits).await?,
            Source::Image(path) => fs::canonicalize(path).ok(),
            Source::Bind(_) | Source::Network(_) | Source::Virtual(_) => None,
        };
        Ok(MountIdentity::with_path(args, path))
    }

    /// The identity with the device at this path.
    pub fn with_path(args: &MountArguments, path: Option<PathBuf>) -> Self {
        MountIdentity {
            point: without_links(&args.directory),
            device: path.as_deref().and_then(block_device),
            path,
        }
    }

    /// Whether a mount is of what the arguments name.
    pub fn matches(&self, args: &MountArguments, mount: &Mount, table: &MountTable) -> bool {
        match &args.source {
            Source::Device(path) => match self.device {
                Some(device) => mount.device == device || block_device_of(mount) == Some(device),
                // Its device node is gone: only the name is left to compare.
                None => mount.source == path.as_os_str(),
            },
            Source::Tag(_) => self.device.is_some_and(|device| {
                mount.device == device || block_device_of(mount) == Some(device)
            }),
            Source::Image(_) => backing_file(mount.device) == self.path && self.path.is_some(),
            Source::Bind(from) => bind_source(from, table)
                .is_some_and(|(device, root)| mount.device == device && mount.root == root),
            Source::Network(word) => {
                without_slash(mount.source.as_bytes()) == without_slash(word.as_bytes())
            }
            Source::Virtual(word) => {
                args.kind.as_deref() == Some(mount.kind.as_str())
                    && mount.source.as_bytes() == word.as_bytes()
            }
        }
    }

    /// Where it is mounted, if that is elsewhere only.
    pub fn find_elsewhere<'t>(
        &self,
        args: &MountArguments,
        table: &'t MountTable,
    ) -> Option<&'t Mount> {
        let ours = self.own_mounts(args, table);
        let mut mounts = table.0.iter().filter(|m| ours.contains(&m.id));
        if mounts.clone().any(|m| m.point == self.point) {
            return None;
        }
        mounts.next()
    }

    /// The ids of our mounts: at the mount point, or anywhere if the whole file system belongs to us.
    pub fn own_mounts(&self, args: &MountArguments, table: &MountTable) -> HashSet<u64> {
        let everywhere = args.is_exclusive();
        let candidates = table
            .0
            .iter()
            .filter(|m| everywhere || m.point == self.point);
        let ours = candidates.filter(|m| self.matches(args, m, table));
        ours.map(|m| m.id).collect()
    }
}

/// Without the slash at the end of `host:/path/`, which has no meaning.
fn without_slash(word: &[u8]) -> &[u8] {
    word.strip_suffix(b"/").unwrap_or(word)
}

/// The path of the device with this label or UUID, if there is one.
async fn device_with_tag(tag: &str, limits: &Limits) -> Result<Option<PathBuf>, AgentError> {
    let done = system_tool::run("findfs", &[tag], limits).await?;
    let path = done.output.trim();
    Ok((done.code == Some(0) && !path.is_empty()).then(|| path.into()))
}

/// The number of a block device.
pub fn block_device(path: &Path) -> Option<Device> {
    let meta = fs::metadata(path).ok()?;
    let is_block = meta.file_type().is_block_device();
    is_block.then(|| (major(meta.rdev()), minor(meta.rdev())))
}

/// The block device that a mount names. Some file systems (btrfs) have a number of their own.
fn block_device_of(mount: &Mount) -> Option<Device> {
    let path = Path::new(&mount.source);
    path.starts_with("/dev")
        .then(|| block_device(path))
        .flatten()
}

/// The backing file of a loop device.
fn backing_file((major, minor): Device) -> Option<PathBuf> {
    let path = format!("/sys/dev/block/{major}:{minor}/loop/backing_file");
    let text = fs::read(path).ok()?;
    Some(Path::new(std::ffi::OsStr::from_bytes(text.trim_ascii_end())).to_owned())
}

/// What a bind mount of this directory shows: the file system, and the directory in it.
fn bind_source(from: &Path, table: &MountTable) -> Option<(Device, PathBuf)> {
    let from = without_links(from);
    let mount = table.containing(&from)?;
    let rest = from.strip_prefix(&mount.point).ok()?;
    let root = if rest.as_os_str().is_empty() {
        mount.root.clone()
    } else {
        mount.root.join(rest)
    };
    Some((mount.device, root))
}

/// A path without symbolic links. It does not access a file system that is mounted on the last component, which may be a
/// network file system that hangs.
fn without_links(path: &Path) -> PathBuf {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_owned();
    };
    if fs::read_link(path).is_ok() {
        return fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    }
    fs::canonicalize(parent).map_or_else(|_| path.to_owned(), |parent| parent.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(word: &str) -> MountArguments {
        let args: Vec<String> = word.split("::").map(str::to_owned).collect();
        MountArguments::parse(&args).unwrap()
    }

    fn table() -> MountTable {
        let lines = [
            "20 1 8:1 / / rw - ext4 /dev/sda1 rw",
            "30 20 8:17 / /nodir/db rw - ext4 /dev/sdb1 rw",
            "33 20 8:17 /sub /nodir/bound rw - ext4 /dev/sdb1 rw",
            "34 20 0:60 / /nodir/nfs rw - nfs4 filer:/vol/db/ rw",
            "35 20 0:61 / /nodir/tmp rw - tmpfs scratch rw",
            "36 20 8:1 /nodir/from /nodir/to rw - ext4 /dev/sda1 rw",
        ];
        MountTable::parse(lines.join("\n").as_bytes()).unwrap()
    }

    /// The numbers of those that are ours; `device` is what the device would have.
    fn ours(word: &str, device: Option<Device>) -> Vec<u64> {
        let args = arguments(word);
        let identity = MountIdentity {
            point: args.directory.clone(),
            device,
            path: None,
        };
        let mut ids: Vec<u64> = identity.own_mounts(&args, &table()).into_iter().collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_device_is_ours_wherever_it_is_mounted_a_part_only_in_its_place() {
        assert_eq!(ours("/dev/x::/nodir/db", Some((8, 17))), [30, 33]);
        assert_eq!(ours("LABEL=x::/nodir/db", Some((8, 17))), [30, 33]);
        assert_eq!(
            ours("/dev/x::/nodir/bound::btrfs::subvol=sub", Some((8, 17))),
            [33]
        );
        assert!(ours("/dev/x::/nodir/db", Some((8, 99))).is_empty());
        assert!(ours("LABEL=x::/nodir/db", None).is_empty());
        assert_eq!(ours("/dev/sdb1::/nodir/db", None), [30, 33]);
    }

    #[test]
    fn what_has_no_device_is_known_by_its_place_and_its_name() {
        assert_eq!(ours("filer:/vol/db::/nodir/nfs::nfs4", None), [34]);
        assert!(ours("filer:/vol/other::/nodir/nfs::nfs4", None).is_empty());
        assert_eq!(ours("scratch::/nodir/tmp::tmpfs", None), [35]);
        assert!(ours("other::/nodir/tmp::tmpfs", None).is_empty());
        assert_eq!(ours("/nodir/from::/nodir/to::bind", None), [36]);
        // The same folder as seen through another mount of its file system.
        assert_eq!(ours("/nodir/db/sub::/nodir/bound::bind", None), [33]);
        assert!(ours("/nodir/other::/nodir/to::bind", None).is_empty());
    }

    #[test]
    fn links_on_the_way_to_a_directory_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir(real.join("real")).unwrap();
        std::os::unix::fs::symlink("real", real.join("link")).unwrap();
        assert_eq!(without_links(&real.join("link/new")), real.join("real/new"));
        assert_eq!(without_links(&real.join("link")), real.join("real"));
        assert_eq!(without_links(Path::new("/no/such")), Path::new("/no/such"));
    }
}
