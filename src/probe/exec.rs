//! `exec PATH ARG...`: a program that exits with 0 when all is well. Whatever it prints is shown.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::process::Command;

use crate::agent::Limits;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::supervise::{self, Ended, Streams};

/// How many of its last lines are shown.
const SHOWN: usize = 2;

/// A program with its arguments.
pub(super) struct Exec {
    path: PathBuf,
    args: Vec<String>,
    env: Arc<ScriptEnv>,
}

impl Exec {
    pub fn new(path: PathBuf, args: Vec<String>, env: Arc<ScriptEnv>) -> Self {
        Exec { path, args, env }
    }

    pub async fn look(&self, limits: &Limits) -> Result<String, String> {
        let mut command = Command::new(&self.path);
        command.args(&self.args);
        self.env.prepare(&mut command);
        let path = self.path.display();
        let report = supervise::run(command, Streams::Merged, limits)
            .await
            .map_err(|e| format!("cannot run {path}: {e}"))?;
        let said = report.output.last_lines(SHOWN);
        let with = |how: &str| match said.as_str() {
            "" => how.to_owned(),
            said => format!("{said} ({how})"),
        };
        match report.ended {
            Ended::Exited(status) if status.success() && said.is_empty() => {
                Ok("exit code 0".to_owned())
            }
            Ended::Exited(status) if status.success() => Ok(said),
            Ended::Exited(status) => Err(match status.code() {
                Some(code) => with(&format!("exit code {code}")),
                None => with("killed by a signal"),
            }),
            Ended::TimedOut => Err(with("no end in time")),
            Ended::Aborted => Err(with("ended by order")),
            Ended::Unkillable => Err(with("it hangs inside the kernel")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::within;
    use super::*;
    use crate::model::NodeName;

    fn sh(script: &str) -> Exec {
        let env = Arc::new(ScriptEnv::new(NodeName::new("a"), "/etc/ha.d"));
        Exec::new("/bin/sh".into(), vec!["-c".into(), script.into()], env)
    }

    #[tokio::test]
    async fn the_exit_code_judges_and_the_output_is_shown() {
        for (script, wanted) in [
            ("echo 3 s behind", Ok("3 s behind")),
            ("exit 0", Ok("exit code 0")),
            ("exit 7", Err("exit code 7")),
            ("echo 30 s behind; exit 1", Err("30 s behind (exit code 1)")),
            ("echo no >&2; exit 1", Err("no (exit code 1)")),
            ("kill -9 $$", Err("killed by a signal")),
        ] {
            let seen = sh(script).look(&within(60)).await;
            let wanted = wanted.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(seen, wanted, "{script}");
        }
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_all_it_started() {
        let limits = Limits::within(
            std::time::Duration::from_millis(50),
            &crate::agent::Abort::new(),
        );
        let seen = sh("echo begins; sleep 600 & wait").look(&limits).await;
        assert_eq!(seen, Err("begins (no end in time)".to_owned()));
    }
}
