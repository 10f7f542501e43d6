//! Makes the plan of a lab from a configuration: the cards of the nodes, their segments and addresses.
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
use std::net::IpAddr;
use std::path::PathBuf;

use super::LabError;
use super::plan::{Iface, LabPlan, NodePlan, PingPlan};
use super::subnet::Subnet;
use crate::model::NodeName;
use crate::model::medium::{Medium, Target};

/// A virtual address of haresources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix, where the line says it.
    pub prefix: Option<u8>,
    /// Its interface, where the line says it; a label (`eth0:1`) is taken off.
    pub interface: Option<String>,
}

/// What a plan is made from.
#[derive(Clone, Debug)]
pub struct PlanBuilder<'a> {
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
    pub addresses: &'a [PlannedAddress],
    /// The folder with the configuration.
    pub config_dir: PathBuf,
    /// The daemon to run.
    pub had: PathBuf,
    /// The tool to run as supervisor.
    pub hactl: PathBuf,
}

/// An interface that every node has.
struct InterfacePlan {
    name: String,
    subnets: Vec<Subnet>,
    /// Different `ucast` addresses, in order.
    peers: Vec<IpAddr>,
    /// Each node's address for heartbeats, where `ucast` says it.
    own: Vec<Option<IpAddr>>,
}

/// Makes the plan.
pub fn plan(from: &PlanBuilder<'_>) -> Result<LabPlan, LabError> {
    if from.nodes.is_empty() {
        return Err(LabError::Plan(
            "ha.cf has no node line; a lab needs at least one node".to_owned(),
        ));
    }
    let mut cards = cards(from)?;
    place_subnets(from, &mut cards);
    let mut owned_addresses = owned_addresses(from, &cards);
    let nodes = members(from, &cards, &mut owned_addresses)?;
    let pings = pings(from, &cards);
    let client = client(&cards, &mut owned_addresses)?;
    let plan = LabPlan {
        name: from.name.clone(),
        nodes,
        pings,
        client,
        had: from.had.clone(),
        hactl: from.hactl.clone(),
        start: true,
        restart: false,
        scripts: None,
    };
    plan.check()?;
    Ok(plan)
}

/// The interfaces that the configuration names, with their `ucast` addresses handed to the nodes.
fn cards(from: &PlanBuilder<'_>) -> Result<Vec<InterfacePlan>, LabError> {
    let mut cards: Vec<InterfacePlan> = Vec::new();
    for medium in from.media {
        let card = card_mut(&mut cards, &medium.interface);
        if let Target::Unicast(peer) = medium.target
            && !card.peers.contains(&peer)
        {
            card.peers.push(peer);
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
        card.own = node_addresses(from, card)?;
    }
    Ok(cards)
}

fn card_mut<'c>(cards: &'c mut Vec<InterfacePlan>, name: &str) -> &'c mut InterfacePlan {
    let place = cards
        .iter()
        .position(|c| c.name == name)
        .unwrap_or_else(|| {
            cards.push(InterfacePlan {
                name: name.to_owned(),
                subnets: vec![],
                peers: vec![],
                own: vec![],
            });
            cards.len().saturating_sub(1)
        });
    // The index was just found or made.
    #[allow(clippy::indexing_slicing)]
    &mut cards[place]
}

/// Which node has which `ucast` address.
fn node_addresses(
    from: &PlanBuilder<'_>,
    card: &InterfacePlan,
) -> Result<Vec<Option<IpAddr>>, LabError> {
    let (nodes, peers) = (from.nodes.len(), card.peers.len());
    if peers > nodes {
        return Err(LabError::Plan(format!(
            "ha.cf has ucast lines to {peers} addresses on {}, but only {nodes} nodes; remove the addresses that belong to no node",
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
fn place_subnets(from: &PlanBuilder<'_>, cards: &mut [InterfacePlan]) {
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

/// Every address that is already used.
fn owned_addresses(from: &PlanBuilder<'_>, cards: &[InterfacePlan]) -> BTreeSet<IpAddr> {
    let peers = cards.iter().flat_map(|c| c.peers.iter().copied());
    let virtuals = from.addresses.iter().map(|a| a.address);
    peers
        .chain(virtuals)
        .chain(from.pings.iter().copied())
        .collect()
}

fn members(
    from: &PlanBuilder<'_>,
    cards: &[InterfacePlan],
    owned_addresses: &mut BTreeSet<IpAddr>,
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
                    None => subnet.free(owned_addresses)?,
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
    // A line that names the node itself is harmless, so all nodes get all lines.
    for node in &mut nodes {
        node.ha_cf_lines.clone_from(&lines);
    }
    Ok(nodes)
}

fn pings(from: &PlanBuilder<'_>, cards: &[InterfacePlan]) -> Vec<PingPlan> {
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

/// The client is attached to every segment and subnet.
fn client(
    cards: &[InterfacePlan],
    owned_addresses: &mut BTreeSet<IpAddr>,
) -> Result<Vec<(String, IpAddr, u8)>, LabError> {
    let mut places = Vec::new();
    for card in cards {
        for subnet in &card.subnets {
            places.push((
                card.name.clone(),
                subnet.free(owned_addresses)?,
                subnet.prefix,
            ));
        }
    }
    Ok(places)
}

/// `eth0:1` is a label on `eth0`.
fn without_label(interface: &str) -> &str {
    interface.split(':').next().unwrap_or(interface)
}

impl InterfacePlan {
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

#[cfg(test)]
mod tests;
