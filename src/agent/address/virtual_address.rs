//! The argument of `IPaddr`: `ip[/netmask[/interface[:label]][/broadcast]]` or `ip/netmask/broadcast`. What it leaves out is
//! taken from the networks of this machine.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::agent::address::carrier::find_foreign;
use crate::sys::netlink::{Address, Link, Netlink, NetlinkError, Route};
use crate::text::Mistake;

/// The kernel's limit on labels and interface names, in bytes.
const MAX_NAME_BYTES: usize = 15;

/// An address that moves between nodes, and where it belongs on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualAddress {
    /// The address.
    pub ip: IpAddr,
    /// The prefix length of its network.
    pub prefix: u8,
    /// The name of the interface: its index changes when it is created again.
    pub interface: String,
    /// Label, IPv4 only.
    pub label: Option<String>,
    /// Broadcast address, IPv4 only.
    pub broadcast: Option<Ipv4Addr>,
    /// Its argument, while this machine does not tell the interface or the prefix length that the argument leaves out.
    pub open: Option<String>,
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.open.is_some() {
            return write!(f, "{} on an interface that is not known yet", self.ip);
        }
        write!(f, "{}/{} on {}", self.ip, self.prefix, self.interface)?;
        match &self.label {
            Some(label) => write!(f, " label {label}"),
            None => Ok(()),
        }
    }
}

/// The interfaces and routes of this machine at one moment.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// All interfaces.
    pub links: Vec<Link>,
    /// All unicast routes of the main table.
    pub routes: Vec<Route>,
    /// All addresses.
    pub addresses: Vec<Address>,
}

impl Network {
    /// Reads them from the kernel.
    pub async fn read(netlink: &Netlink) -> Result<Self, NetlinkError> {
        Ok(Network {
            links: netlink.links().await?,
            routes: netlink.routes().await?,
            addresses: netlink.addresses().await?,
        })
    }

    fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|l| l.name == name)
    }

    fn links_by_name(&self) -> HashMap<String, Link> {
        let links = self.links.iter();
        links.map(|l| (l.name.clone(), l.clone())).collect()
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.links.iter().map(|l| l.name.as_str()).collect();
        names.join(", ")
    }
}

/// The parts of the argument, before this machine completes them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WrittenAddress {
    ip: IpAddr,
    prefix: Option<u8>,
    interface: Option<String>,
    label: Option<String>,
    broadcast: Option<Ipv4Addr>,
}

/// Reads an argument and completes it for this machine. What this machine does not tell yet stays open: an interface may appear
/// later, and get its addresses later.
///
/// # Errors
/// The argument can never work.
pub fn resolve(argument: &str, network: &Network) -> Result<VirtualAddress, Mistake> {
    let written = parse(argument)?;
    match find_place(&written, network) {
        Ok((interface, prefix)) => finish(&written, &interface, prefix),
        Err(_) => Ok(VirtualAddress {
            ip: written.ip,
            prefix: written.prefix.unwrap_or(bits(written.ip)),
            interface: written.interface.unwrap_or_default(),
            label: written.label,
            broadcast: written.broadcast,
            open: Some(argument.to_owned()),
        }),
    }
}

/// The same for an argument that was left open.
///
/// # Errors
/// What this machine does not tell, or why the argument can never work.
pub fn resolve_now(argument: &str, network: &Network) -> Result<VirtualAddress, Mistake> {
    let written = parse(argument)?;
    let (interface, prefix) = find_place(&written, network)?;
    finish(&written, &interface, prefix)
}

/// Checks the form of an argument; does not ask the machine.
///
/// # Errors
/// What is wrong with it.
pub fn check_form(argument: &str) -> Result<(), Mistake> {
    parse(argument).map(|_| ())
}

