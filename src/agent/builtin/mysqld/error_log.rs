//! The server's error log: it gets the output of the server, and tells why a server did not start.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::{User, fchown};

/// How many bytes of its end are read.
const MAX_TAIL_BYTES: u64 = 16 * 1024;
/// How many lines an error shows.
const SHOWN_LINES: usize = 5;

/// The log, open for appending, and its length when it was opened.
pub struct ErrorLog {
    /// The file.
    pub file: File,
    begun_at: u64,
}

impl ErrorLog {
    /// Opens it, or creates one that belongs to `user`. That user owns its folder too and could put a link there, so links are
    /// not followed and only a regular file is opened.
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
                "it is not a regular file",
            ));
        }
        Ok(ErrorLog {
            begun_at: meta.len(),
            file,
        })
    }

    /// What was written since it was opened: the lines with errors, or else the last lines.
    pub fn tail(&mut self) -> String {
        let end = self.file.seek(SeekFrom::End(0)).unwrap_or_default();
        let from = self.begun_at.max(end.saturating_sub(MAX_TAIL_BYTES));
        let mut bytes = Vec::new();
        let read = self
            .file
            .seek(SeekFrom::Start(from))
            .and_then(|_| (&self.file).take(MAX_TAIL_BYTES).read_to_end(&mut bytes));
        match read {
            Ok(0) => "nothing was written to its error log".to_owned(),
            Ok(_) => error_lines(&String::from_utf8_lossy(&bytes)),
            Err(e) => format!("its error log cannot be read: {e}"),
        }
    }
}

fn error_lines(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|l| !l.is_empty());
    let errors: Vec<&str> = lines().filter(|l| l.contains("ERROR")).collect();
    let chosen = if errors.is_empty() {
        lines().collect()
    } else {
        errors
    };
    let from = chosen.len().saturating_sub(SHOWN_LINES);
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
