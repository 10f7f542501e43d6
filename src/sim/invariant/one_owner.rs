//! 1. No group runs on two nodes.
//!
//! What a cluster promises depends on who arbitrates, and [`unpromised`] says it exactly: a script in which it finds
//! nothing must never show two owners. In short:
//!
//! * votes counted, an odd number of nodes and at most one ping node, or no ping node, addresses: always, as long as
//!   kernels drop the addresses of a dead daemon, or a probe on the wire reaches it;
//! * votes counted, other resources too: as long as no daemon dies or stands still alone, and stops take no longer
//!   than `removal`, for without fencing nobody else can end what such a node runs;
//! * two nodes and a ping node, or any number where both sides of a cut may count enough votes because both see the
//!   ping nodes (an even number of nodes and one ping node, or two ping nodes and more): while whole nodes are cut off,
//!   one fault at a time, each two deadtimes or more after the one before;
//! * votes not counted: addresses, while the probe reaches the other; other resources while the nodes hear each other.
//!   Even then two nodes that find nobody on the wire and start within the same round of probes both succeed: neither
//!   had the address when the other asked. Such a moment is excused when the later owner's last round of probes was
//!   sent before the earlier owner's address was up.
//!
//! Nothing is promised where a machine's clock stands still with it: it goes on as if nothing had happened until its daemon
//! hears of the other. Nor after an administrator's word that is not true (`clear`, `takeover --force` without a look),
//! where a look calls stopped what runs, and where nodes judge rights by different times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::Command;
use crate::model::cluster::QuorumPolicy;
use crate::model::{GroupName, NodeName, Time};
use crate::sim::fault::Fault;
use crate::sim::invariant::Invariant;
use crate::sim::machine::{Behaviour, ProbeBehaviour};
use crate::sim::network::Weather;
use crate::sim::script::FaultScript;
use crate::sim::world::World;

/// A stop that takes no longer is at once.
const AT_ONCE: Duration = Duration::from_millis(1);

/// A moment in which a group ran on more than one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubleOwnership {
    /// When it began.
    pub from: Time,
    /// How long it lasted.
    pub lasted: Duration,
    /// Which group.
    pub group: GroupName,
    /// Where.
    pub on: Vec<NodeName>,
    /// No probe could have seen it coming.
    pub excused: bool,
}

/// Who runs what, and since when.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct OwnershipWatch {
    since: BTreeMap<GroupName, BTreeMap<NodeName, Time>>,
    open: BTreeMap<GroupName, DoubleOwnership>,
    past: Vec<DoubleOwnership>,
    /// Doubles are violations: the script is within what is promised.
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

    /// Whether any group ever ran on two machines.
    pub fn was_double(&self) -> bool {
        !self.owners.past.is_empty() || !self.owners.open.is_empty()
    }

    /// Looks where groups run, when that has changed.
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
            self.accuse(Invariant::OneOwner, words);
        }
    }

    /// Votes are not counted, and the newest owner's last silent round of probes was sent before the others were up.
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

/// Why two owners are not ruled out in such a script; nothing where they are.
pub(in crate::sim) fn unpromised(script: &FaultScript) -> Option<String> {
    let cluster = &script.setup.cluster;
    let has = |is: &dyn Fn(&Fault) -> bool| script.steps.iter().any(|(_, f)| is(f));
    if has(&|f| matches!(f, Fault::Suspend(_))) {
        return reason("a machine stands still with its clock, and goes on until it hears more");
    }
    if has(&|f| matches!(f, Fault::Looks(_, ProbeBehaviour::Says(false)))) {
        return reason("an agent calls stopped what runs");
    }
    if has(&untrue_word) {
        return reason("an administrator clears or forces without a look");
    }
    if has(&|f| matches!(f, Fault::Reconfigure(_, s) if s.is_about_rights())) {
        return reason("nodes judge rights by different times");
    }
    match cluster.quorum {
        QuorumPolicy::Stop => by_votes(script),
        QuorumPolicy::Freeze | QuorumPolicy::Ignore | QuorumPolicy::Off => by_probe(script),
    }
}

#[allow(clippy::unnecessary_wraps)] // so that each rule reads as one line
fn reason(words: &str) -> Option<String> {
    Some(words.to_owned())
}

fn untrue_word(fault: &Fault) -> bool {
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

/// Whether a daemon ends or stands still and may leave running what it ran: also one that announced a restart and does
/// not come back, and one that leaves what is in maintenance or cannot be stopped.
fn dies_alone(script: &FaultScript) -> bool {
    let has = |is: fn(&Fault) -> bool| script.steps.iter().any(|(_, f)| is(f));
    let stays = has(|f| match f {
        Fault::Stops(_, how) => !matches!(how, Behaviour::Works(_)),
        Fault::Command { command, .. } => matches!(command, Command::Maintenance { on: true, .. }),
        _ => false,
    });
    (stays && has(leaves))
        || has(|f| match f {
            Fault::Kill(_) | Fault::Freeze(_) => true,
            Fault::Command { command, .. } => matches!(command, Command::Restart { .. }),
            _ => false,
        })
}

fn leaves(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Command {
            command: Command::Leave,
            ..
        }
    )
}

fn cuts(fault: &Fault) -> bool {
    matches!(fault, Fault::Cut { .. } | Fault::Isolate(_))
}

fn loses(fault: &Fault) -> bool {
    match fault {
        Fault::Block { .. } => true,
        Fault::Weather(weather, _) => *weather != Weather::CALM,
        other => cuts(other),
    }
}

