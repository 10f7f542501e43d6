//! Programs that are notified of events: `notify` of ha.cf, and heartbeat's `rc.d/status`. They have no influence on
//! decisions. A failure is logged; a program that hangs is killed.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::exec::blocking::{run_apart, run_blocking};
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::failure;
use crate::agent::exec::program;
use crate::agent::exec::safe_path;
use crate::agent::exec::supervise::{self, Ended, Streams};
use crate::agent::{Abort, Limits};
use crate::sys::foreign_file::read_regular;
use crate::text::Mistake;

/// How long it may take to read files; a dead disk never answers.
const FILE_TIMEOUT: Duration = Duration::from_secs(10);
/// A longer `rc.d/status` is not run.
const MAX_SCRIPT_BYTES: u64 = 1 << 20;
/// How many of the last lines of output an error shows.
const SHOWN_LINES: usize = 2;
/// Suffixes of files that editors and package managers leave behind.
const LEFTOVER_SUFFIXES: [&str; 7] = [
    ".bak",
    ".orig",
    ".rej",
    ".swp",
    ".dpkg-old",
    ".dpkg-dist",
    ".dpkg-new",
];
/// Programs that heartbeat's own scripts call to take resources over. They must never run beside this daemon.
const TAKEOVER_PROGRAMS: [&str; 3] = ["mach_down", "ResourceManager", "req_resource"];

/// A program, or a folder of programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program or the folder.
    pub path: PathBuf,
    /// The deadline of each program.
    pub timeout: Duration,
}

impl Hook {
    /// The programs, sorted by name, which is the order in which they run. Files that are not executable, and leftovers of
    /// editors, do not count.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn programs(&self) -> io::Result<Vec<PathBuf>> {
        if !fs::metadata(&self.path)?.is_dir() {
            return Ok(vec![self.path.clone()]);
        }
        let mut programs = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let leftover = name.starts_with('.')
                || name.ends_with('~')
                || LEFTOVER_SUFFIXES.iter().any(|end| name.ends_with(end));
            let runs = fs::metadata(&path)
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
            if runs && !leftover {
                programs.push(path);
            }
        }
        programs.sort();
        Ok(programs)
    }

    /// The same as [`Hook::programs`], for a folder that may be on a dead disk.
    ///
    /// # Errors
    /// A text for an administrator.
    pub async fn list_programs(&self) -> Result<Vec<PathBuf>, String> {
        let limits = Limits::within(FILE_TIMEOUT, &Abort::new());
        let hook = self.clone();
        let done = run_blocking(&limits, "read it", move || hook.programs()).await;
        let read = done.map_err(|e| e.to_string())?;
        read.map_err(|e| format!("cannot read it: {e}"))
    }

    /// Checks that every program may be run on this node, and returns them.
    ///
    /// # Errors
    /// All mistakes, for an administrator.
    pub fn check_programs(&self) -> Result<Vec<PathBuf>, Vec<Mistake>> {
        let unreadable = |e| {
            let message = format!("cannot read {}: {e}", self.path.display());
            vec![Mistake::new(message)]
        };
        let programs = self.programs().map_err(unreadable)?;
        let unsafe_ones = programs.iter().filter_map(|p| safe_path::check(p).err());
        let mistakes: Vec<Mistake> = unsafe_ones.collect();
        if mistakes.is_empty() {
            Ok(programs)
        } else {
            Err(mistakes)
        }
    }
}

/// The script `rc.d/status`, if an administrator has written one.
///
/// # Errors
/// It cannot be read; or it is the one of heartbeat's package, which would take resources over by itself and is never run.
pub fn status_script(env: &ScriptEnv) -> Result<Option<Hook>, (PathBuf, Mistake)> {
    const TIMEOUT: Duration = Duration::from_secs(30);
    let path = env.config_dir.join("rc.d/status");
    let text = match read_regular(&path, MAX_SCRIPT_BYTES) {
        Ok(text) => text,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(e) => {
            let mistake = Mistake::new(format!("cannot be read, so it is not run: {e}"));
            return Err((path, mistake));
        }
    };
    if TAKEOVER_PROGRAMS.iter().any(|name| text.contains(name)) {
        let message = "heartbeat's own script is not run: it would take resources over by itself";
        let mistake = Mistake::new(message.to_owned());
        return Err((
            path,
            mistake.help("remove it, or write one that only notifies"),
        ));
    }
    let timeout = TIMEOUT;
    Ok(Some(Hook { path, timeout }))
}

