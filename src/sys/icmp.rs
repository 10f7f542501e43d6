//! Pings the ping nodes.
//!
//! There is one raw socket for each address family that has a target. A socket filter passes only echo replies with our id, so
//! other pings on this machine cost nothing. Raw sockets also work in a new namespace, where ping sockets are refused even to
//! root.
//!
//! ```text
//! type code checksum | id  sequence | cookie (8 bytes) | target (2 bytes)
//! ```
//! The cookie distinguishes our replies from those to another process with the same id. The target number distinguishes two targets
//! with the same address.

use std::io;
use std::net::{IpAddr, SocketAddr};

use pnet::packet::util::checksum;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::UdpSocket;

use super::clock;

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// Header, cookie and target.
const LENGTH: usize = 8 + 8 + 2;

/// The longest IPv4 header.
const IPV4_HEADER: usize = 60;

/// Sends echo requests to a fixed list of targets and receives the replies.
#[derive(Debug)]
pub struct Pinger {
    targets: Vec<IpAddr>,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    id: u16,
    cookie: u64,
}

/// An echo reply to one of our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoReply {
    /// The index of the target.
    pub target: usize,
    /// The sequence number of the request.
    pub sequence: u16,
}

impl Pinger {
    /// Opens the sockets that these targets need. Must be called inside a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW.
    pub fn open(targets: Vec<IpAddr>) -> io::Result<Pinger> {
        let pid = std::process::id();
        let id = u16::try_from(pid & 0xffff).unwrap_or_default();
        let socket = |wanted: bool, v6: bool| {
            let open = || open(v6, id).map_err(|e| explain_error(&e));
            wanted.then(open).transpose()
        };
        Ok(Pinger {
            v4: socket(targets.iter().any(IpAddr::is_ipv4), false)?,
            v6: socket(targets.iter().any(IpAddr::is_ipv6), true)?,
            targets,
            id,
            cookie: clock::now().0 ^ u64::from(pid).rotate_left(48),
        })
    }

    /// The address of a target.
    pub fn target(&self, index: usize) -> Option<IpAddr> {
        self.targets.get(index).copied()
    }

    /// How many targets there are.
    pub fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Sends an echo request with this sequence number to every target. Returns those for which that failed, and why: usually
    /// there is no route. Never blocks.
    pub fn ping_all(&self, sequence: u16) -> Vec<(usize, io::Error)> {
        let failed = |(index, target): (usize, &IpAddr)| {
            let sent = self.ping(index, *target, sequence);
            sent.err().map(|e| (index, e))
        };
        self.targets.iter().enumerate().filter_map(failed).collect()
    }

    fn ping(&self, index: usize, target: IpAddr, sequence: u16) -> io::Result<()> {
        let number = u16::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
        let (socket, kind) = match target {
            IpAddr::V4(_) => (&self.v4, ECHO_REQUEST),
            IpAddr::V6(_) => (&self.v6, ECHO_REQUEST_V6),
        };
        let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let packet = self.packet(kind, sequence, number);
        let to = SocketAddr::new(target, 0);
        // Not through the runtime, which would refuse until it has seen the socket ready once.
        SockRef::from(socket)
            .send_to(&packet, &to.into())
            .map(|_sent| ())
    }

    fn packet(&self, kind: u8, sequence: u16, target: u16) -> Vec<u8> {
        let build = |sum: u16| {
            let mut packet = vec![kind, 0];
            packet.extend_from_slice(&sum.to_be_bytes());
            packet.extend_from_slice(&self.id.to_be_bytes());
            packet.extend_from_slice(&sequence.to_be_bytes());
            packet.extend_from_slice(&self.cookie.to_be_bytes());
            packet.extend_from_slice(&target.to_be_bytes());
            packet
        };
        // For IPv6 the kernel sets the checksum, which also covers the addresses.
        build(checksum(&build(0), 1))
    }

    /// Waits for the next reply to one of our requests. Safe to cancel.
    ///
    /// # Errors
    /// The kernel's, for which no cause is known.
    pub async fn next_reply(&self) -> io::Result<EchoReply> {
        tokio::select! {
            reply = self.next_reply_on(self.v4.as_ref()) => reply,
            reply = self.next_reply_on(self.v6.as_ref()) => reply,
        }
    }

