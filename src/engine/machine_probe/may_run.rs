//! Rule 32: which groups on shared storage a silent node may run.

use std::collections::BTreeMap;

use super::Machines;
use crate::engine::peer::Peer;
use crate::engine::{Action, Engine, Group};
use crate::model::heartbeat::GroupState;
use crate::model::status::Liveness;
use crate::model::{GroupName, NodeName, Term, Time};

impl Machines {
    /// Whether the peer may run the group, by what was heard of it last.
    pub fn may_run(&self, node: &NodeName, group: &GroupName) -> bool {
        let machine = self.0.get(node);
        machine.is_some_and(|m| m.record.may_run.contains_key(group))
    }

    /// Whether the peer may run something by a definition that the configuration no longer has.
    pub fn may_run_former(&self, node: &NodeName) -> bool {
        self.0.get(node).is_some_and(|m| m.record.runs_former)
    }

    /// Notes whether a peer may run a group, and with which term. Returns whether that is new.
    pub(super) fn note(&mut self, node: &NodeName, group: &GroupName, term: Option<Term>) -> bool {
        let known = self.0.get(node).and_then(|m| m.record.may_run.get(group));
        if known.copied() == term {
            return false;
        }
        let may_run = &mut self.machine(node).record.may_run;
        match term {
            Some(term) => drop(may_run.insert(group.clone(), term)),
            None => drop(may_run.remove(group)),
        }
        true
    }

    /// The configuration changes. What a node may run by the former definition of a group may be in any group now that is new
    /// or changed, under another name: so it may run each of these.
    fn inherit(
        &mut self,
        is_as_before: impl Fn(&GroupName) -> bool,
        changed: &[(GroupName, Term)],
    ) -> bool {
        let mut any = false;
        for record in self.0.values_mut().map(|m| &mut m.record) {
            record.runs_former |= record.may_run.keys().any(|g| !is_as_before(g));
            if record.runs_former {
                any = true;
                for (group, term) in changed {
                    record.may_run.entry(group.clone()).or_insert(*term);
                }
            }
        }
        any
    }

    /// A peer has shown our configuration, and that nothing runs there by another one. Returns whether that is new.
    fn runs_nothing_former(&mut self, node: &NodeName) -> bool {
        let machine = self.0.get_mut(node);
        machine.is_some_and(|m| std::mem::take(&mut m.record.runs_former))
    }

    /// Forgets nodes and groups that are no longer configured. Returns the nodes that were asked.
    pub(super) fn retain(
        &mut self,
        view_peers: &[Peer],
        is_ours: impl Fn(&GroupName) -> bool,
    ) -> Vec<NodeName> {
        let mut gone = Vec::new();
        self.0.retain(|node, machine| {
            machine.record.may_run.retain(|group, _| is_ours(group));
            let name = machine.record.former_of.as_ref().unwrap_or(node);
            let stays = view_peers.iter().any(|p| p.name == *name);
            if !stays && machine.watched_since.is_some() {
                gone.push(node.clone());
            }
            stays
        });
        gone
    }
}

impl Engine {
    /// Notes what each peer may run on shared storage, and asks the machines of those that are silent.
    pub(in crate::engine) fn watch_machines(&mut self, now: Time) {
        let groups: Vec<&Group> = self.groups.iter().filter(|g| g.needs_machines()).collect();
        let is_ours = |name: &GroupName| groups.iter().any(|g| g.name() == name);
        let mut machines = std::mem::take(&mut self.view.machines);
        for gone in machines.retain(&self.view.peers, is_ours) {
            self.round.out.push(Action::UnwatchMachine(gone));
        }
        for peer in self.view.peer_nodes() {
            let shown = peer.is_living() && peer.fresh && !self.view.differs(peer);
            if shown || peer.liveness == Liveness::Left {
                self.round.save |= machines.runs_nothing_former(&peer.name);
            }
        }
        for group in &groups {
            let held = group.newest_holder(&self.view);
            for peer in self.view.peer_nodes() {
                let known = machines.0.get(&peer.name);
                let known = known.and_then(|m| m.record.may_run.get(group.name()).copied());
                let differs = self.view.differs(peer);
                let may_run = term_that_may_run(peer, group.name(), known, held, differs)
                    .or_else(|| group.may_have_started(peer, now, &self.view));
                self.round.save |= machines.note(&peer.name, group.name(), may_run);
            }
            self.round.save |= machines.forget_where_held(group.name(), held);
        }
        for peer in self.view.peer_nodes() {
            let may_run = |g: &&Group| machines.may_run(&peer.name, g.name());
            let silent = matches!(
                peer.liveness,
                Liveness::Late | Liveness::Dead | Liveness::Init
            );
            let wanted = silent && !self.view.leaving && groups.iter().any(may_run);
            machines.watch(&peer.name, wanted, now, &mut self.round.out);
        }
        for key in machines.former_keys() {
            let may_run = |g: &&Group| machines.may_run(&key, g.name());
            let wanted = !self.view.leaving && groups.iter().any(may_run);
            machines.watch(&key, wanted, now, &mut self.round.out);
        }
        self.view.machines = machines;
        let kept_runs = |r: &super::MachineRecord| !r.may_run.is_empty();
        self.round.save |= self.view.leaving && self.kept.machines.values().any(kept_runs);
    }

    /// The groups have other definitions than before: by a reload, or since the last life of this daemon.
    pub(in crate::engine) fn inherit_holds(
        &mut self,
        before: &BTreeMap<GroupName, u64>,
        after: &BTreeMap<GroupName, u64>,
    ) {
        let is_as_before = |g: &GroupName| before.contains_key(g) && before.get(g) == after.get(g);
        let (mut changed, mut held_until) = (Vec::new(), None);
        for group in self.groups.iter().filter(|g| !is_as_before(g.name())) {
            let name = group.name();
            if before.contains_key(name) {
                let least = held_until.unwrap_or(Time::NEVER).min(group.held_until());
                held_until = Some(least);
            }
            if after.contains_key(name) {
                changed.push((name.clone(), group.highest_term()));
            }
        }
        let new = self.groups.iter_mut();
        for group in new.filter(|g| !before.contains_key(g.name())) {
            group.was_held_until(held_until.unwrap_or_default());
        }
        self.round.save |= self.view.machines.inherit(is_as_before, &changed);
    }
}

/// The term under which a peer may run a group: by its last word, until another node has it under a later one. What a peer that
/// `differs` says is meant by its own configuration, where the group may be something else.
pub(super) fn term_that_may_run(
    peer: &Peer,
    group: &GroupName,
    known: Option<Term>,
    held: Option<Term>,
    differs: bool,
) -> Option<Term> {
    let known = known.filter(|term| held.is_none_or(|h| h <= *term));
    match peer.liveness {
        Liveness::Left | Liveness::Here => None,
        Liveness::Active | Liveness::Late => {
            // It has not said yet.
            let Some(report) = peer.groups.get(group) else {
                return known;
            };
            let open = matches!(report.state, GroupState::Unknown | GroupState::Claiming);
            if open || report.state.holds() {
                Some(report.term)
            } else {
                // Rule 28. Only a fresh heartbeat frees.
                known.filter(|_| differs || !peer.fresh)
            }
        }
        Liveness::Dead | Liveness::Init => known,
    }
}
