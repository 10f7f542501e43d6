//! Rule 25: nodes that are in the cluster by their own configuration and not by ours: removed from ha.cf here, and still
//! running. What such a node holds is not started here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::view::View;
use crate::model::heartbeat::Heartbeat;
use crate::model::{GroupName, NodeName, Time};

/// More nodes than this are not remembered. Each of them knows the key.
const MAX_STRANGERS: usize = 16;

/// Nor more groups of each.
const MAX_GROUPS: usize = 1000;

/// What is known of such a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stranger {
    pub name: NodeName,
    holds: Vec<GroupName>,
    last_heard: Time,
    /// Since when none of its heartbeats was fresh (rule 28).
    unfresh_since: Time,
    deadtime: Duration,
}

impl View {
    /// An authentic heartbeat of a node that is not in our configuration. It may name only some of its groups, and only a fresh
    /// one can say that the node no longer holds one.
    pub fn take_stranger(&mut self, now: Time, heartbeat: &Heartbeat, fresh: bool) {
        let known = self.strangers.iter().find(|s| s.name == heartbeat.src);
        let mut holds = known.map(|s| s.holds.clone()).unwrap_or_default();
        for report in &heartbeat.groups {
            if fresh || report.state.holds() {
                holds.retain(|g| *g != report.group);
            }
            if report.state.holds() {
                holds.push(report.group.clone());
            }
        }
        holds.truncate(MAX_GROUPS);
        let unfresh_since = known.filter(|_| !fresh).map_or(now, |s| s.unfresh_since);
        self.remember_stranger(Stranger {
            name: heartbeat.src.clone(),
            holds,
            last_heard: now,
            unfresh_since,
            deadtime: heartbeat.deadtime,
        });
    }

    /// A peer that the new configuration no longer has.
    pub fn peer_was_removed(&mut self, now: Time, peer: &super::Peer) {
        let holds = peer.groups.values().filter(|r| r.state.holds());
        let holds: Vec<GroupName> = holds.map(|r| r.group.clone()).collect();
        if peer.is_living() && !holds.is_empty() {
            self.remember_stranger(Stranger {
                name: peer.name.clone(),
                holds,
                last_heard: peer.last_heard,
                unfresh_since: now,
                deadtime: peer.deadtime,
            });
        }
    }

    fn remember_stranger(&mut self, stranger: Stranger) {
        self.strangers.retain(|s| s.name != stranger.name);
        if self.strangers.len() < MAX_STRANGERS {
            self.strangers.push(stranger);
        }
    }

    /// Forgets those that are configured, or were silent for deadtime.
    pub fn forget_strangers(&mut self, now: Time) {
        let nodes = &self.cluster.nodes;
        let deadtime = self.cluster.timing.deadtime;
        let stays = |s: &Stranger| !nodes.contains(&s.name) && now < s.dead_at(deadtime);
        self.strangers.retain(stays);
    }

    /// Such a node that still holds this group.
    pub fn held_by_stranger(&self, now: Time, group: &GroupName) -> Option<&NodeName> {
        let timing = &self.cluster.timing;
        let holds = |s: &&Stranger| {
            s.holds.contains(group)
                && now < s.dead_at(timing.deadtime)
                && now < s.unfresh_since + timing.initdead
        };
        self.strangers.iter().find(holds).map(|s| &s.name)
    }

    /// When what they hold must be judged again.
    pub fn stranger_deadlines(&self) -> impl Iterator<Item = Time> {
        let timing = &self.cluster.timing;
        let ends = |s: &Stranger| {
            [
                s.dead_at(timing.deadtime),
                s.unfresh_since + timing.initdead,
            ]
        };
        self.strangers.iter().flat_map(ends)
    }
}

impl Stranger {
    fn dead_at(&self, deadtime: Duration) -> Time {
        self.last_heard + deadtime.max(self.deadtime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{PersistentState, new_view};
    use crate::model::cluster::{Cluster, Timing};
    use crate::model::heartbeat::{GroupReport, GroupState};
    use crate::model::{Generation, Sequence, Term};

    /// Heartbeats with many groups come in parts, and an old one may be sent again.
    #[test]
    fn what_a_stranger_holds_is_forgotten_only_when_it_says_so_now() {
        let second = Duration::from_secs(1);
        let nodes = ["alice", "bob"].map(NodeName::new);
        let cluster = Cluster::new(&nodes, Timing::usual(second, second * 10));
        let mut view = new_view(cluster, &PersistentState::default(), Time::ZERO);
        let says = |group: &str, state: GroupState| Heartbeat {
            groups: vec![GroupReport {
                group: GroupName::new(group),
                state,
                term: Term(1),
                can: true,
                offer: None,
                to: None,
            }],
            ..Heartbeat::new(NodeName::new("carol"), Generation(1), Sequence(1))
        };
        let (web, mail) = (GroupName::new("web"), GroupName::new("mail"));
        let now = Time::ZERO + second;
        for (group, state, fresh, held) in [
            ("web", GroupState::Online, true, [true, false]),
            ("mail", GroupState::Online, true, [true, true]),
            ("web", GroupState::Offline, false, [true, true]),
            ("web", GroupState::Offline, true, [false, true]),
        ] {
            view.take_stranger(now, &says(group, state), fresh);
            let found = [&web, &mail].map(|g| view.held_by_stranger(now, g).is_some());
            assert_eq!(found, held, "{group} {state:?} {fresh}");
        }
        view.forget_strangers(now + second * 11);
        assert!(view.strangers.is_empty());
    }
}
