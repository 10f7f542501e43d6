//! A list of voters: all that decides who has how many votes.

use serde::{Deserialize, Serialize};

use super::NodeName;
use super::cluster::{Cluster, QuorumPolicy};
use super::votes::VoteShares;

/// The voters of a configuration. Two configurations with the same list count votes alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VoterList {
    /// Nodes and witnesses in the order of ha.cf.
    pub nodes: Vec<NodeName>,
    /// Those of `nodes` that run no groups.
    pub witnesses: Vec<NodeName>,
    /// Each ping node or ping group, with its addresses.
    pub pings: Vec<String>,
    /// What a side without quorum does.
    pub quorum: QuorumPolicy,
}

impl VoterList {
    /// The list of a configuration.
    pub fn of(cluster: &Cluster) -> Self {
        let ping = |p: &super::cluster::PingNode| {
            let addresses = p.addresses.iter().map(ToString::to_string);
            let words: Vec<String> = std::iter::once(p.name.clone()).chain(addresses).collect();
            words.join(" ")
        };
        VoterList {
            nodes: cluster.nodes.clone(),
            witnesses: cluster.witnesses.clone(),
            pings: cluster.pings.iter().map(ping).collect(),
            quorum: cluster.quorum,
        }
    }

    /// Who has how many votes.
    pub fn shares(&self) -> VoteShares {
        let is_node = |name| !self.witnesses.contains(name);
        VoteShares::new(self.nodes.len(), self.pings.len())
            .with_first_node(self.nodes.iter().position(is_node).unwrap_or(0))
    }

    /// The votes of a voter; none if it is not in the list.
    pub fn votes_of(&self, name: &NodeName) -> u32 {
        let rank = self.nodes.iter().position(|n| n == name);
        rank.map_or(0, |rank| self.shares().of_node(rank))
    }

    /// Whether votes decide what may be started.
    pub fn counts_votes(&self) -> bool {
        matches!(self.quorum, QuorumPolicy::Stop | QuorumPolicy::Freeze)
    }

    /// Equal for equal lists, on every node and in every version. (FNV-1a over the words.)
    pub fn digest(&self) -> u64 {
        let names = |names: &[NodeName]| -> String {
            let words: Vec<&str> = names.iter().map(NodeName::as_str).collect();
            words.join("\n")
        };
        let text = [
            names(&self.nodes),
            names(&self.witnesses),
            self.pings.join("\n"),
            self.quorum.as_str().to_owned(),
        ];
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        text.join("\n\n").bytes().fold(0xcbf2_9ce4_8422_2325, mix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::{PingNode, Timing};
    use std::time::Duration;

    #[test]
    fn the_digest_tells_lists_apart_and_nothing_else() {
        let names = ["alice", "bob", "w"].map(NodeName::new);
        let second = Duration::from_secs(1);
        let cluster = Cluster::new(&names, Timing::usual(second, second * 10));
        let changes: [fn(&mut Cluster); 5] = [
            |c| c.nodes.swap(0, 1),
            |c| c.nodes.truncate(2),
            |c| c.witnesses.push(NodeName::new("w")),
            |c| c.quorum = QuorumPolicy::Stop,
            |c| {
                c.pings.push(PingNode {
                    name: "gateway".to_owned(),
                    addresses: Vec::new(),
                });
            },
        ];
        let mut digests = vec![VoterList::of(&cluster).digest()];
        for change in changes {
            let mut changed = cluster.clone();
            change(&mut changed);
            digests.push(VoterList::of(&changed).digest());
        }
        let different: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(different.len(), digests.len());
        let mut same = cluster.clone();
        same.timing.deadtime *= 2;
        same.me = NodeName::new("bob");
        assert_eq!(VoterList::of(&same).digest(), digests[0]);
    }

    #[test]
    fn a_name_that_is_not_in_the_list_has_no_vote() {
        let names = ["alice", "bob", "carol", "dave"].map(NodeName::new);
        let second = Duration::from_secs(1);
        let list = VoterList::of(&Cluster::new(&names, Timing::usual(second, second * 10)));
        let votes = ["alice", "dave", "erin"].map(|n| list.votes_of(&NodeName::new(n)));
        assert_eq!(votes, [2, 1, 0]);
    }
}
