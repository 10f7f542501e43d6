//! Applies a fault to a world.

use super::{Fault, NetworkPath, StepLocation};
use crate::engine::Command;
use crate::model::cluster::Cluster;
use crate::model::health::Health;
use crate::model::{GroupName, LinkName, NodeName, Time};
use crate::sim::clones::CloneKind;
use crate::sim::controls::CutDirection;
use crate::sim::machine::Machine;
use crate::sim::network::Weather;
use crate::sim::setting::{ScriptSetting, digest};
use crate::sim::world::{GivenCommand, World};

impl World {
    /// Applies a fault; returns false if it does not apply and nothing was done.
    pub fn apply(&mut self, fault: &Fault) -> bool {
        if fault.nodes().iter().any(|n| !self.machines.contains_key(n)) {
            return false;
        }
        let does = match fault {
            Fault::Crash(node) => self.do_if(node, |m| m.powered, World::crash),
            Fault::Start(node) => self.start_node(node),
            Fault::Kill(node) => {
                let runs = |m: &Machine| m.engine.is_some() && !m.suspended;
                self.do_if(node, runs, World::kill)
            }
            Fault::Freeze(node) => self.do_if(node, Machine::alive, World::freeze),
            Fault::Suspend(node) => self.do_if(node, Machine::alive, World::suspend),
            Fault::Thaw { node, deaf: false } => self.do_if(node, |m| m.frozen, World::thaw),
            Fault::Thaw { node, deaf: true } => self.do_if(node, |m| m.frozen, World::thaw_deaf),
            Fault::Clone(node, kind) => self.clone_if_running(node, *kind),
            Fault::LoseStore(node) => self.do_if(node, |m| m.engine.is_none(), World::lose_store),
            Fault::Drift(node, ppm) => self.drift_clock(node, *ppm),
            Fault::Late(node, most) => {
                self.machine(node.as_str()).lateness = *most;
                true
            }
            Fault::Cut { a, b, way, link } => self.cut_links(a, b, *way, link.as_ref()),
            Fault::Block { a, b, way } => {
                self.block_heartbeats_one_way(a.as_str(), b.as_str());
                if *way == CutDirection::Both {
                    self.block_heartbeats_one_way(b.as_str(), a.as_str());
                }
                true
            }
            Fault::BlockRelay { a, b, way } => {
                self.block_relay_one_way(a.as_str(), b.as_str());
                if *way == CutDirection::Both {
                    self.block_relay_one_way(b.as_str(), a.as_str());
                }
                !self.cluster.pings.is_empty()
            }
            Fault::Isolate(node) => self.isolate(node),
            Fault::Blind(node, ping) => self.set_pings_visible(node, ping.as_deref(), false),
            Fault::See(node, ping) => self.set_pings_visible(node, ping.as_deref(), true),
            Fault::Heal => self.heal_all(),
            Fault::Weather(weather, path) => self.change_weather(*weather, path.as_ref()),
            Fault::Starts(spot, how) => {
                let machine = self.machine(spot.node.as_str());
                machine.start_behaviour.insert(step_key(spot), how.clone());
                true
            }
            Fault::Stops(spot, how) => {
                let machine = self.machine(spot.node.as_str());
                machine.stop_behaviour.insert(step_key(spot), how.clone());
                true
            }
            Fault::Looks(spot, how) => {
                let machine = self.machine(spot.node.as_str());
                machine.look_behaviour.insert(step_key(spot), *how);
                true
            }
            Fault::Lose(spot) => self.end_step(spot, |world, node, group, step| {
                world.lose_step_noticed(node, group, step, "it is gone");
            }),
            Fault::Die(spot) => self.end_step(spot, World::die),
            Fault::Ail(spot) => {
                let StepLocation { node, group, step } = spot;
                self.ail(
                    node.as_str(),
                    group.as_str(),
                    *step,
                    Some("the monitor failed"),
                );
                true
            }
            Fault::Check {
                node,
                check,
                passes,
            } => {
                let text = (!passes).then_some("simulated failure");
                self.fail_check(node.as_str(), check, text);
                true
            }
            Fault::Switch(node, how) => {
                self.set_power_switch(node.as_str(), *how);
                true
            }
            Fault::MendAgents => self.mend_agents(),
            Fault::Command {
                node,
                command,
                looked,
            } => self.give_command(node, command, *looked),
            Fault::Reconfigure(node, setting) => self.reconfigure(node, setting),
            Fault::EndAll => self.end_all(),
            Fault::MakeAmends => self.make_amends(),
        };
        if does {
            self.note_fault(fault);
        }
        does
    }

