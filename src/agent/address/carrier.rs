//! Whether an interface can carry an address, and what is wrong if not; and how the address relates to those that are there.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::agent::AgentError;
use crate::agent::address::virtual_address::{VirtualAddress, contains};
use crate::sys::netlink::{Address, Link};

/// Whether an address that was found on its interface can be used.
pub(super) fn check_usable(
    address: &VirtualAddress,
    found: Option<&Address>,
) -> Result<(), AgentError> {
    let problem = match found {
        None => "is missing, while others of its step are present",
        Some(a) if a.duplicate => "is in use by another machine (duplicate address detection)",
        Some(a) if a.tentative => "is not usable yet (duplicate address detection runs)",
        Some(_) => return Ok(()),
    };
    Err(AgentError::Failed(format!("{address} {problem}")))
}

/// The interface of an address, if it is up and has a carrier.
pub(super) fn usable_link<'l>(
    address: &VirtualAddress,
    links: &'l HashMap<String, Link>,
) -> Result<&'l Link, AgentError> {
    let name = &address.interface;
    let problem = match links.get(name) {
        None => format!("there is no interface {name}"),
        Some(link) if !link.up => format!("{name} is down (`ip link set {name} up`)"),
        Some(link) if !link.carrier => {
            format!("{name} has no carrier (is its cable plugged in and the switch on?)")
        }
        Some(link) => match ipv6_problem(address, name) {
            Some(problem) => problem,
            None => return Ok(link),
        },
    };
    Err(AgentError::Failed(format!("{}: {problem}", address.ip)))
}

/// Why an interface takes no IPv6 addresses, if it is such an address. The kernel would only say "Permission denied".
fn ipv6_problem(address: &VirtualAddress, name: &str) -> Option<String> {
    let conf = Path::new("/proc/sys/net/ipv6/conf");
    if address.ip.is_ipv4() {
        return None;
    }
    if !conf.exists() {
        return Some("this kernel runs without IPv6".to_owned());
    }
    let disabled = fs::read_to_string(conf.join(name).join("disable_ipv6"));
    let disabled = disabled.is_ok_and(|text| text.trim() == "1");
    disabled.then(|| {
        format!("IPv6 is disabled on {name} (`sysctl -w net.ipv6.conf.{name}.disable_ipv6=0`)")
    })
}

/// The interface of an address on which it can be renewed. While an interface is down the kernel keeps IPv4 addresses.
pub(super) fn renewable_link<'l>(
    address: &VirtualAddress,
    links: &'l HashMap<String, Link>,
) -> Option<&'l Link> {
    let link = links.get(&address.interface)?;
    (link.up || address.ip.is_ipv4()).then_some(link)
}

/// Whether the network of an address is reached by way of an own address of the node already. Then the virtual address makes no
/// route: an IPv6 route would get its lifetime, and an IPv4 route to a part of the network would make it the source of the
/// node's own connections, which break when it moves.
pub(super) fn is_reached_by(address: &VirtualAddress, index: u32, own: &Address) -> bool {
    let longest = if address.ip.is_ipv6() {
        address.prefix
    } else {
        address.prefix.saturating_sub(1) // in the same network the kernel makes one route anyhow
    };
    own.index == index && own.prefix <= longest && contains(own.ip, own.prefix, address.ip)
}

/// Lasting addresses that had did not add. Where the kernel keeps no marks, none is known.
pub(super) fn foreign_among(all: &[Address]) -> Vec<&Address> {
    if !all.iter().any(|a| a.marked) {
        return Vec::new();
    }
    let lasting = all.iter().filter(|a| a.valid.is_none());
    lasting.filter(|a| !a.ours).collect()
}

/// What is wrong if one of these is such an address on its interface.
pub(super) fn find_foreign(
    list: &[VirtualAddress],
    links: &HashMap<String, Link>,
    all: &[Address],
) -> Option<String> {
    let foreign = foreign_among(all);
    list.iter().find_map(|address| {
        let index = links.get(&address.interface)?.index;
        let mut there = foreign.iter();
        let found = there.find(|f| f.index == index && f.ip == address.ip)?;
        Some(foreign_text(address, found.prefix))
    })
}

/// What is wrong with an address that this node has already.
fn foreign_text(address: &VirtualAddress, prefix: u8) -> String {
    let (ip, interface) = (address.ip, &address.interface);
    format!(
        "{ip} is a lasting address of {interface} that had did not add, so had leaves it alone; take it out of the network \
         configuration of this node, then `ip address del {ip}/{prefix} dev {interface}`"
    )
}
