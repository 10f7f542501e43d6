//! Agents of the Open Cluster Framework, as in the package `resource-agents`: their only argument is the action, parameters
//! are in `OCF_RESKEY_*`, and the exit code tells the result.
//!
//! * [`notation`]: how a word of haresources names an agent; [`instance`]: a file with parameters.
//! * [`metadata`]: what an agent says of itself; [`judge`]: whether the parameters fit it.

pub mod instance;
pub mod judge;
pub mod metadata;
pub mod notation;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use self::metadata::MetaData;
use self::notation::Plan;
use crate::agent::builtin::pseudo::RunMarker;
use crate::agent::exec::agent_call::{
    FinishedCall, SHOWN_LINES, StopRetries, call_agent, call_failed, log_output,
};
use crate::agent::exec::ended;
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::program;
use crate::agent::exec::supervise::{Captured, Ended, Streams};
use crate::agent::{Agent, AgentError, Limits, RawActions, Status};

/// Where agents keep their state until the next boot. Made by systemd, or by us where there is no systemd.
const STATE_FOLDER: &str = "/run/resource-agents";
/// The monitor interval that agents are told, in milliseconds. To them only 0 matters: it means a first probe.
const MONITOR_INTERVAL: &str = "10000";

/// Agents print this in front of the reason of a failure.
const REASON_PREFIX: &str = "ocf-exit-reason:";

/// Exit codes.
const SUCCESS: i32 = 0;
const UNIMPLEMENTED: i32 = 3;
const NOT_INSTALLED: i32 = 5;
const NOT_RUNNING: i32 = 7;
const PROMOTED: i32 = 8;

/// One resource of an OCF agent.
pub struct Ocf {
    plan: Plan,
    env: Arc<ScriptEnv>,
    /// The deadline of `monitor`, also before a start.
    monitor_timeout: Duration,
    /// Whether this daemon saw it running or began to start it.
    may_run: AtomicBool,
    /// The same, since boot. If not, it is stopped where it is "not installed" or its agent cannot be executed.
    marker: RunMarker,
}

impl Ocf {
    /// An agent whose state is not known yet.
    pub fn new(plan: Plan, env: Arc<ScriptEnv>, monitor_timeout: Duration) -> Self {
        let name = format!("ocf {} {} {}", plan.provider, plan.kind, plan.instance);
        Ocf {
            marker: RunMarker::new(&env.run_dir, &name),
            plan,
            env,
            monitor_timeout,
            may_run: AtomicBool::new(false),
        }
    }

    /// The agent and its parameters, for an administrator. Passwords are hidden.
    pub fn describe(&self) -> String {
        let Plan { provider, kind, .. } = &self.plan;
        let mut text = format!("OCF agent {provider}:{kind}");
        for given in &self.plan.given {
            let secret = given.name.to_ascii_lowercase().contains("pass");
            let shown = if secret { "***" } else { &given.value };
            text.push_str(&format!(" {}={shown}", given.name));
        }
        text
    }

    /// The name in errors and logs: without parameters, which may contain a password.
    fn name(&self) -> String {
        let Plan { provider, kind, .. } = &self.plan;
        format!("ocf:{provider}:{kind} ({})", self.plan.instance)
    }

    async fn call(&self, action: &str, limits: &Limits) -> Result<FinishedCall, AgentError> {
        let what = format!("{} {action}", self.name());
        make_state_folder(Path::new(STATE_FOLDER)).map_err(|e| {
            AgentError::Failed(format!("{what}: cannot create {STATE_FOLDER}: {e}"))
        })?;
        let mut command = program::command(&self.plan.path);
        command.arg(action);
        self.env.prepare(&mut command);
        for name in NOT_FOR_OCF {
            command.env_remove(name);
        }
        command.envs(self.variables(action, limits));
        call_agent(&what, command, Streams::Merged, limits).await
    }

    fn variables(&self, action: &str, limits: &Limits) -> Vec<(String, String)> {
        let left = limits.until.saturating_duration_since(Instant::now());
        let first_probe = action != "monitor" || !self.may_run.load(Ordering::Relaxed);
        let interval = if first_probe { "0" } else { MONITOR_INTERVAL };
        let meta = [
            ("OCF_RA_VERSION_MAJOR", "1".to_owned()),
            ("OCF_RA_VERSION_MINOR", "0".to_owned()),
            ("OCF_RESOURCE_INSTANCE", self.plan.instance.clone()),
            ("OCF_RESOURCE_TYPE", self.plan.kind.clone()),
            ("OCF_RESOURCE_PROVIDER", self.plan.provider.clone()),
            ("__OCF_ACTION", action.to_owned()),
            ("OCF_RESKEY_CRM_meta_name", action.to_owned()),
            ("OCF_RESKEY_CRM_meta_interval", interval.to_owned()),
            ("OCF_RESKEY_CRM_meta_timeout", left.as_millis().to_string()),
        ];
        let meta = meta.map(|(name, value)| (name.to_owned(), value));
        let given = self.plan.given.iter();
        let given = given.map(|g| (format!("OCF_RESKEY_{}", g.name), g.value.clone()));
        meta.into_iter().chain(given).collect()
    }

