//! The engine's view as plain data for `hactl status`, with a sentence for whatever is not normal.

mod notes;
mod standbys;

use std::collections::BTreeMap;
use std::time::Duration;

use super::Engine;
use super::group::{Group, StepState};
use super::peer::{Peer, PeerLink};
use crate::model::cluster::QuorumPolicy;
use crate::model::status::{
    GroupStatus, LinkStatus, Liveness, NodeStatus, OLD_HEARTBEATS, PingStatus, QuorumStatus,
    ResourceStatus, Status,
};
use crate::model::{NodeName, Time};

impl Engine {
    /// Everything as seen from here at this time.
    pub fn status(&self, now: Time) -> Status {
        let now = now.max(self.now);
        let votes = self.view.votes();
        let node = |name: &NodeName| match self.view.peer(name) {
            Some(peer) => self.peer_status(peer, now),
            None => self.own_status(now),
        };
        Status {
            node: self.view.me().clone(),
            generation: self.view.generation,
            phase: self.view.phase(),
            waiting: self.view.waits_for(now),
            nodes: self.view.cluster.nodes.iter().map(node).collect(),
            pings: self
                .view
                .pings
                .iter()
                .map(|p| PingStatus {
                    name: p.name.clone(),
                    up: p.up,
                    answered: p.answered.map(|at| now.since(at)),
                    member: p.member.clone(),
                })
                .collect(),
            quorum: QuorumStatus {
                held: self.view.quorate,
                counted: self.view.counts_votes() || self.view.cluster.quorum != QuorumPolicy::Off,
                votes: votes.ours,
                total: votes.total,
                ignored: self.view.cluster.quorum == QuorumPolicy::Ignore
                    && !self.view.counts_votes(),
            },
            groups: self
                .groups
                .iter()
                .map(|g| self.group_status(g, now))
                .collect(),
            former_voters: self.view.voters.former().to_vec(),
            fencing: self.fencing_status(),
            checks: self.view.checks.status(now),
            counters: self.counters(),
            lateness: None,
            activity: Vec::new(),
        }
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let old = OLD_HEARTBEATS.to_owned();
        let counted = (self.old_heartbeats > 0).then_some((old, self.old_heartbeats));
        counted.into_iter().collect()
    }

    fn own_status(&self, now: Time) -> NodeStatus {
        NodeStatus {
            name: self.view.me().clone(),
            witness: self.view.this_node_is_witness(),
            liveness: Liveness::Here,
            silent_for: None,
            generation: Some(self.view.generation),
            reach: Some(self.view.reach()),
            links: Vec::new(),
            notes: self.own_notes(now),
        }
    }

    fn peer_status(&self, peer: &Peer, now: Time) -> NodeStatus {
        let heard = peer.generation.is_some();
        let link = |l: &PeerLink| LinkStatus {
            link: l.name.clone(),
            hears: l.up,
            heard: peer.is_living().then(|| peer.hears_us_on.contains(&l.name)),
            relay: l.relay,
            silent_for: l.last_heard.map(|at| now.since(at)),
        };
        NodeStatus {
            name: peer.name.clone(),
            witness: self.view.cluster.is_witness(&peer.name),
            liveness: peer.liveness,
            silent_for: heard.then(|| now.since(peer.last_heard)),
            generation: peer.generation,
            reach: heard.then_some(peer.reach),
            links: peer.links.iter().map(link).collect(),
            notes: self.peer_notes(peer, now),
        }
    }

    fn group_status(&self, group: &Group, now: Time) -> GroupStatus {
        let name = group.name();
        let mut owners: Vec<NodeName> = self
            .view
            .living()
            .filter(|p| p.holds(name))
            .map(|p| p.name.clone())
            .collect();
        if group.state().holds() {
            owners.insert(0, self.view.me().clone());
        }
        let mut states = vec![(self.view.me().clone(), group.state())];
        let nodes = self.view.living_nodes();
        states.extend(nodes.map(|p| (p.name.clone(), p.state(name))));
        GroupStatus {
            name: name.clone(),
            preferred: group.spec().preferred.clone(),
            notes: self.group_notes(group, &owners, now),
            standbys: self.standbys(group),
            owners,
            states,
            term: group.term(),
            resources: resources(group, now),
            takeover: None,
            last_switch_ms: None,
            last_drill_ms: None,
        }
    }
}

/// In whole seconds: a deadline needs no fractions.
fn seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

/// Every member with the state of its step.
fn resources(group: &Group, now: Time) -> Vec<ResourceStatus> {
    let steps = group.spec().steps.iter().zip(group.steps());
    let members = |(spec, known): (&crate::model::cluster::Step, &StepState)| {
        let (state, error) = (known.state, known.error.clone());
        let watch = spec.policy.map(|p| known.health.status(now, &p));
        spec.members
            .iter()
            .map(move |token| ResourceStatus {
                token: token.clone(),
                state,
                error: error.clone(),
                watch: watch.clone(),
                unwatched: watch.is_none() && !spec.addresses,
            })
            .collect::<Vec<_>>()
    };
    steps.flat_map(members).collect()
}
