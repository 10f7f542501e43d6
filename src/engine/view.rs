//! What this node knows of the cluster. Every group is judged by it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checks::{self, Checks};
use super::identity::Names;
use super::machine_probe::Machines;
use super::peer::Peer;
use super::placement::Candidate;
use super::quorum::{ArbiterReach, Ping, newest_arbiter_answer};
use super::sent::SentLog;
use super::stranger::Stranger;
use super::voters::Voters;
use crate::model::cluster::Cluster;
use crate::model::heartbeat::{Heartbeat, LeftNode, Phase, Reach};
use crate::model::status::Liveness;
use crate::model::{Generation, GroupName, NodeName, Time};

/// Everything that is known, except the groups on this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct View {
    pub cluster: Cluster,
    pub rank: usize,
    pub generation: Generation,
    pub peers: Vec<Peer>,
    pub pings: Vec<Ping>,
    /// The checks of this node.
    pub checks: Checks,
    pub sent: SentLog,
    /// Rule 2. Every peer has been heard or is known to be dead.
    pub joined: bool,
    /// Rule 12. After a gap in our own time peers are listened for until then, also those that were dead or had left.
    pub listen_until: Time,
    /// The last gap in our own time: when it ended, and how long it was.
    pub gap: Option<(Time, Duration)>,
    /// This node is stopping all its groups, to end.
    pub leaving: bool,
    /// Whether this side had enough votes when they were last counted.
    pub quorate: bool,
    /// The deadtimes of peers that differ from ours, also from before our start.
    pub deadtimes: BTreeMap<NodeName, Duration>,
    /// The machines of the peers.
    #[serde(default)]
    pub machines: Machines,
    /// Rule 30. Who this life is, and who else has its name.
    #[serde(default)]
    pub names: Names,
    /// Nodes that are heard and not configured.
    pub strangers: Vec<Stranger>,
    /// The digest of the configuration before, while something of that still runs.
    pub former_digest: Option<u64>,
    #[serde(default)]
    pub arbiter_reach: Option<ArbiterReach>,
    /// Rule 31. The lists by which quorum is counted.
    pub voters: Voters,
    /// How many groups each peer holds or claims.
    pub loads: BTreeMap<NodeName, usize>,
}

impl View {
    pub fn me(&self) -> &NodeName {
        &self.cluster.me
    }

    pub fn peer(&self, name: &NodeName) -> Option<&Peer> {
        self.peers.iter().find(|p| p.name == *name)
    }

