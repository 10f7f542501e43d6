//! The single faults that are drawn.

use std::time::Duration;

use super::{FaultKind, Generator};
use crate::engine::Command;
use crate::model::cluster::GroupSpec;
use crate::model::{GroupName, LinkName, NodeName};
use crate::sim::controls::CutDirection;
use crate::sim::fault::{Fault, NetworkPath, StepLocation};
use crate::sim::machine::{Behaviour, ProbeBehaviour};
use crate::sim::network::Weather;
use crate::sim::setting::ScriptSetting;

/// Draws one fault.
pub(super) type FaultGenerator = fn(&mut Generator);

const NOBODY: &str = "nobody";

impl Generator {
    /// All that may strike, the likelier ones more than once.
    pub(super) fn fault_generators(&self) -> Vec<FaultGenerator> {
        let all: [(FaultKind, &[FaultGenerator]); 24] = [
            (
                FaultKind::Cuts,
                &[
                    Generator::cut,
                    Generator::cut,
                    Generator::isolate,
                    Generator::heal,
                ],
            ),
            (
                FaultKind::Blocks,
                &[Generator::block, Generator::block, Generator::heal],
            ),
            (FaultKind::Isolation, &[Generator::isolate, Generator::heal]),
            (FaultKind::Blindness, &[Generator::blind]),
            (
                FaultKind::Crash,
                &[Generator::crash, Generator::boot, Generator::boot],
            ),
            (FaultKind::LostStore, &[Generator::lose_store]),
            (
                FaultKind::Kill,
                &[Generator::kill, Generator::boot, Generator::boot],
            ),
            (
                FaultKind::Freeze,
                &[Generator::freeze, Generator::thaw, Generator::thaw],
            ),
            (FaultKind::Suspend, &[Generator::suspend, Generator::thaw]),
            (FaultKind::Weather, &[Generator::weather]),
            (FaultKind::Time, &[Generator::time]),
            (
                FaultKind::Commands,
                &[
                    Generator::standby,
                    Generator::takeover,
                    Generator::unstandby,
                    Generator::clear,
                ],
            ),
            (FaultKind::Force, &[Generator::force]),
            (FaultKind::Leave, &[Generator::leave, Generator::boot]),
            (FaultKind::Restart, &[Generator::restart]),
            (FaultKind::Maintenance, &[Generator::maintenance]),
            (
                FaultKind::FailingStarts,
                &[Generator::break_start, Generator::mend_agents],
            ),
            (
                FaultKind::FailingStops,
                &[Generator::break_stop, Generator::mend_agents],
            ),
            (FaultKind::Hangs, &[Generator::hang, Generator::mend_agents]),
            (FaultKind::Lies, &[Generator::lie, Generator::mend_agents]),
            (FaultKind::Losses, &[Generator::lose]),
            (
                FaultKind::Deaths,
                &[
                    Generator::die,
                    Generator::die,
                    Generator::ail,
                    Generator::mend_agents,
                ],
            ),
            (FaultKind::Checks, &[Generator::check]),
            (FaultKind::Reconfigure, &[Generator::reconfigure]),
        ];
        let on = all.into_iter().filter(|(kind, _)| self.faults.has(*kind));
        let mut on: Vec<FaultGenerator> = on.flat_map(|(_, kinds)| kinds.iter().copied()).collect();
        if self.faults.slow_stops.is_some() && !self.faults.has(FaultKind::FailingStops) {
            on.extend([
                Generator::break_stop as FaultGenerator,
                Generator::mend_agents,
            ]);
        }
        on
    }

    fn node(&mut self) -> NodeName {
        let one = self.random.pick(&self.setup.cluster.nodes);
        one.cloned().unwrap_or_else(|| NodeName::new(NOBODY))
    }

    fn two(&mut self) -> (NodeName, NodeName) {
        let a = self.node();
        let others = self.setup.cluster.nodes.iter().filter(|n| **n != a);
        let others: Vec<NodeName> = others.cloned().collect();
        let b = self.random.pick(&others).cloned();
        (a, b.unwrap_or_else(|| NodeName::new(NOBODY)))
    }

    fn link(&mut self) -> Option<LinkName> {
        let links = &self.setup.cluster.links;
        let one = links.len() > 1 && self.random.chance(500);
        one.then(|| self.random.pick(links).cloned()).flatten()
    }

    fn way(&mut self) -> CutDirection {
        if self.random.chance(500) {
            CutDirection::Both
        } else {
            CutDirection::OneWay
        }
    }

    fn group(&mut self) -> GroupName {
        let one = self.random.pick(&self.setup.cluster.groups);
        one.map_or_else(|| GroupName::new(NOBODY), |g| g.name.clone())
    }

    fn all_groups(&self) -> Vec<GroupName> {
        self.setup
            .cluster
            .groups
            .iter()
            .map(|g| g.name.clone())
            .collect()
    }

