//! The kinds of random faults, and the functions that draw one fault each.

use std::time::Duration;

use super::Generator;
use crate::engine::Command;
use crate::model::cluster::GroupSpec;
use crate::model::cluster_setting::SettingValue;
use crate::model::{GroupName, LinkName, NodeName};
use crate::sim::clones::CloneKind;
use crate::sim::controls::CutDirection;
use crate::sim::fault::{Fault, NetworkPath, StepLocation};
use crate::sim::fencing::PowerSwitch;
use crate::sim::machine::{Behaviour, ProbeBehaviour};
use crate::sim::network::Weather;
use crate::sim::setting::ScriptSetting;

/// Draws one fault.
pub(super) type FaultGenerator = fn(&mut Generator);

/// Defines [`FaultKind`]: each kind with its word on the command line and the functions that draw its faults.
macro_rules! fault_kinds {
    ($($kind:ident, $word:literal, $meaning:literal, [$($generator:ident),*];)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FaultKind {
            $(#[doc = $meaning] $kind,)*
        }

        impl FaultKind {
            /// All kinds.
            pub const ALL: &[FaultKind] = &[$(FaultKind::$kind),*];

            /// Its word for `hactl sim --faults`.
            pub fn word(self) -> &'static str {
                match self {
                    $(FaultKind::$kind => $word,)*
                }
            }

            /// What happens, in a few words.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(FaultKind::$kind => $meaning,)*
                }
            }

            fn fault_generators(self) -> &'static [FaultGenerator] {
                match self {
                    $(FaultKind::$kind => &[$(Generator::$generator),*],)*
                }
            }
        }
    };
}

// The order decides which faults a seed gives.
fault_kinds! {
    Cuts, "cuts", "links between nodes are cut, both ways or one way", [cut, cut, isolate, heal];
    Blocks, "blocks", "only heartbeats are lost between two nodes", [block, block, heal];
    Isolation, "isolation", "a node is cut off from all nodes and ping nodes", [isolate, heal];
    Blindness, "blindness", "single nodes do not reach a ping node", [blind];
    Crash, "crash", "machines lose their power, and boot", [crash, boot, boot];
    LostStore, "lost-store", "a machine that is off loses its saved state", [lose_store];
    Kill, "kill", "daemons are killed; what they started runs on", [kill, boot, boot];
    Freeze, "freeze", "daemons are stopped (SIGSTOP); kernel and clock keep running", [freeze, thaw, thaw];
    Suspend, "suspend", "whole machines and their clocks are stopped", [suspend, thaw];
    Weather, "weather", "heartbeats are lost, late, doubled or overtaken", [weather];
    Time, "time", "clocks drift, and daemons wake late", [time];
    Commands, "commands", "standby, takeover, clear", [standby, takeover, unstandby, clear];
    Force, "force", "takeover --force after the administrator has looked", [force];
    Leave, "leave", "daemons are stopped", [leave, boot];
    Restart, "restart", "daemons announce a restart, and come back in time or not", [restart];
    Maintenance, "maintenance", "groups are in maintenance", [maintenance];
    FailingStarts, "failing-starts", "starts are slow or fail", [break_start, mend_agents];
    FailingStops, "failing-stops", "stops fail", [break_stop, mend_agents];
    Hangs, "hangs", "starts, stops and probes hang", [hang, mend_agents];
    Lies, "lies", "probes fail or report what is not true", [lie, mend_agents];
    Losses, "losses", "resources die, and the daemon notices", [lose];
    Deaths, "deaths", "resources die or fail, and only their monitor notices", [die, die, ail, mend_agents];
    Checks, "checks", "health checks of nodes fail, and pass again", [check];
    Reconfigure, "reconfigure", "nodes read different configurations", [reconfigure];
    Relay, "relay", "heartbeats through ping nodes are lost, both ways or one way", [block_relay, heal];
    Clones, "clones", "a second machine with the name of a node boots", [clone_machine];
    Voters, "voters", "nodes read different lists of nodes", [change_voters, change_voters, restore_voters];
    Fencing, "fencing", "power switches are slow, fail, act late or do not answer", [switch, switch, mend_switch];
}

