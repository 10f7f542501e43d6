//! What a test or a script can do to a cluster: power, daemons, links, agents, commands.

use std::time::Duration;

use super::machine::{Behaviour, Clock, Machine, MachineRecording};
use super::network::link_name;
use super::world::World;
use crate::engine::{Asker, Command, Engine, Event, PersistentState};
use crate::model::cluster::Cluster;
use crate::model::identity::{Identity, Instance};
use crate::model::{Generation, GroupName, NodeName, Time};

/// Which way a cut goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutDirection {
    /// Neither hears the other.
    Both,
    /// Only what the first sends to the second is lost.
    OneWay,
}

/// What the next life of a machine's daemon draws: different for each machine and life.
fn next_identity(name: &str, machine: &Machine) -> Identity {
    let mixed = name.bytes().fold(machine.life, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Identity {
        instance: Some(Instance(mixed)),
        succeeds: machine.kept.identity.instance,
    }
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
        self.end_suspend(name);
        let machine = self.machine(name);
        machine.end_life();
        machine.powered = true;
        machine.exited = false;
        machine.kept.generation = Generation(machine.kept.generation.0 + 1);
        let local = machine.clock.local(now);
        machine.watched.start_life(local);
        machine.kept.identity = next_identity(name, machine);
        let kept = machine.kept.clone();
        machine.recording = machine.records_inputs.then(|| MachineRecording {
            began: local,
            cluster: cluster.clone(),
            kept: kept.clone(),
            inputs: Vec::new(),
        });
        let (engine, actions) = Engine::new(cluster, kept, local);
        machine.engine = Some(engine);
        self.perform_actions(&NodeName::new(name), actions);
        self.schedule_checks(&NodeName::new(name));
        self.reschedule(&NodeName::new(name));
    }

    /// Starts every daemon at once.
    pub fn start_all(&mut self) {
        let names: Vec<NodeName> = self.names().collect();
        for name in names {
            self.start(name.as_str());
        }
    }

    /// Cuts the power: nothing runs there any more.
    pub fn crash(&mut self, name: &str) {
        self.end_suspend(name);
        let machine = self.machine(name);
        machine.end_life();
        machine.powered = false;
        machine.running.clear();
        machine.changed = true;
        // Leases do not outlive the boot, nor does it prove that the life before is over.
        machine.kept.leases.clear();
        machine.kept.identity = Identity::default();
        self.watch_owners();
    }

    /// Kills the daemon: what it started runs on, what it was about to do does not happen.
    pub fn kill(&mut self, name: &str) {
        self.machine(name).end_life();
    }

    /// Deletes the saved state: the next life of the daemon begins with generation 1.
    pub fn lose_store(&mut self, name: &str) {
        let machine = self.machine(name);
        machine.kept = PersistentState::default();
        machine.watched.store_lost();
    }

    /// Stops the daemon alone; its kernel, clock and agents run on.
    pub fn freeze(&mut self, name: &str) {
        self.machine(name).frozen = true;
    }

    /// Stops the whole machine and its clock, like a virtual machine that is suspended.
    pub fn suspend(&mut self, name: &str) {
        let now = self.now;
        let machine = self.machine(name);
        machine.frozen = true;
        machine.suspended = true;
        machine.clock = machine.clock.stop(now);
        machine.changed = true;
        self.watch_owners();
    }

    /// Ends a suspend; the daemon stays frozen.
    fn end_suspend(&mut self, name: &str) {
        let now = self.now;
        let machine = self.machine(name);
        if std::mem::take(&mut machine.suspended) {
            machine.clock = machine.clock.go_on(now);
            machine.changed = true;
            for future in std::mem::take(&mut machine.held_back) {
                self.schedule(Duration::ZERO, future);
            }
        }
    }

    /// Ends freeze or suspend; the daemon first reads what arrived meanwhile.
    pub fn thaw(&mut self, name: &str) {
        self.end_suspend(name);
        let now = self.now;
        let machine = self.machine(name);
        machine.frozen = false;
        machine.thawed = now;
        // What it had not read before it stood still is older.
        machine.unread.append(&mut machine.inbox);
        self.read_all(&NodeName::new(name), Some(Event::DeadlineReached));
    }

    /// The same, but what the others sent meanwhile is lost.
    pub fn thaw_deaf(&mut self, name: &str) {
        let machine = self.machine(name);
        machine
            .inbox
            .retain(|event| !matches!(event, Event::Heard { .. } | Event::Pong { .. }));
        self.thaw(name);
    }

    /// Sets what a machine's clock shows now and by how many millionths it is too fast. Only while no daemon runs
    /// there.
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
    pub fn cut_all_links(&mut self, a: &str, b: &str) {
        for link in 0..self.cluster.links.len() {
            self.cut(a, b, link, CutDirection::Both);
        }
    }

    /// Loses heartbeats between two machines, but nothing else, as a firewall may.
    pub fn block_heartbeats(&mut self, a: &str, b: &str) {
        self.block_heartbeats_one_way(a, b);
        self.block_heartbeats_one_way(b, a);
    }

    /// Loses every heartbeat from one machine to another, but nothing else.
    pub fn block_heartbeats_one_way(&mut self, from: &str, to: &str) {
        self.blocked
            .insert((NodeName::new(from), NodeName::new(to)));
    }

    /// Loses every heartbeat that one machine sends to another through a ping node.
    pub fn block_relay_one_way(&mut self, from: &str, to: &str) {
        self.relay_blocked
            .insert((NodeName::new(from), NodeName::new(to)));
    }

    /// Ends all cuts and blocks.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.relay_blocked.clear();
        self.blocked.clear();
    }

    /// A running step dies, and the daemon is told.
    pub fn lose_step_noticed(&mut self, name: &str, group: &str, step: usize, text: &str) {
        let group = GroupName::new(group);
        self.machine(name).set_step(&group, step, false);
        let event = Event::ResourceLost {
            group,
            step,
            text: text.to_owned(),
        };
        self.deliver(&NodeName::new(name), event);
    }

    /// Sets whether a ping node answers a machine.
    pub fn set_ping_visible(&mut self, name: &str, ping: usize, sees: bool) {
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

    /// Sends a command; [`World::answer`] has the answer to the returned number.
    pub fn command(&mut self, name: &str, command: Command) -> u64 {
        self.command_by(Asker::default(), name, command)
    }

    /// The same of somebody.
    pub fn command_by(&mut self, asker: Asker, name: &str, command: Command) -> u64 {
        self.count += 1;
        let id = self.count;
        let event = Event::Command { id, command, asker };
        self.deliver(&NodeName::new(name), event);
        id
    }

    /// Reloads the configuration of a running daemon.
    pub fn reload(&mut self, name: &str, cluster: Cluster) {
        self.deliver(&NodeName::new(name), Event::Reconfigured(Box::new(cluster)));
    }

    /// A machine.
    ///
    /// # Panics
    /// If there is none of that name, which is an error in the test.
    #[allow(clippy::panic)]
    pub fn machine(&mut self, name: &str) -> &mut Machine {
        match self.machines.get_mut(&NodeName::new(name)) {
            Some(machine) => machine,
            None => panic!("there is no machine {name}"),
        }
    }

    /// A machine, to look at.
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
