//! The file with the state that ownership depends on: `kept` in the state folder.
//!
//! ```text
//! had-kept 1 5d1b7c0a          version of the format, CRC-32 of all that follows this line
//! {"uuid":[..],"kept":{..}}
//! ```
//!
//! It is replaced as a whole, and a new value is on the disk before it is used. The cluster survives its loss: terms are
//! learned from the peers, and the generation comes from the clock. Standby and maintenance are forgotten then, which is
//! logged.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::Flock;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::{Durable, replace_file, set_aside};
use crate::engine::PersistentState;
use crate::model::Generation;
use crate::model::identity::Identity;
use crate::sys::foreign_file::read_regular;
use crate::sys::lock_file::{self, LockError};

/// Where heartbeat keeps its generation and its UUID.
const HEARTBEAT_STATE: &str = "/var/lib/heartbeat";
const MAGIC: &str = "had-kept 1 ";
/// We never write a longer file.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// The state file, and the lock that keeps a second daemon out of the state folder.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    uuid: [u8; 16],
    /// None when the folder could not be opened; then there is nothing to protect.
    _lock: Option<Flock<File>>,
}

/// The result of [`StateFile::open`].
#[derive(Debug)]
pub struct OpenedState {
    /// For saving.
    pub file: StateFile,
    /// The state of the last daemon with the generation of this one, and without leases, which are in [`super::lease`].
    pub kept: PersistentState,
    /// The UUID of this node.
    pub uuid: [u8; 16],
    /// Problems, a sentence each.
    pub warnings: Vec<String>,
}

/// Another daemon uses the state folder.
#[derive(Debug, thiserror::Error)]
#[error("the state folder {} is in use by another had; stop that one, or give each its own folder", .0.display())]
pub struct InUse(pub PathBuf);

#[derive(Serialize, Deserialize)]
struct StateFileContent {
    uuid: [u8; 16],
    kept: PersistentState,
}

/// What the last daemon left.
#[derive(Default)]
struct LastState {
    kept: PersistentState,
    uuid: Option<[u8; 16]>,
}

impl StateFile {
    /// Opens the file of a state folder, takes the next generation and saves it.
    ///
    /// The generation is the last one plus one, or the seconds since 1970 if they are more. So it grows even when the last
    /// daemon could not save, and both methods of `hbgenmethod` come to the same. A missing, damaged or read-only file is
    /// reported in the warnings, because a daemon without a disk is better than none. Only a second daemon is an error.
    pub fn open(state: &Path) -> Result<OpenedState, InUse> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        open_at(
            state,
            Path::new(HEARTBEAT_STATE),
            since.unwrap_or_default().as_secs(),
        )
    }

    /// Saves the state. When it returns without an error, the state is on the disk. Blocks as long as the disk does.
    pub fn save(&self, kept: &PersistentState) -> io::Result<()> {
        let content = StateFileContent {
            uuid: self.uuid,
            kept: PersistentState {
                leases: BTreeMap::new(),
                identity: Identity::default(),
                ..kept.clone()
            },
        };
        let json = serde_json::to_string(&content)?;
        let text = format!("{MAGIC}{:08x}\n{json}", CRC.checksum(json.as_bytes()));
        replace_file(&self.path, text.as_bytes(), Durable::Yes)
    }
}

/// As [`StateFile::open`], with heartbeat's folder and the clock, in seconds since 1970.
fn open_at(state: &Path, heartbeat: &Path, clock: u64) -> Result<OpenedState, InUse> {
    let mut warnings = Vec::new();
    let lock = lock_folder(state, &mut warnings)?;
    let path = state.join("kept");
    let last = load_last(&path, &mut warnings);
    let known = [
        last.as_ref().map(|last| last.kept.generation.0),
        heartbeat_generation(heartbeat),
    ];
    let first = last.is_none();
    let LastState { mut kept, uuid } = last.unwrap_or_default();
    let uuid = uuid
        .or_else(|| heartbeat_uuid(heartbeat))
        .unwrap_or_else(|| random_uuid(&mut warnings));
    // The greatest of all: the node may have run heartbeat in between, or the last daemon may have had no disk to save to and
    // used the clock.
    let next = known
        .into_iter()
        .flatten()
        .map(|generation| generation.saturating_add(1));
    kept.generation = Generation(next.fold(clock, u64::max));
    let file = StateFile {
        path,
        uuid,
        _lock: lock,
    };
    if let Err(error) = file.save(&kept) {
        let what = if first { "write" } else { "replace" };
        let path = file.path.display();
        warnings.push(format!(
            "cannot {what} {path} ({error}): standby and maintenance are forgotten when this daemon ends, and its generation depends on the clock alone; check the permissions and the free space of the folder"
        ));
    }
    Ok(OpenedState {
        file,
        kept,
        uuid,
        warnings,
    })
}

