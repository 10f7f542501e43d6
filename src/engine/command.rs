//! Rule 18: commands of an administrator. Each is refused at once with the reason, or carried out and answered when its
//! outcome is known.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{Asker, Command};
use super::group::Group;
use super::{Action, Engine};
use crate::model::cluster::GroupSpec;
use crate::model::decision::{Because, What};
use crate::model::heartbeat::{GroupState, Phase};
use crate::model::status::Liveness;
use crate::model::{GroupName, Time};
use crate::text::duration_for_people;

/// A command that waits for its outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PendingCommand {
    pub id: u64,
    pub kind: CommandKind,
    pub groups: Vec<GroupName>,
    pub until: Time,
    /// It has failed by then, if nothing moves until then.
    #[serde(default)]
    pub stalls_at: Time,
    /// Whether the asker has its answer: it does not wait for the outcome.
    #[serde(default)]
    pub answered: bool,
    /// Whether it ended a standby here.
    #[serde(default)]
    pub ended_standby: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CommandKind {
    Standby,
    Takeover,
}

impl CommandKind {
    pub fn as_str(self) -> &'static str {
        match self {
            CommandKind::Standby => "standby",
            CommandKind::Takeover => "takeover",
        }
    }
}

impl Engine {
    pub(super) fn execute_command(&mut self, now: Time, id: u64, command: Command, asker: Asker) {
        self.asker = asker;
        let answer = match (command, self.view.cluster.refuse_as_witness()) {
            (Command::Leave, _) => Ok(Some(self.begin_leaving())),
            (Command::Stop, _) => match self.refuse_to_stop() {
                Some(refusal) => Err(refusal),
                None => Ok(Some(self.begin_leaving())),
            },
            (Command::Forget(node), _) => self.forget_node(&node).map(Some),
            (Command::ConfirmDead(node), _) => self.confirm_dead(&node).map(Some),
            (Command::Fence(node), _) => self.fence_by_command(now, id, &node),
            (Command::Restart { back_within }, _) => {
                self.announce_restart(now, back_within).map(Some)
            }
            (_, Some(refusal)) => Err(refusal),
            (Command::Standby { groups, lasting }, None) => {
                self.stand_by(now, id, &groups, lasting)
            }
            (Command::Unstandby(groups), None) => Ok(Some(self.end_standby(&groups))),
            (Command::Takeover { groups, force }, None) => self.take_over(now, id, &groups, force),
            (Command::Clear(group), None) => self.clear_group(&group).map(Some),
            (Command::Maintenance { groups, on }, None) => match self.view.waits_for_name(now) {
                Some(waiting) => Err(format!(
                    "the other nodes do not listen to this one: it waits {waiting}"
                )),
                None => Ok(Some(self.set_maintenance(&groups, on))),
            },
        };
        match answer {
            Ok(None) if self.asker.waits => {}
            Ok(None) => {
                self.reply(id, Ok("accepted".to_owned()));
                let pending = self.pending.iter_mut().filter(|p| p.id == id);
                pending.for_each(|p| p.answered = true);
            }
            Ok(Some(text)) => self.reply(id, Ok(text)),
            Err(text) => self.reply(id, Err(text)),
        }
    }

    pub(super) fn reply(&mut self, id: u64, result: Result<String, String>) {
        self.round.out.push(Action::Reply { id, result });
    }

    fn known_groups(&self, groups: &[GroupName]) -> Vec<GroupName> {
        let known = self.groups.iter().map(Group::name);
        known.filter(|n| groups.contains(n)).cloned().collect()
    }

    /// The same without those that the configuration no longer has: these are only stopped.
    fn movable_groups(&self, groups: &[GroupName]) -> Vec<GroupName> {
        let kept = self.groups.iter().filter(|g| !g.is_removed());
        let named = kept.map(Group::name).filter(|n| groups.contains(n));
        named.cloned().collect()
    }

    fn stand_by(
        &mut self,
        now: Time,
        id: u64,
        groups: &[GroupName],
        lasting: bool,
    ) -> Result<Option<String>, String> {
        if let Some(refusal) = self.refuse_to_move(now, groups) {
            return Err(refusal);
        }
        let groups = self.movable_groups(groups);
        for group in self.groups.iter().filter(|g| groups.contains(g.name())) {
            self.can_be_given(group)?;
        }
        for group in self.groups.iter_mut().filter(|g| groups.contains(g.name())) {
            group.stand_by(lasting);
        }
        self.record_command(&groups, "standby");
        self.wait_for_outcome(now, id, CommandKind::Standby, groups);
        Ok(None)
    }

    fn end_standby(&mut self, groups: &[GroupName]) -> String {
        let groups = self.known_groups(groups);
        for group in self.groups.iter_mut().filter(|g| groups.contains(g.name())) {
            group.end_standby();
        }
        self.record_command(&groups, "end of standby");
        format!("{} may run {} again", self.view.me(), join_names(&groups))
    }

    fn take_over(
        &mut self,
        now: Time,
        id: u64,
        groups: &[GroupName],
        force: bool,
    ) -> Result<Option<String>, String> {
        if let Some(refusal) = self.refuse_to_move(now, groups) {
            return Err(refusal);
        }
        let groups = self.movable_groups(groups);
        for group in self.groups.iter().filter(|g| groups.contains(g.name())) {
            self.can_be_taken(group, force, now)?;
        }
        let mut ended_standby = false;
        for group in self.groups.iter_mut().filter(|g| groups.contains(g.name())) {
            ended_standby |= group.wishes().standby;
            group.take_over(force);
        }
        let force = if force { " --force" } else { "" };
        let ends = if ended_standby {
            ", which ends standby"
        } else {
            ""
        };
        self.record_command(&groups, &format!("takeover{force}{ends}"));
        self.wait_for_outcome(now, id, CommandKind::Takeover, groups);
        let pending = self.pending.iter_mut().filter(|p| p.id == id);
        pending.for_each(|p| p.ended_standby = ended_standby);
        Ok(None)
    }

