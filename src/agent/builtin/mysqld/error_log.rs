//! The server's error log: where its output goes, and where the reason stands when it does not start.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::{User, fchown};

/// How much of its end is looked at.
const LOOKED_AT: u64 = 16 * 1024;
/// How many lines an error shows.
const SHOWN: usize = 5;

/// The log, open for appending, and how long it was.
pub struct ErrorLog {
    /// The file.
    pub file: File,
    begun_at: u64,
}

impl ErrorLog {
    /// Opens it, or makes one that belongs to `user`. Its folder belongs to that user too, who could put a link
    /// there: none is followed, and nothing but a plain file is opened.
    pub fn open(path: &Path, user: &str) -> io::Result<ErrorLog> {
        let mut options = OpenOptions::new();
        options.append(true).read(true);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = match options.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let file = options.create_new(true).mode(0o640).open(path)?;
                if let Ok(Some(user)) = User::from_name(user) {
                    fchown(&file, Some(user.uid), Some(user.gid))?;
                }
                file
            }
            other => other?,
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is no plain file",
            ));
        }
        Ok(ErrorLog {
            begun_at: meta.len(),
            file,
        })
    }

    /// What was written since it was opened: the lines that say what went wrong, or else the last.
    pub fn tail(&mut self) -> String {
        let end = self.file.seek(SeekFrom::End(0)).unwrap_or_default();
        let from = self.begun_at.max(end.saturating_sub(LOOKED_AT));
        let mut bytes = Vec::new();
        let read = self
            .file
            .seek(SeekFrom::Start(from))
            .and_then(|_| (&self.file).take(LOOKED_AT).read_to_end(&mut bytes));
        match read {
            Ok(0) => "nothing was written to its error log".to_owned(),
            Ok(_) => worst(&String::from_utf8_lossy(&bytes)),
            Err(e) => format!("its error log cannot be read: {e}"),
        }
    }
}

fn worst(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|l| !l.is_empty());
    let errors: Vec<&str> = lines().filter(|l| l.contains("ERROR")).collect();
    let chosen = if errors.is_empty() {
        lines().collect()
    } else {
        errors
    };
    let from = chosen.len().saturating_sub(SHOWN);
    chosen.get(from..).unwrap_or_default().join(" | ")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_what_is_new_is_shown_errors_before_all_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("error.log");
        std::fs::write(&path, "[ERROR] of yesterday\n").unwrap();
        let mut log = ErrorLog::open(&path, "nobody").unwrap();
        assert_eq!(log.tail(), "nothing was written to its error log");
        writeln!(&log.file, "[Note] starting\n\n[Note] second").unwrap();
        assert_eq!(log.tail(), "[Note] starting | [Note] second");
        writeln!(&log.file, "[ERROR] no room\n[Note] end").unwrap();
        assert_eq!(log.tail(), "[ERROR] no room");
    }

    #[test]
    fn a_link_in_the_place_of_the_log_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("error.log"), dir.path().join("victim"));
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(ErrorLog::open(&path, "nobody").is_err());
        assert!(!victim.exists());
    }
}