/// A remark about an argument that cannot be used on this node yet, or that leaves out the interface of an address in no network
/// of this node: it would be put on the interface of a gateway's route. `made`: an earlier member may make the interface.
pub fn remark(argument: &str, made: bool, network: &Network) -> Option<Mistake> {
    let written = parse(argument).ok()?;
    let ip = written.ip;
    let missing = |name: &&String| network.link(name).is_none();
    if let Some(name) = written.interface.as_ref().filter(missing) {
        let mut mistake = no_interface(name, network);
        if !made {
            return Some(mistake.until_it_appears());
        }
        mistake.message += "; an earlier member of the group must make it";
        return Some(mistake);
    }
    if let Err(mistake) = find_place(&written, network) {
        return Some(mistake.until_it_appears());
    }
    if let Ok(address) = resolve_now(argument, network)
        && let Some(text) = find_foreign(&[address], &network.links_by_name(), &network.addresses)
    {
        return Some(Mistake::new(text));
    }
    let near = |r: &Route| r.connected && contains(r.destination, r.prefix, ip);
    if written.interface.is_some() || ip.is_loopback() || network.routes.iter().any(near) {
        return None;
    }
    let (interface, prefix) = find_place(&written, network).ok()?;
    let message = format!(
        "{ip} is in no network of this node; it would be put on {interface}, which reaches it only through a gateway"
    );
    let help = format!(
        "check the address; if it is correct, write the interface: {ip}/{prefix}/{interface}"
    );
    Some(Mistake::new(message).help(help))
}

fn parse(argument: &str) -> Result<WrittenAddress, Mistake> {
    let mut parts = argument.split('/');
    let ip = parse_ip(parts.next().unwrap_or_default())?;
    let mut written = WrittenAddress {
        ip,
        prefix: None,
        interface: None,
        label: None,
        broadcast: None,
    };
    if let Some(netmask) = parts.next().filter(|p| !p.is_empty()) {
        written.prefix = Some(parse_netmask(netmask, ip)?);
    }
    for (nth, part) in parts.enumerate().filter(|(_, p)| !p.is_empty()) {
        let is_broadcast = part.starts_with(|c: char| c.is_ascii_digit());
        match nth {
            0 if !is_broadcast => parse_interface(part, &mut written)?,
            0 | 1 if written.broadcast.is_none() => {
                written.broadcast = Some(parse_broadcast(part, ip)?);
            }
            _ => return Err(too_long(argument, part)),
        }
    }
    Ok(written)
}

fn too_long(argument: &str, part: &str) -> Mistake {
    Mistake::new(format!("`{part}` is one part too many in `{argument}`"))
        .help("the form is ip/netmask/interface:label/broadcast")
}

fn parse_ip(text: &str) -> Result<IpAddr, Mistake> {
    let ip: IpAddr = text.parse().map_err(|_| bad_ip(text))?;
    let unusable = match ip {
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        _ if ip.is_unspecified() => Some("the unspecified address"),
        _ if ip.is_multicast() => Some("a multicast address"),
        _ => None,
    };
    match unusable {
        Some(kind) => Err(Mistake::new(format!("{ip} is {kind}; no node can have it"))),
        None => Ok(ip),
    }
}

/// Names the octet that is wrong.
fn bad_ip(text: &str) -> Mistake {
    let octets: Vec<&str> = text.split('.').collect();
    let numeric = octets.iter().all(|o| o.chars().all(|c| c.is_ascii_digit()));
    if text.contains(':') || !numeric || octets.len() < 2 {
        return Mistake::new(format!("`{text}` is not an IP address"));
    }
    if octets.len() != 4 {
        let n = octets.len();
        return Mistake::new(format!(
            "`{text}` is not an IPv4 address: it has {n} numbers instead of 4"
        ));
    }
    let why = octets.iter().find_map(|o| match o.parse::<u64>() {
        _ if o.is_empty() => Some("a number is missing".to_owned()),
        Ok(n) if n <= 255 && o.len() > 1 && o.starts_with('0') => {
            Some(format!("`{o}` has a leading zero"))
        }
        Ok(0..=255) => None,
        _ => Some(format!("{o} is greater than 255")),
    });
    let why = why.unwrap_or_else(|| "it cannot be read".to_owned());
    Mistake::new(format!("`{text}` is not an IPv4 address: {why}"))
}

