//! 1. No group runs on two nodes.
//!
//! `model::promise` has the promise as one table; [`not_promised`] says which row or exception of it a script meets. A
//! script that meets none must never show two owners.
//!
//! One case is judged by what happened, not by the script. Without votes, two nodes that start within the same round of
//! probes both succeed, because neither had the address when the other probed. That is the end of the row "two nodes, no
//! ping node": it is excused if the later owner sent its last round of probes before the earlier owner's address was up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::Command;
use crate::model::cluster::QuorumPolicy;
use crate::model::promise::{ClusterShape, Exception, NotPromised};
use crate::model::{GroupName, NodeName, Time};
use crate::sim::ScriptSetting;
use crate::sim::clones::CloneKind;
use crate::sim::fault::Fault;
use crate::sim::fencing::PowerSwitch;
use crate::sim::invariant::Invariant;
use crate::sim::machine::{Behaviour, ProbeBehaviour};
use crate::sim::network::Weather;
use crate::sim::script::FaultScript;
use crate::sim::world::World;

/// A stop that takes no longer counts as immediate.
const AT_ONCE: Duration = Duration::from_millis(1);

/// A moment in which a group ran on more than one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubleOwnership {
    /// When it began.
    pub from: Time,
    /// How long it lasted.
    pub lasted: Duration,
    /// The group.
    pub group: GroupName,
    /// The machines that ran it.
    pub on: Vec<NodeName>,
    /// No probe could have prevented it.
    pub excused: bool,
}

/// Which machines run which group, and since when.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct OwnershipWatch {
    since: BTreeMap<GroupName, BTreeMap<NodeName, Time>>,
    open: BTreeMap<GroupName, DoubleOwnership>,
    past: Vec<DoubleOwnership>,
    /// Two owners are a violation, because a promise rules them out.
    pub promised: bool,
}

impl World {
    /// Every moment in which a group ran on more than one machine, those that last still included.
    pub fn doubles(&self) -> Vec<DoubleOwnership> {
        let lasting = self.owners.open.values().map(|double| DoubleOwnership {
            lasted: self.now.since(double.from),
            ..double.clone()
        });
        self.owners.past.iter().cloned().chain(lasting).collect()
    }

    /// Checks where groups run, if anything has changed.
    pub(in crate::sim) fn watch_owners(&mut self) {
        let changed = |m: &mut crate::sim::Machine| std::mem::take(&mut m.changed);
        let any = self
            .machines
            .values_mut()
            .map(changed)
            .fold(false, |a, b| a | b);
        if !any {
            return;
        }
        let groups: Vec<GroupName> = self.cluster.groups.iter().map(|g| g.name.clone()).collect();
        for group in groups {
            self.watch_service(&group);
            self.watch_owners_of(&group);
        }
    }

    fn watch_owners_of(&mut self, group: &GroupName) {
        let now = self.now;
        let running = self.machines.iter().filter(|(_, m)| m.runs(group));
        let on: BTreeSet<&NodeName> = running.map(|(name, _)| name).collect();
        let since = self.owners.since.entry(group.clone()).or_default();
        since.retain(|node, _| on.contains(node));
        for node in &on {
            if !since.contains_key(*node) {
                since.insert((*node).clone(), now);
            }
        }
        if on.len() < 2 {
            if let Some(mut double) = self.owners.open.remove(group) {
                double.lasted = now.since(double.from);
                self.owners.past.push(double);
            }
        } else if !self.owners.open.contains_key(group) {
            let on = on.into_iter().cloned().collect();
            self.begin_double(group, on);
        }
    }

    fn begin_double(&mut self, group: &GroupName, on: Vec<NodeName>) {
        let excused = self.unseen_by_probes(group);
        let names: Vec<&str> = on.iter().map(NodeName::as_str).collect();
        let words = format!("{group} runs on {}", names.join(" and "));
        let double = DoubleOwnership {
            from: self.now,
            lasted: Duration::ZERO,
            group: group.clone(),
            on,
            excused,
        };
        self.owners.open.insert(group.clone(), double);
        if self.owners.promised && !excused {
            self.report_violation(Invariant::OneOwner, words);
        }
    }

