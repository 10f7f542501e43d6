//! Heartbeat-style resource scripts: `NAME ARG... ACTION` with the actions `start`, `stop` and `status`.
//!
//! `status` is judged by its words, never by its exit code; `start` and `stop` by their exit code alone.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::environment::ScriptEnv;
use super::supervise::{self, Captured, Ended, Report, Streams};
use super::{Agent, AgentError, Limits, Status};

/// How often a failed stop is tried again, and the pause before.
const STOP_RETRIES: u32 = 10;
const STOP_PAUSE: Duration = Duration::from_secs(1);
/// How many of its last lines an error shows.
const SHOWN: usize = 5;

/// How many of its last lines the log gets.
const LOGGED: usize = 20;

/// A script with its arguments.
pub struct Script {
    /// The file.
    pub path: PathBuf,
    /// What comes before the action.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Arc<ScriptEnv>,
    /// Deadline of a look, also of the one that precedes a start.
    pub look: Duration,
}

/// What the words of `status` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    Running,
    /// It says so: "not running", "stopped".
    Stopped,
    /// Nothing known. Counts as stopped for a start, as it did for heartbeat, but never for a failed stop.
    Unclear,
}

#[async_trait]
impl Agent for Script {
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        let look = limits.at_most(self.look);
        if self.monitor(&look).await? == Status::Running {
            return Ok(());
        }
        self.act("start", limits).await
    }

    /// Many old scripts say "failed" when there was nothing to stop, so a failed stop is followed by a look. Only
    /// plain words count then; without them the stop is tried again, and in the end has failed.
    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let mut retries = 0;
        loop {
            let Err(error) = self.act("stop", limits).await else {
                return Ok(());
            };
            let AgentError::Failed(text) = &error else {
                return Err(error);
            };
            let look = limits.at_most(self.look);
            if matches!(self.words(&look).await, Ok(Words::Stopped)) {
                tracing::warn!("{text}; but its status says that it is stopped, which counts");
                return Ok(());
            }
            retries += 1;
            let hopeless = !self.path.exists();
            if hopeless || retries > STOP_RETRIES || Instant::now() + STOP_PAUSE >= limits.until {
                return Err(error);
            }
            tracing::warn!("{text}; trying again");
            tokio::select! {
                () = sleep(STOP_PAUSE) => {}
                () = limits.abort.aborted() => return Err(error),
            }
        }
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        Ok(match self.words(limits).await? {
            Words::Running => Status::Running,
            Words::Stopped => Status::Stopped,
            Words::Unclear => Status::Unclear,
        })
    }
}

impl Script {
    /// For an administrator: which script, with which arguments.
    pub fn describe(&self) -> String {
        let mut text = format!("script {}", self.path.display());
        for arg in &self.args {
            text.push(' ');
            text.push_str(arg);
        }
        text
    }

    async fn act(&self, action: &str, limits: &Limits) -> Result<(), AgentError> {
        let report = self.run(action, Streams::Merged, limits).await?;
        let output = report.output.last_lines(LOGGED);
        if !output.is_empty() {
            tracing::info!(script = %self.path.display(), action, "{output}");
        }
        let status = self.exit(action, &report)?;
        if status.success() {
            return Ok(());
        }
        let how = how(status);
        Err(self.failed(action, &how, &report.output))
    }

    async fn words(&self, limits: &Limits) -> Result<Words, AgentError> {
        let report = self.run("status", Streams::Split, limits).await?;
        tracing::debug!(
            script = %self.path.display(),
            output = %report.output.last_lines(SHOWN),
            errors = %report.errors.last_lines(SHOWN),
            "status"
        );
        let status = self.exit("status", &report)?;
        if status.code().is_none() {
            return Err(self.failed("status", &how(status), &report.output));
        }
        if report.output.cut {
            return Err(self.failed("status", "printed more than can be judged", &report.output));
        }
        Ok(judge(&report.output.text()))
    }

    async fn run(
        &self,
        action: &str,
        streams: Streams,
        limits: &Limits,
    ) -> Result<Report, AgentError> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).arg(action);
        self.env.prepare(&mut command);
        supervise::run(command, streams, limits).await.map_err(|e| {
            AgentError::Failed(format!("{} {action}: cannot run it: {e}", self.describe()))
        })
    }

    /// The exit status, or the error that there is none.
    fn exit(&self, action: &str, report: &Report) -> Result<ExitStatus, AgentError> {
        let what = format!("{} {action}", self.describe());
        let said = said(&report.output);
        match report.ended {
            Ended::Exited(status) => Ok(status),
            Ended::TimedOut => Err(AgentError::TimedOut(format!(
                "{what}: still running at its deadline and ended{said}"
            ))),
            Ended::Aborted => Err(AgentError::Failed(format!("{what}: ended by order{said}"))),
            Ended::Unkillable => Err(AgentError::TimedOut(format!(
                "{what}: still there after KILL, it waits inside the kernel (is a disk or a network file system gone?){said}"
            ))),
        }
    }

    fn failed(&self, action: &str, how: &str, output: &Captured) -> AgentError {
        AgentError::Failed(format!(
            "{} {action}: {how}{}",
            self.describe(),
            said(output)
        ))
    }
}

fn how(status: ExitStatus) -> String {
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

/// By the words alone, as heartbeat did. `not ` (in any case) followed somewhere by `running` or `Running` beats all;
/// then `running`, `Running` or `OK` mean running. Anything else is not running.
fn judge(output: &str) -> Words {
    let lower = output.to_ascii_lowercase();
    let has_running = |text: &str| text.contains("running") || text.contains("Running");
    let denied = lower
        .find("not ")
        .and_then(|at| output.get(at..))
        .is_some_and(has_running);
    if denied {
        Words::Stopped
    } else if has_running(output) || output.contains("OK") {
        Words::Running
    } else if lower.contains("stopped") {
        Words::Stopped
    } else {
        Words::Unclear
    }
}

#[cfg(test)]
mod tests;
