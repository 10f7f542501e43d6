//! When each group moved and was drilled last: the file `moves` in the state folder. It is for people. No decision depends on it,
//! so a lost or damaged file only makes these times unknown.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Durable, replace_file};
use crate::model::{GroupName, NodeName};
use crate::sys::foreign_file::read_regular;

/// We never write a longer file.
const MAX_BYTES: u64 = 1024 * 1024;

/// What is known of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastMove {
    /// The node that had it last.
    pub owner: Option<NodeName>,
    /// When another node had it than before, in milliseconds since 1970.
    pub switched_ms: Option<u64>,
    /// When it was drilled.
    pub drilled_ms: Option<u64>,
}

/// All groups that this node has known.
pub type LastMoves = BTreeMap<GroupName, LastMove>;

/// The file.
#[derive(Clone, Debug)]
pub struct MoveFile {
    path: PathBuf,
}

impl MoveFile {
    /// The file in a state folder.
    pub fn new(folder: &Path) -> Self {
        MoveFile {
            path: folder.join("moves"),
        }
    }

    /// What the last daemon wrote; nothing before the first one.
    ///
    /// # Errors
    /// A sentence that says why nothing is known.
    pub fn load(&self) -> Result<LastMoves, String> {
        let path = self.path.display();
        match read_regular(&self.path, MAX_BYTES) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| {
                format!("{path} is damaged ({e}): when groups moved before is not known")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LastMoves::new()),
            Err(error) => Err(format!(
                "cannot read {path} ({error}): when groups moved before is not known"
            )),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// The system's.
    pub fn save(&self, moves: &LastMoves) -> io::Result<()> {
        replace_file(&self.path, &serde_json::to_vec(moves)?, Durable::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_damage_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = MoveFile::new(folder.path());
        assert_eq!(file.load(), Ok(LastMoves::new()));
        let known = LastMove {
            owner: Some(NodeName::new("bob")),
            switched_ms: Some(7),
            drilled_ms: None,
        };
        let moves = LastMoves::from([(GroupName::new("10.0.0.1/24"), known)]);
        file.save(&moves).unwrap();
        assert_eq!(file.load(), Ok(moves));
        std::fs::write(folder.path().join("moves"), "{\"x\":").unwrap();
        assert!(file.load().is_err_and(|why| why.contains("damaged")));
        std::fs::remove_file(folder.path().join("moves")).unwrap();
        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&folder.path().join("moves"), mode).unwrap();
        assert!(
            file.load()
                .is_err_and(|why| why.contains("not a regular file"))
        );
    }
}
