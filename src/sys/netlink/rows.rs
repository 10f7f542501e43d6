//! What the kernel's tables hold, and how it is written in netlink messages.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use pnet::util::MacAddr;
use rtnetlink::AddressMessageBuilder;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use rtnetlink::packet_route::link::{
    InfoBond, InfoData, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

/// `IFA_PROTO` of the addresses that we add: tells them from all others after a crash.
const OUR_PROTOCOL: u8 = 0x68;
/// The routing table that `ip route` shows.
const TABLE_MAIN: u32 = 254;
/// `ifa_valid` of an address that stays until deleted.
const FOREVER: u32 = u32::MAX;

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub index: u32,
    /// The address.
    pub ip: IpAddr,
    /// Bits of its network.
    pub prefix: u8,
    /// Broadcast address, IPv4 only.
    pub broadcast: Option<Ipv4Addr>,
    /// Label, IPv4 only; the interface's name when none was given.
    pub label: Option<String>,
    /// After how long the kernel removes it by itself; `None` is never. Whole seconds.
    pub valid: Option<Duration>,
    /// Whether it carries our mark (kernels since 5.18 keep it).
    pub ours: bool,
    /// Whether it carries any mark. If none does, this kernel keeps none.
    pub marked: bool,
    /// Whether the kernel makes a route to its network for it.
    pub prefix_route: bool,
    /// Whether the kernel takes it for the source of connections only if there is no other address. IPv6 only.
    pub deprecated: bool,
    /// Not usable yet: duplicate address detection runs. IPv6 only.
    pub tentative: bool,
    /// Duplicate address detection found another owner. IPv6 only.
    pub duplicate: bool,
}

impl Address {
    /// A lasting address without label or broadcast, marked as ours.
    pub fn new(index: u32, ip: IpAddr, prefix: u8) -> Self {
        Address {
            index,
            ip,
            prefix,
            broadcast: None,
            label: None,
            valid: None,
            ours: true,
            marked: true,
            prefix_route: true,
            deprecated: false,
            tentative: false,
            duplicate: false,
        }
    }

    /// Whether this is the same address on the same interface, whatever its label or lifetime.
    pub fn same_place(&self, other: &Address) -> bool {
        self.index == other.index && self.ip == other.ip && self.prefix == other.prefix
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)?;
        match &self.label {
            Some(label) => write!(f, " ({label})"),
            None => write!(f, " on interface {}", self.index),
        }
    }
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number, which changes when it is made anew.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, where it is an Ethernet one.
    pub mac: Option<MacAddr>,
    /// Whether an administrator switched it on.
    pub up: bool,
    /// Whether there is a carrier.
    pub carrier: bool,
    /// The bond or bridge of which it is a member.
    pub master: Option<u32>,
    /// The interface below it, of a VLAN or a macvlan.
    pub lower: Option<u32>,
    /// The member through which a bond sends.
    pub active: Option<u32>,
    /// Whether neighbours are asked for on it (Ethernet, not loopback, not `-arp`).
    pub arp: bool,
}

#[cfg(test)]
impl Link {
    /// An interface that is up.
    pub fn sample(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mac: None,
            master: None,
            lower: None,
            active: None,
            up: true,
            carrier: true,
            arp: true,
        }
    }
}

/// A unicast route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: IpAddr,
    /// Bits of the destination that count; 0 for a default route.
    pub prefix: u8,
    /// The interface; 0 for a default route by several gateways.
    pub index: u32,
    /// Its metric; the lower is preferred.
    pub metric: u32,
    /// Whether the network itself is on that interface, without a gateway.
    pub connected: bool,
}

fn address_message(address: &Address) -> AddressMessage {
    let mut message = match address.ip {
        IpAddr::V4(ip) => AddressMessageBuilder::<Ipv4Addr>::new()
            .address(ip, address.prefix)
            .build(),
        IpAddr::V6(ip) => AddressMessageBuilder::<Ipv6Addr>::new()
            .address(ip, address.prefix)
            .build(),
    };
    message.header.index = address.index;
    message
}

