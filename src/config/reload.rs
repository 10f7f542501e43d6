//! What differs between two configurations: what a running daemon takes over, and what only a restart brings.

use std::path::Path;

use super::{Config, HealthRules, Respawn};
use crate::model::NodeName;
use crate::model::cluster_setting::{CLUSTER_SETTINGS, changed_settings};
use crate::model::fence_device::FencePart;
use crate::model::keys::Keys;
use crate::model::voter_list::VoterList;
use crate::text::Place;

type Differ = fn(&Config, &Config) -> bool;

/// What a daemon has from its start to its end, by the directives that set it.
const FIXED: [(&str, Differ); 9] = [
    ("media (ucast, bcast, mcast, udpport)", |a, b| {
        a.media != b.media
    }),
    ("cluster", |a, b| a.cluster_name != b.cluster_name),
    ("logfile", |a, b| a.logging.logfile != b.logging.logfile),
    ("debugfile", |a, b| {
        a.logging.debugfile != b.logging.debugfile
    }),
    ("logfacility", |a, b| {
        a.logging.logfacility != b.logging.logfacility
    }),
    ("debug", |a, b| a.logging.debug != b.logging.debug),
    ("realtime", |a, b| a.realtime != b.realtime),
    ("rtprio", |a, b| a.rtprio != b.rtprio),
    ("uuidfrom", |a, b| a.uuid_from_name != b.uuid_from_name),
];

/// What a running daemon takes over at once, besides the settings of the cluster and what has words of its own below: what
/// changed, and what follows.
const LIVE: [(&str, Differ); 9] = [
    (
        "what must be alike on all nodes (compare) changes",
        |a, b| a.compare != b.compare,
    ),
    (
        "whether rejected datagrams are logged (log_badpack) changes",
        |a, b| a.log_badpack != b.log_badpack,
    ),
    ("the hop count of heartbeats (hopfudge) changes", |a, b| {
        a.hopfudge != b.hopfudge
    }),
    (
        "following the ping nodes (follow_connectivity) changes",
        |a, b| a.follow_connectivity != b.follow_connectivity,
    ),
    (
        "the lease of addresses (lease) changes; addresses that are up get it when their right is renewed",
        |a, b| a.lease != b.lease,
    ),
    (
        "the deadlines of actions (timeout) change; an action that runs keeps its deadline",
        |a, b| a.timeouts != b.timeouts,
    ),
    (
        "what a takeover waits for (takeover_waits) changes",
        |a, b| a.takeover_waits != b.takeover_waits,
    ),
    (
        "how nodes are fenced (fence) changes; what runs for that goes on",
        |a, b| fencing_of(a) != fencing_of(b),
    ),
    (
        "who is notified (notify) changes; what runs for that is not ended",
        |a, b| {
            let rules =
                |c: &Config| -> Vec<_> { c.notify.iter().map(|r| r.target.clone()).collect() };
            rules(a) != rules(b)
        },
    ),
];

/// The changed directives that only a restart brings into effect.
pub fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = FIXED.iter().filter(|(_, differ)| differ(old, new));
    changed.map(|(name, _)| *name).collect()
}

/// The fence lines without their places.
fn fencing_of(config: &Config) -> impl PartialEq {
    let parts = config.fence_devices.iter().flat_map(|device| {
        let levels = device.levels.iter().enumerate();
        levels.flat_map(move |(level, of)| {
            let part = move |p: &FencePart| {
                (
                    device.node.clone(),
                    level,
                    p.program.clone(),
                    p.options.clone(),
                )
            };
            of.parts.iter().map(part)
        })
    });
    (parts.collect::<Vec<_>>(), config.fencing.clone())
}

/// A line for each change of ha.cf and authkeys that a running daemon takes over. Changes of groups are not among them.
pub fn live_changes(old: &Config, new: &Config) -> Vec<String> {
    let (was, is) = (old.cluster(Vec::new()), new.cluster(Vec::new()));
    let mut lines: Vec<String> = changed_settings(&was, &is)
        .map(|(name, old, new)| format!("ha.cf: {name} changes from {old} to {new}"))
        .collect();
    let live = LIVE.iter().filter(|(_, differ)| differ(old, new));
    lines.extend(live.map(|(what, _)| format!("ha.cf: {what}")));
    lines.extend(voter_changes(old, new));
    lines.extend(child_changes(&old.respawn, &new.respawn));
    lines.extend(variable_changes(old, new));
    if without_places(&old.health) != without_places(&new.health) {
        lines.push("ha.cf: what is watched (monitor, check, failback_when) changes; a new check must pass once before this node is a candidate".to_owned());
    }
    if old.record != new.record {
        let size = |record: Option<u64>| {
            record.map_or("off".to_owned(), |bytes| format!("{}M", bytes >> 20))
        };
        let (old, new) = (size(old.record), size(new.record));
        lines.push(format!("ha.cf: record changes from {old} to {new}"));
    }
    if old.keys != new.keys {
        lines.push(key_change(&old.keys, &new.keys).to_owned());
    }
    lines
}

