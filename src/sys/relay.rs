//! Datagrams that bounce off a third machine. The sender writes an echo request whose source is the address of the receiver;
//! the third machine answers to the receiver, and the answer has the same payload.
//!
//! The receiver reads such answers with `AF_PACKET`, below the firewall. A socket filter passes nothing else, so other
//! traffic costs nothing.
//!
//! ```text
//! IP header | type code checksum id sequence | magic (4 bytes) | payload
//! ```

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pnet::packet::Packet;
use pnet::packet::icmp::IcmpTypes;
use pnet::packet::icmpv6::Icmpv6Types;
use pnet::packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet::packet::ipv4::{Ipv4Packet, MutableIpv4Packet};
use pnet::packet::ipv6::{Ipv6Packet, MutableIpv6Packet};
use pnet::packet::util::{checksum, ipv6_checksum};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::packet::{link_address, registered};
use super::udp::set_receive_buffer;

/// Begins the payload.
const MAGIC: u32 = u32::from_be_bytes(*b"had\x01");
const ICMP_HEADER: usize = 8;
const PREFIX: usize = ICMP_HEADER + 4;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const HOPS: u8 = 64;
/// A jumbo frame; heartbeats are near the size of a usual one.
const LONGEST: usize = 9216;

/// Sends datagrams through other machines.
#[derive(Debug)]
pub struct RelaySender {
    v4: Option<Socket>,
    v6: Option<Socket>,
    id: u16,
}