    /// Whether votes are not counted and the newest owner sent its last round of probes before the others were up.
    fn unseen_by_probes(&self, group: &GroupName) -> bool {
        let counted = matches!(
            self.cluster.quorum,
            QuorumPolicy::Stop | QuorumPolicy::Freeze
        );
        let Some(since) = self.owners.since.get(group).filter(|_| !counted) else {
            return false;
        };
        let Some((newest, _)) = since.iter().max_by_key(|(_, at)| **at) else {
            return false;
        };
        let asked = self.machines.get(newest).and_then(|m| m.silent.get(group));
        let others = || since.iter().filter(|(node, _)| *node != newest);
        asked.is_some_and(|asked| others().all(|(_, up)| up > asked))
    }
}

/// Why no promise rules out two owners in this script; none if one does.
pub(in crate::sim) fn not_promised(script: &FaultScript) -> Option<NotPromised> {
    let cluster = &script.setup.cluster;
    let exception = script
        .steps
        .iter()
        .find_map(|(_, fault)| exception_of(fault));
    if let Some(exception) = exception {
        return Some(NotPromised::Exception(exception));
    }
    if clone_may_be_unheard(script) {
        return Some(NotPromised::Exception(Exception::ClonedMachine));
    }
    if voters_are_unknown(script) {
        return Some(NotPromised::Exception(Exception::UnknownVoters));
    }
    if maintenance_may_be_unheard(script) {
        return Some(NotPromised::Exception(Exception::UnheardMaintenance));
    }
    if is_fenced(script) {
        return None;
    }
    match cluster.quorum {
        QuorumPolicy::Stop => by_votes(script),
        QuorumPolicy::Freeze | QuorumPolicy::Ignore | QuorumPolicy::Off => {
            by_probe(script).then(|| NotPromised::Shape(ClusterShape::of(cluster)))
        }
    }
}

/// Rule 35. Whether everything waits for the fencing of every node that may run it. What a person says or a configuration that
/// differs may override that, and a second machine of a name has no power switch.
fn is_fenced(script: &FaultScript) -> bool {
    let cluster = &script.setup.cluster;
    let mut nodes = cluster.nodes.iter().filter(|n| !cluster.is_witness(n));
    let guarded = cluster.fencing.for_all || on_shared_storage(script);
    let voids = |fault: &Fault| {
        matches!(
            fault,
            Fault::Switch(_, PowerSwitch::Wrong)
                | Fault::Clone(..)
                | Fault::Reconfigure(..)
                | Fault::Command {
                    command: Command::Takeover { force: true, .. },
                    ..
                }
        )
    };
    let voided = script.steps.iter().any(|(_, fault)| voids(fault));
    guarded && !voided && nodes.all(|n| cluster.fencing.covers(n))
}

/// The exception that a fault is, whatever the cluster.
fn exception_of(fault: &Fault) -> Option<Exception> {
    match fault {
        Fault::Suspend(_) => Some(Exception::SuspendedMachine),
        Fault::Clone(_, CloneKind::Memory) => Some(Exception::ClonedMachine),
        Fault::Looks(_, ProbeBehaviour::Says(false)) => Some(Exception::WrongStatus),
        Fault::Reconfigure(_, setting) if setting.is_about_rights() => {
            Some(Exception::DifferentQuorum)
        }
        _ if is_blind_command(fault) => Some(Exception::BlindCommand),
        _ => None,
    }
}

/// Whether a node may not know by which lists of voters the others act.
fn voters_are_unknown(script: &FaultScript) -> bool {
    let has = |is: fn(&Fault) -> bool| script.steps.iter().any(|(_, f)| is(f));
    has(|f| matches!(f, Fault::Reconfigure(_, ScriptSetting::Voters(_))))
        && has(|f| matches!(f, Fault::LoseStore(_)))
}

fn is_blind_command(fault: &Fault) -> bool {
    let Fault::Command {
        command, looked, ..
    } = fault
    else {
        return false;
    };
    match command {
        Command::Clear(_) | Command::Takeover { force: true, .. } => !looked,
        _ => false,
    }
}

/// Whether a daemon may die or freeze and leave its groups running: also one that announced a restart and does not come
/// back, and one that is stopped while a group is in maintenance or cannot be stopped.
fn dies_alone(script: &FaultScript) -> bool {
    let has = |is: fn(&Fault) -> bool| script.steps.iter().any(|(_, f)| is(f));
    let stays = has(|f| match f {
        Fault::Stops(_, how) => !matches!(how, Behaviour::Works(_)),
        Fault::Command { command, .. } => matches!(command, Command::Maintenance { on: true, .. }),
        _ => false,
    });
    (stays && has(is_leave))
        || has(|f| match f {
            Fault::Kill(_) | Fault::Freeze(_) => true,
            Fault::Command { command, .. } => matches!(command, Command::Restart { .. }),
            _ => false,
        })
}

