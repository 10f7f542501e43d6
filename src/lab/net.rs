//! The netlink requests of a lab, each in the network namespace of one host.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use futures::{Stream, StreamExt};
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags};
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute};
use rtnetlink::{Error, Handle, LinkUnspec};
use tokio::runtime::Runtime;

use super::control::HeldAddress;
use super::plan::Iface;
use super::{ErrorContext, LabError};

/// Queue length of a card. A thousand addresses are announced with 2,000 frames at once, which must not be dropped.
const QUEUE: u32 = 10_000;

/// Puts the calling thread into a host's network namespace, for the rest of its life.
fn enter_namespace(netns: &OwnedFd) -> Result<(), LabError> {
    setns(netns, CloneFlags::CLONE_NEWNET).doing(|| "cannot enter a host's network".to_owned())
}

/// Runs `work` in a host's network namespace, on a thread of its own.
pub fn in_namespace<T: Send>(
    netns: &OwnedFd,
    work: impl FnOnce() -> Result<T, LabError> + Send,
) -> Result<T, LabError> {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            enter_namespace(netns)?;
            work()
        });
        worker.join().unwrap_or_else(|_| {
            Err(LabError::Refused(
                "internal error in the lab (panic); please report it".to_owned(),
            ))
        })
    })
}

/// Index, name and MAC of an interface.
type InterfaceRow = (u32, String, Option<[u8; 6]>);

/// A netlink connection to the namespace in which it was opened; it may be used from any other.
pub struct LabNetlink {
    runtime: Runtime,
    handle: Handle,
}

impl LabNetlink {
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> Result<LabNetlink, LabError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .doing(|| "cannot start a netlink worker".to_owned())?;
        let guard = runtime.enter();
        let (connection, handle, _events) =
            rtnetlink::new_connection().doing(|| "cannot open a netlink socket".to_owned())?;
        runtime.spawn(connection);
        drop(guard);
        Ok(LabNetlink { runtime, handle })
    }

    /// Gives a card its MAC, queue length and addresses, and brings it up.
    pub fn configure(&self, card: &Iface, mac: [u8; 6]) -> Result<(), LabError> {
        let doing = || format!("cannot configure {}", card.name);
        let index = self.index_of(&card.name)?;
        let set = LinkUnspec::new_with_index(index)
            .address(mac.to_vec())
            .txqueuelen(QUEUE);
        self.wait(doing, self.handle.link().set(set.build()).execute())?;
        let up = LinkUnspec::new_with_index(index).up().build();
        self.wait(doing, self.handle.link().set(up).execute())?;
        for (address, prefix) in &card.addresses {
            let mut add = self.handle.address().add(index, *address, *prefix);
            if address.is_ipv6() {
                // A lab has no foreign hosts; waiting a second for duplicates would only delay each boot.
                add.message_mut().header.flags |= AddressHeaderFlags::Nodad;
            }
            let doing = || format!("cannot give {} the address {address}/{prefix}", card.name);
            self.wait(doing, add.execute())?;
        }
        Ok(())
    }

    /// Brings the loopback up.
    pub fn loopback_up(&self) -> Result<(), LabError> {
        let up = LinkUnspec::new_with_index(self.index_of("lo")?)
            .up()
            .build();
        self.wait(
            || "cannot bring lo up".to_owned(),
            self.handle.link().set(up).execute(),
        )
    }

    /// All addresses, loopback's included.
    pub fn addresses(&self) -> Result<Vec<HeldAddress>, LabError> {
        let names: BTreeMap<u32, String> = self
            .links()?
            .into_iter()
            .map(|(index, name, _)| (index, name))
            .collect();
        let messages = self.all(
            || "cannot list addresses".to_owned(),
            self.handle.address().get().execute(),
        )?;
        let mut addresses = Vec::new();
        for message in messages {
            let label = message.attributes.iter().find_map(|a| match a {
                AddressAttribute::Label(label) => Some(label.clone()),
                _ => None,
            });
            let interface = names
                .get(&message.header.index)
                .cloned()
                .unwrap_or_default();
            if let Some(address) = address_of(&message.attributes) {
                addresses.push(HeldAddress {
                    interface,
                    address,
                    prefix: message.header.prefix_len,
                    label,
                });
            }
        }
        Ok(addresses)
    }

    /// All addresses without their interfaces: one request only.
    pub fn held_addresses(&self) -> Result<Vec<IpAddr>, LabError> {
        let messages = self.all(
            || "cannot list addresses".to_owned(),
            self.handle.address().get().execute(),
        )?;
        Ok(messages
            .iter()
            .filter_map(|m| address_of(&m.attributes))
            .collect())
    }

    /// The MAC that this host's kernel has for an address in its neighbour table (ARP cache).
    pub fn neighbour(&self, address: IpAddr) -> Result<Option<[u8; 6]>, LabError> {
        let wanted = match address {
            IpAddr::V4(a) => NeighbourAddress::Inet(a),
            IpAddr::V6(a) => NeighbourAddress::Inet6(a),
        };
        let known = self.all(
            || "cannot list neighbours".to_owned(),
            self.handle.neighbours().get().execute(),
        )?;
        let entry = known.into_iter().find(|n| {
            n.attributes
                .iter()
                .any(|a| matches!(a, NeighbourAttribute::Destination(d) if *d == wanted))
        });
        Ok(entry.and_then(|n| {
            n.attributes.iter().find_map(|a| match a {
                NeighbourAttribute::LinkLayerAddress(mac) => mac.as_slice().try_into().ok(),
                _ => None,
            })
        }))
    }

    /// A card's own MAC.
    pub fn mac(&self, interface: &str) -> Result<Option<[u8; 6]>, LabError> {
        let links = self.links()?;
        Ok(links
            .into_iter()
            .find(|l| l.1 == interface)
            .and_then(|l| l.2))
    }

    fn index_of(&self, name: &str) -> Result<u32, LabError> {
        let links = self.links()?;
        let found = links.into_iter().find(|l| l.1 == name).map(|l| l.0);
        found.ok_or_else(|| LabError::Refused(format!("there is no interface {name}")))
    }

    /// All links.
    fn links(&self) -> Result<Vec<InterfaceRow>, LabError> {
        let messages = self.all(
            || "cannot list interfaces".to_owned(),
            self.handle.link().get().execute(),
        )?;
        Ok(messages
            .into_iter()
            .map(|m| {
                let mut name = String::new();
                let mut mac = None;
                for attribute in m.attributes {
                    match attribute {
                        LinkAttribute::IfName(n) => name = n,
                        LinkAttribute::Address(a) => mac = a.as_slice().try_into().ok(),
                        _ => {}
                    }
                }
                (m.header.index, name, mac)
            })
            .collect())
    }

    fn wait(
        &self,
        doing: impl FnOnce() -> String,
        request: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), LabError> {
        self.runtime
            .block_on(request)
            .map_err(|source| LabError::Netlink {
                doing: doing(),
                source,
            })
    }

    fn all<T>(
        &self,
        doing: impl FnOnce() -> String,
        dump: impl Stream<Item = Result<T, Error>>,
    ) -> Result<Vec<T>, LabError> {
        let items: Vec<Result<T, Error>> = self.runtime.block_on(dump.collect());
        let items: Result<Vec<T>, Error> = items.into_iter().collect();
        items.map_err(|source| LabError::Netlink {
            doing: doing(),
            source,
        })
    }
}

/// The address itself: `Local` if the kernel has both, because on point-to-point links `Address` is the peer's.
fn address_of(attributes: &[AddressAttribute]) -> Option<IpAddr> {
    let local = attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}
