//! Builds and parses the frames that announce an address or ask who has it: ARP for IPv4, neighbour discovery for IPv6.
//! [`super::packet`] sends and receives them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet::packet::Packet;
use pnet::packet::arp::{
    ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket,
};
use pnet::packet::ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOption, NdpOptionTypes,
    NeighborAdvertPacket,
};
use pnet::packet::icmpv6::{self, Icmpv6Packet, Icmpv6Types};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv6::{Ipv6Packet, MutableIpv6Packet};
use pnet::util::MacAddr;

const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV6: usize = 40;
const SOLICIT: usize = 24;
/// An advertisement with one option, the hardware address.
const ADVERT: usize = 24 + 8;
/// The hop limit of a frame that no router has forwarded. Receivers drop any other.
const HOP_LIMIT: u8 = 255;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const FLAG_ROUTER: u8 = 0x80;
const FLAG_OVERRIDE: u8 = 0x20;

/// A machine has shown that it has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressAnswer {
    /// The address.
    pub ip: IpAddr,
    /// The hardware address of the machine.
    pub mac: MacAddr,
}

/// The frames that announce `ip` at `mac`, in order. IPv4: a gratuitous ARP request (target hardware address zero) and a
/// gratuitous ARP reply, because caches differ in which of the two they accept. IPv6: one unsolicited neighbour advertisement;
/// `router` tells whether this machine is a router: a wrong flag would remove it from the receivers' list of routers.
pub fn announcement(mac: MacAddr, ip: IpAddr, router: bool) -> Vec<Vec<u8>> {
    match ip {
        IpAddr::V4(ip) => vec![
            arp(mac, ArpOperations::Request, ip, MacAddr::zero(), ip),
            arp(mac, ArpOperations::Reply, ip, mac, ip),
        ],
        IpAddr::V6(ip) => vec![advertisement(mac, ip, router)],
    }
}

/// An ARP request from `ip` at `mac` for `other`. The machine that answers learns the sender.
pub fn request(mac: MacAddr, ip: Ipv4Addr, other: Ipv4Addr) -> Vec<u8> {
    arp(mac, ArpOperations::Request, ip, MacAddr::zero(), other)
}

/// The frame that asks who has `ip` without changing any cache: an ARP probe with the sender 0.0.0.0 (RFC 5227) or the
/// solicitation of duplicate address detection (RFC 4862).
pub fn probe(mac: MacAddr, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => arp(
            mac,
            ArpOperations::Request,
            Ipv4Addr::UNSPECIFIED,
            MacAddr::zero(),
            ip,
        ),
        IpAddr::V6(ip) => solicitation(mac, ip),
    }
}

/// Parses a received frame. An ARP packet shows the address of its sender, whether it is a request or a reply.
pub fn parse_answer(frame: &[u8]) -> Option<AddressAnswer> {
    let ethernet = EthernetPacket::new(frame)?;
    match ethernet.get_ethertype() {
        EtherTypes::Arp => parse_arp(ethernet.payload()),
        EtherTypes::Ipv6 => parse_advertisement(ethernet.get_source(), ethernet.payload()),
        _ => None,
    }
}

fn parse_arp(bytes: &[u8]) -> Option<AddressAnswer> {
    let arp = ArpPacket::new(bytes)?;
    let sound = arp.get_protocol_type() == EtherTypes::Ipv4
        && arp.get_hw_addr_len() == 6
        && arp.get_proto_addr_len() == 4;
    let ip = arp.get_sender_proto_addr();
    (sound && !ip.is_unspecified()).then(|| AddressAnswer {
        ip: IpAddr::V4(ip),
        mac: arp.get_sender_hw_addr(),
    })
}

fn parse_advertisement(source: MacAddr, bytes: &[u8]) -> Option<AddressAnswer> {
    let ipv6 = Ipv6Packet::new(bytes)?;
    if ipv6.get_next_header() != IpNextHeaderProtocols::Icmpv6 || ipv6.get_hop_limit() != HOP_LIMIT
    {
        return None;
    }
    let advert = NeighborAdvertPacket::new(ipv6.payload())?;
    if advert.get_icmpv6_type() != Icmpv6Types::NeighborAdvert {
        return None;
    }
    Some(AddressAnswer {
        ip: IpAddr::V6(advert.get_target_addr()),
        mac: source,
    })
}

fn ethernet(frame: &mut [u8], from: MacAddr, to: MacAddr, kind: EtherType) {
    if let Some(mut ethernet) = MutableEthernetPacket::new(frame) {
        ethernet.set_destination(to);
        ethernet.set_source(from);
        ethernet.set_ethertype(kind);
    }
}

fn arp(
    mac: MacAddr,
    operation: ArpOperation,
    sender: Ipv4Addr,
    target_mac: MacAddr,
    target: Ipv4Addr,
) -> Vec<u8> {
    let mut frame = vec![0_u8; ETHERNET + ARP];
    ethernet(&mut frame, mac, MacAddr::broadcast(), EtherTypes::Arp);
    if let Some(mut arp) = frame.get_mut(ETHERNET..).and_then(MutableArpPacket::new) {
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(operation);
        arp.set_sender_hw_addr(mac);
        arp.set_sender_proto_addr(sender);
        arp.set_target_hw_addr(target_mac);
        arp.set_target_proto_addr(target);
    }
    frame
}

