//! Rule 27: sends heartbeats to peers through the ping nodes, and receives those of peers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use tokio::task::JoinHandle;

use super::receive::Authenticator;
use super::socket_opener::{OpenedSocket, SocketOpener};
use crate::model::cluster::Cluster;
use crate::model::medium::{Medium, Target};
use crate::model::{LinkName, NodeName, Time};
use crate::sys::clock;
use crate::sys::relay::{RelayReceiver, RelaySender};
use crate::sys::udp::Arrival;

/// More datagrams in a second are dropped unread: both nodes together send fewer than half of that.
const MAX_RECEIVED_PER_SECOND: u32 = 100;
/// The addresses of this machine are read again after this time.
const NETWORKS_MAX_AGE: Duration = Duration::from_secs(2);
/// Pause after an error of a socket.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

/// The paths to peers through the ping nodes.
pub(super) struct HeartbeatRelay {
    sender: RelaySender,
    ping_addresses: Vec<IpAddr>,
    /// The addresses of each peer, as ha.cf or its heartbeats told them.
    peer_addresses: BTreeMap<NodeName, Vec<IpAddr>>,
    /// The addresses of this machine.
    networks: Vec<(IpAddr, u32)>,
    /// When they were read; none while they are being read.
    networks_read_at: Option<Time>,
    sequence: u16,
    receiving: Vec<JoinHandle<()>>,
}

impl HeartbeatRelay {
    /// Opens the sockets; none where heartbeats are not relayed.
    ///
    /// # Errors
    /// A sentence that says which right is missing.
    pub fn open(
        cluster: &Cluster,
        cluster_name: &str,
        media: &[Medium],
        authenticator: &Arc<Authenticator>,
    ) -> Result<Option<HeartbeatRelay>, String> {
        let links: BTreeMap<IpAddr, LinkName> = cluster
            .relay_links()
            .zip(&cluster.pings)
            .flat_map(|(link, ping)| ping.addresses.iter().map(move |a| (*a, link.clone())))
            .collect();
        if links.is_empty() {
            return Ok(None);
        }
        let id = relay_id(cluster_name);
        let failed = |e: std::io::Error| {
            format!(
                "cannot relay heartbeats through ping nodes: {e}; the daemon needs root or CAP_NET_RAW"
            )
        };
        let (v4, v6) = (
            links.keys().any(IpAddr::is_ipv4),
            links.keys().any(IpAddr::is_ipv6),
        );
        let mut receiving = Vec::new();
        for is_v6 in [(v4, false), (v6, true)]
            .into_iter()
            .filter_map(|(wanted, is)| wanted.then_some(is))
        {
            let receiver = RelayReceiver::open(is_v6, id).map_err(failed)?;
            let task = receive_relayed(receiver, links.clone(), Arc::clone(authenticator));
            receiving.push(tokio::spawn(task));
        }
        let mut relay = HeartbeatRelay {
            sender: RelaySender::open(v4, v6, id).map_err(failed)?,
            ping_addresses: links.into_keys().collect(),
            peer_addresses: BTreeMap::new(),
            networks: own_networks(),
            networks_read_at: Some(clock::now()),
            sequence: 0,
            receiving,
        };
        relay.learn_configured(cluster, media);
        Ok(Some(relay))
    }

    /// Of two nodes, every unicast address that is not ours is the peer's.
    fn learn_configured(&mut self, cluster: &Cluster, media: &[Medium]) {
        let mut others = cluster.nodes.iter().filter(|n| **n != cluster.me);
        let (Some(peer), None) = (others.next(), others.next()) else {
            return;
        };
        for medium in media {
            if let Target::Unicast(address) = medium.target
                && !self.networks.iter().any(|(own, _)| *own == address)
            {
                self.learn(peer, address);
            }
        }
    }

    /// The addresses of this machine were read again.
    pub fn use_networks(&mut self, networks: Vec<(IpAddr, u32)>) {
        self.networks = networks;
        self.networks_read_at = Some(clock::now());
    }

    /// A heartbeat of a peer came straight from this address.
    pub fn learn(&mut self, peer: &NodeName, address: IpAddr) {
        let known = self.peer_addresses.entry(peer.clone()).or_default();
        if !known.contains(&address) {
            known.push(address);
        }
    }

    /// Sends a heartbeat to these peers through every ping node. What cannot be sent does not arrive, and status shows that.
    /// Never waits: old addresses are read again by another thread, and used until then.
    pub fn send(&mut self, to: &[NodeName], bytes: &[u8], opener: &SocketOpener) {
        let old = |at: Time| clock::now().since(at) >= NETWORKS_MAX_AGE;
        if self.networks_read_at.is_some_and(old) {
            self.networks_read_at = None;
            opener.open(|| OpenedSocket::Networks(own_networks()));
        }
        for relay in &self.ping_addresses {
            for peer in to {
                let known = self.peer_addresses.get(peer).map_or(&[][..], Vec::as_slice);
                let Some(address) = known
                    .iter()
                    .find(|a| share_network(&self.networks, **a, *relay))
                else {
                    continue;
                };
                self.sequence = self.sequence.wrapping_add(1);
                drop(self.sender.send(*relay, *address, self.sequence, bytes));
            }
        }
    }
}

