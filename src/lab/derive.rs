//! From a configuration to the plan of a lab: which cards the nodes have, on which segments, with which addresses.
//!
//! ha.cf says little about a node's own addresses: a `ucast` line names a peer's, `bcast` and `mcast` name an interface only. So:
//!
//! * Interfaces are those of media and of `IPaddr`, one segment each.
//! * As many different `ucast` addresses as nodes: one each, in the order of the `node` lines. One less: the file is the
//!   first node's (or this machine's, when it is one of the nodes), and names its peers.
//! * An interface's subnets are those of its `ucast` addresses and its virtual addresses; a virtual address or ping node without a place goes
//!   to the first interface that has none, so that it is connected. An interface without any subnet gets one of 198.18.0.0/15, which
//!   is set aside for test networks.
//! * Every node gets a free address in every subnet. One that its peers have no `ucast` line for is added to their ha.cf.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::LabError;
use super::plan::{Iface, NodePlan, PingPlan, Plan};
use crate::model::NodeName;
use crate::model::medium::{Medium, Target};

/// A virtual address of haresources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Virtual {
    /// The address.
    pub address: IpAddr,
    /// Its prefix, where the line says it.
    pub prefix: Option<u8>,
    /// Its interface, where the line says it; a label (`eth0:1`) is taken off.
    pub interface: Option<String>,
}

/// What a plan is derived from.
#[derive(Clone, Debug)]
pub struct Derive<'a> {
    /// The lab's name.
    pub name: String,
    /// Members in the order of ha.cf.
    pub nodes: &'a [NodeName],
    /// This machine's own name.
    pub here: Option<NodeName>,
    /// All media of ha.cf.
    pub media: &'a [Medium],
    /// All ping nodes, members of ping groups included.
    pub pings: &'a [IpAddr],
    /// All virtual addresses of haresources.
    pub addresses: &'a [Virtual],
    /// The folder with the configuration.
    pub config_dir: PathBuf,
    /// The daemon to run.
    pub had: PathBuf,
    /// The tool to run as supervisor.
    pub hactl: PathBuf,
}

/// One interface, which every node has.
struct Card {
    name: String,
    subnets: Vec<Subnet>,
    /// Different `ucast` addresses, in order.
    peers: Vec<IpAddr>,
    /// Each node's address for heartbeats, where `ucast` says it.
    own: Vec<Option<IpAddr>>,
}

/// An address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subnet {
    network: IpAddr,
    prefix: u8,
}

/// Makes the plan.
pub fn plan(from: &Derive<'_>) -> Result<Plan, LabError> {
    if from.nodes.is_empty() {
        return Err(LabError::Plan(
            "ha.cf has no node line; a lab needs at least one node".to_owned(),
        ));
    }
    let mut cards = cards(from)?;
    place(from, &mut cards);
    let mut taken = taken(from, &cards);
    let nodes = members(from, &cards, &mut taken)?;
    let pings = pings(from, &cards);
    let client = client(&cards, &mut taken)?;
    let plan = Plan {
        name: from.name.clone(),
        nodes,
        pings,
        client,
        had: from.had.clone(),
        hactl: from.hactl.clone(),
        start: true,
    };
    plan.check()?;
    Ok(plan)
}

/// The interfaces that the configuration names, with their `ucast` addresses handed to the nodes.
fn cards(from: &Derive<'_>) -> Result<Vec<Card>, LabError> {
    let mut cards: Vec<Card> = Vec::new();
    for medium in from.media {
        let card = card_mut(&mut cards, &medium.interface);
        if let Target::Unicast(peer) = medium.target {
            if !card.peers.contains(&peer) {
                card.peers.push(peer);
            }
        }
    }
    for interface in from.addresses.iter().filter_map(|a| a.interface.as_deref()) {
        let interface = without_label(interface);
        if interface != "lo" {
            card_mut(&mut cards, interface);
        }
    }
    if cards.is_empty() {
        card_mut(&mut cards, "eth0");
    }
    for card in &mut cards {
        card.own = whose(from, card)?;
    }
    Ok(cards)
}

fn card_mut<'c>(cards: &'c mut Vec<Card>, name: &str) -> &'c mut Card {
    let place = cards
        .iter()
        .position(|c| c.name == name)
        .unwrap_or_else(|| {
            cards.push(Card {
                name: name.to_owned(),
                subnets: vec![],
                peers: vec![],
                own: vec![],
            });
            cards.len().saturating_sub(1)
        });
    // Cannot fail: the place was just found or made.
    #[allow(clippy::indexing_slicing)]
    &mut cards[place]
}

