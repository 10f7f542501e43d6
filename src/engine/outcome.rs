//! Rule 18: the outcome of commands. A command is answered when its outcome is known, and rolled back if it failed.

use super::Engine;
use super::command::{CommandKind, PendingCommand};
use super::group::Group;
use super::placement::{choose_node, why_no_other};
use super::refusal::stuck_there;
use crate::model::decision::{Because, What};
use crate::model::heartbeat::GroupState;
use crate::model::{GroupName, NodeName, Time};

/// How far a command has come.
enum Progress {
    Waiting,
    Done(String),
    Failed(String),
}

impl Engine {
    /// Answers every command whose outcome is known now.
    pub(super) fn settle_commands(&mut self, now: Time) {
        for mut pending in std::mem::take(&mut self.pending) {
            if self.is_moving(&pending, now) {
                pending.stalls_at = now + self.patience();
            }
            match self.command_progress(&pending, now) {
                Progress::Waiting => self.pending.push(pending),
                Progress::Done(_) if pending.answered => {}
                Progress::Done(text) => self.reply(pending.id, Ok(text)),
                Progress::Failed(text) => {
                    self.roll_back(&pending);
                    let what = What::CommandFailed(pending.kind.as_str().to_owned());
                    self.round.record_node(what, Because::Agent(text.clone()));
                    if !pending.answered {
                        self.reply(pending.id, Err(text));
                    }
                }
            }
        }
    }

    /// Whether something is under way for one of its groups that ends by itself: a start, a stop, a wait of limited length.
    fn is_moving(&self, pending: &PendingCommand, now: Time) -> bool {
        let works = |s: GroupState| matches!(s, GroupState::Starting | GroupState::Stopping);
        let moving = |group: &&Group| {
            let at_peer = self.view.living().any(|p| works(p.state(group.name())));
            let waits = group.blocked_because(now, &self.view);
            let ends = matches!(
                waits,
                Some(Because::StopsStill(..) | Because::MachineProbed(_) | Because::PingGap)
            );
            at_peer || works(group.state()) || ends
        };
        let groups = self.groups.iter();
        groups
            .filter(|g| pending.groups.contains(g.name()))
            .any(|g| moving(&g))
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
                CommandKind::Takeover => self.takeover_progress(group, now),
            };
            match progress {
                Progress::Done(text) => done.push(text),
                Progress::Failed(text) => return Progress::Failed(text),
                Progress::Waiting if now >= pending.until.min(pending.stalls_at) => {
                    return Progress::Failed(self.why_not_yet(group, now));
                }
                Progress::Waiting => return Progress::Waiting,
            }
        }
        if pending.ended_standby {
            done.push(format!("{} is no longer in standby for it", self.view.me()));
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

    fn takeover_progress(&self, group: &Group, now: Time) -> Progress {
        let name = group.name();
        match group.state() {
            GroupState::Online => Progress::Done(self.taken_over(name)),
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
                if let Some(peer) = self.view.living().find(stuck) {
                    return Progress::Failed(stuck_there(name, peer));
                }
                let down = matches!(group.state(), GroupState::Offline | GroupState::Claiming);
                let held = group.held_for_good(now, &self.view).filter(|_| down);
                match held {
                    Some(because) => Progress::Failed(format!("{name} did not move: {because}")),
                    None => Progress::Waiting,
                }
            }
        }
    }

    /// It runs here. What was overridden for that, is told.
    fn taken_over(&self, name: &GroupName) -> String {
        let me = self.view.me();
        match self.view.checks.ineligible(name) {
            Some(check) => {
                format!("{name} runs on {me}, although {me} {check}: what it does not have is lost")
            }
            None => format!("{name} runs on {me}"),
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
            (None, None) => match self.does_not_know_yet(name) {
                Some(peer) => format!(
                    "{name} did not move in time: {peer} does not know yet what runs there; hactl status on {peer} says why"
                ),
                None => format!(
                    "{name} did not move in time: it is {} here",
                    group.state().as_str()
                ),
            },
        }
    }

    /// A node that has not found out yet whether it runs there.
    fn does_not_know_yet(&self, name: &GroupName) -> Option<&NodeName> {
        let unknown = |p: &&super::Peer| p.state(name) == GroupState::Unknown;
        self.view.living_nodes().find(unknown).map(|p| &p.name)
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
