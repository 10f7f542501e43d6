//! Heartbeat-style resource scripts: `NAME ARG... ACTION` with the actions `start`, `stop` and `status`.
//!
//! Heartbeat's rules apply: `status` is judged by the words it prints, and by its exit code only where the words leave it
//! open; `start` and `stop` are judged by their exit code alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::agent::builtin::pseudo::RunMarker;
use crate::agent::exec::agent_call::{
    FinishedCall, SHOWN_LINES, StopRetries, call_agent, call_failed, log_output,
};
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::supervise::Streams;
use crate::agent::exec::{program, sourced};
use crate::agent::{Agent, AgentError, Limits, RawActions, Status};
use crate::text::Mistake;

/// The exit code of `status` for a service that does not run, by the Linux Standard Base.
const LSB_NOT_RUNNING: i32 = 3;

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
    /// It says so.
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
        self.raw_start(limits).await
    }

    /// Many old scripts fail when there is nothing to stop, so a failed stop is followed by `status`. Only a clear "stopped"
    /// counts then; otherwise the stop is tried again, and finally fails.
    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let mut retries = StopRetries::default();
        loop {
            let Err(error) = self.run_action("stop", limits).await else {
                self.marker().note(false);
                return Ok(());
            };
            let text = match &error {
                AgentError::Failed(text) => text,
                AgentError::NotExecuted(text) if !self.marker().is_set() => {
                    tracing::warn!(
                        "{text}; it was not started since boot, so there is nothing to stop"
                    );
                    return Ok(());
                }
                AgentError::NotExecuted(_) | AgentError::TimedOut(_) => return Err(error),
            };
            let limits_of_status = limits.at_most(self.monitor_timeout);
            if matches!(
                self.read_status(&limits_of_status).await,
                Ok(StatusWords::Stopped)
            ) {
                tracing::warn!(
                    "{text}; but its status reports that it is stopped, so the stop counts as done"
                );
                self.marker().note(false);
                return Ok(());
            }
            if !self.path.exists() || !retries.wait_for_next(&error, limits).await {
                return Err(error);
            }
        }
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        match self.read_status(limits).await {
            Ok(StatusWords::Running) => Ok(Status::Running),
            Ok(StatusWords::Stopped) => Ok(Status::Stopped),
            Ok(StatusWords::Unclear) => Ok(Status::Unclear),
            Err(AgentError::NotExecuted(text)) if !self.marker().is_set() => {
                tracing::warn!("{text}; it was not started since boot, so it counts as stopped");
                Ok(Status::Stopped)
            }
            Err(error) => Err(error),
        }
    }

    fn raw_actions(&self) -> Option<&dyn RawActions> {
        Some(self)
    }
}

#[async_trait]
impl RawActions for Script {
    fn checks_itself(&self) -> bool {
        false
    }

    /// Scripts have no action for this.
    async fn validate(&self, _limits: &Limits) -> Result<(), AgentError> {
        Ok(())
    }

    /// Heartbeat never demanded this of scripts.
    async fn reject_unknown_action(&self, _limits: &Limits) -> Result<(), AgentError> {
        Ok(())
    }

    async fn raw_start(&self, limits: &Limits) -> Result<(), AgentError> {
        let started_before = self.marker().is_set();
        self.marker().note(true);
        let done = self.run_action("start", limits).await;
        if matches!(done, Err(AgentError::NotExecuted(_))) && !started_before {
            self.marker().note(false);
        }
        done
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

    /// Set from a start to the stop that succeeds, and when it is seen running. What was never executed here does not run
    /// here, even if it cannot be asked.
    fn marker(&self) -> RunMarker {
        RunMarker::new(&self.env.run_dir, &self.describe())
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
        let words = classify_status(&report.output.text(), status.code());
        if words == StatusWords::Running {
            self.marker().note(true);
        }
        Ok(words)
    }

    async fn run(
        &self,
        action: &str,
        streams: Streams,
        limits: &Limits,
    ) -> Result<FinishedCall, AgentError> {
        let what = format!("{} {action}", self.describe());
        if let Err(mistake) = check_runnable(&self.path, &self.env) {
            let text = format!("{what} cannot be run: {}", mistake.message);
            return Err(AgentError::NotExecuted(text));
        }
        let mut command = program::command(&self.path);
        command.args(&self.args).arg(action);
        self.env.prepare(&mut command);
        call_agent(&what, command, streams, limits).await
    }
}

/// Whether a script can be executed, and does not end before it has looked at its action.
pub fn check_runnable(path: &Path, env: &ScriptEnv) -> Result<(), Mistake> {
    let interpreter = program::check(path)?;
    match sourced::missing_file(path, &interpreter, env) {
        Some(missing) if missing.ends_the_script => Err(missing.mistake(path)),
        _ => Ok(()),
    }
}

/// What is worth knowing of a script that can be executed.
pub fn remark(path: &Path, env: &ScriptEnv) -> Option<Mistake> {
    let interpreter = program::check(path).ok()?;
    let missing = sourced::missing_file(path, &interpreter, env)?;
    (!missing.ends_the_script).then(|| missing.mistake(path))
}

/// Heartbeat's rule. `not ` (in any case) followed somewhere by `running` or `Running` means stopped. Otherwise `running`,
/// `Running` or `OK` means running. Anything else is not running.
///
/// Heartbeat did not have to know more. We do, where a stop has failed: `stopped`, and the words of `systemctl status` and of
/// the functions of Red Hat (`inactive (dead)`, `is dead but subsys locked`) mean stopped, and so does any other text with the
/// exit code 3 of the Linux Standard Base. A script that does not know `status` prints how to call it, often with that code.
fn classify_status(output: &str, code: Option<i32>) -> StatusWords {
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
    } else if says_stopped(&lower) || (code == Some(LSB_NOT_RUNNING) && is_statement(&lower)) {
        StatusWords::Stopped
    } else {
        StatusWords::Unclear
    }
}

fn says_stopped(lower: &str) -> bool {
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    lower.contains("stopped") || words.any(|word| word == "inactive" || word == "dead")
}

/// Whether a text says something of the service, and not how to call the script.
fn is_statement(lower: &str) -> bool {
    !lower.trim().is_empty() && !lower.contains("usage")
}

#[cfg(test)]
mod tests;