/// Which node has which `ucast` address.
fn whose(from: &Derive<'_>, card: &Card) -> Result<Vec<Option<IpAddr>>, LabError> {
    let (nodes, peers) = (from.nodes.len(), card.peers.len());
    if peers > nodes {
        return Err(LabError::Plan(format!(
            "ha.cf has ucast lines to {peers} addresses on {}, but only {nodes} nodes; whose are they?",
            card.name
        )));
    }
    let here = from
        .nodes
        .iter()
        .position(|n| Some(n) == from.here.as_ref())
        .unwrap_or(0);
    let mut peers = card.peers.iter().copied();
    let all = card.peers.len() == nodes;
    Ok((0..nodes)
        .map(|n| if all || n != here { peers.next() } else { None })
        .collect())
}

/// Gives every interface its subnets.
fn place(from: &Derive<'_>, cards: &mut [Card]) {
    for card in &mut *cards {
        for peer in card.peers.clone() {
            card.add(Subnet::around(peer, None));
        }
    }
    let virtuals = from
        .addresses
        .iter()
        .map(|a| (a.address, a.prefix, a.interface.as_deref()));
    let pings = from.pings.iter().map(|p| (*p, None, None));
    for (address, prefix, interface) in virtuals.chain(pings) {
        let named = interface.map(without_label);
        if named == Some("lo") {
            continue;
        }
        let subnet = Subnet::around(address, prefix);
        let place = cards
            .iter()
            .position(|c| Some(c.name.as_str()) == named)
            .or_else(|| cards.iter().position(|c| c.has(address)))
            .or_else(|| cards.iter().position(|c| c.subnets.is_empty()))
            .unwrap_or(0);
        if let Some(card) = cards.get_mut(place) {
            card.add(subnet);
        }
    }
    for (n, card) in (0u8..).zip(cards) {
        if card.subnets.is_empty() {
            card.add(Subnet::around(IpAddr::from([198, 18, n, 0]), Some(24)));
        }
    }
}

/// Every address that has an owner already.
fn taken(from: &Derive<'_>, cards: &[Card]) -> BTreeSet<IpAddr> {
    let peers = cards.iter().flat_map(|c| c.peers.iter().copied());
    let virtuals = from.addresses.iter().map(|a| a.address);
    peers
        .chain(virtuals)
        .chain(from.pings.iter().copied())
        .collect()
}

fn members(
    from: &Derive<'_>,
    cards: &[Card],
    taken: &mut BTreeSet<IpAddr>,
) -> Result<Vec<NodePlan>, LabError> {
    let mut nodes = Vec::new();
    let mut lines = Vec::new();
    for (number, node) in from.nodes.iter().enumerate() {
        let mut interfaces = Vec::new();
        for card in cards {
            let own = card.own.get(number).copied().flatten();
            let mut addresses = Vec::new();
            for subnet in &card.subnets {
                let known = own.filter(|a| subnet.contains(*a));
                let address = match known {
                    Some(address) => address,
                    None => subnet.free(taken)?,
                };
                addresses.push((address, subnet.prefix));
            }
            if let (None, Some((address, _)), false) =
                (own, addresses.first(), card.peers.is_empty())
            {
                let word = if address.is_ipv4() { "ucast" } else { "ucast6" };
                lines.push(format!("{word} {} {address}", card.name));
            }
            interfaces.push(Iface {
                name: card.name.clone(),
                segment: card.name.clone(),
                addresses,
            });
        }
        nodes.push(NodePlan {
            name: node.as_str().to_owned(),
            config_dir: from.config_dir.clone(),
            ha_cf_lines: Vec::new(),
            interfaces,
        });
    }
    // A line that names the node itself is harmless, so all get all.
    for node in &mut nodes {
        node.ha_cf_lines.clone_from(&lines);
    }
    Ok(nodes)
}

fn pings(from: &Derive<'_>, cards: &[Card]) -> Vec<PingPlan> {
    let mut pings = Vec::new();
    for address in from.pings {
        let home = cards.iter().find_map(|c| {
            c.subnets
                .iter()
                .find(|s| s.contains(*address))
                .map(|s| (c, s))
        });
        if let Some((card, subnet)) = home {
            let name = address.to_string();
            if !pings.iter().any(|p: &PingPlan| p.name == name) {
                let segment = card.name.clone();
                pings.push(PingPlan {
                    name,
                    segment,
                    address: *address,
                    prefix: subnet.prefix,
                });
            }
        }
    }
    pings
}

