//! What differs between two configurations: what a running daemon takes over, and what only a restart brings.

use std::path::Path;

use super::{Config, HealthRules};
use crate::model::cluster_setting::changed_settings;
use crate::model::keys::Keys;
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
        lines.push(key_change(&old.keys, &new.keys).to_owned());
    }
    lines
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
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::keys::{Key, Method};

    #[test]
    fn a_change_of_the_key_in_three_steps_separates_nobody() {
        let keys = |signing: u8, secrets: &[(u8, &str)]| {
            let key = |(index, secret): &(u8, &str)| {
                let (method, secret) = (Method::Sha256, secret.as_bytes().to_vec());
                (*index, Key { method, secret })
            };
            let keys: BTreeMap<u8, Key> = secrets.iter().map(key).collect();
            Keys { signing, keys }
        };
        let steps = [
            keys(1, &[(1, "old")]),
            keys(1, &[(1, "old"), (2, "new")]),
            keys(2, &[(1, "old"), (2, "new")]),
            keys(2, &[(2, "new")]),
        ];
        for (from, to) in steps.iter().zip(&steps[1..]) {
            let text = key_change(from, to);
            assert!(
                text.ends_with("nodes with the new one hear each other"),
                "{text}"
            );
        }
        for (from, to) in [
            (&steps[0], &steps[2]),
            (&steps[0], &steps[3]),
            (&steps[0], &keys(1, &[(1, "new")])),
        ] {
            assert!(key_change(from, to).contains("do not hear each other"));
        }
    }

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