/// Makes the state folder inaccessible to others and locks the file `lock` in it.
fn lock_folder(state: &Path, warnings: &mut Vec<String>) -> Result<Option<Flock<File>>, InUse> {
    let shown = state.display();
    if let Err(error) = fs::create_dir_all(state).and_then(|()| File::open(state).map(drop)) {
        warnings.push(format!("cannot use the state folder {shown}: {error}"));
        return Ok(None);
    }
    let private = match lock_file::make_folder_private(state) {
        Ok(before) => {
            if let Some((owner, mode)) = before.filter(|(owner, _)| *owner != geteuid().as_raw()) {
                warnings.push(format!(
                    "the state folder {shown} belonged to user {owner} (mode {mode:04o}); now only had can use it"
                ));
            }
            true
        }
        Err(error) => {
            warnings.push(format!(
                "cannot keep others out of the state folder {shown}: {error}"
            ));
            false
        }
    };
    let locked = match lock_file::lock_private(&state.join("lock"), || private) {
        // A read-only disk; the folder itself can be locked there.
        Err(LockError::Io(_)) => File::open(state)
            .map_err(LockError::from)
            .and_then(lock_file::lock),
        locked => locked,
    };
    match locked {
        Ok(lock) => Ok(Some(lock)),
        Err(LockError::Held(_)) if private => Err(InUse(state.to_owned())),
        // Anybody can hold it.
        Err(LockError::Held(_)) => Ok(None),
        Err(LockError::Io(error)) => {
            warnings.push(format!("cannot lock the state folder {shown}: {error}"));
            Ok(None)
        }
    }
}

/// Reads the file; none when it is missing or unusable.
fn load_last(path: &Path, warnings: &mut Vec<String>) -> Option<LastState> {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            let path = path.display();
            warnings.push(format!(
                "cannot read {path} ({error}): standby and maintenance from before are unknown, and so is what a silent node may still run on shared storage"
            ));
            return None;
        }
    };
    match parse(&text) {
        Ok(content) => Some(LastState {
            kept: content.kept,
            uuid: Some(content.uuid),
        }),
        Err(why) => {
            let kept_as = match set_aside(path) {
                Ok(aside) => format!("it was renamed to {}", aside.display()),
                Err(error) => format!("it cannot be renamed ({error})"),
            };
            warnings.push(format!(
                "{} is damaged ({why}); {kept_as}. Starting with a new one: the generation comes from the clock; standby, maintenance and what a silent node may still run on shared storage are forgotten",
                path.display()
            ));
            None
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<StateFileContent, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let (head, json) = text.split_once('\n').ok_or("it ends too soon")?;
    let sum = head
        .strip_prefix(MAGIC)
        .ok_or("its first line is not of this version")?;
    if u32::from_str_radix(sum, 16) != Ok(CRC.checksum(json.as_bytes())) {
        return Err("its checksum is wrong".to_owned());
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// The last generation that heartbeat used on this node, so that the generation of a migrated node keeps growing.
fn heartbeat_generation(folder: &Path) -> Option<u64> {
    let text = read_regular(&folder.join("hb_generation"), 64).ok()?;
    text.trim().parse().ok()
}

/// The UUID that heartbeat used on this node.
fn heartbeat_uuid(folder: &Path) -> Option<[u8; 16]> {
    let bytes = read(&folder.join("hb_uuid")).ok()?;
    let uuid: [u8; 16] = bytes.try_into().ok()?;
    (uuid != [0; 16]).then_some(uuid)
}

fn random_uuid(warnings: &mut Vec<String>) -> [u8; 16] {
    let mut uuid = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut uuid));
    if let Err(error) = read {
        warnings.push(format!(
            "cannot read /dev/urandom ({error}): this node has no UUID"
        ));
    }
    uuid
}

#[cfg(test)]
mod tests;
