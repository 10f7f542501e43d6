//! What differs between two configurations: what a running daemon takes over, and what only a restart brings.

use std::path::Path;

use super::{Config, HealthRules};
use crate::model::cluster_setting::changed_settings;
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

/// What a running daemon takes over, besides the settings of the cluster, `record` and the groups.
const LIVE: [(&str, Differ); 10] = [
    ("the log of rejected datagrams (log_badpack)", |a, b| {
        a.log_badpack != b.log_badpack
    }),
    ("the hop count of heartbeats (hopfudge)", |a, b| {
        a.hopfudge != b.hopfudge
    }),
    ("the children of the daemon (respawn, failfast)", |a, b| {
        a.respawn != b.respawn
    }),
    ("the nodes (node, witness)", |a, b| {
        (&a.nodes, &a.witnesses) != (&b.nodes, &b.witnesses)
    }),
    ("the ping nodes (ping, ping_group)", |a, b| {
        a.pings != b.pings
    }),
    ("following the ping nodes (ipfail)", |a, b| {
        a.follow_connectivity != b.follow_connectivity
    }),
    ("the lease of addresses (lease)", |a, b| a.lease != b.lease),
    ("the deadlines of actions (timeout)", |a, b| {
        a.timeouts != b.timeouts
    }),
    ("the variables of scripts (env)", |a, b| a.env != b.env),
    ("the programs that are notified (notify)", |a, b| {
        let rules = |c: &Config| -> Vec<_> {
            c.notify
                .iter()
                .map(|r| (r.path.clone(), r.timeout))
                .collect()
        };
        rules(a) != rules(b)
    }),
];

/// The changed directives that only a restart brings into effect.
pub fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = FIXED.iter().filter(|(_, differ)| differ(old, new));
    changed.map(|(name, _)| *name).collect()
}

/// A line for each change of ha.cf and authkeys that a running daemon takes over. Changes of groups are not among them.
pub fn live_changes(old: &Config, new: &Config) -> Vec<String> {
    let (was, is) = (old.cluster(Vec::new()), new.cluster(Vec::new()));
    let mut lines: Vec<String> = changed_settings(&was, &is)
        .map(|(name, old, new)| format!("ha.cf: {name} changes from {old} to {new}"))
        .collect();
    let live = LIVE.iter().filter(|(_, differ)| differ(old, new));
    lines.extend(live.map(|(what, _)| format!("ha.cf: {what} changed")));
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
        lines.push("authkeys: the keys change; nodes with different keys do not hear each other, so reload all of them now".to_owned());
    }
    lines
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
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_what_needs_a_restart() {
        let page = include_str!("../../packaging/man/hactl.8");
        let list = page.split("So is a change that needs").nth(1).unwrap();
        let list = list.split("A child of").next().unwrap();
        let words = |text: &str| -> Vec<String> {
            text.split(|c: char| !c.is_ascii_lowercase())
                .filter(|word| word.len() > 2)
                .map(str::to_owned)
                .collect()
        };
        let named = FIXED.map(|(name, _)| name.replace("media", "").replace("and", ""));
        let mut expected = words(&named.join(" "));
        let prose = ["hactl", "restart", "the", "links", "and"];
        let mut manual = words(list);
        manual.retain(|word| !prose.contains(&word.as_str()));
        expected.sort();
        manual.sort();
        assert_eq!(manual, expected);
    }
}