/// The client stands on every segment, in every subnet.
fn client(
    cards: &[Card],
    taken: &mut BTreeSet<IpAddr>,
) -> Result<Vec<(String, IpAddr, u8)>, LabError> {
    let mut places = Vec::new();
    for card in cards {
        for subnet in &card.subnets {
            places.push((card.name.clone(), subnet.free(taken)?, subnet.prefix));
        }
    }
    Ok(places)
}

/// `eth0:1` is a label on `eth0`.
fn without_label(interface: &str) -> &str {
    interface.split(':').next().unwrap_or(interface)
}

impl Card {
    fn add(&mut self, subnet: Subnet) {
        if !self
            .subnets
            .iter()
            .any(|s| s.prefix <= subnet.prefix && s.contains(subnet.network))
        {
            self.subnets
                .retain(|s| !(subnet.prefix <= s.prefix && subnet.contains(s.network)));
            self.subnets.push(subnet);
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        self.subnets.iter().any(|s| s.contains(address))
    }
}

impl Subnet {
    /// The subnet of an address. Without a prefix, or with one that holds a single host only, the usual size.
    fn around(address: IpAddr, prefix: Option<u8>) -> Subnet {
        let (usual, most) = if address.is_ipv4() {
            (24, 30)
        } else {
            (64, 126)
        };
        let prefix = prefix.filter(|p| (1..=most).contains(p)).unwrap_or(usual);
        Subnet {
            network: network(address, prefix),
            prefix,
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4() && network(address, self.prefix) == self.network
    }

    /// A host address that nobody has yet; it is taken now. Counted from the front, the first ten left to gateways and people.
    fn free(&self, taken: &mut BTreeSet<IpAddr>) -> Result<IpAddr, LabError> {
        let hosts = self.hosts();
        let found = (11..hosts)
            .chain(1..11.min(hosts))
            .map(|n| self.host(n))
            .find(|a| !taken.contains(a));
        let Some(address) = found else {
            let (network, prefix) = (self.network, self.prefix);
            return Err(LabError::Plan(format!(
                "no address is free in {network}/{prefix} for a node of the lab"
            )));
        };
        taken.insert(address);
        Ok(address)
    }

    /// One more than the last usable host number. A thousand times what a lab needs is enough.
    fn hosts(&self) -> u32 {
        let bits = if self.network.is_ipv4() { 32 } else { 128 } - u32::from(self.prefix);
        (1u32 << bits.min(20)) - 1
    }

    fn host(&self, number: u32) -> IpAddr {
        match self.network {
            IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() | number).into(),
            IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() | u128::from(number)).into(),
        }
    }
}

