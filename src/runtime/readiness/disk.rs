//! Whether the file systems that a node needs have room.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

/// With less than this part of its size free, in percent, a file system counts as full.
const MIN_FREE_PERCENT: u64 = 1;
/// So much is enough, however large it is.
const ENOUGH_BYTES: u64 = 1 << 30;
/// Those on which most services write.
const USUAL: [&str; 4] = ["/", "/var", "/var/log", "/tmp"];

/// A sentence for each file system below these folders, or below the usual ones, that is full.
pub fn full_file_systems(needed: [&Path; 3]) -> Vec<String> {
    let mut seen = Vec::new();
    let mut full = Vec::new();
    for path in needed.into_iter().chain(USUAL.map(Path::new)) {
        let (Ok(found), Ok(folder)) = (statvfs(path), fs::metadata(path)) else {
            continue;
        };
        // One that nobody writes to, such as an image of the system, is always full.
        let read_only = found.flags().contains(FsFlags::ST_RDONLY);
        if read_only || seen.contains(&folder.dev()) {
            continue;
        }
        seen.push(folder.dev());
        let unit = found.fragment_size();
        let room = Room {
            size: found.blocks().saturating_mul(unit),
            free: found.blocks_available().saturating_mul(unit),
            files: found.files(),
            free_files: found.files_available(),
        };
        full.extend(room.problem(path));
    }
    full
}

/// The room of a file system, for programs that are not root's.
struct Room {
    size: u64,
    free: u64,
    /// How many files it can have; 0 where that has no limit.
    files: u64,
    free_files: u64,
}

impl Room {
    fn problem(&self, path: &Path) -> Option<String> {
        let path = path.display();
        let mebibytes = |bytes: u64| bytes >> 20;
        let least = (self.size / 100).saturating_mul(MIN_FREE_PERCENT);
        if self.size > 0 && self.free < least.min(ENOUGH_BYTES) {
            return Some(format!(
                "the file system of {path} is full: {} MiB of {} MiB are free; make room there",
                mebibytes(self.free),
                mebibytes(self.size)
            ));
        }
        let no_files = self.files > 0 && self.free_files == 0;
        no_files.then(|| {
            format!("the file system of {path} takes no more files (see df -i); remove some")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_room_or_without_inodes_is_full() {
        let gib = 1_u64 << 30;
        for (size, free, files, free_files, says) in [
            (gib, gib / 50, 10, 1, None),
            (gib, gib / 200, 10, 1, Some("is full")),
            (gib, 0, 0, 0, Some("is full")),
            (1000 * gib, 2 * gib, 10, 1, None),
            (gib, gib, 10, 0, Some("no more files")),
            // Without a limit of files, and one that is no disk.
            (gib, gib, 0, 0, None),
            (0, 0, 0, 0, None),
        ] {
            let room = Room {
                size,
                free,
                files,
                free_files,
            };
            let said = room.problem(Path::new("/var"));
            match says {
                None => assert_eq!(said, None),
                Some(words) => assert!(said.is_some_and(|s| s.contains(words)), "{size} {free}"),
            }
        }
    }
}
