//! Follows the network interfaces: which appear, disappear, and change their carrier or their addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nix::net::if_::if_indextoname;

use super::engine_handle::{EngineHandle, Input};
use crate::sys::netlink::{self, Address, Change, Link, Netlink, NetlinkError};

/// Reports interfaces to the heartbeat thread until that has ended. After changes were missed, all of them are reported:
/// an interface may have been replaced meanwhile, and sockets on the old one receive nothing.
pub async fn report_interfaces(netlink: Netlink, engine: EngineHandle) {
    let mut known = KnownInterfaces::default();
    let mut addresses = KnownAddresses::default();
    let mut changes = netlink::watch();
    while let Some(change) = changes.recv().await {
        let changed = match change {
            Change::Link(link) => known.update(&link),
            Change::LinkRemoved(link) => known.remove(&link.name),
            Change::AddressAdded(address) => {
                if addresses.add(&address) {
                    report_addresses(address.index, &engine);
                }
                continue;
            }
            Change::AddressRemoved(address) => {
                if addresses.remove(&address) {
                    report_addresses(address.index, &engine);
                }
                continue;
            }
            Change::Resync => match list(&netlink).await {
                Ok((links, present)) => {
                    addresses.replace_all(&present);
                    known.replace_all(&links)
                }
                Err(error) => {
                    tracing::warn!("cannot list the network interfaces: {error}");
                    continue;
                }
            },
        };
        for (name, up) in changed {
            engine.send(Input::Interface { name, up });
        }
    }
}

async fn list(netlink: &Netlink) -> Result<(Vec<Link>, Vec<Address>), NetlinkError> {
    Ok((netlink.links().await?, netlink.addresses().await?))
}

/// An interface that is gone meanwhile is reported as such.
fn report_addresses(index: u32, engine: &EngineHandle) {
    if let Some(interface) = if_indextoname(index)
        .ok()
        .and_then(|n| n.into_string().ok())
    {
        engine.send(Input::Addresses { interface });
    }
}

/// The addresses that can be used, each with the number of its interface. The kernel also tells of each renewal.
#[derive(Debug, Default)]
struct KnownAddresses(BTreeSet<(u32, IpAddr)>);

impl KnownAddresses {
    /// Whether it is new.
    fn add(&mut self, address: &Address) -> bool {
        !address.tentative && self.0.insert((address.index, address.ip))
    }

    /// Whether it was known.
    fn remove(&mut self, address: &Address) -> bool {
        self.0.remove(&(address.index, address.ip))
    }

    fn replace_all(&mut self, present: &[Address]) {
        self.0.clear();
        for address in present {
            self.add(address);
        }
    }
}

/// Interfaces by name, and whether heartbeats can pass.
#[derive(Debug, Default)]
struct KnownInterfaces(BTreeMap<String, bool>);

/// Changed interfaces, and whether heartbeats can pass now.
type InterfaceChanges = Vec<(String, bool)>;

impl KnownInterfaces {
    fn update(&mut self, link: &Link) -> InterfaceChanges {
        self.set(&link.name, link.up && link.carrier)
    }

    fn remove(&mut self, name: &str) -> InterfaceChanges {
        self.set(name, false)
    }

    fn set(&mut self, name: &str, up: bool) -> InterfaceChanges {
        if self.0.insert(name.to_owned(), up) == Some(up) {
            return InterfaceChanges::new();
        }
        vec![(name.to_owned(), up)]
    }

    /// Takes a complete list. Its interfaces are reported even if they seem unchanged: each may be a new one of that name.
    fn replace_all(&mut self, links: &[Link]) -> InterfaceChanges {
        let present: InterfaceChanges = links
            .iter()
            .map(|l| (l.name.clone(), l.up && l.carrier))
            .collect();
        let before = std::mem::replace(&mut self.0, present.iter().cloned().collect());
        let gone = before
            .into_iter()
            .filter(|(name, up)| *up && !self.0.contains_key(name))
            .map(|(name, _)| (name, false));
        gone.chain(present).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, carrier: bool) -> Link {
        Link {
            carrier,
            ..Link::sample(1, name)
        }
    }

    fn names(changes: &InterfaceChanges) -> Vec<(&str, bool)> {
        changes.iter().map(|(n, up)| (n.as_str(), *up)).collect()
    }

    #[test]
    fn only_changes_are_reported() {
        let mut known = KnownInterfaces::default();
        assert_eq!(names(&known.update(&link("a", true))), [("a", true)]);
        assert_eq!(names(&known.update(&link("a", true))), []);
        assert_eq!(names(&known.update(&link("a", false))), [("a", false)]);
        assert_eq!(names(&known.remove("a")), []);
    }

    #[test]
    fn after_missed_changes_every_interface_is_reported_and_missing_ones_are_down() {
        let mut known = KnownInterfaces::default();
        known.update(&link("a", true));
        known.update(&link("b", true));
        let changes = known.replace_all(&[link("a", true), link("c", false)]);
        assert_eq!(names(&changes), [("b", false), ("a", true), ("c", false)]);
        assert_eq!(names(&known.update(&link("b", true))), [("b", true)]);
    }

    #[test]
    fn a_renewal_is_no_change_of_addresses() {
        let address = Address::new(1, [10, 0, 0, 1].into(), 24);
        let mut known = KnownAddresses::default();
        assert!(known.add(&address));
        assert!(!known.add(&address));
        assert!(known.remove(&address));
        assert!(!known.remove(&address));
        known.replace_all(std::slice::from_ref(&address));
        assert!(!known.add(&address));
    }
}
