//! Rule 25: nodes that are in the cluster by their own configuration and not by ours: removed from ha.cf here, and still
//! running. What such a node holds is not started here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::view::View;
use crate::model::heartbeat::Heartbeat;
use crate::model::{GroupName, NodeName, Time};

/// More nodes than this are not remembered. Each of them knows the key.
const MAX_STRANGERS: usize = 16;

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
    /// An authentic heartbeat of a node that is not in our configuration.
    pub fn take_stranger(&mut self, now: Time, heartbeat: &Heartbeat, fresh: bool) {
        let holds = heartbeat.groups.iter().filter(|r| r.state.holds());
        let holds: Vec<GroupName> = holds.map(|r| r.group.clone()).collect();
        let known = self.strangers.iter().position(|s| s.name == heartbeat.src);
        let unfresh_since = known
            .and_then(|at| self.strangers.get(at))
            .filter(|_| !fresh)
            .map_or(now, |s| s.unfresh_since);
        let stranger = Stranger {
            name: heartbeat.src.clone(),
            holds,
            last_heard: now,
            unfresh_since,
            deadtime: heartbeat.deadtime,
        };
        self.remember_stranger(stranger);
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