    async fn next_reply_on(&self, socket: Option<&UdpSocket>) -> io::Result<EchoReply> {
        let Some(socket) = socket else {
            return std::future::pending().await;
        };
        let mut buffer = [0; IPV4_HEADER + LENGTH];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await?;
            let packet = buffer.get(..length).unwrap_or_default();
            if let Some(reply) = self.parse_reply(packet, from.ip()) {
                return Ok(reply);
            }
        }
    }

    /// Parses a packet. `None` if it is not a reply of a target to one of our requests.
    fn parse_reply(&self, packet: &[u8], from: IpAddr) -> Option<EchoReply> {
        let (icmp, kind) = match from {
            IpAddr::V4(_) => {
                let header = usize::from(packet.first()? & 0x0f) * 4;
                (packet.get(header..)?, ECHO_REPLY)
            }
            IpAddr::V6(_) => (packet, ECHO_REPLY_V6),
        };
        let (header, rest) = icmp.split_first_chunk::<8>()?;
        let (cookie, rest) = rest.split_first_chunk::<8>()?;
        let target = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let [its_kind, 0, _, _, id_high, id_low, high, low] = *header else {
            return None;
        };
        let ours = its_kind == kind
            && u16::from_be_bytes([id_high, id_low]) == self.id
            && u64::from_be_bytes(*cookie) == self.cookie
            && self.targets.get(target) == Some(&from);
        ours.then_some(EchoReply {
            target,
            sequence: u16::from_be_bytes([high, low]),
        })
    }
}