fn parse_netmask(text: &str, ip: IpAddr) -> Result<u8, Mistake> {
    let longest = bits(ip);
    if text.contains('.') && ip.is_ipv4() {
        let mask: Ipv4Addr = text
            .parse()
            .map_err(|_| Mistake::new(format!("`{text}` is not a netmask")))?;
        let ones = mask.to_bits().leading_ones();
        if ones == 0 || ones != mask.to_bits().count_ones() {
            return Err(Mistake::new(format!(
                "`{text}` is not a netmask: a zero bit comes before a one bit"
            ))
            .help("for example 255.255.255.0, which is the same as 24"));
        }
        return Ok(u8::try_from(ones).unwrap_or(longest));
    }
    match text.parse::<u8>() {
        Ok(prefix) if (1..=longest).contains(&prefix) => Ok(prefix),
        _ => Err(Mistake::new(format!(
            "`{text}` is not a prefix length: it must be a number from 1 to {longest}"
        ))),
    }
}

fn parse_interface(text: &str, written: &mut WrittenAddress) -> Result<(), Mistake> {
    let (interface, label) = match text.split_once(':') {
        Some((interface, _)) => (interface, Some(text)),
        None => (text, None),
    };
    if interface.is_empty() {
        return Err(Mistake::new(format!("`{text}` names no interface"))
            .help("write interface:label, for example eth0:1"));
    }
    if interface.len() > MAX_NAME_BYTES {
        let len = interface.len();
        return Err(Mistake::new(format!(
            "no interface can have the name `{interface}`: it has {len} characters, and the kernel takes at most {MAX_NAME_BYTES}"
        )));
    }
    if let Some(label) = label {
        check_label(label, interface, written.ip)?;
    }
    written.interface = Some(interface.to_owned());
    written.label = label.map(str::to_owned);
    Ok(())
}

fn check_label(label: &str, interface: &str, ip: IpAddr) -> Result<(), Mistake> {
    if ip.is_ipv6() {
        return Err(Mistake::new(format!(
            "`{label}` is a label, and IPv6 addresses have no labels"
        ))
        .help(format!("write {interface}")));
    }
    if label.len() == interface.len() + 1 {
        return Err(Mistake::new(format!("the label after `{label}` is empty"))
            .help(format!("write {interface}, or {interface}:1")));
    }
    if label.len() > MAX_NAME_BYTES {
        let len = label.len();
        return Err(Mistake::new(format!(
            "the label `{label}` has {len} characters; the kernel takes at most {MAX_NAME_BYTES}"
        )));
    }
    Ok(())
}

fn parse_broadcast(text: &str, ip: IpAddr) -> Result<Ipv4Addr, Mistake> {
    if ip.is_ipv6() {
        return Err(Mistake::new(format!(
            "`{text}` is in the place of a broadcast address, and IPv6 has none"
        )));
    }
    text.parse()
        .map_err(|_| Mistake::new(format!("`{text}` is not a broadcast address")))
}

/// The name of the interface, which need not exist if it is written with a prefix length, and the prefix length.
fn find_place(written: &WrittenAddress, network: &Network) -> Result<(String, u8), Mistake> {
    let named = written.interface.as_deref();
    if let (Some(name), Some(prefix)) = (named, written.prefix) {
        return Ok((name.to_owned(), prefix));
    }
    let named = named
        .map(|name| {
            network
                .link(name)
                .ok_or_else(|| no_interface(name, network))
        })
        .transpose()?;
    let (link, prefix) = find_route(written, named, written.prefix, network)?;
    Ok((link.name.clone(), prefix))
}