    fn wait_for_outcome(&mut self, now: Time, id: u64, kind: CommandKind, groups: Vec<GroupName>) {
        let until = now + self.time_to_move(&groups);
        self.pending.push(PendingCommand {
            id,
            kind,
            groups,
            until,
            stalls_at: now + self.patience(),
            answered: false,
            ended_standby: false,
        });
    }

    /// A command has failed when nothing has moved for so long.
    pub(super) fn patience(&self) -> Duration {
        self.view.cluster.timing.deadtime + Duration::from_secs(10)
    }

    /// A move of these groups that takes longer than this has failed.
    fn time_to_move(&self, groups: &[GroupName]) -> Duration {
        let steps = |spec: &GroupSpec| {
            spec.steps
                .iter()
                .map(|s| s.start + s.stop)
                .sum::<Duration>()
        };
        let chosen = self.groups.iter().filter(|g| groups.contains(g.name()));
        let longest = chosen.map(|g| steps(g.spec())).max().unwrap_or_default();
        longest + self.view.cluster.timing.deadtime + Duration::from_secs(10)
    }

    fn clear_group(&mut self, name: &GroupName) -> Result<String, String> {
        let Some(group) = self.groups.iter_mut().find(|g| g.name() == name) else {
            return Err(format!("there is no group {name}"));
        };
        let mut cleared = group.clear(&mut self.round);
        for peer in self
            .view
            .peers
            .iter_mut()
            .filter(|p| p.liveness == Liveness::Dead)
        {
            if let Some(report) = peer
                .groups
                .get_mut(name)
                .filter(|r| r.state == GroupState::Stuck)
            {
                report.state = GroupState::Offline;
                cleared.push(format!("it now counts as stopped on {}", peer.name));
            }
        }
        let troubled = |p: &&super::Peer| {
            p.is_living() && matches!(p.state(name), GroupState::Failed | GroupState::Stuck)
        };
        if cleared.is_empty()
            && let Some(peer) = self.view.peers.iter().find(troubled)
        {
            let (node, state) = (&peer.name, peer.state(name).as_str());
            return Err(format!(
                "{name} is {state} on {node}, not here: repair it and run hactl clear {name} there"
            ));
        }
        self.record_command(std::slice::from_ref(name), "clear");
        if cleared.is_empty() {
            cleared.push("nothing had failed".to_owned());
        }
        Ok(format!("{name}: {}", cleared.join(", ")))
    }

    fn set_maintenance(&mut self, groups: &[GroupName], on: bool) -> String {
        let groups = self.known_groups(groups);
        for group in self.groups.iter_mut().filter(|g| groups.contains(g.name())) {
            group.set_maintenance(on);
        }
        let mut stuck: Vec<&str> = Vec::new();
        for peer in self.view.peers.iter_mut().filter(|p| !on && !p.is_living()) {
            // The other groups are judged when nobody has them in maintenance any more.
            let holds = peer.liveness == Liveness::Dead && groups.iter().any(|g| peer.holds(g));
            if peer.end_maintenance_unheard(&groups) || holds {
                stuck.push(peer.name.as_str());
            }
        }
        let stuck = stuck.join(", ");
        self.record_command(
            &groups,
            if on {
                "maintenance on"
            } else {
                "maintenance off"
            },
        );
        let still: Vec<&str> = self
            .view
            .living()
            .filter(|p| groups.iter().any(|g| p.maintains(g)))
            .map(|p| p.name.as_str())
            .collect();
        match (on, still.is_empty()) {
            (true, _) => format!("no node starts, stops or moves {} now", join_names(&groups)),
            (false, true) if !stuck.is_empty() => format!(
                "automatic control is on again; but {stuck}, which is silent, may still run what it had in maintenance: make sure that nothing of it runs there, then run hactl clear"
            ),
            (false, true) => format!("automatic control is on again for {}", join_names(&groups)),
            (false, false) => format!(
                "still in maintenance on {}: end it there too",
                still.join(", ")
            ),
        }
    }

    fn begin_leaving(&mut self) -> String {
        if !self.view.leaving {
            // A signal has no asker.
            if !self.asker.who.is_empty() {
                self.record_node_command("stop");
            }
            self.view.leaving = true;
            self.round
                .record_node(What::Leaving, Because::Administrator);
        }
        "stopping all groups".to_owned()
    }

    fn announce_restart(&mut self, now: Time, back_within: Duration) -> Result<String, String> {
        if self.in_transition() {
            return Err(
                "groups are moving; try again when hactl status shows that they have settled"
                    .to_owned(),
            );
        }
        self.record_node_command("restart");
        self.publisher
            .begin_goodbye(now, Phase::Active, Some(back_within));
        Ok(format!(
            "restarting; the other nodes wait {} for this one",
            duration_for_people(back_within)
        ))
    }

    fn record_command(&mut self, groups: &[GroupName], what: &str) {
        self.round.save = true;
        let what = self.asker.asks(what);
        for group in groups {
            let what = What::Commanded(what.clone());
            self.round.record(group, what, Because::Administrator);
        }
    }

    /// The same of a command that is about the node as a whole.
    pub(super) fn record_node_command(&mut self, what: &str) {
        self.round.save = true;
        let what = What::Commanded(self.asker.asks(what));
        self.round.record_node(what, Because::Administrator);
    }
}

fn join_names(groups: &[GroupName]) -> String {
    groups
        .iter()
        .map(GroupName::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
