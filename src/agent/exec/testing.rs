//! Programs that tests make and run.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Writes an executable file. It is copied into place by another process: a test that forks meanwhile would otherwise hold
/// the file open for writing, and then the kernel refuses to run it.
pub fn write_program(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    let copied = Command::new("cp").arg(&new).arg(path).status();
    assert!(copied.unwrap().success());
    fs::remove_file(&new).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