    async fn run_action(&self, action: &str, limits: &Limits) -> Result<(), FailedAction> {
        let FinishedCall { status, report } = self.call(action, limits).await?;
        let what = format!("{} {action}", self.name());
        log_output(&what, &report.output);
        if status.success() {
            return Ok(());
        }
        Err(FailedAction {
            code: status.code(),
            error: action_failed(&what, status, &report.output),
        })
    }

    /// The exit code of `monitor`, and the error to report if it is one.
    async fn monitor_code(&self, limits: &Limits) -> Result<(Option<i32>, AgentError), AgentError> {
        let FinishedCall { status, report } = self.call("monitor", limits).await?;
        let what = format!("{} monitor", self.name());
        tracing::debug!(output = %report.output.text(), "{what}");
        let code = status.code();
        if matches!(code, Some(SUCCESS | PROMOTED)) {
            self.note_may_run(true);
        }
        Ok((code, action_failed(&what, status, &report.output)))
    }

    /// Whether an exit code means that the resource is stopped.
    fn is_stopped(&self, code: Option<i32>) -> bool {
        match code {
            Some(NOT_RUNNING) => true,
            Some(NOT_INSTALLED) => !self.marker.is_set(),
            _ => false,
        }
    }

    fn note_may_run(&self, may_run: bool) {
        self.may_run.store(may_run, Ordering::Relaxed);
        self.marker.note(may_run);
    }

    /// Whether this error means that it is stopped: its agent cannot be executed, and was not since boot.
    fn never_executed(&self, error: &AgentError) -> bool {
        let never = matches!(error, AgentError::NotExecuted(_)) && !self.marker.is_set();
        if never {
            tracing::warn!("{error}; it was not started since boot, so it counts as stopped");
        }
        never
    }
}

/// An action that ended with a code other than 0, or did not end by itself.
struct FailedAction {
    code: Option<i32>,
    error: AgentError,
}

impl From<AgentError> for FailedAction {
    fn from(error: AgentError) -> Self {
        FailedAction { code: None, error }
    }
}

/// Variables of heartbeat's scripts that OCF agents must not get: they set them themselves, to other folders.
const NOT_FOR_OCF: [&str; 3] = ["HA_BIN", "HA_FIFO", "HA_DOCDIR"];

/// Creates the folder if it does not exist, with the mode that systemd uses.
fn make_state_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o1755).create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// The error of a failed action, with the reason that the agent names, or the end of its output.
fn action_failed(what: &str, status: ExitStatus, output: &Captured) -> AgentError {
    let text = output.text();
    let reasons = text
        .lines()
        .filter_map(|l| l.trim().strip_prefix(REASON_PREFIX));
    let reasons: Vec<&str> = reasons.collect();
    let message = if reasons.is_empty() {
        output.last_lines(SHOWN_LINES)
    } else {
        reasons.join(" | ")
    };
    let mark = if message.is_empty() { "" } else { ": " };
    AgentError::Failed(format!(
        "{what} {}{mark}{message}",
        ended_with_meaning(status)
    ))
}

/// How an action ended, with the meaning that OCF gives to the exit code.
fn ended_with_meaning(status: ExitStatus) -> String {
    let words = match status.code() {
        Some(1) => "an error",
        Some(2) => "wrong arguments",
        Some(UNIMPLEMENTED) => "no such action",
        Some(4) => "not permitted",
        Some(NOT_INSTALLED) => "not installed: this node cannot run it",
        Some(6) => "not configured",
        Some(NOT_RUNNING) => "not running",
        Some(PROMOTED) => "running, promoted",
        Some(9) => "failed, promoted",
        _ => return ended(Ended::Exited(status)),
    };
    format!("{} ({words})", ended(Ended::Exited(status)))
}

