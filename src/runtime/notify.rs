//! Tells programs what became of a group here (`notify`), and of a node (heartbeat's `rc.d/status`).
//!
//! About one thing nothing is told while an earlier word about it is still under way, so what arrives is in order. What
//! happens meanwhile is told as one: from the state that was told last to the newest. Nobody waits for these programs but the
//! end of the daemon, and that not for ever.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::agent::exec::hook::{self, Hook};
use crate::assembly::hooks::Hooks;
use crate::model::decision::{Decision, What};

/// What a group's state is called that nothing was told of yet.
const UNKNOWN: &str = "unknown";

impl Hooks {
    /// Those that are told about it.
    fn about(&self, of: &Of) -> &[Hook] {
        match of {
            Of::Group(_) => &self.notify,
            Of::Node(_) => self.status.as_slice(),
        }
    }

    async fn tell(&self, news: &News) {
        let words = news.words();
        for hook in self.about(&news.of) {
            let programs = match hook.list_programs().await {
                Ok(programs) => programs,
                Err(why) => {
                    tracing::warn!(
                        "nobody in {} is told that {news}: {why}",
                        hook.path.display()
                    );
                    continue;
                }
            };
            for program in programs {
                if let Err(why) = hook::run(&program, &words, hook.timeout, &self.env).await {
                    tracing::warn!("{why} (the news was: {news})");
                }
            }
        }
    }
}

/// Whom news are about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Group(String),
    Node(String),
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
struct News {
    of: Of,
    from: &'static str,
    to: &'static str,
    reason: String,
    sequence: u64,
    /// So many changes before this one were not told one by one.
    skipped: u64,
}

impl std::fmt::Display for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Of::Group(name) | Of::Node(name)) = &self.of;
        write!(f, "{name} is {}", self.to)
    }
}

impl News {
    fn words(&self) -> Vec<(&'static str, String)> {
        match &self.of {
            Of::Group(group) => vec![
                ("HA_NOTIFY_GROUP", group.clone()),
                ("HA_NOTIFY_FROM", self.from.to_owned()),
                ("HA_NOTIFY_TO", self.to.to_owned()),
                ("HA_NOTIFY_REASON", self.reason.clone()),
                ("HA_NOTIFY_SEQUENCE", self.sequence.to_string()),
                ("HA_NOTIFY_SKIPPED", self.skipped.to_string()),
            ],
            // Heartbeat's own names.
            Of::Node(node) => vec![
                ("HA_t", "status".to_owned()),
                ("HA_src", node.clone()),
                ("HA_st", self.to.to_owned()),
            ],
        }
    }

    /// What is to be told instead of an older one that nobody heard; none when all is as it was told last.
    fn after(self, older: Option<News>) -> Option<News> {
        let Some(older) = older else {
            return Some(self);
        };
        let news = News {
            from: older.from,
            skipped: older.skipped.saturating_add(1),
            ..self
        };
        (news.from != news.to).then_some(news)
    }
}

/// What waits to be told about one thing.
#[derive(Default)]
struct Line {
    next: Option<News>,
    /// Somebody is at it.
    busy: bool,
}

type Lines = Arc<Mutex<BTreeMap<Of, Line>>>;

/// Takes decisions in, and tells those that matter to others.
pub struct Notifier {
    hooks: Arc<Hooks>,
    /// What each was last seen to be.
    states: BTreeMap<Of, &'static str>,
    sequence: u64,
    lines: Lines,
    tasks: JoinSet<()>,
}

impl Notifier {
    /// Nothing is told before the first decision.
    pub fn new(hooks: Hooks) -> Self {
        Notifier {
            hooks: Arc::new(hooks),
            states: BTreeMap::new(),
            sequence: 0,
            lines: Lines::default(),
            tasks: JoinSet::new(),
        }
    }

    /// What is told from now on is told to these.
    pub fn reconfigure(&mut self, hooks: Hooks) {
        self.hooks = Arc::new(hooks);
    }

    /// A decision was taken.
    pub fn hear(&mut self, decision: &Decision) {
        while self.tasks.try_join_next().is_some() {}
        let Some((of, to)) = change(decision) else {
            return;
        };
        let from = self.states.insert(of.clone(), to).unwrap_or(UNKNOWN);
        if from == to {
            return;
        }
        if matches!(of, Of::Group(_)) {
            self.sequence = self.sequence.saturating_add(1);
        }
        if self.hooks.about(&of).is_empty() {
            return;
        }
        let news = News {
            of: of.clone(),
            from,
            to,
            reason: decision.reason().unwrap_or_default(),
            sequence: self.sequence,
            skipped: 0,
        };
        let mut lines = locked(&self.lines);
        let line = lines.entry(of.clone()).or_default();
        line.next = news.after(line.next.take());
        if !std::mem::replace(&mut line.busy, true) {
            let (lines, hooks) = (Arc::clone(&self.lines), Arc::clone(&self.hooks));
            self.tasks.spawn(tell_all(of, lines, hooks));
        }
    }

    /// Waits until all is told, but no longer than that.
    pub async fn finish(mut self, patience: Duration) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(patience, all).await.is_err() {
            tracing::warn!("a program of notify does not end; it is not waited for any longer");
        }
    }
}

/// Tells one after the other what there is about one thing.
async fn tell_all(of: Of, lines: Lines, hooks: Arc<Hooks>) {
    loop {
        let next = {
            let mut lines = locked(&lines);
            let line = lines.entry(of.clone()).or_default();
            line.busy = line.next.is_some();
            line.next.take()
        };
        let Some(news) = next else { return };
        hooks.tell(&news).await;
    }
}

fn locked(lines: &Lines) -> MutexGuard<'_, BTreeMap<Of, Line>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What of a decision is told, and what it makes of whom.
fn change(decision: &Decision) -> Option<(Of, &'static str)> {
    let node = |name: &crate::model::NodeName, state| Some((Of::Node(name.to_string()), state));
    let state = match &decision.what {
        What::PeerActive(name) => return node(name, "active"),
        What::PeerDead(name) | What::PeerLeft(name) => return node(name, "dead"),
        What::Adopt(_) | What::Online => "online",
        What::Offline | What::FailureExpired => "offline",
        What::Failed => "failed",
        What::Stuck => "stuck",
        _ => return None,
    };
    let group = decision.group.as_ref()?;
    Some((Of::Group(group.to_string()), state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(from: &'static str, to: &'static str, sequence: u64) -> News {
        News {
            of: Of::Group("db".to_owned()),
            from,
            to,
            reason: format!("reason {sequence}"),
            sequence,
            skipped: 0,
        }
    }

    #[test]
    fn what_nobody_heard_is_told_as_one_from_the_state_that_was_told_last() {
        let first = news("online", "offline", 4).after(None);
        assert_eq!(first, Some(news("online", "offline", 4)));
        let wanted = News {
            from: "online",
            skipped: 1,
            ..news("offline", "failed", 5)
        };
        let second = news("offline", "failed", 5).after(first);
        assert_eq!(second, Some(wanted));
        // All is again as it was told: there is nothing to say.
        assert_eq!(news("failed", "online", 6).after(second), None);
    }
}
