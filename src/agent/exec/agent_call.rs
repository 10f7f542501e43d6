//! One call of somebody else's program, and what to say of it when it goes wrong.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::agent::exec::supervise::{self, Captured, Ended, Report, Streams};
use crate::agent::{AgentError, Limits};

/// How often a failed stop is tried again, and the pause before.
const STOP_RETRIES: u32 = 10;
const STOP_PAUSE: Duration = Duration::from_secs(1);
/// How many of its last lines an error shows.
pub const SHOWN: usize = 5;
/// How many of its last lines the log gets.
const LOGGED: usize = 20;

/// A call that ended by itself.
pub struct Call {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// What it wrote.
    pub report: Report,
}

/// Runs `command`, called `what` in errors. A call that did not end by itself is an error.
pub async fn call(
    what: &str,
    command: Command,
    streams: Streams,
    limits: &Limits,
) -> Result<Call, AgentError> {
    let report = supervise::run(command, streams, limits)
        .await
        .map_err(|e| AgentError::Failed(format!("{what}: cannot run it: {e}")))?;
    let said = said(&report.output);
    match report.ended {
        Ended::Exited(status) => Ok(Call { status, report }),
        Ended::TimedOut => Err(AgentError::TimedOut(format!(
            "{what}: still running at its deadline and ended{said}"
        ))),
        Ended::Aborted => Err(AgentError::Failed(format!("{what}: ended by order{said}"))),
        Ended::Unkillable => Err(AgentError::TimedOut(format!(
            "{what}: still there after KILL, it waits inside the kernel (is a disk or a network file system gone?){said}"
        ))),
    }
}

/// Logs what an action printed, the end of it.
pub fn log_output(what: &str, output: &Captured) {
    let lines = output.last_lines(LOGGED);
    if !lines.is_empty() {
        tracing::info!("{what}: {lines}");
    }
}

/// The failure of a call that ended by itself.
pub fn failed(what: &str, how: &str, output: &Captured) -> AgentError {
    AgentError::Failed(format!("{what}: {how}{}", said(output)))
}

/// How a process ended, in words.
pub fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

fn said(output: &Captured) -> String {
    match output.last_lines(SHOWN) {
        lines if lines.is_empty() => "; it said nothing".to_owned(),
        lines => format!("; it said: {lines}"),
    }
}

/// A failed stop is tried again some times, while there is time.
#[derive(Default)]
pub struct Retries(u32);

impl Retries {
    /// Whether to try again; comes back after the pause before that.
    pub async fn again(&mut self, error: &AgentError, limits: &Limits) -> bool {
        self.0 += 1;
        if self.0 > STOP_RETRIES || Instant::now() + STOP_PAUSE >= limits.until {
            return false;
        }
        tracing::warn!("{error}; trying again");
        tokio::select! {
            () = sleep(STOP_PAUSE) => true,
            () = limits.abort.aborted() => false,
        }
    }
}
