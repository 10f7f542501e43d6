//! Rule 32: the machines of peers whose daemon is silent. A dead daemon is not a dead machine: what it had started on shared
//! storage may run on. So its machine is asked on the wire, at the addresses from which its heartbeats came, and what it may
//! run is known to the next daemon of this node too.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::peer::Peer;
use super::view::View;
use super::{Action, Engine, Group, MachineAnswer, MachineRecord, PersistentState};
use crate::model::hardware_address::{HardwareAddress, MAX_HARDWARE_ADDRESSES};
use crate::model::heartbeat::{GroupState, Heartbeat, Phase};
use crate::model::status::Liveness;
use crate::model::{GroupName, NodeName, Term, Time};

/// A machine that has not answered for so long counts as silent.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// When no request went out for so long, it is not being asked.
const ROUND_GAP: Duration = Duration::from_secs(3);
/// So many addresses are remembered of a peer.
const MAX_ADDRESSES: usize = 8;

/// The machines of all peers of which something is known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Machines(BTreeMap<NodeName, Machine>);

/// The machine of one peer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Machine {
    record: MachineRecord,
    /// Since when it is asked.
    watched_since: Option<Time>,
    /// When the first and the newest request of those were sent that followed each other without a gap.
    #[serde(default)]
    asked: Option<(Time, Time)>,
    /// When the newest request that it answered with an echo reply was sent.
    echo: Option<Time>,
    /// The same of what asks for its hardware address.
    neighbour: Option<Time>,
}

/// What the answers of a machine say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MachineVerdict {
    /// It was not asked for long enough.
    Pending,
    /// It answers.
    Answers,
    /// It does not answer.
    Silent,
}

impl Machines {
    pub fn restored(kept: &PersistentState) -> Self {
        let known = kept.machines.iter().map(|(node, record)| {
            let record = record.clone();
            let machine = Machine {
                record,
                ..Machine::default()
            };
            (node.clone(), machine)
        });
        Machines(known.collect())
    }

    /// What the next daemon must know. After an orderly stop not what a node may run: an administrator is there.
    pub fn to_keep(&self, leaving: bool) -> BTreeMap<NodeName, MachineRecord> {
        let mut kept = BTreeMap::new();
        for (node, machine) in &self.0 {
            let mut record = machine.record.clone();
            if leaving {
                record.may_run.clear();
            }
            if !record.may_run.is_empty() || !record.hardware.is_empty() {
                kept.insert(node.clone(), record);
            }
        }
        kept
    }

    /// Takes the hardware addresses that a node publishes. Returns whether they are new.
    pub fn learn_hardware(&mut self, heartbeat: &Heartbeat) -> bool {
        let published = heartbeat.hardware.iter().take(MAX_HARDWARE_ADDRESSES);
        let known = self.0.get(&heartbeat.src).map(|m| &m.record.hardware);
        if heartbeat.hardware.is_empty() || known.is_some_and(|k| k.iter().eq(published.clone())) {
            return false;
        }
        self.machine(&heartbeat.src).record.hardware = published.copied().collect();
        true
    }

    /// The hardware addresses of a node, as far as they are known.
    pub fn hardware(&self, node: &NodeName) -> &[HardwareAddress] {
        self.0.get(node).map_or(&[], |m| &m.record.hardware)
    }

    /// The node whose heartbeats come, or came last, from this address.
    pub fn node_at(&self, address: IpAddr) -> Option<&NodeName> {
        let mut machines = self.0.iter();
        let found = machines.find(|(_, machine)| machine.record.addresses.contains(&address));
        found.map(|(node, _)| node)
    }

    /// A fresh heartbeat of a peer came directly from this address. Returns whether that must be kept.
    fn learn_address(&mut self, node: &NodeName, address: IpAddr) -> bool {
        let known = self.0.get(node);
        if known.is_some_and(|m| m.record.addresses.contains(&address)) {
            return false;
        }
        let record = &mut self.machine(node).record;
        record.addresses.push(address);
        let many = record.addresses.len().saturating_sub(MAX_ADDRESSES);
        record.addresses.drain(..many);
        !record.may_run.is_empty()
    }

