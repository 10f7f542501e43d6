//! What follows when a monitor or a check fails, as sentences for `hactl check`.

use super::watch_plan::Monitor;
use crate::agent::address::virtual_address::VirtualAddress;
use crate::config::CheckRule;
use crate::model::GroupName;
use crate::model::cluster::Step;
use crate::model::fence_device::{FenceDevice, FenceLevel};
use crate::model::health::{CheckPolicy, Pace, Probe};
use crate::text::{count, duration_for_people};

/// How a node would be fenced.
pub(super) fn describe_fence_device(device: &FenceDevice, reboot: bool) -> String {
    let level = |level: &FenceLevel| {
        let agents: Vec<&str> = level.parts.iter().map(|p| p.agent.as_str()).collect();
        agents.join(" and ")
    };
    let levels: Vec<String> = device.levels.iter().map(level).collect();
    let on = if reboot { ", and on again" } else { "" };
    format!(
        "fence {}: switched off by {}{on}; try it with hactl fence test {}\n",
        device.node,
        levels.join(", if that fails by "),
        device.node
    )
}

/// A monitored resource. `has_other_node` says whether its group can move.
pub(super) fn describe_monitor(monitor: &Monitor, step: &Step, has_other_node: bool) -> String {
    let members = step.members.join(" ");
    let how = match &monitor.probe {
        Some(probe) => probe.to_string(),
        None => "its own status".to_owned(),
    };
    let Some(policy) = step.policy else {
        return String::new();
    };
    let end = if has_other_node {
        "it fails here and the group moves"
    } else {
        "it fails here, is stopped, and is tried again after a while, because there is no other node"
    };
    let then = if policy.restart == 0 {
        end.to_owned()
    } else {
        format!(
            "it is restarted in place, with everything to its right, at most {} within {}; after that {end}",
            times(policy.restart, "time"),
            duration_for_people(policy.within)
        )
    };
    format!(
        "    {members}: {how} {}; after {} {then}\n",
        pace(monitor.pace),
        in_a_row(policy.fall, "failure")
    )
}

/// A check of the node.
pub(super) fn describe_check(rule: &CheckRule) -> String {
    let then = if rule.policy.stays {
        "but keeps its groups"
    } else {
        "and its groups move as soon as another node can run them"
    };
    format!(
        "check {}: {} {}; before the first success and after {} this node takes no groups, {then}; after {} it takes groups again\n",
        rule.policy.name,
        rule.probe,
        pace(rule.pace),
        in_a_row(rule.policy.fall, "failure"),
        in_a_row(rule.policy.rise, "success")
    )
}

/// A check that a DRBD resource gets without being configured.
pub(super) fn describe_drbd_check(policy: &CheckPolicy, probe: &Probe) -> String {
    let group = policy.group.as_ref().map_or("", GroupName::as_str);
    format!(
        "check {}: {probe}; while its data here is not the newest, this node does not take {group}, but keeps it if it runs here\n",
        policy.name
    )
}

/// What follows when an interface of a group's addresses fails. Loopback never does.
pub(super) fn describe_interfaces(addresses: impl Iterator<Item = VirtualAddress>) -> String {
    let mut names: Vec<String> = Vec::new();
    for address in addresses {
        if !names.contains(&address.interface) && address.interface != "lo" {
            names.push(address.interface);
        }
    }
    names.retain(|name| !name.is_empty());
    if names.is_empty() {
        return String::new();
    }
    format!(
        "    a node without a working {} does not take the group, and gives it to one that has it\n",
        names.join(" and ")
    )
}

/// The check that groups wait for before they come back to this node, if one prefers it.
pub(super) fn describe_failback_when(rule: &CheckRule, preferred: bool) -> String {
    if !preferred {
        return "failback_when: not checked here, because no group prefers this node\n".to_owned();
    }
    format!(
        "failback_when: {} {}; groups that prefer this node come back only while it succeeds here\n",
        rule.probe,
        pace(rule.pace)
    )
}

fn pace(pace: Pace) -> String {
    let every = duration_for_people(pace.every);
    let timeout = duration_for_people(pace.timeout);
    format!("every {every}, timeout {timeout}")
}

fn times(number: u32, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}

fn in_a_row(number: u32, noun: &str) -> String {
    let text = times(number, noun);
    if number == 1 {
        text
    } else {
        format!("{text} in a row")
    }
}
