//! Runs programs and tells servers when the state of a group changes here (`notify`), or that of a node (heartbeat's
//! `rc.d/status`).
//!
//! Notifications about one group or node run one at a time, so they arrive in order. Changes in the meantime are merged into
//! one, from the state that was notified last to the newest. The programs together, and each server, have queues of their
//! own: none waits for another. Only the end of the daemon waits for them, and only for a limited time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::webhook::{Patience, WebhookSender};
use crate::agent::exec::environment::ScriptEnv;

use crate::agent::exec::hook::{self, Hook};
use crate::assembly::hooks::Hooks;
use crate::model::decision::{Decision, What};
use crate::model::webhook::Webhook;
use crate::sys::clock::wall_seconds;
use crate::text::{mask_secrets, printable};

/// The state before the first notification.
const UNKNOWN: &str = "unknown";

/// Who is told, with a queue for each subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Listener {
    /// The programs, one after the other.
    Programs,
    /// One server.
    Server(Webhook),
}

/// The hooks, and what is known of the servers among them.
struct Listeners {
    hooks: Hooks,
    servers: BTreeMap<Webhook, Arc<WebhookSender>>,
    /// Whether the daemon ends.
    ends: watch::Receiver<bool>,
}

impl Listeners {
    /// Keeps what `former` knows of the servers that are still there.
    fn new(hooks: Hooks, former: Option<&Listeners>, ends: watch::Receiver<bool>) -> Arc<Self> {
        let servers = hooks.webhooks.iter().map(|webhook| {
            let known = former.and_then(|f| f.servers.get(webhook)).cloned();
            let new = || WebhookSender::new(webhook.clone(), Patience::USUAL);
            (webhook.clone(), known.unwrap_or_else(new))
        });
        let servers = servers.collect();
        Arc::new(Listeners {
            hooks,
            servers,
            ends,
        })
    }

    /// The programs that are run for a subject.
    fn hooks_for(&self, subject: &Subject) -> &[Hook] {
        match subject {
            Subject::Group(_) | Subject::Fencing(_) => &self.hooks.notify,
            Subject::Node(_) => self.hooks.status.as_slice(),
        }
    }

    /// Who is told about a subject.
    fn listeners_for(&self, subject: &Subject) -> Vec<Listener> {
        let mut all = Vec::new();
        if !self.hooks_for(subject).is_empty() {
            all.push(Listener::Programs);
        }
        if !matches!(subject, Subject::Node(_)) {
            all.extend(self.servers.keys().cloned().map(Listener::Server));
        }
        all
    }

    async fn tell(&self, listener: &Listener, notification: &Notification) {
        match listener {
            Listener::Programs => self.run_all(notification).await,
            Listener::Server(webhook) => {
                let Some(server) = self.servers.get(webhook) else {
                    return;
                };
                let body = notification.json(&self.hooks.env).to_string();
                let what = mask_secrets(&notification.to_string());
                server.deliver(&body, &what, self.ends.clone()).await;
            }
        }
    }

    async fn run_all(&self, notification: &Notification) {
        let words = notification.words();
        for hook in self.hooks_for(&notification.subject) {
            let programs = match hook.list_programs().await {
                Ok(programs) => programs,
                Err(why) => {
                    tracing::warn!(
                        "notify: cannot run the programs in {} for \"{notification}\": {why}",
                        hook.path.display()
                    );
                    continue;
                }
            };
            let env = &self.hooks.env;
            for program in programs {
                if let Err(why) = hook::run(&program, &words, hook.timeout, env).await {
                    tracing::warn!("notify: {why} (it was run for \"{notification}\")");
                }
            }
        }
    }
}

/// What a notification is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Group(String),
    Node(String),
    /// The fencing of a node.
    Fencing(String),
}

impl Subject {
    /// The variable with its name.
    fn word(&self) -> &'static str {
        match self {
            Self::Group(_) => "HA_NOTIFY_GROUP",
            Self::Node(_) => "HA_src",
            Self::Fencing(_) => "HA_NOTIFY_NODE",
        }
    }
}

/// One notification: a subject went from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Notification {
    subject: Subject,
    from: &'static str,
    to: &'static str,
    reason: String,
    sequence: u64,
    /// How many earlier changes are merged into this one.
    skipped: u64,
    /// Seconds since 1970 by the wall clock.
    time: u64,
}

impl std::fmt::Display for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Subject::Group(name) | Subject::Node(name) | Subject::Fencing(name)) = &self.subject;
        write!(f, "{name} is {}", self.to)
    }
}

impl Notification {
    fn words(&self) -> Vec<(&'static str, String)> {
        match &self.subject {
            Subject::Group(name) | Subject::Fencing(name) => vec![
                (self.subject.word(), mask_secrets(name)),
                ("HA_NOTIFY_FROM", self.from.to_owned()),
                ("HA_NOTIFY_TO", self.to.to_owned()),
                ("HA_NOTIFY_REASON", printable(&mask_secrets(&self.reason))),
                ("HA_NOTIFY_SEQUENCE", self.sequence.to_string()),
                ("HA_NOTIFY_SKIPPED", self.skipped.to_string()),
            ],
            // Heartbeat's own names.
            Subject::Node(node) => vec![
                ("HA_t", "status".to_owned()),
                (self.subject.word(), node.clone()),
                ("HA_st", self.to.to_owned()),
            ],
        }
    }