    /// A silent node no longer has an address from which another node is heard. Returns whether it had it.
    fn drop_address(&mut self, node: &NodeName, address: IpAddr, out: &mut Vec<Action>) -> bool {
        let has = |m: &&mut Machine| m.record.addresses.contains(&address);
        let Some(machine) = self.0.get_mut(node).filter(has) else {
            return false;
        };
        machine.record.addresses.retain(|known| *known != address);
        if machine.watched_since.is_some() {
            let (node, addresses) = (node.clone(), machine.record.addresses.clone());
            out.push(Action::WatchMachine { node, addresses });
        }
        true
    }

    /// A round of requests went out.
    pub fn take_asked(&mut self, node: &NodeName, sent: Time) {
        if let Some(machine) = self.0.get_mut(node) {
            let (first, last) = machine.asked.unwrap_or((sent, sent));
            let first = if sent > last + ROUND_GAP { sent } else { first };
            machine.asked = Some((first, sent.max(last)));
        }
    }

    pub fn take_answer(&mut self, node: &NodeName, by: MachineAnswer, sent: Time) {
        let Some(machine) = self.0.get_mut(node) else {
            return;
        };
        let newest = match by {
            MachineAnswer::Neighbour => &mut machine.neighbour,
            MachineAnswer::Echo => &mut machine.echo,
        };
        *newest = Some(newest.map_or(sent, |at| at.max(sent)));
    }

    /// After a gap in our own time, silence before it proves nothing.
    pub fn ask_anew(&mut self, now: Time) {
        for machine in self.0.values_mut() {
            machine.watched_since = machine.watched_since.map(|_| now);
            machine.asked = None;
        }
    }

    pub fn add_deadlines(&self, now: Time, due: &mut Vec<Time>) {
        let watched = self.0.values().filter(|m| m.watched_since.is_some());
        let known = watched.flat_map(|m| {
            let asked = m.asked.map(|(first, _)| first);
            [m.watched_since, asked, m.echo, m.neighbour]
        });
        let ends = known.flatten().map(|at| at + ANSWER_PATIENCE);
        due.extend(ends.filter(|at| *at > now));
    }

    /// Whether the peer may run the group, by what was heard of it last.
    pub fn may_run(&self, node: &NodeName, group: &GroupName) -> bool {
        let machine = self.0.get(node);
        machine.is_some_and(|m| m.record.may_run.contains_key(group))
    }

    /// What the answers of a peer's machine say. Where it only names its hardware address, it counts as answering until
    /// `alone` has passed since the peer died or sent an echo reply: the kernel of a machine that hangs still does that. So
    /// long a machine is waited for, too, that cannot be asked.
    pub fn verdict(&self, peer: &Peer, died: Time, now: Time, alone: Duration) -> MachineVerdict {
        let Some(machine) = self.0.get(&peer.name) else {
            return MachineVerdict::Pending;
        };
        let recent = |at: Option<Time>| at.is_some_and(|at| now < at + ANSWER_PATIENCE);
        let alone_until = machine.echo.map_or(died, |at| at.max(died)) + alone;
        if recent(machine.echo) || (recent(machine.neighbour) && now < alone_until) {
            MachineVerdict::Answers
        } else if machine.watched_since.is_none() || recent(machine.watched_since) {
            MachineVerdict::Pending
        } else if machine.was_asked(now) || now >= alone_until {
            MachineVerdict::Silent
        } else {
            MachineVerdict::Pending
        }
    }

    fn machine(&mut self, node: &NodeName) -> &mut Machine {
        self.0.entry(node.clone()).or_default()
    }

