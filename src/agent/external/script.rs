//! Heartbeat-style resource scripts: `NAME ARG... ACTION` with the actions `start`, `stop` and `status`.
//!
//! Heartbeat's rules apply: `status` is judged by the words it prints and never by its exit code; `start` and `stop` are
//! judged by their exit code alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::process::Command;

use crate::agent::exec::agent_call::{
    FinishedCall, SHOWN_LINES, StopRetries, call_agent, call_failed, log_output,
};
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::supervise::Streams;
use crate::agent::{Agent, AgentError, Limits, RawActions, Status};

/// A script with its arguments.
pub struct Script {
    /// The script's file.
    pub path: PathBuf,
    /// The arguments before the action.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Arc<ScriptEnv>,
    /// The deadline of `status`, also before a start.
    pub monitor_timeout: Duration,
}

/// What the output of `status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusWords {
    Running,
    /// It says "not running" or "stopped".
    Stopped,
    /// Neither. As with heartbeat a start takes this for stopped; a failed stop does not.
    Unclear,
}

#[async_trait]
impl Agent for Script {
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        let limits_of_status = limits.at_most(self.monitor_timeout);
        if self.monitor(&limits_of_status).await? == Status::Running {
            return Ok(());
        }
        self.run_action("start", limits).await
    }

    /// Many old scripts fail when there is nothing to stop, so a failed stop is followed by `status`. Only a clear "stopped"
    /// counts then; otherwise the stop is tried again, and finally fails.
    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let mut retries = StopRetries::default();
        loop {
            let Err(error) = self.run_action("stop", limits).await else {
                return Ok(());
            };
            let AgentError::Failed(text) = &error else {
                return Err(error);
            };
            let limits_of_status = limits.at_most(self.monitor_timeout);
            if matches!(
                self.read_status(&limits_of_status).await,
                Ok(StatusWords::Stopped)
            ) {
                tracing::warn!(
                    "{text}; but its status reports that it is stopped, so the stop counts as done"
                );
                return Ok(());
            }
            if !self.path.exists() || !retries.wait_for_next(&error, limits).await {
                return Err(error);
            }
        }
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        Ok(match self.read_status(limits).await? {
            StatusWords::Running => Status::Running,
            StatusWords::Stopped => Status::Stopped,
            StatusWords::Unclear => Status::Unclear,
        })
    }

    fn raw_actions(&self) -> Option<&dyn RawActions> {
        Some(self)
    }
}

#[async_trait]
impl RawActions for Script {
    /// Scripts have no action for this.
    async fn validate(&self, _limits: &Limits) -> Result<(), AgentError> {
        Ok(())
    }

    /// Heartbeat never demanded this of scripts.
    async fn reject_unknown_action(&self, _limits: &Limits) -> Result<(), AgentError> {
        Ok(())
    }

    async fn raw_start(&self, limits: &Limits) -> Result<(), AgentError> {
        self.run_action("start", limits).await
    }

    async fn raw_stop(&self, limits: &Limits) -> Result<(), AgentError> {
        self.run_action("stop", limits).await
    }

    async fn raw_monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        match self.read_status(limits).await? {
            StatusWords::Running => Ok(Status::Running),
            StatusWords::Stopped => Ok(Status::Stopped),
            StatusWords::Unclear => Err(AgentError::Failed(format!(
                "{} status prints neither `running` nor `stopped`; its exit code is ignored",
                self.describe()
            ))),
        }
    }
}

impl Script {
    /// The script and its arguments, for an administrator.
    pub fn describe(&self) -> String {
        let mut text = format!("script {}", self.path.display());
        for arg in &self.args {
            text.push(' ');
            text.push_str(arg);
        }
        text
    }

    async fn run_action(&self, action: &str, limits: &Limits) -> Result<(), AgentError> {
        let what = format!("{} {action}", self.describe());
        let FinishedCall { status, report } = self.run(action, Streams::Merged, limits).await?;
        log_output(&what, &report.output);
        if status.success() {
            return Ok(());
        }
        Err(call_failed(&what, status, &report.output))
    }

    async fn read_status(&self, limits: &Limits) -> Result<StatusWords, AgentError> {
        let what = format!("{} status", self.describe());
        let FinishedCall { status, report } = self.run("status", Streams::Split, limits).await?;
        tracing::debug!(
            output = %report.output.last_lines(SHOWN_LINES),
            errors = %report.errors.last_lines(SHOWN_LINES),
            "{what}"
        );
        if status.code().is_none() {
            return Err(call_failed(&what, status, &report.output));
        }
        if report.output.cut {
            return Err(AgentError::Failed(format!(
                "{what} printed too much output to be evaluated"
            )));
        }
        Ok(classify_status(&report.output.text()))
    }

    async fn run(
        &self,
        action: &str,
        streams: Streams,
        limits: &Limits,
    ) -> Result<FinishedCall, AgentError> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).arg(action);
        self.env.prepare(&mut command);
        let what = format!("{} {action}", self.describe());
        call_agent(&what, command, streams, limits).await
    }
}

/// Heartbeat's rule. `not ` (in any case) followed somewhere by `running` or `Running` means stopped. Otherwise `running`,
/// `Running` or `OK` means running. Anything else is not running.
fn classify_status(output: &str) -> StatusWords {
    let lower = output.to_ascii_lowercase();
    let has_running = |text: &str| text.contains("running") || text.contains("Running");
    let denied = lower
        .find("not ")
        .and_then(|at| output.get(at..))
        .is_some_and(has_running);
    if denied {
        StatusWords::Stopped
    } else if has_running(output) || output.contains("OK") {
        StatusWords::Running
    } else if lower.contains("stopped") {
        StatusWords::Stopped
    } else {
        StatusWords::Unclear
    }
}

#[cfg(test)]
mod tests;
