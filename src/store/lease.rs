//! When the right to each group ends, for the next life in this boot: `leases` in the run folder.
//!
//! The ends are on the clock of this boot, so the boot's own name is kept with them; those of another boot
//! are void. The folder is on a tmpfs, which a loss of power empties: nothing is fsynced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Durable, replace};
use crate::model::{GroupName, Time};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A file longer than this is not ours.
const LONGEST: u64 = 16 * 1024 * 1024;

/// Each group's end of lease.
pub type Leases = BTreeMap<GroupName, Time>;

/// The file.
#[derive(Clone, Debug)]
pub struct LeaseFile {
    path: PathBuf,
    boot: String,
}

#[derive(Serialize, Deserialize)]
struct Content {
    boot: String,
    leases: Leases,
}

impl LeaseFile {
    /// The file of that run folder, which is made when missing. An error means that the kernel
    /// does not name this boot; then no lease can be kept.
    pub fn new(run: &Path) -> io::Result<LeaseFile> {
        let boot = fs::read_to_string(BOOT_ID)?.trim().to_owned();
        fs::create_dir_all(run)?;
        Ok(LeaseFile {
            path: run.join("leases"),
            boot,
        })
    }

    /// What the last life held; nothing, where there was none in this boot. A file that tells nothing may have held
    /// anything: a group without a lease is stopped by the engine when it is found running, which is the safe side.
    ///
    /// # Errors
    /// That the file cannot be read or is damaged, and what follows, for an administrator.
    pub fn load(&self) -> Result<Leases, String> {
        let lost = |why: String| {
            format!(
                "{} {why}: which groups the last daemon held is not known, so what is found running is stopped and started anew where it belongs",
                self.path.display()
            )
        };
        let mut bytes = Vec::new();
        match File::open(&self.path).and_then(|f| f.take(LONGEST).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Leases::new()),
            Err(e) => return Err(lost(format!("cannot be read ({e})"))),
        }
        match serde_json::from_slice::<Content>(&bytes) {
            Ok(content) if content.boot == self.boot => Ok(content.leases),
            Ok(_) => Ok(Leases::new()),
            Err(e) => Err(lost(format!("is damaged ({e})"))),
        }
    }

    /// Replaces what is kept.
    pub fn save(&self, leases: &Leases) -> io::Result<()> {
        let content = Content {
            boot: self.boot.clone(),
            leases: leases.clone(),
        };
        replace(&self.path, &serde_json::to_vec(&content)?, Durable::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases() -> Leases {
        [
            (GroupName::new("a"), Time(1_234_567_890_123)),
            (GroupName::new("b"), Time::NEVER),
        ]
        .into()
    }

    #[test]
    fn leases_of_this_boot_come_back_and_those_of_another_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = LeaseFile::new(&folder.path().join("run")).unwrap();
        assert_eq!(file.load(), Ok(Leases::new()));
        file.save(&leases()).unwrap();
        assert_eq!(file.load(), Ok(leases()));
        let other_boot = LeaseFile {
            boot: "another".into(),
            ..file
        };
        assert_eq!(other_boot.load(), Ok(Leases::new()));
    }

    #[test]
    fn a_damaged_file_is_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let file = LeaseFile::new(folder.path()).unwrap();
        file.save(&leases()).unwrap();
        let whole = fs::read(&file.path).unwrap();
        for damage in [&whole[..whole.len() - 1], b"", b"\xff\xfe{"] {
            fs::write(&file.path, damage).unwrap();
            let why = file.load().unwrap_err();
            assert!(why.contains("/leases is damaged"), "{why}");
        }
    }
}
