//! The addresses from which the heartbeats of each peer come, so that each is told to the engine once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::NodeName;

/// So many are remembered of a peer, the newest last.
const MAX_ADDRESSES: usize = 8;

/// What the engine knows.
#[derive(Debug, Default)]
pub(super) struct PeerAddresses(BTreeMap<NodeName, Vec<IpAddr>>);

impl PeerAddresses {
    /// Whether this address is new for the peer.
    pub fn learn(&mut self, peer: &NodeName, address: IpAddr) -> bool {
        if let Some(known) = self.0.get_mut(peer) {
            let new = !known.contains(&address);
            if new {
                known.push(address);
                let many = known.len().saturating_sub(MAX_ADDRESSES);
                known.drain(..many);
            }
            return new;
        }
        self.0.insert(peer.clone(), vec![address]);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_new_once_and_few_are_remembered() {
        let mut known = PeerAddresses::default();
        let (alice, bob) = (NodeName::new("alice"), NodeName::new("bob"));
        let address = |last| IpAddr::from([10, 0, 0, last]);
        assert!(known.learn(&alice, address(1)));
        assert!(!known.learn(&alice, address(1)));
        assert!(known.learn(&bob, address(1)));
        for last in 2..=9 {
            assert!(known.learn(&alice, address(last)));
        }
        assert!(known.learn(&alice, address(1)), "the oldest is forgotten");
        assert_eq!(known.0[&alice].len(), MAX_ADDRESSES);
    }
}
