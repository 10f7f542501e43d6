//! `exec PATH ARG...`: a program that exits with 0 if all is well. The last lines of its output are the result.

use std::path::PathBuf;
use std::sync::Arc;

use crate::agent::Limits;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::failure;
use crate::agent::exec::program;
use crate::agent::exec::supervise::{self, Ended, Streams};

/// How many of the last lines of output are shown.
const SHOWN_LINES: usize = 2;

/// A program with its arguments.
pub(super) struct ProgramProbe {
    path: PathBuf,
    args: Vec<String>,
    env: Arc<ScriptEnv>,
}

impl ProgramProbe {
    pub fn new(path: PathBuf, args: Vec<String>, env: Arc<ScriptEnv>) -> Self {
        ProgramProbe { path, args, env }
    }

    pub async fn run(&self, limits: &Limits) -> Result<String, String> {
        let mut command = program::command(&self.path);
        command.args(&self.args);
        self.env.prepare(&mut command);
        let path = self.path.display().to_string();
        let report = supervise::run(command, Streams::Merged, limits)
            .await
            .map_err(|e| format!("cannot run {path}: {e}"))?;
        let output = report.output.last_lines(SHOWN_LINES);
        match report.ended {
            Ended::Exited(status) if status.success() && output.is_empty() => {
                Ok("exit code 0".to_owned())
            }
            Ended::Exited(status) if status.success() => Ok(output),
            ended => Err(failure(&path, ended, &output).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::within;
    use super::*;
    use crate::model::NodeName;

    fn sh(script: &str) -> ProgramProbe {
        let env = Arc::new(ScriptEnv::new(NodeName::new("a"), "/etc/ha.d"));
        ProgramProbe::new("/bin/sh".into(), vec!["-c".into(), script.into()], env)
    }

    #[tokio::test]
    async fn the_exit_code_decides_and_the_output_is_shown() {
        for (script, wanted) in [
            ("echo 3 s behind", Ok("3 s behind")),
            ("exit 0", Ok("exit code 0")),
            ("exit 7", Err("/bin/sh failed with exit code 7")),
            (
                "echo 30 s behind; exit 1",
                Err("/bin/sh failed with exit code 1: 30 s behind"),
            ),
            (
                "echo no >&2; exit 1",
                Err("/bin/sh failed with exit code 1: no"),
            ),
            ("kill -9 $$", Err("/bin/sh was killed by signal 9")),
        ] {
            let seen = sh(script).run(&within(60)).await;
            let wanted = wanted.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(seen, wanted, "{script}");
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_all_it_started() {
        let limits = Limits::within(
            std::time::Duration::from_millis(50),
            &crate::agent::Abort::new(),
        );
        let seen = sh("echo begins; sleep 600 & wait").run(&limits).await;
        assert_eq!(
            seen,
            Err("/bin/sh timed out and was killed: begins".to_owned())
        );
    }
}
