//! Whether a machine answers when another one asks it: its kernel does so while it has power and a link, also without a
//! daemon or with one that is frozen. A machine that is suspended as a whole answers nothing.

use std::net::IpAddr;
use std::time::Duration;

use super::world::{ScheduledEvent, World};
use crate::engine::{Event, MachineAnswer};
use crate::model::{LinkName, NodeName};

/// How often a machine is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

impl World {
    pub(super) fn ask_machine(&mut self, at: &NodeName, node: NodeName) {
        let asks = |m: &&super::Machine| m.alive() && m.asked_machines.contains_key(&node);
        let Some(machine) = self.machines.get(at).filter(asks) else {
            return;
        };
        let (life, sent) = (machine.life, machine.clock.local(self.now));
        let addresses = machine.asked_machines.get(&node).cloned();
        let addresses = addresses.unwrap_or_default();
        if !addresses.is_empty() {
            let node = node.clone();
            let asked = Event::MachineAsked { node, sent };
            self.schedule_event(at, self.weather.delay, asked);
        }
        let has_one = |m: &&NodeName| self.addresses_of(m).any(|a| addresses.contains(&a));
        let asked: Vec<NodeName> = self.machines.keys().filter(has_one).cloned().collect();
        let answers: Vec<_> = asked
            .iter()
            .filter_map(|m| self.machine_answers(at, m))
            .collect();
        for by in answers {
            let answered = Event::MachineAnswered {
                node: node.clone(),
                by,
                sent,
            };
            self.schedule_event(at, self.weather.delay * 2, answered);
        }
        let at = at.clone();
        self.schedule(ASK_EVERY, ScheduledEvent::AskMachine { at, life, node });
    }

    fn machine_answers(&mut self, from: &NodeName, to: &NodeName) -> Option<MachineAnswer> {
        let machine = self.machines.get(to)?;
        let answer = if machine.sends_no_echo {
            MachineAnswer::Neighbour
        } else {
            MachineAnswer::Echo
        };
        let runs = machine.powered && !machine.suspended;
        (runs && self.is_connected(from, to) && !self.random.chance(self.weather.loss))
            .then_some(answer)
    }

    /// The address of a machine on a link.
    pub(super) fn address_of(&self, machine: &NodeName, link: &LinkName) -> Option<IpAddr> {
        let clone_of = self.machines.get(machine)?.clone_of.as_ref();
        let node = clone_of.unwrap_or(machine);
        let nodes = self.machines.iter().filter(|(_, m)| m.clone_of.is_none());
        let host = nodes.map(|(name, _)| name).position(|name| name == node)?;
        let host = host + if clone_of.is_some() { 101 } else { 1 };
        let network = self.cluster.links.iter().position(|l| l == link)?;
        let [network, host] = [network, host].map(|n| u8::try_from(n).ok());
        Some(IpAddr::from([10, 0, network?, host?]))
    }

    fn addresses_of(&self, machine: &NodeName) -> impl Iterator<Item = IpAddr> {
        let links = self.cluster.links.iter();
        links.filter_map(|link| self.address_of(machine, link))
    }

    /// Whether a link between two machines carries frames both ways.
    pub(super) fn is_connected(&self, from: &NodeName, to: &NodeName) -> bool {
        self.cluster.links.iter().any(|link| {
            let cut = |a: &NodeName, b: &NodeName| {
                self.cuts.contains(&(a.clone(), b.clone(), link.clone()))
            };
            !cut(from, to) && !cut(to, from)
        })
    }
}
