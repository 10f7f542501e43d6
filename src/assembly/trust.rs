//! Whether others could change what the daemon does as root: the files of the configuration, and the children of `respawn`.
//! Resource scripts, notified programs and probes are checked where they are resolved.

use std::path::Path;

use nix::unistd::geteuid;

use crate::agent::exec::safe_path;
use crate::config::Respawn;
use crate::model::fence_device::{FenceDevice, OptionValue};
use crate::sys::foreign_file;
use crate::text::{Place, Problems};

/// The files of a configuration, all of which decide what runs as root.
const FILES: [&str; 3] = ["ha.cf", "haresources", "authkeys"];

/// The longest file with the value of a fence option.
const MAX_SECRET_BYTES: u64 = 4096;

/// Reports files of the folder that others can write, and folders on the way to it. To an ordinary user, who only checks the
/// files that are to be installed, that is a warning.
pub(super) fn judge_files(dir: &Path, report: &mut Problems) {
    for name in FILES {
        let path = dir.join(name);
        // A missing file, or one that is not regular, is already reported.
        if !path.is_file() {
            continue;
        }
        if let Err(mistake) = safe_path::only_root_writes(&path) {
            let (place, help) = (Place::whole(&path), mistake.help.unwrap_or_default());
            if geteuid().is_root() {
                report.error(&place, mistake.message, help);
            } else {
                report.warning(&place, mistake.message, help);
            }
        }
    }
}

/// Reports children of `respawn` that others can write.
pub(super) fn judge_children(children: &[Respawn], report: &mut Problems) {
    for child in children {
        let Some(program) = child.command.first() else {
            continue;
        };
        if let Err(mistake) = safe_path::check(Path::new(program)) {
            let help = mistake.help.unwrap_or_default();
            report.error(&child.place, mistake.message, help);
        }
    }
}

/// Reports fence agents that others can write, and files with secrets that others can read.
pub(super) fn judge_fencing(devices: &[FenceDevice], report: &mut Problems) {
    let levels = devices.iter().flat_map(|d| &d.levels);
    for part in levels.flat_map(|l| &l.parts) {
        if let Err(mistake) = safe_path::check(&part.program) {
            let help = mistake.help.unwrap_or_default();
            report.error(&part.place, mistake.message, help);
        }
        for (name, value) in &part.options {
            let OptionValue::File(path) = value else {
                continue;
            };
            if let Err(why) = foreign_file::read_secret(path, MAX_SECRET_BYTES) {
                let message = format!("{name}: cannot use {}: {why}", path.display());
                report.error(&part.place, message, "");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    fn files() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in FILES {
            let path = dir.path().join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        dir
    }

    fn judged(dir: &Path) -> String {
        let mut report = Problems::default();
        judge_files(dir, &mut report);
        report
            .to_string()
            .replace(&dir.display().to_string(), "DIR")
    }

    #[test]
    fn the_component_that_others_write_is_named() {
        let dir = files();
        assert_eq!(judged(dir.path()), "");
        let ha_cf = dir.path().join("ha.cf");
        fs::set_permissions(&ha_cf, Permissions::from_mode(0o664)).unwrap();
        assert_eq!(
            judged(dir.path()),
            "error: DIR/ha.cf: DIR/ha.cf can be written by users other than root (mode 0664), who could change what runs as root\n       = chmod go-w DIR/ha.cf\n"
        );
        fs::remove_file(&ha_cf).unwrap();
        chown(dir.path(), Some(1234), None).unwrap();
        let said = judged(dir.path());
        assert_eq!(
            said.matches("DIR belongs to user 1234").count(),
            2,
            "{said}"
        );
    }

    #[test]
    fn a_child_that_others_write_is_refused() {
        let dir = files();
        let program = dir.path().join("ha.cf");
        fs::set_permissions(&program, Permissions::from_mode(0o757)).unwrap();
        let child = Respawn {
            user: "root".into(),
            command: vec![program.display().to_string()],
            failfast: false,
            place: Place::whole(Path::new("ha.cf")),
        };
        let mut report = Problems::default();
        judge_children(&[child], &mut report);
        let said = report.to_string();
        assert!(said.starts_with("error: ha.cf: "), "{said}");
        assert!(said.contains("(mode 0757)"), "{said}");
    }
}