fn only_addresses(script: &FaultScript) -> bool {
    let mut steps = script.setup.cluster.groups.iter().flat_map(|g| &g.steps);
    steps.all(|s| s.addresses)
}

fn by_votes(script: &FaultScript) -> Option<String> {
    let setup = &script.setup;
    let has = |is: fn(&Fault) -> bool| script.steps.iter().any(|(_, f)| is(f));
    if ambiguous(script) && !clean(script) {
        return reason(
            "ping nodes may give both sides enough votes; then only clean cuts are borne, one at a time",
        );
    }
    if only_addresses(script) {
        let kept = !setup.kernel_leases && dies_alone(script) && has(cuts);
        let unseen = "kernels keep the addresses of a dead daemon, and cuts hide them from probes";
        return kept.then(|| unseen.to_owned());
    }
    if dies_alone(script) {
        return reason(
            "a daemon dies or stands still alone and leaves resources that are no addresses",
        );
    }
    slow_stop(script)
}

/// Whether two sides that part may both count enough votes, because both see the ping nodes: with two nodes, with any
/// even number of them and one ping node, and with two ping nodes or more. One that left lowers the total as well.
fn ambiguous(script: &FaultScript) -> bool {
    let cluster = &script.setup.cluster;
    let (nodes, pings) = (cluster.nodes.len(), cluster.pings.len());
    let needed = nodes.midpoint(pings) + 1;
    let has = |is: fn(&Fault) -> bool| script.steps.iter().any(|(_, f)| is(f));
    let both = nodes + 2 * pings >= 2 * needed || has(leaves);
    pings > 0 && both && (has(loses) || dies_alone(script))
}

/// A stop that may take longer than a survivor waits for it.
fn slow_stop(script: &FaultScript) -> Option<String> {
    let long = script.steps.iter().any(|(_, fault)| match fault {
        Fault::Stops(spot, how) => {
            let group = script.setup.group(&spot.group);
            let step = group.and_then(|g| g.steps.get(spot.step));
            match how {
                Behaviour::Works(time) => step.is_none_or(|s| *time > s.removal.max(AT_ONCE)),
                _ => true,
            }
        }
        _ => false,
    });
    let silent = script
        .steps
        .iter()
        .any(|(_, f)| loses(f) || matches!(f, Fault::Crash(_)));
    (long && silent)
        .then(|| "a stop fails, or takes longer than removal, while silence decides".to_owned())
}

/// Whether each fault comes long after the one before and its end, and cuts are of whole nodes.
fn clean(script: &FaultScript) -> bool {
    let apart = script.setup.cluster.timing.deadtime * 2;
    let mut last: Option<Duration> = None;
    script.steps.iter().all(|(at, fault)| {
        let ends = matches!(
            fault,
            Fault::EndAll | Fault::Thaw { .. } | Fault::Heal | Fault::MakeAmends | Fault::Start(_)
        );
        let whole = !matches!(
            fault,
            Fault::Cut { .. }
                | Fault::Block { .. }
                | Fault::Blind(..)
                | Fault::Weather(..)
                | Fault::Drift(..)
                | Fault::Late(..)
        );
        let before = last.replace(*at);
        let quiet = before.is_none_or(|before| *at >= before + apart);
        ends || (whole && quiet)
    })
}

fn by_probe(script: &FaultScript) -> Option<String> {
    let has = |is: fn(&Fault) -> bool| script.steps.iter().any(|(_, f)| is(f));
    if has(|f| {
        matches!(
            f,
            Fault::Command {
                command: Command::Takeover { force: true, .. },
                ..
            }
        )
    }) {
        return reason("votes are not counted, and --force overrules the probe");
    }
    if only_addresses(script) {
        let hidden = "votes are not counted, and cuts hide addresses from probes";
        return has(cuts).then(|| hidden.to_owned());
    }
    let parted = has(loses) || dies_alone(script) || has(|f| matches!(f, Fault::Late(..)));
    let unseen = "votes are not counted, and nodes that do not hear each other see only addresses";
    parted.then(|| unseen.to_owned())
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
        assert!(report.unpromised.is_some());
        assert_eq!(report.doubles.len(), 1, "{report:?}");
        assert!(report.violations.is_empty());
        let mut world = cut.setup.world();
        world.owners.promised = true;
        world.start_all();
        world.run_for(Duration::from_secs(5));
        world.part("a", "b");
        world.run_for(Duration::from_secs(10));
        let first = world.broken().first().map(|v| v.invariant);
        assert_eq!(first, Some(Invariant::OneOwner));
    }

    #[test]
    fn what_is_promised_is_told_from_what_is_not() {
        assert_eq!(unpromised(&script("off", "block a b")), None);
        assert_eq!(unpromised(&script("off", "clear a db after a look")), None);
        assert!(unpromised(&script("off", "clear a db")).is_some());
        assert!(unpromised(&script("off", "looks at db step 1 on a say stopped")).is_some());
        assert!(unpromised(&script("off", "reconfigure a deadtime 3s")).is_some());
        assert_eq!(
            unpromised(&script("off", "reconfigure a auto_failback on")),
            None
        );
        assert_eq!(unpromised(&script("stop", "cut a b")), None);
        let mut pair = script("stop", "cut a b");
        pair.setup.cluster.pings = World::of(&[]).ping("gateway").cluster.pings;
        assert!(unpromised(&pair).is_some());
        pair.setup.cluster.nodes.push(NodeName::new("c"));
        assert_eq!(unpromised(&pair), None);
    }
}
