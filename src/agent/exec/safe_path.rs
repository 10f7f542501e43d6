//! Decides whether a file may be trusted as root trusts it, like `StrictModes` of sshd: only root, or the user that runs this
//! program, can change it and every folder and symbolic link on the way to it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::unistd::geteuid;

use super::program;
use crate::text::Mistake;

/// Write permission for group or others.
const OTHERS_WRITE: u32 = 0o022;
/// In a folder with this bit, as /tmp, nobody can replace files of others.
const STICKY: u32 = 0o1000;
const EXECUTABLE: u32 = 0o111;
/// As many as the kernel follows.
const MAX_LINKS: usize = 40;
/// The owner that the kernel shows for users that a user namespace does not have.
const OVERFLOW_UID: u32 = 65534;

/// Checks that a file passes [`only_root_writes`] and can be executed.
pub fn check(path: &Path) -> Result<(), Mistake> {
    let meta = only_root_writes(path)?;
    if meta.mode() & EXECUTABLE == 0 {
        return Err(Mistake::new(format!(
            "{} is not executable (mode {:04o})",
            path.display(),
            meta.mode() & 0o7777
        ))
        .help(format!("chmod 755 {}", path.display())));
    }
    program::check(path).map(drop)
}

/// Checks that a regular file, each folder above it, and each symbolic link on the way belongs to root or to us, and that the
/// file and the folders are writable by the owner alone.
pub fn only_root_writes(path: &Path) -> Result<fs::Metadata, Mistake> {
    let cannot = |e| Mistake::new(format!("cannot read {}: {e}", path.display()));
    let whole = std::path::absolute(path).map_err(cannot)?;
    let mut links = 0;
    // What is still to be walked, the next name last.
    let mut rest = names_backwards(&whole);
    let mut at = PathBuf::from("/");
    check_component(&at)?;
    while let Some(name) = rest.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(name);
        let meta = check_component(&next)?;
        if !meta.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            let message = format!("{} has too many symbolic links", path.display());
            return Err(Mistake::new(message));
        }
        let target = fs::read_link(&next).map_err(cannot)?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        rest.extend(names_backwards(&target));
    }
    let meta = fs::symlink_metadata(&at).map_err(cannot)?;
    if !meta.is_file() {
        return Err(Mistake::new(format!("{} is not a file", path.display())));
    }
    Ok(meta)
}

fn names_backwards(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|c| match c {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    names.collect()
}

/// Checks one file, folder or link, which is not followed.
fn check_component(path: &Path) -> Result<fs::Metadata, Mistake> {
    let shown = path.display();
    let meta = fs::symlink_metadata(path)
        .map_err(|e| Mistake::new(format!("cannot read {shown}: {e}")))?;
    let mode = meta.mode() & 0o7777;
    if !is_trusted_owner(meta.uid()) {
        let owner = meta.uid();
        return Err(Mistake::new(format!(
            "{shown} belongs to user {owner} (mode {mode:04o}), who could change what runs as root"
        ))
        .help(format!("chown root {shown}")));
    }
    let sticky = meta.is_dir() && mode & STICKY != 0;
    if mode & OTHERS_WRITE != 0 && !sticky && !meta.is_symlink() {
        return Err(Mistake::new(format!(
            "{shown} can be written by users other than root (mode {mode:04o}), who could change what runs as root"
        ))
        .help(format!("chmod go-w {shown}")));
    }
    Ok(meta)
}

fn is_trusted_owner(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw() || (uid == OVERFLOW_UID && !is_mapped(uid))
}

/// Whether this user namespace has that user. The lab of an ordinary user has no root of the machine: what belongs to root
/// there looks as if it belonged to nobody.
fn is_mapped(uid: u32) -> bool {
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else {
        return true;
    };
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map_while(|n| n.parse::<u64>().ok());
        let (Some(first), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next())
        else {
            return true;
        };
        (first..first.saturating_add(count)).contains(&u64::from(uid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::path::PathBuf;

    fn script(dir: &Path, mode: u32) -> PathBuf {
        let path = dir.join("script");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        set_mode(&path, mode);
        path
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_script_of_root_alone_is_safe() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check(&script(dir.path(), 0o755)), Ok(()));
    }

    #[test]
    fn the_error_names_the_component_its_owner_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), 0o775);
        let error = check(&path).unwrap_err().message;
        assert!(error.contains("script can be written by users"), "{error}");
        assert!(error.contains("mode 0775"), "{error}");

        set_mode(&path, 0o755);
        set_mode(dir.path(), 0o757);
        let error = check(&path).unwrap_err().message;
        let folder = dir.path().display().to_string();
        assert!(
            error.starts_with(&format!("{folder} can be written")),
            "{error}"
        );
    }

    #[test]
    fn somebody_elses_script_is_refused_through_a_link_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), 0o755);
        chown(&path, Some(1234), None).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let error = check(&link).unwrap_err().message;
        assert!(
            error.contains("belongs to user 1234 (mode 0755)"),
            "{error}"
        );
    }

    /// The link in the middle is neither in the path as written nor in the real one.
    #[test]
    fn a_link_through_a_folder_that_others_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let target = script(dir.path(), 0o755);
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        set_mode(&open, 0o777);
        let middle = open.join("middle");
        std::os::unix::fs::symlink(&target, &middle).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("open/middle", &link).unwrap();
        let error = check(&link).unwrap_err().message;
        assert!(
            error.starts_with(&format!("{} can be written", open.display())),
            "{error}"
        );
        // In a sticky folder nobody can replace what is ours, but others have links of their own there.
        set_mode(&open, 0o1777);
        assert_eq!(check(&link), Ok(()));
        std::os::unix::fs::lchown(&middle, Some(1234), None).unwrap();
        let error = check(&link).unwrap_err().message;
        assert!(error.contains("belongs to user 1234"), "{error}");
    }

    #[test]
    fn a_circle_of_links_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("../../..", dir.path().join("up")).unwrap();
        std::os::unix::fs::symlink("link", &link).unwrap();
        let error = check(&link).unwrap_err().message;
        assert!(error.contains("too many symbolic links"), "{error}");
        assert!(check(&dir.path().join("up/etc/passwd")).is_err());
        assert!(only_root_writes(&dir.path().join("up/../../../etc/passwd")).is_ok());
    }

    #[test]
    fn a_script_that_is_not_executable_gets_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let mistake = check(&script(dir.path(), 0o644)).unwrap_err();
        assert!(mistake.message.contains("not executable"));
        assert!(mistake.help.unwrap().starts_with("chmod 755"));
    }
}
