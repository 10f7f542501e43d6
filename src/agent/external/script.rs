//! Heartbeat-style resource scripts: `NAME ARG... ACTION` with the actions `start`, `stop` and `status`.
//!
//! `status` is judged by its words, never by its exit code; `start` and `stop` by their exit code alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::process::Command;

use crate::agent::exec::agent_call::{Call, Retries, SHOWN, call, failed, how, log_output};
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::supervise::Streams;
use crate::agent::{Agent, AgentError, Bare, Limits, Status};

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
        let mut retries = Retries::default();
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
            if !self.path.exists() || !retries.again(&error, limits).await {
                return Err(error);
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

    fn bare(&self) -> Option<&dyn Bare> {
        Some(self)
    }
}

#[async_trait]
impl Bare for Script {
    /// Scripts have no such action.
    async fn validate(&self, _limits: &Limits) -> Result<(), AgentError> {
        Ok(())
    }

    /// Nobody demands it of them.
    async fn refuse(&self, _limits: &Limits) -> Result<(), AgentError> {
        Ok(())
    }

    async fn bare_start(&self, limits: &Limits) -> Result<(), AgentError> {
        self.act("start", limits).await
    }

    async fn bare_stop(&self, limits: &Limits) -> Result<(), AgentError> {
        self.act("stop", limits).await
    }

    async fn bare_look(&self, limits: &Limits) -> Result<Status, AgentError> {
        match self.words(limits).await? {
            Words::Running => Ok(Status::Running),
            Words::Stopped => Ok(Status::Stopped),
            Words::Unclear => Err(AgentError::Failed(format!(
                "{} status: prints neither `running` nor `stopped`; its exit code does not count",
                self.describe()
            ))),
        }
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
        let what = format!("{} {action}", self.describe());
        let Call { status, report } = self.run(action, Streams::Merged, limits).await?;
        log_output(&what, &report.output);
        if status.success() {
            return Ok(());
        }
        Err(failed(&what, &how(status), &report.output))
    }

    async fn words(&self, limits: &Limits) -> Result<Words, AgentError> {
        let what = format!("{} status", self.describe());
        let Call { status, report } = self.run("status", Streams::Split, limits).await?;
        tracing::debug!(
            output = %report.output.last_lines(SHOWN),
            errors = %report.errors.last_lines(SHOWN),
            "{what}"
        );
        if status.code().is_none() {
            return Err(failed(&what, &how(status), &report.output));
        }
        if report.output.cut {
            let how = "printed more than can be judged";
            return Err(failed(&what, how, &report.output));
        }
        Ok(judge(&report.output.text()))
    }

    async fn run(
        &self,
        action: &str,
        streams: Streams,
        limits: &Limits,
    ) -> Result<Call, AgentError> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).arg(action);
        self.env.prepare(&mut command);
        let what = format!("{} {action}", self.describe());
        call(&what, command, streams, limits).await
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
