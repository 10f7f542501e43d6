//! Units of systemd, through `systemctl`.
//!
//! When the machine shuts down, systemd stops everything at once in the order it knows. It must not stop a unit of ours
//! before the daemon, which is to stop whole groups from right to left. So each unit gets a drop-in, gone with the next boot,
//! that orders it before the daemon and therefore lets it be stopped after the daemon. The price: while the machine shuts
//! down, a plain `systemctl stop` of ours would wait for our own end. Then, and only then, the order is overruled.

pub mod unit;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use async_trait::async_trait;
use tokio::process::Command;

use self::unit::{State, Unit};
use crate::agent::exec::agent_call::{Call, call, failed, how, log_output};
use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::supervise::Streams;
use crate::agent::{Agent, AgentError, Limits, Status};

/// Where drop-ins are that do not outlive a boot.
const DROP_INS: &str = "/run/systemd/system";
/// The name of ours; the administrator's own come later.
const DROP_IN: &str = "50-had.conf";
/// There where systemd is what started this machine.
const BOOTED: &str = "/run/systemd/system";

/// One unit as a resource.
pub struct Systemd {
    /// With its suffix.
    name: String,
    env: Arc<ScriptEnv>,
}

impl Systemd {
    /// Of that name, with its suffix.
    pub fn new(name: &str, env: Arc<ScriptEnv>) -> Self {
        Systemd {
            name: name.to_owned(),
            env,
        }
    }

    async fn systemctl(&self, words: &[&str], limits: &Limits) -> Result<Call, AgentError> {
        systemctl(&self.env, words, limits).await
    }

    async fn look(&self, limits: &Limits) -> Result<Unit, AgentError> {
        ask(&self.name, &self.env, limits).await
    }

    /// Sees to it that systemd knows the order.
    async fn order(&self, limits: &Limits) -> Result<(), AgentError> {
        let changed = write_drop_in(Path::new(DROP_INS), &self.name).map_err(|e| {
            let path = drop_in(Path::new(DROP_INS), &self.name);
            AgentError::Failed(format!("cannot write {}: {e}", path.display()))
        })?;
        if changed {
            self.done(&["daemon-reload"], limits).await?;
        }
        Ok(())
    }

    async fn done(&self, words: &[&str], limits: &Limits) -> Result<(), AgentError> {
        let Call { status, report } = self.systemctl(words, limits).await?;
        let what = format!("systemctl {}", words.join(" "));
        log_output(&what, &report.output);
        if status.success() {
            return Ok(());
        }
        Err(failed(&what, &how(status), &report.output))
    }

    /// Whether the machine is about to go down.
    async fn machine_stops(&self, limits: &Limits) -> bool {
        let call = self.systemctl(&["is-system-running"], limits).await;
        call.is_ok_and(|c| c.report.output.text().trim() == "stopping")
    }
}

#[async_trait]
impl Agent for Systemd {
    /// A unit that ends right after its start (of a simple service nobody else notices) has not started.
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        self.order(limits).await?;
        self.done(&["start", "--", &self.name], limits).await?;
        let unit = self.look(limits).await?;
        match unit.state() {
            State::Running | State::Between => Ok(()),
            State::Stopped => Err(AgentError::Failed(format!(
                "unit {} ended right after its start: {unit}; see journalctl -u {}",
                self.name, self.name
            ))),
        }
    }

    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let words = stop_words(&self.name, self.machine_stops(limits).await);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let stopped = self.done(&words, limits).await;
        if matches!(stopped, Err(AgentError::TimedOut(_))) {
            return stopped;
        }
        let unit = self.look(limits).await?;
        match unit.state() {
            State::Stopped => Ok(()),
            State::Running | State::Between => Err(stopped.err().unwrap_or_else(|| {
                AgentError::Failed(format!("unit {} is not stopped: {unit}", self.name))
            })),
        }
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        let unit = self.look(limits).await?;
        match unit.state() {
            State::Running => Ok(Status::Running),
            State::Stopped => Ok(Status::Stopped),
            State::Between => Err(AgentError::Failed(format!("unit {} is {unit}", self.name))),
        }
    }
}

/// What systemd knows of a unit.
pub async fn ask(name: &str, env: &ScriptEnv, limits: &Limits) -> Result<Unit, AgentError> {
    if !Path::new(BOOTED).is_dir() {
        let message = format!("systemd does not run here, so there is no unit {name}");
        return Err(AgentError::Failed(message));
    }
    let properties = format!("--property={}", unit::PROPERTIES);
    let words = ["show", &properties, "--", name];
    let Call { status, report } = systemctl(env, &words, limits).await?;
    if !status.success() {
        let what = format!("systemctl show {name}");
        return Err(failed(&what, &how(status), &report.output));
    }
    Ok(Unit::parse(&report.output.text()))
}

async fn systemctl(env: &ScriptEnv, words: &[&str], limits: &Limits) -> Result<Call, AgentError> {
    let mut command = Command::new("systemctl");
    command
        .args(["--no-pager", "--no-ask-password"])
        .args(words);
    env.prepare(&mut command);
    let what = format!("systemctl {}", words.join(" "));
    call(&what, command, Streams::Merged, limits).await
}

/// The arguments of a stop.
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

/// Whether it had to be written.
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
