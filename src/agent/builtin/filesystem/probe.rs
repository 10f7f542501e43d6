//! Checks whether a mounted file system can be read and written. A separate process does it: one that hangs inside the kernel
//! can be abandoned and, unlike a thread, does not keep the daemon from being restarted.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tokio::process::Command;

use crate::agent::exec::supervise::{self, Ended, Streams};
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};

/// Writes a new file to the disk and removes it. `conv=excl` refuses a file that a user of the file system may have put in its
/// place. With a device, its first block is read without caches; otherwise the directory is read.
const SCRIPT: &str = r#"
file=$1/.had-probe
if [ "$3" = rw ]; then
    rm -f -- "$file" || exit 1
    dd if=/dev/zero of="$file" bs=512 count=1 conv=excl,fsync status=none || { code=$?; rm -f -- "$file"; exit "$code"; }
    rm -f -- "$file" || exit 1
fi
if [ -n "$2" ]; then
    exec dd if="$2" of=/dev/null bs=4096 count=1 iflag=direct status=none
fi
exec ls -a -- "$1" >/dev/null
"#;

/// The state of a mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountHealth {
    /// It can be read and, unless it is read-only, written.
    Well,
    /// It is full. That counts as well: a failover would not change it.
    Full(String),
}

/// Runs the probe. While a run hangs it starts no other.
#[derive(Default)]
pub struct MountProbe {
    /// The process group that hangs.
    hanging: Mutex<Option<i32>>,
}

impl MountProbe {
    /// Probes once.
    pub async fn run(
        &self,
        directory: &Path,
        device: Option<&Path>,
        writes: bool,
        limits: &Limits,
    ) -> Result<MountHealth, AgentError> {
        let shown = directory.display();
        if let Some(group) = self.still_hanging() {
            return Err(AgentError::TimedOut(format!(
                "{shown}: an earlier read or write (process group {group}) still hangs inside the kernel: its disk or server does not answer, see dmesg"
            )));
        }
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "had-probe"]).arg(directory);
        command.arg(device.unwrap_or(Path::new("")));
        command.arg(if writes { "rw" } else { "ro" });
        command.current_dir("/").env_clear();
        command.envs([("PATH", system_tool::PATH), ("LC_ALL", "C")]);
        let report = supervise::run(command, Streams::Merged, limits)
            .await
            .map_err(|e| AgentError::Failed(format!("cannot probe {shown}: {e}")))?;
        let message = report.output.last_lines(3);
        match report.ended {
            Ended::Exited(status) if status.success() => Ok(MountHealth::Well),
            Ended::Exited(_) if is_full(&message) => Ok(MountHealth::Full(message)),
            Ended::Exited(_) => Err(AgentError::Failed(format!(
                "{shown} is mounted but cannot be read or written: {message}"
            ))),
            Ended::Aborted => Err(AgentError::Failed(format!(
                "the probe of {shown} was aborted"
            ))),
            Ended::TimedOut => Err(AgentError::TimedOut(format!(
                "{shown}: a read or write timed out"
            ))),
            Ended::Unkillable => {
                *self.hanging() = report.group;
                Err(AgentError::TimedOut(format!(
                    "{shown}: a read or write hangs inside the kernel: its disk or server does not answer, see dmesg"
                )))
            }
        }
    }

    fn hanging(&self) -> std::sync::MutexGuard<'_, Option<i32>> {
        self.hanging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn still_hanging(&self) -> Option<i32> {
        let mut hanging = self.hanging();
        *hanging = hanging.filter(|group| supervise::has_living(*group));
        *hanging
    }
}

/// Whether an error message in the C locale says that there is no space.
fn is_full(message: &str) -> bool {
    message.contains("No space left on device") || message.contains("Disk quota exceeded")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::agent::Abort;

    async fn look(directory: &Path, writes: bool) -> Result<MountHealth, AgentError> {
        let limits = Limits::within(Duration::from_secs(60), &Abort::new());
        MountProbe::default()
            .run(directory, None, writes, &limits)
            .await
    }

    #[tokio::test]
    async fn a_look_leaves_nothing_behind_and_overwrites_nothing_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        std::fs::write(&precious, "data").unwrap();
        std::os::unix::fs::symlink(&precious, dir.path().join(".had-probe")).unwrap();
        assert_eq!(look(dir.path(), true).await, Ok(MountHealth::Well));
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "data");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_no_success() {
        let gone = Path::new("/nonexistent/folder");
        for writes in [true, false] {
            let error = look(gone, writes).await.unwrap_err().to_string();
            assert!(error.contains("cannot be read or written"), "{error}");
            assert!(error.contains("No such file"), "{error}");
        }
    }
}