    /// Does something to a machine if a condition holds. Returns whether it does.
    fn do_if(
        &mut self,
        node: &NodeName,
        is: fn(&Machine) -> bool,
        act: fn(&mut World, &str),
    ) -> bool {
        let does = is(self.at(node.as_str()));
        if does {
            act(self, node.as_str());
        }
        does
    }

    fn clone_if_running(&mut self, node: &NodeName, kind: CloneKind) -> bool {
        let first = self.machines_of(node).len() == 1;
        let does = first && self.at(node.as_str()).alive();
        if does {
            self.clone_machine(node.as_str(), kind);
        }
        does
    }

    fn drift_clock(&mut self, node: &NodeName, ppm: i32) -> bool {
        let now = self.now;
        let clock = &mut self.machine(node.as_str()).clock;
        *clock = clock.drift(now, ppm);
        self.reschedule(node);
        true
    }

    /// Starts the daemon. A machine that was off boots, and its clock begins again.
    fn start_node(&mut self, node: &NodeName) -> bool {
        let now = self.now;
        let machine = self.machine(node.as_str());
        if machine.engine.is_some() {
            return false;
        }
        if !machine.powered {
            machine.boots += 1;
            // Each boot begins at another second, so that times of two boots are never equal.
            let local = Time(1_000_000_000 * (1 + machine.boots % 1000));
            machine.clock = machine.clock.begin_anew(now, local);
        }
        self.start(node.as_str());
        true
    }

    fn links_of(&self, link: Option<&LinkName>) -> Vec<LinkName> {
        let chosen = |l: &&LinkName| link.is_none_or(|one| one == *l);
        self.cluster.links.iter().filter(chosen).cloned().collect()
    }

    fn cut_links(
        &mut self,
        a: &NodeName,
        b: &NodeName,
        way: CutDirection,
        link: Option<&LinkName>,
    ) -> bool {
        for link in self.links_of(link) {
            self.cuts.insert((a.clone(), b.clone(), link.clone()));
            if way == CutDirection::Both {
                self.cuts.insert((b.clone(), a.clone(), link));
            }
        }
        true
    }

    fn isolate(&mut self, node: &NodeName) -> bool {
        let others: Vec<NodeName> = self.names().filter(|n| n != node).collect();
        for other in others {
            self.cut_links(node, &other, CutDirection::Both, None);
        }
        self.set_pings_visible(node, None, false);
        true
    }

    fn set_pings_visible(&mut self, node: &NodeName, ping: Option<&str>, sees: bool) -> bool {
        for (at, of) in self.cluster.pings.iter().enumerate() {
            if ping.is_some_and(|p| p != of.name) {
                continue;
            }
            if sees {
                self.blind.remove(&(node.clone(), at));
            } else {
                self.blind.insert((node.clone(), at));
            }
        }
        !self.cluster.pings.is_empty()
    }

    fn heal_all(&mut self) -> bool {
        self.heal();
        self.blind.clear();
        true
    }

    fn change_weather(&mut self, weather: Weather, path: Option<&NetworkPath>) -> bool {
        let Some(path) = path else {
            self.weather_everywhere(weather);
            return true;
        };
        for link in self.links_of(path.link.as_ref()) {
            let link_key = (path.from.clone(), path.to.clone(), link);
            self.local_weather.insert(link_key, weather);
        }
        true
    }

