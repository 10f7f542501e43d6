//! Rule 18: why a group cannot be moved at present, with the command that goes on. A command that nothing but a person could
//! carry further is refused at once.

use super::Engine;
use super::group::Group;
use super::peer::Peer;
use super::placement::{choose_node, why_no_other};
use crate::model::GroupName;
use crate::model::Time;
use crate::model::decision::Because;
use crate::model::heartbeat::GroupState;

impl Engine {
    /// Why these groups cannot be moved at present.
    pub(super) fn refuse_to_move(&self, now: Time, groups: &[GroupName]) -> Option<String> {
        if let Some(waiting) = self.view.waits_for(now) {
            return Some(format!(
                "this node does not take part in the cluster yet: it waits {waiting}"
            ));
        }
        if self.view.leaving {
            return Some("this node is stopping its groups to end".to_owned());
        }
        let chosen = self.groups.iter().filter(|g| groups.contains(g.name()));
        let (removed, kept): (Vec<&Group>, Vec<&Group>) = chosen.partition(|g| g.is_removed());
        if kept.is_empty() && !removed.is_empty() {
            let names = names(&removed);
            return Some(format!(
                "{names} is no longer in haresources: it is only stopped where it runs"
            ));
        }
        let frozen: Vec<&Group> = kept
            .into_iter()
            .filter(|g| g.in_maintenance(&self.view))
            .collect();
        (!frozen.is_empty()).then(|| {
            format!(
                "{} is in maintenance; end that first with hactl maintenance off",
                names(&frozen)
            )
        })
    }

    pub(super) fn can_be_given(&self, group: &Group) -> Result<(), String> {
        let name = group.name();
        if group.state() == GroupState::Stuck {
            return Err(stuck_here(name));
        }
        if !group.is_load() {
            return Ok(());
        }
        let others = group.other_candidates(&self.view, &self.round);
        if choose_node(&others).is_ok() {
            return Ok(());
        }
        let despite_checks = self.view.peer_nodes().find(|p| {
            let checks_only = self.view.ineligible_but_for_checks(p, name).is_none();
            checks_only && self.view.ineligible(p, name).is_some()
        });
        let help = despite_checks.map_or_else(String::new, |p| {
            let to = &p.name;
            format!("; hactl takeover --force {name} on {to} moves it all the same")
        });
        Err(format!(
            "{name} stays here: {}{help}",
            why_no_other(&others)
        ))
    }

    pub(super) fn can_be_taken(&self, group: &Group, force: bool, now: Time) -> Result<(), String> {
        let name = group.name();
        if group.state() == GroupState::Stuck {
            return Err(stuck_here(name));
        }
        if group.state() == GroupState::Online {
            return Ok(());
        }
        if !self.view.quorate {
            return Err(self.no_quorum(name));
        }
        let owner = self.view.living().find(|p| p.holds(name));
        if let Some(owner) = owner {
            self.can_be_taken_from(owner, name)?;
        }
        if let Some(check) = self
            .view
            .checks
            .ineligible(name)
            .filter(|_| !force && !group.is_load())
        {
            return Err(self.fails_check(owner, name, &check));
        }
        if owner.is_some() {
            return Ok(());
        }
        match self.obstacle(group, force, now) {
            Some(because) => Err(self.not_started(group, &because, force, now)),
            None => Ok(()),
        }
    }

    /// Why a living owner will not give it to this node, whatever is asked for.
    fn can_be_taken_from(&self, owner: &Peer, name: &GroupName) -> Result<(), String> {
        let node = &owner.name;
        if owner.state(name) == GroupState::Stuck {
            return Err(stuck_there(name, owner));
        }
        if self.view.is_deaf(owner) {
            return Err(format!(
                "{name} stays on {node}: {node} does not receive our heartbeats; check the firewall on {node} and the network path to it, or run hactl standby {name} on {node}"
            ));
        }
        if self.view.differs(owner) {
            let help =
                "make ha.cf and haresources equal on both nodes, then run hactl reload on both";
            return Err(format!(
                "{name} stays on {node}: its configuration differs from that of this node; {help}"
            ));
        }
        Ok(())
    }

    /// What is lost is said before somebody insists.
    fn fails_check(&self, owner: Option<&Peer>, name: &GroupName, check: &str) -> String {
        let me = self.view.me();
        let stays = owner.map_or_else(
            || "is not started here".to_owned(),
            |owner| format!("stays on {}", owner.name),
        );
        format!(
            "{name} {stays}: {me} {check}; repair that, or override it with hactl takeover --force {name}: what {me} does not have is lost then"
        )
    }

    /// What would keep the group from being started here until a person acts.
    fn obstacle(&self, group: &Group, force: bool, now: Time) -> Option<Because> {
        let mut tried = group.clone();
        tried.take_over(force);
        tried.lasting_obstacle(now, &self.view)
    }

    fn not_started(&self, group: &Group, because: &Because, force: bool, now: Time) -> String {
        let name = group.name();
        let text = format!("{name} is not started here: {because}");
        let helps = !force && self.obstacle(group, true, now).is_none();
        if helps && !text.contains("takeover --force") {
            return format!(
                "{text}; if nothing of it runs elsewhere for certain: hactl takeover --force {name}"
            );
        }
        text
    }

    fn no_quorum(&self, name: &GroupName) -> String {
        let help = self.confirm_help().unwrap_or_default();
        format!(
            "{name} cannot be started: this side has no quorum; the other side may run it; bring nodes or ping nodes back{help}"
        )
    }
}

fn stuck_here(name: &GroupName) -> String {
    format!("{name} is stuck here: its stop failed; stop it by hand, then run hactl clear {name}")
}

/// A group whose stop failed on a node that lives.
pub(super) fn stuck_there(name: &GroupName, peer: &Peer) -> String {
    format!(
        "{name} is stuck on {}: its stop failed there; stop it by hand there, then run hactl clear {name} there",
        peer.name
    )
}

fn names(groups: &[&Group]) -> String {
    let names: Vec<&str> = groups.iter().map(|g| g.name().as_str()).collect();
    names.join(", ")
}