    fn some_groups(&mut self) -> Vec<GroupName> {
        if self.random.chance(300) {
            return self.all_groups();
        }
        vec![self.group()]
    }

    /// A step of a group on a node, and whether it is an address.
    fn spot(&mut self) -> (StepLocation, bool) {
        let (node, group) = (self.node(), self.group());
        let steps = self.setup.group(&group).map(|g| g.steps.clone());
        let steps = steps.unwrap_or_default();
        let step = usize::try_from(self.random.below(steps.len() as u64)).unwrap_or(0);
        let address = steps.get(step).is_some_and(|s| s.addresses);
        (StepLocation { node, group, step }, address)
    }

    fn cut(&mut self) {
        let (a, b) = self.two();
        let (way, link) = (self.way(), self.link());
        self.push(Fault::Cut { a, b, way, link });
    }

    fn isolate(&mut self) {
        let node = self.node();
        self.push(Fault::Isolate(node));
    }

    fn heal(&mut self) {
        self.push(Fault::Heal);
    }

    fn block(&mut self) {
        let (a, b) = self.two();
        let way = self.way();
        self.push(Fault::Block { a, b, way });
    }

    fn blind(&mut self) {
        let node = self.node();
        let ping = self.random.pick(&self.setup.cluster.pings);
        let ping = ping.map(|p| p.name.clone());
        let sees = self.random.chance(500);
        self.push(if sees {
            Fault::See(node, ping)
        } else {
            Fault::Blind(node, ping)
        });
    }

    fn weather(&mut self) {
        let most = self.random.pick(&[0, 1, 10, 100, 500, 2000]).copied();
        let weather = Weather {
            loss: self
                .random
                .pick(&[0, 0, 10, 100, 300, 700])
                .copied()
                .unwrap_or(0),
            twice: self.random.pick(&[0, 100, 500]).copied().unwrap_or(0),
            delay: Duration::from_micros(200),
            jitter: Duration::from_millis(most.unwrap_or(0)),
        };
        let path = if self.random.chance(500) {
            None
        } else {
            let (from, to) = self.two();
            let link = self.link();
            Some(NetworkPath { from, to, link })
        };
        self.push(Fault::Weather(weather, path));
    }

    fn crash(&mut self) {
        let node = self.node();
        self.frozen.remove(&node);
        self.push(Fault::Crash(node));
    }

    fn boot(&mut self) {
        let node = self.node();
        self.push(Fault::Start(node));
    }

    fn lose_store(&mut self) {
        let node = self.node();
        // Most often right after a crash, so that it applies.
        if self.random.chance(700) {
            self.frozen.remove(&node);
            self.push(Fault::Crash(node.clone()));
        }
        self.push(Fault::LoseStore(node));
    }

    fn kill(&mut self) {
        let node = self.node();
        self.frozen.remove(&node);
        self.push(Fault::Kill(node));
    }

    fn freeze(&mut self) {
        let node = self.node();
        self.frozen.insert(node.clone());
        self.push(Fault::Freeze(node));
    }

    fn suspend(&mut self) {
        let node = self.node();
        self.frozen.insert(node.clone());
        self.push(Fault::Suspend(node));
    }

    fn thaw(&mut self) {
        let Some(node) = self.frozen.pop_first() else {
            return;
        };
        let deaf = self.random.chance(300);
        self.push(Fault::Thaw { node, deaf });
    }

    fn time(&mut self) {
        let node = self.node();
        if self.random.chance(500) {
            let ppm = i32::try_from(self.random.below(1001)).unwrap_or(0) - 500;
            self.push(Fault::Drift(node, ppm));
        } else {
            let late = self.random.pick(&[0, 5, 20, 100]).copied().unwrap_or(0);
            self.push(Fault::Late(node, Duration::from_millis(late)));
        }
    }

    fn order(&mut self, node: NodeName, command: Command) {
        let looked = match &command {
            Command::Clear(_) => true,
            Command::Takeover { force, .. } => *force,
            _ => false,
        };
        self.push(Fault::Command {
            node,
            command,
            looked,
        });
    }

    fn standby(&mut self) {
        let (node, groups) = (self.node(), self.some_groups());
        let lasting = self.random.chance(500);
        self.order(node, Command::Standby { groups, lasting });
    }

    fn takeover(&mut self) {
        let (node, groups) = (self.node(), self.some_groups());
        let force = false;
        self.order(node, Command::Takeover { groups, force });
    }

    fn force(&mut self) {
        let (node, groups) = (self.node(), self.some_groups());
        let force = true;
        self.order(node, Command::Takeover { groups, force });
    }

    fn unstandby(&mut self) {
        let (node, groups) = (self.node(), self.all_groups());
        self.order(node, Command::Unstandby(groups));
    }

    fn clear(&mut self) {
        let (node, group) = (self.node(), self.group());
        self.order(node, Command::Clear(group));
    }

