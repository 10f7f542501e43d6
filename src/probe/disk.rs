//! `disk PATH free N`: a file system is there, can be written to, and has room for ordinary users.

use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

use crate::model::health::{DiskProbe, FreeSpace};

const MEBIBYTE: u64 = 1 << 20;

/// Asks the kernel. This waits while the file system hangs, so it runs in a thread of its own.
pub(super) fn run(probe: &DiskProbe) -> Result<String, String> {
    let shown = probe.path.display();
    let room = Room::of(&probe.path).map_err(|e| format!("{shown}: {}", e.desc()))?;
    if room.read_only {
        return Err(format!("the file system of {shown} is read-only"));
    }
    let free = room.describe();
    if room.is_enough(probe.free) {
        Ok(format!("{shown} has {free} free"))
    } else {
        Err(format!(
            "{shown} has only {free} free, wanted {}",
            probe.free
        ))
    }
}

/// The room of a file system, in bytes.
struct Room {
    /// Of this, ordinary users may still take `free`.
    free: u64,
    used: u64,
    read_only: bool,
}

impl Room {
    fn of(path: &Path) -> nix::Result<Room> {
        let stat = statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
        Ok(Room {
            free: bytes(stat.blocks_available()),
            used: bytes(stat.blocks().saturating_sub(stat.blocks_free())),
            read_only: stat.flags().contains(FsFlags::ST_RDONLY),
        })
    }

    /// Of a hundred parts, rounded down; what is reserved for root counts neither as free nor as used, as `df` does it.
    fn percent(&self) -> u128 {
        let whole = u128::from(self.free) + u128::from(self.used);
        (u128::from(self.free) * 100)
            .checked_div(whole)
            .unwrap_or(0)
    }

    fn is_enough(&self, wanted: FreeSpace) -> bool {
        match wanted {
            FreeSpace::Mebibytes(size) => self.free / MEBIBYTE >= size,
            FreeSpace::Percent(percent) => self.percent() >= u128::from(percent),
        }
    }

    fn describe(&self) -> String {
        format!("{} MiB ({}%)", self.free / MEBIBYTE, self.percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_for_root_is_not_free() {
        let room = |free: u64, used: u64| Room {
            free: free * MEBIBYTE,
            used: used * MEBIBYTE,
            read_only: false,
        };
        let parts = FreeSpace::Percent;
        let size = FreeSpace::Mebibytes;
        for (room, wanted, enough) in [
            (room(100, 900), size(100), true),
            (room(99, 901), size(100), false),
            (room(100, 900), parts(10), true),
            (room(99, 901), parts(10), false),
            // 5% are reserved: 95 of 100 are all there is.
            (room(95, 0), parts(99), true),
            (room(0, 0), parts(1), false),
            (room(0, 0), size(1), false),
        ] {
            let text = room.describe();
            assert_eq!(room.is_enough(wanted), enough, "{text} {wanted:?}");
        }
    }

    #[test]
    fn a_path_that_is_not_there_fails() {
        let probe = |path: &Path, free| {
            let path = path.to_owned();
            run(&DiskProbe { path, free })
        };
        let dir = tempfile::tempdir().unwrap();
        assert!(probe(dir.path(), FreeSpace::Mebibytes(1)).is_ok());
        let missing = dir.path().join("none");
        let wanted = format!("{}: No such file or directory", missing.display());
        assert_eq!(probe(&missing, FreeSpace::Percent(1)), Err(wanted));
        let full = probe(dir.path(), FreeSpace::Mebibytes(1 << 30)).unwrap_err();
        assert!(full.ends_with("free, wanted 1024T"), "{full}");
        // A file system that has no size.
        let none = probe(Path::new("/proc"), FreeSpace::Percent(1)).unwrap_err();
        assert_eq!(none, "/proc has only 0 MiB (0%) free, wanted 1%");
    }
}
