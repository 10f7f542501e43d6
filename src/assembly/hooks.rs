//! Who is notified: of a group (`notify`) and of a node (`rc.d/status`).

use std::sync::Arc;

use crate::agent::exec::environment::ScriptEnv;
use crate::agent::exec::hook::{self, Hook};
use crate::config::{Config, NotifyTarget};
use crate::model::webhook::Webhook;
use crate::sys::foreign_file::read_secret;
use crate::sys::tls::Trust;
use crate::text::{Place, Problems, duration_for_people};

/// The longest file with the secret of a webhook.
pub const MAX_SECRET_BYTES: u64 = 4096;

/// The programs to run and their environment, and the servers to tell.
pub struct Hooks {
    /// Run when the state of a group changes.
    pub notify: Vec<Hook>,
    /// The servers that are told the same.
    pub webhooks: Vec<Webhook>,
    /// Run when a node becomes active or dead.
    pub status: Option<Hook>,
    /// What programs get in their environment.
    pub env: Arc<ScriptEnv>,
}

impl Hooks {
    /// The hooks of a configuration. Problems go to the report.
    pub fn new(config: &Config, env: &Arc<ScriptEnv>, report: &mut Problems) -> Self {
        let (mut notify, mut webhooks) = (Vec::new(), Vec::new());
        for rule in &config.notify {
            match &rule.target {
                NotifyTarget::Programs(path, timeout) => {
                    let hook = Hook {
                        path: path.clone(),
                        timeout: *timeout,
                    };
                    judge_programs(&hook, &rule.place, report);
                    notify.push(hook);
                }
                NotifyTarget::Webhook(webhook) => {
                    judge_webhook(webhook, &rule.place, report);
                    webhooks.push(webhook.clone());
                }
            }
        }
        let status = hook::status_script(env).unwrap_or_else(|(path, mistake)| {
            let help = mistake.help.unwrap_or_default();
            report.warning(&Place::whole(&path), mistake.message, help);
            None
        });
        Hooks {
            notify,
            webhooks,
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
        let servers = self.webhooks.iter().map(|webhook| {
            let signed = match webhook.secret {
                Some(_) => "signed",
                None => "not signed",
            };
            format!(
                "told when a group is online, offline, failed or stuck here: {webhook}, {signed}, timeout {}\n",
                duration_for_people(webhook.timeout)
            )
        });
        groups.chain(servers).chain(nodes).collect()
    }
}

/// Reports programs that cannot be run.
fn judge_programs(hook: &Hook, place: &Place, report: &mut Problems) {
    match hook.check_programs() {
        Ok(programs) if programs.is_empty() => {
            let message = format!(
                "there is no program in {}, so this line has no effect",
                hook.path.display()
            );
            report.warning(place, message, "chmod 755 the programs to run");
        }
        Ok(_) => {}
        Err(mistakes) => {
            for mistake in mistakes {
                let help = mistake.help.unwrap_or_default();
                report.error(place, mistake.message, help);
            }
        }
    }
}

/// Reports files that a request needs and that cannot be used. The server need not run now.
fn judge_webhook(webhook: &Webhook, place: &Place, report: &mut Problems) {
    if let Some(file) = &webhook.secret {
        let shown = file.display();
        match read_secret(file, MAX_SECRET_BYTES) {
            Ok(text) if text.lines().next().is_none_or(|l| l.trim().is_empty()) => {
                let message = format!("{shown} has no secret in its first line");
                report.error(place, message, "make one: openssl rand -hex 20");
            }
            Ok(_) => {}
            Err(why) => report.error(place, format!("cannot use {shown}: {why}"), ""),
        }
    }
    if webhook.secure
        && let Err(why) = Trust::load(webhook.ca.as_deref())
    {
        report.error(place, why, "");
    }
}
