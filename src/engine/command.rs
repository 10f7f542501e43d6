//! Rule 18: commands of an administrator. Each is refused at once with the reason, or carried out and answered when its
//! outcome is known.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::Command;
use super::group::Group;
use super::placement::{choose_node, why_no_other};
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CommandKind {
    Standby,
    Takeover,
}

impl Engine {
    pub(super) fn execute_command(&mut self, now: Time, id: u64, command: Command) {
        let answer = match (command, self.view.cluster.refuse_as_witness()) {
            (Command::Leave, _) => Ok(Some(self.begin_leaving())),
            (Command::Stop, _) => match self.refuse_to_stop() {
                Some(refusal) => Err(refusal),
                None => Ok(Some(self.begin_leaving())),
            },
            (Command::Forget(node), _) => self.forget_node(&node).map(Some),
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
            Ok(None) => {}
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

    /// Why these groups cannot be moved at present.
    fn refuse_to_move(&self, now: Time, groups: &[GroupName]) -> Option<String> {
        if let Some(waiting) = self.view.waits_for(now) {
            return Some(format!(
                "this node does not take part in the cluster yet: it waits {waiting}"
            ));
        }
        if self.view.leaving {
            return Some("this node is stopping its groups to end".to_owned());
        }
        let chosen = self.groups.iter().filter(|g| groups.contains(g.name()));
        let frozen: Vec<&str> = chosen
            .filter(|g| g.in_maintenance(&self.view))
            .map(|g| g.name().as_str())
            .collect();
        (!frozen.is_empty()).then(|| {
            format!(
                "{} is in maintenance; end that first with hactl maintenance off",
                frozen.join(", ")
            )
        })
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
        let groups = self.known_groups(groups);
        for group in self.groups.iter().filter(|g| groups.contains(g.name())) {
            self.can_be_given(group)?;
        }
        for group in self.groups.iter_mut().filter(|g| groups.contains(g.name())) {
            group.stand_by(lasting);
        }
        self.record_command(&groups, "standby");
        let until = now + self.time_to_move(&groups);
        self.pending.push(PendingCommand {
            id,
            kind: CommandKind::Standby,
            groups,
            until,
        });
        Ok(None)
    }

    fn can_be_given(&self, group: &Group) -> Result<(), String> {
        let name = group.name();
        if group.state() == GroupState::Stuck {
            return Err(format!(
                "{name} is stuck here: its stop failed; stop it by hand, then run hactl clear {name}"
            ));
        }
        if !group.is_load() {
            return Ok(());
        }
        let others = group.other_candidates(&self.view, &self.round);
        if choose_node(&others).is_ok() {
            return Ok(());
        }
        Err(format!("{name} stays here: {}", why_no_other(&others)))
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
        let groups = self.known_groups(groups);
        for group in self.groups.iter().filter(|g| groups.contains(g.name())) {
            self.can_be_taken(now, group, force)?;
        }
        for group in self.groups.iter_mut().filter(|g| groups.contains(g.name())) {
            group.take_over(force);
        }
        self.record_command(
            &groups,
            if force {
                "takeover --force"
            } else {
                "takeover"
            },
        );
        let until = now + self.time_to_move(&groups);
        self.pending.push(PendingCommand {
            id,
            kind: CommandKind::Takeover,
            groups,
            until,
        });
        Ok(None)
    }

    fn can_be_taken(&self, now: Time, group: &Group, force: bool) -> Result<(), String> {
        let name = group.name();
        if group.state() == GroupState::Stuck {
            return Err(format!(
                "{name} is stuck here: its stop failed; stop it by hand, then run hactl clear {name}"
            ));
        }
        if !self.view.quorate {
            let help = "the other side may run it; bring nodes or ping nodes back";
            return Err(format!(
                "{name} cannot be started: this side has no quorum; {help}"
            ));
        }
        let owner = self.view.living().find(|p| p.holds(name));
        let here = group.is_load();
        if let Some(check) = self.view.checks.ineligible(name).filter(|_| !here) {
            match owner {
                None if force => {}
                None => {
                    let help = "repair that, or override it with hactl takeover --force";
                    return Err(format!(
                        "{name} is not started here: {} {check}; {help}",
                        self.view.me()
                    ));
                }
                Some(owner) => {
                    return Err(format!(
                        "{name} stays on {}: {} {check}; repair that first",
                        owner.name,
                        self.view.me()
                    ));
                }
            }
        }
        let held = group.held_by_machine(now, &self.view).filter(|_| !force);
        if let Some(because) = held.filter(|_| !here) {
            return Err(format!("{name} is not started here: {because}"));
        }
        let Some(owner) = owner else {
            return Ok(());
        };
        if owner.state(name) == GroupState::Stuck {
            return Err(format!(
                "{name} is stuck on {}: its stop failed there; stop it by hand there, then run hactl clear {name} there",
                owner.name
            ));
        }
        if self.view.differs(owner) {
            let help =
                "make ha.cf and haresources equal on both nodes, then run hactl reload on both";
            return Err(format!(
                "{name} stays on {}: its configuration differs from that of this node; {help}",
                owner.name
            ));
        }
        Ok(())
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
        self.publisher
            .begin_goodbye(now, Phase::Active, Some(back_within));
        Ok(format!(
            "restarting; the other nodes wait {} for this one",
            duration_for_people(back_within)
        ))
    }

    fn record_command(&mut self, groups: &[GroupName], what: &str) {
        self.round.save = true;
        for group in groups {
            self.round.record(
                group,
                What::Commanded(what.to_owned()),
                Because::Administrator,
            );
        }
    }
}

fn join_names(groups: &[GroupName]) -> String {
    groups
        .iter()
        .map(GroupName::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