impl RelaySender {
    /// For machines of these families. All who exchange datagrams use the same id.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`.
    pub fn open(v4: bool, v6: bool, id: u16) -> io::Result<RelaySender> {
        // This protocol means that the packet begins with the IP header.
        let open = |domain| {
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        Ok(RelaySender {
            v4: v4.then(|| open(Domain::IPV4)).transpose()?,
            v6: v6.then(|| open(Domain::IPV6)).transpose()?,
            id,
        })
    }

    /// Sends a datagram through `relay` to the machine with the address `to`. Never blocks.
    ///
    /// # Errors
    /// When the addresses are of two families, there is no route, or the datagram is too long for one packet.
    pub fn send(&self, relay: IpAddr, to: IpAddr, sequence: u16, bytes: &[u8]) -> io::Result<()> {
        let (socket, packet) = match (relay, to) {
            (IpAddr::V4(relay), IpAddr::V4(to)) => {
                (&self.v4, self.ipv4(relay, to, sequence, bytes))
            }
            (IpAddr::V6(relay), IpAddr::V6(to)) => {
                (&self.v6, self.ipv6(relay, to, sequence, bytes))
            }
            _ => return Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let packet = packet.ok_or(io::ErrorKind::InvalidInput)?;
        let address = SocketAddr::new(relay, 0);
        socket.send_to(&packet, &address.into()).map(drop)
    }

    fn ipv4(&self, relay: Ipv4Addr, to: Ipv4Addr, sequence: u16, bytes: &[u8]) -> Option<Vec<u8>> {
        let request = self.echo_request(IcmpTypes::EchoRequest.0, sequence, bytes, |r| {
            checksum(r, 1)
        });
        let length = IPV4_HEADER + request.len();
        let mut packet = MutableIpv4Packet::owned(vec![0; length])?;
        packet.set_version(4);
        packet.set_header_length(5);
        packet.set_total_length(u16::try_from(length).ok()?);
        packet.set_ttl(HOPS);
        packet.set_next_level_protocol(IpNextHeaderProtocols::Icmp);
        packet.set_source(to);
        packet.set_destination(relay);
        packet.set_payload(&request);
        Some(packet.packet().to_vec())
    }

    fn ipv6(&self, relay: Ipv6Addr, to: Ipv6Addr, sequence: u16, bytes: &[u8]) -> Option<Vec<u8>> {
        let protocol = IpNextHeaderProtocols::Icmpv6;
        let sum = |request: &[u8]| ipv6_checksum(request, 1, &[], &to, &relay, protocol);
        let request = self.echo_request(Icmpv6Types::EchoRequest.0, sequence, bytes, sum);
        let mut packet = MutableIpv6Packet::owned(vec![0; IPV6_HEADER + request.len()])?;
        packet.set_version(6);
        packet.set_payload_length(u16::try_from(request.len()).ok()?);
        packet.set_next_header(protocol);
        packet.set_hop_limit(HOPS);
        packet.set_source(to);
        packet.set_destination(relay);
        packet.set_payload(&request);
        Some(packet.packet().to_vec())
    }

    fn echo_request(
        &self,
        kind: u8,
        sequence: u16,
        bytes: &[u8],
        sum: impl Fn(&[u8]) -> u16,
    ) -> Vec<u8> {
        let build = |sum: u16| {
            let mut request = vec![kind, 0];
            request.extend_from_slice(&sum.to_be_bytes());
            request.extend_from_slice(&self.id.to_be_bytes());
            request.extend_from_slice(&sequence.to_be_bytes());
            request.extend_from_slice(&MAGIC.to_be_bytes());
            request.extend_from_slice(bytes);
            request
        };
        build(sum(&build(0)))
    }
}

/// Receives the datagrams of one address family that were sent to this machine through another.
pub struct RelayReceiver {
    socket: AsyncFd<Socket>,
    v6: bool,
}

impl RelayReceiver {
    /// Receives on all interfaces. Must be called inside a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`.
    pub fn open(v6: bool, id: u16) -> io::Result<RelayReceiver> {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        let ethertype = if v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
        set_receive_buffer(&socket)?;
        socket.attach_filter(&if v6 { ipv6_filter(id) } else { ipv4_filter(id) })?;
        let protocol = u16::try_from(ethertype).map_err(io::Error::other)?;
        socket.bind(&link_address(0, protocol)?)?;
        let socket = registered(socket, Interest::READABLE)?;
        Ok(RelayReceiver { socket, v6 })
    }

    /// The next datagram: the machine that it came through, and its payload. Safe to cancel.
    ///
    /// # Errors
    /// The kernel's, for which no cause is known.
    pub async fn next(&self) -> io::Result<(IpAddr, Vec<u8>)> {
        let mut buffer = vec![0; LONGEST];
        loop {
            let read = |socket: &Socket| (&mut &*socket).read(&mut buffer);
            let length = self.socket.async_io(Interest::READABLE, read).await?;
            let packet = buffer.get(..length).unwrap_or_default();
            let datagram = if self.v6 {
                parse_ipv6(packet)
            } else {
                parse_ipv4(packet)
            };
            if let Some(datagram) = datagram {
                return Ok(datagram);
            }
        }
    }
}

fn parse_ipv4(bytes: &[u8]) -> Option<(IpAddr, Vec<u8>)> {
    let packet = Ipv4Packet::new(bytes)?;
    let payload = packet.payload().get(PREFIX..)?;
    Some((packet.get_source().into(), payload.to_vec()))
}

fn parse_ipv6(bytes: &[u8]) -> Option<(IpAddr, Vec<u8>)> {
    let packet = Ipv6Packet::new(bytes)?;
    let payload = packet.payload().get(PREFIX..)?;
    Some((packet.get_source().into(), payload.to_vec()))
}

const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const LOAD_HALF_AT: u16 = 0x48; // BPF_LD | BPF_H | BPF_IND
const LOAD_WORD_AT: u16 = 0x40; // BPF_LD | BPF_W | BPF_IND
const LOAD_HEADER_LENGTH: u16 = 0xb1; // BPF_LDX | BPF_B | BPF_MSH
const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_IF_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
/// Where a filter finds the kind of a packet: 0 is one for this machine. `SKF_AD_OFF + SKF_AD_PKTTYPE`.
const PACKET_TYPE: u32 = 0xffff_f004;
const FOR_THIS_MACHINE: u32 = 0;

/// Passes echo replies to this machine with this id and [`MAGIC`], unless they are fragments.
fn ipv4_filter(id: u16) -> Vec<SockFilter> {
    const FRAGMENT_OFFSET: u32 = 0x1fff;
    const ECHO_REPLY: u32 = 0;
    vec![
        SockFilter::new(LOAD_BYTE, 0, 0, PACKET_TYPE),
        SockFilter::new(JUMP_IF_EQUAL, 0, 12, FOR_THIS_MACHINE),
        SockFilter::new(LOAD_BYTE, 0, 0, 9),
        SockFilter::new(
            JUMP_IF_EQUAL,
            0,
            10,
            protocol_number(IpNextHeaderProtocols::Icmp),
        ),
        SockFilter::new(LOAD_HALF, 0, 0, 6),
        SockFilter::new(JUMP_IF_SET, 8, 0, FRAGMENT_OFFSET),
        SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0),
        SockFilter::new(LOAD_HALF_AT, 0, 0, 0),
        SockFilter::new(JUMP_IF_EQUAL, 0, 5, ECHO_REPLY),
        SockFilter::new(LOAD_HALF_AT, 0, 0, 4),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, id.into()),
        SockFilter::new(LOAD_WORD_AT, 0, 0, 8),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, MAGIC),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// The same for IPv6, where no other header may stand before the reply.
fn ipv6_filter(id: u16) -> Vec<SockFilter> {
    const ECHO_REPLY: u32 = 129 << 8;
    const ICMP: u32 = 40;
    vec![
        SockFilter::new(LOAD_BYTE, 0, 0, PACKET_TYPE),
        SockFilter::new(JUMP_IF_EQUAL, 0, 9, FOR_THIS_MACHINE),
        SockFilter::new(LOAD_BYTE, 0, 0, 6),
        SockFilter::new(
            JUMP_IF_EQUAL,
            0,
            7,
            protocol_number(IpNextHeaderProtocols::Icmpv6),
        ),
        SockFilter::new(LOAD_HALF, 0, 0, ICMP),
        SockFilter::new(JUMP_IF_EQUAL, 0, 5, ECHO_REPLY),
        SockFilter::new(LOAD_HALF, 0, 0, ICMP + 4),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, id.into()),
        SockFilter::new(LOAD_WORD, 0, 0, ICMP + 8),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, MAGIC),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

fn protocol_number(protocol: IpNextHeaderProtocol) -> u32 {
    protocol.0.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::sys::machine::on_a_wire;

    const LONG: Duration = Duration::from_secs(30);
    const ID: u16 = 0x4711;

    /// The machine on the right bounces what left sends back to left.
    #[test]
    fn a_datagram_bounces_off_another_machine() {
        on_a_wire(async |wire| {
            let sender = wire.left(|| RelaySender::open(true, true, ID)).unwrap();
            for (v6, relay, to) in [
                (false, "10.0.0.2", "10.0.0.1"),
                (true, "fd00::2", "fd00::1"),
            ] {
                let (relay, to): (IpAddr, IpAddr) = (relay.parse().unwrap(), to.parse().unwrap());
                let receiver = wire.left(|| RelayReceiver::open(v6, ID)).unwrap();
                for payload in [vec![7; 1300], vec![], vec![1]] {
                    sender.send(relay, to, 1, &payload).unwrap();
                    let next = timeout(LONG, receiver.next()).await.unwrap().unwrap();
                    assert_eq!(next, (relay, payload));
                }
            }
        });
    }

    /// Neither another id nor an ordinary echo reply passes; the last datagram shows that the socket works.
    #[test]
    fn nothing_else_passes() {
        on_a_wire(async |wire| {
            let relay: IpAddr = "10.0.0.2".parse().unwrap();
            let to: IpAddr = "10.0.0.1".parse().unwrap();
            let receiver = wire.left(|| RelayReceiver::open(false, ID)).unwrap();
            let foreign = wire
                .left(|| RelaySender::open(true, false, ID + 1))
                .unwrap();
            let pinger = wire
                .left(|| crate::sys::icmp::Pinger::open(vec![relay]))
                .unwrap();
            let ours = wire.left(|| RelaySender::open(true, false, ID)).unwrap();
            foreign.send(relay, to, 1, b"foreign").unwrap();
            assert!(pinger.ping_all(1).is_empty());
            timeout(LONG, pinger.next_reply()).await.unwrap().unwrap();
            ours.send(relay, to, 1, b"ours").unwrap();
            let (_, payload) = timeout(LONG, receiver.next()).await.unwrap().unwrap();
            assert_eq!(payload, b"ours");
        });
    }

    /// The filter of the kernel looks at little, so damaged headers get here.
    #[test]
    fn what_a_damaged_packet_says_of_its_lengths_is_not_believed() {
        let header = |v6: bool| if v6 { IPV6_HEADER } else { IPV4_HEADER };
        for v6 in [false, true] {
            for damaged in 0..header(v6) {
                for value in 0..=u8::MAX {
                    let mut packet = [0xff; 60];
                    packet[damaged] = value;
                    for length in [0, 1, header(v6), header(v6) + PREFIX, 60] {
                        let bytes = &packet[..length];
                        let parsed = if v6 {
                            parse_ipv6(bytes)
                        } else {
                            parse_ipv4(bytes)
                        };
                        let payload = parsed.map_or(0, |(_, payload)| payload.len());
                        assert!(payload <= length.saturating_sub(header(v6) + PREFIX));
                    }
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_sent_is_an_error() {
        on_a_wire(async |wire| {
            let sender = wire.left(|| RelaySender::open(true, false, ID)).unwrap();
            let [v4, v6]: [IpAddr; 2] = ["10.0.0.2", "fd00::2"].map(|a| a.parse().unwrap());
            let too_long = sender.send(v4, v4, 1, &[0; 4000]).unwrap_err();
            assert_eq!(too_long.raw_os_error(), Some(libc::EMSGSIZE));
            assert!(sender.send(v4, v6, 1, b"x").is_err(), "two families");
            assert!(sender.send(v6, v6, 1, b"x").is_err(), "no socket for it");
        });
    }
}