/// A raw socket as a UDP socket: its calls do the same and need no unsafe code.
fn open(v6: bool, id: u16) -> io::Result<UdpSocket> {
    let (domain, protocol, filter): (_, _, &[SockFilter]) = if v6 {
        (Domain::IPV6, Protocol::ICMPV6, &filter_v6(id))
    } else {
        (Domain::IPV4, Protocol::ICMPV4, &filter_v4(id))
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.attach_filter(filter)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

fn explain_error(e: &io::Error) -> io::Error {
    let hint = match e.kind() {
        io::ErrorKind::PermissionDenied => ": it needs root or CAP_NET_RAW",
        _ => "",
    };
    io::Error::new(
        e.kind(),
        format!("cannot open a socket for ping nodes{hint}: {e}"),
    )
}

/// Echo replies with our id. The packet begins with its IP header, whose length is in its first byte.
fn filter_v4(id: u16) -> [SockFilter; 7] {
    [
        SockFilter::new(0xb1, 0, 0, 0), // ldx 4 * ([0] & 0xf)
        SockFilter::new(0x50, 0, 0, 0), // ldb [x + 0]
        SockFilter::new(0x15, 0, 3, u32::from(ECHO_REPLY)), // jne drop
        SockFilter::new(0x48, 0, 0, 4), // ldh [x + 4]
        SockFilter::new(0x15, 0, 1, u32::from(id)), // jne drop
        SockFilter::new(0x06, 0, 0, u32::MAX), // ret all
        SockFilter::new(0x06, 0, 0, 0), // drop: ret nothing
    ]
}

/// The same where the packet begins with its ICMPv6 header.
fn filter_v6(id: u16) -> [SockFilter; 6] {
    [
        SockFilter::new(0x30, 0, 0, 0),                        // ldb [0]
        SockFilter::new(0x15, 0, 3, u32::from(ECHO_REPLY_V6)), // jne drop
        SockFilter::new(0x28, 0, 0, 4),                        // ldh [4]
        SockFilter::new(0x15, 0, 1, u32::from(id)),            // jne drop
        SockFilter::new(0x06, 0, 0, u32::MAX),                 // ret all
        SockFilter::new(0x06, 0, 0, 0),                        // drop: ret nothing
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::sys::machine::on_a_wire;

    const LONG: Duration = Duration::from_secs(30);

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|a| a.parse().unwrap()).collect()
    }

    async fn next(pinger: &Pinger) -> EchoReply {
        timeout(LONG, pinger.next_reply()).await.unwrap().unwrap()
    }

    #[test]
    fn both_families_answer_and_equal_addresses_are_told_apart() {
        on_a_wire(async |wire| {
            let list = addresses(&["10.0.0.2", "fd00::2", "10.0.0.2", "10.0.0.77", "10.0.0.1"]);
            let pinger = wire.left(|| Pinger::open(list)).unwrap();
            for sequence in [0, 1, 0xffff] {
                assert!(pinger.ping_all(sequence).is_empty());
                let mut seen = Vec::new();
                for _ in 0..4 {
                    let reply = next(&pinger).await;
                    assert_eq!(reply.sequence, sequence);
                    seen.push(reply.target);
                }
                seen.sort_unstable();
                assert_eq!(seen, [0, 1, 2, 4], "10.0.0.77 is nobody");
            }
        });
    }

    #[test]
    fn a_target_that_cannot_be_pinged_is_reported() {
        on_a_wire(async |wire| {
            let list = addresses(&["10.0.0.2", "192.0.2.1"]);
            let pinger = wire.left(|| Pinger::open(list)).unwrap();
            let failed = pinger.ping_all(1);
            let [(1, error)] = failed.as_slice() else {
                panic!("{failed:?}")
            };
            assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH));
            assert_eq!(next(&pinger).await.target, 0);
        });
    }

    #[test]
    fn replies_to_others_are_not_heard() {
        on_a_wire(async |wire| {
            let list = || addresses(&["10.0.0.2", "fd00::2"]);
            let ours = wire.left(|| Pinger::open(list())).unwrap();
            let mut same_id = wire.left(|| Pinger::open(list())).unwrap();
            same_id.cookie ^= 1;
            assert!(same_id.ping_all(7).is_empty());
            for _ in list() {
                // Once it has its replies, ours has had them too.
                assert_eq!(next(&same_id).await.sequence, 7);
            }
            assert!(ours.ping_all(8).is_empty());
            for _ in list() {
                assert_eq!(next(&ours).await.sequence, 8);
            }
        });
    }

    #[test]
    fn the_kernel_keeps_other_ids_and_requests_away() {
        on_a_wire(async |wire| {
            let list = || addresses(&["10.0.0.2", "fd00::2"]);
            let ours = wire.left(|| Pinger::open(list())).unwrap();
            let mut other_id = wire.left(|| Pinger::open(list())).unwrap();
            other_id.id ^= 1;
            assert!(other_id.ping_all(7).is_empty());
            assert!(ours.ping_all(8).is_empty());
            // Its socket lets through our id: the first it gets is a reply to what was asked second.
            for (socket, header) in [(&other_id.v4, 20), (&other_id.v6, 0)] {
                let mut packet = [0; 100];
                let received = socket.as_ref().unwrap().recv_from(&mut packet);
                timeout(LONG, received).await.unwrap().unwrap();
                assert_eq!(packet[header + 7], 8);
            }
        });
    }

    #[tokio::test]
    async fn damaged_packets_are_no_replies() {
        let pinger = Pinger::open(addresses(&["127.0.0.1"])).unwrap();
        let from = IpAddr::from([127, 0, 0, 1]);
        let mut good = vec![0x45; 20];
        good.extend(pinger.packet(ECHO_REPLY, 3, 0));
        let reply = EchoReply {
            target: 0,
            sequence: 3,
        };
        assert_eq!(pinger.parse_reply(&good, from), Some(reply));
        assert_eq!(
            pinger.parse_reply(&good, IpAddr::from([127, 0, 0, 2])),
            None
        );
        for end in 0..good.len() {
            assert_eq!(pinger.parse_reply(&good[..end], from), None, "cut at {end}");
        }
        for at in [0, 20, 21, 24, 25, 28, 35, 37] {
            let mut bent = good.clone();
            bent[at] ^= 1;
            assert_eq!(pinger.parse_reply(&bent, from), None, "bent at {at}");
        }
    }

    #[test]
    fn without_the_capability_it_says_which() {
        let text = explain_error(&io::Error::from_raw_os_error(libc::EPERM)).to_string();
        assert!(text.contains("CAP_NET_RAW"), "{text}");
    }
}
