//! Rule 32: the machines of peers whose daemon is silent. A dead daemon is not a dead machine: what it had started on shared
//! storage may run on. So its machine is asked on the wire, at the addresses from which its heartbeats came, and what it may
//! run is known to the next daemon of this node too.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::peer::Peer;
use super::{Action, Engine, MachineAnswer, MachineRecord, PersistentState};
use crate::model::hardware_address::{HardwareAddress, MAX_HARDWARE_ADDRESSES};
use crate::model::heartbeat::Heartbeat;
use crate::model::{GroupName, NodeName, Time};

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
    /// When another machine took its name.
    #[serde(default)]
    died: Time,
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
    pub fn restored(kept: &PersistentState, now: Time) -> Self {
        let known = kept.machines.iter().map(|(node, record)| {
            let record = record.clone();
            let machine = Machine {
                record,
                died: now,
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
                record.runs_former = false;
            }
            let runs = record.runs_former || !record.may_run.is_empty();
            if runs || !record.hardware.is_empty() {
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
        let known = self.0.get(node).map(|m| &m.record.addresses);
        if known.is_some_and(|all| all.last() == Some(&address)) {
            return false;
        }
        let record = &mut self.machine(node).record;
        record.unproved_address = None;
        let many = record.addresses.len();
        record.addresses.retain(|a| *a != address);
        let is_new = record.addresses.len() == many;
        record.addresses.push(address);
        let many = record.addresses.len().saturating_sub(MAX_ADDRESSES);
        record.addresses.drain(..many);
        is_new && !record.may_run.is_empty()
    }

    /// A heartbeat of a peer came directly from this address, and is not fresh: it may be a recording of another machine's. But
    /// while nothing better is known, a machine is asked there rather than not at all. Returns whether that must be kept.
    fn learn_unproved_address(&mut self, node: &NodeName, address: IpAddr) -> bool {
        let record = &mut self.machine(node).record;
        if !record.addresses.is_empty() || record.unproved_address == Some(address) {
            return false;
        }
        record.unproved_address = Some(address);
        !record.may_run.is_empty()
    }

    /// A silent node no longer has an address from which another node is heard. Returns whether it had it.
    fn drop_address(&mut self, node: &NodeName, address: IpAddr, out: &mut Vec<Action>) -> bool {
        let has = |m: &&mut Machine| m.record.asked_at().contains(&address);
        let Some(machine) = self.0.get_mut(node).filter(has) else {
            return false;
        };
        let record = &mut machine.record;
        record.addresses.retain(|known| *known != address);
        record.unproved_address.take_if(|known| *known == address);
        if machine.watched_since.is_some() {
            let (node, addresses) = (node.clone(), machine.record.asked_at());
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

    /// What the answers of a peer's machine say. Where it only names its hardware address, it counts as answering until
    /// `alone` has passed since the peer died or sent an echo reply: the kernel of a machine that hangs still does that. So
    /// long a machine is waited for, too, that cannot be asked.
    pub fn verdict(&self, peer: &Peer, died: Time, now: Time, alone: Duration) -> MachineVerdict {
        let machine = self.0.get(&peer.name);
        machine.map_or(MachineVerdict::Pending, |m| m.verdict(died, now, alone))
    }

    /// A machine that may run the group, whose name another machine has, and whose answers say this; with an address of it.
    pub fn former_machine(
        &self,
        wanted: MachineVerdict,
        group: &GroupName,
        now: Time,
        alone: Duration,
    ) -> Option<(&NodeName, Option<IpAddr>)> {
        let mut all = self.former();
        let (_, node, machine) = all.find(|(_, _, m)| {
            m.record.may_run.contains_key(group) && m.verdict(m.died, now, alone) == wanted
        })?;
        Some((node, machine.record.asked_at().last().copied()))
    }

    fn machine(&mut self, node: &NodeName) -> &mut Machine {
        self.0.entry(node.clone()).or_default()
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
            let addresses = record.asked_at();
            let node = node.clone();
            Action::WatchMachine { node, addresses }
        } else {
            Action::UnwatchMachine(node.clone())
        });
        *machine = Machine {
            record,
            died: machine.died,
            watched_since: wanted.then_some(now),
            ..Machine::default()
        };
    }
}

impl MachineRecord {
    /// The addresses at which the machine is asked, the newest last.
    fn asked_at(&self) -> Vec<IpAddr> {
        let unproved = self.unproved_address.filter(|_| self.addresses.is_empty());
        self.addresses.iter().copied().chain(unproved).collect()
    }
}

impl Machine {
    fn verdict(&self, died: Time, now: Time, alone: Duration) -> MachineVerdict {
        let alone_until = self.echo.map_or(died, |at| at.max(died)) + alone;
        if is_recent(self.echo, now) || (is_recent(self.neighbour, now) && now < alone_until) {
            MachineVerdict::Answers
        } else if self.watched_since.is_none() || is_recent(self.watched_since, now) {
            MachineVerdict::Pending
        } else if self.was_asked(now) || now >= alone_until {
            MachineVerdict::Silent
        } else {
            MachineVerdict::Pending
        }
    }

    /// Whether it was asked for long enough and has not answered.
    fn is_silent(&self, now: Time) -> bool {
        self.was_asked(now)
            && self.verdict(Time::ZERO, now, Duration::MAX) == MachineVerdict::Silent
    }

    /// Whether requests went out to it without a gap, and for long enough.
    fn was_asked(&self, now: Time) -> bool {
        self.asked
            .is_some_and(|(first, last)| now >= first + ANSWER_PATIENCE && now < last + ROUND_GAP)
    }
}

fn is_recent(at: Option<Time>, now: Time) -> bool {
    at.is_some_and(|at| now < at + ANSWER_PATIENCE)
}

impl Engine {
    /// The addresses from which fresh heartbeats of a peer came directly, the newest last.
    pub fn heard_from(&self, peer: &NodeName) -> &[IpAddr] {
        let machine = self.view.machines.0.get(peer);
        machine.map_or(&[], |m| &m.record.addresses)
    }

    /// A heartbeat of a member came directly from this address.
    pub(super) fn take_peer_address(&mut self, peer: &NodeName, address: IpAddr, fresh: bool) {
        let machines = &mut self.view.machines;
        self.round.save |= if fresh {
            machines.learn_address(peer, address)
        } else {
            machines.learn_unproved_address(peer, address)
        };
        if !fresh {
            return;
        }
        let silent = self.view.peers.iter().filter(|p| !p.is_living());
        let mut silent: Vec<NodeName> = silent.map(|p| p.name.clone()).collect();
        silent.extend(machines.former_keys());
        for node in silent {
            let out = &mut self.round.out;
            self.round.save |= machines.drop_address(&node, address, out);
        }
    }
}

mod former;
mod may_run;
#[cfg(test)]
mod tests;
