//! What a planned change would cost: a stop of this node, or another configuration. Such a change is refused, with the
//! reason, where it takes quorum from those who have it or leaves a group without a node. An administrator may insist.

use super::group::Group;
use super::peer::Peer;
use super::placement::{choose_node, why_no_other};
use super::view::View;
use super::{Engine, Event};
use crate::model::cluster::Cluster;
use crate::model::heartbeat::Phase;
use crate::model::status::Liveness;
use crate::model::voter_list::VoterList;
use crate::text::count;

impl Engine {
    /// Why this node should not be stopped now.
    pub(super) fn refuse_to_stop(&self) -> Option<String> {
        let mut reasons: Vec<String> = self.view.quorum_without_us().into_iter().collect();
        let here = self.groups.iter().filter(|g| g.is_load());
        for group in here.filter(|g| !g.in_maintenance(&self.view)) {
            reasons.extend(self.left_alone(group));
        }
        if reasons.is_empty() {
            return None;
        }
        Some(format!(
            "{}; nothing was stopped. `hactl stop --force` stops this node all the same",
            reasons.join("; ")
        ))
    }

    /// Why a group would run nowhere.
    fn left_alone(&self, group: &Group) -> Option<String> {
        let others = group.other_candidates(&self.view, &self.round);
        let name = group.name();
        choose_node(&others)
            .is_err()
            .then(|| format!("{name} would run nowhere: {}", why_no_other(&others)))
    }

    /// Why a running daemon should not take this configuration over: one reason each. None of them forbids it.
    pub fn judge_configuration(&self, new: &Cluster) -> Vec<String> {
        let (was, is) = (VoterList::of(&self.view.cluster), VoterList::of(new));
        let mut reasons = Vec::new();
        if was.counts_votes() && !is.counts_votes() {
            reasons.push(format!(
                "quorum becomes {}: votes no longer limit what a side that is cut off may run, so two nodes may run the same group",
                is.quorum.as_str()
            ));
        }
        let pair = is.nodes.len() == 2 && is.counts_votes();
        if pair && was.shares().has_arbiter() && !is.shares().has_arbiter() {
            reasons.push(
                "the last ping node of a pair goes: no node has quorum without the other"
                    .to_owned(),
            );
        }
        let removed = self.view.living().filter(|p| !is.nodes.contains(&p.name));
        for peer in removed {
            let name = &peer.name;
            reasons.push(format!(
                "{name} is heard and is not in the new ha.cf: `hactl stop` on {name} first"
            ));
        }
        let silent = self
            .view
            .peer_nodes()
            .filter(|p| !is.nodes.contains(&p.name));
        reasons.extend(silent.filter_map(|p| self.may_run_at_silent(p)));
        let unfenced = self.view.peer_nodes().filter(|p| {
            let stays = is.nodes.contains(&p.name) && !new.fencing.covers(&p.name);
            stays && self.view.must_be_fenced(p)
        });
        reasons.extend(unfenced.filter_map(|p| self.waits_for_fencing_of(p)));
        reasons.extend(self.quorum_lost_by(new));
        reasons
    }

    /// What waits for the fencing of a node that has no fence line any more.
    fn waits_for_fencing_of(&self, peer: &Peer) -> Option<String> {
        let waits = |g: &&Group| g.awaits_fencing_of(peer, &self.view).is_some();
        let groups = self.groups.iter().filter(waits);
        let groups: Vec<&str> = groups.map(|g| g.name().as_str()).collect();
        let node = &peer.name;
        (!groups.is_empty()).then(|| {
            format!(
                "{node} is dead and has no fence line in the new ha.cf, and {} would no longer wait until it is off: make sure that it is, then `hactl fence confirm {node} --yes`",
                groups.join(", ")
            )
        })
    }

    /// What a node may still run that is not heard. Without the node nothing would hold these groups back.
    fn may_run_at_silent(&self, peer: &Peer) -> Option<String> {
        let runs = |g: &&Group| g.may_run_at_silent(peer, self.now, &self.view);
        let groups = self.groups.iter().filter(runs);
        let mut groups: Vec<&str> = groups.map(|g| g.name().as_str()).collect();
        let node = &peer.name;
        if !peer.is_living() && self.view.machines.may_run_former(node) {
            groups.push("what haresources no longer has");
        }
        (!groups.is_empty()).then(|| {
            format!(
                "{node} is not heard, is not in the new ha.cf, and may still run {}: switch {node} off first",
                groups.join(", ")
            )
        })
    }