/// Whether two machines with one name may not hear of each other.
fn clone_may_be_unheard(script: &FaultScript) -> bool {
    let has = |is: fn(&Fault) -> bool| script.steps.iter().any(|(_, f)| is(f));
    has(|f| matches!(f, Fault::Clone(..))) && has(loses_heartbeats)
}

/// Whether a group is put into maintenance while a node may not hear of it, or starts later.
fn maintenance_may_be_unheard(script: &FaultScript) -> bool {
    let has = |is: fn(&Fault) -> bool| script.steps.iter().any(|(_, f)| is(f));
    let maintenance = has(|f| {
        matches!(
            f,
            Fault::Command {
                command: Command::Maintenance { on: true, .. },
                ..
            }
        )
    });
    maintenance && has(is_cut)
}

fn is_leave(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Command {
            command: Command::Leave,
            ..
        }
    )
}

fn is_cut(fault: &Fault) -> bool {
    matches!(fault, Fault::Cut { .. } | Fault::Isolate(_))
}

fn loses_heartbeats(fault: &Fault) -> bool {
    match fault {
        Fault::Block { .. } => true,
        Fault::Weather(weather, _) => *weather != Weather::CALM,
        other => is_cut(other),
    }
}

fn only_addresses(script: &FaultScript) -> bool {
    let mut steps = script.setup.cluster.groups.iter().flat_map(|g| &g.steps);
    steps.all(|s| s.addresses)
}

/// Whether every group stands on shared storage as a whole.
fn on_shared_storage(script: &FaultScript) -> bool {
    let mut groups = script.setup.cluster.groups.iter();
    groups.all(|g| g.steps.iter().any(|s| s.shared_storage))
}

/// Whether a machine may be cut off, or its answers be lost, while its daemon is dead or frozen: then it is not known to run.
fn dead_daemon_is_cut_off(script: &FaultScript) -> bool {
    let (mut dead, mut cut) = (BTreeSet::new(), false);
    script.steps.iter().any(|(_, fault)| {
        match fault {
            Fault::Kill(node)
            | Fault::Freeze(node)
            | Fault::Command {
                node,
                command: Command::Restart { .. },
                ..
            } => drop(dead.insert(node.clone())),
            Fault::Start(node) | Fault::Thaw { node, .. } | Fault::Crash(node) => {
                dead.remove(node);
            }
            Fault::Heal => cut = false,
            Fault::EndAll => {
                cut = false;
                dead.clear();
            }
            _ => {}
        }
        cut |= is_cut(fault) || matches!(fault, Fault::Weather(w, _) if w.loss > 0);
        // A life without a store has forgotten what a silent node may run.
        let forgets = matches!(fault, Fault::LoseStore(_));
        !dead.is_empty() && (cut || forgets)
    })
}

fn by_votes(script: &FaultScript) -> Option<NotPromised> {
    let setup = &script.setup;
    let has = |is: fn(&Fault) -> bool| script.steps.iter().any(|(_, f)| is(f));
    let shape = ClusterShape::of(&setup.cluster);
    let parted = has(loses_heartbeats) || dies_alone(script);
    let unheard = parted && relay_may_fail(script);
    if shape == ClusterShape::PairWithPingNode && unheard && !one_clean_fault_at_a_time(script) {
        return Some(NotPromised::Shape(shape));
    }
    let dies = dies_alone(script);
    let stays = if on_shared_storage(script) {
        dies && dead_daemon_is_cut_off(script)
    } else if only_addresses(script) {
        dies && !setup.kernel_leases && has(is_cut)
    } else {
        dies
    };
    let exception = if stays {
        Some(Exception::DeadDaemon)
    } else if only_addresses(script) {
        None
    } else {
        slow_stop(script)
    };
    exception.map(NotPromised::Exception)
}

/// Whether two nodes that both reach the ping node may still not hear each other.
fn relay_may_fail(script: &FaultScript) -> bool {
    let fails = |f: &Fault| match f {
        Fault::BlockRelay { .. } => true,
        // Weather on one path is that of a direct link.
        Fault::Weather(weather, None) => {
            weather.loss > 0 || weather.delay + weather.jitter > Weather::CALM.delay
        }
        _ => false,
    };
    !script.setup.cluster.relay || script.steps.iter().any(|(_, f)| fails(f))
}

