//! Rule 18: the outcome of commands. A command is answered when its outcome is known, and rolled back if it failed.

use super::Engine;
use super::command::{CommandKind, PendingCommand};
use super::group::Group;
use super::placement::{choose_node, why_no_other};
use crate::model::NodeName;
use crate::model::Time;
use crate::model::heartbeat::GroupState;

/// How far a command has come.
enum Progress {
    Waiting,
    Done(String),
    Failed(String),
}

impl Engine {
    /// Answers every command whose outcome is known now.
    pub(super) fn settle_commands(&mut self, now: Time) {
        for pending in std::mem::take(&mut self.pending) {
            match self.command_progress(&pending, now) {
                Progress::Waiting => self.pending.push(pending),
                Progress::Done(text) => self.reply(pending.id, Ok(text)),
                Progress::Failed(text) => {
                    self.roll_back(&pending);
                    self.reply(pending.id, Err(text));
                }
            }
        }
    }

    fn command_progress(&self, pending: &PendingCommand, now: Time) -> Progress {
        let mut done = Vec::new();
        for group in self
            .groups
            .iter()
            .filter(|g| pending.groups.contains(g.name()))
        {
            let progress = match pending.kind {
                CommandKind::Standby => self.standby_progress(group),
                CommandKind::Takeover => self.takeover_progress(group),
            };
            match progress {
                Progress::Done(text) => done.push(text),
                Progress::Failed(text) => return Progress::Failed(text),
                Progress::Waiting if now >= pending.until => {
                    return Progress::Failed(self.why_not_yet(group, now));
                }
                Progress::Waiting => return Progress::Waiting,
            }
        }
        Progress::Done(done.join("; "))
    }

    fn standby_progress(&self, group: &Group) -> Progress {
        let name = group.name();
        if group.state() == GroupState::Stuck {
            return Progress::Failed(self.stuck_here(group));
        }
        if group.is_load() {
            return Progress::Waiting;
        }
        let runs = |p: &&super::Peer| p.state(name) == GroupState::Online;
        if let Some(owner) = self.view.living().find(runs) {
            return Progress::Done(format!("{name} runs on {}", owner.name));
        }
        if self
            .view
            .living()
            .any(|p| super::counts_as_load(p.state(name)))
        {
            return Progress::Waiting;
        }
        let others = group.other_candidates(&self.view, &self.round);
        if choose_node(&others).is_ok() {
            return Progress::Waiting;
        }
        let why = why_no_other(&others);
        Progress::Failed(format!("{name} starts here again: {why}"))
    }

    fn takeover_progress(&self, group: &Group) -> Progress {
        let name = group.name();
        match group.state() {
            GroupState::Online => Progress::Done(format!("{name} runs on {}", self.view.me())),
            GroupState::Stuck => Progress::Failed(self.stuck_here(group)),
            GroupState::Failed => {
                let text = group.failure().map_or("", |f| f.text.as_str());
                Progress::Failed(format!("{name} could not be started here: {text}"))
            }
            GroupState::Unknown
            | GroupState::Offline
            | GroupState::Claiming
            | GroupState::Starting
            | GroupState::Stopping => {
                let stuck = |p: &&super::Peer| p.state(name) == GroupState::Stuck;
                match self.view.living().find(stuck) {
                    Some(p) => Progress::Failed(format!(
                        "{name} is stuck on {}: its stop failed there; stop it by hand there, then run hactl clear {name} there",
                        p.name
                    )),
                    None => Progress::Waiting,
                }
            }
        }
    }

    fn stuck_here(&self, group: &Group) -> String {
        let text = group.failure().map_or("", |f| f.text.as_str());
        format!("{} is stuck on {}: {text}", group.name(), self.view.me())
    }

    fn why_not_yet(&self, group: &Group, now: Time) -> String {
        let name = group.name();
        let why = group.blocked_because(now, &self.view);
        let holder: Option<&NodeName> = self.view.living().find(|p| p.holds(name)).map(|p| &p.name);
        match (why, holder) {
            (Some(why), _) => format!("{name} did not move in time: {why}"),
            (None, Some(holder)) => format!("{name} did not move in time: it is still on {holder}"),
            (None, None) => format!(
                "{name} did not move in time: it is {} here",
                group.state().as_str()
            ),
        }
    }

    /// A command that failed leaves no wish behind, and what no other node could run may come back here.
    fn roll_back(&mut self, pending: &PendingCommand) {
        for group in self
            .groups
            .iter_mut()
            .filter(|g| pending.groups.contains(g.name()))
        {
            let runs =
                |p: &super::Peer| p.is_living() && p.state(group.name()) == GroupState::Online;
            if pending.kind == CommandKind::Takeover {
                group.end_takeover();
            } else if group.state() != GroupState::Stuck && !self.view.peers.iter().any(runs) {
                group.end_standby();
            }
        }
        self.round.save = true;
    }
}
