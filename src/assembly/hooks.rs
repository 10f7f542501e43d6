//! The programs that are notified: of a group (`notify`) and of a node (`rc.d/status`).

use std::sync::Arc;

use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::hook::{self, Hook};
use crate::config::Config;
use crate::text::{Place, Problems, duration_for_people};

/// The programs to run, and their environment.
pub struct Hooks {
    /// Run when the state of a group changes.
    pub notify: Vec<Hook>,
    /// Run when a node becomes active or dead.
    pub status: Option<Hook>,
    /// What programs get in their environment.
    pub env: Arc<ScriptEnv>,
}

impl Hooks {
    /// The hooks of a configuration. Problems go to the report.
    pub fn new(config: &Config, env: &Arc<ScriptEnv>, report: &mut Problems) -> Self {
        let mut notify = Vec::new();
        for rule in &config.notify {
            let hook = Hook {
                path: rule.path.clone(),
                timeout: rule.timeout,
            };
            match hook.check_programs() {
                Ok(programs) if programs.is_empty() => {
                    let message = format!(
                        "there is no program in {}, so this line has no effect",
                        hook.path.display()
                    );
                    report.warning(&rule.place, message, "chmod 755 the programs to run");
                }
                Ok(_) => {}
                Err(mistakes) => {
                    for mistake in mistakes {
                        let help = mistake.help.unwrap_or_default();
                        report.error(&rule.place, mistake.message, help);
                    }
                }
            }
            notify.push(hook);
        }
        let status = hook::status_script(env).unwrap_or_else(|(path, mistake)| {
            let help = mistake.help.unwrap_or_default();
            report.warning(&Place::whole(&path), mistake.message, help);
            None
        });
        Hooks {
            notify,
            status,
            env: Arc::clone(env),
        }
    }

    /// One line for each hook, for `hactl check`.
    pub fn describe(&self) -> String {
        let line = |what: &str, hook: &Hook| {
            let names = hook.programs().unwrap_or_default();
            let names: Vec<String> = names.iter().map(|p| p.display().to_string()).collect();
            let timeout = duration_for_people(hook.timeout);
            format!("{what}: {}, timeout {timeout}\n", names.join(", then "))
        };
        let notify = self.notify.iter();
        let groups = notify.map(|h| {
            line(
                "notified when a group is online, offline, failed or stuck here",
                h,
            )
        });
        let nodes = self
            .status
            .iter()
            .map(|h| line("notified when a node is active or dead", h));
        groups.chain(nodes).collect()
    }
}
