//! The paths of heartbeats: which interface each address of a node is on.

use std::net::IpAddr;

use super::model::Instance;
use super::nodes::Node;
use super::routers::{RouterGroup, all_instances};
use crate::setup::answers;
use crate::text::Problems;

/// The paths of heartbeats: for each address of a node an interface, as the first node calls it.
pub fn paths(
    nodes: &[Node],
    groups: &[RouterGroup<'_>],
    report: &mut Problems,
) -> Option<Vec<(String, IpAddr)>> {
    let mut paths = Vec::new();
    let links = nodes.iter().map(|n| n.addresses.len()).min().unwrap_or(0);
    for link in 0..links {
        let mut first: Option<String> = None;
        for (nth, node) in nodes.iter().enumerate() {
            let address = node.addresses.get(link).copied()?;
            let found = interface_of(nth, address, groups).or_else(|| first.clone());
            let Some(interface) = found.filter(|name| answers::interface(name).is_ok()) else {
                let place = all_instances(groups)
                    .next()
                    .map(|(_, i)| i.name.place.clone())?;
                let message = format!("the interface of {} is not known", node.name);
                report.error(&place, message, "the instance has no `interface`");
                return None;
            };
            let used = first.get_or_insert_with(|| interface.clone()).clone();
            if used != interface {
                let place = all_instances(groups).find(|(n, _)| *n == nth);
                let place = place.map(|(_, i)| i.name.place.clone())?;
                let message = format!(
                    "the interface is {interface} on {}, and {used} on the first node",
                    node.name
                );
                let help = format!("change it in the `ucast` lines of ha.cf on {}", node.name);
                report.warning(&place, message, help);
            }
            paths.push((used, address));
        }
    }
    Some(paths)
}

/// The interface on which a node has an address: the one that says so, or has virtual addresses nearest to it.
fn interface_of(node: usize, address: IpAddr, groups: &[RouterGroup<'_>]) -> Option<String> {
    let here = || {
        all_instances(groups)
            .filter(|(n, _)| *n == node)
            .map(|(_, i)| i)
    };
    let named = here().find(|i| i.source == Some(address));
    let own = |i: &Instance| i.interface.as_ref().map(|w| w.text.clone());
    if let Some(name) = named.and_then(own) {
        return Some(name);
    }
    let all = here().flat_map(|i| {
        i.addresses.iter().filter_map(move |a| {
            let bits = common_bits(a.ip, address);
            let network = if a.prefix < 32 {
                u32::from(a.prefix)
            } else {
                128
            };
            let rank = (bits.min(network), a.device.is_none());
            Some((rank, a.device.clone().or_else(|| own(i))?))
        })
    });
    // Of equal ones the first.
    let mut best: Option<((u32, bool), String)> = None;
    for (rank, name) in all {
        if best.as_ref().is_none_or(|(most, _)| rank > *most) {
            best = Some((rank, name));
        }
    }
    best.map(|(_, name)| name)
}

fn common_bits(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    }
}
