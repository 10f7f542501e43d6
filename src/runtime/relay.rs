//! Rule 27: sends heartbeats to peers through the ping nodes, and receives those of peers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use tokio::task::JoinHandle;

use super::engine_handle::OutputSender;
use super::receive::Authenticator;
use super::socket_opener::{OpenedSocket, SocketOpener};
use crate::model::cluster::Cluster;
use crate::model::decision::Level;
use crate::model::medium::{Medium, Target};
use crate::model::{LinkName, Time};
use crate::sys::clock;
use crate::sys::relay::{RelayReceiver, RelaySender};
use crate::sys::udp::Arrival;

/// The addresses of this machine are read again after this time.
const NETWORKS_MAX_AGE: Duration = Duration::from_secs(2);
/// Pause after an error of a socket.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

/// The paths to peers through the ping nodes.
pub(super) struct HeartbeatRelay {
    sender: RelaySender,
    ping_addresses: Vec<IpAddr>,
    /// The unicast addresses of ha.cf, where there is one peer: they are its own and ours.
    configured: Vec<IpAddr>,
    /// The addresses of this machine.
    networks: Vec<(IpAddr, u32)>,
    /// When they were read; none while they are being read.
    networks_read_at: Option<Time>,
    sequence: u16,
    /// What keeps heartbeats from being sent through a ping node, so that each error is logged once.
    errors: BTreeMap<IpAddr, String>,
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
        Ok(Some(HeartbeatRelay {
            sender: RelaySender::open(v4, v6, id).map_err(failed)?,
            ping_addresses: links.into_keys().collect(),
            configured: configured_addresses(cluster, media),
            networks: own_networks(),
            networks_read_at: Some(clock::now()),
            sequence: 0,
            errors: BTreeMap::new(),
            receiving,
        }))
    }

    /// The addresses of this machine were read again.
    pub fn use_networks(&mut self, networks: Vec<(IpAddr, u32)>) {
        self.networks = networks;
        self.networks_read_at = Some(clock::now());
    }

    /// Sends a heartbeat to these peers through every ping node; each with the addresses that it was heard from, the newest last.
    /// Never waits: old addresses of this machine are read again by another thread, and used until then. Errors are logged.
    pub fn send(
        &mut self,
        to: &[&[IpAddr]],
        bytes: &[u8],
        opener: &SocketOpener,
        out: &OutputSender,
    ) {
        let old = |at: Time| clock::now().since(at) >= NETWORKS_MAX_AGE;
        if self.networks_read_at.is_some_and(old) {
            self.networks_read_at = None;
            opener.open(|| OpenedSocket::Networks(own_networks()));
        }
        for relay in &self.ping_addresses {
            for heard_from in to {
                let known = (&*self.configured, *heard_from);
                let Some(address) = choose_address(known, &self.networks, *relay) else {
                    continue;
                };
                self.sequence = self.sequence.wrapping_add(1);
                let sent = self.sender.send(*relay, address, self.sequence, bytes);
                if let Some((level, text)) = note_outcome(&mut self.errors, *relay, sent) {
                    out.log(level, text);
                }
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

/// A line for the log when sending through a ping node begins to fail, fails otherwise, or works again.
fn note_outcome(
    errors: &mut BTreeMap<IpAddr, String>,
    relay: IpAddr,
    sent: std::io::Result<()>,
) -> Option<(Level, String)> {
    let Err(error) = sent else {
        errors.remove(&relay)?;
        let text = format!("relaying heartbeats through {relay} works again");
        return Some((Level::Info, text));
    };
    let too_long = error.raw_os_error() == Some(libc::EMSGSIZE);
    let remedy = if too_long {
        "a heartbeat does not fit into one packet; use fewer groups, or a larger MTU"
    } else {
        "check the route to it"
    };
    let text = format!("cannot relay heartbeats through {relay}: {error}; {remedy}");
    let before = errors.insert(relay, text.clone());
    (before.as_ref() != Some(&text)).then_some((Level::Warning, text))
}

/// The unicast addresses of ha.cf; none where there is more than one peer that they may belong to.
fn configured_addresses(cluster: &Cluster, media: &[Medium]) -> Vec<IpAddr> {
    let targets = media.iter().filter_map(|m| match m.target {
        Target::Unicast(address) => Some(address),
        _ => None,
    });
    let is_pair = cluster.nodes.len() == 2;
    targets.filter(|_| is_pair).collect()
}

/// The address of a peer in the network of a ping node, from those that are configured and those that it was heard from. One
/// that is both is best. One that is only heard from comes last: anybody can send a copy of a heartbeat from elsewhere.
fn choose_address(
    (configured, heard_from): (&[IpAddr], &[IpAddr]),
    networks: &[(IpAddr, u32)],
    relay: IpAddr,
) -> Option<IpAddr> {
    let is_usable = |a: &&IpAddr| {
        share_network(networks, **a, relay) && networks.iter().all(|(own, _)| own != *a)
    };
    let mut both = heard_from.iter().rev().filter(|a| configured.contains(a));
    let configured = || configured.iter().find(is_usable);
    let heard_from = || heard_from.iter().rev().find(is_usable);
    let best = both.find(is_usable);
    best.or_else(configured).or_else(heard_from).copied()
}

/// Passes on what comes through a ping node, and nothing else. As on every link, a forged datagram costs one digest. There is
/// no limit per second: a flood would use it up, and the heartbeats of the peer would be lost.
async fn receive_relayed(
    receiver: RelayReceiver,
    links: BTreeMap<IpAddr, LinkName>,
    authenticator: Arc<Authenticator>,
) {
    loop {
        let Ok((from, bytes)) = receiver.next().await else {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            continue;
        };
        if let Some(link) = links.get(&from) {
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
    fn an_error_of_sending_is_logged_once_and_its_end_too() {
        let relay: IpAddr = "10.0.0.254".parse().unwrap();
        let mut errors = BTreeMap::new();
        let failed = |code| Err(std::io::Error::from_raw_os_error(code));
        for (sent, logged) in [
            (Ok(()), None),
            (failed(libc::EMSGSIZE), Some("fewer groups")),
            (failed(libc::EMSGSIZE), None),
            (failed(libc::ENETUNREACH), Some("check the route")),
            (Ok(()), Some("works again")),
            (Ok(()), None),
        ] {
            let text = note_outcome(&mut errors, relay, sent).map(|(_, text)| text);
            assert_eq!(text.is_some(), logged.is_some(), "{text:?}");
            assert!(text.unwrap_or_default().contains(logged.unwrap_or("")));
        }
    }

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
    fn an_address_of_ha_cf_from_which_the_peer_was_heard_is_best() {
        let ip = |last: &u8| IpAddr::from([10, 0, 0, *last]);
        let networks = [(ip(&1), 24), (ip(&100), 24)];
        for (configured, heard_from, chosen) in [
            (&[1, 2][..], &[][..], Some(2)),
            (&[1, 2, 3], &[3], Some(3)),
            (&[1, 2, 3], &[2, 3, 9], Some(3)),
            (&[1, 2], &[9], Some(2)),
            (&[], &[8, 9], Some(9)),
            (&[], &[8, 100], Some(8)),
            (&[1], &[1], None),
        ] {
            let [configured, heard_from]: [Vec<IpAddr>; 2] =
                [configured, heard_from].map(|all| all.iter().map(ip).collect());
            let found = choose_address((&configured, &heard_from), &networks, ip(&254));
            assert_eq!(
                found,
                chosen.as_ref().map(ip),
                "{configured:?} {heard_from:?}"
            );
        }
    }

    #[test]
    fn clusters_have_different_ids() {
        assert_ne!(relay_id("linux-ha"), relay_id("shop"));
    }
}
