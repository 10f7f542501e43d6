//! Runs one action of an external agent, and words its failure.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::agent::exec::failure;
use crate::agent::exec::supervise::{self, Captured, Ended, Report, Streams};
use crate::agent::{AgentError, Limits};

/// How often a failed stop is tried again.
const STOP_RETRIES: u32 = 10;
/// The pause before each of these retries.
const STOP_PAUSE: Duration = Duration::from_secs(1);
/// How many of the last lines of output an error shows.
pub const SHOWN_LINES: usize = 5;
/// How many of the last lines of output go to the log.
const LOGGED_LINES: usize = 20;

/// An action whose program ended by itself.
pub struct FinishedCall {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// What it wrote.
    pub report: Report,
}

/// Runs `command`, which errors call `what`. A program that did not end by itself is an error.
pub async fn call_agent(
    what: &str,
    command: Command,
    streams: Streams,
    limits: &Limits,
) -> Result<FinishedCall, AgentError> {
    let report = supervise::run(command, streams, limits)
        .await
        .map_err(|e| AgentError::NotExecuted(format!("{what} cannot be run: {e}")))?;
    match report.ended {
        Ended::Exited(status) => Ok(FinishedCall { status, report }),
        Ended::TimedOut | Ended::Aborted | Ended::Unkillable => {
            let output = report.output.last_lines(SHOWN_LINES);
            Err(failure(what, report.ended, &output))
        }
    }
}

/// The error of a call that ended by itself, and not well.
pub fn call_failed(what: &str, status: ExitStatus, output: &Captured) -> AgentError {
    failure(what, Ended::Exited(status), &output.last_lines(SHOWN_LINES))
}

/// Logs the end of what an action printed.
pub fn log_output(what: &str, output: &Captured) {
    let lines = output.last_lines(LOGGED_LINES);
    if !lines.is_empty() {
        tracing::info!("{what}: {lines}");
    }
}

/// Counts the retries of a failed stop.
#[derive(Default)]
pub struct StopRetries(u32);

impl StopRetries {
    /// Whether to try again: not too often, and only while there is time. Waits for the pause first.
    pub async fn wait_for_next(&mut self, error: &AgentError, limits: &Limits) -> bool {
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
