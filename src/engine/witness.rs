//! The groups on a witness. It does not read haresources: it knows a group from the heartbeats of the nodes, shows it as
//! offline, and recognises by rule 1 who may run it.

use std::collections::BTreeSet;

use super::group::Group;
use super::{Engine, PersistentState};
use crate::model::cluster::{Cluster, MAX_WITNESSED_GROUPS};
use crate::model::heartbeat::Heartbeat;
use crate::model::{GroupName, Time};

/// A longer name does not fit on a line of haresources.
const MAX_NAME_BYTES: usize = 4096;

/// Remembers the groups that a node names, up to a limit: otherwise that node would decide how much we remember. Another
/// witness is not listened to, or the two would keep each other from forgetting.
pub(super) fn learn_groups(
    groups: &mut Vec<Group>,
    now: Time,
    cluster: &Cluster,
    heartbeat: &Heartbeat,
) {
    if !cluster.this_node_is_witness() || cluster.is_witness(&heartbeat.src) {
        return;
    }
    for report in &heartbeat.groups {
        if let Some(known) = groups.iter_mut().find(|g| *g.name() == report.group) {
            known.note_named(now);
        } else if groups.len() < MAX_WITNESSED_GROUPS
            && report.group.as_str().len() <= MAX_NAME_BYTES
        {
            groups.push(Group::witnessed(report.group.clone(), now));
        }
    }
}

/// The groups that a node may run which the last daemon of this witness had heard (rule 32). That node may be silent now, and
/// the witness may be the only one that knows.
pub(super) fn known_groups(cluster: &Cluster, kept: &PersistentState, now: Time) -> Vec<Group> {
    if !cluster.this_node_is_witness() {
        return Vec::new();
    }
    let machines = kept.machines.values();
    let names: BTreeSet<&GroupName> = machines.flat_map(|m| m.may_run.keys()).collect();
    let groups = names.into_iter().take(MAX_WITNESSED_GROUPS);
    groups
        .map(|name| Group::witnessed(name.clone(), now))
        .collect()
}

impl Engine {
    /// Forgets groups that no node has named for twice deadtime although one is heard: they were removed from haresources.
    /// Each node names all of its groups in every regular heartbeat.
    pub(super) fn forget_unnamed_groups(&mut self, now: Time) {
        let limit = self.view.cluster.timing.deadtime * 2;
        if self.view.living_nodes().next().is_none() {
            // Nobody is there who could name them. Whoever comes back needs more than one heartbeat for many groups.
            for group in &mut self.groups {
                group.note_named(now);
            }
            return;
        }
        let machines = &self.view.machines;
        let may_run = |g: &Group| {
            let mut nodes = self.view.peer_nodes();
            nodes.any(|p| !p.is_living() && machines.may_run(&p.name, g.name()))
        };
        self.groups
            .retain(|g| !g.is_unnamed_since(now, limit) || may_run(g));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::Timing;
    use crate::model::heartbeat::{GroupReport, GroupState};
    use crate::model::{Generation, NodeName, Sequence, Term};
    use std::time::Duration;

    fn cluster(me: &str) -> Cluster {
        let names = ["alice", "bob", "w", "x"].map(NodeName::new);
        let second = Duration::from_secs(1);
        let mut cluster = Cluster::new(&names, Timing::usual(second, second * 10));
        cluster.witnesses = vec![NodeName::new("w"), NodeName::new("x")];
        cluster.me = NodeName::new(me);
        cluster
    }

    fn naming(src: &str, groups: impl Iterator<Item = String>) -> Heartbeat {
        let report = |name: String| GroupReport {
            group: GroupName::new(&name),
            state: GroupState::Offline,
            term: Term(0),
            can: true,
            offer: None,
            to: None,
        };
        let mut heartbeat = Heartbeat::new(NodeName::new(src), Generation(1), Sequence(1));
        heartbeat.groups = groups.map(report).collect();
        heartbeat
    }

    #[test]
    fn a_witness_learns_so_many_groups_from_nodes_and_none_from_a_witness() {
        let at = Time::ZERO;
        let mut groups = Vec::new();
        let db = || std::iter::once("db".to_owned());
        learn_groups(&mut groups, at, &cluster("alice"), &naming("bob", db()));
        learn_groups(&mut groups, at, &cluster("w"), &naming("x", db()));
        assert!(groups.is_empty());
        learn_groups(&mut groups, at, &cluster("w"), &naming("bob", db()));
        learn_groups(&mut groups, at, &cluster("w"), &naming("alice", db()));
        assert_eq!(groups.len(), 1);
        let report = groups[0].report();
        assert_eq!((report.state, report.can), (GroupState::Offline, false));
        let long = || std::iter::once("n".repeat(MAX_NAME_BYTES + 1));
        learn_groups(&mut groups, at, &cluster("w"), &naming("bob", long()));
        assert_eq!(groups.len(), 1);
        let many = (0..MAX_WITNESSED_GROUPS + 9).map(|n| format!("g{n}"));
        learn_groups(&mut groups, at, &cluster("w"), &naming("bob", many));
        assert_eq!(groups.len(), MAX_WITNESSED_GROUPS);
    }
}
