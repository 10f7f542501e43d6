//! When the lease of each group ends, for the next daemon of this boot: the file `leases` in the run folder.
//!
//! The times are on the clock of this boot, so the file also has the ID of the boot; leases of another boot are void. The
//! folder is on a tmpfs, which does not survive a power cut anyway, so nothing is fsynced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Durable, replace_file};
use crate::model::{GroupName, Time};

pub(super) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// We never write a longer file.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// When the lease of each group ends.
pub type Leases = BTreeMap<GroupName, Time>;

/// The file with the leases.
#[derive(Clone, Debug)]
pub struct LeaseFile {
    path: PathBuf,
    boot: String,
}

#[derive(Serialize, Deserialize)]
struct LeaseFileContent {
    boot: String,
    leases: Leases,
}

impl LeaseFile {
    /// The file of that run folder, which is made when missing. An error means that the kernel does not give the ID of this
    /// boot; then no lease can be kept.
    pub fn new(run: &Path) -> io::Result<LeaseFile> {
        let boot = fs::read_to_string(BOOT_ID)?.trim().to_owned();
        fs::create_dir_all(run)?;
        Ok(LeaseFile {
            path: run.join("leases"),
            boot,
        })
    }

    /// The leases of the last daemon; none when there was no daemon before in this boot.
    ///
    /// # Errors
    /// For an administrator, when the file cannot be read or is damaged. Then the engine stops every group that it finds
    /// running, because one without a lease may belong to another node.
    pub fn load(&self) -> Result<Leases, String> {
        let unknown = |why: String| {
            format!(
                "{} {why}: it is unknown which groups the last daemon held, so groups found running are stopped, and started again where they belong",
                self.path.display()
            )
        };
        let mut bytes = Vec::new();
        match File::open(&self.path).and_then(|f| f.take(MAX_FILE_BYTES).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Leases::new()),
            Err(e) => return Err(unknown(format!("cannot be read ({e})"))),
        }
        match serde_json::from_slice::<LeaseFileContent>(&bytes) {
            Ok(content) if content.boot == self.boot => Ok(content.leases),
            Ok(_) => Ok(Leases::new()),
            Err(e) => Err(unknown(format!("is damaged ({e})"))),
        }
    }

    /// Replaces the leases in the file.
    pub fn save(&self, leases: &Leases) -> io::Result<()> {
        let content = LeaseFileContent {
            boot: self.boot.clone(),
            leases: leases.clone(),
        };
        replace_file(&self.path, &serde_json::to_vec(&content)?, Durable::No)
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
    fn a_damaged_file_is_reported() {
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