fn advertisement(mac: MacAddr, ip: Ipv6Addr, router: bool) -> Vec<u8> {
    let mut body = vec![0_u8; ADVERT];
    if let Some(mut advert) = MutableNeighborAdvertPacket::new(&mut body) {
        advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
        advert.set_flags(FLAG_OVERRIDE | if router { FLAG_ROUTER } else { 0 });
        advert.set_target_addr(ip);
        advert.set_options(&[NdpOption {
            option_type: NdpOptionTypes::TargetLLAddr,
            length: 1,
            data: mac.octets().to_vec(),
        }]);
    }
    icmpv6(mac, ip, ALL_NODES, &mut body)
}

fn solicitation(mac: MacAddr, ip: Ipv6Addr) -> Vec<u8> {
    let mut body = vec![0_u8; SOLICIT];
    if let Some(mut solicit) = MutableNeighborSolicitPacket::new(&mut body) {
        solicit.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
        solicit.set_target_addr(ip);
    }
    let [.., a, b, c] = ip.octets();
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        u16::from_be_bytes([0xff, a]),
        u16::from_be_bytes([b, c]),
    );
    icmpv6(mac, Ipv6Addr::UNSPECIFIED, group, &mut body)
}

/// Adds the checksum to an ICMPv6 message to a multicast address, and the IPv6 and Ethernet headers.
fn icmpv6(mac: MacAddr, from: Ipv6Addr, to: Ipv6Addr, body: &mut [u8]) -> Vec<u8> {
    if let Some(packet) = Icmpv6Packet::new(body) {
        let checksum = icmpv6::checksum(&packet, &from, &to);
        if let Some(mut packet) = icmpv6::MutableIcmpv6Packet::new(body) {
            packet.set_checksum(checksum);
        }
    }
    let mut frame = vec![0_u8; ETHERNET + IPV6 + body.len()];
    let [.., a, b, c, d] = to.octets();
    let group = MacAddr::new(0x33, 0x33, a, b, c, d);
    ethernet(&mut frame, mac, group, EtherTypes::Ipv6);
    if let Some(mut ipv6) = frame.get_mut(ETHERNET..).and_then(MutableIpv6Packet::new) {
        ipv6.set_version(6);
        ipv6.set_payload_length(u16::try_from(body.len()).unwrap_or(0));
        ipv6.set_next_header(IpNextHeaderProtocols::Icmpv6);
        ipv6.set_hop_limit(HOP_LIMIT);
        ipv6.set_source(from);
        ipv6.set_destination(to);
        ipv6.set_payload(body);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr(2, 0, 0, 0, 0, 7);

    #[test]
    fn an_ipv4_announcement_is_a_request_and_a_reply_that_name_us() {
        let ip = IpAddr::from([10, 0, 0, 5]);
        let frames = announcement(MAC, ip, false);
        assert_eq!(frames.len(), 2);
        for frame in &frames {
            assert_eq!(frame.get(..6), Some(&[0xff; 6][..]));
            assert_eq!(parse_answer(frame), Some(AddressAnswer { ip, mac: MAC }));
        }
        let request = ArpPacket::new(&frames[0][ETHERNET..]).unwrap();
        assert_eq!(request.get_operation(), ArpOperations::Request);
        assert_eq!(request.get_target_hw_addr(), MacAddr::zero());
        assert_eq!(request.get_target_proto_addr(), Ipv4Addr::new(10, 0, 0, 5));
        let reply = ArpPacket::new(&frames[1][ETHERNET..]).unwrap();
        assert_eq!(reply.get_operation(), ArpOperations::Reply);
        assert_eq!(reply.get_target_hw_addr(), MAC);
    }

    #[test]
    fn a_probe_is_nobodys_answer() {
        assert_eq!(parse_answer(&probe(MAC, IpAddr::from([10, 0, 0, 5]))), None);
        assert_eq!(parse_answer(&probe(MAC, "fd00::5".parse().unwrap())), None);
    }

    #[test]
    fn an_ipv6_advertisement_overrides_at_all_nodes_with_hop_limit_255() {
        let ip: IpAddr = "fd00::5".parse().unwrap();
        let frame = announcement(MAC, ip, false).remove(0);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        let ipv6 = Ipv6Packet::new(&frame[ETHERNET..]).unwrap();
        assert_eq!(ipv6.get_hop_limit(), 255);
        let advert = NeighborAdvertPacket::new(ipv6.payload()).unwrap();
        assert_eq!(advert.get_flags(), FLAG_OVERRIDE);
        assert_eq!(advert.get_options()[0].data, MAC.octets());
        assert_eq!(parse_answer(&frame), Some(AddressAnswer { ip, mac: MAC }));
    }

    #[test]
    fn an_advertisement_from_behind_a_router_is_not_believed() {
        let mut frame = announcement(MAC, "fd00::5".parse().unwrap(), true).remove(0);
        frame[ETHERNET + 7] = 64;
        assert_eq!(parse_answer(&frame), None);
    }

    #[test]
    fn a_solicitation_goes_to_the_group_of_its_target() {
        let frame = probe(MAC, "fd00::12:3456".parse().unwrap());
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    }

    proptest::proptest! {
        #[test]
        fn no_frame_makes_the_reader_fall(bytes: Vec<u8>) {
            let _answer = parse_answer(&bytes);
        }
    }
}