fn finish(
    written: &WrittenAddress,
    interface: &str,
    prefix: u8,
) -> Result<VirtualAddress, Mistake> {
    if let Some(network_part) = not_a_host(written.ip, prefix) {
        return Err(Mistake::new(format!(
            "{} is the {network_part} address of its network (/{prefix}); no node can have it",
            written.ip
        )));
    }
    Ok(VirtualAddress {
        ip: written.ip,
        prefix,
        interface: interface.to_owned(),
        label: written.label.clone(),
        broadcast: written.broadcast.or(broadcast(written.ip, prefix)),
        open: None,
    })
}

fn no_interface(name: &str, network: &Network) -> Mistake {
    Mistake::new(format!("there is no interface `{name}` on this node"))
        .help(format!("its interfaces are {}", network.names()))
}

/// Completes interface and prefix from the routes: the connected network of the address with the longest prefix, then the
/// lowest metric. If only the prefix is written, the route may also lead over a gateway.
fn find_route<'n>(
    written: &WrittenAddress,
    named: Option<&'n Link>,
    prefix: Option<u8>,
    network: &'n Network,
) -> Result<(&'n Link, u8), Mistake> {
    let ip = written.ip;
    if ip.is_loopback()
        && let Some(lo) = network.link("lo")
    {
        return Ok((lo, prefix.unwrap_or(if ip.is_ipv4() { 8 } else { 128 })));
    }
    let fits = |route: &&Route| {
        named.is_none_or(|l| l.index == route.index)
            && network.links.iter().any(|l| l.index == route.index)
            && contains(route.destination, route.prefix, ip)
            && (route.connected || prefix.is_some())
    };
    let best = network
        .routes
        .iter()
        .filter(fits)
        .max_by_key(|r| (r.connected, r.prefix, std::cmp::Reverse(r.metric)));
    let found = best.and_then(|route| {
        let link = network.links.iter().find(|l| l.index == route.index)?;
        Some((link, prefix.unwrap_or(route.prefix)))
    });
    found.ok_or_else(|| unconnected(ip, named))
}

fn unconnected(ip: IpAddr, named: Option<&Link>) -> Mistake {
    let example = if ip.is_ipv4() { 24 } else { 64 };
    match named {
        Some(link) => Mistake::new(format!(
            "{ip} belongs to no network that is connected to {}, so its prefix length is not known",
            link.name
        ))
        .help(format!("write it: {ip}/{example}/{}", link.name)),
        None => Mistake::new(format!(
            "{ip} belongs to no connected network of this node, so neither its interface nor its prefix length is known"
        ))
        .help(format!("write them: {ip}/{example}/eth0")),
    }
}

/// The length of the address in bits.
fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

pub(super) fn contains(network: IpAddr, prefix: u8, ip: IpAddr) -> bool {
    network.is_ipv4() == ip.is_ipv4() && network_of(network, prefix) == network_of(ip, prefix)
}

/// The network of an address: the bits after the prefix are zero.
fn network_of(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & mask(prefix)).into(),
        IpAddr::V6(v6) => {
            let behind = 128_u32.saturating_sub(prefix.into());
            let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(32_u32.saturating_sub(prefix.into()))
        .unwrap_or(0)
}

/// The broadcast address of an IPv4 network. Networks of one or two addresses have none.
fn broadcast(ip: IpAddr, prefix: u8) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(v4) if prefix < 31 => Some(Ipv4Addr::from(v4.to_bits() | !mask(prefix))),
        _ => None,
    }
}

fn not_a_host(ip: IpAddr, prefix: u8) -> Option<&'static str> {
    let last = broadcast(ip, prefix)?;
    let IpAddr::V4(v4) = ip else { return None };
    if v4 == last {
        Some("broadcast")
    } else if v4.to_bits() & !mask(prefix) == 0 {
        Some("network")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
