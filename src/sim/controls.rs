//! What a scenario can do to a cluster: power, daemons, cables, agents, commands.

use std::time::Duration;

use super::machine::{Behaviour, Clock, Machine, MachineRecording};
use super::network::link_name;
use super::world::World;
use crate::engine::{Command, Engine, Event, PersistentState};
use crate::model::cluster::Cluster;
use crate::model::{Generation, GroupName, NodeName, Time};

/// Which way a cut goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutDirection {
    /// Neither hears the other.
    Both,
    /// Only what the first sends to the second is lost.
    OneWay,
}

impl World {
    /// Starts the daemon (and the machine, when it is off).
    pub fn start(&mut self, name: &str) {
        let cluster = self.config_of(&NodeName::new(name));
        self.start_with(name, cluster);
    }

    /// Starts the daemon with a configuration of its own.
    pub fn start_with(&mut self, name: &str, cluster: Cluster) {
        let now = self.now;
        self.let_go_on(name);
        let machine = self.machine(name);
        machine.end_life();
        machine.powered = true;
        machine.exited = false;
        machine.kept.generation = Generation(machine.kept.generation.0 + 1);
        let local = machine.clock.local(now);
        machine.watched.begin(local);
        let kept = machine.kept.clone();
        machine.recording = machine.records_inputs.then(|| MachineRecording {
            began: local,
            cluster: cluster.clone(),
            kept: kept.clone(),
            told: Vec::new(),
        });
        let (engine, actions) = Engine::new(cluster, kept, local);
        machine.engine = Some(engine);
        self.perform(&NodeName::new(name), actions);
        self.check_soon(&NodeName::new(name));
        self.reschedule(&NodeName::new(name));
    }

    /// Starts every daemon at once.
    pub fn start_all(&mut self) {
        let names: Vec<NodeName> = self.names().collect();
        for name in names {
            self.start(name.as_str());
        }
    }

    /// Power loss: nothing of it runs any more.
    pub fn crash(&mut self, name: &str) {
        self.let_go_on(name);
        let machine = self.machine(name);
        machine.end_life();
        machine.powered = false;
        machine.running.clear();
        machine.changed = true;
        // Leases are those of one boot.
        machine.kept.leases.clear();
        self.watch_owners();
    }

    /// The daemon is killed; what it started runs on, what it was about to do does not happen.
    pub fn kill(&mut self, name: &str) {
        self.machine(name).end_life();
    }

    /// Nothing is left of what it kept. Its next life begins with generation 1.
    pub fn lose_store(&mut self, name: &str) {
        let machine = self.machine(name);
        machine.kept = PersistentState::default();
        machine.watched.forgive();
    }

    /// Its daemon stands still; its kernel and its agents do not.
    pub fn freeze(&mut self, name: &str) {
        self.machine(name).frozen = true;
    }

    /// The whole machine stands still, and its clock with it: so a virtual machine that its host suspends.
    pub fn suspend(&mut self, name: &str) {
        let now = self.now;
        let machine = self.machine(name);
        machine.frozen = true;
        machine.suspended = true;
        machine.clock = machine.clock.stop(now);
        machine.changed = true;
        self.watch_owners();
    }

    /// The machine goes on where it stood still; its daemon may have to wait for what arrived meanwhile.
    fn let_go_on(&mut self, name: &str) {
        let now = self.now;
        let machine = self.machine(name);
        if std::mem::take(&mut machine.suspended) {
            machine.clock = machine.clock.go_on(now);
            machine.changed = true;
            for future in std::mem::take(&mut machine.held_back) {
                self.later(Duration::ZERO, future);
            }
        }
    }

    /// It goes on; what arrived meanwhile is read first.
    pub fn thaw(&mut self, name: &str) {
        self.let_go_on(name);
        let now = self.now;
        let machine = self.machine(name);
        machine.frozen = false;
        machine.thawed = now;
        let inbox = std::mem::take(&mut machine.inbox);
        let node = NodeName::new(name);
        for event in inbox {
            self.give(&node, event);
        }
        self.give(&node, Event::DeadlineReached);
    }