impl Drop for HeartbeatRelay {
    fn drop(&mut self) {
        for task in &self.receiving {
            task.abort();
        }
    }
}

/// Passes on what comes through a ping node, and nothing else.
async fn receive_relayed(
    receiver: RelayReceiver,
    links: BTreeMap<IpAddr, LinkName>,
    authenticator: Arc<Authenticator>,
) {
    let mut budget = Budget::default();
    loop {
        let Ok((from, bytes)) = receiver.next().await else {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            continue;
        };
        if let Some(link) = links.get(&from).filter(|_| budget.take(clock::now())) {
            let arrival = Arrival {
                length: bytes.len(),
                from: (from, 0).into(),
                link,
                // Its source is a ping node, which the filter of unicast sources does not know.
                to_all: true,
                ttl: 0,
            };
            authenticator.authenticate(&arrival, &bytes);
        }
        // A flood must not keep this node from sending.
        tokio::task::yield_now().await;
    }
}

/// How many datagrams are still read in this second.
#[derive(Default)]
struct Budget {
    second_began: Time,
    taken: u32,
}

impl Budget {
    fn take(&mut self, now: Time) -> bool {
        if now.since(self.second_began) >= Duration::from_secs(1) {
            *self = Budget {
                second_began: now,
                taken: 0,
            };
        }
        self.taken = self.taken.saturating_add(1);
        self.taken <= MAX_RECEIVED_PER_SECOND
    }
}

/// The identifier of relayed echo requests, so that clusters on one network are told apart. (FNV-1a, folded.)
fn relay_id(cluster_name: &str) -> u16 {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = cluster_name.bytes().fold(0x811C_9DC5, mix);
    let [a, b, c, d] = hash.to_be_bytes();
    u16::from_be_bytes([a ^ c, b ^ d])
}

/// The addresses of this machine, each with its prefix length.
fn own_networks() -> Vec<(IpAddr, u32)> {
    let Ok(all) = getifaddrs() else {
        return Vec::new();
    };
    let v4 = |ip: Ipv4Addr| ip.to_bits().leading_ones();
    let v6 = |ip: Ipv6Addr| ip.to_bits().leading_ones();
    all.filter_map(|a| {
        let (address, mask) = (a.address?, a.netmask?);
        if let (Some(ip), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
            return Some((ip.ip().into(), v4(mask.ip())));
        }
        let (ip, mask) = (address.as_sockaddr_in6()?, mask.as_sockaddr_in6()?);
        Some((ip.ip().into(), v6(mask.ip())))
    })
    .collect()
}

/// Whether two addresses are in one network of this machine.
fn share_network(networks: &[(IpAddr, u32)], one: IpAddr, other: IpAddr) -> bool {
    networks
        .iter()
        .any(|(own, prefix)| in_network(*own, *prefix, one) && in_network(*own, *prefix, other))
}

fn in_network(own: IpAddr, prefix: u32, address: IpAddr) -> bool {
    match (own, address) {
        (IpAddr::V4(own), IpAddr::V4(address)) => {
            let different = own.to_bits() ^ address.to_bits();
            different.leading_zeros() >= prefix
        }
        (IpAddr::V6(own), IpAddr::V6(address)) => {
            let different = own.to_bits() ^ address.to_bits();
            different.leading_zeros() >= prefix
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_peer_must_be_in_the_network_of_the_ping_node() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let networks = [
            (ip("192.168.1.11"), 24),
            (ip("10.0.0.1"), 30),
            (ip("fd00::1"), 64),
        ];
        for (peer, ping, shared) in [
            ("192.168.1.12", "192.168.1.1", true),
            ("10.0.0.2", "192.168.1.1", false),
            ("10.0.0.2", "10.0.0.1", true),
            ("10.0.0.2", "10.0.0.9", false),
            ("fd00::2", "fd00::fe", true),
            ("fd00::2", "fd01::fe", false),
            ("192.168.1.12", "fd00::fe", false),
            ("8.8.8.8", "8.8.4.4", false),
        ] {
            let found = share_network(&networks, ip(peer), ip(ping));
            assert_eq!(found, shared, "{peer} {ping}");
        }
    }

    #[test]
    fn a_flood_is_dropped_and_the_next_second_begins_anew() {
        let mut budget = Budget::default();
        let second = |n: u64| Time(n * 1_000_000_000);
        let taken = (0..1000).filter(|_| budget.take(second(5))).count();
        assert_eq!(taken, 100);
        assert!(budget.take(second(6)));
    }

    #[test]
    fn clusters_have_different_ids() {
        assert_ne!(relay_id("linux-ha"), relay_id("shop"));
    }
}
