//! The small file on which ownership rests: `kept` in the state folder.
//!
//! ```text
//! had-kept 1 5d1b7c0a          version of the format, CRC-32 of all that follows this line
//! {"uuid":[..],"kept":{..}}
//! ```
//!
//! It is replaced as a whole and is on the disk before a new value is used. Losing it is survivable:
//! terms are learned from the peers and the generation comes from the clock. Then what an administrator
//! wished (standby, maintenance) is forgotten, and that is said.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{Durable, replace, set_aside};
use crate::engine::PersistentState;
use crate::model::Generation;

/// Where heartbeat keeps its generation and its identity.
const HEARTBEAT: &str = "/var/lib/heartbeat";
const MAGIC: &str = "had-kept 1 ";
/// A file longer than this is not ours.
const LONGEST: u64 = 16 * 1024 * 1024;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// The open file, and the lock that keeps a second daemon out of the state folder.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    uuid: [u8; 16],
    /// None where the folder could not be opened; then there is nothing to protect either.
    _lock: Option<Flock<File>>,
}

/// What [`StateFile::open`] gives.
#[derive(Debug)]
pub struct Opened {
    /// For saving.
    pub file: StateFile,
    /// With the generation of this life, and without leases ([`super::lease`] has them).
    pub kept: PersistentState,
    /// This node's identity.
    pub uuid: [u8; 16],
    /// What an administrator should know, a sentence each.
    pub warnings: Vec<String>,
}

/// Another daemon lives in the state folder.
#[derive(Debug, thiserror::Error)]
#[error("the state folder {} is in use by another had; end that one, or give each its own folder", .0.display())]
pub struct InUse(pub PathBuf);

#[derive(Serialize, Deserialize)]
struct Content {
    uuid: [u8; 16],
    kept: PersistentState,
}

/// What was found of the last life.
#[derive(Default)]
struct Found {
    kept: PersistentState,
    uuid: Option<[u8; 16]>,
}

impl StateFile {
    /// Opens the file of that state folder, takes the next generation (the last plus one, or the seconds since
    /// 1970 if they are more) and saves it. Whatever is missing,
    /// damaged or cannot be written is made up for and told in the warnings: a daemon without
    /// a disk is better than none. Only a second daemon is refused.
    pub fn open(state: &Path) -> Result<Opened, InUse> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        open(
            state,
            Path::new(HEARTBEAT),
            since.unwrap_or_default().as_secs(),
        )
    }

    /// Brings this to the disk; when it returns without error, it is there. Blocks as long as the disk does.
    pub fn save(&self, kept: &PersistentState) -> io::Result<()> {
        let content = Content {
            uuid: self.uuid,
            kept: PersistentState {
                leases: BTreeMap::new(),
                ..kept.clone()
            },
        };
        let json = serde_json::to_string(&content)?;
        let text = format!("{MAGIC}{:08x}\n{json}", CRC.checksum(json.as_bytes()));
        replace(&self.path, text.as_bytes(), Durable::Yes)
    }
}

/// As [`StateFile::open`], with all that it takes from its surroundings. `clock` is in seconds since 1970.
fn open(state: &Path, heartbeat: &Path, clock: u64) -> Result<Opened, InUse> {
    let mut warnings = Vec::new();
    let lock = lock(state, &mut warnings)?;
    let path = state.join("kept");
    let found = load(&path, &mut warnings);
    let known = [
        found.as_ref().map(|found| found.kept.generation.0),
        heartbeat_generation(heartbeat),
    ];
    let first = found.is_none();
    let Found { mut kept, uuid } = found.unwrap_or_default();
    let uuid = uuid
        .or_else(|| heartbeat_uuid(heartbeat))
        .unwrap_or_else(|| random_uuid(&mut warnings));
    // The greatest of all: a node may have gone back to heartbeat for a while, or its last life may have had
    // no disk to save to and taken the clock's.
    let next = known
        .into_iter()
        .flatten()
        .map(|last| last.saturating_add(1));
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
            "cannot {what} {path} ({error}): standby and maintenance will not outlive this daemon, and its generation rests on the clock alone; make the folder writable and see that its disk has room"
        ));
    }
    Ok(Opened {
        file,
        kept,
        uuid,
        warnings,
    })
}

/// Locks the folder itself, which works on a read-only disk, too.
fn lock(state: &Path, warnings: &mut Vec<String>) -> Result<Option<Flock<File>>, InUse> {
    let folder = fs::create_dir_all(state).and_then(|()| File::open(state));
    let locked = match folder {
        Ok(folder) => Flock::lock(folder, FlockArg::LockExclusiveNonblock),
        Err(error) => {
            let state = state.display();
            warnings.push(format!("cannot use the state folder {state}: {error}"));
            return Ok(None);
        }
    };
    match locked {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Err(InUse(state.to_owned())),
        Err((_, errno)) => {
            let state = state.display();
            warnings.push(format!("cannot lock the state folder {state}: {errno}"));
            Ok(None)
        }
    }
}

/// What is in the file; none when it is missing or of no use.
fn load(path: &Path, warnings: &mut Vec<String>) -> Option<Found> {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            let path = path.display();
            warnings.push(format!(
                "cannot read {path} ({error}): standby and maintenance of the last life are unknown"
            ));
            return None;
        }
    };
    match parse(&text) {
        Ok(content) => Some(Found {
            kept: content.kept,
            uuid: Some(content.uuid),
        }),
        Err(why) => {
            let place = match set_aside(path) {
                Ok(aside) => format!("it is now {}", aside.display()),
                Err(error) => format!("and cannot be set aside ({error})"),
            };
            warnings.push(format!(
                "{} is damaged ({why}), {place}; starting anew: the generation comes from the clock, standby and maintenance of the last life are forgotten",
                path.display()
            ));
            None
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<Content, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let (head, json) = text.split_once('\n').ok_or("it ends too soon")?;
    let sum = head
        .strip_prefix(MAGIC)
        .ok_or("its first line is not that of this release")?;
    if u32::from_str_radix(sum, 16) != Ok(CRC.checksum(json.as_bytes())) {
        return Err("its checksum is wrong".to_owned());
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// The last generation that heartbeat used on this node, so that a migrated node's keeps growing.
fn heartbeat_generation(folder: &Path) -> Option<u64> {
    let mut text = String::new();
    let file = File::open(folder.join("hb_generation")).ok()?;
    file.take(64).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The identity under which heartbeat's peers know this node.
fn heartbeat_uuid(folder: &Path) -> Option<[u8; 16]> {
    let bytes = read(&folder.join("hb_uuid")).ok()?;
    let uuid: [u8; 16] = bytes.try_into().ok()?;
    (uuid != [0; 16]).then_some(uuid)
}

fn random_uuid(warnings: &mut Vec<String>) -> [u8; 16] {
    let mut uuid = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut uuid));
    if let Err(error) = read {
        warnings.push(format!("cannot read /dev/urandom ({error}): no identity"));
    }
    uuid
}

#[cfg(test)]
mod tests;
