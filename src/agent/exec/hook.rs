//! Programs that are told what has happened: `notify` of ha.cf, and heartbeat's `rc.d/status`. They change nothing that is
//! decided; one that fails is logged, one that hangs is ended.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::agent::exec::blocking;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::safe_path;
use crate::agent::exec::supervise::{self, Ended, Streams};
use crate::agent::{Abort, Limits};
use crate::text::Mistake;

/// How long a look at files may take; a disk that is gone never answers.
const LOOK: Duration = Duration::from_secs(10);
/// How many of its last lines are shown.
const SHOWN: usize = 2;
/// Ends of names that editors and package managers leave beside the file that is meant.
const LEFT_OVER: [&str; 7] = [
    ".bak",
    ".orig",
    ".rej",
    ".swp",
    ".dpkg-old",
    ".dpkg-dist",
    ".dpkg-new",
];
/// What heartbeat's own scripts call: programs that take resources over behind our back.
const NOT_OURS: [&str; 3] = ["mach_down", "ResourceManager", "req_resource"];

/// A program, or a folder of them, and how long each may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where.
    pub path: PathBuf,
    /// The deadline of each program.
    pub timeout: Duration,
}

impl Hook {
    /// The programs in the order in which they are run: by their names. A file that is not executable, or was left over
    /// by an editor, is none.
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
            let left = name.starts_with('.')
                || name.ends_with('~')
                || LEFT_OVER.iter().any(|end| name.ends_with(end));
            let runs = fs::metadata(&path)
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
            if runs && !left {
                programs.push(path);
            }
        }
        programs.sort();
        Ok(programs)
    }

    /// The same, in a thread that is given up when the folder hangs.
    ///
    /// # Errors
    /// What an administrator is told.
    pub async fn listed(&self) -> Result<Vec<PathBuf>, String> {
        let limits = Limits::within(LOOK, &Abort::new());
        let hook = self.clone();
        let looked = blocking::within(&limits, "read it", move || hook.programs()).await;
        let read = looked.map_err(|e| e.to_string())?;
        read.map_err(|e| format!("cannot read it: {e}"))
    }

    /// What is wrong with it on this node, before it is ever run.
    ///
    /// # Errors
    /// All mistakes, for an administrator.
    pub fn judge(&self) -> Result<Vec<PathBuf>, Vec<Mistake>> {
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

/// Heartbeat's `rc.d/status`, where an administrator has written one.
///
/// # Errors
/// One that is not run: that of heartbeat's package would take resources over by itself; or one that cannot be read.
pub fn status_script(env: &ScriptEnv) -> Result<Option<Hook>, (PathBuf, Mistake)> {
    const TIMEOUT: Duration = Duration::from_secs(30);
    let path = env.config_dir.join("rc.d/status");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(e) => {
            let mistake = Mistake::new(format!("it cannot be read, so it is not run: {e}"));
            return Err((path, mistake));
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    if NOT_OURS.iter().any(|name| text.contains(name)) {
        let message = "heartbeat's own script is not run: it would take resources over by itself";
        let mistake = Mistake::new(message.to_owned());
        return Err((
            path,
            mistake.help("remove it, or write one that only tells"),
        ));
    }
    let timeout = TIMEOUT;
    Ok(Some(Hook { path, timeout }))
}

/// Runs one program with these variables beside those of resource scripts. An error is what an administrator is told.
///
/// # Errors
/// When it cannot be run, ends with another exit code than 0, or does not end in time.
pub async fn run(
    program: &Path,
    words: &[(&'static str, String)],
    timeout: Duration,
    env: &ScriptEnv,
) -> Result<(), String> {
    let path = program.to_owned();
    let look = Limits::within(LOOK, &Abort::new());
    let looked = blocking::within(&look, "look at it", move || safe_path::check(&path)).await;
    looked.map_err(|e| e.to_string())?.map_err(|m| m.message)?;
    let mut command = Command::new(program);
    env.prepare(&mut command);
    command.envs(words.iter().map(|(name, value)| (name, value)));
    let limits = Limits::within(timeout, &Abort::new());
    let report = supervise::run(command, Streams::Merged, &limits)
        .await
        .map_err(|e| format!("cannot be run: {e}"))?;
    let said = report.output.last_lines(SHOWN);
    let with = |how: String| match said.as_str() {
        "" => how,
        said => format!("{how}: {said}"),
    };
    match report.ended {
        Ended::Exited(status) if status.success() => Ok(()),
        Ended::Exited(status) => Err(match status.code() {
            Some(code) => with(format!("ended with exit code {code}")),
            None => with("was killed by a signal".to_owned()),
        }),
        Ended::TimedOut => Err(with(format!("took more than {timeout:?} and was ended"))),
        Ended::Aborted => Err(with("was ended by order".to_owned())),
        Ended::Unkillable => Err(with("hangs inside the kernel".to_owned())),
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
    fn a_folder_is_run_by_name_without_what_is_none() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [
            ("20-log", 0o755),
            ("10-mail.sh", 0o755),
            ("README", 0o644),
            (".hidden", 0o755),
            ("10-mail.sh~", 0o755),
            ("20-log.dpkg-old", 0o755),
        ] {
            put(&dir.path().join(name), "", mode);
        }
        fs::create_dir(dir.path().join("30-folder")).unwrap();
        let wanted = ["10-mail.sh", "20-log"].map(|name| dir.path().join(name));
        assert_eq!(hook(dir.path()).programs().unwrap(), wanted);
        assert_eq!(hook(dir.path()).judge().unwrap(), wanted);
        assert_eq!(hook(&wanted[1]).programs().unwrap(), wanted[1..]);
        put(&wanted[1], "", 0o777);
        assert_eq!(hook(dir.path()).judge().unwrap_err().len(), 1);
        assert!(hook(&dir.path().join("none")).judge().is_err());
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
    async fn what_goes_wrong_is_said_in_its_own_words() {
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
        let wrong = "ended with exit code 3: no such mailbox";
        let bad = "#!/bin/sh\necho no such mailbox; exit 3\n";
        assert_eq!(run(bad, 60_000).await, Err(wrong.to_owned()));
        let hung = run("#!/bin/sh\nsleep 600 & wait\n", 50).await;
        assert_eq!(hung, Err("took more than 50ms and was ended".to_owned()));
    }
}
