//! Which node has which file, and the names and addresses of the nodes: as they were given, or as the files tell.

use std::net::IpAddr;

use super::Wanted;
use super::model::{Instance, Manager};
use crate::setup::answers;
use crate::text::{Place, Problems};

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its addresses, at least one.
    pub addresses: Vec<IpAddr>,
}

impl Node {
    /// The first address.
    pub fn address(&self) -> IpAddr {
        let first = self.addresses.first().copied();
        first.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
    }
}

const GIVE_NODES: &str = "give --node NAME=ADDRESS once for each node, in the order of the files, with the name that `uname -n` prints there";

/// The nodes, in the order of the files.
pub fn find_nodes(
    wanted: &Wanted,
    managers: &[Manager],
    report: &mut Problems,
) -> Option<Vec<Node>> {
    let whole = |m: &Manager| Place::whole(&m.file);
    if managers.len() < 2 {
        let place = managers.first().map(whole)?;
        let message = "this is the file of one node, and a cluster has at least two";
        let help = "name the files of all nodes; one file that is the same on all needs --node for each of them";
        report.error(&place, message, help);
        return None;
    }
    let mut nodes: Vec<Node> = Vec::new();
    for (nth, manager) in managers.iter().enumerate() {
        let given = wanted.nodes.get(nth);
        let name = match given {
            Some((name, _)) => name.clone(),
            None => name_in_file(manager, report)?,
        };
        let mut addresses = given.map_or(Vec::new(), |(_, addresses)| addresses.clone());
        if addresses.is_empty() {
            addresses = addresses_in_files(nth, managers);
        }
        if addresses.is_empty() {
            let message =
                format!("the address of {name} is not known: the file has no unicast_src_ip");
            report.error(&whole(manager), message, GIVE_NODES);
            return None;
        }
        if let Some(other) = nodes
            .iter()
            .find(|n| n.name == name || addresses.first() == Some(&n.address()))
        {
            let message = format!("{} and {name} have the same name or address", other.name);
            report.error(&whole(manager), message, GIVE_NODES);
            return None;
        }
        nodes.push(Node { name, addresses });
    }
    Some(nodes)
}

/// `router_id` often is the name of the node.
fn name_in_file(manager: &Manager, report: &mut Problems) -> Option<String> {
    let word = manager.router_id.as_ref();
    let name = word.and_then(|word| answers::node_name(&word.text).ok());
    if let (Some(name), Some(word)) = (name, word) {
        let message = format!("the node is called {name}, as router_id says");
        let help = "if `uname -n` prints another name there, give --node NAME=ADDRESS for each node, in the order of the files";
        report.note(&word.place, message, help);
        Some(name)
    } else {
        let message = "the name of the node of this file is not known";
        report.error(&Place::whole(&manager.file), message, GIVE_NODES);
        None
    }
}

/// What a node says of itself; or, of two nodes, what the other one says.
fn addresses_in_files(nth: usize, managers: &[Manager]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let own = managers.get(nth).into_iter().flat_map(|m| &m.instances);
    let others = managers.iter().enumerate().filter(|(n, _)| *n != nth);
    let others = others.flat_map(|(_, m)| &m.instances);
    let only_peer = |instance: &Instance| match instance.peers[..] {
        [peer] if managers.len() == 2 => Some(peer),
        _ => None,
    };
    for address in own
        .filter_map(|i| i.source)
        .chain(others.filter_map(only_peer))
    {
        if !found.contains(&address) && answers::machine_address(&address.to_string()).is_ok() {
            found.push(address);
        }
    }
    found
}
