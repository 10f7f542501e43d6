//! What follows when a monitor or a check fails, in words, for `hactl check`.

use super::watch_plan::Monitor;
use crate::config::CheckRule;
use crate::model::GroupName;
use crate::model::cluster::Step;
use crate::model::health::{CheckPolicy, Probe};

/// What a watched resource comes to; whether there is `another` node to move to.
pub(super) fn monitor(monitor: &Monitor, step: &Step, another: bool) -> String {
    let members = step.members.join(" ");
    let how = match &monitor.probe {
        Some(probe) => format!("{probe}"),
        None => "its own status".to_owned(),
    };
    let Some(policy) = step.policy else {
        return String::new();
    };
    let end = if another {
        "it fails here and the group moves"
    } else {
        "it fails here, is stopped, and is tried again after a while: there is no other node"
    };
    let then = if policy.restart == 0 {
        end.to_owned()
    } else {
        format!(
            "it is restarted in place, with what is to its right, at most {} times within {:?}; after that {end}",
            policy.restart, policy.within
        )
    };
    format!(
        "    {members}: {how} every {:?}, at most {:?} each; after {} failed looks in a row {then}\n",
        monitor.pace.every, monitor.pace.timeout, policy.fall
    )
}

/// What a check of the node comes to.
pub(super) fn check(rule: &CheckRule) -> String {
    let then = if rule.policy.stays {
        "but keeps what it has"
    } else {
        "and what it has moves as soon as another node can run it"
    };
    format!(
        "check {}: {} every {:?}, at most {:?} each; before the first success and after {} failures in a row this node is no candidate, {then}; {} successes in a row end that\n",
        rule.policy.name,
        rule.probe,
        rule.pace.every,
        rule.pace.timeout,
        rule.policy.fall,
        rule.policy.rise
    )
}

/// What is looked at without being asked for in ha.cf.
pub(super) fn of_group(policy: &CheckPolicy, probe: &Probe) -> String {
    let group = policy.group.as_ref().map_or("", GroupName::as_str);
    format!(
        "check {}: {probe}; while its data here is not the newest this node is no candidate for {group}, but keeps it\n",
        policy.name
    )
}

/// What a node that wants its groups back waits for, where a group prefers it.
pub(super) fn failback_when(rule: &CheckRule, preferred: bool) -> String {
    if !preferred {
        return "failback_when: not asked here, for no group prefers this node\n".to_owned();
    }
    format!(
        "failback_when: {} every {:?}, at most {:?} each; groups that prefer this node come back only while it succeeds here\n",
        rule.probe, rule.pace.every, rule.pace.timeout
    )
}
