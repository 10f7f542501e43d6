//! Runs programs when the state of a group changes here (`notify`), or that of a node (heartbeat's `rc.d/status`).
//!
//! Notifications about one group or node run one at a time, so they arrive in order. Changes in the meantime are merged into
//! one, from the state that was notified last to the newest. Only the end of the daemon waits for these programs, and only
//! for a limited time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::agent::exec::hook::{self, Hook};
use crate::assembly::hooks::Hooks;
use crate::model::decision::{Decision, What};
use crate::text::{mask_secrets, printable};

/// The state before the first notification.
const UNKNOWN: &str = "unknown";

impl Hooks {
    /// The hooks that are run for a subject.
    fn hooks_for(&self, subject: &Subject) -> &[Hook] {
        match subject {
            Subject::Group(_) | Subject::Fencing(_) => &self.notify,
            Subject::Node(_) => self.status.as_slice(),
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
            for program in programs {
                if let Err(why) = hook::run(&program, &words, hook.timeout, &self.env).await {
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

/// The notifications of one subject: one that waits, and whether one is running.
#[derive(Default)]
struct NotificationQueue {
    next: Option<Notification>,
    running: bool,
}

type NotificationQueues = Arc<Mutex<BTreeMap<Subject, NotificationQueue>>>;

/// Turns decisions into notifications and runs them.
pub struct Notifier {
    hooks: Arc<Hooks>,
    /// The newest state of each subject.
    states: BTreeMap<Subject, &'static str>,
    sequence: u64,
    queues: NotificationQueues,
    tasks: JoinSet<()>,
}

impl Notifier {
    /// Runs nothing before the first decision.
    pub fn new(hooks: Hooks) -> Self {
        Notifier {
            hooks: Arc::new(hooks),
            states: BTreeMap::new(),
            sequence: 0,
            queues: NotificationQueues::default(),
            tasks: JoinSet::new(),
        }
    }

    /// Runs the hooks of a new configuration from now on.
    pub fn reconfigure(&mut self, hooks: Hooks) {
        self.hooks = Arc::new(hooks);
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
        if self.hooks.hooks_for(&subject).is_empty() {
            return;
        }
        let notification = Notification {
            subject: subject.clone(),
            from,
            to,
            reason: decision.reason().unwrap_or_default(),
            sequence: self.sequence,
            skipped: 0,
        };
        let mut queues = locked(&self.queues);
        let queue = queues.entry(subject.clone()).or_default();
        queue.next = notification.merge(queue.next.take());
        if !std::mem::replace(&mut queue.running, true) {
            let (queues, hooks) = (Arc::clone(&self.queues), Arc::clone(&self.hooks));
            self.tasks.spawn(run_queue(subject, queues, hooks));
        }
    }

    /// Waits until all notifications have run, but no longer than `patience`.
    pub async fn finish(mut self, patience: Duration) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(patience, all).await.is_err() {
            tracing::warn!(
                "notify: a program is still running; the daemon ends without waiting for it any longer"
            );
        }
    }
}

/// Runs the notifications of one subject, one after the other.
async fn run_queue(subject: Subject, queues: NotificationQueues, hooks: Arc<Hooks>) {
    loop {
        let next = {
            let mut queues = locked(&queues);
            let queue = queues.entry(subject.clone()).or_default();
            queue.running = queue.next.is_some();
            queue.next.take()
        };
        let Some(notification) = next else { return };
        hooks.run_all(&notification).await;
    }
}

fn locked(queues: &NotificationQueues) -> MutexGuard<'_, BTreeMap<Subject, NotificationQueue>> {
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
mod tests {
    use super::*;

    fn notification(from: &'static str, to: &'static str, sequence: u64) -> Notification {
        Notification {
            subject: Subject::Group("db".to_owned()),
            from,
            to,
            reason: format!("reason {sequence}"),
            sequence,
            skipped: 0,
        }
    }

    #[test]
    fn notifications_that_wait_are_merged_from_the_state_notified_last() {
        let first = notification("online", "offline", 4).merge(None);
        assert_eq!(first, Some(notification("online", "offline", 4)));
        let wanted = Notification {
            from: "online",
            skipped: 1,
            ..notification("offline", "failed", 5)
        };
        let second = notification("offline", "failed", 5).merge(first);
        assert_eq!(second, Some(wanted));
        // The state is again the one notified last.
        assert_eq!(notification("failed", "online", 6).merge(second), None);
    }
}
