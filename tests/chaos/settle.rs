//! After the faults end the cluster settles: every group runs exactly once and answers, and everybody knows where.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use had::lab::LabError;
use had::model::heartbeat::GroupState;
use had::model::status::{Liveness, Status};

use crate::calls::ScriptCalls;
use crate::class::{EXTRA, WEB};
use crate::cluster::ChaosCluster;
use crate::step::Node;
use crate::watch::LogWatch;

/// On a machine that is busy with other things.
const SLOW: Duration = Duration::from_secs(60);

/// Ends all faults and waits. What does not recover is added to the list of failures.
pub fn settle(
    stage: &mut ChaosCluster,
    watch: &mut LogWatch,
    calls: &mut ScriptCalls,
) -> Result<(), LabError> {
    stage.end_faults()?;
    // Starting takes initdead and a few deadtimes; a failed start is tried again after a while unless it is forgiven.
    let end = Instant::now() + Duration::from_secs(4) + stage.config.deadtime * 10 + SLOW;
    let mut forgiven = false;
    loop {
        let why = match all_statuses(stage, watch)? {
            Err(why) => why,
            Ok(statuses) => {
                if !forgiven {
                    forgiven = true;
                    stage.forgive()?;
                    continue;
                }
                clear(stage, &statuses)?;
                match settled_owners(stage, &statuses, calls)? {
                    Ok(owners) => {
                        stage.timeline.owners = owners;
                        return Ok(());
                    }
                    Err(why) => why,
                }
            }
        };
        if !stage.failed.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            stage.failed.push(format!("has not settled: {why}"));
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The status of all nodes, if all answer.
fn all_statuses(
    stage: &mut ChaosCluster,
    watch: &mut LogWatch,
) -> Result<Result<Vec<(Node, Status)>, String>, LabError> {
    let mut statuses = Vec::new();
    for node in stage.class.nodes {
        if stage.lab.had_pid(node)?.is_none() {
            stage
                .failed
                .push(format!("the daemon of {node} ended by itself"));
            return Ok(Err("a daemon is gone".into()));
        }
        let Some(status) = stage.status(node) else {
            return Ok(Err(format!("{node} does not answer")));
        };
        watch.compare(stage, node, &status);
        statuses.push((*node, status));
    }
    Ok(Ok(statuses))
}

/// Clears failed groups, as an administrator who has looked.
fn clear(stage: &mut ChaosCluster, statuses: &[(Node, Status)]) -> Result<(), LabError> {
    for (node, status) in statuses {
        for group in &status.groups {
            let state = group.states.first().map(|s| s.1);
            if matches!(state, Some(GroupState::Failed | GroupState::Stuck)) {
                if let Some(script) = script_of(group.name.as_str()) {
                    stage.sh(node, &format!("rm -f /run/svc-{script}"))?;
                    stage.mark(node, script, "clear");
                }
                stage.hactl(node, &format!("clear {}", group.name))?;
            }
        }
    }
    Ok(())
}

/// All owners, or why the cluster has not settled.
fn settled_owners(
    stage: &mut ChaosCluster,
    statuses: &[(Node, Status)],
    calls: &mut ScriptCalls,
) -> Result<Result<BTreeSet<Node>, String>, LabError> {
    let mut owners = BTreeSet::new();
    for (node, status) in statuses {
        for peer in &status.nodes {
            if !matches!(peer.liveness, Liveness::Here | Liveness::Active) {
                return Ok(Err(format!(
                    "{node} sees {} as {:?}",
                    peer.name, peer.liveness
                )));
            }
        }
        if !status.quorum.held || status.groups.len() != stage.config.groups().len() {
            return Ok(Err(format!(
                "{node}: {:?}, {} groups",
                status.quorum,
                status.groups.len()
            )));
        }
    }
    for (name, addresses) in stage.config.groups() {
        let owner = match owner(statuses, name) {
            Ok(owner) => owner,
            Err(why) => return Ok(Err(why)),
        };
        if name != EXTRA {
            // That one is not asked by the client.
            owners.insert(owner);
        }
        for address in addresses {
            if let Some(why) = answers(stage, address, owner)? {
                return Ok(Err(why));
            }
        }
        let wrong = calls.read(stage);
        stage.failed.extend(wrong);
        if let Some(script) = script_of(name)
            && calls.running(script) != [owner]
        {
            let places = calls.running(script);
            return Ok(Err(format!("the script of {name} runs on {places:?}")));
        }
    }
    Ok(Ok(owners))
}

/// The name with which the group's script is called.
fn script_of(group: &str) -> Option<&'static str> {
    match group {
        WEB => Some("web"),
        EXTRA => Some("side"),
        _ => None,
    }
}

/// The only owner of a group according to all nodes.
fn owner(statuses: &[(Node, Status)], name: &str) -> Result<Node, String> {
    let mut owner = None;
    for (node, status) in statuses {
        let group = status.groups.iter().find(|g| g.name.as_str() == name);
        let Some(group) = group else {
            return Err(format!("{node} does not know {name}"));
        };
        let [one] = group.owners.as_slice() else {
            return Err(format!(
                "{node} sees {name} on {:?}: {:?}",
                group.owners, group.notes
            ));
        };
        let online = |(n, s): &(_, GroupState)| n == one && *s == GroupState::Online;
        if !group.states.iter().any(online) || owner.is_some_and(|o| o != one.as_str()) {
            return Err(format!("{node} sees {name}: {:?}", group.states));
        }
        owner = statuses.iter().map(|s| s.0).find(|n| *n == one.as_str());
    }
    owner.ok_or_else(|| format!("nobody knows {name}"))
}

/// Whether the owner has the address, the client gets an answer, and the gateway has the right MAC.
fn answers(stage: &ChaosCluster, address: &str, owner: Node) -> Result<Option<String>, LabError> {
    let ip: IpAddr = address.parse().unwrap();
    for node in stage.class.nodes {
        let has = stage.lab.addresses(node)?.iter().any(|a| a.address == ip);
        if has != (*node == owner) {
            return Ok(Some(format!(
                "{owner} runs {address}; {node} has it: {has}"
            )));
        }
    }
    let asked = stage
        .lab
        .exec("client", &["ping", "-c", "1", "-W", "1", address])?;
    if !asked.success() {
        return Ok(Some(format!(
            "the client gets no answer from {address} on {owner}"
        )));
    }
    let card = stage.lab.mac(owner, "eth0")?;
    for host in ["gateway", "client"] {
        let known = stage.lab.neighbour(host, ip)?;
        if known.is_some() && known != card {
            return Ok(Some(format!(
                "{host} believes {address} at {known:?}, not {owner}'s {card:?}"
            )));
        }
    }
    Ok(None)
}