/// Who votes, and what it means that not all nodes read that at once.
fn voter_changes(old: &Config, new: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    let members = |c: &Config| -> String {
        let witness = |n: &NodeName| c.witnesses.contains(n);
        let words = c.nodes.iter().map(|n| {
            if witness(n) {
                format!("{n} (witness)")
            } else {
                n.to_string()
            }
        });
        words.collect::<Vec<_>>().join(", ")
    };
    let (was, is) = (members(old), members(new));
    if was != is {
        lines.push(format!("ha.cf: the nodes change from {was} to {is}"));
    }
    if old.pings != new.pings {
        let names = |c: &Config| -> String {
            let names: Vec<&str> = c.pings.iter().map(|p| p.name.as_str()).collect();
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        };
        let (was, is) = (names(old), names(new));
        let members = if was == is { "members of " } else { "" };
        lines.push(format!(
            "ha.cf: the {members}ping nodes change from {was} to {is}"
        ));
    }
    let list = |c: &Config| VoterList::of(&c.cluster(Vec::new()));
    if list(old) != list(new) {
        lines.push(
            "quorum is counted by the old list of voters too until every node has read the new one: reload them all"
                .to_owned(),
        );
    }
    lines
}

/// Which children are ended and started.
fn child_changes(old: &[Respawn], new: &[Respawn]) -> Vec<String> {
    let missing = |from: &[Respawn], others: &[Respawn], what: &str| -> Vec<String> {
        let missing = from.iter().filter(|child| !others.contains(child));
        let line = |child: &Respawn| {
            let program = child.command.first().map_or("", String::as_str);
            format!("ha.cf: respawn {program} {what}")
        };
        missing.map(line).collect()
    };
    let mut lines = missing(
        old,
        new,
        "is gone or changed: the child that runs is killed",
    );
    lines.extend(missing(new, old, "is new or changed: the child is started"));
    lines
}

/// Variables and directives that scripts get.
fn variable_changes(old: &Config, new: &Config) -> Vec<String> {
    // These have lines of their own.
    let said = |name: &str| {
        let settings = CLUSTER_SETTINGS.iter().map(|s| s.name);
        let others = [
            "node",
            "witness",
            "ping",
            "ping_group",
            "respawn",
            "env",
            "record",
            "lease",
            "hopfudge",
            "log_badpack",
            "timeout",
            "takeover_waits",
            "notify",
            "compare",
            "monitor",
            "check",
            "failback_when",
            "udpport",
            "cluster",
            "logfile",
            "debugfile",
            "logfacility",
            "debug",
            "realtime",
            "rtprio",
            "uuidfrom",
        ];
        settings.chain(others).any(|known| known == name)
    };
    let of = |c: &Config| {
        let directives = c.directives.iter().filter(|(name, _)| !said(name));
        let all = directives.chain(&c.env).cloned();
        all.collect::<Vec<(String, String)>>()
    };
    let (was, is) = (of(old), of(new));
    let mut names: Vec<&str> = was
        .iter()
        .filter(|pair| !is.contains(pair))
        .chain(is.iter().filter(|pair| !was.contains(pair)))
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let line =
        |name: &&str| format!("ha.cf: scripts get another HA_{name} from their next action on");
    names.iter().map(line).collect()
}

/// What a change of the keys means for nodes that still have the old file.
fn key_change(old: &Keys, new: &Keys) -> &'static str {
    let accepts = |one: &Keys, other: &Keys| {
        let signs = other.keys.get(&other.signing);
        signs.is_some() && one.keys.get(&other.signing) == signs
    };
    if accepts(old, new) && accepts(new, old) {
        "authkeys: the keys change; nodes with the old file and nodes with the new one hear each other"
    } else {
        "authkeys: the keys change; nodes with the old file and nodes with the new one do not hear each other: change them in three steps, see authkeys(5), or reload all nodes now"
    }
}

/// The rules as they are compared: a line that only moved in its file is the same.
fn without_places(rules: &HealthRules) -> HealthRules {
    let mut rules = rules.clone();
    let nowhere = || Place::whole(Path::new(""));
    for rule in &mut rules.monitors {
        rule.place = nowhere();
    }
    for rule in rules.checks.iter_mut().chain(&mut rules.failback_when) {
        rule.place = nowhere();
    }
    rules
}

#[cfg(test)]
mod tests;