    /// What servers are sent; ha.cf(5) describes it.
    fn json(&self, env: &ScriptEnv) -> serde_json::Value {
        let (about, name) = match &self.subject {
            Subject::Group(name) => ("group", name),
            Subject::Node(name) => ("node", name),
            Subject::Fencing(name) => ("fencing", name),
        };
        let mut directives = env.directives.iter();
        let cluster = directives.find(|(name, _)| name == "cluster");
        serde_json::json!({
            "version": 1,
            "cluster": cluster.map(|(_, value)| value),
            "node": env.node.as_str(),
            "time": self.time,
            "about": about,
            "name": mask_secrets(name),
            "from": self.from,
            "to": self.to,
            "reason": printable(&mask_secrets(&self.reason)),
            "sequence": self.sequence,
            "skipped": self.skipped,
        })
    }

    /// Merges an older notification that has not run yet into this one; none when both together change nothing.
    fn merge(self, older: Option<Notification>) -> Option<Notification> {
        let Some(older) = older else {
            return Some(self);
        };
        let notification = Notification {
            from: older.from,
            skipped: older.skipped.saturating_add(1),
            ..self
        };
        (notification.from != notification.to).then_some(notification)
    }
}

/// The notifications of one subject for one listener: one that waits, and whether one is running.
#[derive(Default)]
struct NotificationQueue {
    next: Option<Notification>,
    running: bool,
}

type NotificationQueues = Arc<Mutex<BTreeMap<(Subject, Listener), NotificationQueue>>>;

/// Turns decisions into notifications and runs them.
pub struct Notifier {
    listeners: Arc<Listeners>,
    ends: watch::Sender<bool>,
    /// The newest state of each subject.
    states: BTreeMap<Subject, &'static str>,
    sequence: u64,
    queues: NotificationQueues,
    tasks: JoinSet<()>,
}

impl Notifier {
    /// Runs nothing before the first decision.
    pub fn new(hooks: Hooks) -> Self {
        let (ends, ended) = watch::channel(false);
        Notifier {
            listeners: Listeners::new(hooks, None, ended),
            ends,
            states: BTreeMap::new(),
            sequence: 0,
            queues: NotificationQueues::default(),
            tasks: JoinSet::new(),
        }
    }

    /// Runs the hooks of a new configuration from now on.
    pub fn reconfigure(&mut self, hooks: Hooks) {
        let ends = self.ends.subscribe();
        self.listeners = Listeners::new(hooks, Some(&self.listeners), ends);
    }

    /// Notifies of a decision, when it changes the state of a group or node.
    pub fn add_decision(&mut self, decision: &Decision) {
        while self.tasks.try_join_next().is_some() {}
        let Some((subject, to)) = state_change(decision) else {
            return;
        };
        let from = self.states.insert(subject.clone(), to).unwrap_or(UNKNOWN);
        if from == to {
            return;
        }
        if !matches!(subject, Subject::Node(_)) {
            self.sequence = self.sequence.saturating_add(1);
        }
        let notification = Notification {
            subject: subject.clone(),
            from,
            to,
            reason: decision.reason().unwrap_or_default(),
            sequence: self.sequence,
            skipped: 0,
            time: wall_seconds(),
        };
        for listener in self.listeners.listeners_for(&subject) {
            self.enqueue(listener, notification.clone());
        }
    }

    fn enqueue(&mut self, listener: Listener, notification: Notification) {
        let key = (notification.subject.clone(), listener);
        let mut queues = locked(&self.queues);
        let queue = queues.entry(key.clone()).or_default();
        queue.next = notification.merge(queue.next.take());
        if !std::mem::replace(&mut queue.running, true) {
            let (queues, listeners) = (Arc::clone(&self.queues), Arc::clone(&self.listeners));
            self.tasks.spawn(run_queue(key, queues, listeners));
        }
    }

    /// Waits until all notifications have run, but no longer than `patience`.
    pub async fn finish(mut self, patience: Duration) {
        self.ends.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(patience, all).await.is_err() {
            tracing::warn!(
                "notify: a program is still running, or a server has not answered; the daemon ends without waiting any longer"
            );
        }
    }
}

/// Tells one listener about one subject, one notification after the other.
async fn run_queue(
    key: (Subject, Listener),
    queues: NotificationQueues,
    listeners: Arc<Listeners>,
) {
    loop {
        let next = {
            let mut queues = locked(&queues);
            let queue = queues.entry(key.clone()).or_default();
            queue.running = queue.next.is_some();
            queue.next.take()
        };
        let Some(notification) = next else { return };
        listeners.tell(&key.1, &notification).await;
    }
}

fn locked(
    queues: &NotificationQueues,
) -> MutexGuard<'_, BTreeMap<(Subject, Listener), NotificationQueue>> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The subject that a decision is about, and the state that it brings; none when nobody is notified of it.
fn state_change(decision: &Decision) -> Option<(Subject, &'static str)> {
    let node =
        |name: &crate::model::NodeName, state| Some((Subject::Node(name.to_string()), state));
    let fencing =
        |name: &crate::model::NodeName, state| Some((Subject::Fencing(name.to_string()), state));
    let state = match &decision.what {
        What::PeerActive(name) => return node(name, "active"),
        What::FenceBegins(name) => return fencing(name, "fencing"),
        What::Fenced(name) => return fencing(name, "fenced"),
        What::FenceFailed(name) => return fencing(name, "fence-failed"),
        What::FenceHeld(name) => return fencing(name, "fence-held"),
        What::FencedLives(name) => return fencing(name, "fenced-wrong"),
        What::PeerDead(name) | What::PeerLeft(name) => return node(name, "dead"),
        What::Adopt(_) | What::Online => "online",
        What::Offline | What::FailureExpired => "offline",
        What::Failed => "failed",
        What::Stuck => "stuck",
        _ => return None,
    };
    let group = decision.group.as_ref()?;
    Some((Subject::Group(group.to_string()), state))
}

#[cfg(test)]
mod tests;