    fn leave(&mut self) {
        let node = self.node();
        self.order(node, Command::Leave);
    }

    fn maintenance(&mut self) {
        let (node, groups) = (self.node(), self.some_groups());
        let on = self.random.chance(400);
        self.order(node, Command::Maintenance { groups, on });
    }

    /// Announced, and kept or not.
    fn restart(&mut self) {
        let node = self.node();
        let deadtime = self.setup.cluster.timing.deadtime;
        let back_within = self.between(Duration::from_millis(500), deadtime * 4);
        self.order(node.clone(), Command::Restart { back_within });
        let back = self.at + self.between(Duration::from_millis(100), back_within * 3 / 2);
        self.steps.push((back, Fault::Start(node)));
    }

    fn break_start(&mut self) {
        let (spot, address) = self.spot();
        let how = match self.random.below(2) {
            // An address is there at once or never: until it is, no probe on the wire finds it.
            0 if address => Behaviour::Works(Duration::from_millis(1)),
            0 => Behaviour::Works(self.between(Duration::from_millis(1), Duration::from_secs(12))),
            _ => Behaviour::Fails("it does not want to".to_owned()),
        };
        self.push(Fault::Starts(spot, how));
    }

    fn break_stop(&mut self) {
        let (spot, address) = self.spot();
        let slow = self.faults.slow_stops.unwrap_or_default();
        // The removal of an address is not waited for: it is gone at once.
        let at_once = address && !self.faults.has(FaultKind::FailingStops);
        let most = if at_once { Duration::ZERO } else { slow };
        let fails = self.faults.has(FaultKind::FailingStops) && self.random.chance(300);
        let least = Duration::from_millis(1);
        let how = if fails {
            Behaviour::Fails("it does not want to".to_owned())
        } else {
            Behaviour::Works(self.between(least, most.max(least)))
        };
        self.push(Fault::Stops(spot, how));
    }

    fn hang(&mut self) {
        let (spot, _) = self.spot();
        let fault = match self.random.below(4) {
            0 => Fault::Starts(spot, Behaviour::Hangs),
            1 => Fault::Starts(spot, Behaviour::FailsHalfDone),
            2 => Fault::Stops(spot, Behaviour::Hangs),
            _ => Fault::Looks(spot, ProbeBehaviour::Hangs),
        };
        self.push(fault);
    }

    fn lie(&mut self) {
        let (spot, _) = self.spot();
        let how = match self.random.below(3) {
            0 => ProbeBehaviour::Says(true),
            1 => ProbeBehaviour::Says(false),
            _ => ProbeBehaviour::Fails,
        };
        self.push(Fault::Looks(spot, how));
    }

    fn mend_agents(&mut self) {
        self.push(Fault::MendAgents);
    }

    fn lose(&mut self) {
        let (spot, _) = self.spot();
        self.push(Fault::Lose(spot));
    }

    /// A step that something looks at.
    fn watched_spot(&mut self) -> Option<StepLocation> {
        let node = self.node();
        let groups = self.setup.cluster.groups.iter();
        let watched = |g: &GroupSpec| {
            let steps = g.steps.iter().enumerate();
            let watched = steps.filter(|(_, s)| s.policy.is_some());
            watched
                .map(|(step, _)| (g.name.clone(), step))
                .collect::<Vec<_>>()
        };
        let spots: Vec<(GroupName, usize)> = groups.flat_map(watched).collect();
        let (group, step) = self.random.pick(&spots)?.clone();
        Some(StepLocation { node, group, step })
    }

    fn die(&mut self) {
        if let Some(spot) = self.watched_spot() {
            self.push(Fault::Die(spot));
        }
    }

    fn ail(&mut self) {
        if let Some(spot) = self.watched_spot() {
            self.push(Fault::Ail(spot));
        }
    }

    fn check(&mut self) {
        let node = self.node();
        let checks: Vec<String> = self.setup.checks().map(str::to_owned).collect();
        let passes = self.random.chance(500);
        if let Some(check) = self.random.pick(&checks).cloned() {
            self.push(Fault::Check {
                node,
                check,
                passes,
            });
        }
    }

    fn reconfigure(&mut self) {
        let (node, group) = (self.node(), self.group());
        let delay = Duration::from_secs(self.random.below(6));
        let setting = match self.random.below(7) {
            0 => ScriptSetting::AutoFailback(self.random.chance(500)),
            1 => ScriptSetting::FailbackDelay(delay),
            2 => ScriptSetting::FollowConnectivity(self.random.chance(500)),
            3 => ScriptSetting::Preferred(group, self.node()),
            4 => ScriptSetting::Without(group),
            5 => ScriptSetting::With(group),
            _ => ScriptSetting::Whole,
        };
        self.strange.insert(node.clone());
        self.push(Fault::Reconfigure(node, setting));
    }
}