pub(super) fn add_request(address: &Address) -> RouteNetlinkMessage {
    let mut message = address_message(address);
    let attributes = &mut message.attributes;
    attributes.retain(|a| !matches!(a, AddressAttribute::Broadcast(_)));
    attributes.extend(address.broadcast.map(AddressAttribute::Broadcast));
    attributes.extend(address.label.clone().map(AddressAttribute::Label));
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Nodad, address.ip.is_ipv6());
    flags.set(AddressFlags::Noprefixroute, !address.prefix_route);
    attributes.push(AddressAttribute::Flags(flags));
    if address.ours {
        attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(
            OUR_PROTOCOL,
        )));
    }
    let mut lifetime = CacheInfo::default();
    lifetime.ifa_valid = address
        .valid
        .map_or(FOREVER, |d| u32::try_from(d.as_secs()).unwrap_or(FOREVER));
    lifetime.ifa_preferred = if address.deprecated {
        0
    } else {
        lifetime.ifa_valid
    };
    attributes.push(AddressAttribute::CacheInfo(lifetime));
    RouteNetlinkMessage::NewAddress(message)
}

/// Without a label: with a wrong one the kernel would not find it.
pub(super) fn delete_request(address: &Address) -> RouteNetlinkMessage {
    let mut message = address_message(address);
    message
        .attributes
        .retain(|a| !matches!(a, AddressAttribute::Broadcast(_)));
    RouteNetlinkMessage::DelAddress(message)
}

pub(super) fn address_of_message(message: &RouteNetlinkMessage) -> Option<Address> {
    match message {
        RouteNetlinkMessage::NewAddress(m) => address_of(m),
        _ => None,
    }
}

pub(super) fn address_of(message: &AddressMessage) -> Option<Address> {
    let mut local = None;
    let mut peer = None;
    let placeholder = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let mut address = Address::new(message.header.index, placeholder, message.header.prefix_len);
    (address.ours, address.marked) = (false, false);
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link `Address` is the other end and `Local` is this one.
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => peer = Some(*ip),
            AddressAttribute::Broadcast(ip) => address.broadcast = Some(*ip),
            AddressAttribute::Label(label) => address.label = Some(label.clone()),
            AddressAttribute::Protocol(p) => {
                address.ours = u8::from(*p) == OUR_PROTOCOL;
                address.marked = true;
            }
            AddressAttribute::Flags(flags) => {
                address.tentative = flags.contains(AddressFlags::Tentative);
                address.prefix_route = !flags.contains(AddressFlags::Noprefixroute);
                address.duplicate = flags.contains(AddressFlags::Dadfailed);
                address.deprecated = flags.contains(AddressFlags::Deprecated);
            }
            AddressAttribute::CacheInfo(info) if info.ifa_valid != FOREVER => {
                address.valid = Some(Duration::from_secs(info.ifa_valid.into()));
            }
            _ => {}
        }
    }
    address.ip = local.or(peer)?;
    Some(address)
}

pub(super) fn link_of(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let mut name = None;
    let (mut mac, mut master, mut lower, mut active) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Controller(index) => master = Some(*index),
            LinkAttribute::Link(index) => lower = Some(*index),
            LinkAttribute::LinkInfo(infos) => active = infos.iter().find_map(active_port),
            LinkAttribute::Address(bytes) if ethernet => {
                mac = <[u8; 6]>::try_from(bytes.as_slice())
                    .ok()
                    .map(MacAddr::from);
            }
            _ => {}
        }
    }
    Some(Link {
        index: message.header.index,
        name: name?,
        mac,
        master,
        lower,
        active,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        arp: ethernet && !flags.intersects(LinkFlags::Noarp | LinkFlags::Loopback),
    })
}

fn active_port(info: &LinkInfo) -> Option<u32> {
    let LinkInfo::Data(InfoData::Bond(of_bond)) = info else {
        return None;
    };
    of_bond.iter().find_map(|attribute| match attribute {
        InfoBond::ActivePort(index) => Some(*index),
        _ => None,
    })
}

pub(super) fn route_of(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    let mut table = u32::from(header.table);
    let mut index = None;
    let mut destination = None;
    let mut metric = 0;
    let mut connected = true;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => {
                destination = Some(IpAddr::V4(*ip));
            }
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => {
                destination = Some(IpAddr::V6(*ip));
            }
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => connected = false,
            _ => {}
        }
    }
    if table != TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    Some(Route {
        destination: destination.unwrap_or(any),
        prefix: header.destination_prefix_length,
        // A default route by several gateways has no interface of its own.
        index: index.or((header.destination_prefix_length == 0).then_some(0))?,
        metric,
        connected: connected && header.destination_prefix_length > 0,
    })
}