/// Runs one program with these variables, besides those of resource scripts.
///
/// # Errors
/// It cannot be run, fails, or times out: a text for an administrator that names the program.
pub async fn run(
    path: &Path,
    variables: &[(&'static str, String)],
    timeout: Duration,
    env: &ScriptEnv,
) -> Result<(), String> {
    let limits = Limits::within(FILE_TIMEOUT, &Abort::new());
    let what = format!("read {}", path.display());
    let file = path.to_owned();
    let checked = run_blocking(&limits, &what, move || safe_path::check(&file)).await;
    checked.map_err(|e| e.to_string())?.map_err(|m| m.message)?;
    let mut command = program::command(path);
    env.prepare(&mut command);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let limits = Limits::within(timeout, &Abort::new());
    let name = path.display().to_string();
    let own_limits = limits.clone();
    // The program may be on a dead disk, too.
    let run = move || async move { supervise::run(command, Streams::Merged, &own_limits).await };
    let report = run_apart(&limits, &name, run)
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| format!("{name} cannot be run: {e}"))?;
    match report.ended {
        Ended::Exited(status) if status.success() => Ok(()),
        ended => {
            let output = report.output.last_lines(SHOWN_LINES);
            Err(failure(&name, ended, &output).to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeName;

    fn put(path: &Path, text: &str, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn hook(path: &Path) -> Hook {
        Hook {
            path: path.to_owned(),
            timeout: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_folder_runs_its_programs_by_name_and_no_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [
            ("20-log", 0o755),
            ("10-mail.sh", 0o755),
            ("README", 0o644),
            (".hidden", 0o755),
            ("10-mail.sh~", 0o755),
            ("20-log.dpkg-old", 0o755),
        ] {
            put(&dir.path().join(name), "#!/bin/sh\n", mode);
        }
        fs::create_dir(dir.path().join("30-folder")).unwrap();
        let wanted = ["10-mail.sh", "20-log"].map(|name| dir.path().join(name));
        assert_eq!(hook(dir.path()).programs().unwrap(), wanted);
        assert_eq!(hook(dir.path()).check_programs().unwrap(), wanted);
        assert_eq!(hook(&wanted[1]).programs().unwrap(), wanted[1..]);
        put(&wanted[1], "#!/bin/sh\n", 0o777);
        assert_eq!(hook(dir.path()).check_programs().unwrap_err().len(), 1);
        assert!(hook(&dir.path().join("none")).check_programs().is_err());
    }

    #[test]
    fn heartbeats_own_status_script_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let env = ScriptEnv::new(NodeName::new("a"), dir.path());
        assert_eq!(status_script(&env), Ok(None));
        let path = dir.path().join("rc.d/status");
        put(&path, "#!/bin/sh\nlogger $HA_src is $HA_st\n", 0o755);
        assert_eq!(status_script(&env).unwrap().unwrap().path, path);
        put(&path, "#!/bin/sh\n$HA_BIN/mach_down $HA_src\n", 0o755);
        let refused = |wanted: &str| {
            let (of, mistake) = status_script(&env).unwrap_err();
            assert_eq!(of, path);
            assert!(mistake.message.contains(wanted), "{}", mistake.message);
        };
        refused("would take resources over by itself");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refused("cannot be read");
    }

    #[tokio::test]
    async fn a_failure_names_the_program_and_its_output() {
        let dir = tempfile::tempdir().unwrap();
        let env = ScriptEnv::new(NodeName::new("a"), dir.path());
        let path = dir.path().join("hook");
        let run = async |text: &str, timeout| {
            put(&path, text, 0o755);
            let words = [("HA_NOTIFY_TO", "online".to_owned())];
            super::run(&path, &words, Duration::from_millis(timeout), &env).await
        };
        let good = "#!/bin/sh\n[ $HA_NOTIFY_TO-$HA_CURHOST = online-a ]\n";
        assert_eq!(run(good, 60_000).await, Ok(()));
        let name = path.display();
        let wrong = format!("{name} failed with exit code 3: no such mailbox");
        let bad = "#!/bin/sh\necho no such mailbox; exit 3\n";
        assert_eq!(run(bad, 60_000).await, Err(wrong));
        let hung = run("#!/bin/sh\nsleep 600 & wait\n", 50).await;
        assert_eq!(hung, Err(format!("{name} timed out and was killed")));
    }
}
