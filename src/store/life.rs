//! The instance of each life of the daemon: the file `life` in the run folder, with the ID of the boot.
//!
//! The folder is on a tmpfs, and only one daemon uses it. So a life that is found here and belongs to this boot is over.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::lease::BOOT_ID;
use super::{Durable, replace_file};
use crate::model::identity::{Identity, Instance};

/// We never write a longer file.
const MAX_FILE_BYTES: u64 = 4096;

#[derive(Serialize, Deserialize)]
struct LifeFile {
    boot: String,
    instance: Instance,
}

/// Draws the instance of this life and saves it for the next one.
///
/// # Errors
/// When there are no random numbers, or the file cannot be written.
pub fn begin_life(run: &Path) -> io::Result<Identity> {
    let boot = fs::read_to_string(BOOT_ID)?.trim().to_owned();
    let path = run.join("life");
    let succeeds = last_life(&path).filter(|last| last.boot == boot);
    let mut drawn = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut drawn)?;
    let instance = Instance(u64::from_ne_bytes(drawn));
    fs::create_dir_all(run)?;
    let life = serde_json::to_vec(&LifeFile { boot, instance })?;
    replace_file(&path, &life, Durable::No)?;
    Ok(Identity {
        instance: Some(instance),
        succeeds: succeeds.map(|last| last.instance),
    })
}

/// The next daemon does not call the present life its own.
pub fn forget(run: &Path) {
    drop(fs::remove_file(run.join("life")));
}

/// The last life; none when there was none, or its file is damaged: then peers wait until that life counts as dead.
fn last_life(path: &Path) -> Option<LifeFile> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_knows_the_one_before_it_in_the_same_boot() {
        let run = tempfile::tempdir().unwrap();
        let first = begin_life(run.path()).unwrap();
        assert_eq!(first.succeeds, None);
        let second = begin_life(run.path()).unwrap();
        assert_ne!(second.instance, first.instance);
        assert_eq!(second.succeeds, first.instance);
        let path = run.path().join("life");
        let other_boot = r#"{"boot":"another","instance":7}"#;
        for damaged in [other_boot, "", "{"] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(begin_life(run.path()).unwrap().succeeds, None, "{damaged}");
        }
        forget(run.path());
        assert_eq!(begin_life(run.path()).unwrap().succeeds, None);
    }
}