const NOBODY: &str = "nobody";

impl Generator {
    /// One function for each fault that may happen; the likelier ones are there more than once.
    pub(super) fn fault_generators(&self) -> Vec<FaultGenerator> {
        let kinds = FaultKind::ALL.iter().filter(|kind| self.faults.has(**kind));
        let mut on: Vec<FaultGenerator> = kinds
            .flat_map(|kind| kind.fault_generators())
            .copied()
            .collect();
        if self.faults.slow_stops.is_some() && !self.faults.has(FaultKind::FailingStops) {
            on.extend([
                Generator::break_stop as FaultGenerator,
                Generator::mend_agents,
            ]);
        }
        on
    }

    pub(super) fn node(&mut self) -> NodeName {
        let one = self.random.pick(&self.setup.cluster.nodes);
        one.cloned().unwrap_or_else(|| NodeName::new(NOBODY))
    }

    fn two_nodes(&mut self) -> (NodeName, NodeName) {
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

    fn cut_direction(&mut self) -> CutDirection {
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
    fn step_location(&mut self) -> (StepLocation, bool) {
        let (node, group) = (self.node(), self.group());
        let steps = self.setup.group(&group).map(|g| g.steps.clone());
        let steps = steps.unwrap_or_default();
        let step = usize::try_from(self.random.below(steps.len() as u64)).unwrap_or(0);
        let address = steps.get(step).is_some_and(|s| s.addresses);
        (StepLocation { node, group, step }, address)
    }

    fn cut(&mut self) {
        let (a, b) = self.two_nodes();
        let (way, link) = (self.cut_direction(), self.link());
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
        let (a, b) = self.two_nodes();
        let way = self.cut_direction();
        self.push(Fault::Block { a, b, way });
    }

    fn block_relay(&mut self) {
        let (a, b) = self.two_nodes();
        let way = self.cut_direction();
        self.push(Fault::BlockRelay { a, b, way });
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
            let (from, to) = self.two_nodes();
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

    fn clone_machine(&mut self) {
        let node = self.node();
        let disk = self.random.chance(500);
        let kind = if disk {
            CloneKind::Disk
        } else {
            CloneKind::Configuration
        };
        self.push(Fault::Clone(node, kind));
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

    fn push_command(&mut self, node: NodeName, command: Command) {
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
        self.push_command(node, Command::Standby { groups, lasting });
    }

    fn takeover(&mut self) {
        let (node, groups) = (self.node(), self.some_groups());
        let force = false;
        self.push_command(node, Command::Takeover { groups, force });
    }

    fn force(&mut self) {
        let (node, groups) = (self.node(), self.some_groups());
        let force = true;
        self.push_command(node, Command::Takeover { groups, force });
    }

    fn unstandby(&mut self) {
        let (node, groups) = (self.node(), self.all_groups());
        self.push_command(node, Command::Unstandby(groups));
    }

    fn clear(&mut self) {
        let (node, group) = (self.node(), self.group());
        self.push_command(node, Command::Clear(group));
    }

    fn leave(&mut self) {
        let node = self.node();
        self.push_command(node, Command::Leave);
    }

    fn maintenance(&mut self) {
        let (node, groups) = (self.node(), self.some_groups());
        let on = self.random.chance(400);
        self.push_command(node, Command::Maintenance { groups, on });
    }

    /// Announced, and kept or not.
    fn restart(&mut self) {
        let node = self.node();
        let deadtime = self.setup.cluster.timing.deadtime;
        let back_within = self.between(Duration::from_millis(500), deadtime * 4);
        self.push_command(node.clone(), Command::Restart { back_within });
        let back = self.at + self.between(Duration::from_millis(100), back_within * 3 / 2);
        self.steps.push((back, Fault::Start(node)));
    }

    fn break_start(&mut self) {
        let (spot, address) = self.step_location();
        let how = match self.random.below(2) {
            // An address is there at once or never: until it is, no probe on the wire finds it.
            0 if address => Behaviour::Works(Duration::from_millis(1)),
            0 => Behaviour::Works(self.between(Duration::from_millis(1), Duration::from_secs(12))),
            _ => Behaviour::Fails("simulated failure".to_owned()),
        };
        self.push(Fault::Starts(spot, how));
    }

    fn break_stop(&mut self) {
        let (spot, address) = self.step_location();
        let slow = self.faults.slow_stops.unwrap_or_default();
        // The removal of an address is not waited for: it is gone at once.
        let at_once = address && !self.faults.has(FaultKind::FailingStops);
        let most = if at_once { Duration::ZERO } else { slow };
        let fails = self.faults.has(FaultKind::FailingStops) && self.random.chance(300);
        let least = Duration::from_millis(1);
        let how = if fails {
            Behaviour::Fails("simulated failure".to_owned())
        } else {
            Behaviour::Works(self.between(least, most.max(least)))
        };
        self.push(Fault::Stops(spot, how));
    }

    fn hang(&mut self) {
        let (spot, _) = self.step_location();
        let fault = match self.random.below(4) {
            0 => Fault::Starts(spot, Behaviour::Hangs),
            1 => Fault::Starts(spot, Behaviour::FailsHalfDone),
            2 => Fault::Stops(spot, Behaviour::Hangs),
            _ => Fault::Looks(spot, ProbeBehaviour::Hangs),
        };
        self.push(fault);
    }

    fn lie(&mut self) {
        let (spot, _) = self.step_location();
        let how = match self.random.below(3) {
            0 => ProbeBehaviour::Says(true),
            1 => ProbeBehaviour::Says(false),
            _ => ProbeBehaviour::Fails,
        };
        self.push(Fault::Looks(spot, how));
    }

    fn switch(&mut self) {
        let node = self.node();
        let time = Duration::from_millis(100 + self.random.below(8000));
        let how = match self.random.below(6) {
            0 => PowerSwitch::Fails,
            3 => PowerSwitch::Idle,
            1 => PowerSwitch::Unanswered,
            2 => PowerSwitch::Late(time * 2),
            _ => PowerSwitch::Takes(time),
        };
        self.push(Fault::Switch(node, how));
    }

    fn mend_switch(&mut self) {
        let (node, usual) = (self.node(), Duration::from_secs(1));
        self.push(Fault::Switch(node, PowerSwitch::Takes(usual)));
    }

    fn mend_agents(&mut self) {
        self.push(Fault::MendAgents);
    }

    fn lose(&mut self) {
        let (spot, _) = self.step_location();
        self.push(Fault::Lose(spot));
    }

    /// A step that something looks at.
    fn monitored_step(&mut self) -> Option<StepLocation> {
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
        if let Some(spot) = self.monitored_step() {
            self.push(Fault::Die(spot));
        }
    }

    fn ail(&mut self) {
        if let Some(spot) = self.monitored_step() {
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
        let deadtime = Duration::from_secs(2 + self.random.below(4));
        let setting = match self.random.below(8) {
            0 => {
                let on = SettingValue::Switch(self.random.chance(500));
                ScriptSetting::Cluster("auto_failback", on)
            }
            1 => ScriptSetting::Cluster("failback_delay", SettingValue::Time(delay)),
            2 => ScriptSetting::FollowConnectivity(self.random.chance(500)),
            3 => ScriptSetting::Preferred(group, self.node()),
            4 => ScriptSetting::Without(group),
            5 => ScriptSetting::With(group),
            6 => ScriptSetting::Cluster("deadtime", SettingValue::Time(deadtime)),
            _ => ScriptSetting::Whole,
        };
        self.reconfigured.insert(node.clone());
        self.push(Fault::Reconfigure(node, setting));
    }
}