#[async_trait]
impl Agent for Ocf {
    /// A resource that runs but is not well is started too: agents can handle that, and heartbeat did the same.
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        let monitor_limits = limits.at_most(self.monitor_timeout);
        if matches!(
            self.monitor_code(&monitor_limits).await?.0,
            Some(SUCCESS | PROMOTED)
        ) {
            return Ok(());
        }
        self.raw_start(limits).await
    }

    /// A failed stop counts as done only if `monitor` then reports that nothing runs.
    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let mut retries = StopRetries::default();
        loop {
            let Err(FailedAction { code, error }) = self.run_action("stop", limits).await else {
                self.note_may_run(false);
                return Ok(());
            };
            if self.never_executed(&error) {
                return Ok(());
            }
            if !matches!(error, AgentError::Failed(_)) {
                return Err(error);
            }
            let monitor_limits = limits.at_most(self.monitor_timeout);
            let seen = self.monitor_code(&monitor_limits).await;
            let seen = seen.map_or(None, |(code, _)| code);
            if self.is_stopped(code) || self.is_stopped(seen) {
                self.note_may_run(false);
                tracing::warn!(
                    "{error}; but monitor reports that it is stopped, so the stop counts as done"
                );
                return Ok(());
            }
            if !self.plan.path.exists() || !retries.wait_for_next(&error, limits).await {
                return Err(error);
            }
        }
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        let (code, error) = match self.monitor_code(limits).await {
            Err(error) if self.never_executed(&error) => return Ok(Status::Stopped),
            seen => seen?,
        };
        match code {
            Some(SUCCESS | PROMOTED) => Ok(Status::Running),
            _ if self.is_stopped(code) => Ok(Status::Stopped),
            _ => Err(error),
        }
    }

    fn raw_actions(&self) -> Option<&dyn RawActions> {
        Some(self)
    }
}

#[async_trait]
impl RawActions for Ocf {
    fn checks_itself(&self) -> bool {
        true
    }

    async fn validate(&self, limits: &Limits) -> Result<(), AgentError> {
        // It is asked again and again where it cannot run, so what it prints is no news.
        let FinishedCall { status, report } = self.call("validate-all", limits).await?;
        let what = format!("{} validate-all", self.name());
        tracing::debug!(output = %report.output.text(), "{what}");
        if status.success() {
            return Ok(());
        }
        Err(action_failed(&what, status, &report.output))
    }

    async fn reject_unknown_action(&self, limits: &Limits) -> Result<(), AgentError> {
        let code = match self.run_action("no-such-action", limits).await {
            Ok(()) => SUCCESS,
            Err(FailedAction {
                code: Some(code), ..
            }) => code,
            Err(failure) => return Err(failure.error),
        };
        if code == UNIMPLEMENTED {
            return Ok(());
        }
        Err(AgentError::Failed(format!(
            "{} answers an unknown action with exit code {code} instead of 3 (not implemented)",
            self.name()
        )))
    }

    async fn raw_start(&self, limits: &Limits) -> Result<(), AgentError> {
        let result = self.run_action("start", limits).await;
        let missing = matches!(&result, Err(f) if f.code == Some(NOT_INSTALLED)
            || matches!(f.error, AgentError::NotExecuted(_)));
        if !missing {
            self.note_may_run(true);
        }
        result.map_err(|f| f.error)
    }

    async fn raw_stop(&self, limits: &Limits) -> Result<(), AgentError> {
        self.run_action("stop", limits).await.map_err(|f| f.error)
    }

    async fn raw_monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        match self.monitor_code(limits).await? {
            (Some(SUCCESS | PROMOTED), _) => Ok(Status::Running),
            (Some(NOT_RUNNING), _) => Ok(Status::Stopped),
            (_, error) => Err(error),
        }
    }
}

/// Runs `meta-data` of an agent. Its output and its time are bounded.
pub async fn read_metadata(
    path: &Path,
    env: &ScriptEnv,
    limits: &Limits,
) -> Result<MetaData, String> {
    let what = format!("{} meta-data", path.display());
    let mut command = program::command(path);
    command.arg("meta-data");
    env.prepare(&mut command);
    for name in NOT_FOR_OCF {
        command.env_remove(name);
    }
    let FinishedCall { status, report } = call_agent(&what, command, Streams::Split, limits)
        .await
        .map_err(|e| e.to_string())?;
    if !status.success() {
        return Err(call_failed(&what, status, &report.errors).to_string());
    }
    if report.output.cut {
        return Err(format!("{what} prints too much to be meta-data"));
    }
    MetaData::parse(&report.output.text())
        .map_err(|e| format!("cannot read the output of {what}: {e}"))
}

#[cfg(test)]
mod tests;
