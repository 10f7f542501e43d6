//! Reads files that belong to others: pid files, password files, configuration. Somebody may have put a pipe or a device in
//! their place, and an ordinary open of a pipe waits for ever. A disk or server that is gone can hang even so: where that
//! must not be waited for, a thread that can be abandoned calls this.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::Path;

/// The content of a regular file of at most `max` bytes. Bytes that are not UTF-8 are replaced. Never waits for another
/// process.
///
/// # Errors
/// The system's, that it is no regular file, or that it is longer.
pub fn read_regular(path: &Path, max: u64) -> io::Result<String> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let text = format!("it is longer than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The same of a file with a secret: nobody but its owner, who is root or this user, may read or write it.
///
/// # Errors
/// As [`read_regular`], and that others may read or write it.
pub fn read_secret(path: &Path, max: u64) -> io::Result<String> {
    let meta = open_regular(path)?.metadata()?;
    let refuse = |text: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return refuse(format!(
            "group or others can read or write it (mode {mode:04o}): chmod 600 it"
        ));
    }
    if meta.uid() != 0 && meta.uid() != nix::unistd::geteuid().as_raw() {
        return refuse("it belongs to another user: chown it to root".to_owned());
    }
    read_regular(path, max)
}

/// Opens a regular file, and waits for no pipe.
///
/// # Errors
/// The system's, or that it is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is not a regular file",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_a_folder_and_a_device_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [pipe.as_path(), dir.path(), Path::new("/dev/zero")] {
            let error = read_regular(path, 10).unwrap_err().to_string();
            assert_eq!(error, "it is not a regular file", "{}", path.display());
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"12345678\xff").unwrap();
        assert_eq!(read_regular(&path, 9).unwrap(), "12345678\u{fffd}");
        let error = read_regular(&path, 8).unwrap_err().to_string();
        assert_eq!(error, "it is longer than 8 bytes");
        let missing = read_regular(&dir.path().join("none"), 8).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