    /// It goes on, and what the others sent meanwhile is lost.
    pub fn thaw_deaf(&mut self, name: &str) {
        let machine = self.machine(name);
        machine
            .inbox
            .retain(|event| !matches!(event, Event::Heard { .. } | Event::Pong { .. }));
        self.thaw(name);
    }

    /// Sets a machine's clock anew: what it shows now, and by how many millionths it is too fast. Only while no
    /// daemon runs there.
    pub fn set_clock(&mut self, name: &str, local: Time, ppm: i32) {
        let now = self.now;
        self.machine(name).clock = Clock::new(now, local, ppm);
    }

    /// Cuts one link between two machines.
    pub fn cut(&mut self, a: &str, b: &str, link: usize, way: CutDirection) {
        let name = link_name(link);
        let (a, b) = (NodeName::new(a), NodeName::new(b));
        self.cuts.insert((a.clone(), b.clone(), name.clone()));
        if way == CutDirection::Both {
            self.cuts.insert((b, a, name));
        }
    }

    /// Cuts every link between two machines, both ways.
    pub fn part(&mut self, a: &str, b: &str) {
        for link in 0..self.cluster.links.len() {
            self.cut(a, b, link, CutDirection::Both);
        }
    }

    /// Loses every heartbeat between two machines, but nothing else: as a firewall does.
    pub fn block_heartbeats(&mut self, a: &str, b: &str) {
        self.block_heartbeats_one_way(a, b);
        self.block_heartbeats_one_way(b, a);
    }

    /// Loses every heartbeat from one machine to another, but nothing else.
    pub fn block_heartbeats_one_way(&mut self, from: &str, to: &str) {
        self.blocked
            .insert((NodeName::new(from), NodeName::new(to)));
    }

    /// Mends every cut between machines.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.blocked.clear();
    }

    /// A step that ran runs no more, and its monitor has noticed.
    pub fn lose(&mut self, name: &str, group: &str, step: usize, text: &str) {
        let group = GroupName::new(group);
        self.machine(name).set_step(&group, step, false);
        let event = Event::ResourceLost {
            group,
            step,
            text: text.to_owned(),
        };
        self.give(&NodeName::new(name), event);
    }

    /// Whether a machine sees a ping node.
    pub fn see(&mut self, name: &str, ping: usize, sees: bool) {
        if sees {
            self.blind.remove(&(NodeName::new(name), ping));
        } else {
            self.blind.insert((NodeName::new(name), ping));
        }
    }

    /// Sets how a start behaves.
    pub fn on_start(&mut self, name: &str, group: &str, step: usize, behaviour: Behaviour) {
        self.machine(name)
            .start_behaviour
            .insert((GroupName::new(group), step), behaviour);
    }

    /// Sets how a stop behaves.
    pub fn on_stop(&mut self, name: &str, group: &str, step: usize, behaviour: Behaviour) {
        self.machine(name)
            .stop_behaviour
            .insert((GroupName::new(group), step), behaviour);
    }

    /// Gives a command; its answer is looked up by the number.
    pub fn command(&mut self, name: &str, command: Command) -> u64 {
        self.count += 1;
        let id = self.count;
        self.give(&NodeName::new(name), Event::Command { id, command });
        id
    }

    /// Gives a machine whose daemon runs a new configuration.
    pub fn reload(&mut self, name: &str, cluster: Cluster) {
        self.give(&NodeName::new(name), Event::Reconfigured(Box::new(cluster)));
    }

    /// A machine.
    ///
    /// # Panics
    /// When there is none of that name: a mistake of the scenario.
    #[allow(clippy::panic)]
    pub fn machine(&mut self, name: &str) -> &mut Machine {
        match self.machines.get_mut(&NodeName::new(name)) {
            Some(machine) => machine,
            None => panic!("there is no machine {name}"),
        }
    }

    /// A look at a machine.
    ///
    /// # Panics
    /// As [`World::machine`].
    #[allow(clippy::panic)]
    pub fn at(&self, name: &str) -> &Machine {
        match self.machines.get(&NodeName::new(name)) {
            Some(machine) => machine,
            None => panic!("there is no machine {name}"),
        }
    }
}
