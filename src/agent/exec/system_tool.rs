//! Runs a program of the system (`mount`, `umount`, `fsck`, a database client) and returns its output.

use std::ffi::OsStr;
use std::path::Path;

use tokio::process::Command;

use crate::agent::exec::failure;
use crate::agent::exec::supervise::{self, Ended, Streams};
use crate::agent::{AgentError, Limits};

/// Where the system's programs are.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How many of the last lines of output an error shows.
const SHOWN_LINES: usize = 5;

/// What a program that ended by itself left.
#[derive(Debug)]
pub struct ToolOutput {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// The last lines of standard error, or of standard output if there are none, joined into one line.
    pub message: String,
    ended: Ended,
}

impl ToolOutput {
    /// The error where the exit code is not the one that was wanted; `what` names the program.
    pub fn failure(&self, what: &str) -> AgentError {
        failure(what, self.ended, &self.message)
    }
}

/// Runs a program to its end in a clean environment, with English messages. Any exit code is a success here; an error means
/// that there is none.
pub async fn run<A: AsRef<OsStr>>(
    program: &str,
    args: &[A],
    limits: &Limits,
) -> Result<ToolOutput, AgentError> {
    run_command(command(program, args), program, limits).await
}

/// The command of [`run`], to be changed before [`run_command`].
pub fn command<A: AsRef<OsStr>>(program: &str, args: &[A]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir("/").env_clear();
    // The client of a database looks for root's own settings in $HOME.
    command.envs([("PATH", PATH), ("LC_ALL", "C"), ("HOME", "/root")]);
    command
}

/// The same as [`run`]; `program` names the command in errors.
pub async fn run_command(
    command: Command,
    program: &str,
    limits: &Limits,
) -> Result<ToolOutput, AgentError> {
    let report = supervise::run(command, Streams::Split, limits)
        .await
        .map_err(|e| AgentError::Failed(format!("cannot run {program}: {e}")))?;
    let message = match report.errors.last_lines(SHOWN_LINES) {
        nothing if nothing.is_empty() => report.output.last_lines(SHOWN_LINES),
        lines => lines,
    };
    match report.ended {
        Ended::Exited(status) => Ok(ToolOutput {
            code: status.code(),
            output: report.output.text(),
            message,
            ended: report.ended,
        }),
        Ended::TimedOut | Ended::Aborted | Ended::Unkillable => {
            Err(failure(program, report.ended, &message))
        }
    }
}

/// The path of the first of these programs that is installed.
pub fn find(names: &[&str]) -> Option<String> {
    let mut paths = names
        .iter()
        .flat_map(|name| PATH.split(':').map(move |dir| format!("{dir}/{name}")));
    paths.find(|path| Path::new(path).is_file())
}
