//! Lock files that only this user can open. Whoever can open a file can also lock it, and would then keep a daemon from
//! starting.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::unistd::geteuid;

/// Why a file is not locked.
#[derive(Debug)]
pub enum LockError {
    /// Another process has locked it. The file is open for reading.
    Held(File),
    /// The system refuses.
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        LockError::Io(error)
    }
}

/// Locks the file at `path`, which is made with mode 0600 when missing. The folder must be ours.
///
/// A file that others could open until now may be locked by one of them. Then `in_use` decides: if it says no, a new file
/// takes its place.
pub fn lock_private(path: &Path, in_use: impl Fn() -> bool) -> Result<Flock<File>, LockError> {
    let file = open(path)?;
    let meta = file.metadata()?;
    if is_private(&meta) {
        return lock(file);
    }
    let ours = meta.uid() == geteuid().as_raw();
    if ours {
        // The same file, because an older daemon may hold it.
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    match lock(file) {
        Ok(locked) if ours => Ok(locked),
        Err(LockError::Held(file)) if in_use() => Err(LockError::Held(file)),
        Ok(_) | Err(LockError::Held(_)) => {
            fs::remove_file(path)?;
            lock(open(path)?)
        }
        Err(error) => Err(error),
    }
}

/// Makes a folder ours and inaccessible to others. Returns the owner and the mode that it had, if that was necessary.
pub fn make_folder_private(folder: &Path) -> io::Result<Option<(u32, u32)>> {
    let meta = fs::metadata(folder)?;
    if is_private(&meta) {
        return Ok(None);
    }
    if meta.uid() != geteuid().as_raw() {
        chown(folder, Some(geteuid().as_raw()), None)?;
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    Ok(Some((meta.uid(), meta.mode() & 0o7777)))
}

/// Locks an open file or folder.
pub fn lock(file: File) -> Result<Flock<File>, LockError> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(locked) => Ok(locked),
        Err((file, Errno::EWOULDBLOCK)) => Err(LockError::Held(file)),
        Err((_, errno)) => Err(LockError::Io(errno.into())),
    }
}

/// Whether it is ours, and nobody else may open it.
fn is_private(meta: &Metadata) -> bool {
    meta.uid() == geteuid().as_raw() && meta.mode().trailing_zeros() >= 6
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn nobody_else_can_open_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock_private(&path, || true).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(matches!(
            lock_private(&path, || false),
            Err(LockError::Held(_))
        ));
        drop(held);
        assert!(lock_private(&path, || true).is_ok());
    }

    #[test]
    fn a_lock_on_a_file_that_everybody_could_open_is_no_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let strangers = File::open(&path).unwrap();
        let _held = Flock::lock(strangers, FlockArg::LockShared).unwrap();
        assert!(lock_private(&path, || false).is_ok());
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_daemon_that_holds_such_a_file_is_respected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let _held = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusiveNonblock);
        assert!(matches!(
            lock_private(&path, || true),
            Err(LockError::Held(_))
        ));
    }

    #[test]
    fn a_folder_becomes_private_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        chown(path, Some(65534), None).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(make_folder_private(path).unwrap(), Some((65534, 0o1777)));
        assert_eq!((fs::metadata(path).unwrap().uid(), mode(path)), (0, 0o700));
        assert_eq!(make_folder_private(path).unwrap(), None);
    }
}
