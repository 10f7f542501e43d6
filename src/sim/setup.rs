//! The cluster before anything happens: the header of a script.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::setting::{ScriptSetting, digest};
use super::world::World;
use crate::model::cluster::{Cluster, GroupSpec, Step, Timeouts};
use crate::model::fencing::Fencing;
use crate::model::health::FAILBACK_WHEN;
use crate::model::{GroupName, NodeName, Time};
use crate::text::duration_in_files;

/// A cluster that is switched off, and its machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSetup {
    /// The configuration that all nodes share; `me` and `digest` are not used.
    pub cluster: Cluster,
    /// Whether kernels drop addresses whose lease was not renewed.
    pub kernel_leases: bool,
    /// How often a resource is monitored, by its words, and a check is run, by `check` and its name. What is not named here
    /// is looked at every second.
    pub intervals: BTreeMap<String, Duration>,
    /// Machines whose clock is wrong or drifts, or whose daemon wakes late.
    pub machines: BTreeMap<NodeName, MachineCondition>,
    /// The seed of the random events.
    pub seed: u64,
    /// How long the run is; none means until everything has settled after the last fault.
    pub length: Option<Duration>,
}

/// The clock and punctuality of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineCondition {
    /// What its clock shows when the run begins.
    pub clock: Duration,
    /// By how many millionths the clock is too fast.
    pub ppm: i32,
    /// How late the daemon wakes, at most.
    pub late: Duration,
}

impl Default for MachineCondition {
    /// A clock that is exact.
    fn default() -> Self {
        MachineCondition {
            clock: World::BEGIN.since(Time::ZERO),
            ppm: 0,
            late: Duration::ZERO,
        }
    }
}

impl ClusterSetup {
    /// This cluster, with exact clocks and daemons that are never late.
    pub fn new(cluster: Cluster) -> ClusterSetup {
        ClusterSetup {
            cluster,
            kernel_leases: true,
            intervals: BTreeMap::new(),
            machines: BTreeMap::new(),
            seed: 0,
            length: None,
        }
    }

    /// The simulated world of this setup.
    pub fn world(&self) -> World {
        let names: Vec<&str> = self.cluster.nodes.iter().map(NodeName::as_str).collect();
        let mut world = World::new(&names);
        world.cluster = self.cluster.clone();
        world.cluster.digest = digest(&self.cluster);
        world.kernel_leases = self.kernel_leases;
        world.intervals.clone_from(&self.intervals);
        world.random = super::Random::new(self.seed);
        for (name, condition) in &self.machines {
            world.set_condition(name, *condition);
        }
        world
    }

    /// The names of all checks of a node, `failback_when` included.
    pub(super) fn checks(&self) -> impl Iterator<Item = &str> {
        let health = &self.cluster.health;
        let failback = health.failback_when.then_some(FAILBACK_WHEN);
        let names = health.checks.iter().map(|c| c.name.as_str());
        names.chain(failback)
    }

    pub(super) fn has_check(&self, name: &str) -> bool {
        self.checks().any(|c| c == name)
    }

    /// A group by its name.
    pub fn group(&self, name: &GroupName) -> Option<&GroupSpec> {
        self.cluster.groups.iter().find(|g| g.name == *name)
    }
}

/// A step with default deadlines.
pub(super) fn default_step(addresses: bool) -> Step {
    Step::new(Vec::new(), addresses, Timeouts::default())
}

impl fmt::Display for ClusterSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nodes")?;
        for node in &self.cluster.nodes {
            write!(f, " {node}")?;
        }
        f.write_str("\nlinks")?;
        for link in &self.cluster.links {
            write!(f, " {}", link.as_str())?;
        }
        f.write_str("\n")?;
        for witness in &self.cluster.witnesses {
            writeln!(f, "witness {witness}")?;
        }
        for ping in &self.cluster.pings {
            writeln!(f, "ping {}", ping.name)?;
        }
        for setting in ScriptSetting::shared(&self.cluster) {
            writeln!(f, "{setting}")?;
        }
        print_fencing(f, &self.cluster.fencing)?;
        for check in &self.cluster.health.checks {
            let (fall, rise) = (check.fall, check.rise);
            let owner = if check.stays { " owner stays" } else { "" };
            let of = check
                .group
                .as_ref()
                .map_or_else(String::new, |g| format!(" of {g}"));
            writeln!(f, "check {} fall {fall} rise {rise}{owner}{of}", check.name)?;
        }
        if self.cluster.health.failback_when {
            writeln!(f, "{FAILBACK_WHEN}")?;
        }
        for group in &self.cluster.groups {
            print_group(f, group)?;
        }
        for (words, interval) in &self.intervals {
            writeln!(f, "interval {} : {words}", duration_in_files(*interval))?;
        }
        let leases = if self.kernel_leases { "on" } else { "off" };
        writeln!(f, "kernel_leases {leases}")?;
        for (name, c) in &self.machines {
            let (clock, late) = (duration_in_files(c.clock), duration_in_files(c.late));
            writeln!(
                f,
                "machine {name} clock {clock} drift {}ppm late {late}",
                c.ppm
            )?;
        }
        writeln!(f, "seed {}", self.seed)?;
        let Some(length) = self.length else {
            return Ok(());
        };
        writeln!(f, "for {}", duration_in_files(length))
    }
}

/// One line, where nodes can be fenced.
fn print_fencing(f: &mut fmt::Formatter<'_>, fencing: &Fencing) -> fmt::Result {
    if fencing.nodes.is_empty() {
        return Ok(());
    }
    write!(f, "fence delay {}", duration_in_files(fencing.delay))?;
    if fencing.for_all {
        f.write_str(" all")?;
    }
    if fencing.reboot {
        f.write_str(" reboot")?;
    }
    f.write_str(" :")?;
    for node in &fencing.nodes {
        write!(f, " {node}")?;
    }
    f.write_str("\n")
}

fn print_group(f: &mut fmt::Formatter<'_>, group: &GroupSpec) -> fmt::Result {
    writeln!(f, "group {} on {}", group.name, group.preferred)?;
    for step in &group.steps {
        let kind = if step.addresses { "address" } else { "script" };
        write!(f, "step {kind}")?;
        let usual = default_step(step.addresses);
        for (word, time, usual) in [
            ("start", step.start, usual.start),
            ("stop", step.stop, usual.stop),
            ("monitor", step.monitor, usual.monitor),
            ("removal", step.removal, usual.removal),
        ] {
            if time != usual {
                write!(f, " {word} {}", duration_in_files(time))?;
            }
        }
        if step.shared_storage {
            write!(f, " storage")?;
        }
        if let Some(p) = step.policy {
            let within = duration_in_files(p.within);
            let (fall, rise, restart) = (p.fall, p.rise, p.restart);
            write!(
                f,
                " fall {fall} rise {rise} restart {restart} within {within}"
            )?;
        }
        writeln!(f, " : {}", step.members.join(" "))?;
    }
    Ok(())
}