    pub fn living(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|p| p.is_living())
    }

    /// The nodes that have said goodbye to this one.
    pub fn goodbyes(&self) -> Vec<LeftNode> {
        let left = self.peers.iter().filter(|p| p.liveness == Liveness::Left);
        let said = left.filter_map(|p| Some((p.name.clone(), p.generation?)));
        said.map(|(node, generation)| LeftNode { node, generation })
            .collect()
    }

    /// Rule 2. Nodes that had left before our start. One that is not heard is waited for only as long as a right may last that
    /// rests on the former life of this node.
    pub fn take_goodbyes(&mut self, heartbeat: &Heartbeat, fresh: bool) {
        let timing = self.cluster.timing;
        for left in heartbeat.left.iter().filter(|_| fresh) {
            let unheard = |p: &&mut Peer| p.name == left.node && p.generation.is_none();
            if let Some(peer) = self.peers.iter_mut().find(unheard) {
                let soon = peer.last_heard + peer.dead_after(&timing);
                peer.init_deadline = peer.init_deadline.min(soon);
                peer.fencing.left_before = Some(left.generation);
            }
        }
    }

    /// The longest deadtime of all nodes.
    pub fn longest_deadtime(&self) -> Duration {
        let timing = &self.cluster.timing;
        let peers = self.peers.iter().map(|p| p.dead_after(timing));
        peers.max().unwrap_or(timing.deadtime)
    }

    /// Whether this node votes and runs no groups.
    pub fn this_node_is_witness(&self) -> bool {
        self.cluster.this_node_is_witness()
    }

    /// The peers that may run groups.
    pub fn peer_nodes(&self) -> impl Iterator<Item = &Peer> {
        let runs_groups = |p: &&Peer| !self.cluster.is_witness(&p.name);
        self.peers.iter().filter(runs_groups)
    }

    /// The peers that may run groups and live.
    pub fn living_nodes(&self) -> impl Iterator<Item = &Peer> {
        self.peer_nodes().filter(|p| p.is_living())
    }

    /// Rule 25. Whether a peer has another configuration. A witness does not read haresources, so between it and a node
    /// there is nothing to compare.
    pub fn differs(&self, peer: &Peer) -> bool {
        let is_compared = !self.this_node_is_witness() && !self.cluster.is_witness(&peer.name);
        is_compared && peer.digest.is_some_and(|d| d != self.cluster.digest)
    }

    /// Rules 2, 12 and 29. Whether every peer has been heard, or was waited for long enough. A witness is not waited for where
    /// every node is heard: only nodes can hold what we must hear of.
    pub fn may_join(&self, now: Time) -> bool {
        let waited = now >= self.listen_until;
        let nodes_heard = self.peer_nodes().all(Peer::is_living);
        self.peers.iter().all(|p| {
            let not_needed = nodes_heard && self.cluster.is_witness(&p.name);
            p.is_living() || (waited && (not_needed || p.liveness != Liveness::Init))
        })
    }

    pub fn is_deaf(&self, peer: &Peer) -> bool {
        peer.is_deaf(&self.cluster.timing)
    }

    /// Rules 6 and 27. When a right ends that rests on the arbiter. An answer counts only if the peer, had it reached the ping node
    /// then too, would have heard us: because our heartbeats were relayed, or because it did hear us and has said so.
    pub fn arbiter_lease_end(&self) -> Option<Time> {
        let timing = &self.cluster.timing;
        let confirmed = self.arbiter_confirmed()?;
        let known = self.peers.iter().map(|p| p.lease_by(timing)).min();
        Some(confirmed + known.unwrap_or(timing.lease()))
    }

    /// The time up to which the arbiter has confirmed this side.
    pub fn arbiter_confirmed(&self) -> Option<Time> {
        let answered = self.arbiter_reach?.steady;
        let heard_us = |p: &Peer| match p.liveness {
            Liveness::Left => answered,
            _ if answered >= p.relay_since => answered,
            _ => answered.min(p.acked.unwrap_or(Time::ZERO)),
        };
        let peers = self.peers.iter().filter(|_| self.cluster.relay);
        Some(peers.map(heard_us).min().unwrap_or(answered))
    }

    /// Notes since when the arbiter has answered without a gap.
    pub fn update_arbiter(&mut self) {
        let shares = self.cluster.vote_shares();
        let limit = self.max_answer_gap();
        self.arbiter_reach = newest_arbiter_answer(&self.pings, shares).map(|newest| {
            let before = self.arbiter_reach;
            let goes_on = before.filter(|r| newest <= r.newest + limit);
            let since = goes_on.map_or(newest, |r| r.since);
            let steady = if newest >= since + limit {
                newest
            } else {
                before.map_or(Time::ZERO, |r| r.steady)
            };
            ArbiterReach {
                since,
                newest,
                steady,
            }
        });
    }

    /// Two answers of a ping node that are further apart have a gap between them, in which a heartbeat that a peer relayed
    /// may have been lost. With the keepalive before, it is less than margin, because a peer that reached the ping node in the
    /// gap ends its lease that much sooner than we take it for dead; a tenth is left for what acts late.
    fn max_answer_gap(&self) -> Duration {
        let t = &self.cluster.timing;
        let safe = t.margin.saturating_sub(t.keepalive + t.margin / 10);
        safe.max(t.keepalive + t.keepalive / 2)
    }

    /// Rule 27. From when on the arbiter's vote lets this node start what a peer that is not heard may still hold: when it
    /// has answered for deadtime without a gap. Had the peer reached it too meanwhile, we would have heard the peer through
    /// it; before, the peer may have been the one that reached it, and its lease lasts that long. `Time::NEVER` while it does
    /// not answer.
    pub fn arbiter_usable_from(&self, now: Time) -> Time {
        if !self.cluster.vote_shares().has_arbiter() {
            return Time::ZERO;
        }
        match self.arbiter_run(now) {
            Some(since) => since + self.longest_deadtime(),
            None => Time::NEVER,
        }
    }

    /// Whether the arbiter has answered without a gap since that time.
    pub fn arbiter_answers_since(&self, time: Time, now: Time) -> bool {
        self.arbiter_run(now).is_some_and(|since| since <= time)
    }

    /// Since when the arbiter answers without a gap.
    fn arbiter_run(&self, now: Time) -> Option<Time> {
        let reach = self.arbiter_reach?;
        (now <= reach.newest + self.max_answer_gap()).then_some(reach.since)
    }

    pub fn reach(&self) -> Reach {
        let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        Reach {
            answering: count(self.pings.iter().filter(|p| p.up).count()),
            configured: count(self.pings.len()),
        }
    }

    /// The phase of this node.
    pub fn phase(&self) -> Phase {
        if self.leaving {
            Phase::Leaving
        } else if self.joined {
            Phase::Active
        } else {
            Phase::Init
        }
    }

    /// A peer as a candidate for a group.
    pub fn candidate(&self, peer: &Peer, group: &GroupName, preferred: &NodeName) -> Candidate {
        Candidate {
            name: peer.name.clone(),
            ineligible: self.ineligible(peer, group),
            yielding: peer.intent.yielding.contains(group),
            wanted: peer.intent.wanted.contains(group),
            preferred: peer.name == *preferred,
            unready: checks::failback_unready(&peer.failed_checks),
            reach: peer.reach.answering,
            load: self.loads.get(&peer.name).copied().unwrap_or(0),
        }
    }

    /// Why a peer may not run a group, in words that follow its name. An administrator may override its checks.
    pub fn ineligible(&self, peer: &Peer, group: &GroupName) -> Option<String> {
        let by_checks = || checks::ineligible(&peer.failed_checks, group);
        let forced = peer.intent.forced.contains(group);
        self.ineligible_but_for_checks(peer, group)
            .or_else(|| by_checks().filter(|_| !forced))
    }

    /// The same without what its checks say.
    pub fn ineligible_but_for_checks(&self, peer: &Peer, group: &GroupName) -> Option<String> {
        let words = match peer.liveness {
            Liveness::Init => "has not been heard yet",
            Liveness::Late => "is late",
            Liveness::Dead => "is dead",
            Liveness::Left => "has left",
            Liveness::Active | Liveness::Here => "",
        };
        if !words.is_empty() {
            return Some(words.to_owned());
        }
        let report = peer.groups.get(group);
        let ineligible = [
            (self.is_deaf(peer), "does not receive our heartbeats"),
            (
                peer.phase == Phase::Init,
                "does not take part in the cluster yet",
            ),
            (
                matches!(peer.phase, Phase::Leaving | Phase::Left),
                "is leaving the cluster",
            ),
            (self.differs(peer), "has a different configuration"),
            (peer.intent.standby.contains(group), "is in standby"),
            (self.counts_votes() && !peer.quorate, "has no quorum"),
            (report.is_none(), "has not reported it yet"),
            (report.is_some_and(|r| !r.can), "failed to run it"),
        ];
        ineligible
            .iter()
            .find(|(is, _)| *is)
            .map(|(_, words)| (*words).to_owned())
    }
}