/// The first address of the range; prefixes are in bounds here.
fn network(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX
                .checked_shl(32u32.saturating_sub(prefix))
                .unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX
                .checked_shl(128u32.saturating_sub(prefix))
                .unwrap_or(0);
            Ipv6Addr::from_bits(a.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LinkName;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn medium(interface: &str, peer: Option<&str>) -> Medium {
        Medium {
            link: LinkName::new(interface),
            interface: interface.to_owned(),
            port: 694,
            target: peer.map_or(Target::Broadcast, |p| Target::Unicast(ip(p))),
        }
    }

    fn vip(text: &str, prefix: Option<u8>, interface: Option<&str>) -> Virtual {
        Virtual {
            address: ip(text),
            prefix,
            interface: interface.map(str::to_owned),
        }
    }

    fn derive(
        here: Option<&str>,
        media: &[Medium],
        pings: &[&str],
        addresses: &[Virtual],
    ) -> Result<Plan, LabError> {
        let nodes = [NodeName::new("alice"), NodeName::new("bob")];
        let pings: Vec<IpAddr> = pings.iter().map(|p| ip(p)).collect();
        plan(&Derive {
            name: "d".into(),
            nodes: &nodes,
            here: here.map(NodeName::new),
            media,
            pings: &pings,
            addresses,
            config_dir: "/c".into(),
            had: "had".into(),
            hactl: "hactl".into(),
        })
    }

    /// `alice eth0 10.0.0.1/24 ...` for each node and card.
    fn cards_of(plan: &Plan) -> Vec<String> {
        let mut all = Vec::new();
        for node in &plan.nodes {
            for card in &node.interfaces {
                let addresses: Vec<String> = card
                    .addresses
                    .iter()
                    .map(|(a, p)| format!("{a}/{p}"))
                    .collect();
                all.push(format!(
                    "{} {} {}",
                    node.name,
                    card.name,
                    addresses.join(" ")
                ));
            }
        }
        all
    }

    #[test]
    fn a_ucast_line_per_node_says_it_all() {
        let media = [
            medium("eth0", Some("192.168.1.1")),
            medium("eth0", Some("192.168.1.2")),
        ];
        let p = derive(
            None,
            &media,
            &["192.168.1.254"],
            &[vip("192.168.1.100", Some(24), Some("eth0:0"))],
        )
        .unwrap();
        assert_eq!(
            cards_of(&p),
            ["alice eth0 192.168.1.1/24", "bob eth0 192.168.1.2/24"]
        );
        assert_eq!(p.nodes[0].ha_cf_lines, [] as [String; 0]);
        assert_eq!(p.pings.len(), 1);
        assert_eq!(
            (p.pings[0].segment.as_str(), p.pings[0].prefix),
            ("eth0", 24)
        );
        assert_eq!(p.client, [("eth0".to_owned(), ip("192.168.1.11"), 24)]);
    }

    #[test]
    fn a_single_ucast_line_is_the_peers_and_is_mirrored() {
        let media = [medium("eth1", Some("10.1.1.2"))];
        let p = derive(None, &media, &[], &[]).unwrap();
        assert_eq!(
            cards_of(&p),
            ["alice eth1 10.1.1.11/24", "bob eth1 10.1.1.2/24"]
        );
        assert_eq!(p.nodes[1].ha_cf_lines, ["ucast eth1 10.1.1.11"]);
        let p = derive(Some("bob"), &media, &[], &[]).unwrap();
        assert_eq!(
            cards_of(&p),
            ["alice eth1 10.1.1.2/24", "bob eth1 10.1.1.11/24"]
        );
    }

    #[test]
    fn more_ucast_lines_than_nodes_are_refused() {
        let media = [
            medium("eth0", Some("10.0.0.1")),
            medium("eth0", Some("10.0.0.2")),
            medium("eth0", Some("10.0.0.3")),
        ];
        let error = derive(None, &media, &[], &[]).unwrap_err().to_string();
        assert!(error.contains("3 addresses on eth0"), "{error}");
    }

    #[test]
    fn broadcast_takes_the_subnet_of_the_virtual_addresses() {
        let media = [medium("eth0", None), medium("eth1", None)];
        let p = derive(
            None,
            &media,
            &[],
            &[
                vip("172.16.0.5", Some(32), None),
                vip("172.16.0.6", None, None),
            ],
        )
        .unwrap();
        assert_eq!(
            cards_of(&p),
            [
                "alice eth0 172.16.0.11/24",
                "alice eth1 198.18.1.11/24",
                "bob eth0 172.16.0.12/24",
                "bob eth1 198.18.1.12/24"
            ]
        );
    }

    #[test]
    fn nothing_is_given_twice_and_a_wider_subnet_swallows_a_narrower() {
        let media = [medium("eth0", None)];
        let vips: Vec<Virtual> = (11..=20)
            .map(|n| vip(&format!("10.0.0.{n}"), None, None))
            .collect();
        let wide = vip("10.0.9.9", Some(16), Some("eth0"));
        let all: Vec<Virtual> = vips.into_iter().chain([wide]).collect();
        let p = derive(None, &media, &["10.0.0.21"], &all).unwrap();
        assert_eq!(
            cards_of(&p),
            ["alice eth0 10.0.0.22/16", "bob eth0 10.0.0.23/16"]
        );
    }

    #[test]
    fn addresses_of_both_families_share_a_card() {
        let media = [
            medium("eth0", Some("fd00::1")),
            medium("eth0", Some("fd00::2")),
        ];
        let p = derive(
            None,
            &media,
            &["10.0.0.254"],
            &[
                vip("10.0.0.100", None, Some("eth0")),
                vip("127.0.0.5", None, Some("lo")),
            ],
        )
        .unwrap();
        assert_eq!(
            cards_of(&p),
            [
                "alice eth0 fd00::1/64 10.0.0.11/24",
                "bob eth0 fd00::2/64 10.0.0.12/24"
            ]
        );
    }

    #[test]
    fn a_full_subnet_is_an_error() {
        let media = [medium("eth0", None)];
        let vips: Vec<Virtual> = (1..=2)
            .map(|n| vip(&format!("10.0.0.{n}"), Some(30), None))
            .collect();
        let error = derive(None, &media, &[], &vips).unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/30"), "{error}");
    }

    #[test]
    fn without_any_medium_there_is_still_a_network() {
        let p = derive(None, &[], &[], &[]).unwrap();
        assert_eq!(
            cards_of(&p),
            ["alice eth0 198.18.0.11/24", "bob eth0 198.18.0.12/24"]
        );
    }
}