    /// Does something to a step if it runs. Returns whether it does.
    fn end_step(&mut self, spot: &StepLocation, end: fn(&mut World, &str, &str, usize)) -> bool {
        let StepLocation { node, group, step } = spot;
        let machine = self.at(node.as_str());
        let steps = machine.running.get(group);
        let runs = machine.powered && steps.and_then(|s| s.get(*step)) == Some(&true);
        if runs {
            end(self, node.as_str(), group.as_str(), *step);
        }
        runs
    }

    fn mend_agents(&mut self) -> bool {
        for machine in self.machines.values_mut() {
            machine.health.end_illness();
            machine.start_behaviour.clear();
            machine.stop_behaviour.clear();
            machine.look_behaviour.clear();
        }
        true
    }

    fn give_command(&mut self, node: &NodeName, command: &Command, looked: bool) -> bool {
        let safe = || match command {
            Command::Takeover { groups, .. } => {
                self.all_daemons_run() && !groups.iter().any(|g| self.runs_anywhere(g))
            }
            _ => self.all_daemons_run(),
        };
        if !self.at(node.as_str()).alive() || (looked && !safe()) {
            return false;
        }
        self.issue_command(node, command.clone());
        true
    }

    fn issue_command(&mut self, node: &NodeName, command: Command) {
        let life = self.at(node.as_str()).life;
        let at = self.now;
        let id = self.command(node.as_str(), command);
        let node = node.clone();
        self.asked.push(GivenCommand { node, life, id, at });
    }

    /// Whether every machine that is on has a daemon that runs.
    fn all_daemons_run(&self) -> bool {
        self.machines.values().all(|m| m.alive() || !m.powered)
    }

    fn runs_anywhere(&self, group: &GroupName) -> bool {
        self.machines.values().any(|m| m.runs(group))
    }

    fn reconfigure(&mut self, node: &NodeName, setting: &ScriptSetting) -> bool {
        let mut cluster = self.config_of(node);
        setting.set(&mut cluster, &self.cluster);
        let machine = self.machine(node.as_str());
        machine.config = Some(cluster.clone());
        if machine.engine.is_some() {
            self.reload(node.as_str(), cluster);
        }
        true
    }

    /// The configuration of a node.
    pub fn config_of(&self, node: &NodeName) -> Cluster {
        let own = self.machines.get(node).and_then(|m| m.config.clone());
        let mut cluster = own.unwrap_or_else(|| Cluster {
            me: node.clone(),
            ..self.cluster.clone()
        });
        if cluster.this_node_is_witness() {
            // It reads neither haresources nor checks, so its digest is another.
            cluster.groups.clear();
            cluster.health = Health::default();
            cluster.digest = digest(&cluster);
        }
        cluster
    }

    fn end_all(&mut self) -> bool {
        self.remove_clones();
        self.heal_all();
        self.weather_everywhere(Weather::CALM);
        self.mend_agents();
        self.mend_switches();
        let names: Vec<NodeName> = self.names().collect();
        for name in &names {
            self.machine(name.as_str()).health.reset_checks();
            if self.at(name.as_str()).frozen {
                self.thaw(name.as_str());
            }
        }
        for name in &names {
            self.start_node(name);
        }
        true
    }

    fn make_amends(&mut self) -> bool {
        let groups: Vec<GroupName> = self.cluster.groups.iter().map(|g| g.name.clone()).collect();
        let names: Vec<NodeName> = self.names().collect();
        for name in names {
            if !self.at(name.as_str()).alive() {
                continue;
            }
            self.issue_command(&name, Command::Unstandby(groups.clone()));
            let end = Command::Maintenance {
                groups: groups.clone(),
                on: false,
            };
            self.issue_command(&name, end);
            for group in groups
                .iter()
                .filter(|_| self.all_daemons_run())
                .cloned()
                .collect::<Vec<_>>()
            {
                self.issue_command(&name, Command::Clear(group));
            }
        }
        true
    }
}

fn step_key(spot: &StepLocation) -> (GroupName, usize) {
    (spot.group.clone(), spot.step)
}