    /// Whether this side would lose quorum at once. What would become of it is tried on a copy.
    fn quorum_lost_by(&self, new: &Cluster) -> Option<String> {
        let mut changed = self.clone();
        let _orders = changed.handle(self.now, Event::Reconfigured(Box::new(new.clone())));
        let votes = changed.view.votes();
        if !self.view.quorate || changed.view.quorate {
            return None;
        }
        let waits = changed.view.waits_for_voters();
        let waits = waits.map_or_else(String::new, |text| format!(" ({text})"));
        Some(format!(
            "this side would lose quorum: {} of {} votes, {} needed{waits}",
            votes.ours, votes.total, votes.needed
        ))
    }
}

impl View {
    fn is_enough_for(&self, list: &VoterList, others: &[&Peer]) -> bool {
        self.votes_of_others(list, others) >= list.shares().needed()
    }

    fn votes_of_others(&self, list: &VoterList, others: &[&Peer]) -> u32 {
        let answering = others.iter().map(|p| usize::from(p.reach.answering)).max();
        let votes: u32 = others.iter().map(|p| list.votes_of(&p.name)).sum();
        if self.voters.has_arbiter(list) {
            votes + list.shares().of_arbiter(answering.unwrap_or_default())
        } else {
            votes
        }
    }

    /// What the other nodes lose with us: quorum, if they have it now only with our vote. Of a last node nobody is left to lose
    /// it.
    fn quorum_without_us(&self) -> Option<String> {
        let stays = |p: &&Peer| {
            matches!(p.liveness, Liveness::Active | Liveness::Late)
                && p.phase == Phase::Active
                && !self.is_deaf(p)
        };
        let staying: Vec<&Peer> = self.living().filter(stays).collect();
        let others = staying.iter().any(|p| !self.cluster.is_witness(&p.name));
        if !others || !self.counts_votes() || !self.quorate {
            return None;
        }
        let mut lists = self.voters.counted();
        let list = lists.find(|l| !self.is_enough_for(l, &staying))?;
        let (shares, votes) = (list.shares(), self.votes_of_others(list, &staying));
        let names: Vec<&str> = staying.iter().map(|p| p.name.as_str()).collect();
        let verb = if names.len() == 1 { "has" } else { "have" };
        let stop = if names.len() == 1 { "stops" } else { "stop" };
        let names = names.join(" and ");
        Some(format!(
            "{names} and this node are the only ones left of {}; without this node {names} {verb} {votes} of {} votes, {} needed, and {stop} everything",
            count(list.nodes.len(), "voter"),
            shares.total(),
            shares.needed()
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::PersistentState;
    use crate::model::cluster::{PingNode, QuorumPolicy, Timing};
    use crate::model::heartbeat::{Heard, Heartbeat, Reach};
    use crate::model::{Generation, LinkName, NodeName, Sequence, Time};

    const KEEPALIVE: Duration = Duration::from_secs(1);

    fn cluster(names: &[&str], pings: usize, quorum: QuorumPolicy) -> Cluster {
        let nodes: Vec<NodeName> = names.iter().map(|n| NodeName::new(n)).collect();
        let mut cluster = Cluster::new(&nodes, Timing::usual(KEEPALIVE, KEEPALIVE * 10));
        cluster.links = vec![LinkName::new("eth0")];
        cluster.quorum = quorum;
        let ping = |n| PingNode {
            name: format!("gateway{n}"),
            addresses: Vec::new(),
        };
        cluster.pings = (0..pings).map(ping).collect();
        cluster
    }

    /// An engine on the first node that hears these others, and they it, for a while. Its ping nodes answer, everywhere.
    fn hearing(cluster: Cluster, others: &[&str]) -> Engine {
        let pings = cluster.pings.len();
        let kept = PersistentState {
            generation: Generation(1),
            ..PersistentState::default()
        };
        let (mut engine, _) = Engine::new(cluster, kept, Time::ZERO);
        for second in 1..30 {
            let now = Time::ZERO + KEEPALIVE * second;
            for ping in 0..pings {
                let _orders = engine.handle(now, Event::Pong { ping, sent: now });
            }
            for name in others {
                let sequence = Sequence(u64::from(second));
                let mut heartbeat = Heartbeat::new(NodeName::new(name), Generation(1), sequence);
                heartbeat.reach = Reach {
                    answering: u16::try_from(pings).unwrap(),
                    configured: u16::try_from(pings).unwrap(),
                };
                heartbeat.heard = vec![Heard {
                    node: engine.name().clone(),
                    generation: Generation(1),
                    instance: None,
                    sequence: engine.publisher.sequence(),
                    loss: 0,
                    links: vec![LinkName::new("eth0")],
                }];
                let heard = Event::Heard {
                    link: LinkName::new("eth0"),
                    from: None,
                    heartbeat: Box::new(heartbeat),
                };
                let _orders = engine.handle(now, heard);
            }
            let _orders = engine.handle(now, Event::DeadlineReached);
        }
        engine
    }

    #[test]
    fn a_stop_that_costs_the_rest_quorum_is_refused() {
        use QuorumPolicy::{Off, Stop};
        let three = ["alice", "bob", "carol"];
        let pair = ["alice", "bob"];
        for (names, pings, quorum, others, refused) in [
            (&three[..], 0, Stop, &["bob", "carol"][..], false),
            (&three, 0, Stop, &["bob"], true),
            (&three, 0, Stop, &[], false),
            (&three, 0, Off, &["bob"], false),
            (&pair, 1, Stop, &["bob"], false),
            (&pair, 0, Stop, &["bob"], true),
        ] {
            let engine = hearing(cluster(names, pings, quorum), others);
            let said = engine.refuse_to_stop();
            assert_eq!(said.is_some(), refused, "{names:?} {others:?}: {said:?}");
        }
        let engine = hearing(cluster(&three, 0, Stop), &["bob"]);
        assert_eq!(
            engine.refuse_to_stop().unwrap(),
            "bob and this node are the only ones left of 3 voters; without this node bob has 1 of 3 votes, 2 needed, and stops everything; nothing was stopped. `hactl stop --force` stops this node all the same"
        );
    }

    #[test]
    fn a_stop_in_the_middle_of_a_change_is_judged_by_each_list() {
        use QuorumPolicy::Stop;
        let five = ["alice", "bob", "carol", "dave", "erin"];
        let mut engine = hearing(cluster(&five, 0, Stop), &["bob", "carol"]);
        let new = Box::new(cluster(&five[..3], 0, Stop));
        let _orders = engine.handle(engine.now, Event::Reconfigured(new));
        let said = engine.refuse_to_stop().unwrap();
        assert!(said.contains("2 of 5 votes, 3 needed"), "{said}");
    }

    #[test]
    fn a_configuration_that_gives_safety_up_is_refused() {
        use QuorumPolicy::{Off, Stop};
        let three = ["alice", "bob", "carol"];
        let five = ["alice", "bob", "carol", "dave", "erin"];
        let pair = ["alice", "bob"];
        for (old, others, new, reasons) in [
            (
                cluster(&three, 0, Stop),
                &["bob", "carol"][..],
                cluster(&three, 0, Stop),
                &[][..],
            ),
            (
                cluster(&three, 0, Stop),
                &["bob", "carol"],
                cluster(&three, 0, Off),
                &["quorum becomes off"],
            ),
            (
                cluster(&pair, 1, Stop),
                &["bob"],
                cluster(&pair, 0, Off),
                &["quorum becomes off"],
            ),
            (
                cluster(&pair, 1, Stop),
                &["bob"],
                cluster(&pair, 0, Stop),
                &["the last ping node"],
            ),
            (
                cluster(&pair, 0, Off),
                &["bob"],
                cluster(&pair, 1, Stop),
                &[],
            ),
            (
                cluster(&three, 0, Stop),
                &["bob", "carol"],
                cluster(&pair, 1, Stop),
                &["carol is heard"],
            ),
            (
                cluster(&three, 0, Stop),
                &["bob"],
                cluster(&pair, 1, Stop),
                &[],
            ),
            (
                cluster(&three, 0, Stop),
                &["bob", "carol"],
                cluster(&five, 0, Stop),
                &[],
            ),
            (
                cluster(&three, 0, Stop),
                &["bob"],
                cluster(&five, 0, Stop),
                &["this side would lose quorum: 2 of 5 votes, 3 needed"],
            ),
            (
                cluster(&pair, 1, Stop),
                &[],
                cluster(&three, 0, Stop),
                &["this side would lose quorum"],
            ),
        ] {
            let said = hearing(old.clone(), others).judge_configuration(&new);
            let told = format!("{:?} to {:?}: {said:?}", old.nodes, new.nodes);
            assert_eq!(said.len(), reasons.len(), "{told}");
            for (said, reason) in said.iter().zip(reasons) {
                assert!(said.starts_with(reason), "{told}");
            }
        }
    }
}
