//! Units of systemd, through `systemctl`.
//!
//! When the machine shuts down, systemd stops all units at once, in the order it knows. It must not stop a unit of a group
//! before the daemon, because the daemon stops groups step by step, from right to left. So each unit gets a drop-in in
//! `/run` with `Before=had.service`: it then stops after the daemon. The price: while the machine shuts down, a plain
//! `systemctl stop` by the daemon would wait for the daemon's own end. Only then the order is ignored.

pub mod unit;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use async_trait::async_trait;
use tokio::process::Command;

use self::unit::{Unit, UnitState};
use crate::agent::exec::agent_call::{FinishedCall, call_agent, call_failed, log_output};
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::supervise::Streams;
use crate::agent::{Agent, AgentError, Limits, Status};

/// The folder of drop-ins that are gone after a reboot.
const DROP_INS: &str = "/run/systemd/system";
/// The name of our drop-in; those of the administrator sort after it.
const DROP_IN: &str = "50-had.conf";
/// Exists if systemd is the init of this machine.
const BOOTED: &str = "/run/systemd/system";

/// One unit as a resource.
pub struct Systemd {
    /// The name with its suffix, such as `.service`.
    name: String,
    env: Arc<ScriptEnv>,
}

impl Systemd {
    /// `name` has its suffix.
    pub fn new(name: &str, env: Arc<ScriptEnv>) -> Self {
        Systemd {
            name: name.to_owned(),
            env,
        }
    }

    async fn query(&self, limits: &Limits) -> Result<Unit, AgentError> {
        query_unit(&self.name, &self.env, limits).await
    }

    /// Makes sure that systemd stops the unit after the daemon.
    async fn order_before_daemon(&self, limits: &Limits) -> Result<(), AgentError> {
        let changed = write_drop_in(Path::new(DROP_INS), &self.name).map_err(|e| {
            let path = drop_in(Path::new(DROP_INS), &self.name);
            AgentError::Failed(format!("cannot write {}: {e}", path.display()))
        })?;
        if changed {
            self.run_systemctl(&["daemon-reload"], limits).await?;
        }
        Ok(())
    }

    async fn run_systemctl(&self, words: &[&str], limits: &Limits) -> Result<(), AgentError> {
        let FinishedCall { status, report } = systemctl(&self.env, words, limits).await?;
        let what = format!("systemctl {}", words.join(" "));
        log_output(&what, &report.output);
        if status.success() {
            return Ok(());
        }
        Err(call_failed(&what, status, &report.output))
    }

    /// Whether the machine is shutting down.
    async fn machine_stops(&self, limits: &Limits) -> bool {
        let call = systemctl(&self.env, &["is-system-running"], limits).await;
        call.is_ok_and(|c| c.report.output.text().trim() == "stopping")
    }
}

#[async_trait]
impl Agent for Systemd {
    /// A unit that ends right after its start has failed. For a simple service nobody else notices that.
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        self.order_before_daemon(limits).await?;
        self.run_systemctl(&["start", "--", &self.name], limits)
            .await?;
        let unit = self.query(limits).await?;
        match unit.state() {
            UnitState::Running | UnitState::Between => Ok(()),
            UnitState::Stopped => Err(AgentError::Failed(format!(
                "unit {} ended right after its start: {unit}; see journalctl -u {}",
                self.name, self.name
            ))),
        }
    }

    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let words = stop_words(&self.name, self.machine_stops(limits).await);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let stopped = self.run_systemctl(&words, limits).await;
        if matches!(stopped, Err(AgentError::TimedOut(_))) {
            return stopped;
        }
        let unit = self.query(limits).await?;
        match unit.state() {
            UnitState::Stopped => Ok(()),
            UnitState::Running | UnitState::Between => Err(stopped.err().unwrap_or_else(|| {
                AgentError::Failed(format!(
                    "unit {} still runs after its stop: {unit}",
                    self.name
                ))
            })),
        }
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        let unit = self.query(limits).await?;
        match unit.state() {
            UnitState::Running => Ok(Status::Running),
            UnitState::Stopped => Ok(Status::Stopped),
            UnitState::Between => Err(AgentError::Failed(format!("unit {} is {unit}", self.name))),
        }
    }
}

/// Asks systemd about a unit.
pub async fn query_unit(name: &str, env: &ScriptEnv, limits: &Limits) -> Result<Unit, AgentError> {
    if !Path::new(BOOTED).is_dir() {
        let message = format!("systemd does not run on this machine, so there is no unit {name}");
        return Err(AgentError::Failed(message));
    }
    let properties = format!("--property={}", unit::PROPERTIES);
    let words = ["show", &properties, "--", name];
    let FinishedCall { status, report } = systemctl(env, &words, limits).await?;
    if !status.success() {
        let what = format!("systemctl show {name}");
        return Err(call_failed(&what, status, &report.output));
    }
    Ok(Unit::parse(&report.output.text()))
}

async fn systemctl(
    env: &ScriptEnv,
    words: &[&str],
    limits: &Limits,
) -> Result<FinishedCall, AgentError> {
    let mut command = Command::new("systemctl");
    command
        .args(["--no-pager", "--no-ask-password"])
        .args(words);
    env.prepare(&mut command);
    let what = format!("systemctl {}", words.join(" "));
    call_agent(&what, command, Streams::Merged, limits).await
}

/// The arguments of `systemctl` for a stop.
fn stop_words(name: &str, machine_stops: bool) -> Vec<String> {
    let mut words = vec!["stop".to_owned()];
    if machine_stops {
        words.push("--job-mode=ignore-dependencies".to_owned());
    }
    words.extend(["--".to_owned(), name.to_owned()]);
    words
}

fn drop_in(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.d")).join(DROP_IN)
}

/// Writes the drop-in. Returns whether it changed.
fn write_drop_in(folder: &Path, name: &str) -> io::Result<bool> {
    let path = drop_in(folder, name);
    let text = unit::drop_in_text(name);
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(false);
    }
    fs::create_dir_all(path.parent().unwrap_or(folder))?;
    fs::write(&path, text)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_overruled_only_while_the_machine_goes_down() {
        assert_eq!(stop_words("a.service", false), ["stop", "--", "a.service"]);
        assert_eq!(
            stop_words("a.service", true),
            ["stop", "--job-mode=ignore-dependencies", "--", "a.service"]
        );
    }

    #[test]
    fn the_drop_in_is_written_once_and_again_when_it_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web@1.service.d/50-had.conf");
        assert!(write_drop_in(dir.path(), "web@1.service").unwrap());
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .contains("Before=had.service")
        );
        assert!(!write_drop_in(dir.path(), "web@1.service").unwrap());
        fs::write(&path, "").unwrap();
        assert!(write_drop_in(dir.path(), "web@1.service").unwrap());
    }
}
