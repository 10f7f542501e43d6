//! Runs a program of the system (`mount`, `umount`, `fsck`, a database client) and hands back what it said.

use std::ffi::OsStr;

use tokio::process::Command;

use crate::agent::exec::supervise::{self, Ended, Streams};
use crate::agent::{AgentError, Limits};

/// Where the system's programs are.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How many of its last lines an error shows.
const SHOWN: usize = 5;

/// What a program left.
#[derive(Debug)]
pub struct Done {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// The end of standard error, else of standard output, on one line.
    pub said: String,
}

/// Runs it to its end with a fresh environment, in English. An error means that there is no exit code to judge.
pub async fn run<A: AsRef<OsStr>>(
    program: &str,
    args: &[A],
    limits: &Limits,
) -> Result<Done, AgentError> {
    let mut command = Command::new(program);
    command.args(args).current_dir("/").env_clear();
    // The client of a database looks for root's own settings.
    command.envs([("PATH", PATH), ("LC_ALL", "C"), ("HOME", "/root")]);
    let report = supervise::run(command, Streams::Split, limits)
        .await
        .map_err(|e| AgentError::Failed(format!("cannot run {program}: {e}")))?;
    let said = match report.errors.last_lines(SHOWN) {
        nothing if nothing.is_empty() => report.output.last_lines(SHOWN),
        words => words,
    };
    let with = |what: &str| {
        let mark = if said.is_empty() { "" } else { ": " };
        format!("{program} {what}{mark}{said}")
    };
    match report.ended {
        Ended::Exited(status) => Ok(Done {
            code: status.code(),
            output: report.output.text(),
            said,
        }),
        Ended::TimedOut => Err(AgentError::TimedOut(with("took too long and was ended"))),
        Ended::Aborted => Err(AgentError::Failed(with("was ended by order"))),
        Ended::Unkillable => Err(AgentError::TimedOut(with(
            "does not even end by KILL: it waits inside the kernel (is a disk or a network file system gone?)",
        ))),
    }
}

/// The first of these programs that is installed.
pub fn find(names: &[&str]) -> Option<String> {
    let mut paths = names
        .iter()
        .flat_map(|name| PATH.split(':').map(move |dir| format!("{dir}/{name}")));
    paths.find(|path| std::path::Path::new(path).is_file())
}
