//! Rule 15: who has how many votes. That follows from the configuration alone; nothing that happens changes it.
//!
//! * Every configured node and witness is a voter and has a vote, also one that has left. With an even number of voters,
//!   four or more, the node that ha.cf names first has two votes, so that no split is even.
//! * The ping nodes together are one arbiter, with one vote, and only where exactly two voters are configured. A node has
//!   this vote while it reaches more than half of the ping nodes.
//!
//! Among three or more voters, ping nodes must not vote: both sides of a cut may reach them, and then both would count the
//! same vote.

use super::cluster::Cluster;

/// The votes of a cluster of this shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteShares {
    voters: usize,
    pings: usize,
    /// The place of the voter that has two votes where their number is even.
    tie_breaker: usize,
}

impl Cluster {
    /// Who has how many votes.
    pub fn vote_shares(&self) -> VoteShares {
        let is_node = |name| !self.is_witness(name);
        VoteShares::new(self.nodes.len(), self.pings.len())
            .with_first_node(self.nodes.iter().position(is_node).unwrap_or(0))
    }
}

impl VoteShares {
    /// The votes of a cluster with so many nodes and witnesses, and so many ping nodes and ping groups.
    pub fn new(voters: usize, pings: usize) -> Self {
        VoteShares {
            voters,
            pings,
            tie_breaker: 0,
        }
    }

    /// The same where this is the place of the first voter that is no witness.
    #[must_use]
    pub fn with_first_node(self, rank: usize) -> Self {
        VoteShares {
            tie_breaker: rank,
            ..self
        }
    }

    /// The votes of the voter with this place in ha.cf, counted from 0.
    pub fn of_node(self, rank: usize) -> u32 {
        if rank == self.tie_breaker && self.has_tie_breaker() {
            2
        } else {
            1
        }
    }

    /// Whether the first voter that is no witness has two votes.
    fn has_tie_breaker(self) -> bool {
        self.voters >= 4 && self.voters.is_multiple_of(2)
    }

    /// Whether the ping nodes have a vote.
    pub fn has_arbiter(self) -> bool {
        self.voters == 2 && self.pings > 0
    }

    /// How many ping nodes a node must reach to have the arbiter's vote: more than half.
    pub fn pings_needed(self) -> usize {
        self.pings / 2 + 1
    }

    /// The arbiter's vote, for a node that reaches so many ping nodes.
    pub fn of_arbiter(self, answering: usize) -> u32 {
        u32::from(self.has_arbiter() && answering >= self.pings_needed())
    }

    /// All votes there are.
    pub fn total(self) -> u32 {
        let voters = u32::try_from(self.voters).unwrap_or(u32::MAX);
        voters
            .saturating_add(u32::from(self.has_tie_breaker()))
            .saturating_add(u32::from(self.has_arbiter()))
    }

    /// How many votes make quorum: more than half.
    pub fn needed(self) -> u32 {
        self.total() / 2 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeName;
    use crate::model::cluster::{PingNode, Timing};
    use std::time::Duration;

    /// The votes of a side: of its voters, and of the arbiter as one of them reaches it.
    fn votes_of(shares: VoteShares, side: u32, voters: usize, answering: usize) -> u32 {
        let in_side = (0..voters).filter(|rank| side >> rank & 1 == 1);
        in_side.map(|rank| shares.of_node(rank)).sum::<u32>() + shares.of_arbiter(answering)
    }

    /// All ways to split `voters` into two sides that do not hear each other and the rest, which is gone or split itself.
    fn splits(voters: usize) -> impl Iterator<Item = (u32, u32)> {
        let all = 1_u32 << voters;
        (1..all).flat_map(move |one| {
            (1..all)
                .filter(move |other| one & other == 0)
                .map(move |other| (one, other))
        })
    }

    /// Two sides of a cut never both have quorum, whatever each of their voters reaches and whichever are witnesses. The one
    /// exception is a pair that reaches the arbiter from both sides.
    #[test]
    fn two_sides_never_both_have_quorum_but_a_pair_that_reaches_its_arbiter() {
        let mut ambiguous = Vec::new();
        let mut looked_at = 0;
        for voters in 2..=7 {
            for (pings, first_node) in (0..=3).flat_map(|p| (0..voters).map(move |n| (p, n))) {
                let shares = VoteShares::new(voters, pings).with_first_node(first_node);
                for (one, other) in splits(voters) {
                    for reached in 0..=pings {
                        for reached_there in 0..=pings {
                            looked_at += 1;
                            let here = votes_of(shares, one, voters, reached);
                            let there = votes_of(shares, other, voters, reached_there);
                            if here >= shares.needed() && there >= shares.needed() {
                                ambiguous.push((voters, pings, reached, reached_there));
                            }
                        }
                    }
                }
            }
        }
        assert!(looked_at > 300_000, "{looked_at} cases");
        assert!(!ambiguous.is_empty());
        for (voters, pings, here, there) in ambiguous {
            let both_reach_it = here > pings / 2 && there > pings / 2;
            assert!(
                voters == 2 && pings > 0 && both_reach_it,
                "{voters} {pings}"
            );
        }
    }

    /// The first node has the second vote of an even number, not a witness before it; and two nodes with a witness are
    /// three voters, whatever they ping.
    #[test]
    fn a_witness_has_one_vote_and_takes_that_of_the_arbiter_away() {
        let names = ["w", "alice", "bob", "x"].map(NodeName::new);
        let timing = Timing::usual(Duration::from_secs(1), Duration::from_secs(10));
        let mut cluster = Cluster::new(&names, timing);
        cluster.witnesses = vec![NodeName::new("w"), NodeName::new("x")];
        let shares = cluster.vote_shares();
        assert_eq!([0, 1, 2, 3].map(|rank| shares.of_node(rank)), [1, 2, 1, 1]);
        assert_eq!((shares.total(), shares.needed()), (5, 3));
        cluster.nodes.pop();
        let addresses = Vec::new();
        let name = "gateway".to_owned();
        cluster.pings.push(PingNode { name, addresses });
        let shares = cluster.vote_shares();
        assert!(!shares.has_arbiter());
        assert_eq!((shares.total(), shares.needed()), (3, 2));
    }

    /// What is left of a cluster can go on.
    #[test]
    fn a_majority_that_is_left_has_quorum() {
        // Nodes, ping nodes, the nodes that are left, the ping nodes they reach, whether that is quorum.
        for (nodes, pings, left, reached, quorum) in [
            (1, 0, 0b1, 0, true),
            (2, 0, 0b01, 0, false),
            (2, 0, 0b11, 0, true),
            (2, 1, 0b01, 1, true),
            (2, 1, 0b11, 0, true),
            (2, 1, 0b01, 0, false),
            (2, 2, 0b01, 1, false),
            (2, 3, 0b01, 2, true),
            (3, 2, 0b001, 2, false),
            (3, 2, 0b011, 0, true),
            (4, 1, 0b0011, 1, true),
            (4, 1, 0b1100, 1, false),
            (4, 1, 0b1110, 0, true),
            (5, 0, 0b111, 0, true),
            (5, 3, 0b11, 3, false),
            (6, 0, 0b111, 0, true),
            (6, 0, 0b11_1000, 0, false),
        ] {
            let shares = VoteShares::new(nodes, pings);
            let votes = votes_of(shares, left, nodes, reached);
            let told = format!("{nodes} nodes, {pings} ping nodes, {left:b} left");
            assert_eq!(votes >= shares.needed(), quorum, "{told}");
        }
    }
}
