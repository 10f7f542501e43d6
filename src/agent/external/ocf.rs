//! Agents of the Open Cluster Framework, as in the package `resource-agents`: called with an action alone, parameters in
//! `OCF_RESKEY_*`, and judged by their exit codes.
//!
//! [`notation`] reads how a word names one, [`instance`] its file of parameters, [`metadata`] what it says of itself, and
//! [`judge`] compares the two.

pub mod instance;
pub mod judge;
pub mod metadata;
pub mod notation;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::process::Command;
use tokio::time::Instant;

use self::metadata::MetaData;
use self::notation::Plan;
use crate::agent::exec::agent_call::{Call, Retries, call, failed, how, log_output};
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::supervise::{Captured, Streams};
use crate::agent::{Agent, AgentError, Bare, Limits, Status};

/// Where agents keep what they know until the next boot. systemd makes it; where there is no systemd, we do.
const STATE: &str = "/run/resource-agents";
/// How often a running resource is looked at, for agents that want to know: only whether it is 0, a first look, matters.
const INTERVAL: &str = "10000";

/// What agents write before the line that says why they failed.
const REASON: &str = "ocf-exit-reason:";

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
    /// Deadline of a look, also of the one that precedes a start.
    look: Duration,
    /// Whether it was ever seen to run or began to start. If not, a program that is not there cannot be running.
    seen: AtomicBool,
}

impl Ocf {
    /// Not looked at yet.
    pub fn new(plan: Plan, env: Arc<ScriptEnv>, look: Duration) -> Self {
        Ocf {
            plan,
            env,
            look,
            seen: AtomicBool::new(false),
        }
    }

    /// For an administrator: which agent, with which parameters.
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

    /// What errors and the log call it: without parameters, one of which may be a password.
    fn name(&self) -> String {
        let Plan { provider, kind, .. } = &self.plan;
        format!("ocf:{provider}:{kind} ({})", self.plan.instance)
    }

    async fn run(&self, action: &str, limits: &Limits) -> Result<Call, AgentError> {
        let what = format!("{} {action}", self.name());
        make_state(Path::new(STATE))
            .map_err(|e| AgentError::Failed(format!("{what}: cannot make {STATE}: {e}")))?;
        let mut command = Command::new(&self.plan.path);
        command.arg(action);
        self.env.prepare(&mut command);
        for name in NOT_FOR_OCF {
            command.env_remove(name);
        }
        command.envs(self.variables(action, limits));
        call(&what, command, Streams::Merged, limits).await
    }

    fn variables(&self, action: &str, limits: &Limits) -> Vec<(String, String)> {
        let left = limits.until.saturating_duration_since(Instant::now());
        let first_look = action != "monitor" || !self.seen.load(Ordering::Relaxed);
        let interval = if first_look { "0" } else { INTERVAL };
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

    async fn act(&self, action: &str, limits: &Limits) -> Result<(), Failure> {
        let Call { status, report } = self.run(action, limits).await?;
        let what = format!("{} {action}", self.name());
        log_output(&what, &report.output);
        if status.success() {
            return Ok(());
        }
        Err(Failure {
            code: status.code(),
            error: unlike_success(&what, status, &report.output),
        })
    }

    /// The exit code of a look, with the error that it would be.
    async fn code(&self, limits: &Limits) -> Result<(Option<i32>, AgentError), AgentError> {
        let Call { status, report } = self.run("monitor", limits).await?;
        let what = format!("{} monitor", self.name());
        tracing::debug!(output = %report.output.text(), "{what}");
        let code = status.code();
        if matches!(code, Some(SUCCESS | PROMOTED)) {
            self.seen.store(true, Ordering::Relaxed);
        }
        Ok((code, unlike_success(&what, status, &report.output)))
    }

    /// Whether an exit code says that nothing runs.
    fn is_stopped(&self, code: Option<i32>) -> bool {
        match code {
            Some(NOT_RUNNING) => true,
            Some(NOT_INSTALLED) => !self.seen.load(Ordering::Relaxed),
            _ => false,
        }
    }
}

/// An action that ended with another code than 0, or did not end by itself.
struct Failure {
    code: Option<i32>,
    error: AgentError,
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        Failure { code: None, error }
    }
}

/// What heartbeat told its scripts and what agents know better for themselves: their helpers are elsewhere.
const NOT_FOR_OCF: [&str; 3] = ["HA_BIN", "HA_FIFO", "HA_DOCDIR"];