    /// Notes whether a peer may run a group, and with which term. Returns whether that is new.
    fn note(&mut self, node: &NodeName, group: &GroupName, term: Option<Term>) -> bool {
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

    /// Forgets nodes and groups that are no longer configured. Returns the nodes that were asked.
    fn retain(
        &mut self,
        view_peers: &[Peer],
        is_ours: impl Fn(&GroupName) -> bool,
    ) -> Vec<NodeName> {
        let mut gone = Vec::new();
        self.0.retain(|node, machine| {
            machine.record.may_run.retain(|group, _| is_ours(group));
            let stays = view_peers.iter().any(|p| p.name == *node);
            if !stays && machine.watched_since.is_some() {
                gone.push(node.clone());
            }
            stays
        });
        gone
    }

    /// Begins or ends to ask a machine.
    fn watch(&mut self, node: &NodeName, wanted: bool, now: Time, out: &mut Vec<Action>) {
        let watched = self.0.get(node).is_some_and(|m| m.watched_since.is_some());
        if watched == wanted {
            return;
        }
        let machine = self.machine(node);
        let record = std::mem::take(&mut machine.record);
        out.push(if wanted {
            let addresses = record.addresses.clone();
            let node = node.clone();
            Action::WatchMachine { node, addresses }
        } else {
            Action::UnwatchMachine(node.clone())
        });
        *machine = Machine {
            record,
            watched_since: wanted.then_some(now),
            ..Machine::default()
        };
    }
}

impl Machine {
    /// Whether requests went out to it without a gap, and for long enough.
    fn was_asked(&self, now: Time) -> bool {
        self.asked
            .is_some_and(|(first, last)| now >= first + ANSWER_PATIENCE && now < last + ROUND_GAP)
    }
}

impl Engine {
    /// Whether a fresh heartbeat of a peer has come directly from this address.
    pub fn has_heard_from(&self, peer: &NodeName, address: IpAddr) -> bool {
        let machine = self.view.machines.0.get(peer);
        machine.is_some_and(|m| m.record.addresses.contains(&address))
    }

    /// A fresh heartbeat of a member came directly from this address.
    pub(super) fn take_peer_address(&mut self, peer: &NodeName, address: IpAddr) {
        let machines = &mut self.view.machines;
        self.round.save |= machines.learn_address(peer, address);
        for silent in self.view.peers.iter().filter(|p| !p.is_living()) {
            let out = &mut self.round.out;
            self.round.save |= machines.drop_address(&silent.name, address, out);
        }
    }

    /// Notes what each peer may run on shared storage, and asks the machines of those that are silent.
    pub(super) fn watch_machines(&mut self, now: Time) {
        let groups: Vec<&Group> = self.groups.iter().filter(|g| g.needs_machines()).collect();
        let is_ours = |name: &GroupName| groups.iter().any(|g| g.name() == name);
        let mut machines = std::mem::take(&mut self.view.machines);
        for gone in machines.retain(&self.view.peers, is_ours) {
            self.round.out.push(Action::UnwatchMachine(gone));
        }
        for group in &groups {
            let held = group.newest_holder(&self.view);
            for peer in self.view.peer_nodes() {
                let known = machines.0.get(&peer.name);
                let known = known.and_then(|m| m.record.may_run.get(group.name()).copied());
                let may_run = term_that_may_run(peer, group.name(), known, held);
                self.round.save |= machines.note(&peer.name, group.name(), may_run);
            }
        }
        for peer in self.view.peer_nodes() {
            let may_run = |g: &&Group| {
                machines.may_run(&peer.name, g.name()) || self.view.may_have_started(peer, g.name())
            };
            let silent = matches!(
                peer.liveness,
                Liveness::Late | Liveness::Dead | Liveness::Init
            );
            let wanted = silent && !self.view.leaving && groups.iter().any(may_run);
            machines.watch(&peer.name, wanted, now, &mut self.round.out);
        }
        self.view.machines = machines;
        let kept_runs = |r: &MachineRecord| !r.may_run.is_empty();
        self.round.save |= self.view.leaving && self.kept.machines.values().any(kept_runs);
    }
}

/// The term under which a peer may run a group: by its last word, until another node has it under a later one.
fn term_that_may_run(
    peer: &Peer,
    group: &GroupName,
    known: Option<Term>,
    held: Option<Term>,
) -> Option<Term> {
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
                known.filter(|_| !peer.fresh)
            }
        }
        Liveness::Dead | Liveness::Init => known.filter(|term| held.is_none_or(|h| h <= *term)),
    }
}

impl View {
    /// Whether a peer that had nothing of a group may have started it since it was heard, with nobody but the arbiter.
    pub fn may_have_started(&self, peer: &Peer, group: &GroupName) -> bool {
        let report = peer.groups.get(group);
        peer.liveness == Liveness::Dead
            && peer.phase == Phase::Active
            && self.counts_votes()
            && self.cluster.vote_shares().has_arbiter()
            && !peer.intent.standby.contains(group)
            && report.is_some_and(|r| r.can && !r.state.holds())
    }
}

#[cfg(test)]
mod tests;
