//! Decides from the source and the TTL of a datagram whether it is worth a digest. A flood from a stranger then costs nothing.
//!
//! A source is expected when a `ucast` line names it, or when a peer's heartbeats have come from it. Heartbeats are sent with
//! the greatest TTL, 255, which nobody can send from behind a router: once a peer's heartbeats have arrived with some TTL, a
//! lower one is unexpected. An older version sends 64, and over routers less arrives; both are learnt in the same way.
//!
//! Nothing unexpected is dropped at once, because a node may send from an address that ha.cf does not name, and routes change:
//! some are still read each second, and the first that is authentic makes its source an expected one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::medium::{Medium, Target};
use crate::model::{LinkName, NodeName, Time};

/// Unexpected datagrams that are read in each second.
pub const UNEXPECTED_PER_SECOND: u32 = 20;

/// Why a datagram is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unexpected {
    /// It comes from no address of a peer.
    Source,
    /// It comes from farther away than the peer with that address.
    Ttl,
}

/// What is expected.
#[derive(Debug)]
pub struct SourceFilter {
    /// The addresses of `ucast` lines.
    listed: BTreeSet<IpAddr>,
    learnt: Mutex<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    /// Where the heartbeats of each peer come from on each link, and with which TTL.
    sources: BTreeMap<(NodeName, LinkName), (IpAddr, u8)>,
    /// The second that is counted now.
    second_began: Time,
    /// Unexpected datagrams that were read in it.
    read: u32,
}

impl SourceFilter {
    /// With the sources that these media name.
    pub fn new(media: &[Medium]) -> SourceFilter {
        let listed = media.iter().filter_map(|m| match m.target {
            Target::Unicast(peer) => Some(peer),
            Target::Broadcast | Target::Multicast4 { .. } | Target::Multicast6 { .. } => None,
        });
        SourceFilter {
            listed: listed.collect(),
            learnt: Mutex::default(),
        }
    }

    /// Whether to read a datagram that was sent to this node alone.
    pub fn admit(&self, now: Time, from: IpAddr, ttl: u8) -> Result<(), Unexpected> {
        let mut learnt = self.learnt();
        let of_source = learnt.sources.values().filter(|(ip, _)| *ip == from);
        let why = match of_source.map(|(_, ttl)| *ttl).min() {
            Some(usual) if ttl >= usual => return Ok(()),
            Some(_) => Unexpected::Ttl,
            None if self.listed.contains(&from) => return Ok(()),
            None => Unexpected::Source,
        };
        if now.since(learnt.second_began) >= Duration::from_secs(1) {
            (learnt.second_began, learnt.read) = (now, 0);
        }
        if learnt.read >= UNEXPECTED_PER_SECOND {
            return Err(why);
        }
        learnt.read += 1;
        Ok(())
    }

    /// An authentic, new heartbeat of that peer has come from there.
    pub fn learn(&self, peer: &NodeName, link: &LinkName, from: IpAddr, ttl: u8) {
        let key = (peer.clone(), link.clone());
        self.learnt().sources.insert(key, (from, ttl));
    }

    /// Forgets what was learnt, because the members have changed.
    pub fn forget(&self) {
        self.learnt().sources.clear();
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: [u8; 4] = [10, 0, 0, 2];
    const STRANGER: [u8; 4] = [10, 0, 0, 9];

    fn filter() -> SourceFilter {
        SourceFilter::new(&[Medium {
            link: LinkName::new("eth0"),
            interface: "eth0".to_owned(),
            port: 694,
            target: Target::Unicast(LISTED.into()),
        }])
    }

    /// How many of a thousand at that moment are read.
    fn read(filter: &SourceFilter, now: Time, from: [u8; 4], ttl: u8) -> usize {
        let all = (0..1000).filter(|_| filter.admit(now, from.into(), ttl).is_ok());
        all.count()
    }

    fn learn(filter: &SourceFilter, from: [u8; 4], ttl: u8) {
        let (bob, eth0) = (NodeName::new("bob"), LinkName::new("eth0"));
        filter.learn(&bob, &eth0, from.into(), ttl);
    }

    #[test]
    fn a_flood_from_a_stranger_is_not_read() {
        let filter = filter();
        let second = |n| Time::ZERO + Duration::from_secs(n);
        assert_eq!(read(&filter, second(5), LISTED, 64), 1000);
        assert_eq!(read(&filter, second(5), STRANGER, 255), 20);
        assert_eq!(
            filter.admit(second(5), STRANGER.into(), 255),
            Err(Unexpected::Source)
        );
        assert_eq!(read(&filter, second(5), LISTED, 64), 1000);
        assert_eq!(read(&filter, second(6), STRANGER, 255), 20);
    }

    /// A node may send from an address that ha.cf does not name.
    #[test]
    fn a_peer_makes_its_source_expected() {
        let filter = filter();
        learn(&filter, STRANGER, 64);
        assert_eq!(read(&filter, Time::ZERO, STRANGER, 64), 1000);
        // Its new address takes the place of the old one.
        learn(&filter, LISTED, 64);
        assert_eq!(read(&filter, Time::ZERO, STRANGER, 64), 20);
        filter.forget();
        assert_eq!(read(&filter, Time::ZERO, LISTED, 1), 1000);
    }

    #[test]
    fn what_comes_from_farther_away_than_the_peer_is_not_read() {
        let filter = filter();
        learn(&filter, LISTED, 255);
        assert_eq!(read(&filter, Time::ZERO, LISTED, 255), 1000);
        assert_eq!(read(&filter, Time::ZERO, LISTED, 254), 20);
        assert_eq!(
            filter.admit(Time::ZERO, LISTED.into(), 64),
            Err(Unexpected::Ttl)
        );
        // The peer was replaced by an older version, which sends 64.
        learn(&filter, LISTED, 64);
        assert_eq!(read(&filter, Time::ZERO, LISTED, 64), 1000);
    }
}
