//! Rule 15: who has how many votes. That follows from the configuration alone; nothing that happens changes it.
//!
//! * Every configured node has a vote, also one that has left. With an even number of four or more, the node that ha.cf
//!   names first has two, so that no split is even.
//! * The ping nodes together are one arbiter, with one vote, and only where exactly two nodes are configured. A node has
//!   this vote while it reaches more than half of the ping nodes.
//!
//! Among three or more voters, ping nodes must not vote: both sides of a cut may reach them, and then both would count the
//! same vote.

use super::cluster::Cluster;

/// The votes of a cluster of this shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteShares {
    nodes: usize,
    pings: usize,
}

impl Cluster {
    /// Who has how many votes.
    pub fn vote_shares(&self) -> VoteShares {
        VoteShares::new(self.nodes.len(), self.pings.len())
    }
}

impl VoteShares {
    /// The votes of a cluster with so many nodes, and so many ping nodes and ping groups.
    pub fn new(nodes: usize, pings: usize) -> Self {
        VoteShares { nodes, pings }
    }

    /// The votes of the node with this place in the `node` lines of ha.cf, counted from 0.
    pub fn of_node(self, rank: usize) -> u32 {
        if rank == 0 && self.has_tie_breaker() {
            2
        } else {
            1
        }
    }

    /// Whether the first node has two votes.
    fn has_tie_breaker(self) -> bool {
        self.nodes >= 4 && self.nodes.is_multiple_of(2)
    }

    /// Whether the ping nodes have a vote.
    pub fn has_arbiter(self) -> bool {
        self.nodes == 2 && self.pings > 0
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
        let nodes = u32::try_from(self.nodes).unwrap_or(u32::MAX);
        nodes
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

    /// The votes of a side: of its nodes, and of the arbiter as one of them reaches it.
    fn votes_of(shares: VoteShares, side: u32, nodes: usize, answering: usize) -> u32 {
        let in_side = (0..nodes).filter(|rank| side >> rank & 1 == 1);
        in_side.map(|rank| shares.of_node(rank)).sum::<u32>() + shares.of_arbiter(answering)
    }

    /// All ways to split `nodes` into two sides that do not hear each other and the rest, which is gone or split itself.
    fn splits(nodes: usize) -> impl Iterator<Item = (u32, u32)> {
        let all = 1_u32 << nodes;
        (1..all).flat_map(move |one| {
            (1..all)
                .filter(move |other| one & other == 0)
                .map(move |other| (one, other))
        })
    }

    /// Two sides of a cut never both have quorum, whatever each of their nodes reaches. The one exception is a pair whose
    /// nodes both reach the arbiter.
    #[test]
    fn two_sides_never_both_have_quorum_but_a_pair_that_reaches_its_arbiter() {
        let mut ambiguous = Vec::new();
        let mut looked_at = 0;
        for nodes in 2..=7 {
            for pings in 0..=3 {
                let shares = VoteShares::new(nodes, pings);
                for (one, other) in splits(nodes) {
                    for reached in 0..=pings {
                        for reached_there in 0..=pings {
                            looked_at += 1;
                            let here = votes_of(shares, one, nodes, reached);
                            let there = votes_of(shares, other, nodes, reached_there);
                            if here >= shares.needed() && there >= shares.needed() {
                                ambiguous.push((nodes, pings, reached, reached_there));
                            }
                        }
                    }
                }
            }
        }
        assert!(looked_at > 50_000, "{looked_at} cases");
        assert!(!ambiguous.is_empty());
        for (nodes, pings, here, there) in ambiguous {
            let both_reach_it = here > pings / 2 && there > pings / 2;
            assert!(nodes == 2 && pings > 0 && both_reach_it, "{nodes} {pings}");
        }
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