/// Whether a stop may take longer than a survivor waits for it.
fn slow_stop(script: &FaultScript) -> Option<Exception> {
    let long = script.steps.iter().find_map(|(_, fault)| {
        let Fault::Stops(spot, how) = fault else {
            return None;
        };
        let group = script.setup.group(&spot.group);
        let step = group.and_then(|g| g.steps.get(spot.step));
        match how {
            Behaviour::Works(time) => step
                .is_none_or(|s| *time > s.removal.max(AT_ONCE))
                .then_some(Exception::SlowStop),
            _ => Some(Exception::FailedStop),
        }
    });
    let silent = script
        .steps
        .iter()
        .any(|(_, f)| loses_heartbeats(f) || matches!(f, Fault::Crash(_)));
    long.filter(|_| silent)
}

/// Whether faults are far enough apart, and only whole nodes are cut off.
fn one_clean_fault_at_a_time(script: &FaultScript) -> bool {
    let apart = script.setup.cluster.timing.deadtime * 2;
    let mut last: Option<Duration> = None;
    script.steps.iter().all(|(at, fault)| {
        let ends = matches!(
            fault,
            Fault::EndAll | Fault::Thaw { .. } | Fault::Heal | Fault::MakeAmends | Fault::Start(_)
        );
        let runs_completely = !matches!(
            fault,
            Fault::Cut { .. }
                | Fault::Block { .. }
                | Fault::BlockRelay { .. }
                | Fault::Blind(..)
                | Fault::Weather(..)
                | Fault::Drift(..)
                | Fault::Late(..)
        );
        let before = last.replace(*at);
        let quiet = before.is_none_or(|before| *at >= before + apart);
        ends || (runs_completely && quiet)
    })
}

/// Without votes: whether nodes that do not hear each other may both start a group, because no probe stops them.
fn by_probe(script: &FaultScript) -> bool {
    let has = |is: fn(&Fault) -> bool| script.steps.iter().any(|(_, f)| is(f));
    let forced = has(|f| {
        matches!(
            f,
            Fault::Command {
                command: Command::Takeover { force: true, .. },
                ..
            }
        )
    });
    if forced || only_addresses(script) {
        return forced || has(is_cut);
    }
    has(loses_heartbeats) || dies_alone(script) || has(|f| matches!(f, Fault::Late(..)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::run;

    /// Two nodes without an arbiter that a cut parts, or nothing does.
    fn script(quorum: &str, fault: &str) -> FaultScript {
        let text = format!(
            "nodes a b\nquorum {quorum}\ngroup db on a\nstep address : db\nfor 20s\n\
             at 0s start a\nat 0s start b\nat 5s {fault}\n"
        );
        FaultScript::read(&text).unwrap()
    }

    #[test]
    fn two_owners_are_seen_where_they_are_not_promised_away() {
        let cut = script("off", "cut a b");
        let report = run(&cut);
        assert!(report.not_promised.is_some());
        assert_eq!(report.doubles.len(), 1, "{report:?}");
        assert!(report.violations.is_empty());
        let mut world = cut.setup.world();
        world.owners.promised = true;
        world.start_all();
        world.run_for(Duration::from_secs(5));
        world.cut_all_links("a", "b");
        world.run_for(Duration::from_secs(10));
        let first = world.broken().first().map(|v| v.invariant);
        assert_eq!(first, Some(Invariant::OneOwner));
    }

    #[test]
    fn what_is_promised_is_told_from_what_is_not() {
        assert_eq!(not_promised(&script("off", "block a b")), None);
        assert_eq!(
            not_promised(&script("off", "clear a db after a look")),
            None
        );
        assert!(not_promised(&script("off", "clear a db")).is_some());
        assert!(not_promised(&script("off", "looks at db step 1 on a say stopped")).is_some());
        assert!(not_promised(&script("off", "reconfigure a quorum stop")).is_some());
        assert_eq!(
            not_promised(&script("off", "reconfigure a deadtime 3s")),
            None
        );
        assert_eq!(
            not_promised(&script("off", "reconfigure a auto_failback on")),
            None
        );
        assert_eq!(not_promised(&script("stop", "cut a b")), None);
        let mut pair = script("stop", "cut a b");
        pair.setup.cluster.pings = World::new(&[]).ping("gateway").cluster.pings;
        assert!(not_promised(&pair).is_some());
        pair.setup.cluster.nodes.push(NodeName::new("c"));
        assert_eq!(not_promised(&pair), None);
    }
}
