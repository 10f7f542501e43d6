//! What a new configuration would change: the plan that a reload shows and follows.

use std::path::Path;

use super::assemble::Assembled;
use crate::config::{Config, HealthRules};
use crate::model::cluster::{Cluster, Group};
use crate::text::Place;

/// The plan in words, a line for each change.
///
/// # Errors
/// When something changed that a running daemon cannot take over.
pub fn of(config: &Config, cluster: &Cluster, new: &Assembled) -> Result<String, String> {
    let fixed = [
        (
            "the media (ucast, bcast, mcast, udpport)",
            config.media != new.config.media,
        ),
        (
            "the name of the cluster",
            config.cluster_name != new.config.cluster_name,
        ),
        ("the name of this node", config.node != new.config.node),
    ];
    if let Some((what, _)) = fixed.iter().find(|(_, differs)| *differs) {
        return Err(format!(
            "{what} changed, which a running daemon cannot take; nothing was changed. Run hactl restart: resources stay up"
        ));
    }
    let mut lines = directives(config, &new.config);
    if config.record != new.config.record {
        let said = |record: Option<u64>| {
            record.map_or("off".to_owned(), |bytes| {
                format!("{}M", bytes / (1024 * 1024))
            })
        };
        let (old, new) = (said(config.record), said(new.config.record));
        lines.push(format!("ha.cf: record {old} becomes {new}"));
    }
    lines.extend(groups(&cluster.groups, &new.cluster.groups));
    if lines.is_empty() && config.keys != new.config.keys {
        lines.push("authkeys: other keys; nodes with different keys do not hear each other, so reload them all at once".to_owned());
    }
    if lines.is_empty() {
        lines.push("nothing changes".to_owned());
    }
    Ok(lines.join("\n"))
}

fn directives(old: &Config, new: &Config) -> Vec<String> {
    let value = |config: &Config, name: &str| {
        let all = config.directives.iter().filter(|(n, _)| n == name);
        all.map(|(_, v)| v.as_str()).collect::<Vec<_>>().join(" ")
    };
    let mut names: Vec<&String> = old
        .directives
        .iter()
        .chain(&new.directives)
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    names.dedup();
    let changed = names.into_iter().filter(|n| value(old, n) != value(new, n));
    let mut lines: Vec<String> = changed
        .map(|n| format!("ha.cf: {n} {} becomes {}", value(old, n), value(new, n)))
        .collect();
    if without_places(&old.health) != without_places(&new.health) {
        lines.push("ha.cf: what is watched (monitor, check, failback_when) changes; a check that is new must pass once before this node is a candidate".to_owned());
    }
    let told = |config: &Config| -> Vec<_> {
        let rules = config.notify.iter();
        rules.map(|r| (r.path.clone(), r.timeout)).collect()
    };
    if told(old) != told(new) {
        lines.push("ha.cf: who is told (notify) changes".to_owned());
    }
    lines
}

/// A line that only moved in its file is the same.
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

fn groups(old: &[Group], new: &[Group]) -> Vec<String> {
    let find = |list: &[Group], group: &Group| list.iter().find(|g| g.name == group.name).cloned();
    let members = |group: &Group| {
        group
            .steps
            .iter()
            .map(|s| s.members.clone())
            .collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    for group in old.iter().filter(|g| find(new, g).is_none()) {
        lines.push(format!(
            "group {}: removed; it is stopped where it runs",
            group.name
        ));
    }
    for group in new {
        match find(old, group) {
            None => lines.push(format!(
                "group {}: new; it is started on {} once every node has it: reload them all",
                group.name, group.preferred
            )),
            Some(before) if members(&before) != members(group) => lines.push(format!(
                "group {}: its resources changed; where it runs it is stopped, and started anew once every node has it",
                group.name
            )),
            Some(before) if before.preferred != group.preferred => lines.push(format!(
                "group {}: preferred node {} becomes {}; it is not touched",
                group.name, before.preferred, group.preferred
            )),
            Some(_) => {}
        }
    }
    lines
}
