//! Decides whether a script may be run as root: only root can change it and every folder on the way to it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::text::Mistake;

/// Write permission for group or others.
const OTHERS_WRITE: u32 = 0o022;
/// In a folder with this bit, as /tmp, nobody can replace files of others.
const STICKY: u32 = 0o1000;
const EXECUTABLE: u32 = 0o111;

/// Checks that a file passes [`only_root_writes`] and is executable.
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
    Ok(())
}

/// Checks that a regular file, and each folder above it, belongs to root and is writable by root alone. Symbolic links are
/// followed; then both the path as written and the real one are checked.
pub fn only_root_writes(path: &Path) -> Result<fs::Metadata, Mistake> {
    let cannot = |e| Mistake::new(format!("cannot read {}: {e}", path.display()));
    let real = fs::canonicalize(path).map_err(cannot)?;
    for way in [path, real.as_path()] {
        for component in way.ancestors().filter(|p| !p.as_os_str().is_empty()) {
            component_is_safe(component)?;
        }
    }
    let meta = fs::metadata(&real).map_err(cannot)?;
    if !meta.is_file() {
        return Err(Mistake::new(format!("{} is not a file", path.display())));
    }
    Ok(meta)
}

fn component_is_safe(path: &Path) -> Result<(), Mistake> {
    let shown = path.display();
    let meta = fs::metadata(path).map_err(|e| Mistake::new(format!("cannot read {shown}: {e}")))?;
    let mode = meta.mode() & 0o7777;
    if meta.uid() != 0 {
        let owner = meta.uid();
        return Err(Mistake::new(format!(
            "{shown} belongs to user {owner} (mode {mode:04o}), who could change what runs as root"
        ))
        .help(format!("chown root {shown}")));
    }
    let sticky = meta.is_dir() && mode & STICKY != 0;
    if mode & OTHERS_WRITE != 0 && !sticky {
        return Err(Mistake::new(format!(
            "{shown} can be written by users other than root (mode {mode:04o}), who could change what runs as root"
        ))
        .help(format!("chmod go-w {shown}")));
    }
    Ok(())
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

    #[test]
    fn a_script_that_is_not_executable_gets_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let mistake = check(&script(dir.path(), 0o644)).unwrap_err();
        assert!(mistake.message.contains("not executable"));
        assert!(mistake.help.unwrap().starts_with("chmod 755"));
    }
}
