//! Receives heartbeats.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{InterfaceIndexOrAddress, Socket};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{explain_error, socket_address, socket_on};
use crate::model::LinkName;
use crate::model::medium::{Medium, Target};

/// The size of the receive buffer in the kernel. The default of 208 KiB is full after a hundred datagrams, and then heartbeats are
/// lost too. This has room for a burst of some thousand.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// An interface and port to listen on, and the links that use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenPoint {
    interface: String,
    port: u16,
    v6: bool,
    /// The kind of destination of each link. Never empty.
    links: Vec<(Destination, LinkName)>,
}

/// The kind of destination of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    Us,
    All,
    Group(IpAddr),
}

/// The points to listen on for these media: each interface, port and address family once.
pub fn listen_points(media: &[Medium]) -> Vec<ListenPoint> {
    let mut points: Vec<ListenPoint> = Vec::new();
    for medium in media {
        let (v6, addressed) = match medium.target {
            Target::Unicast(peer) => (peer.is_ipv6(), Destination::Us),
            Target::Broadcast => (false, Destination::All),
            Target::Multicast4 { group, .. } => (false, Destination::Group(group.into())),
            Target::Multicast6 { group, .. } => (true, Destination::Group(group.into())),
        };
        let link = (addressed, medium.link.clone());
        let same = |e: &&mut ListenPoint| {
            e.interface == medium.interface && e.port == medium.port && e.v6 == v6
        };
        match points.iter_mut().find(same) {
            Some(point) if point.links.contains(&link) => {}
            Some(point) => point.links.push(link),
            None => points.push(ListenPoint {
                interface: medium.interface.clone(),
                port: medium.port,
                v6,
                links: vec![link],
            }),
        }
    }
    points
}

impl ListenPoint {
    /// The interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is IPv6 instead of IPv4.
    pub fn is_v6(&self) -> bool {
        self.v6
    }

    fn listens_to(&self, destination: Destination) -> bool {
        self.links.iter().any(|(d, _)| *d == destination)
    }

    /// The link for a kind of destination; the first link if none fits, because the peer's ha.cf differs.
    fn link(&self, addressed: Destination) -> Option<&LinkName> {
        let fits = self.links.iter().find(|(a, _)| *a == addressed);
        fits.or(self.links.first()).map(|(_, link)| link)
    }
}

/// Receives datagrams on one interface and port.
#[derive(Debug)]
pub struct UdpReceiver {
    point: ListenPoint,
    index: u32,
    socket: UdpSocket,
}

/// A received datagram.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// Its length in the buffer, in bytes.
    pub length: usize,
    /// The sender. It is not authenticated, so use it only in messages.
    pub from: SocketAddr,
    /// The link on which it arrived.
    pub link: &'a LinkName,
    /// Whether it came by a broadcast or multicast that this point listens to.
    pub to_all: bool,
    /// Its TTL or hop limit: one less for each router on the way. Zero if the kernel does not tell.
    pub ttl: u8,
}

impl UdpReceiver {
    /// Starts to listen. Must be called inside a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// The interface is missing, the port is in use, or the process may not bind to it; the text says which.
    pub fn open(point: &ListenPoint) -> io::Result<UdpReceiver> {
        let (socket, index) =
            open_receiver(point).map_err(|e| explain_error(&describe(point), &e))?;
        Ok(UdpReceiver {
            point: point.clone(),
            index,
            socket,
        })
    }

    /// Opens a new socket if the interface was created again, which changes its index. Otherwise does nothing.
    ///
    /// # Errors
    /// As [`UdpReceiver::open`]; the old socket is kept then.
    pub fn reopen(&mut self) -> io::Result<()> {
        if if_nametoindex(self.point.interface.as_str()) != Ok(self.index) {
            *self = UdpReceiver::open(&self.point)?;
        }
        Ok(())
    }

    /// Where it listens.
    pub fn point(&self) -> &ListenPoint {
        &self.point
    }

    /// Waits for the next datagram. Safe to cancel. A datagram longer than the buffer is cut.
    ///
    /// # Errors
    /// The error of the kernel; the socket can still be used.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Arrival<'_>> {
        let read = || self.read(buffer);
        self.socket.async_io(Interest::READABLE, read).await
    }

    /// The next datagram that has already arrived, if there is one. Asks the kernel directly, not the runtime, so that everything is
    /// received before the silence of a peer is judged.
    ///
    /// # Errors
    /// The error of the kernel; the socket can still be used.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival<'_>>> {
        match self.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            other => other.map(Some),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Arrival<'_>> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut parts = [IoSliceMut::new(buffer)];
        let message: RecvMsg<'_, '_, SockaddrStorage> = recvmsg(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let from = message.address.as_ref().and_then(socket_address);
        let destination = destination(&message);
        let link = self.point.link(destination);
        Ok(Arrival {
            length: message.bytes,
            from: from.ok_or(io::ErrorKind::InvalidData)?,
            link: link.ok_or(io::ErrorKind::InvalidData)?,
            to_all: destination != Destination::Us && self.point.listens_to(destination),
            ttl: time_to_live(&message),
        })
    }
}

fn open_receiver(point: &ListenPoint) -> io::Result<(UdpSocket, u32)> {
    let index = if_nametoindex(point.interface.as_str())?;
    let socket = socket_on(&point.interface, point.v6)?;
    let any: IpAddr = if point.v6 {
        socket.set_only_v6(true)?;
        socket.set_multicast_all_v6(false)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        socket.set_recv_hoplimit_v6(true)?;
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        socket.set_multicast_all_v4(false)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
        Ipv4Addr::UNSPECIFIED.into()
    };
    join_groups(&socket, point, index)?;
    set_receive_buffer(&socket)?;
    // Without SO_REUSEADDR: a second daemon on this port then fails here and does not receive our heartbeats.
    socket.bind(&SocketAddr::new(any, point.port).into())?;
    Ok((UdpSocket::from_std(socket.into())?, index))
}

/// Sets the size of the receive buffer. Without CAP_NET_ADMIN the limit of the system applies.
pub(in crate::sys) fn set_receive_buffer(socket: &Socket) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    }
    Ok(())
}

fn join_groups(socket: &Socket, point: &ListenPoint, index: u32) -> io::Result<()> {
    for (addressed, _) in &point.links {
        match addressed {
            Destination::Group(IpAddr::V4(group)) => {
                socket.join_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(index))?;
            }
            Destination::Group(IpAddr::V6(group)) => socket.join_multicast_v6(group, index)?,
            Destination::Us | Destination::All => {}
        }
    }
    Ok(())
}

/// The kind of destination of a datagram, from the kernel's packet info. Only for a broadcast the address in the packet differs from
/// our own address at which it arrived.
fn destination(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Destination {
    let group = |to: IpAddr| {
        if to.is_multicast() {
            Destination::Group(to)
        } else {
            Destination::Us
        }
    };
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let to = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                let broadcast = info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
                return match group(to.into()) {
                    Destination::Us if broadcast => Destination::All,
                    other => other,
                };
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                return group(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            _ => {}
        }
    }
    Destination::Us
}

fn time_to_live(message: &RecvMsg<'_, '_, SockaddrStorage>) -> u8 {
    let ttl = message.cmsgs().into_iter().flatten().find_map(|c| match c {
        ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => Some(ttl),
        _ => None,
    });
    ttl.and_then(|ttl| u8::try_from(ttl).ok()).unwrap_or(0)
}

fn describe(point: &ListenPoint) -> String {
    let family = if point.v6 { "IPv6 " } else { "" };
    format!(
        "receive heartbeats on {}, {family}UDP port {}",
        point.interface, point.port
    )
}