/// Makes the folder if it is not there, with the rights that systemd gives it.
fn make_state(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o1755).create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// The failure of an action, with the reason that the agent names, where it names one.
fn unlike_success(what: &str, status: ExitStatus, output: &Captured) -> AgentError {
    let text = output.text();
    let reasons = text.lines().filter_map(|l| l.trim().strip_prefix(REASON));
    let reasons: Vec<&str> = reasons.collect();
    let how = meaning(status);
    if reasons.is_empty() {
        return failed(what, &how, output);
    }
    AgentError::Failed(format!("{what}: {how}: {}", reasons.join(" | ")))
}

/// How it ended, with the meaning that OCF gives to an exit code.
fn meaning(status: ExitStatus) -> String {
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
        _ => return how(status),
    };
    format!("{} ({words})", how(status))
}

#[async_trait]
impl Agent for Ocf {
    /// What is there but not well is started too: agents know how to go on from there, and heartbeat did so.
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        let look = limits.at_most(self.look);
        if matches!(self.code(&look).await?.0, Some(SUCCESS | PROMOTED)) {
            return Ok(());
        }
        self.bare_start(limits).await
    }

    /// A stop that fails is believed to have stopped only when a look says that nothing runs.
    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let mut retries = Retries::default();
        loop {
            let Err(Failure { code, error }) = self.act("stop", limits).await else {
                self.seen.store(false, Ordering::Relaxed);
                return Ok(());
            };
            if matches!(error, AgentError::TimedOut(_)) {
                return Err(error);
            }
            let look = limits.at_most(self.look);
            let seen = self.code(&look).await;
            let seen = seen.map_or(None, |(code, _)| code);
            if self.is_stopped(code) || self.is_stopped(seen) {
                self.seen.store(false, Ordering::Relaxed);
                tracing::warn!("{error}; but nothing of it runs, which counts");
                return Ok(());
            }
            if !self.plan.path.exists() || !retries.again(&error, limits).await {
                return Err(error);
            }
        }
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        let (code, error) = self.code(limits).await?;
        match code {
            Some(SUCCESS | PROMOTED) => Ok(Status::Running),
            _ if self.is_stopped(code) => Ok(Status::Stopped),
            _ => Err(error),
        }
    }

    fn bare(&self) -> Option<&dyn Bare> {
        Some(self)
    }
}

#[async_trait]
impl Bare for Ocf {
    async fn validate(&self, limits: &Limits) -> Result<(), AgentError> {
        self.act("validate-all", limits).await.map_err(|f| f.error)
    }

    async fn refuse(&self, limits: &Limits) -> Result<(), AgentError> {
        let code = match self.act("no-such-action", limits).await {
            Ok(()) => SUCCESS,
            Err(Failure {
                code: Some(code), ..
            }) => code,
            Err(failure) => return Err(failure.error),
        };
        if code == UNIMPLEMENTED {
            return Ok(());
        }
        Err(AgentError::Failed(format!(
            "{} answers an action that there is not with exit code {code}; 3 says that it is not implemented",
            self.name()
        )))
    }

    async fn bare_start(&self, limits: &Limits) -> Result<(), AgentError> {
        let result = self.act("start", limits).await;
        let missing = matches!(&result, Err(f) if f.code == Some(NOT_INSTALLED));
        if !missing {
            self.seen.store(true, Ordering::Relaxed);
        }
        result.map_err(|f| f.error)
    }

    async fn bare_stop(&self, limits: &Limits) -> Result<(), AgentError> {
        self.act("stop", limits).await.map_err(|f| f.error)
    }

    async fn bare_look(&self, limits: &Limits) -> Result<Status, AgentError> {
        match self.code(limits).await? {
            (Some(SUCCESS | PROMOTED), _) => Ok(Status::Running),
            (Some(NOT_RUNNING), _) => Ok(Status::Stopped),
            (_, error) => Err(error),
        }
    }
}

/// Asks an agent to describe itself. Its output and its time are bounded.
pub async fn describe_itself(
    path: &PathBuf,
    env: &ScriptEnv,
    limits: &Limits,
) -> Result<MetaData, String> {
    let what = format!("{} meta-data", path.display());
    let mut command = Command::new(path);
    command.arg("meta-data");
    env.prepare(&mut command);
    for name in NOT_FOR_OCF {
        command.env_remove(name);
    }
    let Call { status, report } = call(&what, command, Streams::Split, limits)
        .await
        .map_err(|e| e.to_string())?;
    if !status.success() {
        return Err(failed(&what, &how(status), &report.errors).to_string());
    }
    if report.output.cut {
        return Err(format!("{what}: prints more than any description has"));
    }
    MetaData::parse(&report.output.text()).map_err(|e| format!("{what}: {e}"))
}

#[cfg(test)]
mod tests;
