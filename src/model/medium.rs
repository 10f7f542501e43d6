//! The media of ha.cf, which carry heartbeats.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::LinkName;

/// One medium. Several media of the same kind on one interface make one link: `ucast eth0 A` and `ucast eth0 B` are both link
/// `eth0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medium {
    /// The link it belongs to.
    pub link: LinkName,
    /// The interface.
    pub interface: String,
    /// UDP port: `udpport`, or the directive's own for multicast.
    pub port: u16,
    /// Where heartbeats are sent.
    pub target: Target,
}

/// Where heartbeats are sent on a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To one peer (`ucast`, `ucast6`). The address of this node is harmless.
    Unicast(IpAddr),
    /// To the interface's broadcast address (`bcast`).
    Broadcast,
    /// To a group (`mcast`).
    Multicast4 {
        /// An address of class D.
        group: Ipv4Addr,
        /// Hops, 0 to 255.
        ttl: u8,
        /// Whether this node hears itself.
        loopback: bool,
    },
    /// To a group (`mcast6`).
    Multicast6 {
        /// An address in `ff00::/8`.
        group: Ipv6Addr,
        /// Hops, 0 to 255.
        hops: u8,
        /// Whether this node hears itself.
        loopback: bool,
    },
}
