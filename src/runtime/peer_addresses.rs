//! The addresses from which the heartbeats of each peer come, so that each is told to the engine once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::engine::Event;
use crate::model::NodeName;
use crate::model::cluster::Cluster;

/// So many are remembered of a peer, the newest last.
const MAX_ADDRESSES: usize = 8;

/// What the engine knows.
#[derive(Debug, Default)]
pub(super) struct PeerAddresses(BTreeMap<NodeName, Vec<IpAddr>>);

impl PeerAddresses {
    /// What to tell the engine, if this address is new for a peer of this cluster.
    pub fn learn(&mut self, cluster: &Cluster, peer: &NodeName, address: IpAddr) -> Option<Event> {
        if !cluster.nodes.contains(peer) {
            return None;
        }
        if !self.0.contains_key(peer) {
            self.0.insert(peer.clone(), Vec::new());
        }
        let known = self.0.get_mut(peer).filter(|k| !k.contains(&address))?;
        known.push(address);
        let many = known.len().saturating_sub(MAX_ADDRESSES);
        known.drain(..many);
        let peer = peer.clone();
        Some(Event::PeerAddress { peer, address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::Timing;

    #[test]
    fn each_address_is_new_once_and_few_are_remembered() {
        let mut known = PeerAddresses::default();
        let (alice, bob) = (NodeName::new("alice"), NodeName::new("bob"));
        let second = std::time::Duration::from_secs(1);
        let nodes = [alice.clone(), bob.clone()];
        let cluster = Cluster::new(&nodes, Timing::usual(second, second * 10));
        let mut learn = |peer: &NodeName, last| {
            let address = IpAddr::from([10, 0, 0, last]);
            known.learn(&cluster, peer, address).is_some()
        };
        assert!(learn(&alice, 1));
        assert!(!learn(&alice, 1));
        assert!(learn(&bob, 1));
        assert!(!learn(&NodeName::new("stranger"), 1));
        for last in 2..=9 {
            assert!(learn(&alice, last));
        }
        assert!(learn(&alice, 1), "the oldest is forgotten");
        assert_eq!(known.0[&alice].len(), MAX_ADDRESSES);
    }
}
