//! Machines that were cloned: each has the name and the configuration of another one.

use super::machine::{Clock, Machine};
use super::world::World;
use crate::engine::PersistentState;
use crate::model::cluster::Cluster;
use crate::model::identity::Identity;
use crate::model::{NodeName, Time};

/// What a clone gets of the machine that it is a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloneKind {
    /// The disk with the saved state. It boots.
    Disk,
    /// The configuration alone. It boots.
    Configuration,
    /// The memory too: it goes on where the other one is.
    Memory,
}

impl World {
    /// Starts a second machine with the name of a node; returns what the world calls it. There is one clone of a node at most.
    pub fn clone_machine(&mut self, name: &str, kind: CloneKind) -> String {
        let node = NodeName::new(name);
        let called = format!("{name}'");
        let cluster = Cluster {
            me: node.clone(),
            ..self.config_of(&node)
        };
        let now = self.now;
        let original = self.machine(name);
        let original_time = original.clock.local(now);
        let mut clone = if kind == CloneKind::Memory {
            original.clone()
        } else {
            Machine::new()
        };
        let disk = PersistentState {
            identity: Identity::default(),
            leases: std::collections::BTreeMap::new(),
            ..original.kept.clone()
        };
        if kind == CloneKind::Disk {
            clone.kept = disk;
        }
        clone.config = Some(cluster);
        clone.clone_of = Some(node);
        clone.changed = true;
        clone.clock = if kind == CloneKind::Memory {
            // It goes on a moment later.
            let pause = self.cluster.timing.keepalive * 2;
            Clock::new(self.now, original_time - pause, 0)
        } else {
            Clock::new(self.now, Time(1_000_000_000), 0)
        };
        let key = NodeName::new(&called);
        self.machines.insert(key.clone(), clone);
        if kind == CloneKind::Memory {
            self.reschedule(&key);
            self.watch_owners();
        } else {
            self.start(&called);
        }
        called
    }

    /// Switches all clones off, for good.
    pub fn remove_clones(&mut self) {
        self.machines.retain(|_, m| m.clone_of.is_none());
        let machines = &self.machines;
        let stays = |at: &NodeName| machines.contains_key(at);
        self.future.retain(|_, f| f.inside().is_none_or(stays));
        for machine in self.machines.values_mut() {
            machine.changed = true;
        }
        self.watch_owners();
    }

    /// The machines with the name of a node: itself and its clone.
    pub(super) fn machines_of(&self, node: &NodeName) -> Vec<NodeName> {
        let is =
            |(key, m): &(&NodeName, &Machine)| *key == node || m.clone_of.as_ref() == Some(node);
        let machines = self.machines.iter().filter(is);
        machines.map(|(key, _)| key.clone()).collect()
    }
}
